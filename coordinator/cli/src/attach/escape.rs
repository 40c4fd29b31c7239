//! `~.` at the beginning of a line, as ssh has it: the way out of a session that does not answer.

/// What was typed, without what was meant for us.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Typed {
    pub(super) bytes: Vec<u8>,
    /// After these bytes the operator wants to close; what follows is nobody's.
    pub(super) close: bool,
}

/// Looks for escapes in what is typed.
#[derive(Debug, Default)]
pub(super) struct Escapes {
    at: At,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum At {
    #[default]
    LineStart,
    /// After a `~` that is held back.
    Tilde,
    Middle,
}

impl Escapes {
    pub(super) fn feed(&mut self, bytes: &[u8]) -> Typed {
        let mut typed = Typed { bytes: Vec::with_capacity(bytes.len() + 1), close: false };
        for &byte in bytes {
            match (self.at, byte) {
                (At::LineStart, b'~') => {
                    self.at = At::Tilde;
                    continue;
                }
                (At::Tilde, b'.') => {
                    typed.close = true;
                    break;
                }
                (At::Tilde, b'~') => {}
                (At::Tilde, _) => typed.bytes.push(b'~'),
                (At::LineStart | At::Middle, _) => {}
            }
            typed.bytes.push(byte);
            self.at = if matches!(byte, b'\r' | b'\n') { At::LineStart } else { At::Middle };
        }
        typed
    }
}

#[cfg(test)]
mod tests {
    use super::{Escapes, Typed};

    fn check(chunks: &[&[u8]], bytes: &[u8], close: bool) {
        let mut escapes = Escapes::default();
        let mut all = Typed { bytes: Vec::new(), close: false };
        for chunk in chunks {
            let typed = escapes.feed(chunk);
            all.bytes.extend(typed.bytes);
            all.close |= typed.close;
        }
        assert_eq!(all, Typed { bytes: bytes.to_vec(), close }, "{chunks:?}");
    }

    #[test]
    fn tilde_dot_at_the_beginning_of_a_line_closes() {
        check(&[b"~."], b"", true);
        check(&[b"ls\r", b"~", b"."], b"ls\r", true);
        check(&[b"ls\n~.rm"], b"ls\n", true);
    }

    #[test]
    fn everything_else_is_typed() {
        check(&[b"ls ~."], b"ls ~.", false);
        check(&[b"~~."], b"~.", false);
        check(&[b"~", b"/bin/true\r"], b"~/bin/true\r", false);
        check(&[b"~\r", b"\x03\xff"], b"~\r\x03\xff", false);
    }
}
