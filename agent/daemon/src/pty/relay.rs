//! The bytes between a terminal and a stream, for as long as the session lives. It holds at most one chunk of output and a bounded queue of input, never waits for one side while the other has
//! something to say, and tells the coordinator when the terminal stops echoing. It starts and ends no process.
//!
//! # Echo and passwords
//! The coordinator does not record what is typed while the terminal does not echo, so it must hear of that before the typing arrives. The terminal is asked before each piece of output leaves, so
//! a program that stops the echo and then prompts (`sudo`, `ssh`, getpass(3)) is reported ahead of its prompt, and an operator who reads the prompt types behind the report. A program that prompts
//! first, or never, is found by asking again, soon after the last activity and at least twice a second, and before each piece of input enters the terminal. What was typed ahead of the
//! report, in that gap or blindly, the coordinator has recorded.

use std::io;
use std::time::Duration;

use loopback_protocol::error::Malformed;
use loopback_protocol::frame::{self, Decoder};
use loopback_protocol::limits::{SHELL_CHUNK_MAX_BYTES, SHELL_FRAME_MAX_BYTES};
use loopback_protocol::shell::{ShellEvent, ShellRequest};
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Child;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::SessionError;
use super::queue::Queue;
use super::terminal::{Reading, Terminal};

/// Input that waits for a program to read it. Beyond this the stream is not read, so a request to close may wait behind it; who must be obeyed at once stops the stream, which cancels the session.
const INPUT_QUEUE_MAX_BYTES: usize = 1024 * 1024;
/// One read of the stream.
const STREAM_READ_MAX_BYTES: usize = 4096;
/// The last output of a session; the kernel holds less, unless something outside the session floods its terminal.
const DRAIN_MAX_BYTES: usize = 1024 * 1024;
/// Between two looks at the echo: right after activity, and at rest.
const ECHO_LOOK_MIN_MS: u64 = 10;
const ECHO_LOOK_MAX_MS: u64 = 500;

/// What ended the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// The shell ended.
    Shell,
    /// The coordinator closed the session.
    Closed(String),
    /// The coordinator finished its stream without a word.
    StreamEnded,
    /// The agent stops.
    Cancelled,
}

/// One session's bytes.
pub(super) struct Relay {
    terminal: Terminal,
    is_hung_up: bool,
    decoder: Decoder,
    /// Frames for the coordinator.
    outgoing: Queue,
    /// Bytes for the terminal.
    input: Queue,
    echo: Echo,
}

/// What happens to a session.
enum Event {
    Cancelled,
    ShellEnded,
    Received(usize),
    Sent(usize),
    Output(Reading),
    Typed(usize),
    EchoDue,
}

impl Relay {
    pub(super) fn new(terminal: Terminal, decoder: Decoder) -> Self {
        Self { terminal, is_hung_up: false, decoder, outgoing: Queue::default(), input: Queue::default(), echo: Echo::new() }
    }

    /// Queues a message for the coordinator.
    pub(super) fn announce(&mut self, event: &ShellEvent) -> Result<(), Malformed> {
        self.outgoing.push(&frame::encode(&event.encode(), SHELL_FRAME_MAX_BYTES)?);
        Ok(())
    }

    /// Frames that have not left yet.
    pub(super) fn unsent(&self) -> &[u8] {
        self.outgoing.front()
    }

    /// Queues what the terminal still holds, after its last process.
    pub(super) fn drain(&mut self) -> Result<(), SessionError> {
        let mut drained = 0;
        while drained < DRAIN_MAX_BYTES {
            let mut output = Vec::new();
            let reading = self.terminal.read_now(&mut output).map_err(SessionError::Terminal)?;
            drained += output.len();
            self.look_at_echo()?;
            self.forward_output(&output)?;
            if reading != Some(Reading::Bytes) {
                break;
            }
        }
        Ok(())
    }

