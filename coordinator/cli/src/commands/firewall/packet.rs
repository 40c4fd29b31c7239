//! A packet as operators write it: `[inbound|outbound] tcp 203.0.113.9 -> 192.0.2.1:443`.

use std::net::IpAddr;
use std::str::FromStr;

use loopback_api::firewall::PacketQuery;
use loopback_core::firewall::rule::RuleDirection;

use crate::client::Client;
use crate::commands::host;
use crate::failure::Failure;
use crate::scope::ScopeArg;

/// A packet; an absent address is the host's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PacketArgs {
    direction: RuleDirection,
    protocol: String,
    source: Option<IpAddr>,
    destination: Option<IpAddr>,
    port: Option<u16>,
}

/// A text that is no packet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidPacket {
    #[error("name the protocol and the addresses: [inbound|outbound] tcp SOURCE [DESTINATION]:PORT")]
    Incomplete,
    #[error("your shell took the `>` of `->` for a redirection (and may have made a file); leave the arrow out or quote it: '->'")]
    Redirected,
    #[error("`{0}` is not an address, [ADDRESS]:PORT or :PORT")]
    Endpoint(String),
    #[error("an inbound packet needs the address it comes from: inbound tcp SOURCE :PORT")]
    Source,
    #[error("an outbound packet needs the address it goes to: outbound tcp DESTINATION:PORT")]
    Destination,
    #[error("the source has no port here; only the destination's counts")]
    SourcePort,
    #[error("`{0}` is too much; write [inbound|outbound] tcp SOURCE [DESTINATION]:PORT")]
    Surplus(String),
}

#[derive(Default)]
struct Endpoint {
    address: Option<IpAddr>,
    port: Option<u16>,
}

impl FromStr for PacketArgs {
    type Err = InvalidPacket;

    fn from_str(text: &str) -> Result<Self, InvalidPacket> {
        let spaced = text.replace("->", " -> ");
        let mut words: Vec<&str> = spaced.split_whitespace().collect();
        if words.last() == Some(&"-") {
            return Err(InvalidPacket::Redirected);
        }
        let direction = match words.first() {
            Some(&"inbound") => Some(RuleDirection::Inbound),
            Some(&"outbound") => Some(RuleDirection::Outbound),
            _ => None,
        };
        let mut rest = words.drain(usize::from(direction.is_some())..);
        let direction = direction.unwrap_or(RuleDirection::Inbound);
        let protocol = rest.next().ok_or(InvalidPacket::Incomplete)?.to_owned();
        let (source, destination) = endpoints(direction, rest.collect())?;
        if source.port.is_some() {
            return Err(InvalidPacket::SourcePort);
        }
        match direction {
            RuleDirection::Inbound if source.address.is_none() => Err(InvalidPacket::Source),
            RuleDirection::Outbound if destination.address.is_none() => Err(InvalidPacket::Destination),
            _ => Ok(Self { direction, protocol, source: source.address, destination: destination.address, port: destination.port }),
        }
    }
}

impl PacketArgs {
    /// The question for the coordinator: the host's first address of the same family stands for what was left out.
    pub(super) async fn query(self, client: &Client, host: &ScopeArg) -> Result<PacketQuery, Failure> {
        let Self { direction, protocol, source, destination, port } = self;
        let (source, destination) = match (source, destination) {
            (Some(source), Some(destination)) => (source, destination),
            (source, destination) => {
                let Some(peer) = source.or(destination) else {
                    return Err(Failure::usage(InvalidPacket::Incomplete.to_string()));
                };
                let addresses = host::get(client, host).await?.addresses;
                let own = addresses.into_iter().find(|own| own.is_ipv4() == peer.is_ipv4());
                let own = own.ok_or_else(|| Failure::failed(format!("{host} has told no address of the family of {peer}; name both addresses")))?;
                (source.unwrap_or(own), destination.unwrap_or(own))
            }
        };
        Ok(PacketQuery { direction, protocol, source, destination, port })
    }
}

