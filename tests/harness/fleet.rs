//! A coordinator with an organization, a project, a workspace, its owner and hosts that are online: where most tests begin.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::cli::Cli;
use crate::coordinator::Coordinator;
use crate::host::Host;
use crate::lab::Lab;
use crate::machine::Machine;
use crate::process::Daemon;
use crate::program::program;
use crate::wait::{wait_for, wait_until};

/// The organization.
pub const ORGANIZATION: &str = "acme";
/// The workspace of every host.
pub const WORKSPACE: &str = "acme/prod/web";
/// Who made the organization.
pub const OWNER: &str = "owner@example.com";
/// Their password.
pub const PASSWORD: &str = "correct horse battery staple";
/// From install to online, on a machine that does other things too.
pub const ONLINE_LIMIT: Duration = Duration::from_secs(20);
/// From a change of policy to the kernel.
pub const APPLY_LIMIT: Duration = Duration::from_secs(20);

/// Intervals that let a test see three missed heartbeats.
const QUICK: &str = "heartbeat_interval_ms = 1000\nmetrics_interval_ms = 1000";

/// Everything. Fields are dropped in order: programs before the lab they run in.
pub struct Fleet {
    /// The hosts, `host-1` first.
    pub hosts: Vec<Host>,
    services: Vec<Daemon>,
    /// Where they belong.
    pub coordinator: Coordinator,
    /// Who owns all of it.
    pub owner: Cli,
    /// Where all of it is.
    pub lab: Lab,
}

impl Fleet {
    /// A fleet for a test, with quick heartbeats and metrics, and `hosts` online.
    ///
    /// # Errors
    /// What does not work of the path from nothing to an online host.
    pub fn start(hosts: usize) -> Result<Self> {
        Self::start_with(hosts, QUICK)
    }

