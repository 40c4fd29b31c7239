//! Control groups, which hold every process of a session whatever it does to hide: `loopback/loopback-agent-PID-START/ses_…` in the unified hierarchy. It makes, reads, kills and removes; it
//! limits nothing, and does not go where another manager of control groups has put something.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use loopback_protocol::id::SessionId;
use rustix::process::{Pid, Signal};

use super::procfs::ProcessKey;

/// Above the groups of all agents of the host.
const PARENT: &str = "loopback";
const AGENT_PREFIX: &str = "loopback-agent-";
/// Another session's end may remove an empty parent just before we enter it.
const CREATE_ATTEMPTS: u32 = 8;

/// One control group. It stays when this value goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes the group of a session.
    pub(super) fn create(agent: ProcessKey, session: SessionId) -> io::Result<Self> {
        let hierarchy = hierarchy().ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "no cgroup2 file system is mounted"))?;
        let path = hierarchy.join(PARENT).join(format!("{AGENT_PREFIX}{agent}")).join(session.to_string());
        for _ in 1..CREATE_ATTEMPTS {
            match fs::create_dir_all(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                created => return created.map(|()| Self { path }),
            }
        }
        fs::create_dir_all(&path)?;
        Ok(Self { path })
    }

    /// The groups of agents that no longer run, each with all of its sessions.
    pub(super) fn orphans() -> Vec<Self> {
        let Some(hierarchy) = hierarchy() else { return Vec::new() };
        let Ok(entries) = fs::read_dir(hierarchy.join(PARENT)) else { return Vec::new() };
        let is_orphan = |name: &str| name.strip_prefix(AGENT_PREFIX).and_then(|key| key.parse().ok()).is_some_and(|key: ProcessKey| !key.is_alive());
        entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_orphan)).map(|entry| Self { path: entry.path() }).collect()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The processes in it, without those of groups below it.
    pub(super) fn processes(&self) -> Vec<i32> {
        fs::read_to_string(self.path.join("cgroup.procs")).unwrap_or_default().lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Whether no living process is in it or below it.
    pub(super) fn is_empty(&self) -> bool {
        match fs::read_to_string(self.path.join("cgroup.events")) {
            Ok(events) => events.lines().any(|line| line == "populated 0"),
            Err(_) => !self.path.exists(),
        }
    }

    /// Kills everything in it and below it. Call it until the group is empty: kernels before 5.14 cannot do it at once.
    pub(super) fn kill(&self) {
        if fs::write(self.path.join("cgroup.kill"), "1").is_ok() {
            return;
        }
        for pid in self.processes().into_iter().filter_map(Pid::from_raw) {
            // It may have ended since.
            let _ended = rustix::process::kill_process(pid, Signal::KILL);
        }
        self.children().iter().for_each(Self::kill);
    }

    /// Removes an empty group, the groups below it, and those above it that are ours and empty.
    pub(super) fn remove(&self) -> io::Result<()> {
        for child in self.children() {
            child.remove_tree()?;
        }
        fs::remove_dir(&self.path)?;
        for above in self.path.ancestors().skip(1).take_while(|path| is_ours(path)) {
            // Another session or another agent lives there.
            if fs::remove_dir(above).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn remove_tree(&self) -> io::Result<()> {
        for child in self.children() {
            child.remove_tree()?;
        }
        fs::remove_dir(&self.path)
    }

    fn children(&self) -> Vec<Self> {
        let Ok(entries) = fs::read_dir(&self.path) else { return Vec::new() };
        entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| Self { path: entry.path() }).collect()
    }
}

fn is_ours(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name == PARENT || name.starts_with(AGENT_PREFIX))
}

/// Where the unified hierarchy is mounted: `/sys/fs/cgroup`, or `/sys/fs/cgroup/unified` beside the old ones.
fn hierarchy() -> Option<PathBuf> {
    mount_point(&fs::read_to_string("/proc/self/mountinfo").ok()?)
}

/// See proc_pid_mountinfo(5): the mount point is the fifth field, the type follows a lone dash.
fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        filesystem.starts_with("cgroup2 ").then(|| mount.split(' ').nth(4))?.map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::mount_point;

    #[test]
    fn the_unified_hierarchy_is_found_beside_the_old_ones() {
        let mountinfo = "30 25 0:26 / /sys/fs/cgroup ro,nosuid - tmpfs tmpfs ro,mode=755\n\
                         31 30 0:27 / /sys/fs/cgroup/unified rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n\
                         32 30 0:28 / /sys/fs/cgroup/systemd rw,nosuid shared:10 - cgroup cgroup rw,name=systemd\n";
        assert_eq!(mount_point(mountinfo), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(mount_point("32 30 0:28 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw\n"), None);
    }
}
