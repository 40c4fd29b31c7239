//! What the agent itself costs its host.

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};

use super::samples::Samples;
use super::{Failure, number};

/// Takes the text of /proc/self/statm: sizes in pages, the second the resident one.
pub(super) fn read(statm: &str, samples: &mut Samples) -> Result<(), Failure> {
    let spent = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).map_err(|error| Failure::Refused { call: "clock_gettime", error })?;
    samples.push("loopback_agent_cpu_seconds_total", &[], std::time::Duration::from(spent).as_secs_f64());
    let pages = statm.split_ascii_whitespace().nth(1).and_then(number).ok_or_else(|| Failure::unexpected(statm))?;
    samples.push("loopback_agent_resident_memory_bytes", &[], pages * page_bytes());
    Ok(())
}

/// 4 KiB on most hosts, up to 64 KiB on some ARM ones.
pub(super) fn page_bytes() -> f64 {
    let bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|bytes| i32::try_from(bytes).ok());
    f64::from(bytes.unwrap_or(4096))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{collected, shell};

    #[test]
    fn it_tells_this_process() {
        let field = |name: &str| {
            let command = format!("awk '$1 == \"{name}:\" {{ print $2 * 1024 }}' /proc/{}/status", std::process::id());
            shell(&command).trim().parse::<f64>().unwrap()
        };
        let ticks = || shell(&format!("awk '{{ print ($14 + $15) / 100 }}' /proc/{}/stat", std::process::id())).trim().parse::<f64>().unwrap();
        let (before, observed, after) = (ticks(), collected("agent"), ticks());
        let (cpu, resident) = (observed["loopback_agent_cpu_seconds_total"], observed["loopback_agent_resident_memory_bytes"]);
        assert!(cpu > before - 0.02 && cpu < after + 0.02, "{before} <= {cpu} <= {after}");
        // The kernel counts resident pages per CPU and sums them lazily, hence the tolerance.
        assert!((resident - field("VmRSS")).abs() < 1_048_576.0, "{resident} against {}", field("VmRSS"));
    }

    #[test]
    fn a_page_is_as_long_as_getconf_says() {
        assert_eq!(super::page_bytes(), shell("getconf PAGESIZE").trim().parse::<f64>().unwrap());
    }
}
