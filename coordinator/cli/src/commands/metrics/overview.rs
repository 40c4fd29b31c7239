//! What a host's series say to a person: shares, rates and amounts, with their course.
//!
//! Pure: the samples are arguments.

use std::collections::{BTreeMap, BTreeSet};

use loopback_api::Time;
use loopback_api::metrics::{LatestMetrics, MetricsRange, RangeSeries};

use crate::limits::SPARKLINE_COLUMNS;
use crate::output::Field;
use crate::sparkline::sparkline;

/// The series whose course is shown.
pub(super) const NAMES: [&str; 9] = [CPU, LOAD, MEMORY_AVAILABLE, FILES_AVAILABLE, FILES_SIZE, DISK_READ, DISK_WRITTEN, NETWORK_RECEIVED, NETWORK_SENT];

const CPU: &str = "node_cpu_seconds_total";
pub(super) const LOAD: &str = "node_load1";
const MEMORY_AVAILABLE: &str = "node_memory_MemAvailable_bytes";
const MEMORY_TOTAL: &str = "node_memory_MemTotal_bytes";
const FILES_AVAILABLE: &str = "node_filesystem_avail_bytes";
const FILES_SIZE: &str = "node_filesystem_size_bytes";
const DISK_READ: &str = "node_disk_read_bytes_total";
const DISK_WRITTEN: &str = "node_disk_written_bytes_total";
const NETWORK_RECEIVED: &str = "node_network_receive_bytes_total";
const NETWORK_SENT: &str = "node_network_transmit_bytes_total";
const BOOT_TIME: &str = "node_boot_time_seconds";

/// A value now, and its course.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    what: String,
    now: String,
    course: String,
}

pub(super) const LINES: &[Field<Line>] =
    &[Field::new("METRIC", |line, _| line.what.clone()), Field::new("NOW", |line, _| line.now.clone()), Field::new("COURSE", |line, _| line.course.clone())];

/// Everything known of a host for the overview.
pub(super) struct Overview<'a> {
    latest: &'a LatestMetrics,
    ranges: BTreeMap<&'a str, MetricsRange>,
    end: Time,
    step_ms: u64,
}

/// Samples further apart than this have a silence between them, not a course: two and a half of the default interval.
const SILENCE_MS: u64 = 25_000;

/// One value for each column; absent where there was no sample.
type Course = Vec<Option<f64>>;

impl<'a> Overview<'a> {
    /// `ranges` end at `end` and have points every `step` seconds.
    pub(super) fn new(latest: &'a LatestMetrics, ranges: BTreeMap<&'a str, MetricsRange>, end: Time, step: u64) -> Self {
        Self { latest, ranges, end, step_ms: step * 1_000 }
    }

    /// CPU, load, memory, filesystems, disks, network and uptime, as far as the host tells them.
    pub(super) fn lines(&self) -> Vec<Line> {
        let mut lines: Vec<Line> = [self.cpu(), self.load(), self.memory()].into_iter().flatten().collect();
        lines.extend(self.filesystems());
        for (what, name) in
            [("disk {} read", DISK_READ), ("disk {} written", DISK_WRITTEN), ("network {} in", NETWORK_RECEIVED), ("network {} out", NETWORK_SENT)]
        {
            lines.extend(self.traffic(what, name));
        }
        lines.extend(self.uptime());
        lines
    }

    fn cpu(&self) -> Option<Line> {
        let series = self.series(CPU);
        let idle: Vec<&RangeSeries> = series.iter().copied().filter(|series| matches!(label(series, "mode"), "idle" | "iowait")).collect();
        let (idle, all) = (self.summed(&idle), self.summed(&series));
        let busy: Course = idle.iter().zip(&all).map(|(idle, all)| Some(1.0 - idle.as_ref()? / all.filter(|all| *all > 0.0)?)).collect();
        let now = newest(&busy)?;
        Some(Line { what: "cpu".to_owned(), now: percent(now), course: sparkline(&busy, Some(0.0), Some(1.0)) })
    }

