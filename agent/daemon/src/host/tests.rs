//! How a source is held against the kernel: a shell reads the same figures before and after, and what was collected lies between.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::{Duration, Instant};

use loopback_protocol::metrics::Series;

use super::samples::Samples;
use super::{Collector, Failure, KernelFile, Source, load};

/// `name{label=value,…}`.
pub(super) fn name_of(series: &Series) -> String {
    let labels: Vec<_> = series.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
    if labels.is_empty() { series.name.clone() } else { format!("{}{{{}}}", series.name, labels.join(",")) }
}

pub(super) fn shell(command: &str) -> String {
    let output = Command::new("sh").arg("-c").arg(command).output().unwrap();
    assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Gauges may move either way between two readings.
pub(super) fn between(one: f64, value: f64, other: f64) -> bool {
    let slack = 1e-6 * one.abs().max(1.0);
    value >= one.min(other) - slack && value <= one.max(other) + slack
}

/// What one source collects, by name.
pub(super) fn collected(source: &str) -> BTreeMap<String, f64> {
    let mut collector = Collector::new();
    collector.sources.retain(|candidate| candidate.name == source);
    assert!(!collector.sources.is_empty(), "no source {source}");
    let observation = collector.collect();
    assert_eq!(observation.failed, []);
    let count = observation.series.len();
    let named: BTreeMap<_, _> = observation.series.iter().map(name_of).zip(observation.values).collect();
    assert_eq!(named.len(), count, "no series twice");
    named
}

/// The command prints the same series, one `name value` a line. A restless gauge is read again until it has been caught between two readings;
/// so is everything when a device of another test comes or goes.
#[track_caller]
pub(super) fn check(source: &str, command: &str) {
    let read = || -> BTreeMap<String, f64> {
        shell(command).lines().map(|line| line.rsplit_once(' ').unwrap()).map(|(name, value)| (name.to_owned(), value.parse().unwrap())).collect()
    };
    let deadline = Instant::now() + Duration::from_secs(20);
    let mut unseen: Option<Vec<String>> = None;
    loop {
        let (before, observed, after) = (read(), collected(source), read());
        if !(before.keys().eq(observed.keys()) && observed.keys().eq(after.keys())) {
            assert!(Instant::now() < deadline, "{:#?} against {:#?}", observed.keys(), after.keys());
            continue;
        }
        let is_caught = |name: &String| observed.get(name).is_none_or(|value| between(before[name], *value, after[name]));
        let names = unseen.take().unwrap_or_else(|| observed.keys().cloned().collect());
        let missed: Vec<_> = names.into_iter().filter(|name| !is_caught(name)).collect();
        if missed.is_empty() {
            return;
        }
        let shown: Vec<_> = missed.iter().map(|name: &String| format!("{name}: {} <= {} <= {}", before[name], observed[name], after[name])).collect();
        assert!(Instant::now() < deadline, "{shown:#?}");
        unseen = Some(missed);
    }
}

/// What `read` makes of a text; `None` for a refusal.
#[track_caller]
pub(super) fn golden(read: impl FnOnce(&str, &mut Samples) -> Result<(), Failure>, text: &str, expected: Option<&str>) {
    let mut samples = Samples::default();
    let outcome = read(text, &mut samples).ok().map(|()| samples.text());
    assert_eq!(outcome.as_deref(), expected, "{text}");
}

#[test]
fn every_source_works_on_this_host_and_the_series_hold_still() {
    let mut collector = Collector::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    let first = loop {
        let (first, second) = (collector.collect(), collector.collect());
        assert_eq!((&first.failed, &second.failed), (&vec![], &vec![]));
        if first.series == second.series {
            break first;
        }
        assert!(Instant::now() < deadline, "{:#?} against {:#?}", first.series, second.series);
    };
    assert_eq!(first.series.len(), first.values.len());
    assert!(first.values.iter().all(|value| value.is_finite()));
    let names: std::collections::BTreeSet<_> = first.series.iter().map(name_of).collect();
    assert_eq!(names.len(), first.series.len(), "no series twice");
    for name in [
        "node_boot_time_seconds",
        "node_load1",
        "node_memory_MemAvailable_bytes",
        "loopback_agent_resident_memory_bytes",
        "node_network_receive_bytes_total{device=lo}",
    ] {
        assert!(names.contains(name), "{name}");
    }
}

#[test]
fn a_source_that_breaks_keeps_its_series_and_hurts_no_other() {
    let mut rounds = 0;
    let flaky = move |samples: &mut Samples| {
        rounds += 1;
        samples.push("node_flaky", &[], 1.0);
        if rounds == 2 {
            return Err(Failure::unexpected("half a line"));
        }
        samples.push("node_flaky", &[("n", "2")], 2.0);
        Ok(())
    };
    let steady = || Source::file("steady", "/proc/version", |_, samples| load::read("7 7 7", samples));
    let mut collector = Collector { sources: vec![steady(), Source::new("flaky", flaky), steady()] };
    let (first, broken, after) = (collector.collect(), collector.collect(), collector.collect());
    assert_eq!(first.values, [7.0, 7.0, 7.0, 1.0, 2.0, 7.0, 7.0, 7.0]);
    assert_eq!((&broken.series, &after.series), (&first.series, &first.series));
    assert_eq!(broken.values.iter().map(|value| value.is_nan()).collect::<Vec<_>>(), [false, false, false, true, true, false, false, false]);
    assert_eq!(broken.failed, [("flaky".to_owned(), "the kernel wrote a line of a form this agent does not know: \"half a line\"".to_owned())]);
    assert!(after.failed.is_empty());
}

#[test]
fn a_missing_file_fails_only_where_every_kernel_has_it() {
    let never = |_: &str, _: &mut Samples| unreachable!();
    let mut collector = Collector { sources: vec![Source::optional_file("may", "/proc/nowhere", never), Source::file("must", "/proc/nowhere", never)] };
    let failed = collector.collect().failed;
    assert_eq!(failed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["must"]);
    assert!(failed[0].1.starts_with("cannot read /proc/nowhere: No such file"), "{}", failed[0].1);
    assert!(KernelFile::new("/proc/self").bytes().is_err(), "a directory is no file");
}
