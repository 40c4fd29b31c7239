//! `bench link`: a real coordinator process and a process of simulated agents that enrol, link, report and acknowledge like real ones.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use loopback_tests::coordinator::Coordinator;
use loopback_tests::fleet::{Fleet, WORKSPACE};
use loopback_tests::lab::Lab;
use loopback_tests::wait::watch_interrupts;
use serde_json::{Value, json};

use crate::row::Row;
use crate::swarm::Said;

/// Pushes in each round.
const PUSHES: usize = 5;
/// How long reports are counted.
const REPORT_TIME: Duration = Duration::from_secs(20);
/// Reports a second, over all agents: the load at which the goal was set.
const REPORTS_PER_SECOND: u64 = 1_000;
/// After linking, until memory and keep-alives have settled.
const SETTLE_TIME: Duration = Duration::from_secs(5);
/// Rules of a pushed policy: about 2 KB on the wire.
const PUSHED_RULES: usize = 24;

/// Runs a round for each number of agents.
pub fn run(agents: &[usize], json: bool) -> Result<()> {
    watch_interrupts()?;
    for &count in agents {
        for row in round(count)? {
            row.print(json)?;
        }
    }
    Ok(())
}

fn round(agents: usize) -> Result<Vec<Row>> {
    let fleet = Fleet::found(Lab::new()?, "")?;
    let coordinator = &fleet.coordinator;
    let join = fleet.mint(&["--uses", &agents.to_string(), "--life", "1h"])?.join;
    let empty_kib = memory_kib(coordinator)?;
    let mut swarm = Swarm::start(&fleet, agents)?;
    swarm.tell(&join)?;
    let Said::Linked { seconds } = swarm.hear()? else { anyhow::bail!("the swarm did not link") };
    eprintln!("{agents} agents enrolled and linked in {seconds:.1} s");
    thread::sleep(SETTLE_TIME);
    let name = |what: &str| format!("{what}-{agents}");
    let memory = (memory_kib(coordinator)? - empty_kib) / agents as f64;
    let mut rows = vec![Row::against_goal("link", name("agents-memory"), vec![memory], "KiB", 32.0)];

    let idle = cpu_seconds(coordinator, REPORT_TIME)?;
    swarm.tell(&format!("report {}", agents as u64 * 1_000 / REPORTS_PER_SECOND))?;
    let busy = cpu_seconds(coordinator, REPORT_TIME)?;
    swarm.tell("quiet")?;
    let Said::Reported { frames, seconds } = swarm.hear()? else { anyhow::bail!("the swarm did not count its reports") };
    let reports = frames as f64 / seconds * REPORT_TIME.as_secs_f64();
    rows.push(Row::against_goal("link", name("report-cpu"), vec![(busy - idle) / reports * 1e6], "us", 60.0));

    let (mut medians, mut tails) = (Vec::new(), Vec::new());
    fleet.owner.ok(&["firewall", "create", WORKSPACE, "pushed", "--default-inbound", "allow"])?;
    // The new firewall is a policy too; what follows starts from quiet.
    swarm.hear()?;
    for push in 0..PUSHES {
        fleet.owner.set_rules(WORKSPACE, "pushed", &rules(push))?;
        let Said::Pushed { p50_at_ms, p99_at_ms } = swarm.hear()? else { anyhow::bail!("the swarm did not acknowledge") };
        let committed_at_ms = committed_at_ms(&fleet)?;
        medians.push(p50_at_ms - committed_at_ms);
        tails.push(p99_at_ms - committed_at_ms);
    }
    let goal = if agents > 1_000 { 1_000.0 } else { 150.0 };
    rows.push(Row::against_goal("link", name("push-p50"), medians, "ms", goal));
    rows.push(Row::against_goal("link", if agents == 10_000 { "push-10k".to_owned() } else { name("push-p99") }, tails, "ms", goal));
    swarm.tell("exit")?;
    fleet.end()?;
    Ok(rows)
}

/// The process of simulated agents, in the coordinator's namespace.
struct Swarm {
    process: Child,
    input: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
}

impl Swarm {
    fn start(fleet: &Fleet, agents: usize) -> Result<Self> {
        let mut command: Command = fleet.lab.hub().command(std::env::current_exe()?);
        command.args(["swarm", "--address", &fleet.coordinator.address(), "--agents", &agents.to_string(), "--ca"]);
        command.arg(fleet.coordinator.state().join("ca/ca.crt")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("the swarm does not start")?;
        let input = process.stdin.take().context("the swarm has no input")?;
        let said = BufReader::new(process.stdout.take().context("the swarm has no output")?).lines();
        Ok(Self { process, input, said })
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        Ok(writeln!(self.input, "{line}")?)
    }

    fn hear(&mut self) -> Result<Said> {
        Ok(serde_json::from_str(&self.said.next().context("the swarm ended")??)?)
    }
}

impl Drop for Swarm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn rules(push: usize) -> Value {
    let rule = |number: usize| json!({ "priority": number, "action": "allow", "direction": "inbound", "protocol": "tcp", "source": [format!("10.{push}.{number}.0/24")], "ports": ["443"] });
    Value::Array((0..PUSHED_RULES).map(rule).collect())
}

/// When the newest change of rules was committed, by the audit trail.
fn committed_at_ms(fleet: &Fleet) -> Result<f64> {
    let events = fleet.owner.items(&["audit", "list", "acme", "--action", "firewall.rules.set", "--limit", "1"])?;
    let time = events.first().and_then(|event| event.get("time")).and_then(Value::as_str).context("no audit event of the push")?;
    let time: loopback_api::Time = time.parse()?;
    Ok(time.0 as f64)
}

fn memory_kib(coordinator: &Coordinator) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", coordinator.pid()?))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// What the coordinator uses of the processors during a time.
fn cpu_seconds(coordinator: &Coordinator, during: Duration) -> Result<f64> {
    let used = || -> Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", coordinator.pid()?))?;
        let fields: Vec<_> = stat.rsplit(") ").next().unwrap_or_default().split_whitespace().collect();
        let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).context("no CPU time");
        // User and system time, in hundredths of a second on every Linux.
        Ok((ticks(11)? + ticks(12)?) / 100.0)
    };
    let (before, begun) = (used()?, Instant::now());
    thread::sleep(during);
    Ok((used()? - before) * during.as_secs_f64() / begun.elapsed().as_secs_f64())
}
