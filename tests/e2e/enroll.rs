//! Hosts join by the printed line, once, while the token is good; they keep their identity and lose it when removed.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use loopback_tests::fleet::{Fleet, ORGANIZATION, WORKSPACE, path};
use loopback_tests::host::Host;
use loopback_tests::wait::{stays, wait_for};
use serde_json::Value;

/// What the issue promises.
const ONLINE_LIMIT: Duration = Duration::from_secs(2);
const WITHIN: Duration = Duration::from_secs(20);

#[test]
fn a_host_is_online_within_two_seconds_of_its_start() -> Result<()> {
    let mut fleet = Fleet::start(0)?;
    let mut host = fleet.add_bare_host()?;
    let told = host.install(&fleet.mint(&[])?.install)?.ok()?;
    ensure!(told.contains("start it with"), "without systemd the script tells how to start: {told}");
    let started = Instant::now();
    host.start()?;
    let path = path(&host.machine);
    fleet.wait_state(&path, "online")?;
    ensure!(started.elapsed() < ONLINE_LIMIT, "it took {:?}", started.elapsed());
    let shown = fleet.owner.json(&["host", "show", &path])?;
    ensure!(shown.get("hostname").and_then(Value::as_str) == Some("host-1"), "{shown}");
    ensure!(shown.get("addresses").is_some_and(|addresses| addresses.to_string().contains("10.77.0.11")), "{shown}");
    fleet.hosts.push(host);
    fleet.end()
}

#[test]
fn a_token_admits_once_and_only_while_it_is_good() -> Result<()> {
    let mut fleet = Fleet::start(0)?;
    let host = fleet.add_bare_host()?;

    let spent = fleet.mint(&[])?;
    host.install(&spent.install)?.ok()?;
    let stranger = fleet.add_bare_host()?;
    check_refused(&stranger, &spent.install, "used up")?;

    let expired = fleet.mint(&["--life", "1s"])?;
    wait_for(WITHIN, "the token to expire", || Ok(state_of_token(&fleet, &expired.id)? == "expired"))?;
    check_refused(&stranger, &expired.install, "expired")?;

    let revoked = fleet.mint(&[])?;
    fleet.owner.ok(&["token", "revoke", WORKSPACE, &revoked.id])?;
    check_refused(&stranger, &revoked.install, "revoked")?;

    let good = fleet.mint(&[])?;
    let (secret, fingerprint) = good.join.split_once('.').context("a join string without a fingerprint")?;
    let misspelled = good.install.replace(secret, &flip_last(secret));
    check_refused(&stranger, &misspelled, "malformed")?;
    let elsewhere = good.install.replace(fingerprint, &flip_last(fingerprint));
    check_refused(&stranger, &elsewhere, "not the one this token was made for")?;

    ensure!(state_of_token(&fleet, &good.id)? == "active", "a refused join uses nothing up");
    let events = fleet.owner.items(&["audit", "list", ORGANIZATION])?;
    for reason in ["spent", "expired", "revoked"] {
        let told = |event: &Value| event.get("outcome").and_then(Value::as_str) == Some("denied") && event.to_string().contains(reason);
        ensure!(events.iter().any(told), "no event tells that a join was refused because its token was {reason}");
    }
    fleet.end()
}

fn check_refused(host: &Host, line: &str, because: &str) -> Result<()> {
    let told = host.install(line)?.refused(1)?;
    ensure!(told.contains(because), "refused without saying {because:?}: {told}");
    ensure!(!host.state().join("identity.json").exists(), "refused, and yet it has an identity");
    Ok(())
}

