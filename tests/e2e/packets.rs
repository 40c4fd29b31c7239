//! Real packets from one machine to another, and what became of them.

use std::fmt::Display;

use anyhow::{Result, bail};
use loopback_tests::machine::Machine;
use loopback_tests::terminal::Terminal;

/// What a firewall did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It came through.
    Passed,
    /// Nothing came back.
    Dropped,
    /// It was answered with no.
    Refused,
}

/// Opens a TCP connection.
pub fn tcp(from: &Machine, to: impl Display, port: u16) -> Result<Fate> {
    let outcome = from.run(&["nc", "-zvn", "-w", "2", &to.to_string(), &port.to_string()])?;
    Ok(match (outcome.code, outcome.stderr) {
        (0, _) => Fate::Passed,
        (_, told) if told.contains("refused") => Fate::Refused,
        (_, told) if told.contains("timed out") => Fate::Dropped,
        (code, told) => bail!("nc ended with {code}: {told}"),
    })
}

/// Sends a datagram to an echo service.
pub fn udp(from: &Machine, to: impl Display, port: u16) -> Result<Fate> {
    let outcome = from.sh(&format!("echo ping | timeout 2 nc -un -w 1 {to} {port} || true"))?;
    Ok(if outcome.stdout == "ping\n" { Fate::Passed } else { Fate::Dropped })
}

/// Sends an echo request.
pub fn ping(from: &Machine, to: impl Display) -> Result<Fate> {
    let outcome = from.run(&["ping", "-c", "1", "-W", "2", &to.to_string()])?;
    Ok(if outcome.code == 0 { Fate::Passed } else { Fate::Dropped })
}

/// A connection to an echo service that stays open; what is typed comes back once.
pub fn connection(from: &Machine, to: impl Display, port: u16) -> Result<Terminal> {
    let mut command = from.command("sh");
    command.args(["-c", &format!("stty -echo; exec nc -n {to} {port}")]);
    Terminal::start(&command, &[])
}
