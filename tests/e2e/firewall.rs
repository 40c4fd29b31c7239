//! Policies in the kernel, proved by packets: layers, edits, other people's tables, the agent's own link, deaths and reboots.

use std::time::Duration;

use anyhow::{Result, ensure};
use loopback_tests::fleet::{APPLY_LIMIT, Fleet, ORGANIZATION, WORKSPACE, path};
use loopback_tests::machine::Machine;
use loopback_tests::process::Daemon;
use loopback_tests::rules::inbound;
use loopback_tests::wait::{stays, wait_for};
use serde_json::{Value, json};

use crate::packets::{Fate, connection, ping, tcp, udp};

const WITHIN: Duration = Duration::from_secs(10);

#[test]
fn what_is_allowed_passes_what_is_denied_drops_and_what_is_rejected_is_told() -> Result<()> {
    let mut fleet = Fleet::start(3)?;
    let (one, two, three) = (fleet.machine(0)?, fleet.machine(1)?, fleet.machine(2)?);
    for port in [8080, 8081, 9090] {
        fleet.serve(&one, port)?;
    }
    ensure!(tcp(&three, one.v4, 8080)? == Fate::Passed, "without any firewall nothing is filtered");

    set_workspace(
        &fleet,
        &[
            json!({ "action": "allow", "protocol": "tcp", "ports": ["8080", "9090"], "source": [format!("host:{}", path(&two))] }),
            json!({ "action": "reject", "protocol": "tcp", "ports": ["8081"] }),
            json!({ "action": "allow", "protocol": "udp", "ports": ["8000-8100"], "source": ["10.77.0.12", "fd77::c"] }),
            json!({ "action": "allow", "protocol": "icmp", "source": ["10.77.0.0/24"] }),
        ],
    )?;
    fleet.owner.ok(&["firewall", "create", ORGANIZATION, "guardrail", "--stage", "guardrail", "--default-inbound", "allow"])?;
    fleet.owner.set_rules(ORGANIZATION, "guardrail", &inbound(&[json!({ "action": "deny", "protocol": "tcp", "ports": ["9090"] })]))?;
    fleet.wait_applied(&path(&one))?;

    let check = |what: &str, fate: Fate, expected: Fate| {
        ensure!(fate == expected, "{what}: {fate:?}");
        Ok(())
    };
    check("allowed by reference", tcp(&two, one.v4, 8080)?, Fate::Passed)?;
    check("allowed by reference, the other family", tcp(&two, one.v6, 8080)?, Fate::Passed)?;
    check("not allowed", tcp(&three, one.v4, 8080)?, Fate::Dropped)?;
    check("not allowed, the other family", tcp(&three, one.v6, 8080)?, Fate::Dropped)?;
    check("rejected", tcp(&three, one.v4, 8081)?, Fate::Refused)?;
    check("allowed by the workspace and denied by the guardrail", tcp(&two, one.v4, 9090)?, Fate::Dropped)?;
    check("a port range", udp(&two, one.v4, 8080)?, Fate::Passed)?;
    check("a port range from elsewhere", udp(&three, one.v4, 8080)?, Fate::Dropped)?;
    check("an echo request", ping(&three, one.v4)?, Fate::Passed)?;
    check("its answer", ping(&one, three.v4)?, Fate::Passed)?;

    let explained = fleet.owner.json(&["firewall", "explain", &path(&one), "inbound", "tcp", "10.77.0.12", "->", "10.77.0.11:9090"])?;
    ensure!(explained.get("verdict") == Some(&json!("deny")) && explained.get("layer") == Some(&json!("guardrail")), "{explained}");
    fleet.end()
}

