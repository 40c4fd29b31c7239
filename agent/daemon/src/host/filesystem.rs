//! How full the mounted file systems are. It looks at the mounts node_exporter looks at, and a mount that hangs is passed over until it answers.

mod mount;
mod probe;

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use super::Failure;
use super::kernel_file::KernelFile;
use super::samples::Samples;
use mount::Mount;
use probe::{Probes, Usage};

pub(super) struct Filesystems {
    table: KernelFile,
    probes: Probes,
}

impl Filesystems {
    pub(super) fn new() -> Self {
        // The agent's own mounts may be a sandbox's, all of them read-only; the first process has the host's.
        let host = "/proc/1/mountinfo";
        let table = if File::open(host).is_ok() { host } else { "/proc/self/mountinfo" };
        Self { table: KernelFile::new(table), probes: Probes::new() }
    }

    pub(super) fn read(&mut self, samples: &mut Samples) -> Result<(), Failure> {
        let mounts = wanted(mount::parse(self.table.bytes()?)?);
        let answers = self.probes.ask(mounts.iter().map(|mount| mount.point.clone()))?;
        for mount in &mounts {
            let answer = answers.get(&mount.point);
            push(mount, answer.and_then(|answer| answer.as_ref().ok()), samples);
            if answer.is_none() {
                samples.complain(format!("{} does not answer; its figures are left out until it does", mount.point.display()));
            }
        }
        Ok(())
    }
}

/// One line of the table for each series: a file system mounted twice at one place counts once.
fn wanted(mounts: Vec<Mount>) -> Vec<Mount> {
    let mut seen: BTreeSet<(String, PathBuf, String)> = BTreeSet::new();
    let is_new = |mount: &Mount| seen.insert((mount.device.clone(), mount.point.clone(), mount.kind.clone()));
    mounts.into_iter().filter(|mount| !mount.is_left_out()).filter(is_new).collect()
}

fn push(mount: &Mount, usage: Option<&Usage>, samples: &mut Samples) {
    let point = mount.point.to_string_lossy();
    let labels = [("device", mount.device.as_str()), ("fstype", mount.kind.as_str()), ("mountpoint", point.as_ref())];
    let figure = |figure: fn(&Usage) -> f64| usage.map_or(f64::NAN, figure);
    samples.push("node_filesystem_size_bytes", &labels, figure(|usage| usage.size_bytes));
    samples.push("node_filesystem_free_bytes", &labels, figure(|usage| usage.free_bytes));
    samples.push("node_filesystem_avail_bytes", &labels, figure(|usage| usage.available_bytes));
    samples.push("node_filesystem_files", &labels, figure(|usage| usage.files));
    samples.push("node_filesystem_files_free", &labels, figure(|usage| usage.files_free));
    samples.push("node_filesystem_readonly", &labels, f64::from(u8::from(mount.is_read_only)));
    samples.push("node_filesystem_device_error", &labels, f64::from(u8::from(usage.is_none())));
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::tests::{between, collected, shell};

    /// What `df` says, by mount point: size, free, available, files, files free.
    fn df() -> BTreeMap<String, [f64; 5]> {
        let text = shell("df -a -B1 --output=size,used,avail,itotal,iavail,target 2>/dev/null; true");
        let row = |line: &str| {
            let mut rest = line.trim_start();
            let mut figures = [0.0; 5];
            for figure in &mut figures {
                let (token, after) = rest.split_once(' ')?;
                *figure = token.parse().ok()?;
                rest = after.trim_start();
            }
            let [size, used, avail, files, files_free] = figures;
            Some((rest.to_owned(), [size, size - used, avail, files, files_free]))
        };
        text.lines().filter_map(row).collect()
    }

    #[test]
    fn it_agrees_with_df() {
        let (before, observed, after) = (df(), collected("filesystem"), df());
        let mut checked = 0;
        for (name, value) in &observed {
            let (name, labels) = name.split_once('{').unwrap();
            let point = labels.trim_end_matches('}').split_once("mountpoint=").unwrap().1;
            let names = ["size_bytes", "free_bytes", "avail_bytes", "files", "files_free"].map(|name| format!("node_filesystem_{name}"));
            if let Some(index) = names.iter().position(|known| known == name) {
                let (low, high) = (before[point][index], after[point][index]);
                // Others write to the disk while the test runs, to and fro.
                let slack = if index == 0 || index == 3 { 0.0 } else { low * 0.01 };
                assert!(between(low - slack, *value, high + slack), "{name} of {point}: {low} <= {value} <= {high}");
                checked += 1;
            }
        }
        assert!(checked >= 5, "at least the root file system: {observed:?}");
    }

    #[test]
    fn it_looks_at_the_mounts_that_node_exporter_looks_at() {
        let expected = shell(
            r#"awk '{ for (i = 7; $i != "-"; i++); print $5, $(i + 1), ($6 "," $(i + 3)) ~ /(^|,)ro(,|$)/ }' /proc/1/mountinfo |
            grep -Ev '^/(dev|proc|run/credentials/[^ ]+|sys|var/lib/docker/[^ ]+|var/lib/containers/storage/[^ ]+)(/[^ ]*)? ' |
            grep -Ev ' (autofs|binfmt_misc|bpf|cgroup2?|configfs|debugfs|devpts|devtmpfs|fusectl|hugetlbfs|iso9660|mqueue|nsfs|overlay|proc|procfs|pstore|rpc_pipefs|securityfs|selinuxfs|squashfs|erofs|sysfs|tracefs) ' | LC_ALL=C sort -u"#,
        );
        let mut found: Vec<_> = collected("filesystem")
            .into_iter()
            .filter_map(|(name, read_only)| {
                let labels = name.strip_prefix("node_filesystem_readonly{")?.trim_end_matches('}').to_owned();
                let (kind, point) = labels.split_once("fstype=")?.1.split_once(",mountpoint=")?;
                Some(format!("{point} {kind} {read_only}"))
            })
            .collect();
        found.sort();
        found.dedup();
        assert_eq!(found, expected.lines().collect::<Vec<_>>());
    }
}
