//! `~.` at the beginning of a line, as ssh has it: the way out of a session that does not answer.

/// What was typed, without what was meant for us.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Typed {
    Bytes(Vec<u8>),
    Close,
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
        let mut typed = Vec::with_capacity(bytes.len() + 1);
        for &byte in bytes {
            match (self.at, byte) {
                (At::LineStart, b'~') => {
                    self.at = At::Tilde;
                    continue;
                }
                (At::Tilde, b'.') => return Typed::Close,
                (At::Tilde, b'~') => {}
                (At::Tilde, _) => typed.push(b'~'),
                (At::LineStart | At::Middle, _) => {}
            }
            typed.push(byte);
            self.at = if matches!(byte, b'\r' | b'\n') { At::LineStart } else { At::Middle };
        }
        Typed::Bytes(typed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Escapes, Typed};

    fn check(chunks: &[&[u8]], expected: Option<&[u8]>) {
        let mut escapes = Escapes::default();
        let mut all = Vec::new();
        for chunk in chunks {
            match escapes.feed(chunk) {
                Typed::Bytes(bytes) => all.extend(bytes),
                Typed::Close => return assert_eq!(expected, None, "{chunks:?}"),
            }
        }
        assert_eq!(expected, Some(&all[..]), "{chunks:?}");
    }

    #[test]
    fn tilde_dot_at_the_beginning_of_a_line_closes() {
        check(&[b"~."], None);
        check(&[b"ls\r", b"~", b"."], None);
        check(&[b"ls\n~."], None);
    }

    #[test]
    fn everything_else_is_typed() {
        check(&[b"ls ~."], Some(b"ls ~."));
        check(&[b"~~."], Some(b"~."));
        check(&[b"~", b"/bin/true\r"], Some(b"~/bin/true\r"));
        check(&[b"~\r", b"\x03\xff"], Some(b"~\r\x03\xff"));
    }
}
