//! What a peer did wrong.

/// A message that does not say what it should; the peer is at fault and its connection is closed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The frame is not the protobuf message it must be.
    #[error("the frame is not a {0}")]
    Message(&'static str),
    /// A frame announces more bytes than its stream allows.
    #[error("a frame of {announced} bytes exceeds {limit}")]
    FrameTooLarge {
        /// Bytes announced.
        announced: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// A field that must be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A field holds more than its bound.
    #[error("{field} holds {size}, more than {limit}")]
    TooLarge {
        /// Which field.
        field: &'static str,
        /// Its size, in the unit of its limit.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// A field holds a value that has no meaning.
    #[error("{0} has no valid value")]
    Invalid(&'static str),
}

pub(crate) fn bounded(field: &'static str, size: usize, limit: usize) -> Result<(), Malformed> {
    if size > limit { Err(Malformed::TooLarge { field, size, limit }) } else { Ok(()) }
}

/// Checks the length of a text and that it holds no control character but a line's end or a tab.
pub(crate) fn text(field: &'static str, value: String, limit: usize) -> Result<String, Malformed> {
    bounded(field, value.len(), limit)?;
    if value.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(Malformed::Invalid(field));
    }
    Ok(value)
}
