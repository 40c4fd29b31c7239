//! What a host says of itself when it joins and whenever it changes. A fact that cannot be had is left empty rather than guessed.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use loopback_protocol::enroll::HostFacts;
use loopback_protocol::limits::{FACT_ADDRESSES_MAX, NAME_MAX_BYTES};
use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;
use nix::sys::utsname::uname;

/// What the host says of itself now, within the protocol's bounds.
#[must_use]
pub fn facts() -> HostFacts {
    let uname = uname().ok();
    let named = |name: Option<&OsStr>| sendable(&name.unwrap_or_default().to_string_lossy());
    HostFacts {
        hostname: named(uname.as_ref().map(|uname| uname.nodename())),
        machine_id: first_line("/etc/machine-id"),
        boot_id: boot_id(),
        os: operating_system(),
        kernel: named(uname.as_ref().map(|uname| uname.release())),
        architecture: named(uname.as_ref().map(|uname| uname.machine())),
        addresses: addresses(),
    }
}

/// The kernel's name for this boot; empty where /proc is not mounted.
pub(crate) fn boot_id() -> String {
    first_line("/proc/sys/kernel/random/boot_id")
}

fn first_line(path: &str) -> String {
    sendable(fs::read_to_string(path).unwrap_or_default().lines().next().unwrap_or_default())
}

/// What the protocol lets through: no control characters, no more than a name's bytes.
fn sendable(text: &str) -> String {
    let mut kept: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    kept.truncate(kept.floor_char_boundary(NAME_MAX_BYTES));
    kept
}

/// os-release(5): the file in /etc outranks the vendor's, and a system without a pretty name is a "Linux".
fn operating_system() -> String {
    let release = fs::read_to_string("/etc/os-release").or_else(|_| fs::read_to_string("/usr/lib/os-release")).unwrap_or_default();
    sendable(&pretty_name(&release).unwrap_or_else(|| "Linux".to_owned()))
}

fn pretty_name(release: &str) -> Option<String> {
    let value = release.lines().rev().find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    let quote = value.chars().next().filter(|first| matches!(first, '"' | '\''));
    let inner = quote.and_then(|quote| value.strip_prefix(quote)?.strip_suffix(quote)).unwrap_or(value);
    // Within double quotes a shell takes the character after a backslash as it is.
    let mut escaped = false;
    let plain = inner.chars().filter(|c| {
        escaped = *c == '\\' && !escaped && quote != Some('\'');
        !escaped
    });
    Some(plain.collect()).filter(|name: &String| !name.is_empty())
}

/// The addresses others may reach the host by, in order.
fn addresses() -> Vec<IpAddr> {
    let Ok(interfaces) = getifaddrs() else { return Vec::new() };
    let mut addresses: Vec<_> = interfaces.filter(is_outward).filter_map(|interface| address(&interface.address?)).filter(is_global).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses.truncate(FACT_ADDRESSES_MAX);
    addresses
}

fn is_outward(interface: &InterfaceAddress) -> bool {
    !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK)
}

fn address(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}

/// Private ranges count: most fleets live in one.
fn is_global(address: &IpAddr) -> bool {
    let is_link_local = match address {
        IpAddr::V4(address) => Ipv4Addr::is_link_local(address),
        IpAddr::V6(address) => Ipv6Addr::is_unicast_link_local(address),
    };
    !(is_link_local || address.is_loopback() || address.is_unspecified() || address.is_multicast())
}

#[cfg(test)]
mod tests {
    use loopback_protocol::control::AgentMessage;
    use loopback_protocol::limits::NAME_MAX_BYTES;

    use super::super::tests::shell;
    use super::{facts, is_global, pretty_name, sendable};

    #[test]
    fn facts_are_what_the_shell_says() {
        let facts = facts();
        let line = |command: &str| shell(command).trim().to_owned();
        assert_eq!(facts.hostname, line("uname -n"));
        assert_eq!(facts.kernel, line("uname -r"));
        assert_eq!(facts.architecture, line("uname -m"));
        assert_eq!(facts.machine_id, line("cat /etc/machine-id 2>/dev/null; true"));
        assert_eq!(facts.boot_id, line("cat /proc/sys/kernel/random/boot_id"));
        assert_eq!(facts.os, line(". /etc/os-release; echo \"$PRETTY_NAME\""));
        let mut expected: Vec<std::net::IpAddr> =
            shell("ip -o address show scope global | awk '{ sub(\"/.*\", \"\", $4); print $4 }'").lines().map(|line| line.parse().unwrap()).collect();
        expected.sort();
        expected.dedup();
        assert_eq!(facts.addresses, expected);
        let message = AgentMessage::Facts(facts);
        assert_eq!(AgentMessage::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn pretty_names_are_unquoted() {
        for (release, name) in [
            ("NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n", Some("Debian GNU/Linux 12 (bookworm)")),
            ("PRETTY_NAME=Alpine", Some("Alpine")),
            ("PRETTY_NAME='A \\ B'", Some("A \\ B")),
            ("PRETTY_NAME=\"A \\\"B\\\" \\\\ \\$C\"", Some("A \"B\" \\ $C")),
            ("PRETTY_NAME=\"unclosed", Some("\"unclosed")),
            ("PRETTY_NAME=old\nPRETTY_NAME=new", Some("new")),
            ("PRETTY_NAME=\"\"", None),
            ("#PRETTY_NAME=x", None),
        ] {
            assert_eq!(pretty_name(release).as_deref(), name, "{release}");
        }
    }

    #[test]
    fn only_addresses_that_mean_something_elsewhere_are_global() {
        for (address, expected) in [
            ("10.0.0.1", true),
            ("fd00::1", true),
            ("2001:db8::1", true),
            ("169.254.1.1", false),
            ("fe80::1", false),
            ("127.0.0.1", false),
            ("::1", false),
            ("::", false),
            ("ff02::1", false),
        ] {
            assert_eq!(is_global(&address.parse().unwrap()), expected, "{address}");
        }
    }

    #[test]
    fn facts_never_exceed_what_the_protocol_lets_through() {
        assert_eq!(sendable(" a\u{1b}[2J\nb "), "a[2Jb");
        assert_eq!(sendable(&"ü".repeat(200)).len(), NAME_MAX_BYTES - 1);
    }
}
