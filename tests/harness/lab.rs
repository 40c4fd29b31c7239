//! A laboratory: a hub and machines, each a network namespace, joined by a bridge that exists only inside the hub. The root namespace is left as it was.
//!
//! Namespaces are named `loopback-<pid>-<machine>`. They go when the lab is dropped; those of a process that was killed go when the next lab is made.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::machine::Machine;
use crate::process::run;
use crate::wait::{pause, watch_interrupts};

const PREFIX: &str = "loopback-";
const HUB: &str = "hub";
/// The hub is .1; machines count from here, so that `host-1` is .11.
const FIRST_MACHINE: u8 = 11;
const IP_LIMIT: Duration = Duration::from_secs(20);
/// Looks at a namespace whose processes have been killed, 20 ms apart.
const EMPTY_LOOKS: u32 = 100;

/// Namespaces, a directory, and what is in them.
pub struct Lab {
    // Dropped in this order: the namespaces with their processes, then their files.
    machines: Vec<Namespace>,
    hub: Namespace,
    directory: PathBuf,
    keep_files: bool,
}

/// A namespace that goes with its guard.
struct Namespace(Machine);

impl Lab {
    /// A hub with a bridge, and an empty directory.
    ///
    /// # Errors
    /// Not root, or the kernel refuses namespaces.
    pub fn new() -> Result<Self> {
        watch_interrupts()?;
        remove_namespaces_of_the_dead();
        let pid = std::process::id();
        let directory = std::env::temp_dir().join(format!("{PREFIX}{pid}"));
        fs::create_dir_all(&directory)?;
        // From here on the guard cleans up, whatever fails.
        let hub = Namespace(Machine::describe(HUB, format!("{PREFIX}{pid}-{HUB}"), 1, directory.join(HUB))?);
        let lab = Self { machines: Vec::new(), hub, directory, keep_files: false };
        let hub = &lab.hub.0;
        hub.create()?;
        ip_batch(
            &hub.namespace,
            &format!("link set lo up\nlink add br0 type bridge\naddr add {}/24 dev br0\naddr add {}/64 dev br0 nodad\nlink set br0 up\n", hub.v4, hub.v6),
        )?;
        Ok(lab)
    }

    /// Where the coordinator runs and operators sit.
    #[must_use]
    pub fn hub(&self) -> &Machine {
        &self.hub.0
    }

    /// The lab's files.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Leaves the files when the lab goes, to look into.
    pub fn keep_files(&mut self) {
        self.keep_files = true;
    }

    /// One more machine on the bridge.
    ///
    /// # Errors
    /// The name is taken, or the kernel refuses.
    pub fn add_machine(&mut self, name: &str) -> Result<Machine> {
        let number = u8::try_from(self.machines.len()).ok().and_then(|index| FIRST_MACHINE.checked_add(index)).context("too many machines")?;
        let namespace = format!("{PREFIX}{}-{}", std::process::id(), name.replace("host-", "h"));
        let machine = Machine::describe(name, namespace, number, self.directory.join(name))?;
        self.machines.push(Namespace(machine.clone()));
        self.boot(&machine)?;
        Ok(machine)
    }

    /// Ends everything on a machine and takes its kernel's network state away, as a reboot does; then it is on the bridge again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn reboot(&self, machine: &Machine) -> Result<()> {
        machine.destroy()?;
        machine.new_boot_id()?;
        self.boot(machine)
    }

    fn boot(&self, machine: &Machine) -> Result<()> {
        machine.create()?;
        let Machine { namespace, v4, v6, .. } = machine;
        let port = bridge_port(machine);
        // A machine keeps its hardware address over a boot, and its neighbours rely on that.
        let [.., number] = v4.octets();
        let cable = format!("link add {port} type veth peer name eth0 address 02:00:00:00:00:{number:02x} netns {namespace}\nlink set {port} master br0 up\n");
        ip_batch(&self.hub.0.namespace, &cable)?;
        ip_batch(
            namespace,
            &format!("link set lo up\naddr add {v4}/24 dev eth0\naddr add {v6}/64 dev eth0 nodad\nlink set eth0 up\nroute add default via {}\n", self.hub.0.v4),
        )
    }

    /// Pulls a machine's cable, or puts it back.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn set_cable(&self, machine: &Machine, plugged: bool) -> Result<()> {
        ip_batch(&self.hub.0.namespace, &format!("link set {} {}\n", bridge_port(machine), if plugged { "up" } else { "down" }))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.machines.clear();
        // The hub's own guard comes after this; its programs may still write files, so it is emptied now.
        let _left = self.hub.0.destroy();
        if !self.keep_files {
            let _left = fs::remove_dir_all(&self.directory);
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if let Err(error) = self.0.destroy() {
            eprintln!("namespace {} is left behind: {error:#}", self.0.namespace);
        }
    }
}

impl Machine {
    fn create(&self) -> Result<()> {
        ip(&["netns", "add", &self.namespace])
    }