    /// Moves bytes until something ends the session.
    pub(super) async fn run<W, R>(&mut self, send: &mut W, recv: &mut R, shell: &mut Child, cancel: &CancellationToken) -> Result<Ending, SessionError>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        // What came in one piece with the request to open.
        if let Some(ending) = self.obey()? {
            return Ok(ending);
        }
        let mut received = [0; STREAM_READ_MAX_BYTES];
        loop {
            let mut output = Vec::new();
            let event = tokio::select! {
                () = cancel.cancelled() => Event::Cancelled,
                _reaped = shell.wait() => Event::ShellEnded,
                count = recv.read(&mut received), if self.input.len() < INPUT_QUEUE_MAX_BYTES => Event::Received(count.map_err(SessionError::Stream)?),
                count = send.write(self.outgoing.front()), if !self.outgoing.is_empty() => Event::Sent(count.map_err(SessionError::Stream)?),
                // The terminal is read only when the stream has taken all: a slow reader slows the program.
                reading = self.terminal.read(&mut output), if self.outgoing.is_empty() && !self.is_hung_up => Event::Output(reading.map_err(SessionError::Terminal)?),
                count = self.terminal.write(self.input.front()), if !self.input.is_empty() => Event::Typed(count.map_err(SessionError::Terminal)?),
                () = tokio::time::sleep_until(self.echo.look_at) => Event::EchoDue,
            };
            match event {
                Event::Cancelled => return Ok(Ending::Cancelled),
                Event::ShellEnded => return Ok(Ending::Shell),
                Event::Received(0) if self.decoder.is_at_boundary() => return Ok(Ending::StreamEnded),
                Event::Received(0) => return Err(SessionError::Stream(io::ErrorKind::UnexpectedEof.into())),
                Event::Received(count) => {
                    self.decoder.push(received.get(..count).unwrap_or_default());
                    if let Some(ending) = self.obey()? {
                        return Ok(ending);
                    }
                }
                Event::Sent(0) => return Err(SessionError::Stream(io::ErrorKind::WriteZero.into())),
                Event::Sent(count) => self.outgoing.advance(count),
                Event::Output(Reading::HungUp) => self.is_hung_up = true,
                Event::Output(Reading::Bytes) => {
                    self.look_at_echo()?;
                    self.echo.look_soon();
                    self.forward_output(&output)?;
                }
                Event::Typed(count) => self.input.advance(count),
                Event::EchoDue => {
                    self.look_at_echo()?;
                    self.echo.look_later();
                }
            }
        }
    }

    /// Does what the received frames say, until one of them ends the session.
    fn obey(&mut self) -> Result<Option<Ending>, SessionError> {
        while let Some(payload) = self.decoder.next_frame()? {
            match ShellRequest::decode(&payload)? {
                ShellRequest::Open(_) => return Err(Malformed::Invalid("shell_request.open").into()),
                ShellRequest::Close(reason) => return Ok(Some(Ending::Closed(reason))),
                ShellRequest::Resize(size) => self.terminal.resize(size).map_err(SessionError::Terminal)?,
                ShellRequest::Signal(number) => self.signal(number)?,
                ShellRequest::Input(bytes) => {
                    self.look_at_echo()?;
                    self.echo.look_soon();
                    self.input.push(&bytes);
                }
            }
        }
        Ok(None)
    }

    fn signal(&self, number: u8) -> Result<(), SessionError> {
        let signal = Signal::from_named_raw(number.into()).ok_or(Malformed::Invalid("shell_request.signal"))?;
        // No process group is in the foreground while a shell hands it on, or after the last.
        if let Err(error) = self.terminal.signal_foreground(signal) {
            tracing::debug!(number, %error, "signal reached no process");
        }
        Ok(())
    }

    fn forward_output(&mut self, output: &[u8]) -> Result<(), Malformed> {
        output.chunks(SHELL_CHUNK_MAX_BYTES).try_for_each(|chunk| self.announce(&ShellEvent::Output(chunk.to_vec())))
    }

    /// Reports a change of the echo.
    fn look_at_echo(&mut self) -> Result<(), SessionError> {
        // A reader this slow gets no output either; there is another look before the next piece.
        if self.outgoing.len() > SHELL_FRAME_MAX_BYTES {
            return Ok(());
        }
        let echoes = self.terminal.echoes().map_err(SessionError::Terminal)?;
        if echoes != self.echo.is_on {
            self.echo.is_on = echoes;
            self.announce(&ShellEvent::Echo(echoes))?;
        }
        Ok(())
    }
}

/// What the coordinator knows of the echo, and when to look again.
struct Echo {
    is_on: bool,
    look_at: Instant,
    pause: Duration,
}

impl Echo {
    fn new() -> Self {
        let pause = Duration::from_millis(ECHO_LOOK_MIN_MS);
        Self { is_on: true, look_at: Instant::now() + pause, pause }
    }

    fn look_soon(&mut self) {
        let is_on = self.is_on;
        *self = Self { is_on, ..Self::new() };
    }

    fn look_later(&mut self) {
        self.pause = (self.pause * 2).min(Duration::from_millis(ECHO_LOOK_MAX_MS));
        self.look_at = Instant::now() + self.pause;
    }
}
