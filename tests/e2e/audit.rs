//! Everything that happened is in the organization's chain, and nobody changes it unseen, not even in the database's file.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use loopback_tests::fleet::{Fleet, ORGANIZATION, WORKSPACE, path};
use loopback_tests::rules::inbound;
use serde_json::{Value, json};

use crate::sessions::text;

/// What a fleet that is founded, joined, filtered and used has done at least.
const ACTIONS: [&str; 8] =
    ["project.create", "workspace.create", "agent_token.create", "host.", "firewall.create", "firewall.rules.set", "shell_session.", "agent_token.revoke"];

#[test]
fn every_act_is_an_event_of_a_whole_chain() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let host = path(&fleet.machine(0)?);
    fleet.owner.ok(&["firewall", "create", WORKSPACE, "web", "--default-inbound", "allow"])?;
    fleet.owner.set_rules(WORKSPACE, "web", &inbound(&[json!({ "action": "deny", "protocol": "tcp", "ports": ["23"] })]))?;
    fleet.owner.ok(&["shell", &host, "--", "true"])?;
    let token = fleet.mint(&[])?;
    fleet.owner.ok(&["token", "revoke", WORKSPACE, &token.id])?;
    let reader = fleet.add_operator("carol", "read-only", WORKSPACE)?;
    let refused = reader.run(&["shell", &host, "--", "true"])?.refused(1)?;
    ensure!(refused.contains("project.workspace.host.shell_session:execute"), "the missing key is not named: {refused}");

    let events = fleet.owner.items(&["audit", "list", ORGANIZATION, "--limit", "200"])?;
    for action in ACTIONS {
        ensure!(events.iter().any(|event| text(event, "action").starts_with(action)), "no event tells of {action}");
    }
    ensure!(events.iter().any(|event| text(event, "outcome") == "denied" && text(event, "actor").contains("carol")), "what was denied is not told");
    ensure!(events.iter().all(|event| !event.to_string().contains("lbt_") && !event.to_string().contains("lbk_")), "an event holds a secret");
    let sequences: Vec<u64> = events.iter().filter_map(|event| event.get("sequence").and_then(Value::as_u64)).collect();
    ensure!(sequences.windows(2).all(|pair| matches!(pair, [newer, older] if *newer == older + 1)), "the chain has gaps: {sequences:?}");

    let only = fleet.owner.items(&["audit", "list", ORGANIZATION, "--action", "firewall.rules.set"])?;
    ensure!(only.len() == 1, "{only:?}");
    let verified = fleet.owner.json(&["audit", "verify", ORGANIZATION])?;
    ensure!(verified.get("whole") == Some(&json!(true)) && verified.get("events").and_then(Value::as_u64) >= Some(10), "{verified}");
    fleet.end()
}

#[test]
fn a_changed_byte_in_the_database_is_named() -> Result<()> {
    let mut fleet = Fleet::start(0)?;
    fleet.owner.ok(&["project", "create", "acme/innocent"])?;
    fleet.owner.ok(&["project", "create", "acme/later"])?;
    let events = fleet.owner.items(&["audit", "list", ORGANIZATION])?;
    let event =
        events.iter().find(|event| event.to_string().contains("innocent")).map(|event| text(event, "id").to_owned()).context("the creation is not told")?;

    fleet.coordinator.stop()?;
    let mut changed = 0;
    for file in files(fleet.coordinator.state().to_owned())? {
        let mut bytes = fs::read(&file)?;
        changed += replace(&mut bytes, b"innocent", b"innocemt");
        fs::write(&file, bytes)?;
    }
    ensure!(changed > 0, "the state holds no such text to change");
    fleet.coordinator.restart()?;

    let outcome = fleet.owner.run(&["--output", "json", "audit", "verify", ORGANIZATION])?;
    ensure!(outcome.code == 1, "a broken chain was called whole: {outcome:?}");
    let verified: Value = serde_json::from_str(&outcome.stdout)?;
    ensure!(verified.get("whole") == Some(&json!(false)) && text(&verified, "broken").contains(&event), "{event} is not named: {verified}");
    fleet.end()
}

fn files(directory: PathBuf) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut left = vec![directory];
    while let Some(directory) = left.pop() {
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let into = if entry.file_type()?.is_dir() { &mut left } else { &mut files };
            into.push(entry.path());
        }
    }
    Ok(files)
}

/// How many were replaced; both texts are of one length.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) -> usize {
    let places: Vec<usize> = bytes.windows(from.len()).enumerate().filter(|(_, window)| *window == from).map(|(at, _)| at).collect();
    for &at in &places {
        if let Some(place) = bytes.get_mut(at..at + to.len()) {
            place.copy_from_slice(to);
        }
    }
    places.len()
}
