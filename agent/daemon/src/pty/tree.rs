//! All processes of a session, and their end: SIGHUP, a short grace, SIGKILL, until none is left. The control group finds them; /proc finds those that something (pam_systemd under `su -`) moved
//! out of it, and all of them where there is no control group. What a session asks another daemon to run (cron, `systemd-run`) is not the session's.

use std::collections::HashSet;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use loopback_protocol::id::SessionId;
use rustix::process::{Pid, Signal, kill_process};

use super::cgroup::Cgroup;
use super::procfs::{self, ProcessKey};

/// What a session's processes know their session by.
pub(super) const SESSION_VARIABLE: &str = "LOOPBACK_SESSION_ID";
/// What they know their agent's process by; it lets the next agent find them when this one is killed.
pub(super) const AGENT_VARIABLE: &str = "LOOPBACK_AGENT";

/// Between SIGHUP and SIGKILL: enough for a shell to write its history, within the second in which a revoked permission must work.
const HANGUP_GRACE_MS: u64 = 500;
/// After the first SIGKILL.
const KILL_WAIT_MAX_MS: u64 = 10_000;
/// For a session that is dropped instead of ended; it holds up a thread of the runtime.
const DROP_WAIT_MAX_MS: u64 = 100;
/// Between two looks at what is left, at first and at most.
const LOOK_MIN_MS: u64 = 1;
const LOOK_MAX_MS: u64 = 50;

/// The processes of one session. Dropped without [`ProcessTree::end`], it kills what is in the control group and hardly waits.
#[derive(Debug)]
pub(super) struct ProcessTree {
    variable: String,
    leader: ProcessKey,
    cgroup: Option<SessionCgroup>,
}

/// Processes that SIGKILL did not end.
#[derive(Debug)]
pub(super) struct Remaining {
    pub(super) count: usize,
}

/// The control group of a session that has not ended; it goes with the value.
#[derive(Debug)]
pub(super) struct SessionCgroup(Cgroup);

impl SessionCgroup {
    /// The group of a session, or none with a word in the log when the host gives none.
    pub(super) fn create(agent: ProcessKey, session: SessionId) -> Option<Self> {
        Cgroup::create(agent, session)
            .inspect_err(|error| tracing::warn!(%session, %error, "no control group for the session; its processes are found by their environment"))
            .ok()
            .map(Self)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SessionCgroup {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            self.0.kill();
            wait_until(DROP_WAIT_MAX_MS, || self.0.is_empty());
        }
        if let Err(error) = self.0.remove() {
            tracing::warn!(cgroup = %self.0.path().display(), %error, "control group of a session left; the next start of the agent removes it");
        }
    }
}

impl ProcessTree {
    pub(super) fn new(session: SessionId, leader: ProcessKey, cgroup: Option<SessionCgroup>) -> Self {
        Self { variable: format!("{SESSION_VARIABLE}={session}"), leader, cgroup }
    }

    /// Ends every process. It blocks, at most for the grace and the wait.
    pub(super) fn end(self) -> Result<(), Remaining> {
        let members = self.members();
        if members.is_empty() {
            return Ok(());
        }
        signal_all(&members, Signal::HUP);
        // A stopped process hears SIGHUP only when it goes on.
        signal_all(&members, Signal::CONT);
        if wait_until(HANGUP_GRACE_MS, || self.members().is_empty()) {
            return Ok(());
        }
        let gone = wait_until(KILL_WAIT_MAX_MS, || {
            if let Some(SessionCgroup(cgroup)) = &self.cgroup {
                cgroup.kill();
            }
            let members = self.members();
            signal_all(&members, Signal::KILL);
            members.is_empty()
        });
        if gone { Ok(()) } else { Err(Remaining { count: self.members().len() }) }
    }

    fn members(&self) -> HashSet<i32> {
        let mut members = procfs::members(self.variable.as_bytes(), self.leader);
        if let Some(SessionCgroup(cgroup)) = &self.cgroup
            && !cgroup.is_empty()
        {
            members.extend(cgroup.processes());
        }
        members
    }
}

/// Kills what the sessions of agents that no longer run have left, and removes their control groups. Call it once, when the agent starts; it blocks. Sessions of other agents that run are not
/// touched.
pub fn end_leftovers() {
    let orphans = Cgroup::orphans();
    let is_orphaned = |entry: &[u8]| agent_of(entry).is_some_and(|agent| !agent.is_alive());
    let gone = wait_until(KILL_WAIT_MAX_MS, || {
        orphans.iter().filter(|cgroup| !cgroup.is_empty()).for_each(Cgroup::kill);
        let strays = procfs::with_variable(is_orphaned);
        signal_all(&strays, Signal::KILL);
        strays.is_empty() && orphans.iter().all(Cgroup::is_empty)
    });
    if !gone {
        tracing::error!("processes of sessions of a killed agent cannot be killed; look for state D in `ps`");
    }
    for cgroup in orphans {
        match cgroup.remove() {
            Ok(()) => tracing::info!(cgroup = %cgroup.path().display(), "sessions of a killed agent ended"),
            Err(error) => tracing::warn!(cgroup = %cgroup.path().display(), %error, "control group of a killed agent left"),
        }
    }
}

