//! A network namespace that stands for a machine: own network, host name, machine id and boot id; the file system and the processes are the real machine's.
//!
//! It is entered by nsenter, not by `ip netns exec`, which would mount a /sys without control groups over the one sessions need.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::process::{Outcome, run};

/// What a short command on a machine may take.
const RUN_LIMIT: Duration = Duration::from_secs(60);

/// Puts the machine's ids in place, names it, and becomes the program. Bound files hide the real ones only in the mount namespace made for this program.
const ENTER: &str = r#"mount --bind "$1" /etc/machine-id && mount --bind "$2" /proc/sys/kernel/random/boot_id && hostname "$3" && shift 3 && exec "$@""#;

/// How to reach a machine of a lab. A handle: the lab owns the machine.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Its host name.
    pub name: String,
    /// Its network namespace, as `ip netns` names it.
    pub namespace: String,
    /// Its address on the lab's bridge.
    pub v4: Ipv4Addr,
    /// Its other address there.
    pub v6: Ipv6Addr,
    /// Its own files.
    pub directory: PathBuf,
}

impl Machine {
    /// Gives it a directory and an identity.
    pub(crate) fn describe(name: &str, namespace: String, number: u8, directory: PathBuf) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        let machine = Self {
            name: name.to_owned(),
            namespace,
            v4: Ipv4Addr::new(10, 77, 0, number),
            v6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, u16::from(number)),
            directory,
        };
        fs::write(machine.machine_id(), format!("{}\n", random_uuid()?.replace('-', "")))?;
        machine.new_boot_id()?;
        Ok(machine)
    }

    /// As if it had just booted.
    pub(crate) fn new_boot_id(&self) -> Result<()> {
        Ok(fs::write(self.boot_id(), format!("{}\n", random_uuid()?))?)
    }

    /// The file over its `/etc/machine-id`.
    #[must_use]
    pub fn machine_id(&self) -> PathBuf {
        self.directory.join("machine-id")
    }

    fn boot_id(&self) -> PathBuf {
        self.directory.join("boot-id")
    }

    /// A program on this machine. It is killed when the thread that starts it ends.
    #[must_use]
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut words = self.entry().into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(["--pdeathsig", "KILL"]).args(words).arg(program.as_ref());
        command
    }

    /// Runs a program on this machine to its end.
    ///
    /// # Errors
    /// It cannot be started or does not end within a minute.
    pub fn run(&self, words: &[&str]) -> Result<Outcome> {
        let (program, arguments) = words.split_first().context("no program to run")?;
        let mut command = self.command(program);
        command.args(arguments);
        run(command, "", RUN_LIMIT)
    }

    /// Runs lines of `sh` on this machine to their end.
    ///
    /// # Errors
    /// They cannot be started or do not end within a minute.
    pub fn sh(&self, script: &str) -> Result<Outcome> {
        self.run(&["sh", "-euc", script])
    }

    /// Writes a script that runs the words it is given on this machine, after `words` of its own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_script(&self, path: &Path, environment: &[(&str, &Path)], words: &[PathBuf]) -> Result<()> {
        let mut line = self.entry();
        line.push("env".to_owned());
        line.extend(environment.iter().map(|(name, value)| format!("{name}={}", value.display())));
        line.extend(words.iter().map(|word| word.display().to_string()));
        let line = line.iter().map(|word| quote(word)).collect::<Vec<_>>().join(" ");
        fs::write(path, format!("#!/bin/sh\nexec {line} \"$@\"\n"))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).with_context(|| format!("cannot make {} executable", path.display()))
    }

    /// The words before a program's; all of them replace each other in one process, so that its pid is the one that was started.
    pub(crate) fn entry(&self) -> Vec<String> {
        let (machine_id, boot_id) = (self.machine_id().display().to_string(), self.boot_id().display().to_string());
        let namespace = format!("--net=/run/netns/{}", self.namespace);
        ["setpriv", "nsenter", &namespace, "unshare", "--uts", "--mount", "sh", "-c", ENTER, "sh", &machine_id, &boot_id, &self.name]
            .map(ToOwned::to_owned)
            .to_vec()
    }
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn random_uuid() -> Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/uuid").context("the kernel gives no random UUID")?.trim().to_owned())
}
