//! The messages of a shell session's stream, one stream for each session, opened by the coordinator.

use prost::Message as _;

use crate::error::{Malformed, bounded, text};
use crate::id::SessionId;
use crate::limits::{COMMAND_MAX_BYTES, NAME_MAX_BYTES, SHELL_CHUNK_MAX_BYTES, TERMINAL_SIDE_MAX, TEXT_MAX_BYTES};
use crate::wire;

/// From the coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellRequest {
    /// The first message, once.
    Open(ShellOpen),
    /// Bytes for the terminal.
    Input(Vec<u8>),
    /// The operator's window has another size.
    Resize(WindowSize),
    /// A signal for the foreground process group, by number.
    Signal(u8),
    /// Ends the session and every process in it.
    Close(String),
}

/// What to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellOpen {
    /// The session's id, which its processes see as `LOOPBACK_SESSION_ID`.
    pub session: SessionId,
    /// The login name to run as; empty is the agent's configured one.
    pub run_as: String,
    /// The operator's terminal type.
    pub term: String,
    /// The operator's window.
    pub size: WindowSize,
    /// A command for the login shell instead of an interactive session.
    pub command: Option<String>,
    /// The operator's `LANG`, or empty.
    pub lang: String,
}

/// A terminal's size in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct WindowSize {
    /// Width.
    pub columns: u16,
    /// Height.
    pub rows: u16,
}

/// From the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShellEvent {
    /// The shell runs, with this process id.
    Opened(u32),
    /// The shell cannot be opened, and why; the last message.
    Refused(String),
    /// Bytes from the terminal.
    Output(Vec<u8>),
    /// Whether the terminal echoes from now on; it does when a session opens.
    Echo(bool),
    /// The shell ended and no process of the session is left; the last message.
    Exited(Exit),
}

/// How a shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

impl WindowSize {
    /// A size within bounds, neither side zero.
    #[must_use]
    pub fn clamped(columns: u16, rows: u16) -> Self {
        Self { columns: columns.clamp(1, TERMINAL_SIDE_MAX), rows: rows.clamp(1, TERMINAL_SIDE_MAX) }
    }
}

impl ShellRequest {
    /// The payload of the frame that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        use wire::shell_request::Request;
        let request = match self {
            Self::Open(open) => Request::Open(wire::ShellOpen {
                session: open.session.to_string(),
                run_as: open.run_as.clone(),
                term: open.term.clone(),
                size: Some(size_to_wire(open.size)),
                command: open.command.clone().unwrap_or_default(),
                lang: open.lang.clone(),
            }),
            Self::Input(bytes) => Request::Input(bytes.clone()),
            Self::Resize(size) => Request::Resize(size_to_wire(*size)),
            Self::Signal(number) => Request::Signal((*number).into()),
            Self::Close(reason) => Request::Close(reason.clone()),
        };
        wire::ShellRequest { request: Some(request) }.encode_to_vec()
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    /// What the coordinator got wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        use wire::shell_request::Request;
        let message = wire::ShellRequest::decode(payload).map_err(|_| Malformed::Message("shell request"))?;
        Ok(match message.request.ok_or(Malformed::Missing("shell_request.request"))? {
            Request::Open(open) => Self::Open(open.try_into()?),
            Request::Input(bytes) => Self::Input(chunk("shell_request.input", bytes)?),
            Request::Resize(size) => Self::Resize(size.try_into()?),
            Request::Signal(number) => Self::Signal(number.try_into().map_err(|_| Malformed::Invalid("shell_request.signal"))?),
            Request::Close(reason) => Self::Close(text("shell_request.close", reason, TEXT_MAX_BYTES)?),
        })
    }
}