    /// As [`Fleet::start`], with other lines of the coordinator's configuration.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(hosts: usize, settings: &str) -> Result<Self> {
        let mut fleet = Self::found(Lab::new()?, settings)?;
        for _ in 0..hosts {
            fleet.add_host()?;
        }
        Ok(fleet)
    }

    /// A coordinator with an organization whose owner has signed in, a project and a workspace.
    ///
    /// # Errors
    /// What does not work of that.
    pub fn found(lab: Lab, settings: &str) -> Result<Self> {
        let coordinator = Coordinator::start(&lab, settings)?;
        coordinator.command(&["setup", "--organization", ORGANIZATION, "--email", OWNER, "--password-stdin"], &format!("{PASSWORD}\n"))?.ok()?;
        let owner = Cli::new(lab.hub(), "owner")?;
        owner.login(&coordinator.url(), &coordinator.fingerprint()?, OWNER, PASSWORD)?;
        owner.ok(&["project", "create", "acme/prod"])?;
        owner.ok(&["workspace", "create", WORKSPACE])?;
        Ok(Self { hosts: Vec::new(), services: Vec::new(), coordinator, owner, lab })
    }

    /// One more machine, installed by a fresh token's line, its agent online.
    ///
    /// # Errors
    /// What does not work of that.
    pub fn add_host(&mut self) -> Result<&mut Host> {
        let mut host = self.add_bare_host()?;
        host.install(&self.mint(&[])?.install)?.ok()?;
        host.start()?;
        let path = path(&host.machine);
        self.wait_state(&path, "online")?;
        self.hosts.push(host);
        self.hosts.last_mut().context("a host was just added")
    }

    /// One more machine without an agent; it is not among `hosts`.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn add_bare_host(&mut self) -> Result<Host> {
        let number = fs::read_dir(self.lab.directory())?.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with("host-")).count() + 1;
        Ok(Host::new(self.lab.add_machine(&format!("host-{number}"))?))
    }

    /// Mints an agent token of the workspace.
    ///
    /// # Errors
    /// Refused.
    pub fn mint(&self, arguments: &[&str]) -> Result<Minted> {
        let minted = self.owner.json(&[&["token", "create", WORKSPACE], arguments].concat())?;
        let field =
            |pointer: &str| minted.pointer(pointer).and_then(Value::as_str).map(ToOwned::to_owned).with_context(|| format!("a minted token without {pointer}"));
        Ok(Minted { id: field("/token/id")?, join: field("/join")?, install: field("/install")? })
    }

    /// A host by its place.
    ///
    /// # Errors
    /// There is none.
    pub fn host(&mut self, index: usize) -> Result<&mut Host> {
        self.hosts.get_mut(index).context("no such host")
    }

    /// A host's machine by its place.
    ///
    /// # Errors
    /// There is none.
    pub fn machine(&self, index: usize) -> Result<Machine> {
        self.hosts.get(index).map(|host| host.machine.clone()).context("no such host")
    }

    /// Waits until the coordinator sees a host in a state.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_state(&self, host: &str, state: &str) -> Result<()> {
        wait_for(ONLINE_LIMIT, format!("{host} to be {state}"), || {
            Ok(self.owner.json(&["host", "show", host])?.get("state").and_then(Value::as_str) == Some(state))
        })
    }

    /// Waits until a host tells that its newest policy is in the kernel, and gives its generation.
    ///
    /// # Errors
    /// It does not in time.
    pub fn wait_applied(&self, host: &str) -> Result<u64> {
        wait_until(APPLY_LIMIT, format!("{host} to apply its firewall"), || {
            let firewall = self.owner.json(&["firewall", "status", host])?;
            let meant = firewall.get("generation").and_then(Value::as_u64);
            let applied = firewall.pointer("/status/generation").and_then(Value::as_u64);
            let state = firewall.pointer("/status/state").and_then(Value::as_str);
            ensure!(state == Some("applied") && applied == meant, "it is {}", firewall.get("status").unwrap_or(&Value::Null));
            Ok(applied)
        })
    }

    /// Adds an account with a role on a scope, signed in.
    ///
    /// # Errors
    /// Refused.
    pub fn add_operator(&self, name: &str, role: &str, scope: &str) -> Result<Cli> {
        let email = format!("{name}@example.com");
        self.coordinator.command(&["account", "create", "--email", &email, "--password-stdin"], &format!("{PASSWORD}\n"))?.ok()?;
        self.owner.ok(&["member", "add", ORGANIZATION, &email])?;
        self.owner.ok(&["binding", "create", &email, role, scope])?;
        let operator = Cli::new(self.lab.hub(), name)?;
        operator.login(&self.coordinator.url(), &self.coordinator.fingerprint()?, &email, PASSWORD)?;
        Ok(operator)
    }

    /// Starts an echo service on a port of a machine, for TCP and UDP.
    ///
    /// # Errors
    /// It does not listen.
    pub fn serve(&mut self, machine: &Machine, port: u16) -> Result<()> {
        let mut command = machine.command(program("probe")?);
        command.arg(port.to_string());
        let daemon = Daemon::start(&format!("probe on {}", machine.name), command, &machine.directory.join(format!("probe-{port}.log")))?;
        wait_for(Duration::from_secs(10), format!("a service on port {port}"), || Ok(daemon.log().contains("listening")))?;
        self.services.push(daemon);
        Ok(())
    }

    /// Ends everything in order, and fails if a program complained of an error on the way or ended badly.
    ///
    /// # Errors
    /// One did.
    pub fn end(mut self) -> Result<()> {
        for host in &mut self.hosts {
            if host.check_alive().is_ok() {
                ensure!(host.stop()? == 0, "the agent of {} ended badly:\n{}", host.machine.name, host.log());
            }
            no_errors(&host.machine.name, &host.log())?;
        }
        ensure!(self.coordinator.stop()? == 0, "the coordinator ended badly");
        no_errors("the coordinator", &self.coordinator.log())
    }
}

/// A fresh agent token.
#[derive(Clone)]
pub struct Minted {
    /// Its id.
    pub id: String,
    /// What `loopback-agent join` takes.
    pub join: String,
    /// The line that installs and joins.
    pub install: String,
}

/// The path of the host a machine becomes.
#[must_use]
pub fn path(machine: &Machine) -> String {
    format!("{WORKSPACE}/{}", machine.name)
}

fn no_errors(name: &str, log: &str) -> Result<()> {
    let error = log.lines().find(|line| line.split_whitespace().take(3).any(|word| word == "ERROR") || line.contains("panicked at"));
    ensure!(error.is_none(), "{name} logged {}", error.unwrap_or_default());
    Ok(())
}
