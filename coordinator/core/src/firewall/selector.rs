//! One entry of a rule's source or destination, read from the text people write.
//!
//! It refuses what could not mean one thing: a network with host bits, a range of two families. It resolves no reference.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use loopback_protocol::firewall::AddressRange;

/// What stands before a host's path or id.
const HOST: &str = "host:";
/// What stands before a workspace's path or id.
const WORKSPACE: &str = "workspace:";

/// Whom one entry means. References keep their path or id as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selector {
    /// An address, a network or a range.
    Range(AddressRange),
    /// The addresses of a host.
    Host(String),
    /// The addresses of all hosts of a workspace.
    Workspace(String),
}

/// A text that is no entry, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSelector {
    /// Not an address, network, range or reference.
    #[error("`{0}` is no address (192.0.2.1), network (192.0.2.0/24), range (192.0.2.1-192.0.2.9) or reference (host:PATH, workspace:PATH)")]
    Unreadable(String),
    /// A network whose address is inside it, not its first.
    #[error("`{written}` has bits set behind its prefix: the network is `{network}`, the single address `{address}`")]
    HostBits {
        /// As it was written.
        written: String,
        /// The network that contains it.
        network: IpNet,
        /// The address alone.
        address: IpAddr,
    },
    /// The last address comes before the first.
    #[error("the range ends before it begins: write `{last}-{first}`")]
    Inverted {
        /// As it was written.
        first: IpAddr,
        /// As it was written.
        last: IpAddr,
    },
    /// From one family to the other.
    #[error("a range lies in one family: `{first}` and `{last}` are of two")]
    MixedFamilies {
        /// As it was written.
        first: IpAddr,
        /// As it was written.
        last: IpAddr,
    },
    /// An IPv4 address in IPv6 clothes, which no packet carries.
    #[error("`{0}` stands in no packet: write it as an IPv4 address")]
    Mapped(IpAddr),
}

impl Selector {
    /// The text by which its addresses are asked for, if it is a reference.
    #[must_use]
    pub fn reference(text: &str) -> Option<&str> {
        (text.starts_with(HOST) || text.starts_with(WORKSPACE)).then_some(text)
    }
}

impl FromStr for Selector {
    type Err = InvalidSelector;

    fn from_str(text: &str) -> Result<Self, InvalidSelector> {
        let unreadable = || InvalidSelector::Unreadable(text.to_owned());
        let target = |target: &str| if target.is_empty() { Err(unreadable()) } else { Ok(target.to_owned()) };
        if let Some(host) = text.strip_prefix(HOST) {
            return target(host).map(Self::Host);
        }
        if let Some(workspace) = text.strip_prefix(WORKSPACE) {
            return target(workspace).map(Self::Workspace);
        }
        let address = |text: &str| text.parse::<IpAddr>().map_err(|_| unreadable());
        if let Some((first, last)) = text.split_once('-') {
            return range(address(first)?, address(last)?).map(Self::Range);
        }
        if text.contains('/') {
            return network(text, text.parse().map_err(|_| unreadable())?).map(Self::Range);
        }
        let single = address(text)?;
        range(single, single).map(Self::Range)
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(range) if range.first() == range.last() => write!(f, "{}", range.first()),
            Self::Range(range) => write!(f, "{}-{}", range.first(), range.last()),
            Self::Host(host) => write!(f, "{HOST}{host}"),
            Self::Workspace(workspace) => write!(f, "{WORKSPACE}{workspace}"),
        }
    }
}

fn network(written: &str, network: IpNet) -> Result<AddressRange, InvalidSelector> {
    if network.trunc() != network {
        return Err(InvalidSelector::HostBits { written: written.to_owned(), network: network.trunc(), address: network.addr() });
    }
    range(network.network(), network.broadcast())
}

fn range(first: IpAddr, last: IpAddr) -> Result<AddressRange, InvalidSelector> {
    if first.is_ipv4() != last.is_ipv4() {
        return Err(InvalidSelector::MixedFamilies { first, last });
    }
    if let Some(mapped) = [first, last].into_iter().find(|address| address.to_canonical() != *address) {
        return Err(InvalidSelector::Mapped(mapped));
    }
    AddressRange::new(first, last).ok_or(InvalidSelector::Inverted { first, last })
}

#[cfg(test)]
mod tests {
    use super::{InvalidSelector, Selector};

    #[test]
    fn entries_are_read_as_they_are_meant() {
        let check = |text: &str, meaning: &str| assert_eq!(text.parse::<Selector>().map(|selector| selector.to_string()), Ok(meaning.to_owned()));
        check("192.0.2.1", "192.0.2.1");
        check("192.0.2.0/24", "192.0.2.0-192.0.2.255");
        check("0.0.0.0/0", "0.0.0.0-255.255.255.255");
        check("192.0.2.1/32", "192.0.2.1");
        check("192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9");
        check("2001:db8::/126", "2001:db8::-2001:db8::3");
        check("::/0", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
        check("host:acme/prod/web/host-1", "host:acme/prod/web/host-1");
        check("workspace:acme/prod/web", "workspace:acme/prod/web");
    }

    #[test]
    fn what_means_nothing_or_two_things_is_refused_with_the_remedy() {
        let check = |text: &str, expected: &str| {
            let refused = text.parse::<Selector>().unwrap_err().to_string();
            assert!(refused.contains(expected), "{text}: {refused}");
        };
        check("192.0.2.77/24", "the network is `192.0.2.0/24`, the single address `192.0.2.77`");
        check("2001:db8::1/64", "the network is `2001:db8::/64`");
        check("192.0.2.9-192.0.2.1", "write `192.0.2.1-192.0.2.9`");
        check("192.0.2.1-2001:db8::1", "are of two");
        check("::ffff:192.0.2.1", "write it as an IPv4 address");
        for text in [
            "",
            " 192.0.2.1",
            "192.0.2.1 ",
            "192.0.2",
            "192.0.2.01",
            "192.0.2.0/33",
            "192.0.2.1-",
            "-",
            "a-b",
            "host:",
            "workspace:",
            "Host:a",
            "example.org",
            "fe80::1%eth0",
        ] {
            assert_eq!(text.parse::<Selector>(), Err(InvalidSelector::Unreadable(text.to_owned())), "{text}");
        }
    }
}