/// The agent that an environment entry names.
fn agent_of(entry: &[u8]) -> Option<ProcessKey> {
    let (name, value) = std::str::from_utf8(entry).ok()?.split_once('=')?;
    (name == AGENT_VARIABLE).then(|| value.parse().ok())?
}

fn signal_all(pids: &HashSet<i32>, signal: Signal) {
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // It may have ended since it was found.
        if let Err(error) = kill_process(pid, signal) {
            tracing::debug!(%pid, %error, "process of a session not signalled");
        }
    }
}

/// Looks until something holds or the time is over, ever more rarely.
fn wait_until(wait_max_ms: u64, mut holds: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + Duration::from_millis(wait_max_ms);
    let mut pause = Duration::from_millis(LOOK_MIN_MS);
    loop {
        if holds() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(LOOK_MAX_MS));
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Child, Command};

    use loopback_protocol::id::{Id, SessionId};

    use super::{AGENT_VARIABLE, Cgroup, ProcessTree, SESSION_VARIABLE, agent_of, end_leftovers, wait_until};
    use crate::pty::procfs::{ProcessKey, members};

    /// Ends what a test started, when the test fails.
    struct Started(Child);

    impl Drop for Started {
        fn drop(&mut self) {
            let _ended = self.0.kill();
            let _reaped = self.0.wait();
        }
    }

    impl Started {
        fn shell(script: &str, variable: &str, value: &str) -> Self {
            Self(Command::new("sh").args(["-c", script]).env(variable, value).spawn().unwrap())
        }

        fn key(&self) -> ProcessKey {
            ProcessKey::of(self.0.id().try_into().unwrap()).unwrap()
        }
    }

    fn session() -> SessionId {
        let mut unique = [0; 10];
        unique[..4].copy_from_slice(&std::process::id().to_be_bytes());
        Id::new(1, unique)
    }

    /// An agent that has run and does not any more.
    fn dead_agent() -> ProcessKey {
        Started::shell("read -r _", "NONE", "").key()
    }

    #[test]
    fn an_environment_entry_names_an_agent_only_in_our_variable() {
        let own = ProcessKey::current().unwrap();
        assert_eq!(agent_of(format!("{AGENT_VARIABLE}={own}").as_bytes()), Some(own));
        assert_eq!(agent_of(format!("X{AGENT_VARIABLE}={own}").as_bytes()), None);
        assert_eq!(agent_of(b"LOOPBACK_AGENT=yes"), None);
    }

    #[test]
    fn without_a_control_group_orphans_and_deserters_are_found_and_ended() {
        let session = session();
        let variable = format!("{SESSION_VARIABLE}={session}");
        let shell = Started::shell("(setsid sh -c 'trap \"\" HUP; env -i sleep 1000; :' &); sleep 1000; :", SESSION_VARIABLE, &session.to_string());
        let leader = shell.key();
        // Two shells, and a sleep of each; the one without environment has its parent.
        assert!(wait_until(10_000, || members(variable.as_bytes(), leader).len() == 4));
        ProcessTree::new(session, leader, None).end().unwrap();
        assert!(members(variable.as_bytes(), leader).is_empty());
    }

    #[test]
    fn what_a_killed_agent_left_is_ended_and_what_a_living_one_has_is_not() {
        let own = ProcessKey::current().unwrap();
        let mut stray = Started::shell("exec sleep 1000", AGENT_VARIABLE, &dead_agent().to_string());
        let mut ours = Started::shell("exec sleep 1000", AGENT_VARIABLE, &own.to_string());
        let mut inmate = Started::shell("exec sleep 1000", "NONE", "");
        let left = Cgroup::create(dead_agent(), session()).unwrap();
        let kept = Cgroup::create(own, session()).unwrap();
        std::fs::write(left.path().join("cgroup.procs"), inmate.0.id().to_string()).unwrap();

        end_leftovers();

        assert!(!stray.0.wait().unwrap().success());
        assert!(!inmate.0.wait().unwrap().success());
        assert!(!left.path().exists());
        assert!(ours.0.try_wait().unwrap().is_none());
        assert!(kept.path().exists());
        kept.remove().unwrap();
        assert!(!kept.path().exists());
    }
}
