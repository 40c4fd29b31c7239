//! The operator's side of a session: one WebSocket, which holds at most one piece of output at a time. What it does may be dropped half-way without losing
//! a byte.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::{Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::ws::{Message, WebSocket};
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use loopback_api::session::{ClientMessage, OpenRequest, ServerMessage};
use loopback_core::shell::EndReason;
use loopback_protocol::limits::{COMMAND_MAX_BYTES, NAME_MAX_BYTES};
use loopback_protocol::shell::WindowSize;

use crate::limits::SHELL_FAREWELL_TIMEOUT_MS;

/// From the upgrade to the first message.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);
const FAREWELL_TIMEOUT: Duration = Duration::from_millis(SHELL_FAREWELL_TIMEOUT_MS);
/// Linux has 64 signals.
const SIGNAL_MAX: u8 = 64;

/// The operator's WebSocket.
#[derive(Debug)]
pub(super) struct Operator {
    /// What they say.
    pub(super) keyboard: Keyboard,
    /// What they are shown.
    pub(super) screen: Screen,
}

/// The receiving half.
#[derive(Debug)]
pub(super) struct Keyboard {
    stream: SplitStream<WebSocket>,
}

/// The sending half.
#[derive(Debug)]
pub(super) struct Screen {
    sink: SplitSink<WebSocket, Message>,
    unsent: VecDeque<Message>,
    unflushed: bool,
}

/// What the operator says once the session was asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    Input(Bytes),
    Resize(WindowSize),
    Signal(u8),
    Close,
}

/// The operator cannot be spoken with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum OperatorLost {
    #[error("the operator is gone")]
    Gone,
    #[error("{0}")]
    Malformed(&'static str),
}

impl Operator {
    pub(super) fn new(socket: WebSocket) -> Self {
        let (sink, stream) = socket.split();
        Self { keyboard: Keyboard { stream }, screen: Screen { sink, unsent: VecDeque::new(), unflushed: false } }
    }

    /// Says why it is over, and closes. An operator who does not read is not waited for.
    pub(super) async fn end(mut self, reason: &EndReason) {
        self.screen.queue(&ServerMessage::Ended { reason: reason.to_string(), exit_code: reason.exit_code() });
        self.screen.unsent.push_back(Message::Close(None));
        if tokio::time::timeout(FAREWELL_TIMEOUT, self.screen.send()).await.is_err() {
            tracing::debug!("an operator did not read that the session ended");
        }
    }
}

impl Keyboard {
    /// The first message.
    pub(super) async fn open_request(&mut self) -> Result<OpenRequest, OperatorLost> {
        const EXPECTED: OperatorLost = OperatorLost::Malformed("the first message has to be `open`");
        let first =
            tokio::time::timeout(OPEN_TIMEOUT, self.message()).await.map_err(|_| OperatorLost::Malformed("the first message did not come in time"))??;
        let Message::Text(text) = first else { return Err(EXPECTED) };
        match serde_json::from_str(&text) {
            Ok(ClientMessage::Open(request)) => bounded(request),
            _ => Err(EXPECTED),
        }
    }

    /// What is said next.
    pub(super) async fn receive(&mut self) -> Result<Said, OperatorLost> {
        let text = match self.message().await? {
            Message::Binary(bytes) => return Ok(Said::Input(bytes)),
            Message::Text(text) => text,
            Message::Close(_) | Message::Ping(_) | Message::Pong(_) => return Err(OperatorLost::Gone),
        };
        match serde_json::from_str(&text) {
            Ok(ClientMessage::Resize(size)) => Ok(Said::Resize(WindowSize::clamped(size.columns, size.rows))),
            Ok(ClientMessage::Signal { number }) if (1..=SIGNAL_MAX).contains(&number) => Ok(Said::Signal(number)),
            Ok(ClientMessage::Signal { .. }) => Err(OperatorLost::Malformed("there is no such signal")),
            Ok(ClientMessage::Close) => Ok(Said::Close),
            Ok(ClientMessage::Open(_)) => Err(OperatorLost::Malformed("the session is open already")),
            Err(_) => Err(OperatorLost::Malformed("the operator's program sent what cannot be read")),
        }
    }

    /// Pings are answered by the protocol itself.
    async fn message(&mut self) -> Result<Message, OperatorLost> {
        loop {
            match self.stream.next().await {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(message)) => return Ok(message),
                Some(Err(_)) | None => return Err(OperatorLost::Gone),
            }
        }
    }
}

impl Screen {
    /// Queues output.
    pub(super) fn queue_output(&mut self, bytes: Vec<u8>) {
        self.unsent.push_back(Message::Binary(bytes.into()));
    }

    /// Queues a message.
    pub(super) fn queue(&mut self, message: &ServerMessage) {
        // Ids and texts always have a JSON form.
        self.unsent.push_back(Message::Text(serde_json::to_string(message).unwrap_or_default().into()));
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.unflushed || !self.unsent.is_empty()
    }

    /// Hands all that is queued to the socket.
    pub(super) async fn send(&mut self) -> Result<(), OperatorLost> {
        poll_fn(|context| {
            while !self.unsent.is_empty() {
                ready!(self.sink.poll_ready_unpin(context))?;
                if let Some(message) = self.unsent.pop_front() {
                    self.unflushed = true;
                    self.sink.start_send_unpin(message)?;
                }
            }
            ready!(self.sink.poll_flush_unpin(context))?;
            self.unflushed = false;
            Poll::Ready(Ok(()))
        })
        .await
        .map_err(|_: axum::Error| OperatorLost::Gone)
    }
}

/// The texts within the bounds of the link, so that no agent refuses them.
fn bounded(request: OpenRequest) -> Result<OpenRequest, OperatorLost> {
    let is_name = |text: &str| text.len() <= NAME_MAX_BYTES && !text.contains(char::is_control);
    if !is_name(&request.term) || !is_name(&request.lang) || !request.run_as.as_deref().is_none_or(is_name) {
        return Err(OperatorLost::Malformed("terminal type, language and user have at most 255 bytes and no control characters"));
    }
    if request.command.as_ref().is_some_and(|command| command.len() > COMMAND_MAX_BYTES || command.contains('\0')) {
        return Err(OperatorLost::Malformed("a command has at most 16384 bytes and no zero byte"));
    }
    let size = WindowSize::clamped(request.size.columns, request.size.rows);
    Ok(OpenRequest { size, ..request })
}