    fn load(&self) -> Option<Line> {
        let newest: Vec<String> =
            ["node_load1", "node_load5", "node_load15"].iter().filter_map(|name| self.latest_of(name)).map(|load| format!("{load:.2}")).collect();
        let course = self.series(LOAD).first().map(|series| self.columns(series)).unwrap_or_default();
        (!newest.is_empty()).then(|| Line { what: "load".to_owned(), now: newest.join(" "), course: sparkline(&course, Some(0.0), None) })
    }

    fn memory(&self) -> Option<Line> {
        let total = self.latest_of(MEMORY_TOTAL).filter(|total| *total > 0.0)?;
        let used = (total - self.latest_of(MEMORY_AVAILABLE)?) / total;
        let course = self.series(MEMORY_AVAILABLE).first().map(|series| self.columns(series)).unwrap_or_default();
        let course: Course = course.into_iter().map(|available| available.map(|available| 1.0 - available / total)).collect();
        Some(Line { what: "memory".to_owned(), now: format!("{} of {}", percent(used), bytes(total)), course: sparkline(&course, Some(0.0), Some(1.0)) })
    }

    fn filesystems(&self) -> Vec<Line> {
        let sizes = self.series(FILES_SIZE);
        let line = |available: &RangeSeries| {
            let size = sizes.iter().find(|size| size.labels == available.labels)?;
            let size = newest(&self.columns(size)).filter(|size| *size > 0.0)?;
            let course: Course = self.columns(available).into_iter().map(|available| available.map(|available| 1.0 - available / size)).collect();
            let now = format!("{} of {}", percent(newest(&course)?), bytes(size));
            Some(Line { what: format!("filesystem {}", label(available, "mountpoint")), now, course: sparkline(&course, Some(0.0), Some(1.0)) })
        };
        // What is mounted more than once, as bind mounts are, is one filesystem; the shortest of its mount points names it, as in df.
        let mut mounts = self.series(FILES_AVAILABLE);
        mounts.sort_by_key(|mount| (label(mount, "mountpoint").len(), label(mount, "mountpoint")));
        let mut devices = BTreeSet::new();
        mounts.into_iter().filter(|mount| devices.insert(label(mount, "device"))).filter_map(line).collect()
    }

    /// Bytes per second of each device's counter.
    fn traffic(&self, what: &str, name: &str) -> Vec<Line> {
        let series = self.series(name);
        let devices: BTreeSet<&str> = series.iter().map(|series| label(series, "device")).filter(|device| *device != "lo").collect();
        let line = |device: &str| {
            let of_device: Vec<&RangeSeries> = series.iter().copied().filter(|series| label(series, "device") == device).collect();
            let seconds = self.step_ms as f64 / 1_000.0;
            let rate: Course = self.summed(&of_device).into_iter().map(|bytes| bytes.map(|bytes| bytes / seconds)).collect();
            Some(Line { what: what.replace("{}", device), now: format!("{}/s", bytes(newest(&rate)?)), course: sparkline(&rate, Some(0.0), None) })
        };
        devices.into_iter().filter_map(line).collect()
    }

    fn uptime(&self) -> Option<Line> {
        let seconds = self.end.0 as f64 / 1_000.0 - self.latest_of(BOOT_TIME)?;
        let minutes = (seconds / 60.0).max(0.0) as u64;
        let now = match (minutes / 1_440, minutes / 60 % 24, minutes % 60) {
            (0, 0, minutes) => format!("{minutes} min"),
            (0, hours, minutes) => format!("{hours} h {minutes} min"),
            (days, hours, _) => format!("{days} d {hours} h"),
        };
        Some(Line { what: "uptime".to_owned(), now, course: String::new() })
    }

    fn latest_of(&self, name: &str) -> Option<f64> {
        self.latest.samples.iter().find(|sample| sample.name == name).map(|sample| sample.value).filter(|value| value.is_finite())
    }

    fn series(&self, name: &str) -> Vec<&RangeSeries> {
        self.ranges.get(name).map(|range| range.series.iter().collect()).unwrap_or_default()
    }

