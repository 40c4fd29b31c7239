//! Shell sessions as tests look at them: the records of them, and the processes they leave.

use anyhow::{Context as _, Result};
use loopback_tests::fleet::{Fleet, ORGANIZATION};
use loopback_tests::machine::Machine;
use serde_json::Value;

/// The newest session's record.
pub fn newest(fleet: &Fleet) -> Result<Value> {
    fleet.owner.items(&["sessions", "list", ORGANIZATION])?.into_iter().next().context("there is no session")
}

/// A text of a record.
pub fn text<'a>(record: &'a Value, field: &str) -> &'a str {
    record.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A command line that starts processes which do all they can to stay: another session, another group, deaf to SIGHUP and SIGTERM.
pub fn runaways(mark: &str) -> String {
    format!(
        "sleep {mark} & setsid sleep {mark} & (trap '' HUP TERM; nohup sleep {mark} >/dev/null 2>&1 &) ; (setsid sh -c \"trap '' HUP TERM; sleep {mark}; :\" &)"
    )
}

/// How many processes bear the mark.
pub fn running(machine: &Machine, mark: &str) -> Result<usize> {
    // The brackets keep the looker from finding itself.
    let found = machine.sh(&format!("pgrep -f '[s]leep {mark}' || true"))?.ok()?;
    Ok(found.lines().count())
}