fn state_of_token(fleet: &Fleet, id: &str) -> Result<String> {
    let tokens = fleet.owner.items(&["token", "list", WORKSPACE])?;
    let token = tokens.iter().find(|token| token.get("id").and_then(Value::as_str) == Some(id)).context("the token is not listed")?;
    Ok(token.get("state").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// Another text of the same kind.
fn flip_last(text: &str) -> String {
    let (rest, last) = text.split_at(text.len() - 1);
    format!("{rest}{}", if last == "0" { "1" } else { "0" })
}

#[test]
fn a_certificate_is_renewed_before_it_expires() -> Result<()> {
    // The shortest life the coordinator takes; two thirds of it pass before an agent asks for the next.
    let mut fleet = Fleet::start_with(1, "heartbeat_interval_ms = 1000\nmetrics_interval_ms = 1000\ncertificate_life_ms = 60000")?;
    let host = path(&fleet.machine(0)?);
    let file = fleet.host(0)?.state().join("host.crt");
    let first = fs::read(&file)?;
    let online = || -> Result<bool> { Ok(fleet.owner.json(&["host", "show", &host])?.get("state").and_then(Value::as_str) == Some("online")) };
    wait_for(Duration::from_secs(60), "another certificate", || Ok(fs::read(&file)? != first))?;
    stays(Duration::from_secs(25), "the link past the first certificate's life", online)?;
    // With the new one it is let in again, too.
    fleet.host(0)?.stop()?;
    fleet.host(0)?.start()?;
    fleet.wait_state(&host, "online")?;
    fleet.end()
}

#[test]
fn installing_again_keeps_the_identity() -> Result<()> {
    let mut fleet = Fleet::start(1)?;
    let unused = fleet.mint(&[])?;
    let before = fs::read(fleet.host(0)?.state().join("host.key"))?;
    let told = fleet.host(0)?.install(&unused.install)?.ok()?;
    ensure!(told.contains("keeps its identity"), "{told}");
    ensure!(fs::read(fleet.host(0)?.state().join("host.key"))? == before, "the key was replaced");
    ensure!(fleet.owner.items(&["host", "list", ORGANIZATION])?.len() == 1, "it became another host");
    ensure!(state_of_token(&fleet, &unused.id)? == "active", "the token was used up");
    // The binary was replaced under a running agent, which goes on, and comes back.
    fleet.host(0)?.check_alive()?;
    fleet.host(0)?.stop()?;
    fleet.host(0)?.start()?;
    let host = path(&fleet.machine(0)?);
    fleet.wait_state(&host, "online")?;
    fleet.end()
}

#[test]
fn of_two_machines_with_one_identity_the_newer_is_refused_and_the_host_says_so() -> Result<()> {
    let mut fleet = Fleet::start(1)?;
    let original = path(&fleet.machine(0)?);
    let mut copy = fleet.add_bare_host()?;
    copy.clone_identity(fleet.host(0)?)?;
    copy.start()?;
    fleet.wait_state(&original, "degraded")?;
    let shown = fleet.owner.json(&["host", "show", &original])?;
    let problems = shown.get("problems").and_then(Value::as_array).cloned().unwrap_or_default();
    ensure!(!problems.is_empty(), "nothing tells of the copy: {shown}");
    ensure!(shown.get("hostname").and_then(Value::as_str) == Some("host-1"), "the copy took the original's place: {shown}");
    stays(Duration::from_secs(3), "the original's link", || {
        Ok(fleet.owner.json(&["host", "show", &original])?.get("hostname").and_then(Value::as_str) == Some("host-1"))
    })?;
    ensure!(fleet.owner.items(&["host", "list", ORGANIZATION])?.len() == 1, "the copy became a host of its own");
    copy.stop()?;
    fleet.end()
}

#[test]
fn a_removed_host_is_gone_at_once_and_cannot_come_back() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let host = path(&fleet.machine(0)?);
    fleet.owner.ok(&["host", "remove", &host, "--yes"])?;
    fleet.owner.run(&["host", "show", &host])?.refused(1)?;
    stays(Duration::from_secs(3), "the host's absence", || Ok(fleet.owner.items(&["host", "list", ORGANIZATION])?.is_empty()))?;
    ensure!(fleet.owner.ok(&["audit", "list", ORGANIZATION])?.contains("host.remove"), "nobody knows who removed it");
    Ok(())
}
