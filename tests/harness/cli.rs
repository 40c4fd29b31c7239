//! An operator at the hub with their own profile, who works by `loopback` alone.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::machine::Machine;
use crate::process::{Outcome, run};
use crate::program::program;
use crate::terminal::Terminal;

const COMMAND_LIMIT: Duration = Duration::from_secs(60);

/// One operator.
#[derive(Debug, Clone)]
pub struct Cli {
    machine: Machine,
    binary: PathBuf,
    /// Where the profile is.
    pub config: PathBuf,
}

impl Cli {
    /// An operator who has not signed in.
    ///
    /// # Errors
    /// `loopback` has not been built.
    pub fn new(machine: &Machine, operator: &str) -> Result<Self> {
        Ok(Self { machine: machine.clone(), binary: program("loopback")?, config: machine.directory.join("operators").join(operator) })
    }

    /// Signs in with a password; later commands use the session.
    ///
    /// # Errors
    /// Refused.
    pub fn login(&self, url: &str, fingerprint: &str, email: &str, password: &str) -> Result<()> {
        self.run_with(&["login", url, "--email", email, "--password-stdin", "--ca-fingerprint", fingerprint], &format!("{password}\n"), &[])?.ok().map(drop)
    }

    /// Runs a command to its end, whatever that is.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn run(&self, arguments: &[&str]) -> Result<Outcome> {
        self.run_with(arguments, "", &[])
    }

    /// As [`Cli::run`], with input and environment.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn run_with(&self, arguments: &[&str], input: &str, environment: &[(&str, &str)]) -> Result<Outcome> {
        let mut command = self.machine.command(&self.binary);
        command.env("LOOPBACK_CONFIG", &self.config).env_remove("LOOPBACK_TOKEN").args(arguments).envs(environment.iter().copied());
        run(command, input, COMMAND_LIMIT)
    }

    /// Runs a command that must do what it says, and gives what it wrote.
    ///
    /// # Errors
    /// It did not.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        self.run(arguments)?.ok()
    }

    /// As [`Cli::ok`], as JSON.
    ///
    /// # Errors
    /// It did not, or wrote no JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.ok(&[&["--output", "json"], arguments].concat())?;
        serde_json::from_str(&text).with_context(|| format!("`loopback {}` wrote no JSON: {text}", arguments.join(" ")))
    }

    /// The items of a list, wherever the list keeps them.
    ///
    /// # Errors
    /// The command failed, or wrote no list.
    pub fn items(&self, arguments: &[&str]) -> Result<Vec<Value>> {
        let answer = self.json(arguments)?;
        let items = answer.get("items").unwrap_or(&answer).as_array().cloned();
        items.with_context(|| format!("`loopback {}` wrote no list: {answer}", arguments.join(" ")))
    }

    /// Replaces a firewall's rules by those of a JSON list.
    ///
    /// # Errors
    /// Refused.
    pub fn set_rules(&self, scope: &str, firewall: &str, rules: &Value) -> Result<()> {
        self.run_with(&["firewall", "rules", scope, firewall, "-"], &rules.to_string(), &[])?.ok().map(drop)
    }

    /// Starts a command in a terminal of its own.
    ///
    /// # Errors
    /// No terminal, or it cannot be started.
    pub fn terminal(&self, arguments: &[&str]) -> Result<Terminal> {
        let mut command = self.machine.command(&self.binary);
        command.args(arguments);
        Terminal::start(&command, &[("LOOPBACK_CONFIG", self.config.as_os_str())])
    }
}
