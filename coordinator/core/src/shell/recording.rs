//! A session as asciicast v2 (<https://docs.asciinema.org/manual/asciicast/v2/>): one line of JSON for the header and for each event, in the order of time.
//!
//! It returns lines and writes none; see [`super::Chain`] for what proves that they stay as they are.

use std::fmt::Write as _;

use loopback_protocol::shell::WindowSize;
use serde::Serialize;

/// What a player is told first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The window at the beginning.
    pub size: WindowSize,
    /// The beginning, in seconds since 1970.
    pub timestamp_s: u64,
    /// The terminal's type.
    pub term: String,
    /// What it is a recording of.
    pub title: String,
    /// The command that ran instead of an interactive shell.
    pub command: Option<String>,
}

/// Turns what passes through a terminal into lines of a recording. Times are milliseconds since the beginning; one that lies before its predecessor counts
/// as equal to it. Bytes that are no UTF-8 become U+FFFD, also when a character is split between two calls.
#[derive(Debug)]
pub struct Recorder {
    last_ms: u64,
    echoes: bool,
    output: Decoder,
    input: Decoder,
}

impl Recorder {
    /// A recorder, and the recording's first line.
    #[must_use]
    pub fn new(header: &Header) -> (Self, Vec<u8>) {
        let recorder = Self { last_ms: 0, echoes: true, output: Decoder::default(), input: Decoder::default() };
        (recorder, header.line())
    }

    /// The terminal showed this. The lines to append: none while a character is incomplete.
    pub fn output(&mut self, at_ms: u64, bytes: &[u8]) -> Vec<u8> {
        let text = self.output.decode(bytes);
        self.event(at_ms, "o", &text)
    }

    /// The operator typed this. Nothing is recorded while the terminal does not echo.
    pub fn input(&mut self, at_ms: u64, bytes: &[u8]) -> Vec<u8> {
        if !self.echoes {
            return Vec::new();
        }
        let text = self.input.decode(bytes);
        self.event(at_ms, "i", &text)
    }

    /// Whether the terminal echoes from now on.
    pub fn echo(&mut self, on: bool) {
        if on != self.echoes {
            self.echoes = on;
            self.input = Decoder::default();
        }
    }

    /// The window has another size.
    pub fn resize(&mut self, at_ms: u64, size: WindowSize) -> Vec<u8> {
        self.event(at_ms, "r", &format!("{}x{}", size.columns, size.rows))
    }

    /// The end: what was held back is not completed any more.
    #[must_use]
    pub fn finish(mut self, at_ms: u64) -> Vec<u8> {
        let (output, input) = (self.output.finish(), self.input.finish());
        [self.event(at_ms, "o", &output), self.event(at_ms, "i", &input)].concat()
    }

    fn event(&mut self, at_ms: u64, kind: &str, text: &str) -> Vec<u8> {
        if text.is_empty() {
            return Vec::new();
        }
        self.last_ms = self.last_ms.max(at_ms);
        let mut line = String::with_capacity(text.len() + 32);
        // Writing to a string cannot fail. The time is written by hand: a float of many hours has no exact milliseconds.
        let _ = writeln!(line, "[{}.{:03},\"{kind}\",{}]", self.last_ms / 1_000, self.last_ms % 1_000, serde_json::Value::from(text));
        line.into_bytes()
    }
}

impl Header {
    fn line(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Line<'a> {
            version: u8,
            width: u16,
            height: u16,
            timestamp: u64,
            #[serde(skip_serializing_if = "Option::is_none")]
            command: Option<&'a str>,
            title: &'a str,
            env: Environment<'a>,
        }
        #[derive(Serialize)]
        struct Environment<'a> {
            #[serde(rename = "TERM")]
            term: &'a str,
        }
        let line = Line {
            version: 2,
            width: self.size.columns,
            height: self.size.rows,
            timestamp: self.timestamp_s,
            command: self.command.as_deref(),
            title: &self.title,
            env: Environment { term: &self.term },
        };
        // Texts and numbers always have a JSON form.
        let mut line = serde_json::to_vec(&line).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// UTF-8 in pieces. Holds back at most the three bytes of an incomplete character.
#[derive(Debug, Default)]
struct Decoder {
    held: Vec<u8>,
}

impl Decoder {
    fn decode(&mut self, bytes: &[u8]) -> String {
        let mut pending = std::mem::take(&mut self.held);
        pending.extend_from_slice(bytes);
        let complete = pending.len() - incomplete_tail(&pending);
        self.held = pending.split_off(complete);
        String::from_utf8_lossy(&pending).into_owned()
    }

    fn finish(&mut self) -> String {
        String::from_utf8_lossy(&std::mem::take(&mut self.held)).into_owned()
    }
}