    /// Kills what runs in the namespace and removes it; nothing happens if it is gone.
    fn destroy(&self) -> Result<()> {
        destroy_namespace(&self.namespace)
    }
}

fn destroy_namespace(namespace: &str) -> Result<()> {
    if !Path::new("/run/netns").join(namespace).exists() {
        return Ok(());
    }
    for _ in 0..EMPTY_LOOKS {
        let processes = processes_in(namespace);
        if processes.is_empty() {
            break;
        }
        for pid in processes {
            // It may have ended since.
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        // Cleaning up goes on when interrupted.
        let _interrupted = pause();
    }
    // Not through `run`, which gives up when interrupted.
    let output = Command::new("ip").args(["netns", "del", namespace]).output().context("cannot run ip")?;
    anyhow::ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr).trim());
    Ok(())
}

fn processes_in(namespace: &str) -> Vec<i32> {
    let output = Command::new("ip").args(["netns", "pids", namespace]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect()).unwrap_or_default()
}

fn remove_namespaces_of_the_dead() {
    for namespace in namespaces().into_iter().filter(|name| owner(name).is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists())) {
        // Another lab may be removing it too.
        let _removed = destroy_namespace(&namespace);
        if let Some(pid) = owner(&namespace) {
            let _removed = fs::remove_dir_all(std::env::temp_dir().join(format!("{PREFIX}{pid}")));
        }
    }
}

/// Every namespace that a lab made.
#[must_use]
pub fn namespaces() -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| owner(name).is_some()).collect()
}

/// The process a lab's namespace is named after.
fn owner(namespace: &str) -> Option<u32> {
    namespace.strip_prefix(PREFIX)?.split('-').next()?.parse().ok()
}

fn bridge_port(machine: &Machine) -> String {
    format!("port{}", machine.v4.octets()[3])
}

fn ip(arguments: &[&str]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(arguments);
    run(command, "", IP_LIMIT)?.ok().map(drop)
}

fn ip_batch(namespace: &str, lines: &str) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-netns", namespace, "-batch", "-"]);
    run(command, lines, IP_LIMIT)?.ok().map(drop)
}

#[cfg(test)]
mod tests {
    use super::{Lab, namespaces, owner};
    use crate::process::Daemon;

    #[test]
    fn machines_reach_each_other_and_are_told_apart() {
        let mut lab = Lab::new().unwrap();
        let (one, two) = (lab.add_machine("host-1").unwrap(), lab.add_machine("host-2").unwrap());
        one.run(&["ping", "-c1", "-W2", &two.v4.to_string()]).unwrap().ok().unwrap();
        one.run(&["ping", "-c1", "-W2", &two.v6.to_string()]).unwrap().ok().unwrap();
        let identity =
            |machine: &crate::machine::Machine| machine.sh("hostname; cat /etc/machine-id; cat /proc/sys/kernel/random/boot_id").unwrap().ok().unwrap();
        assert!(identity(&one).starts_with("host-1\n"));
        let before = identity(&two);
        assert_ne!(identity(&one).lines().nth(1), before.lines().nth(1));
        assert!(one.sh("test -d /sys/fs/cgroup").unwrap().ok().is_ok());

        two.sh("nft add table inet loopback").unwrap().ok().unwrap();
        lab.reboot(&two).unwrap();
        assert_eq!(two.sh("nft list tables").unwrap().ok().unwrap(), "", "a reboot forgets the firewall");
        let after = identity(&two);
        assert_eq!(before.lines().nth(1), after.lines().nth(1), "a reboot keeps the machine id");
        assert_ne!(before.lines().nth(2), after.lines().nth(2), "a reboot changes the boot id");

        lab.set_cable(&one, false).unwrap();
        assert_ne!(one.run(&["ping", "-c1", "-W1", &two.v4.to_string()]).unwrap().code, 0);
        lab.set_cable(&one, true).unwrap();
        one.run(&["ping", "-c1", "-W5", &two.v4.to_string()]).unwrap().ok().unwrap();
    }

    #[test]
    fn nothing_of_a_lab_outlives_it() {
        let own = |name: &String| owner(name) == Some(std::process::id());
        let mut lab = Lab::new().unwrap();
        let machine = lab.add_machine("host-1").unwrap();
        let mut command = machine.command("sh");
        // A process that leaves its group and its parent.
        command.args(["-c", "setsid sleep 600 & echo $! > \"$0\"; wait"]).arg(machine.directory.join("pid"));
        let daemon = Daemon::start("runaway", command, &machine.directory.join("log")).unwrap();
        crate::wait::wait_for(std::time::Duration::from_secs(5), "the runaway", || Ok(machine.directory.join("pid").exists())).unwrap();
        assert_eq!(namespaces().iter().filter(|name| own(name)).count(), 2);
        let directory = lab.directory().to_owned();
        drop(lab);
        assert_eq!(namespaces().iter().filter(|name| own(name)).count(), 0);
        assert!(!directory.exists());
        drop(daemon);
    }
}
