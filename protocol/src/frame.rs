//! Length-delimited frames: four bytes of length, big endian, then the payload. It decides where a frame ends and refuses one that is too long; it reads no stream.

use crate::error::Malformed;

const HEADER_BYTES: usize = 4;

/// Puts a payload into a frame.
///
/// # Errors
/// The payload is longer than `limit`: our own fault, told before it is sent.
pub fn encode(payload: &[u8], limit: usize) -> Result<Vec<u8>, Malformed> {
    let announced = payload.len();
    let header = u32::try_from(announced).ok().filter(|_| announced <= limit).ok_or(Malformed::FrameTooLarge { announced, limit })?;
    let mut frame = Vec::with_capacity(HEADER_BYTES + announced);
    frame.extend_from_slice(&header.to_be_bytes());
    frame.extend_from_slice(payload);
    Ok(frame)
}

/// Cuts a byte stream into frames, whatever the pieces in which it arrives.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    start: usize,
    limit: usize,
}

impl Decoder {
    /// A decoder that refuses frames over `limit` bytes as soon as they are announced.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { buffer: Vec::new(), start: 0, limit }
    }

    /// Takes bytes as they came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole frame's payload, if there is one.
    ///
    /// # Errors
    /// The next frame announces more than the limit.
    pub fn next_frame(&mut self) -> Result<Option<Vec<u8>>, Malformed> {
        let pending = self.buffer.get(self.start..).unwrap_or_default();
        let Some((header, rest)) = pending.split_first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let announced = usize::try_from(u32::from_be_bytes(*header)).unwrap_or(usize::MAX);
        if announced > self.limit {
            return Err(Malformed::FrameTooLarge { announced, limit: self.limit });
        }
        let Some(payload) = rest.get(..announced) else { return Ok(None) };
        let payload = payload.to_vec();
        self.start += HEADER_BYTES + announced;
        if self.start == self.buffer.len() {
            // An idle link keeps no buffer: 100,000 of them would be held by the coordinator.
            self.buffer = Vec::new();
            self.start = 0;
        }
        Ok(Some(payload))
    }

    /// Whether the stream may end here: no frame is half received.
    #[must_use]
    pub fn is_at_boundary(&self) -> bool {
        self.start == self.buffer.len()
    }
}

#[cfg(test)]
mod tests {
    use super::{Decoder, encode};
    use crate::error::Malformed;

    #[test]
    fn frames_survive_any_cut() {
        let stream: Vec<u8> = [&b""[..], b"a", b"hello"].iter().flat_map(|payload| encode(payload, 5).unwrap()).collect();
        for size in 1..=stream.len() {
            let mut decoder = Decoder::new(5);
            let mut frames = Vec::new();
            for piece in stream.chunks(size) {
                decoder.push(piece);
                while let Some(frame) = decoder.next_frame().unwrap() {
                    frames.push(frame);
                }
            }
            assert_eq!(frames, [&b""[..], b"a", b"hello"], "cut every {size} bytes");
            assert!(decoder.is_at_boundary());
        }
    }

    #[test]
    fn an_oversized_frame_is_refused_at_its_header() {
        let mut decoder = Decoder::new(5);
        decoder.push(&6_u32.to_be_bytes());
        assert_eq!(decoder.next_frame(), Err(Malformed::FrameTooLarge { announced: 6, limit: 5 }));
        assert!(encode(b"123456", 5).is_err());
    }

    #[test]
    fn a_half_frame_is_no_boundary() {
        let mut decoder = Decoder::new(5);
        decoder.push(&[0, 0, 0]);
        assert_eq!(decoder.next_frame(), Ok(None));
        assert!(!decoder.is_at_boundary());
    }
}
