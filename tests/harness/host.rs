//! A machine with a real agent on it, installed by the line that `loopback token create` prints.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use crate::machine::Machine;
use crate::process::{Daemon, Outcome, run};

const INSTALL_LIMIT: Duration = Duration::from_secs(60);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
/// What makes a host itself.
const IDENTITY: [&str; 4] = ["host.key", "host.crt", "ca.crt", "identity.json"];

/// A machine that is, or is to become, a host.
pub struct Host {
    /// Where it runs.
    pub machine: Machine,
    daemon: Option<Daemon>,
}

impl Host {
    /// A machine without an agent.
    #[must_use]
    pub const fn new(machine: Machine) -> Self {
        Self { machine, daemon: None }
    }

    /// Runs the printed line, with two changes: no sudo, and everything below the machine's own directory.
    ///
    /// # Errors
    /// The line is not of the form expected, or cannot be run.
    pub fn install(&self, line: &str) -> Result<Outcome> {
        let sudo = " sudo --preserve-env=LOOPBACK_TOKEN sh";
        ensure!(line.starts_with("curl ") && line.contains(" | LOOPBACK_TOKEN=") && line.ends_with(sudo), "an unexpected install line: {line}");
        let adapted = line.replace(" | ", &format!(" | LOOPBACK_PREFIX='{}' ", self.prefix().display())).replace(sudo, " sh");
        let mut command = self.machine.command("sh");
        command.args(["-c", &adapted]);
        run(command, "", INSTALL_LIMIT)
    }

    /// Starts the agent.
    ///
    /// # Errors
    /// It is not installed.
    pub fn start(&mut self) -> Result<()> {
        ensure!(self.daemon.is_none(), "the agent of {} runs already", self.machine.name);
        let mut command = self.machine.command(self.binary());
        command.args(self.globals()).arg("run");
        self.daemon = Some(Daemon::start(&self.machine.name, command, &self.log_file())?);
        Ok(())
    }

    /// Ends the agent with SIGKILL.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("the agent does not run")?.kill()
    }

    /// Ends the agent in order, and gives its exit code.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn stop(&mut self) -> Result<i32> {
        self.daemon.take().context("the agent does not run")?.stop()
    }

    /// The agent's process id.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        self.daemon.as_ref().map(Daemon::pid).context("the agent does not run")
    }

    /// Fails if the agent has ended by itself.
    ///
    /// # Errors
    /// It has, or never ran.
    pub fn check_alive(&mut self) -> Result<()> {
        self.daemon.as_mut().context("the agent does not run")?.check_alive()
    }

    /// Forgets a daemon that went with its machine.
    pub fn lose_daemon(&mut self) {
        self.daemon = None;
    }

    /// Runs `loopback-agent` with its configuration to the end.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn agent(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Result<Outcome> {
        let mut command = self.machine.command(self.binary());
        command.args(self.globals()).args(arguments).envs(environment.iter().copied());
        run(command, "", COMMAND_LIMIT)
    }

    /// Puts another host's binary, configuration and identity here: a cloned machine.
    ///
    /// # Errors
    /// The other is not installed.
    pub fn clone_identity(&self, other: &Self) -> Result<()> {
        fs::create_dir_all(self.state())?;
        for file in IDENTITY {
            fs::copy(other.state().join(file), self.state().join(file)).with_context(|| format!("cannot copy {file}"))?;
        }
        for (from, to) in [(other.binary(), self.binary()), (other.config(), self.config())] {
            fs::create_dir_all(to.parent().context("a file has a directory")?)?;
            fs::copy(from, to)?;
        }
        Ok(())
    }

    /// Appends TOML lines to the agent's configuration.
    ///
    /// # Errors
    /// It is not installed.
    pub fn configure(&self, lines: &str) -> Result<()> {
        let text = fs::read_to_string(self.config())?;
        Ok(fs::write(self.config(), format!("{text}\n{lines}\n"))?)
    }

    /// What it was installed below.
    #[must_use]
    pub fn prefix(&self) -> PathBuf {
        self.machine.directory.join("root")
    }

    /// The agent's state directory.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.prefix().join("var/lib/loopback-agent")
    }

    /// The installed agent.
    #[must_use]
    pub fn binary(&self) -> PathBuf {
        self.prefix().join("usr/local/bin/loopback-agent")
    }

    /// All the agent logged, over its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// `loopback-agent` with its configuration: the words before a command's.
    #[must_use]
    pub fn words(&self) -> Vec<PathBuf> {
        std::iter::once(self.binary()).chain(self.globals()).collect()
    }

    fn config(&self) -> PathBuf {
        self.prefix().join("etc/loopback/agent.toml")
    }

    fn globals(&self) -> [PathBuf; 4] {
        ["--config".into(), self.config(), "--state-dir".into(), self.state()]
    }

    fn log_file(&self) -> PathBuf {
        self.machine.directory.join("agent.log")
    }
}
