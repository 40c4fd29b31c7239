//! What hosts observe arrives, also what they observed while nobody listened.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use loopback_tests::fleet::{Fleet, path};
use loopback_tests::wait::{stays, wait_for};
use serde_json::Value;

const WITHIN: Duration = Duration::from_secs(20);
const CUT: Duration = Duration::from_secs(60);
const DAY_MS: u64 = 86_400_000;

/// One of each kind that the issue names.
const NAMES: [&str; 8] = [
    "node_cpu_seconds_total",
    "node_memory_MemAvailable_bytes",
    "node_load1",
    "node_filesystem_avail_bytes",
    "node_disk_read_bytes_total",
    "node_network_receive_bytes_total",
    "node_boot_time_seconds",
    "node_time_seconds",
];

#[test]
fn every_kind_of_value_arrives_and_can_be_asked_for() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let host = path(&fleet.machine(0)?);
    for name in NAMES {
        wait_for(WITHIN, format!("two samples of {name}"), || Ok(times(&fleet, &host, name)?.len() >= 2))?;
    }
    let load = fleet.owner.json(&["metrics", &host, "--last", "5m", "--name", "node_load1"])?;
    let value = load.pointer("/series/0/points/0/1").and_then(Value::as_f64).context("a load has a value")?;
    ensure!((0.0..10_000.0).contains(&value), "a load of {value}");
    let overview = fleet.owner.ok(&["metrics", &host, "--last", "5m"])?;
    ensure!(overview.contains("load") && overview.contains("memory"), "{overview}");
    fleet.owner.run(&["metrics", "acme/prod/web/nobody", "--last", "5m"])?.refused(1)?;
    fleet.end()
}

#[test]
fn a_minute_without_a_link_loses_nothing() -> Result<()> {
    let mut fleet = Fleet::start(1)?;
    let machine = fleet.machine(0)?;
    let host = path(&machine);
    wait_for(WITHIN, "the first samples", || Ok(times(&fleet, &host, "node_load1")?.len() >= 2))?;

    fleet.lab.set_cable(&machine, false)?;
    let cut = now_ms()?;
    fleet.wait_state(&host, "offline")?;
    let offline_after = now_ms()?.saturating_sub(cut);
    ensure!(offline_after < 10_000, "three heartbeats of a second took {offline_after} ms");
    stays(CUT.saturating_sub(Duration::from_millis(offline_after)), "the absence", || {
        Ok(fleet.owner.json(&["host", "show", &host])?.get("state").and_then(Value::as_str) == Some("offline"))
    })?;
    let mended = now_ms()?;
    fleet.lab.set_cable(&machine, true)?;
    fleet.wait_state(&host, "online")?;

    // One sample a second was taken; a few may fall into one step of the answer.
    let expected = usize::try_from((mended - cut) / 1000 * 3 / 4)?;
    let taken_meanwhile = || -> Result<usize> { Ok(times(&fleet, &host, "node_load1")?.iter().filter(|time| (cut..mended).contains(*time)).count()) };
    wait_for(WITHIN, "the samples of the minute", || Ok(taken_meanwhile()? >= expected))?;
    fleet.host(0)?.check_alive()?;
    fleet.end()
}

/// When the samples of a series were taken, in milliseconds since 1970.
fn times(fleet: &Fleet, host: &str, name: &str) -> Result<Vec<u64>> {
    let answer = fleet.owner.json(&["metrics", host, "--last", "5m", "--name", name])?;
    let points = answer.pointer("/series/0/points").and_then(Value::as_array).cloned().unwrap_or_default();
    points.iter().map(|point| milliseconds(point.pointer("/0").and_then(Value::as_str).context("a point has a time")?)).collect()
}

/// Of `2026-11-21T02:40:36.123Z`, which is within half a day of now: no calendar is needed.
fn milliseconds(time: &str) -> Result<u64> {
    let clock = time.split_once('T').and_then(|(_, clock)| clock.strip_suffix('Z')).with_context(|| format!("{time} is no time"))?;
    let mut of_day_ms = 0;
    for (part, unit_ms) in clock.split([':', '.']).zip([3_600_000, 60_000, 1_000, 1]) {
        of_day_ms += part.parse::<u64>()? * unit_ms;
    }
    let now = now_ms()?;
    let today = now - now % DAY_MS + of_day_ms;
    Ok(if today > now + DAY_MS / 2 { today - DAY_MS } else { today })
}

fn now_ms() -> Result<u64> {
    Ok(u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis())?)
}
