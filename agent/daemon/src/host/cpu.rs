//! /proc/stat: what the CPUs did, and the kernel's counters of switches, interrupts and forks.

use std::collections::BTreeMap;

use super::samples::Samples;
use super::{Failure, number};

/// The kernel tells times in hundredths of a second whatever its own tick, on every architecture we build for.
const USER_HZ: f64 = 100.0;
/// A CPU whose idle time falls by more than this was taken away and brought back; less is the kernel's own noise.
const IDLE_RESET_TICKS: f64 = 3.0 * USER_HZ;
const MODES: [&str; 8] = ["user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"];
const IDLE: usize = 3;
const GUEST_MODES: [&str; 2] = ["user", "nice"];

/// Remembers each CPU's ticks: the kernel lets iowait and idle slip back a little, and a counter must not.
#[derive(Default)]
pub(super) struct Cpu {
    ticks: BTreeMap<u32, [f64; MODES.len() + GUEST_MODES.len()]>,
}

impl Cpu {
    pub(super) fn read(&mut self, text: &str, samples: &mut Samples) -> Result<(), Failure> {
        for line in text.lines() {
            let mut tokens = line.split_ascii_whitespace();
            let Some(key) = tokens.next() else { continue };
            if let Some(cpu) = key.strip_prefix("cpu").filter(|cpu| !cpu.is_empty()) {
                let cpu = cpu.parse().map_err(|_| Failure::unexpected(line))?;
                self.read_ticks(cpu, tokens).ok_or_else(|| Failure::unexpected(line))?;
            } else if let Some(name) = counter(key) {
                // The interrupt line goes on with one figure for each interrupt; the first is their sum.
                samples.push(name, &[], tokens.next().and_then(number).ok_or_else(|| Failure::unexpected(line))?);
            }
        }
        self.push_all(samples);
        Ok(())
    }

    fn read_ticks<'a>(&mut self, cpu: u32, tokens: impl Iterator<Item = &'a str>) -> Option<()> {
        // Kernels before 2.6.33 print fewer columns; what they do not count stays zero.
        let mut ticks = [0.0; MODES.len() + GUEST_MODES.len()];
        for (slot, token) in ticks.iter_mut().zip(tokens) {
            *slot = number(token)?;
        }
        let known = self.ticks.entry(cpu).or_insert(ticks);
        let fell_back = known.get(IDLE)? - ticks.get(IDLE)? >= IDLE_RESET_TICKS;
        for (known, now) in known.iter_mut().zip(ticks) {
            *known = if fell_back { now } else { known.max(now) };
        }
        Some(())
    }

    fn push_all(&self, samples: &mut Samples) {
        for (cpu, ticks) in &self.ticks {
            let cpu = cpu.to_string();
            let mut ticks = ticks.iter().map(|ticks| ticks / USER_HZ);
            for (mode, seconds) in MODES.iter().zip(ticks.by_ref().take(MODES.len())) {
                samples.push("node_cpu_seconds_total", &[("cpu", &cpu), ("mode", mode)], seconds);
            }
            for (mode, seconds) in GUEST_MODES.iter().zip(ticks) {
                samples.push("node_cpu_guest_seconds_total", &[("cpu", &cpu), ("mode", mode)], seconds);
            }
        }
    }
}

fn counter(key: &str) -> Option<&'static str> {
    match key {
        "intr" => Some("node_intr_total"),
        "ctxt" => Some("node_context_switches_total"),
        "btime" => Some("node_boot_time_seconds"),
        "processes" => Some("node_forks_total"),
        "procs_running" => Some("node_procs_running"),
        "procs_blocked" => Some("node_procs_blocked"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;
    use super::{Cpu, Samples};

    #[test]
    fn it_agrees_with_proc_stat() {
        check(
            "cpu",
            r#"awk '
            /^cpu[0-9]/ { split("user nice system idle iowait irq softirq steal", m, " "); cpu = substr($1, 4)
                for (i = 1; i <= 8; i++) printf "node_cpu_seconds_total{cpu=%s,mode=%s} %.2f\n", cpu, m[i], $(i + 1) / 100
                printf "node_cpu_guest_seconds_total{cpu=%s,mode=user} %.2f\nnode_cpu_guest_seconds_total{cpu=%s,mode=nice} %.2f\n", cpu, $10 / 100, cpu, $11 / 100 }
            $1 == "intr" { printf "node_intr_total %.0f\n", $2 }
            $1 == "ctxt" { printf "node_context_switches_total %.0f\n", $2 }
            $1 == "btime" { printf "node_boot_time_seconds %.0f\n", $2 }
            $1 == "processes" { printf "node_forks_total %.0f\n", $2 }
            $1 == "procs_running" { printf "node_procs_running %.0f\n", $2 }
            $1 == "procs_blocked" { printf "node_procs_blocked %.0f\n", $2 }' /proc/stat"#,
        );
    }

    fn idle_and_iowait(cpu: &mut Cpu, line: &str) -> (f64, f64) {
        let mut samples = Samples::default();
        cpu.read(line, &mut samples).unwrap();
        let values = samples.into_parts().1;
        (values[3], values[4])
    }

    #[test]
    fn counters_do_not_slip_back_unless_the_cpu_was_away() {
        let mut cpu = Cpu::default();
        assert_eq!(idle_and_iowait(&mut cpu, "cpu7 1 2 3 1000 50 6 7 8 9 10"), (10.0, 0.5));
        assert_eq!(idle_and_iowait(&mut cpu, "cpu7 1 2 3 999 40 6 7 8 9 10"), (10.0, 0.5), "noise");
        assert_eq!(idle_and_iowait(&mut cpu, "cpu7 1 2 3 700 40 6 7 8 9 10"), (7.0, 0.4), "unplugged and plugged in");
    }

    #[test]
    fn old_and_odd_files_are_read_for_what_they_say() {
        let mut samples = Samples::default();
        Cpu::default().read("cpu  9 9 9\ncpu0 100 0 0 18446744073709551615\nintr 5 1 1\n\nsoftirq 1 2\nnew_thing x\n", &mut samples).unwrap();
        let text = samples.text();
        assert!(text.starts_with("node_intr_total 5\nnode_cpu_seconds_total{cpu=0,mode=user} 1\n"), "{text}");
        assert!(text.contains("mode=idle} 184467440737095520\n") && text.contains("mode=steal} 0\n"), "{text}");
        for odd in ["cpu0 1 -2 3", "cpux 1", "ctxt", "intr NaN"] {
            assert!(Cpu::default().read(odd, &mut Samples::default()).is_err(), "{odd}");
        }
    }
}