/// Source and destination. One alone is the peer: where an inbound packet comes from, where an outbound one goes to.
fn endpoints(direction: RuleDirection, words: Vec<&str>) -> Result<(Endpoint, Endpoint), InvalidPacket> {
    let optional = |word: Option<&&str>| word.map_or(Ok(Endpoint::default()), |word| word.parse());
    let surplus = |words: &[&str]| InvalidPacket::Surplus(words.join(" "));
    if let Some(arrow) = words.iter().position(|word| *word == "->") {
        let (before, after) = words.split_at(arrow);
        return match (before, after) {
            ([] | [_], [_] | [_, _]) => Ok((optional(before.first())?, optional(after.get(1))?)),
            ([_, surplus @ ..], [_] | [_, _]) => Err(InvalidPacket::Surplus(surplus.join(" "))),
            (_, after) => Err(surplus(after.get(2..).unwrap_or_default())),
        };
    }
    match (words.as_slice(), direction) {
        ([], _) => Err(InvalidPacket::Incomplete),
        ([source], RuleDirection::Inbound) => Ok((source.parse()?, Endpoint::default())),
        ([destination], RuleDirection::Outbound) => Ok((Endpoint::default(), destination.parse()?)),
        ([source, destination], _) => Ok((source.parse()?, destination.parse()?)),
        ([_, _, rest @ ..], _) => Err(surplus(rest)),
    }
}

impl FromStr for Endpoint {
    type Err = InvalidPacket;

    fn from_str(text: &str) -> Result<Self, InvalidPacket> {
        let invalid = || InvalidPacket::Endpoint(text.to_owned());
        if let Ok(address) = text.parse() {
            return Ok(Self { address: Some(address), port: None });
        }
        let (address, port) = text.rsplit_once(':').ok_or_else(invalid)?;
        let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
        let address = if address.is_empty() { None } else { Some(bare.parse().map_err(|_| invalid())?) };
        Ok(Self { address, port: Some(port.parse().map_err(|_| invalid())?) })
    }
}

#[cfg(test)]
mod tests {
    use loopback_core::firewall::rule::RuleDirection::{self, Inbound, Outbound};

    use super::{InvalidPacket, PacketArgs};

    fn check(text: &str, direction: RuleDirection, protocol: &str, source: &str, destination: &str, port: Option<u16>) {
        let address = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        let expected = PacketArgs { direction, protocol: protocol.to_owned(), source: address(source), destination: address(destination), port };
        assert_eq!(text.parse(), Ok(expected), "{text}");
    }

    #[test]
    fn a_packet_is_written_as_it_is_said() {
        check("tcp 1.2.3.4 -> :443", Inbound, "tcp", "1.2.3.4", "", Some(443));
        check("tcp 1.2.3.4 :443", Inbound, "tcp", "1.2.3.4", "", Some(443));
        check("inbound tcp 1.2.3.4->5.6.7.8:443", Inbound, "tcp", "1.2.3.4", "5.6.7.8", Some(443));
        check("tcp 2001:db8::9 -> [2001:db8::1]:22", Inbound, "tcp", "2001:db8::9", "2001:db8::1", Some(22));
        check("icmp 1.2.3.4", Inbound, "icmp", "1.2.3.4", "", None);
        check("icmp 1.2.3.4 ->", Inbound, "icmp", "1.2.3.4", "", None);
        check("outbound udp 9.9.9.9:53", Outbound, "udp", "", "9.9.9.9", Some(53));
        check("outbound udp -> [2620:fe::fe]:53", Outbound, "udp", "", "2620:fe::fe", Some(53));
        check("outbound 47 10.0.0.1 10.0.0.2", Outbound, "47", "10.0.0.1", "10.0.0.2", None);
    }

    #[test]
    fn what_is_no_packet_says_what_is_missing() {
        let refused = |text: &str| text.parse::<PacketArgs>().unwrap_err();
        for text in ["", "inbound", "tcp"] {
            assert_eq!(refused(text), InvalidPacket::Incomplete, "{text}");
        }
        assert_eq!(refused("tcp 1.2.3.4 -"), InvalidPacket::Redirected);
        assert_eq!(refused("tcp -> :443"), InvalidPacket::Source);
        assert_eq!(refused("outbound tcp 1.2.3.4 -> :443"), InvalidPacket::Destination);
        assert_eq!(refused("tcp 1.2.3.4:5 -> :443"), InvalidPacket::SourcePort);
        assert_eq!(refused("tcp 1.2.3.4 -> :443 now"), InvalidPacket::Surplus("now".to_owned()));
        assert_eq!(refused("tcp 1.2.3.4 :443 now"), InvalidPacket::Surplus("now".to_owned()));
        assert_eq!(refused("tcp host-1 :443"), InvalidPacket::Endpoint("host-1".to_owned()));
        assert_eq!(refused("tcp 1.2.3.4 :70000"), InvalidPacket::Endpoint(":70000".to_owned()));
    }
}