    /// The increase of counters over each column, together. Columns may be narrower than the time between two samples: an increase is spread over the
    /// columns since the sample before, unless the host was silent in between. A counter that fell was reset, and counts from nothing.
    fn summed(&self, series: &[&RangeSeries]) -> Course {
        let mut sums: Course = vec![None; SPARKLINE_COLUMNS as usize];
        for one in series {
            let points = self.with_point_before(one);
            let seen = points.iter().enumerate().filter_map(|(column, value)| Some((column, (*value)?)));
            let seen: Vec<(usize, f64)> = seen.collect();
            for pair in seen.windows(2) {
                let [(from, before), (to, after)] = pair else { continue };
                if to - from > 1 && (to - from) as u64 * self.step_ms > SILENCE_MS {
                    continue;
                }
                let increase = if after < before { *after } else { after - before } / (to - from) as f64;
                for sum in sums.iter_mut().take(*to).skip(*from) {
                    *sum = Some(sum.unwrap_or_default() + increase);
                }
            }
        }
        sums
    }

    /// An amount holds until the next sample, unless the host was silent in between: columns may be narrower than the time between two samples.
    fn columns(&self, series: &RangeSeries) -> Course {
        let mut course = self.with_point_before(series);
        let seen: Vec<usize> = course.iter().enumerate().filter_map(|(column, value)| value.map(|_| column)).collect();
        for pair in seen.windows(2) {
            let [from, to] = *pair else { continue };
            let held = course.get(from).copied().flatten();
            if (to - from) as u64 * self.step_ms <= SILENCE_MS {
                course.iter_mut().take(to).skip(from).for_each(|value| *value = held);
            }
        }
        course.split_off(1)
    }

    /// The points by column, the newest last, and one before the first column.
    fn with_point_before(&self, series: &RangeSeries) -> Course {
        let columns = SPARKLINE_COLUMNS as usize + 1;
        let mut course: Course = vec![None; columns];
        for (time, value) in &series.points {
            let back = usize::try_from(self.end.0.saturating_sub(time.0) / self.step_ms.max(1)).unwrap_or(usize::MAX);
            if let Some(slot) = columns.checked_sub(back.saturating_add(1)).and_then(|column| course.get_mut(column)) {
                *slot = Some(*value).filter(|value| value.is_finite());
            }
        }
        course
    }
}

fn newest(course: &Course) -> Option<f64> {
    course.iter().rev().flatten().next().copied()
}

fn label<'a>(series: &'a RangeSeries, name: &str) -> &'a str {
    series.labels.get(name).map_or("", String::as_str)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

