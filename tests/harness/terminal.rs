//! A terminal with a program in it: what an operator types and sees. It shows bytes as they came; it does not draw a screen.

use std::ffi::OsStr;
use std::io::{Read as _, Write};
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result};
use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};

use crate::wait::wait_until;

const READ_BYTES: usize = 8192;

/// A program in its terminal; it ends with its guard.
pub struct Terminal {
    master: Option<Box<dyn MasterPty + Send>>,
    keyboard: Option<Box<dyn Write + Send>>,
    child: Box<dyn Child + Send + Sync>,
    seen: Arc<Mutex<Vec<u8>>>,
    reader: Option<JoinHandle<()>>,
    /// Of `seen`: what lies before it has been expected already.
    expected: usize,
}

impl Terminal {
    /// Starts a program in a terminal of 80 by 24.
    ///
    /// # Errors
    /// No terminal, or it cannot be started.
    pub fn start(command: &Command, environment: &[(&str, &OsStr)]) -> Result<Self> {
        let pair = native_pty_system().openpty(size(80, 24))?;
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env("TERM", "xterm-256color");
        builder.env("LANG", "C.UTF-8");
        environment.iter().for_each(|(name, value)| builder.env(name, value));
        let child = pair.slave.spawn_command(builder)?;
        let mut screen = pair.master.try_clone_reader()?;
        let keyboard = pair.master.take_writer()?;
        let seen = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&seen);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; READ_BYTES];
            // A terminal whose last process ended reads as an error.
            while let Ok(count @ 1..) = screen.read(&mut buffer) {
                into.lock().unwrap_or_else(PoisonError::into_inner).extend(buffer.iter().take(count));
            }
        });
        Ok(Self { master: Some(pair.master), keyboard: Some(keyboard), child, seen, reader: Some(reader), expected: 0 })
    }

    /// Types.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn send(&mut self, text: &str) -> Result<()> {
        let keyboard = self.keyboard.as_mut().context("the terminal is gone")?;
        keyboard.write_all(text.as_bytes())?;
        Ok(keyboard.flush()?)
    }

    /// Waits until a text appears after the one expected before, and gives what came in between.
    ///
    /// # Errors
    /// It does not appear in time; the error shows what did.
    pub fn expect(&mut self, text: &str, within: Duration) -> Result<String> {
        let from = self.expected;
        let found = wait_until(within, format!("the terminal to show {text:?}"), || Ok(find(&self.bytes(), text.as_bytes(), from)));
        let at = found.with_context(|| format!("the terminal showed {:?}", self.screen()))?;
        self.expected = at + text.len();
        Ok(String::from_utf8_lossy(self.bytes().get(from..at).unwrap_or_default()).into_owned())
    }

    /// Changes the window's size.
    ///
    /// # Errors
    /// The terminal is gone.
    pub fn resize(&self, columns: u16, rows: u16) -> Result<()> {
        self.master.as_ref().context("the terminal is gone")?.resize(size(columns, rows))
    }

    /// Waits for the program to end, and gives its exit code.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn wait(&mut self, within: Duration) -> Result<u32> {
        let status = wait_until(within, "the program in the terminal to end", || Ok(self.child.try_wait()?));
        Ok(status.with_context(|| format!("the terminal showed {:?}", self.screen()))?.exit_code())
    }

    /// All that was shown so far.
    #[must_use]
    pub fn screen(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _gone = self.child.kill();
            let _status = self.child.wait();
        }
        // The reader ends when the last handle of the terminal is closed.
        drop(self.keyboard.take());
        drop(self.master.take());
        if let Some(reader) = self.reader.take() {
            let _ended = reader.join();
        }
    }
}

fn find(bytes: &[u8], text: &[u8], from: usize) -> Option<usize> {
    bytes.get(from..)?.windows(text.len()).position(|window| window == text).map(|at| from + at)
}

const fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::Terminal;

    const WITHIN: Duration = Duration::from_secs(10);

    #[test]
    fn a_terminal_is_typed_into_resized_and_left() {
        let mut command = Command::new("sh");
        command.args(["-c", "PS1=; echo ready; exec sh"]);
        let mut terminal = Terminal::start(&command, &[]).unwrap();
        terminal.expect("ready", WITHIN).unwrap();
        terminal.resize(101, 37).unwrap();
        terminal.send("stty size\r").unwrap();
        terminal.expect("37 101", WITHIN).unwrap();
        terminal.send("exit 5\r").unwrap();
        assert_eq!(terminal.wait(WITHIN).unwrap(), 5);
        assert!(terminal.expect("never", Duration::ZERO).unwrap_err().to_string().contains("the terminal showed"));
    }
}