#[test]
fn an_established_connection_survives_an_edit() -> Result<()> {
    let mut fleet = Fleet::start(2)?;
    let (one, two) = (fleet.machine(0)?, fleet.machine(1)?);
    fleet.serve(&one, 8080)?;
    let open = json!({ "action": "allow", "protocol": "tcp", "ports": ["8080"] });
    set_workspace(&fleet, std::slice::from_ref(&open))?;
    fleet.wait_applied(&path(&one))?;

    let mut held = connection(&two, one.v4, 8080)?;
    held.send("before\r")?;
    held.expect("before", WITHIN)?;
    for port in 9000..9005 {
        fleet.owner.set_rules(WORKSPACE, "web", &inbound(&[open.clone(), json!({ "action": "allow", "protocol": "tcp", "ports": [port.to_string()] })]))?;
        fleet.wait_applied(&path(&one))?;
        held.send(&format!("after {port}\r"))?;
        held.expect(&format!("after {port}"), WITHIN)?;
    }
    ensure!(tcp(&two, one.v4, 8080)? == Fate::Passed, "a new connection is permitted too");
    fleet.end()
}

#[test]
fn other_tables_are_never_touched() -> Result<()> {
    let mut fleet = Fleet::start(1)?;
    let machine = fleet.machine(0)?;
    machine
        .sh("nft -f - <<'EOF'
table ip docker {
  chain forward { type filter hook forward priority 0; policy accept; iifname \"docker0\" accept; }
  chain prerouting { type nat hook prerouting priority -100; tcp dport 8080 dnat to 172.17.0.2:80; }
}
table inet firewalld {
  set blocked { type ipv4_addr; elements = { 192.0.2.1 }; }
  chain input { type filter hook input priority 10; policy accept; ip saddr @blocked drop; }
}
EOF")?
        .ok()?;
    let others = |machine: &Machine| machine.sh("nft list table ip docker; nft list table inet firewalld")?.ok();
    let before = others(&machine)?;
    set_workspace(&fleet, &[json!({ "action": "allow", "protocol": "tcp", "ports": ["8080"] })])?;
    fleet.wait_applied(&path(&machine))?;
    ensure!(others(&machine)? == before, "a table changed when the policy was applied");
    fleet.owner.ok(&["firewall", "delete", WORKSPACE, "web"])?;
    fleet.wait_applied(&path(&machine))?;
    ensure!(others(&machine)? == before, "a table changed when the policy was taken away");
    fleet.host(0)?.stop()?;
    ensure!(others(&machine)? == before, "a table changed when the agent stopped");
    fleet.end()
}

#[test]
fn no_policy_cuts_the_agents_own_link() -> Result<()> {
    let mut fleet = Fleet::start(2)?;
    let (one, two) = (fleet.machine(0)?, fleet.machine(1)?);
    fleet.owner.ok(&["firewall", "create", ORGANIZATION, "nothing", "--stage", "guardrail", "--default-inbound", "deny", "--default-outbound", "deny"])?;
    let everything = [
        json!({ "action": "deny" }),
        json!({ "action": "deny", "direction": "outbound" }),
        json!({ "action": "deny", "direction": "outbound", "destination": ["10.77.0.1"] }),
    ];
    fleet.owner.set_rules(ORGANIZATION, "nothing", &inbound(&everything))?;
    fleet.wait_applied(&path(&one))?;
    ensure!(ping(&two, one.v4)? == Fate::Dropped, "nothing may pass");
    // More than three heartbeats, and then it also finds its way back from nothing.
    stays(Duration::from_secs(5), "the link", || Ok(fleet.owner.json(&["host", "show", &path(&one)])?.get("state") == Some(&json!("online"))))?;
    fleet.host(0)?.stop()?;
    fleet.host(0)?.start()?;
    fleet.wait_state(&path(&one), "online")?;
    fleet.owner.ok(&["firewall", "delete", ORGANIZATION, "nothing"])?;
    wait_for(APPLY_LIMIT, "packets to pass again", || Ok(ping(&two, one.v4)? == Fate::Passed))?;
    fleet.end()
}

#[test]
fn a_policy_outlives_the_agent_and_the_kernel() -> Result<()> {
    let mut fleet = Fleet::start(2)?;
    let (one, two) = (fleet.machine(0)?, fleet.machine(1)?);
    fleet.serve(&one, 8080)?;
    fleet.serve(&one, 8081)?;
    set_workspace(&fleet, &[json!({ "action": "allow", "protocol": "tcp", "ports": ["8080"] })])?;
    fleet.wait_applied(&path(&one))?;
    let enforced = || -> Result<bool> { Ok(tcp(&two, one.v4, 8081)? == Fate::Dropped) };

    fleet.host(0)?.kill()?;
    ensure!(enforced()? && tcp(&two, one.v4, 8080)? == Fate::Passed, "the agent's death changed the firewall");

    // A reboot: the kernel has forgotten all, and the coordinator cannot be asked.
    fleet.coordinator.stop()?;
    fleet.lab.reboot(&one)?;
    ensure!(one.run(&["nft", "list", "tables"])?.ok()?.is_empty(), "a kernel that has just booted has no tables");
    fleet.host(0)?.agent(&["firewall", "restore"], &[])?.ok()?;
    fleet.serve(&one, 8080)?;
    fleet.serve(&one, 8081)?;
    ensure!(enforced()? && tcp(&two, one.v4, 8080)? == Fate::Passed, "the firewall was not restored before the network was up");

    fleet.coordinator.restart()?;
    fleet.host(0)?.start()?;
    fleet.wait_state(&path(&one), "online")?;
    fleet.wait_applied(&path(&one))?;
    ensure!(enforced()?, "the firewall changed when the agent came back");
    fleet.end()
}

#[test]
fn the_status_is_pending_then_applied_and_failed_when_the_kernel_refuses() -> Result<()> {
    let mut fleet = Fleet::start(1)?;
    let machine = fleet.machine(0)?;
    let host = path(&machine);
    fleet.host(0)?.stop()?;
    fleet.wait_state(&host, "offline")?;
    set_workspace(&fleet, &[json!({ "action": "allow", "protocol": "icmp" })])?;
    ensure!(status(&fleet, &host)?.get("state") == Some(&json!("pending")), "an absent host has not told yet");
    fleet.host(0)?.start()?;
    fleet.wait_applied(&host)?;

    // Another program takes our table for itself, and the kernel lets nobody else touch it.
    fleet.host(0)?.stop()?;
    machine.sh("nft delete table inet loopback")?.ok()?;
    let mut command = machine.command("sh");
    command.args(["-c", "{ echo 'add table inet loopback { flags owner; }'; exec sleep 600; } | nft -i"]);
    let thief = Daemon::start("thief", command, &machine.directory.join("thief.log"))?;
    wait_for(WITHIN, "the table to be taken", || Ok(machine.run(&["nft", "list", "tables"])?.ok()?.contains("inet loopback")))?;
    fleet.owner.set_rules(WORKSPACE, "web", &inbound(&[json!({ "action": "deny", "protocol": "icmp" })]))?;
    fleet.host(0)?.start()?;
    wait_for(APPLY_LIMIT, "the failure to be told", || Ok(status(&fleet, &host)?.get("state") == Some(&json!("failed"))))?;
    let told = status(&fleet, &host)?;
    ensure!(told.get("error").and_then(Value::as_str).is_some_and(|error| error.contains("not permitted")), "the kernel's own words are missing: {told}");
    drop(thief);
    Ok(())
}

fn status(fleet: &Fleet, host: &str) -> Result<Value> {
    Ok(fleet.owner.json(&["firewall", "status", host])?.get("status").cloned().unwrap_or_default())
}

/// Makes the workspace's firewall `web` with these inbound rules; what none of them decides is dropped.
fn set_workspace(fleet: &Fleet, rules: &[Value]) -> Result<()> {
    fleet.owner.ok(&["firewall", "create", WORKSPACE, "web"])?;
    fleet.owner.set_rules(WORKSPACE, "web", &inbound(rules))
}
