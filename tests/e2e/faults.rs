//! What may go wrong on any day, and what must hold when it does.

use std::time::Duration;

use anyhow::{Result, ensure};
use loopback_tests::fleet::{Fleet, ORGANIZATION, WORKSPACE, path};
use loopback_tests::rules::inbound;
use loopback_tests::wait::{stays, wait_for};
use serde_json::{Value, json};

use crate::hostile;
use crate::packets::{Fate, tcp};
use crate::sessions::{newest, runaways, running, text};

const WITHIN: Duration = Duration::from_secs(15);

#[test]
fn a_killed_coordinator_comes_back_with_everything() -> Result<()> {
    let mut fleet = Fleet::start(2)?;
    let (one, two) = (fleet.machine(0)?, fleet.machine(1)?);
    fleet.serve(&one, 8080)?;
    fleet.serve(&one, 8081)?;
    fleet.owner.ok(&["firewall", "create", WORKSPACE, "web"])?;
    fleet.owner.set_rules(WORKSPACE, "web", &inbound(&[json!({ "action": "allow", "protocol": "tcp", "ports": ["8080"] })]))?;
    let generation = fleet.wait_applied(&path(&one))?;
    // The last thing it answered before it died must be there when it is back.
    fleet.owner.ok(&["project", "create", "acme/last"])?;
    fleet.coordinator.kill()?;

    ensure!(tcp(&two, one.v4, 8080)? == Fate::Passed && tcp(&two, one.v4, 8081)? == Fate::Dropped, "the hosts' firewalls need no coordinator");
    ensure!(fleet.owner.run(&["host", "list", ORGANIZATION])?.code == 3, "nobody can be reached");

    fleet.coordinator.restart()?;
    for machine in [&one, &two] {
        fleet.wait_state(&path(machine), "online")?;
    }
    fleet.owner.ok(&["project", "show", "acme/last"])?;
    ensure!(fleet.wait_applied(&path(&one))? == generation, "the policy changed over a restart");
    fleet.owner.set_rules(WORKSPACE, "web", &inbound(&[json!({ "action": "allow", "protocol": "tcp", "ports": ["8081"] })]))?;
    fleet.wait_applied(&path(&one))?;
    ensure!(tcp(&two, one.v4, 8081)? == Fate::Passed, "the hosts obey again");
    fleet.owner.ok(&["audit", "verify", ORGANIZATION])?;
    fleet.end()
}

#[test]
fn a_killed_agent_leaves_the_firewall_and_takes_its_shells() -> Result<()> {
    let mut fleet = Fleet::start(2)?;
    let (one, two) = (fleet.machine(0)?, fleet.machine(1)?);
    fleet.serve(&one, 8080)?;
    fleet.owner.ok(&["firewall", "create", WORKSPACE, "web"])?;
    fleet.wait_applied(&path(&one))?;
    let mark = format!("{}", 90_000_000 + std::process::id() % 1_000_000);
    let mut terminal = fleet.owner.terminal(&["shell", &path(&one)])?;
    terminal.send(&format!("{}\r", runaways(&mark)))?;
    wait_for(WITHIN, "the runaways", || Ok(running(&one, &mark)? >= 4))?;

    fleet.host(0)?.kill()?;
    // Three heartbeats of a second, and what a look at it takes.
    wait_for(Duration::from_secs(6), "the host to be offline", || Ok(text(&fleet.owner.json(&["host", "show", &path(&one)])?, "state") == "offline"))?;
    ensure!(terminal.wait(WITHIN)? != 0, "a shell without its host did not end well");
    ensure!(text(&newest(&fleet)?, "ended") == "host lost", "{}", newest(&fleet)?);
    ensure!(tcp(&two, one.v4, 8080)? == Fate::Dropped, "the agent's death opened the firewall");

    fleet.host(0)?.start()?;
    fleet.wait_state(&path(&one), "online")?;
    wait_for(WITHIN, "what the dead agent's session left to go", || Ok(running(&one, &mark)? == 0))?;
    fleet.end()
}

#[test]
fn an_agent_that_talks_nonsense_loses_its_link_and_nobody_else_notices() -> Result<()> {
    let mut fleet = Fleet::start(2)?;
    let (good, bad) = (path(&fleet.machine(0)?), path(&fleet.machine(1)?));
    let mut terminal = fleet.owner.terminal(&["shell", &good])?;
    terminal.send("echo re\"\"ady\r")?;
    terminal.expect("ready", WITHIN)?;
    fleet.host(1)?.stop()?;
    fleet.wait_state(&bad, "offline")?;

    let coordinator = fleet.coordinator.address();
    for (what, bytes) in hostile::NONSENSE {
        hostile::send(fleet.host(1)?, &coordinator, bytes)?;
        ensure!(text(&fleet.owner.json(&["host", "show", &bad])?, "state") != "online", "{what} was taken for an agent");
    }
    stays(Duration::from_secs(2), "the other host's link", || Ok(text(&fleet.owner.json(&["host", "show", &good])?, "state") == "online"))?;
    terminal.send("echo un\"\"harmed\r")?;
    terminal.expect("unharmed", WITHIN)?;
    terminal.send("exit\r")?;
    terminal.wait(WITHIN)?;

    fleet.host(1)?.start()?;
    fleet.wait_state(&bad, "online")?;
    let known: Vec<Value> = fleet.owner.items(&["host", "list", ORGANIZATION])?;
    ensure!(known.len() == 2, "nonsense made hosts: {known:?}");
    fleet.end()
}
