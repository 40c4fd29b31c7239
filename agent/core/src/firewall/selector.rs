//! Which packets a rule is asked about, as nftables matches: one variant per combination of families that can match, none if nothing can.
//!
//! Ranges are sorted and merged, so that the kernel lists them as they were sent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use loopback_protocol::firewall::PolicyRule;
use nftables::expr::{Expression, MetaKey, NamedExpression, Prefix, Range};
use nftables::stmt::Statement;

use super::statement::{any_of, equal, field, meta, numbers};

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

/// Matches, and the family they imply.
struct Matches {
    family: Option<Family>,
    statements: Vec<Statement<'static>>,
}

/// The matches of a rule. No packet matches two variants.
pub(super) fn variants(rule: &PolicyRule) -> Vec<Vec<Statement<'static>>> {
    let transports = transports(rule);
    let mut variants = Vec::new();
    for addresses in addresses(rule) {
        for transport in &transports {
            if addresses.family.is_none() || transport.family.is_none() || addresses.family == transport.family {
                variants.push([addresses.statements.as_slice(), &transport.statements].concat());
            }
        }
    }
    variants
}

fn addresses(rule: &PolicyRule) -> Vec<Matches> {
    if rule.source.is_none() && rule.destination.is_none() {
        return vec![Matches { family: None, statements: Vec::new() }];
    }
    [Family::V4, Family::V6].into_iter().filter_map(|family| addresses_of(rule, family)).collect()
}

/// Source and destination of one family; nothing if one of them has no address of it.
fn addresses_of(rule: &PolicyRule, family: Family) -> Option<Matches> {
    let mut statements = Vec::new();
    for (name, selector) in [("saddr", &rule.source), ("daddr", &rule.destination)] {
        if let Some(ranges) = selector {
            let of_family = ranges.iter().filter(|range| range.first().is_ipv4() == (family == Family::V4));
            let ranges = merged(of_family.map(|range| (range.first(), range.last())).collect(), next_address);
            if ranges.is_empty() {
                return None;
            }
            let header = if family == Family::V4 { "ip" } else { "ip6" };
            statements.push(equal(field(header, name), any_of(ranges.into_iter().map(address_expression).collect())));
        }
    }
    Some(Matches { family: Some(family), statements })
}

/// Protocol, ports and ICMP types. A rule that asks for both, or for ports of a protocol without, matches nothing.
fn transports(rule: &PolicyRule) -> Vec<Matches> {
    let of = |family, statements| Matches { family, statements };
    match (rule.ports.is_empty(), rule.icmp_types.is_empty()) {
        (true, true) => {
            let protocol = rule.protocol.map(|number| equal(l4proto(), Expression::Number(number.into())));
            vec![of(None, protocol.into_iter().collect())]
        }
        (false, true) => ports(rule).map(|statements| of(None, statements)).into_iter().collect(),
        (true, false) => [(ICMP, Family::V4, "icmp"), (ICMPV6, Family::V6, "icmpv6")]
            .into_iter()
            .filter(|(number, ..)| rule.protocol.is_none_or(|protocol| protocol == *number))
            .map(|(_, family, header)| of(Some(family), vec![equal(field(header, "type"), icmp_types(&rule.icmp_types))]))
            .collect(),
        (false, false) => Vec::new(),
    }
}

fn ports(rule: &PolicyRule) -> Option<Vec<Statement<'static>>> {
    let ranges = merged(rule.ports.iter().map(|range| (range.first(), range.last())).collect(), |port: u16| port.checked_add(1));
    let ports = any_of(ranges.into_iter().map(|range| expression(range, |port| Expression::Number(port.into()))).collect());
    match rule.protocol {
        None => Some(vec![equal(l4proto(), numbers([TCP.into(), UDP.into()])), equal(field("th", "dport"), ports)]),
        // The header's name implies its protocol; `nft` leaves the match on the protocol out when it lists the rule.
        Some(TCP) => Some(vec![equal(field("tcp", "dport"), ports)]),
        Some(UDP) => Some(vec![equal(field("udp", "dport"), ports)]),
        Some(_) => None,
    }
}

fn icmp_types(types: &[u8]) -> Expression<'static> {
    let mut types = types.to_vec();
    types.sort_unstable();
    types.dedup();
    numbers(types.into_iter().map(u32::from))
}

const fn l4proto() -> Expression<'static> {
    meta(MetaKey::L4proto)
}

/// Sorted, with what overlaps or touches made one.
fn merged<T: Copy + Ord>(mut ranges: Vec<(T, T)>, next: fn(T) -> Option<T>) -> Vec<(T, T)> {
    ranges.sort_unstable();
    let mut merged: Vec<(T, T)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match merged.last_mut() {
            Some((_, end)) if first <= *end || next(*end) == Some(first) => *end = last.max(*end),
            _ => merged.push((first, last)),
        }
    }
    merged
}

fn next_address(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V4(address) => address.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(address) => address.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn address_expression((first, last): (IpAddr, IpAddr)) -> Expression<'static> {
    let text = |address: IpAddr| Expression::String(address.to_string().into());
    match prefix_length(first, last) {
        Some(len) => Expression::Named(NamedExpression::Prefix(Prefix { addr: Box::new(text(first)), len })),
        None => expression((first, last), text),
    }
}

/// The length of the prefix that says the same as a range, unless it is a single address or, for which `nft` has no prefix, a whole family.
fn prefix_length(first: IpAddr, last: IpAddr) -> Option<u32> {
    let (width, first, last) = match (first, last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => (32, first.to_bits().into(), last.to_bits().into()),
        (IpAddr::V6(first), IpAddr::V6(last)) => (128, first.to_bits(), last.to_bits()),
        _ => return None,
    };
    let size = u128::checked_sub(last, first)?.checked_add(1)?;
    let len = width - size.trailing_zeros();
    (size.is_power_of_two() && first.is_multiple_of(size) && 0 < len && len < width).then_some(len)
}

fn expression<T: Copy + PartialEq>((first, last): (T, T), value: impl Fn(T) -> Expression<'static>) -> Expression<'static> {
    if first == last { value(first) } else { Expression::Range(Box::new(Range { range: [value(first), value(last)] })) }
}
