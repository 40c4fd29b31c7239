//! The kernel's table of mounts, and which of them are not worth a figure.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::PathBuf;

use super::Failure;

/// One line of `mountinfo`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    /// As the kernel writes it, escapes and all: node_exporter leaves them too.
    pub(super) device: String,
    pub(super) point: PathBuf,
    pub(super) kind: String,
    pub(super) is_read_only: bool,
}

/// node_exporter's default exclusion of types: what is no storage, and what can hold no more than it does.
const KINDS_LEFT_OUT: [&str; 25] = [
    "autofs",
    "binfmt_misc",
    "bpf",
    "cgroup",
    "cgroup2",
    "configfs",
    "debugfs",
    "devpts",
    "devtmpfs",
    "erofs",
    "fusectl",
    "hugetlbfs",
    "iso9660",
    "mqueue",
    "nsfs",
    "overlay",
    "proc",
    "procfs",
    "pstore",
    "rpc_pipefs",
    "securityfs",
    "selinuxfs",
    "squashfs",
    "sysfs",
    "tracefs",
];

/// node_exporter's default exclusion of places: these, and all below them.
const PLACES_LEFT_OUT: [&str; 3] = ["/dev", "/proc", "/sys"];
/// What is below these, but not they themselves.
const PARENTS_LEFT_OUT: [&str; 3] = ["/run/credentials/", "/var/lib/docker/", "/var/lib/containers/storage/"];

impl Mount {
    pub(super) fn is_left_out(&self) -> bool {
        let point = self.point.as_os_str().as_bytes();
        KINDS_LEFT_OUT.contains(&self.kind.as_str())
            || PLACES_LEFT_OUT.iter().any(|place| self.point.starts_with(place))
            || PARENTS_LEFT_OUT.iter().any(|parent| point.len() > parent.len() && point.starts_with(parent.as_bytes()))
    }
}

/// Reads a `mountinfo` file; see proc_pid_mountinfo(5).
pub(super) fn parse(table: &[u8]) -> Result<Vec<Mount>, Failure> {
    let lines = table.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| parse_line(line).ok_or_else(|| Failure::unexpected(&String::from_utf8_lossy(line)))).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    // A source may be empty, so every space counts.
    let mut fields = line.split(|byte| *byte == b' ').skip(4);
    let (point, options) = (fields.next()?, fields.next()?);
    // Any number of tags may come before the dash.
    fields.find(|field| *field == b"-")?;
    let (kind, device, super_options) = (fields.next()?, fields.next()?, fields.next()?);
    let is_read_only = [options, super_options].iter().any(|options| options.split(|byte| *byte == b',').any(|option| option == b"ro"));
    let text = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    Some(Mount { device: text(device), point: OsString::from_vec(unescape(point)).into(), kind: text(kind), is_read_only })
}

/// The kernel writes space, tab, newline and backslash as a backslash and three octal digits.
fn unescape(field: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((byte, after)) = rest.split_first() {
        let digits = after.get(..3).filter(|digits| *byte == b'\\' && digits.iter().all(|digit| (b'0'..=b'7').contains(digit)));
        let code = digits.map(|digits| digits.iter().fold(0_u32, |code, digit| code * 8 + u32::from(digit - b'0')));
        match code.and_then(|code| u8::try_from(code).ok()) {
            Some(escaped) => {
                plain.push(escaped);
                rest = after.get(3..).unwrap_or_default();
            }
            None => {
                plain.push(*byte);
                rest = after;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::{Mount, parse};

    #[test]
    fn lines_of_every_form_are_read() {
        let table = b"27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
            28 27 0:25 /sub /mnt/a\\040b\\011\\134\\012x\\08 ro,nosuid shared:1 master:2 - tmpfs  rw\n\
            29 27 0:26 / /srv rw - nfs4 server:/Share\\040One ro,vers=4.2\n\
            30 27 0:27 / /bad\xff\\777 rw,error=remount-ro - fuse.sshfs s: rw\n";
        let mounts = parse(table).unwrap();
        let seen: Vec<_> = mounts.iter().map(|mount| (mount.device.as_str(), mount.point.as_os_str(), mount.kind.as_str(), mount.is_read_only)).collect();
        assert_eq!(
            seen,
            [
                ("/dev/vda", OsStr::new("/"), "ext4", false),
                ("", OsStr::new("/mnt/a b\t\\\nx\\08"), "tmpfs", true),
                ("server:/Share\\040One", OsStr::new("/srv"), "nfs4", true),
                ("s:", OsStr::from_bytes(b"/bad\xff\\777"), "fuse.sshfs", false),
            ]
        );
        for odd in [&b"27 1 254:0 / /"[..], b"27 1 254:0 / / rw ext4 /dev/vda rw", b"27 1 254:0 / / rw - ext4", b"x"] {
            assert!(parse(odd).is_err());
        }
    }

    #[test]
    fn node_exporters_exclusions_hold() {
        let is_left_out = |point: &str, kind: &str| Mount { device: String::new(), point: point.into(), kind: kind.into(), is_read_only: false }.is_left_out();
        for (point, kind) in [
            ("/", "overlay"),
            ("/x", "cgroup2"),
            ("/dev", "tmpfs"),
            ("/dev/shm", "tmpfs"),
            ("/sys/fs", "ext4"),
            ("/var/lib/docker/volumes/x", "ext4"),
            ("/run/credentials/a.service", "tmpfs"),
        ] {
            assert!(is_left_out(point, kind), "{kind} at {point}");
        }
        for (point, kind) in
            [("/", "ext4"), ("/devices", "xfs"), ("/var/lib/docker", "ext4"), ("/run/credentials", "tmpfs"), ("/run", "tmpfs"), ("/home", "fuse.sshfs")]
        {
            assert!(!is_left_out(point, kind), "{kind} at {point}");
        }
    }
}
