//! The operator's terminal: its size, and raw mode while a session has it.

use std::io;
use std::panic;

use loopback_protocol::shell::WindowSize;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The terminal's size; a customary one when there is no terminal.
pub(crate) fn window_size() -> WindowSize {
    let size = [tcgetwinsize(io::stdout()), tcgetwinsize(io::stdin())].into_iter().flatten().find(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or(WindowSize { columns: 80, rows: 24 }, |size| WindowSize { columns: size.ws_col, rows: size.ws_row })
}

/// While it lives, every key goes to the session. Dropping it gives the terminal back as it was, and so does a panic.
pub(super) struct RawMode {
    before: Termios,
}

impl RawMode {
    /// Nothing when standard input is no terminal.
    pub(super) fn enter() -> io::Result<Option<Self>> {
        if !isatty(io::stdin()) {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        restore_on_panic(before.clone());
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Drain, &raw)?;
        Ok(Some(Self { before }))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Drain, &self.before);
    }
}

/// A release aborts in a panic, and nothing is dropped then.
fn restore_on_panic(before: Termios) {
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &before);
        report(info);
    }));
}