/// `1.4 GiB`.
fn bytes(number: f64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut shown = format!("{number:.0} B");
    let mut rest = number;
    for unit in UNITS {
        if rest < 1_024.0 {
            break;
        }
        rest /= 1_024.0;
        shown = format!("{rest:.1} {unit}");
    }
    shown
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use loopback_api::Time;
    use loopback_api::metrics::{LatestMetrics, MetricsRange, RangeSeries, Sample};

    use super::{CPU, FILES_AVAILABLE, FILES_SIZE, LOAD, MEMORY_AVAILABLE, NETWORK_RECEIVED, Overview, bytes};

    const END: u64 = 1_700_000_000_000;

    fn labels(labels: &[(&str, &str)]) -> BTreeMap<String, String> {
        labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    /// Points every ten seconds, the last at the end.
    fn series(names: &[(&str, &str)], values: &[f64]) -> RangeSeries {
        let time = |back: usize| Time(END - 10_000 * back as u64);
        let points = values.iter().rev().enumerate().map(|(back, value)| (time(back), *value)).rev().collect();
        RangeSeries { labels: labels(names), points }
    }

    fn range(series: Vec<RangeSeries>) -> MetricsRange {
        MetricsRange { step_ms: 10_000, series }
    }

    fn shown(samples: &[(&str, f64)], ranges: Vec<(&'static str, MetricsRange)>) -> Vec<String> {
        let samples = samples.iter().map(|(name, value)| Sample { name: (*name).to_owned(), labels: BTreeMap::new(), value: *value }).collect();
        let latest = LatestMetrics { time: Some(Time(END)), samples };
        let overview = Overview::new(&latest, ranges.into_iter().collect(), Time(END), 10);
        overview.lines().iter().map(|line| format!("{} = {} {}", line.what, line.now, line.course.trim_start())).collect()
    }

    #[test]
    fn the_cpu_is_busy_when_it_is_neither_idle_nor_waiting() {
        let idle = series(&[("cpu", "0"), ("mode", "idle")], &[0.0, 10.0, 15.0, 15.0]);
        let user = series(&[("cpu", "0"), ("mode", "user")], &[0.0, 0.0, 5.0, 15.0]);
        assert_eq!(shown(&[], vec![(CPU, range(vec![idle, user]))]), ["cpu = 100.0 % ▁▅█"]);
    }

    #[test]
    fn a_counters_rate_is_its_increase_and_survives_a_reset_and_a_gap() {
        let received = |device, values: &[f64]| series(&[("device", device)], values);
        let eth0 = received("eth0", &[0.0, 20_480.0, 10_240.0, f64::NAN, f64::NAN, 0.0, 10_240.0]);
        assert_eq!(shown(&[], vec![(NETWORK_RECEIVED, range(vec![eth0, received("lo", &[0.0, 1.0])]))]), ["network eth0 in = 1.0 KiB/s █▅   ▅"]);
    }

    #[test]
    fn memory_and_filesystems_are_shares_of_their_size() {
        let available = series(&[], &[750.0, 250.0]);
        let mount = [("device", "/dev/sda1"), ("mountpoint", "/")];
        let files = vec![(FILES_AVAILABLE, range(vec![series(&mount, &[1_024.0, 512.0])])), (FILES_SIZE, range(vec![series(&mount, &[2_048.0, 2_048.0])]))];
        let ranges = [(MEMORY_AVAILABLE, range(vec![available]))].into_iter().chain(files).collect();
        let samples = [("node_memory_MemTotal_bytes", 1_000.0), (MEMORY_AVAILABLE, 250.0), ("node_boot_time_seconds", 1_700_000_000.0 - 93_600.0)];
        assert_eq!(shown(&samples, ranges), ["memory = 75.0 % of 1000 B ▃▆", "filesystem / = 75.0 % of 2.0 KiB ▅▆", "uptime = 1 d 2 h "]);
    }

    #[test]
    fn a_filesystem_mounted_twice_is_told_once_by_its_shortest_mount_point() {
        let mount = |device, point| [("device", device), ("mountpoint", point)];
        let mounts = [mount("/dev/sda1", "/run/netns"), mount("/dev/sdb1", "/srv"), mount("/dev/sda1", "/")];
        let ranges = |values: &[f64]| range(mounts.iter().map(|mount| series(mount, values)).collect());
        let lines = shown(&[], vec![(FILES_AVAILABLE, ranges(&[512.0])), (FILES_SIZE, ranges(&[1_024.0]))]);
        assert_eq!(lines, ["filesystem / = 50.0 % of 1.0 KiB ▅", "filesystem /srv = 50.0 % of 1.0 KiB ▅"]);
    }

    #[test]
    fn an_amount_holds_until_the_next_sample_but_not_over_a_silence() {
        let mut sparse = series(&[], &[1.0, f64::NAN, 1.0, f64::NAN, f64::NAN, f64::NAN, 2.0]);
        sparse.points.retain(|(_, value)| value.is_finite());
        assert_eq!(shown(&[("node_load1", 2.0)], vec![(LOAD, range(vec![sparse]))]), ["load = 2.00 ▅▅▅   █"]);
    }

    #[test]
    fn bytes_are_told_in_their_largest_unit() {
        assert_eq!([0.0, 1_023.0, 1_024.0, 1_536.0 * 1_048_576.0].map(bytes), ["0 B", "1023 B", "1.0 KiB", "1.5 GiB"]);
    }
}
