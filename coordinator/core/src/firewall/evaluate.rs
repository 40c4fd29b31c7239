//! Which rule decides a packet: the compiled policy read as the agent enforces it, the agent's own system layer included.
//!
//! The packet is the first of a connection; replies of a permitted one pass. Rates count as not exceeded, and mode observe is answered as if it were enforced.

use std::net::{IpAddr, SocketAddr};

use loopback_protocol::firewall::{Action, AddressRange, DefaultAction, Direction, Layer, Mode, Policy, PolicyRule};
use loopback_protocol::id::RuleId;

use super::rule::DefaultVerdict;
use super::transport::{ICMP, ICMPV6, TCP, UDP};

/// Multicast listener messages, router and neighbour discovery.
const NEIGHBOUR_DISCOVERY_TYPES: [u8; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// A packet to ask about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet {
    /// Seen from the host.
    pub direction: Direction,
    /// IP protocol number.
    pub protocol: u8,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// Its source port, if it has a fixed one; `None` is any ephemeral one.
    pub source_port: Option<u16>,
    /// Its destination port, for TCP and UDP.
    pub port: Option<u16>,
    /// Its type and code, for ICMP and ICMPv6.
    pub icmp: Option<(u8, u8)>,
}

/// What happens to a packet, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Decision {
    /// What happens to it.
    pub verdict: DefaultVerdict,
    /// What decided.
    pub decided_by: DecidedBy,
}

/// What decided a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DecidedBy {
    /// The agent's fixed layer, by this part of it.
    System(&'static str),
    /// A rule.
    Rule {
        /// In which layer.
        layer: Layer,
        /// Which.
        rule: RuleId,
    },
    /// No rule: the default of the direction.
    Default,
    /// Nothing is filtered on this host.
    Unfiltered,
}

/// Decides a packet on a host with this policy, whose agent keeps its link to these coordinators.
#[must_use]
pub fn evaluate(policy: &Policy, coordinators: &[SocketAddr], packet: &Packet) -> Decision {
    if policy.mode == Mode::Off {
        return Decision { verdict: DefaultVerdict::Allow, decided_by: DecidedBy::Unfiltered };
    }
    if let Some(part) = system(coordinators, packet) {
        return Decision { verdict: DefaultVerdict::Allow, decided_by: DecidedBy::System(part) };
    }
    for layer in &policy.layers {
        let first = layer.rules.iter().find(|rule| matches(rule, packet));
        if let Some((rule, verdict)) = first.and_then(|rule| Some((rule.rule, final_verdict(rule.action)?))) {
            return Decision { verdict, decided_by: DecidedBy::Rule { layer: layer.layer, rule } };
        }
    }
    let default = match packet.direction {
        Direction::Inbound => policy.default_inbound,
        Direction::Outbound => policy.default_outbound,
    };
    let verdict = match default {
        DefaultAction::Allow => DefaultVerdict::Allow,
        DefaultAction::Deny => DefaultVerdict::Deny,
        DefaultAction::Reject => DefaultVerdict::Reject,
    };
    Decision { verdict, decided_by: DecidedBy::Default }
}

/// The part of the system layer that lets the packet pass, if one does. It mirrors what the agent puts before every policy, except that the loopback
/// interface is known by its addresses: a packet between a host's own outer addresses takes that interface too, and is not recognised here.
fn system(coordinators: &[SocketAddr], packet: &Packet) -> Option<&'static str> {
    if packet.source.is_loopback() && packet.destination.is_loopback() {
        return Some("loopback");
    }
    if is_link(coordinators, packet) {
        return Some("link");
    }
    match (packet.protocol, packet.source, packet.icmp) {
        (ICMPV6, IpAddr::V6(_), Some((kind, _))) if NEIGHBOUR_DISCOVERY_TYPES.contains(&kind) => Some("neighbour-discovery"),
        (ICMP, IpAddr::V4(_), Some((3, 4))) | (ICMPV6, IpAddr::V6(_), Some((2, _))) => Some("path-mtu"),
        (UDP, ..) if is_dhcp(packet) => Some("dhcp"),
        _ => None,
    }
}

fn is_link(coordinators: &[SocketAddr], packet: &Packet) -> bool {
    let (address, port) = match packet.direction {
        Direction::Inbound => (packet.source, packet.source_port),
        Direction::Outbound => (packet.destination, packet.port),
    };
    packet.protocol == UDP && coordinators.iter().any(|coordinator| coordinator.ip().to_canonical() == address && port == Some(coordinator.port()))
}

fn is_dhcp(packet: &Packet) -> bool {
    match (packet.direction, packet.source) {
        (Direction::Inbound, IpAddr::V4(_)) => (packet.source_port, packet.port) == (Some(67), Some(68)),
        (Direction::Outbound, IpAddr::V4(_)) => (packet.source_port, packet.port) == (Some(68), Some(67)),
        (Direction::Inbound, IpAddr::V6(source)) => source.is_unicast_link_local() && packet.port == Some(546),
        (Direction::Outbound, IpAddr::V6(source)) => source.is_unicast_link_local() && packet.port == Some(547),
    }
}

/// `None` leaves the packet to the next layer.
const fn final_verdict(action: Action) -> Option<DefaultVerdict> {
    match action {
        Action::Allow => Some(DefaultVerdict::Allow),
        Action::Deny => Some(DefaultVerdict::Deny),
        Action::Reject => Some(DefaultVerdict::Reject),
        Action::Next => None,
    }
}

fn matches(rule: &PolicyRule, packet: &Packet) -> bool {
    rule.direction == packet.direction
        && rule.protocol.is_none_or(|protocol| protocol == packet.protocol)
        && selects(rule.source.as_deref(), packet.source)
        && selects(rule.destination.as_deref(), packet.destination)
        && matches_ports(rule, packet)
        && matches_icmp(rule, packet)
}

fn selects(selector: Option<&[AddressRange]>, address: IpAddr) -> bool {
    selector.is_none_or(|ranges| ranges.iter().any(|range| range.contains(address)))
}

/// Ports are those of TCP and UDP, also under a rule for any protocol.
fn matches_ports(rule: &PolicyRule, packet: &Packet) -> bool {
    let has_ports = matches!(packet.protocol, TCP | UDP);
    rule.ports.is_empty() || has_ports && packet.port.is_some_and(|port| rule.ports.iter().any(|range| range.contains(port)))
}

fn matches_icmp(rule: &PolicyRule, packet: &Packet) -> bool {
    let has_types = matches!((packet.protocol, packet.source), (ICMP, IpAddr::V4(_)) | (ICMPV6, IpAddr::V6(_)));
    rule.icmp_types.is_empty() || has_types && packet.icmp.is_some_and(|(kind, _)| rule.icmp_types.contains(&kind))
}
