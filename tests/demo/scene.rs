//! What the demo shows: three hosts, one of which serves; an organization's guardrail and baseline, and a workspace's firewall between them.

use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use loopback_tests::fleet::{Fleet, ORGANIZATION, OWNER, PASSWORD, WORKSPACE, path};
use loopback_tests::lab::Lab;
use loopback_tests::program::program;
use loopback_tests::rules::inbound;
use serde_json::json;

use crate::say;

/// Often enough to see something soon.
const SETTINGS: &str = "heartbeat_interval_ms = 1000\nmetrics_interval_ms = 2000";
/// What the first host serves.
const SERVED_PORTS: [u16; 2] = [8080, 9090];

/// Sets it.
pub fn set(lab: Lab) -> Result<Fleet> {
    let mut fleet = Fleet::found(lab, SETTINGS)?;
    say(format!("the coordinator answers at {}", fleet.coordinator.url()));
    for _ in 0..3 {
        let host = fleet.add_host()?;
        say(format!("{} joined by its install line and is online", host.machine.name));
    }
    let first = fleet.machine(0)?;
    for port in SERVED_PORTS {
        fleet.serve(&first, port)?;
    }
    set_firewalls(&fleet)?;
    write_commands(&fleet)?;
    Ok(fleet)
}

fn set_firewalls(fleet: &Fleet) -> Result<()> {
    let owner = &fleet.owner;
    let never = "Never, whatever a workspace says";
    owner.ok(&["firewall", "create", ORGANIZATION, "guardrail", "--stage", "guardrail", "--default-inbound", "allow", "--description", never])?;
    owner.set_rules(ORGANIZATION, "guardrail", &inbound(&[json!({ "action": "deny", "protocol": "tcp", "ports": ["9090"] })]))?;
    owner.ok(&["firewall", "create", ORGANIZATION, "baseline", "--stage", "baseline", "--description", "Unless a workspace refines it"])?;
    owner.set_rules(
        ORGANIZATION,
        "baseline",
        &inbound(&[json!({ "action": "allow", "protocol": "icmp" }), json!({ "action": "allow", "protocol": "icmpv6" })]),
    )?;
    owner.ok(&["firewall", "create", WORKSPACE, "web", "--description", "What the web workspace opens"])?;
    let second = format!("host:{}", path(&fleet.machine(1)?));
    owner.set_rules(
        WORKSPACE,
        "web",
        &inbound(&[
            json!({ "action": "allow", "protocol": "tcp", "ports": ["8080"], "source": [second] }),
            json!({ "action": "allow", "protocol": "tcp", "ports": ["9090"] }),
        ]),
    )?;
    for host in &fleet.hosts {
        fleet.wait_applied(&path(&host.machine))?;
    }
    say("the firewalls are in the kernels of all hosts");
    Ok(())
}

/// Where the demo's commands are: `loopback` as the owner, `loopback-coordinator`, and for each host its name, to run something there, and its agent.
pub fn commands(fleet: &Fleet) -> PathBuf {
    fleet.lab.directory().join("bin")
}

fn write_commands(fleet: &Fleet) -> Result<()> {
    let (directory, hub) = (commands(fleet), fleet.lab.hub());
    fs::create_dir_all(&directory)?;
    hub.write_script(&directory.join("loopback"), &[("LOOPBACK_CONFIG", &fleet.owner.config)], &[program("loopback")?])?;
    hub.write_script(&directory.join("loopback-coordinator"), &[], &fleet.coordinator.words())?;
    for host in &fleet.hosts {
        let name = &host.machine.name;
        host.machine.write_script(&directory.join(name), &[], &[])?;
        host.machine.write_script(&directory.join(format!("{name}-agent")), &[], &host.words())?;
    }
    Ok(())
}

/// Tells what to try, and what is left after it.
pub fn tell(fleet: &Fleet, remains: &str) {
    let things = [
        (format!("loopback host list {ORGANIZATION}"), "the fleet"),
        (format!("loopback firewall status {WORKSPACE}/host-1"), "what a host enforces"),
        (format!("loopback shell {WORKSPACE}/host-1"), "a recorded shell on a host"),
        (format!("loopback metrics {WORKSPACE}/host-1 --last 5m"), "how a host is"),
        (format!("loopback audit list {ORGANIZATION}"), "who did what"),
        ("loopback-coordinator doctor".to_owned(), "how the coordinator is"),
        ("host-2 curl http://10.77.0.11:8080/".to_owned(), "a command on a host, past the firewall of another"),
        ("host-2-agent status".to_owned(), "a host's agent"),
    ];
    let things: String = things.iter().map(|(command, what)| format!("  {command:<50}{what}\n")).collect();
    say(format!(
        "
Signed in at {url} as {OWNER}, password \"{PASSWORD}\".
Everything lives in network namespaces; in another terminal, as root:

  export PATH={commands}:$PATH

{things}
The README's first tour goes on from here. Logs: {logs}/*/*.log
Ctrl-C ends it, and {remains}.",
        url = fleet.coordinator.url(),
        commands = commands(fleet).display(),
        logs = fleet.lab.directory().display(),
    ));
}
