//! Which processes belong to a session, as /proc tells. It reads; it signals none.
//!
//! A control group tells this better where there is one: a process that leaves its session, clears its environment and loses its parent is not found here.

use std::collections::HashSet;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;
use std::str::FromStr;

use rustix::process::Pid;

/// How far into a process's environment we look; ours stands near its beginning.
const ENVIRONMENT_MAX_BYTES: u64 = 256 * 1024;

/// A process for all time: pids are used again, a pid with the moment it started is not (until the next boot).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProcessKey {
    pub(super) pid: i32,
    /// Clock ticks since boot.
    started: u64,
}

impl ProcessKey {
    /// The process that has this pid now.
    pub(super) fn of(pid: i32) -> Option<Self> {
        Stat::of(pid).map(|stat| Self { pid, started: stat.started })
    }

    /// This process.
    pub(super) fn current() -> Option<Self> {
        Self::of(Pid::as_raw(Some(rustix::process::getpid())))
    }

    /// Whether the process still runs.
    pub(super) fn is_alive(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started == self.started && !stat.is_dead)
    }

    /// Whether the pid has gone to another process.
    fn is_replaced(self) -> bool {
        Stat::of(self.pid).is_some_and(|stat| stat.started != self.started)
    }
}

impl fmt::Display for ProcessKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.pid, self.started)
    }
}

impl FromStr for ProcessKey {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (pid, started) = text.split_once('-').unwrap_or((text, ""));
        Ok(Self { pid: pid.parse()?, started: started.parse()? })
    }
}

/// The living processes with an environment variable as given, those of the session `leader` leads, and the descendants of all of them. Never this process itself.
pub(super) fn members(variable: &[u8], leader: ProcessKey) -> HashSet<i32> {
    let processes = living();
    // The kernel keeps a session's number from other processes while one of its members is left; after that it may lead a session that is not ours.
    let session = (!leader.is_replaced()).then_some(leader.pid);
    // Until it has entered the session, the leader itself is known by nothing but its pid.
    let is_member = |pid: i32, stat: &Stat| Some(stat.session) == session || Some(pid) == session || has_variable(pid, |entry| entry == variable);
    let mut members: HashSet<i32> = processes.iter().filter(|(pid, stat)| is_member(*pid, stat)).map(|(pid, _)| *pid).collect();
    loop {
        let children: Vec<i32> = processes.iter().filter(|(pid, stat)| members.contains(&stat.parent) && !members.contains(pid)).map(|(pid, _)| *pid).collect();
        if children.is_empty() {
            break;
        }
        members.extend(children);
    }
    members.remove(&Pid::as_raw(Some(rustix::process::getpid())));
    members
}

/// The living processes that have an environment variable for which the predicate holds. Never this process itself.
pub(super) fn with_variable(predicate: impl Fn(&[u8]) -> bool) -> HashSet<i32> {
    let own = Pid::as_raw(Some(rustix::process::getpid()));
    living().into_iter().map(|(pid, _)| pid).filter(|pid| *pid != own && has_variable(*pid, &predicate)).collect()
}

fn living() -> Vec<(i32, Stat)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter_map(|pid| Some((pid, Stat::of(pid)?)))
        .filter(|(_, stat)| !stat.is_dead)
        .collect()
}

fn has_variable(pid: i32, predicate: impl Fn(&[u8]) -> bool) -> bool {
    let mut environment = Vec::new();
    // A process may end under our hands, and another user's may be closed to us: then it is not ours.
    let read = File::open(format!("/proc/{pid}/environ")).and_then(|file| file.take(ENVIRONMENT_MAX_BYTES).read_to_end(&mut environment));
    read.is_ok() && environment.split(|byte| *byte == 0).any(predicate)
}

/// What we need of /proc/PID/stat, see proc(5).
struct Stat {
    is_dead: bool,
    parent: i32,
    session: i32,
    started: u64,
}

impl Stat {
    fn of(pid: i32) -> Option<Self> {
        Self::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
    }

    fn parse(text: &str) -> Option<Self> {
        // The second field is a name in parentheses that may hold anything, parentheses and blanks included.
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        Some(Self {
            is_dead: matches!(fields.next()?, "Z" | "X"),
            parent: fields.next()?.parse().ok()?,
            session: fields.nth(1)?.parse().ok()?,
            started: fields.nth(15)?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{ProcessKey, Stat};

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let stat = Stat::parse("12 (a) R (b)) S 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 987 22").unwrap();
        assert_eq!((stat.is_dead, stat.parent, stat.session, stat.started), (false, 3, 5, 987));
    }

    #[test]
    fn a_key_reads_back_and_tells_another_process_of_the_same_pid() {
        let own = ProcessKey::current().unwrap();
        assert_eq!(own.to_string().parse(), Ok(own));
        assert!(own.is_alive());
        let earlier = ProcessKey { started: own.started - 1, ..own };
        assert!(!earlier.is_alive());
        assert!(earlier.is_replaced());
        assert!("loopback".parse::<ProcessKey>().is_err());
    }
}
