//! Plays asciicast v2 (<https://docs.asciinema.org/manual/asciicast/v2/>): the output of a session, with its pauses.
//!
//! What the operator typed is in the recording too and is not played. The output commands the terminal as the session's did.

use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::sleep;

use crate::failure::Failure;
use crate::output::{Output, note};

/// A recording.
#[derive(Debug)]
pub(crate) struct Cast<'a> {
    header: Header,
    events: std::str::Lines<'a>,
}

/// How fast to play.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// How many times as fast.
    pub(crate) speed: f64,
    /// The longest pause.
    pub(crate) idle_limit: Option<Duration>,
}

/// What is no recording, or no more.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidCast {
    #[error("this is not an asciicast of version 2")]
    Header,
    #[error("line {0} of the recording is damaged or cut off")]
    Event(usize),
}

#[derive(Debug, Deserialize)]
struct Header {
    version: u32,
    width: u16,
    height: u16,
}

/// Output, and how long to wait before it.
#[derive(Debug, PartialEq)]
struct Step {
    pause: Duration,
    output: String,
}

impl<'a> Cast<'a> {
    /// Reads the header; events are read as they are played.
    pub(crate) fn parse(text: &'a str) -> Result<Self, InvalidCast> {
        let mut events = text.lines();
        let header: Header = serde_json::from_str(events.next().unwrap_or_default()).map_err(|_| InvalidCast::Header)?;
        if header.version == 2 { Ok(Self { header, events }) } else { Err(InvalidCast::Header) }
    }

    /// Writes the output: with its pauses to a terminal, at once to anything else.
    pub(crate) async fn play(self, pace: Pace, output: &Output) -> Result<(), Failure> {
        let terminal = io::stdout().is_terminal();
        if terminal && output.is_table() {
            self.hint_at_size();
        }
        self.play_to(&mut io::stdout().lock(), pace, terminal).await
    }

    async fn play_to(self, out: &mut impl Write, pace: Pace, pauses: bool) -> Result<(), Failure> {
        for step in self.steps(pace) {
            let step = step.map_err(|error| Failure::failed(error.to_string()))?;
            if pauses && !step.pause.is_zero() {
                sleep(step.pause).await;
            }
            out.write_all(step.output.as_bytes()).and_then(|()| out.flush()).map_err(Failure::Output)?;
        }
        Ok(())
    }

    fn hint_at_size(&self) {
        let Header { width, height, .. } = self.header;
        if let Ok(window) = rustix::termios::tcgetwinsize(io::stdout())
            && (window.ws_col < width || window.ws_row < height)
        {
            note(&format!(
                "the session's terminal had {width}x{height} characters, yours has {}x{}; enlarge it to see everything in place",
                window.ws_col, window.ws_row
            ));
        }
    }

    fn steps(self, pace: Pace) -> impl Iterator<Item = Result<Step, InvalidCast>> + 'a {
        let mut played_until = 0.0;
        let step = move |(index, line): (usize, &str)| {
            let (time, kind, output): (f64, String, String) = match serde_json::from_str(line) {
                Ok(event) => event,
                // The header is line 1.
                Err(_) => return Some(Err(InvalidCast::Event(index + 2))),
            };
            if kind != "o" {
                return None;
            }
            let pause = pace.pause(time - played_until);
            played_until = time;
            Some(Ok(Step { pause, output }))
        };
        self.events.enumerate().filter(|(_, line)| !line.trim().is_empty()).filter_map(step)
    }
}

impl Pace {
    /// The idle limit is one of the session's time: it is applied before the speed, as asciinema does.
    fn pause(self, seconds: f64) -> Duration {
        let pause = Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::ZERO);
        let pause = self.idle_limit.map_or(pause, |limit| pause.min(limit));
        Duration::try_from_secs_f64(pause.as_secs_f64() / self.speed).unwrap_or(Duration::ZERO)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::{Cast, InvalidCast, Pace};

    const CAST: &str = r#"{"version": 2, "width": 80, "height": 24, "timestamp": 1700000000}
[0.5, "o", "$ "]
[1.0, "i", "ls\r"]
[2.5, "o", "ls\r\n"]
[62.5, "o", "\u001b[1mfile\u001b[0m\r\n"]

[62.0, "o", "$ "]
"#;

    fn pauses(pace: Pace) -> Vec<u128> {
        Cast::parse(CAST).unwrap().steps(pace).map(|step| step.unwrap().pause.as_millis()).collect()
    }

    #[test]
    fn speed_and_idle_limit_shorten_pauses() {
        assert_eq!(pauses(Pace { speed: 1.0, idle_limit: None }), [500, 2_000, 60_000, 0]);
        assert_eq!(pauses(Pace { speed: 2.0, idle_limit: Some(Duration::from_secs(1)) }), [250, 500, 500, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn only_output_is_played_and_takes_its_time() {
        let started = Instant::now();
        let mut out = Vec::new();
        Cast::parse(CAST).unwrap().play_to(&mut out, Pace { speed: 1.0, idle_limit: None }, true).await.unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "$ ls\r\n\u{1b}[1mfile\u{1b}[0m\r\n$ ");
        assert_eq!(started.elapsed().as_millis(), 62_500);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_terminal_nothing_waits() {
        let started = Instant::now();
        Cast::parse(CAST).unwrap().play_to(&mut Vec::new(), Pace { speed: 1.0, idle_limit: None }, false).await.unwrap();
        assert!(started.elapsed().is_zero());
    }

    #[tokio::test]
    async fn a_cut_recording_plays_up_to_the_cut_and_says_so() {
        let cut = CAST.rfind("le\\u001b").unwrap();
        let mut out = Vec::new();
        let failure = Cast::parse(&CAST[..cut]).unwrap().play_to(&mut out, Pace { speed: 1.0, idle_limit: None }, false).await.unwrap_err();
        assert_eq!((String::from_utf8(out).unwrap().as_str(), failure.to_string().as_str()), ("$ ls\r\n", "line 5 of the recording is damaged or cut off"));
    }

    #[test]
    fn what_is_no_asciicast_is_refused() {
        for text in ["", "hello", "{\"version\": 1, \"width\": 80, \"height\": 24}", "[0.5, \"o\", \"$ \"]"] {
            assert_eq!(Cast::parse(text).unwrap_err(), InvalidCast::Header, "{text}");
        }
    }
}
