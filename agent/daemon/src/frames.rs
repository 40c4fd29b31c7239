//! Whole frames out of a QUIC stream, whatever the pieces in which they arrive. It does not know what they mean.

use loopback_protocol::error::Malformed;
use loopback_protocol::frame::Decoder;
use quinn::{ReadError, RecvStream};

const READ_BYTES: usize = 16 * 1024;

/// Reads frames of at most a limit.
pub struct FrameReader {
    stream: RecvStream,
    decoder: Decoder,
}

/// A stream that cannot be read on.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer is at fault.
    #[error("the coordinator sent what it must not")]
    Malformed(#[from] Malformed),
    /// The connection is.
    #[error("the stream broke")]
    Read(#[from] ReadError),
}

impl FrameReader {
    /// Reads frames of at most `limit` bytes.
    pub const fn new(stream: RecvStream, limit: usize) -> Self {
        Self { stream, decoder: Decoder::new(limit) }
    }

    /// The next frame; none when the stream has ended. Cancel-safe: what arrived of a frame stays here.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, FrameError> {
        loop {
            if let Some(frame) = self.decoder.next_frame()? {
                return Ok(Some(frame));
            }
            // Chunks come as they were received: no buffer is held while nothing comes.
            match self.stream.read_chunk(READ_BYTES, true).await? {
                Some(chunk) => self.decoder.push(&chunk.bytes),
                None => return Ok(None),
            }
        }
    }
}