impl ShellEvent {
    /// The payload of the frame that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        use wire::shell_event::Event;
        let event = match self {
            Self::Opened(pid) => Event::OpenedPid(*pid),
            Self::Refused(reason) => Event::Refused(reason.clone()),
            Self::Output(bytes) => Event::Output(bytes.clone()),
            Self::Echo(on) => Event::Echo(*on),
            Self::Exited(Exit::Code(code)) => Event::ExitCode((*code).into()),
            Self::Exited(Exit::Signal(number)) => Event::ExitSignal((*number).into()),
        };
        wire::ShellEvent { event: Some(event) }.encode_to_vec()
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    /// What the agent got wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        use wire::shell_event::Event;
        let message = wire::ShellEvent::decode(payload).map_err(|_| Malformed::Message("shell event"))?;
        let number = |value: u32| u8::try_from(value).map_err(|_| Malformed::Invalid("shell_event.exit"));
        Ok(match message.event.ok_or(Malformed::Missing("shell_event.event"))? {
            Event::OpenedPid(pid) => Self::Opened(pid),
            Event::Refused(reason) => Self::Refused(text("shell_event.refused", reason, TEXT_MAX_BYTES)?),
            Event::Output(bytes) => Self::Output(chunk("shell_event.output", bytes)?),
            Event::Echo(on) => Self::Echo(on),
            Event::ExitCode(code) => Self::Exited(Exit::Code(number(code)?)),
            Event::ExitSignal(signal) => Self::Exited(Exit::Signal(number(signal)?)),
        })
    }
}

impl TryFrom<wire::ShellOpen> for ShellOpen {
    type Error = Malformed;

    fn try_from(message: wire::ShellOpen) -> Result<Self, Malformed> {
        let command = text("shell_open.command", message.command, COMMAND_MAX_BYTES)?;
        Ok(Self {
            session: message.session.parse().map_err(|_| Malformed::Invalid("shell_open.session"))?,
            run_as: text("shell_open.run_as", message.run_as, NAME_MAX_BYTES)?,
            term: text("shell_open.term", message.term, NAME_MAX_BYTES)?,
            size: message.size.ok_or(Malformed::Missing("shell_open.size"))?.try_into()?,
            command: (!command.is_empty()).then_some(command),
            lang: text("shell_open.lang", message.lang, NAME_MAX_BYTES)?,
        })
    }
}

impl TryFrom<wire::WindowSize> for WindowSize {
    type Error = Malformed;

    fn try_from(message: wire::WindowSize) -> Result<Self, Malformed> {
        let side = |value: u32| u16::try_from(value).ok().filter(|side| (1..=TERMINAL_SIDE_MAX).contains(side)).ok_or(Malformed::Invalid("window_size"));
        Ok(Self { columns: side(message.columns)?, rows: side(message.rows)? })
    }
}

fn size_to_wire(size: WindowSize) -> wire::WindowSize {
    wire::WindowSize { columns: size.columns.into(), rows: size.rows.into() }
}

fn chunk(field: &'static str, bytes: Vec<u8>) -> Result<Vec<u8>, Malformed> {
    bounded(field, bytes.len(), SHELL_CHUNK_MAX_BYTES)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{Exit, ShellEvent, ShellOpen, ShellRequest, WindowSize};
    use crate::error::Malformed;
    use crate::id::Id;
    use crate::limits::SHELL_CHUNK_MAX_BYTES;

    #[test]
    fn requests_read_back() {
        let size = WindowSize { columns: 80, rows: 24 };
        let open =
            ShellOpen { session: Id::new(1, [1; 10]), run_as: "root".into(), term: "xterm".into(), size, command: Some("id\n".into()), lang: String::new() };
        for request in [
            ShellRequest::Open(open),
            ShellRequest::Input(vec![0, 255]),
            ShellRequest::Resize(size),
            ShellRequest::Signal(2),
            ShellRequest::Close("time limit".into()),
        ] {
            assert_eq!(ShellRequest::decode(&request.encode()), Ok(request));
        }
    }

    #[test]
    fn events_read_back() {
        for event in [
            ShellEvent::Opened(1),
            ShellEvent::Refused("no such user".into()),
            ShellEvent::Output(vec![27]),
            ShellEvent::Echo(false),
            ShellEvent::Exited(Exit::Code(0)),
            ShellEvent::Exited(Exit::Signal(9)),
        ] {
            assert_eq!(ShellEvent::decode(&event.encode()), Ok(event));
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        let zero = ShellRequest::Resize(WindowSize { columns: 0, rows: 1 });
        assert_eq!(ShellRequest::decode(&zero.encode()), Err(Malformed::Invalid("window_size")));
        let long = ShellEvent::Output(vec![0; SHELL_CHUNK_MAX_BYTES + 1]);
        assert!(matches!(ShellEvent::decode(&long.encode()), Err(Malformed::TooLarge { .. })));
    }
}
