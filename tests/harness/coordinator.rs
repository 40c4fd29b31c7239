//! A real coordinator in the hub, with its state in the lab's directory. It is configured by a file, as any other.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::lab::Lab;
use crate::machine::Machine;
use crate::process::{Daemon, Outcome, run};
use crate::program::program;
use crate::wait::wait_for;

/// From start to answering.
const READY_LIMIT: Duration = Duration::from_secs(30);
const COMMAND_LIMIT: Duration = Duration::from_secs(60);
const PORT: u16 = 8443;

/// The hub's coordinator, running or not.
pub struct Coordinator {
    machine: Machine,
    binary: PathBuf,
    config: PathBuf,
    state: PathBuf,
    daemon: Option<Daemon>,
}

impl Coordinator {
    /// Writes its configuration, with `settings` as further TOML lines, and starts it.
    ///
    /// # Errors
    /// It has not been built, or does not answer in time.
    pub fn start(lab: &Lab, settings: &str) -> Result<Self> {
        let machine = lab.hub().clone();
        let (binary, agent) = (program("loopback-coordinator")?, program("loopback-agent")?);
        let (config, state) = (machine.directory.join("coordinator.toml"), machine.directory.join("state"));
        fs::create_dir_all(&state)?;
        let address = format!("{}:{PORT}", machine.v4);
        let text = format!("state_dir = {state:?}\nlisten = \"[::]:{PORT}\"\npublic_address = \"{address}\"\nagent_binary = {agent:?}\n{settings}\n");
        fs::write(&config, text)?;
        let mut coordinator = Self { machine, binary, config, state, daemon: None };
        coordinator.restart()?;
        Ok(coordinator)
    }

    /// Starts it again on its state, and waits until it answers.
    ///
    /// # Errors
    /// It does not answer in time, or ended.
    pub fn restart(&mut self) -> Result<()> {
        let mut command = self.machine.command(&self.binary);
        command.arg("--config").arg(&self.config).arg("run");
        let mut daemon = Daemon::start("coordinator", command, &self.log_file())?;
        let health = format!("https://{}/healthz", self.address());
        wait_for(READY_LIMIT, "the coordinator to answer", || {
            daemon.check_alive()?;
            Ok(self.machine.run(&["curl", "-fsSk", "--max-time", "2", &health])?.code == 0)
        })?;
        self.daemon = Some(daemon);
        Ok(())
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        self.daemon.take().context("the coordinator does not run")?.kill()
    }

    /// Ends it in order, and gives its exit code.
    ///
    /// # Errors
    /// It does not run, or does not end.
    pub fn stop(&mut self) -> Result<i32> {
        self.daemon.take().context("the coordinator does not run")?.stop()
    }

    /// Runs `loopback-coordinator` with its configuration to the end.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn command(&self, arguments: &[&str], input: &str) -> Result<Outcome> {
        let mut command = self.machine.command(&self.binary);
        command.arg("--config").arg(&self.config).args(arguments);
        run(command, input, COMMAND_LIMIT)
    }

    /// `loopback-coordinator` with its configuration: the words before a command's.
    #[must_use]
    pub fn words(&self) -> [PathBuf; 3] {
        [self.binary.clone(), "--config".into(), self.config.clone()]
    }

    /// The fingerprint of its certificate authority, in hexadecimal.
    ///
    /// # Errors
    /// It tells none.
    pub fn fingerprint(&self) -> Result<String> {
        let told = self.command(&["ca", "fingerprint"], "")?.ok()?;
        let is_fingerprint = |word: &&str| word.len() == 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
        told.split_whitespace().find(is_fingerprint).map(ToOwned::to_owned).with_context(|| format!("no fingerprint in {told:?}"))
    }

    /// HOST:PORT.
    #[must_use]
    pub fn address(&self) -> String {
        format!("{}:{PORT}", self.machine.v4)
    }

    /// What operators sign in to.
    #[must_use]
    pub fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    /// Its state directory.
    #[must_use]
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Its process.
    ///
    /// # Errors
    /// It does not run.
    pub fn pid(&self) -> Result<u32> {
        self.daemon.as_ref().map(Daemon::pid).context("the coordinator does not run")
    }

    /// All it logged, over its restarts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.machine.directory.join("coordinator.log")
    }
}
