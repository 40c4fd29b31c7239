//! An operator with a home of their own, who runs the built binary: through pipes, or at a terminal.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::coordinator::{Authority, Coordinator};

const BINARY: &str = env!("CARGO_BIN_EXE_loopback");
const DEADLINE: Duration = Duration::from_secs(30);

pub struct Operator {
    pub home: TempDir,
    environment: Vec<(String, String)>,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Operator {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap(), environment: Vec::new() }
    }

    /// With a key for a coordinator in the environment.
    pub fn with_key(coordinator: &Coordinator, authority: &Authority) -> Self {
        let mut operator = Self::new();
        let ca = operator.home.path().join("ca.pem");
        std::fs::write(&ca, authority.pem()).unwrap();
        operator.set("LOOPBACK_URL", &coordinator.url);
        operator.set("LOOPBACK_KEY", "lbk_test");
        operator.set("LOOPBACK_CA", ca.to_str().unwrap());
        operator
    }

    pub fn set(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    fn environment(&self) -> impl Iterator<Item = (&str, &str)> {
        let own = self.environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        [("PATH", "/usr/bin:/bin"), ("TERM", "xterm"), ("LANG", "C.UTF-8"), ("LOOPBACK_CONFIG", self.home.path().to_str().unwrap())].into_iter().chain(own)
    }

    /// Runs a command with nothing on its standard input.
    pub async fn run(&self, arguments: &[&str]) -> Ran {
        self.pipe(arguments, b"").await
    }

    /// Runs a command with `input` on its standard input.
    pub async fn pipe(&self, arguments: &[&str], input: &[u8]) -> Ran {
        self.spawn(arguments, input, Stdio::piped()).await
    }

    /// Runs a command whose output nobody reads.
    pub async fn run_unread(&self, arguments: &[&str]) -> Ran {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        self.spawn(arguments, b"", writer.into()).await
    }

    async fn spawn(&self, arguments: &[&str], input: &[u8], stdout: Stdio) -> Ran {
        let mut command = Command::new(BINARY);
        command.args(arguments).env_clear().envs(self.environment()).kill_on_drop(true);
        let mut child = command.stdin(Stdio::piped()).stdout(stdout).stderr(Stdio::piped()).spawn().unwrap();
        // Our copy of what stands for its output is closed with it.
        drop(command);
        let mut stdin = child.stdin.take().unwrap();
        // Whoever does not read their input has failed before; that is the test's to see.
        let _ = stdin.write_all(input).await;
        drop(stdin);
        let output = tokio::time::timeout(DEADLINE, child.wait_with_output()).await.expect("the command ends").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Runs a command at a terminal of 100 columns and 30 rows.
    pub fn terminal(&self, arguments: &[&str]) -> Terminal {
        let pair = native_pty_system().openpty(PtySize { rows: 30, cols: 100, pixel_width: 0, pixel_height: 0 }).unwrap();
        let mut command = CommandBuilder::new(BINARY);
        command.args(arguments);
        command.env_clear();
        self.environment().for_each(|(name, value)| command.env(name, value));
        let child = pair.slave.spawn_command(command).unwrap();
        Terminal::new(pair.master, child)
    }
}

/// A terminal and the command that runs on it.
pub struct Terminal {
    master: Box<dyn MasterPty + Send>,
    writer: Box<dyn Write + Send>,
    child: RefCell<Box<dyn Child + Send + Sync>>,
    shown: Arc<(Mutex<String>, Condvar)>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    fn new(master: Box<dyn MasterPty + Send>, child: Box<dyn Child + Send + Sync>) -> Self {
        let (mut output, writer) = (master.try_clone_reader().unwrap(), master.take_writer().unwrap());
        let shown = Arc::new((Mutex::new(String::new()), Condvar::new()));
        let screen = shown.clone();
        let reader = thread::spawn(move || {
            let mut buffer = [0; 4_096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                screen.0.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
                screen.1.notify_all();
            }
        });
        Self { master, writer, child: RefCell::new(child), shown, reader: Some(reader) }
    }

    /// Waits until `text` stands on the screen.
    pub fn expect(&self, text: &str) {
        let screen = self.shown.0.lock().unwrap();
        let (screen, late) = self.shown.1.wait_timeout_while(screen, DEADLINE, |screen| !screen.contains(text)).unwrap();
        assert!(!late.timed_out(), "`{text}` does not appear in: {screen}");
    }

    pub fn shown(&self) -> String {
        self.shown.0.lock().unwrap().clone()
    }

    pub fn press(&mut self, keys: &str) {
        self.writer.write_all(keys.as_bytes()).unwrap();
    }

    pub fn resize(&self, cols: u16, rows: u16) {
        self.master.resize(PtySize { rows, cols, pixel_width: 0, pixel_height: 0 }).unwrap();
    }

    /// The terminal's modes, to compare.
    pub fn modes(&self) -> String {
        format!("{:?}", self.master.get_termios().unwrap())
    }

    /// Waits until the command has changed the terminal's modes.
    pub fn expect_modes_other_than(&self, modes: &str) {
        self.wait("change the terminal's modes", || (self.modes() != modes).then_some(()));
    }

    /// Ends the command by a signal it can handle.
    pub fn hang_up(&self) {
        let pid = self.child.borrow().process_id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// Waits for the command's end; its exit code.
    pub fn code(&self) -> u32 {
        self.wait("end", || self.child.borrow_mut().try_wait().unwrap()).exit_code()
    }

    fn wait<T>(&self, what: &str, done: impl Fn() -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(done) = done() {
                return done;
            }
            assert!(Instant::now() < deadline, "the command does not {what}: {}", self.shown());
            thread::yield_now();
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.get_mut().kill();
        let _ = self.child.get_mut().wait();
        // The reader ends with the last process on the terminal.
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}