/// How many bytes at the end may become a character once more bytes come.
fn incomplete_tail(bytes: &[u8]) -> usize {
    let last = bytes.utf8_chunks().last().map_or(&[][..], |chunk| chunk.invalid());
    // `error_len` is `None` only where the bytes end before the character does.
    match std::str::from_utf8(last) {
        Err(error) if error.error_len().is_none() => last.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use loopback_protocol::shell::WindowSize;
    use proptest::collection::vec;
    use proptest::prelude::{any, prop_assert_eq, proptest};
    use proptest::sample::Index;
    use serde_json::{Value, json};

    use super::{Header, Recorder};

    const SIZE: WindowSize = WindowSize { columns: 80, rows: 24 };

    fn recorder() -> (Recorder, Vec<u8>) {
        let header = Header { size: SIZE, timestamp_s: 1_700_000_000, term: "xterm-256color".into(), title: "acme/prod/web/\"host\"".into(), command: None };
        Recorder::new(&header)
    }

    /// Every line as JSON; a line that is none fails the test.
    fn lines(bytes: &[u8]) -> Vec<Value> {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(text.is_empty() || text.ends_with('\n'));
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All that was recorded of one kind, in one text.
    fn recorded(bytes: &[u8], kind: &str) -> String {
        lines(bytes).iter().filter(|event| event[1] == kind).map(|event| event[2].as_str().unwrap()).collect()
    }

    #[test]
    fn a_recording_is_asciicast_2() {
        let (mut recorder, mut file) = recorder();
        file.extend(recorder.output(250, b"\x1b[31m$\x1b[0m \x07\"\\\0\r\n"));
        file.extend(recorder.input(3_600_001, b"ls\x7f\t"));
        file.extend(recorder.resize(3_600_002, WindowSize { columns: 132, rows: 43 }));
        file.extend(recorder.finish(3_600_003));
        let text = String::from_utf8(file).unwrap();
        assert_eq!(
            text.lines().collect::<Vec<_>>(),
            [
                r#"{"version":2,"width":80,"height":24,"timestamp":1700000000,"title":"acme/prod/web/\"host\"","env":{"TERM":"xterm-256color"}}"#,
                r#"[0.250,"o","\u001b[31m$\u001b[0m \u0007\"\\\u0000\r\n"]"#,
                "[3600.001,\"i\",\"ls\u{7f}\\t\"]",
                r#"[3600.002,"r","132x43"]"#,
            ]
        );
    }

    #[test]
    fn a_command_stands_in_the_header() {
        let header = Header { size: SIZE, timestamp_s: 1, term: "dumb".into(), title: String::new(), command: Some("id".into()) };
        assert_eq!(lines(&Recorder::new(&header).1)[0]["command"], "id");
    }

    #[test]
    fn input_is_not_recorded_while_the_terminal_does_not_echo() {
        let (mut recorder, _) = recorder();
        let mut file = recorder.input(1, "sudo ü".as_bytes());
        // Half a character before the prompt is not completed by what is typed after it.
        file.extend(recorder.input(2, &"ü".as_bytes()[..1]));
        recorder.echo(false);
        file.extend(recorder.input(3, b"secret"));
        file.extend(recorder.output(4, b"Password: "));
        recorder.echo(true);
        file.extend(recorder.input(5, b"id"));
        assert_eq!(recorded(&file, "i"), "sudo üid");
        assert_eq!(recorded(&file, "o"), "Password: ");
    }

    #[test]
    fn time_never_goes_back() {
        let (mut recorder, _) = recorder();
        let file = [recorder.output(20, b"a"), recorder.output(10, b"b"), recorder.output(21, b"c")].concat();
        assert_eq!(lines(&file), [json!([0.020, "o", "a"]), json!([0.020, "o", "b"]), json!([0.021, "o", "c"])]);
    }

    #[test]
    fn a_split_character_waits_for_its_rest_and_is_given_up_at_the_end() {
        let (mut recorder, _) = recorder();
        let euro = "€".as_bytes();
        assert_eq!(recorder.output(1, &euro[..1]), b"");
        assert_eq!(recorder.output(2, &euro[1..2]), b"");
        assert_eq!(recorded(&recorder.output(3, &euro[2..]), "o"), "€");
        assert_eq!(recorder.output(4, &euro[..2]), b"");
        assert_eq!(recorded(&recorder.finish(5), "o"), "\u{fffd}");
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_pieces_read_back_as_the_whole_would(bytes in vec(any::<u8>(), 0..200), text in any::<String>(), cuts in vec(any::<Index>(), 0..20)) {
            let whole = [text.as_bytes(), &bytes, text.as_bytes()].concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(whole.len() + 1)).chain([0, whole.len()]).collect();
            cuts.sort_unstable();
            let (mut recorder, _) = recorder();
            let mut file = Vec::new();
            for pair in cuts.windows(2) {
                file.extend(recorder.output(0, &whole[pair[0]..pair[1]]));
            }
            file.extend(recorder.finish(0));
            prop_assert_eq!(recorded(&file, "o"), String::from_utf8_lossy(&whole));
        }
    }
}
