//! What the operator does: types, changes the window, presses Ctrl-C, hangs up.

use std::io;
use std::time::Duration;

use loopback_api::session::ClientMessage;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Interval, MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::escape::{Escapes, Typed};
use super::input::Input;
use super::{said, window_size};
use crate::limits::{END_OF_INPUT_PERIOD_MS, PING_PERIOD_MS};

/// `SIGINT`.
const INTERRUPT: u8 = 2;
/// Ctrl-D: what a terminal understands as the end of its input.
const END_OF_TRANSMISSION: u8 = 4;

/// The operator at this terminal, or the pipe in their place.
pub(super) struct Operator {
    input: Input,
    /// On a terminal only.
    escapes: Option<Escapes>,
    /// There is nothing more to read.
    ended: bool,
    /// They want to close.
    closing: bool,
    /// What was typed last ended a line, or nothing was typed yet.
    at_line_start: bool,
    end_of_input: Interval,
    ping: Interval,
    window: Signal,
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Operator {
    pub(super) fn listen(terminal: bool) -> io::Result<Self> {
        Ok(Self {
            input: Input::start()?,
            escapes: terminal.then(Escapes::default),
            ended: false,
            closing: false,
            at_line_start: true,
            end_of_input: every(END_OF_INPUT_PERIOD_MS),
            ping: every(PING_PERIOD_MS),
            window: signal(SignalKind::window_change())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// The next message for the host; nothing when the operator wants to close.
    pub(super) async fn next(&mut self) -> Option<Message> {
        while !self.closing {
            let message = tokio::select! {
                chunk = self.input.next(), if !self.ended => match chunk {
                    Some(bytes) => self.typed(bytes),
                    None => {
                        self.ended = true;
                        None
                    }
                },
                // The end of a pipe is a state, and Ctrl-D a keystroke that a program may miss or that ends only the innermost of several: it is
                // repeated as long as somebody reads.
                _ = self.end_of_input.tick(), if self.ended => Some(self.end()),
                _ = self.window.recv() => Some(said(&ClientMessage::Resize(window_size()))),
                _ = self.interrupt.recv() => Some(said(&ClientMessage::Signal { number: INTERRUPT })),
                _ = self.ping.tick() => Some(Message::Ping(Bytes::new())),
                _ = self.terminate.recv() => return None,
                _ = self.hang_up.recv() => return None,
            };
            if message.is_some() {
                return message;
            }
        }
        None
    }

    /// Bytes for the host, if there are any.
    fn typed(&mut self, bytes: Vec<u8>) -> Option<Message> {
        let Typed { bytes, close } = match &mut self.escapes {
            None => Typed { bytes, close: false },
            Some(escapes) => escapes.feed(&bytes),
        };
        self.closing = close;
        self.at_line_start = bytes.last().map_or(self.at_line_start, |last| *last == b'\n');
        (!bytes.is_empty()).then(|| Message::binary(bytes))
    }

    /// Ctrl-D. In the middle of a line the first only hands the line over, without its newline, and the second is the end.
    fn end(&mut self) -> Message {
        let times = if self.at_line_start { 1 } else { 2 };
        self.at_line_start = true;
        Message::binary(vec![END_OF_TRANSMISSION; times])
    }
}

fn every(period_ms: u64) -> Interval {
    let mut interval = interval(Duration::from_millis(period_ms));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}
