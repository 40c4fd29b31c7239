//! A program run from the repository's root, with its output where ours goes, or read. An interrupt goes to it from the terminal; we wait until it has cleaned up.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context as _, Result, ensure};
use signal_hook::consts::SIGINT;

/// Signals belong to the process, and so does this.
static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on an interrupt ends the chore after the program that runs, not in its middle.
pub fn outlive_interrupts() -> Result<()> {
    let flag = INTERRUPTED.get_or_init(Arc::default);
    signal_hook::flag::register(SIGINT, Arc::clone(flag)).map(drop).context("cannot watch for interrupts")
}

fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A program and its arguments.
pub struct Program(Command);

impl Program {
    /// Any program.
    pub fn new(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(name);
        command.args(arguments).current_dir(root());
        Self(command)
    }

    /// The cargo that runs us.
    pub fn cargo(arguments: &[&str]) -> Self {
        Self::new(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments)
    }

    /// One more argument.
    pub fn argument(&mut self, argument: &str) -> &mut Self {
        self.0.arg(argument);
        self
    }

    /// One more argument, if wanted.
    pub fn flag(&mut self, flag: &str, wanted: bool) -> &mut Self {
        if wanted {
            self.0.arg(flag);
        }
        self
    }

    /// A variable of its environment.
    pub fn env(&mut self, name: &str, value: &str) -> &mut Self {
        self.0.env(name, value);
        self
    }

    /// Runs it to its end.
    ///
    /// # Errors
    /// It cannot be started, or ends badly.
    pub fn run(&mut self) -> Result<()> {
        let words = self.words();
        let status = self.0.status().with_context(|| format!("cannot run `{words}`"))?;
        ensure!(!interrupted(), "interrupted");
        ensure!(status.success(), "`{words}` failed ({status})");
        Ok(())
    }

    /// Becomes it: from here on signals are its own business.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn replace(&mut self) -> Result<()> {
        Err(self.0.exec()).with_context(|| format!("cannot run `{}`", self.words()))
    }

    /// Runs it to its end and gives what it wrote.
    ///
    /// # Errors
    /// It cannot be started, or ends badly.
    pub fn read(&mut self) -> Result<String> {
        let words = self.words();
        let output = self.0.stderr(Stdio::inherit()).output().with_context(|| format!("cannot run `{words}`"))?;
        ensure!(!interrupted(), "interrupted");
        ensure!(output.status.success(), "`{words}` failed ({})", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    /// Runs it to its end, passes its complaints on line by line, and gives them, with whether it ended well.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn stream_stderr(&mut self) -> Result<(bool, String)> {
        let words = self.words();
        let mut child = self.0.stderr(Stdio::piped()).spawn().with_context(|| format!("cannot run `{words}`"))?;
        let mut all = String::new();
        for line in BufReader::new(child.stderr.take().context("no stderr")?).lines() {
            let line = line?;
            eprintln!("{line}");
            all.push_str(&line);
            all.push('\n');
        }
        let status = child.wait()?;
        ensure!(!interrupted(), "interrupted");
        Ok((status.success(), all))
    }

    fn words(&self) -> String {
        std::iter::once(self.0.get_program()).chain(self.0.get_args()).map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
    }
}
