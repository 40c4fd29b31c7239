//! A rule's protocol and ports, read from the text people write.

use loopback_protocol::firewall::PortRange;

/// IP protocol number of ICMP.
pub(super) const ICMP: u8 = 1;
/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(super) const UDP: u8 = 17;
/// IP protocol number of ICMPv6.
pub(super) const ICMPV6: u8 = 58;

/// A text that is no protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no protocol: write any, tcp, udp, icmp, icmpv6 or an IP protocol number from 0 to 255")]
pub struct UnknownProtocol(pub String);

/// A text that is no port and no range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPorts {
    /// No number from 0 to 65535 and no two of them.
    #[error("`{0}` is no port (443) and no range of ports (8000-8099)")]
    Unreadable(String),
    /// The last port comes before the first.
    #[error("the range ends before it begins: write `{last}-{first}`")]
    Inverted {
        /// As it was written.
        first: u16,
        /// As it was written.
        last: u16,
    },
}

/// Reads a protocol; `None` is any.
///
/// # Errors
/// It is none.
pub fn read_protocol(text: &str) -> Result<Option<u8>, UnknownProtocol> {
    match text {
        "any" => Ok(None),
        "tcp" => Ok(Some(TCP)),
        "udp" => Ok(Some(UDP)),
        "icmp" => Ok(Some(ICMP)),
        "icmpv6" => Ok(Some(ICMPV6)),
        number => digits(number).map(Some).ok_or_else(|| UnknownProtocol(text.to_owned())),
    }
}

/// Reads a port or a range of ports.
///
/// # Errors
/// It is none, or inverted.
pub fn read_ports(text: &str) -> Result<PortRange, InvalidPorts> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (digits(first), digits(last)) {
        (Some(first), Some(last)) => PortRange::new(first, last).ok_or(InvalidPorts::Inverted { first, last }),
        _ => Err(InvalidPorts::Unreadable(text.to_owned())),
    }
}

/// A number of digits alone: `parse` would take a sign as well.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::{InvalidPorts, read_ports, read_protocol};

    #[test]
    fn protocols_have_names_and_numbers() {
        let check = |text: &str, expected: Option<Option<u8>>| assert_eq!(read_protocol(text).ok(), expected, "{text}");
        check("any", Some(None));
        check("tcp", Some(Some(6)));
        check("udp", Some(Some(17)));
        check("icmp", Some(Some(1)));
        check("icmpv6", Some(Some(58)));
        check("0", Some(Some(0)));
        check("255", Some(Some(255)));
        for unknown in ["", "256", "-1", "+6", "TCP", "sctp", "tcp "] {
            check(unknown, None);
        }
    }

    #[test]
    fn ports_are_numbers_and_ranges() {
        let check = |text: &str, first: u16, last: u16| assert_eq!(read_ports(text).map(|range| (range.first(), range.last())), Ok((first, last)));
        check("443", 443, 443);
        check("0-65535", 0, 65_535);
        assert_eq!(read_ports("99-80"), Err(InvalidPorts::Inverted { first: 99, last: 80 }));
        for unreadable in ["", "65536", "-", "80-", "-80", "80-90-100", "+80", "80 ", "http"] {
            assert_eq!(read_ports(unreadable), Err(InvalidPorts::Unreadable(unreadable.to_owned())));
        }
    }
}
