//! The host's side of a session: one QUIC stream. Whatever it does is bounded and may be dropped half-way without losing a byte.

use axum::body::Bytes;
use loopback_protocol::error::Malformed;
use loopback_protocol::frame::{self, Decoder};
use loopback_protocol::limits::{SHELL_CHUNK_MAX_BYTES, SHELL_FRAME_MAX_BYTES};
use loopback_protocol::shell::{ShellEvent, ShellRequest};
use quinn::{RecvStream, SendStream, VarInt};

/// Requests that wait for the host; beyond it the operator's input is not read.
const UNSENT_MAX_BYTES: usize = 64 * 1024;
/// Pieces of the stream taken at a time; a packet each.
const PIECES_MAX: usize = 16;
/// What a stream is reset with when the session ended and the host does not take it in.
const ABANDONED: VarInt = VarInt::from_u32(1);

/// The stream of a session.
#[derive(Debug)]
pub(super) struct Agent {
    /// What the host is told.
    pub(super) requests: Requests,
    /// What it tells.
    pub(super) events: Events,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Requests {
    stream: SendStream,
    unsent: Vec<u8>,
    sent: usize,
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Events {
    stream: RecvStream,
    decoder: Decoder,
    /// An event that was read behind output and waits for its turn.
    held: Option<ShellEvent>,
}

/// The host cannot be spoken with any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentLost {
    #[error("the host sent what it may not: {0}")]
    Malformed(#[from] Malformed),
    #[error("the host closed the session's stream")]
    Closed,
    #[error("the session's stream cannot be read: {0}")]
    Read(#[from] quinn::ReadError),
    #[error("the session's stream cannot be written: {0}")]
    Write(#[from] quinn::WriteError),
}

impl Agent {
    pub(super) fn new((send, receive): (SendStream, RecvStream)) -> Self {
        let requests = Requests { stream: send, unsent: Vec::new(), sent: 0 };
        Self { requests, events: Events { stream: receive, decoder: Decoder::new(SHELL_FRAME_MAX_BYTES), held: None } }
    }
}

impl Requests {
    /// Queues a request within bounds.
    pub(super) fn queue(&mut self, request: &ShellRequest) {
        match frame::encode(&request.encode(), SHELL_FRAME_MAX_BYTES) {
            Ok(frame) => self.unsent.extend_from_slice(&frame),
            Err(error) => tracing::error!(%error, "a shell request is out of bounds"),
        }
    }

    /// Queues the operator's input.
    pub(super) fn queue_input(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(SHELL_CHUNK_MAX_BYTES) {
            self.queue(&ShellRequest::Input(chunk.to_vec()));
        }
    }

    pub(super) const fn has_room(&self) -> bool {
        self.unsent.len() - self.sent < UNSENT_MAX_BYTES
    }

    pub(super) const fn has_unsent(&self) -> bool {
        self.sent < self.unsent.len()
    }

    /// Sends some of what is queued.
    pub(super) async fn send(&mut self) -> Result<(), AgentLost> {
        let written = self.stream.write(self.unsent.get(self.sent..).unwrap_or_default()).await?;
        self.sent += written;
        if !self.has_unsent() {
            // An idle session keeps no buffer.
            (self.unsent, self.sent) = (Vec::new(), 0);
        }
        Ok(())
    }

    /// There is nothing more to say.
    pub(super) fn finish(&mut self) {
        // The stream may be closed already.
        let _ = self.stream.finish();
    }

    /// Gives the stream up, which the host is to take for the end of the session.
    pub(super) fn abandon(&mut self) {
        let _ = self.stream.reset(ABANDONED);
    }
}

impl Events {
    /// The next event; output that has arrived by now comes as one.
    pub(super) async fn receive(&mut self) -> Result<ShellEvent, AgentLost> {
        loop {
            if let Some(event) = self.next_event()? {
                return Ok(event);
            }
            let mut pieces: [Bytes; PIECES_MAX] = Default::default();
            let count = self.stream.read_chunks(&mut pieces).await?.ok_or(AgentLost::Closed)?;
            pieces.iter().take(count).for_each(|piece| self.decoder.push(piece));
        }
    }

    fn next_event(&mut self) -> Result<Option<ShellEvent>, AgentLost> {
        let first = match self.held.take() {
            Some(held) => Some(held),
            None => self.decoded()?,
        };
        let Some(ShellEvent::Output(mut output)) = first else { return Ok(first) };
        while let Some(event) = self.decoded()? {
            match event {
                ShellEvent::Output(more) if output.len() + more.len() <= SHELL_CHUNK_MAX_BYTES => output.extend_from_slice(&more),
                other => {
                    self.held = Some(other);
                    break;
                }
            }
        }
        Ok(Some(ShellEvent::Output(output)))
    }

    fn decoded(&mut self) -> Result<Option<ShellEvent>, AgentLost> {
        Ok(self.decoder.next_frame()?.map(|payload| ShellEvent::decode(&payload)).transpose()?)
    }
}
