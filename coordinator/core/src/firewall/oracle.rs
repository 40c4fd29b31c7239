//! The algebra read a second time, straight from the rules as they are written and from DOMAIN's sentences: no compiled form, no sorting, numbers instead of
//! address types. Thousands of random firewalls and packets at the edges must be decided the same both ways.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use loopback_protocol::firewall::{Direction, Layer, Mode};
use loopback_protocol::id::Id;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_assert_eq, prop_oneof};
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, TestRunner};

use super::rule::{DefaultVerdict, RuleAction, RuleDirection, RuleSpec, Stage};
use super::{Addresses, DecidedBy, Decision, Firewall, Packet, Placement, StoredRule, compile, evaluate, validate};

const NOW_MS: u64 = 1_000;
const COORDINATORS: [&str; 2] = ["10.0.0.7:8443", "[2001:db8::7]:8443"];
/// Reported addresses of each reference; `gone` is not reported at all.
const REPORTED: [(&str, &[&str]); 3] =
    [("host:a/p/w/one", &["10.0.0.4", "2001:db8::4"]), ("workspace:a/p/w", &["10.0.1.0", "10.0.0.4", "2001:db8::"]), ("host:a/p/w/silent", &[])];
const ENTRIES: [&str; 14] = [
    "10.0.0.0/24",
    "10.0.0.7",
    "10.0.0.7/32",
    "10.0.0.5-10.0.0.9",
    "0.0.0.0/0",
    "0.0.0.0-10.0.0.4",
    "2001:db8::/64",
    "2001:db8::7",
    "2001:db8::5-2001:db8::9",
    "::/0",
    "host:a/p/w/one",
    "workspace:a/p/w",
    "host:a/p/w/silent",
    "host:a/p/w/gone",
];
const V4: [&str; 11] =
    ["0.0.0.0", "9.255.255.255", "10.0.0.0", "10.0.0.4", "10.0.0.5", "10.0.0.7", "10.0.0.9", "10.0.0.10", "10.0.0.255", "10.0.1.0", "127.0.0.1"];
const V6: [&str; 10] = [
    "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
    "2001:db8::",
    "2001:db8::4",
    "2001:db8::7",
    "2001:db8::9",
    "2001:db8::a",
    "2001:db8::ffff:ffff:ffff:ffff",
    "2001:db8:0:1::",
    "fe80::1",
    "::1",
];
const PORT_ENTRIES: [&str; 5] = ["22", "80-90", "90-100", "0-21", "67-547"];
const PORTS: [u16; 16] = [0, 21, 22, 23, 66, 67, 68, 79, 80, 90, 100, 101, 546, 547, 8_443, 65_535];
const ICMP_TYPES: [u8; 6] = [2, 3, 8, 128, 133, 143];

#[test]
fn the_compiled_policy_decides_as_the_written_rules_say() {
    let deciders: RefCell<HashMap<&str, usize>> = RefCell::default();
    let mut runner = TestRunner::new(Config { cases: 4_000, failure_persistence: None, ..Config::default() });
    let input = (vec(firewall(), 0..6).prop_map(numbered), vec(packet(), 12));
    let ran = runner.run(&input, |(firewalls, packets)| {
        for firewall in &firewalls {
            let specs: Vec<_> = firewall.rules.iter().map(|rule| rule.spec.clone()).collect();
            prop_assert_eq!(validate(&specs, &|_| true), Ok(()));
        }
        let policy = compile(&firewalls, &addresses(), Mode::Enforce, 1, NOW_MS).unwrap();
        let reversed: Vec<_> = firewalls.iter().rev().cloned().collect();
        prop_assert_eq!(&compile(&reversed, &addresses(), Mode::Enforce, 1, NOW_MS).unwrap(), &policy);
        for packet in packets {
            let decision = evaluate(&policy, &COORDINATORS.map(|address| address.parse().unwrap()), &packet);
            prop_assert_eq!(decision, decide(&firewalls, &packet), "{:?}", packet);
            *deciders.borrow_mut().entry(name(decision.decided_by)).or_default() += 1;
        }
        Ok(())
    });
    ran.unwrap();
    let deciders = deciders.into_inner();
    for decider in ["loopback", "link", "neighbour-discovery", "path-mtu", "dhcp", "guardrail", "workspace", "host", "baseline", "default", "unfiltered"] {
        assert!(deciders.contains_key(decider), "no random packet was decided by {decider}: {deciders:?}");
    }
}

fn name(decided_by: DecidedBy) -> &'static str {
    match decided_by {
        DecidedBy::System(part) => part,
        DecidedBy::Rule { layer, .. } => layer.name(),
        DecidedBy::Default => "default",
        DecidedBy::Unfiltered => "unfiltered",
    }
}

// The second reading.

fn decide(firewalls: &[Firewall], packet: &Packet) -> Decision {
    if firewalls.is_empty() {
        return Decision { verdict: DefaultVerdict::Allow, decided_by: DecidedBy::Unfiltered };
    }
    if let Some(part) = system(packet) {
        return Decision { verdict: DefaultVerdict::Allow, decided_by: DecidedBy::System(part) };
    }
    let layers = [
        (Layer::Guardrail, Placement::Organization(Stage::Guardrail)),
        (Layer::Workspace, Placement::Workspace),
        (Layer::Host, Placement::Host),
        (Layer::Baseline, Placement::Organization(Stage::Baseline)),
    ];
    for (layer, placement) in layers {
        let mut best: Option<&StoredRule> = None;
        for rule in firewalls.iter().filter(|firewall| firewall.placement == placement).flat_map(|firewall| &firewall.rules) {
            // Firewalls and rules are walked in the order of their creation, so only what is strictly earlier replaces.
            if is_asked(&rule.spec, packet) && best.is_none_or(|best| comes_before(&rule.spec, &best.spec)) {
                best = Some(rule);
            }
        }
        let verdict = match best.map(|rule| rule.spec.action) {
            None | Some(RuleAction::Next) => continue,
            Some(RuleAction::Allow) => DefaultVerdict::Allow,
            Some(RuleAction::Deny) => DefaultVerdict::Deny,
            Some(RuleAction::Reject) => DefaultVerdict::Reject,
        };
        return Decision { verdict, decided_by: DecidedBy::Rule { layer, rule: best.unwrap().id } };
    }
    let defaults: Vec<_> = firewalls.iter().map(|firewall| if inbound(packet) { firewall.default_inbound } else { firewall.default_outbound }).collect();
    let strictest = [DefaultVerdict::Deny, DefaultVerdict::Reject, DefaultVerdict::Allow].into_iter().find(|verdict| defaults.contains(verdict));
    Decision { verdict: strictest.unwrap(), decided_by: DecidedBy::Default }
}

fn system(packet: &Packet) -> Option<&'static str> {
    let (source, destination) = (packet.source.to_string(), packet.destination.to_string());
    let is_loopback = |address: &str| address.starts_with("127.") || address == "::1";
    let four = packet.source.is_ipv4();
    let ports = (packet.source_port, packet.port);
    let is_dhcp = match (four, inbound(packet)) {
        (true, true) => ports == (Some(67), Some(68)),
        (true, false) => ports == (Some(68), Some(67)),
        (false, true) => source.starts_with("fe80:") && packet.port == Some(546),
        (false, false) => source.starts_with("fe80:") && packet.port == Some(547),
    };
    let peer = if inbound(packet) { (packet.source, packet.source_port) } else { (packet.destination, packet.port) };
    let peer = SocketAddr::new(peer.0, peer.1.unwrap_or_default()).to_string();
    if is_loopback(&source) && is_loopback(&destination) {
        Some("loopback")
    } else if packet.protocol == 17 && COORDINATORS.contains(&peer.as_str()) {
        Some("link")
    } else if packet.protocol == 58 && !four && packet.icmp.is_some_and(|(kind, _)| (130..=136).contains(&kind) || kind == 143) {
        Some("neighbour-discovery")
    } else if packet.protocol == 1 && four && packet.icmp == Some((3, 4)) || packet.protocol == 58 && !four && packet.icmp.is_some_and(|(kind, _)| kind == 2) {
        Some("path-mtu")
    } else if packet.protocol == 17 && is_dhcp {
        Some("dhcp")
    } else {
        None
    }
}

fn inbound(packet: &Packet) -> bool {
    packet.direction == Direction::Inbound
}

fn comes_before(one: &RuleSpec, other: &RuleSpec) -> bool {
    let strictness = |action| [RuleAction::Deny, RuleAction::Reject, RuleAction::Next, RuleAction::Allow].iter().position(|listed| *listed == action);
    one.priority < other.priority || one.priority == other.priority && strictness(one.action) < strictness(other.action)
}

fn is_asked(rule: &RuleSpec, packet: &Packet) -> bool {
    let protocol = match rule.protocol.as_str() {
        "any" => None,
        "icmp" => Some(1),
        "tcp" => Some(6),
        "udp" => Some(17),
        "icmpv6" => Some(58),
        number => number.parse().ok(),
    };
    let port = |entry: &String| {
        let bounds: Vec<u16> = entry.split('-').map(|bound| bound.parse().unwrap()).collect();
        packet.port.is_some_and(|port| bounds[0] <= port && port <= bounds[bounds.len() - 1])
    };
    rule.enabled
        && rule.expires_at_ms.is_none_or(|expiry| expiry > NOW_MS)
        && (rule.direction == RuleDirection::Inbound) == inbound(packet)
        && protocol.is_none_or(|protocol: u8| protocol == packet.protocol)
        && rule.source.as_ref().is_none_or(|entries| entries.iter().any(|entry| names(entry, packet.source)))
        && rule.destination.as_ref().is_none_or(|entries| entries.iter().any(|entry| names(entry, packet.destination)))
        && (rule.ports.is_empty() || rule.ports.iter().any(port))
        && (rule.icmp_types.is_empty() || packet.icmp.is_some_and(|(kind, _)| rule.icmp_types.contains(&kind)))
}

fn names(entry: &str, address: IpAddr) -> bool {
    if entry.contains(':') && entry.starts_with(['h', 'w']) {
        let reported = REPORTED.iter().find(|(reference, _)| *reference == entry).map_or(&[][..], |(_, reported)| reported);
        return reported.iter().any(|reported| names(reported, address));
    }
    let (width, number) = bits(address);
    if let Some((network, length)) = entry.split_once('/') {
        let (network_width, network) = bits(network.parse().unwrap());
        let free: u32 = network_width - length.parse::<u32>().unwrap();
        return width == network_width && number.checked_shr(free).unwrap_or(0) == network.checked_shr(free).unwrap_or(0);
    }
    let (first, last) = entry.split_once('-').unwrap_or((entry, entry));
    let ((first_width, first), (_, last)) = (bits(first.parse().unwrap()), bits(last.parse().unwrap()));
    width == first_width && (first..=last).contains(&number)
}

fn bits(address: IpAddr) -> (u32, u128) {
    match address {
        IpAddr::V4(address) => (32, address.to_bits().into()),
        IpAddr::V6(address) => (128, address.to_bits()),
    }
}

// Random firewalls and packets.

fn addresses() -> Addresses {
    let mut addresses = Addresses::default();
    for (reference, reported) in REPORTED {
        addresses.insert(reference.to_owned(), reported.iter().map(|address| address.parse().unwrap()));
    }
    addresses
}

fn numbered(firewalls: Vec<Firewall>) -> Vec<Firewall> {
    let mut rule = 0;
    let mut number = |(position, mut firewall): (usize, Firewall)| {
        firewall.id = Id::new(position as u64, [0; 10]);
        for stored in &mut firewall.rules {
            rule += 1;
            stored.id = Id::new(rule, [0; 10]);
        }
        firewall
    };
    firewalls.into_iter().enumerate().map(&mut number).collect()
}

fn firewall() -> impl Strategy<Value = Firewall> {
    let placements = vec![Placement::Organization(Stage::Guardrail), Placement::Workspace, Placement::Host, Placement::Organization(Stage::Baseline)];
    let default = || select(vec![DefaultVerdict::Allow, DefaultVerdict::Deny, DefaultVerdict::Reject]);
    (select(placements), default(), default(), vec(rule(), 0..7)).prop_map(|(placement, default_inbound, default_outbound, rules)| {
        let rules = rules.into_iter().map(|spec| StoredRule { id: Id::new(0, [0; 10]), spec }).collect();
        Firewall { id: Id::new(0, [0; 10]), slug: String::new(), placement, default_inbound, default_outbound, rules }
    })
}

fn rule() -> impl Strategy<Value = RuleSpec> {
    let action = select(vec![RuleAction::Allow, RuleAction::Deny, RuleAction::Reject, RuleAction::Next]);
    let direction = select(vec![RuleDirection::Inbound, RuleDirection::Outbound]);
    let owned = |entries: Vec<&str>| entries.into_iter().map(str::to_owned).collect::<Vec<_>>();
    let ports = subsequence(PORT_ENTRIES.to_vec(), 0..3).prop_map(owned);
    let icmp_types = subsequence(ICMP_TYPES.to_vec(), 0..3);
    let transport = prop_oneof![
        select(vec!["any", "47", "6"]).prop_map(|protocol| (protocol, Vec::new(), Vec::new())),
        (select(vec!["tcp", "udp", "17"]), ports).prop_map(|(protocol, ports)| (protocol, ports, Vec::new())),
        (select(vec!["icmp", "icmpv6"]), icmp_types).prop_map(|(protocol, types)| (protocol, Vec::new(), types)),
    ];
    let selector = move || option::of(subsequence(ENTRIES.to_vec(), 1..4).prop_shuffle().prop_map(owned));
    let takes_part = (prop_oneof![9 => Just(true), 1 => Just(false)], option::weighted(0.3, NOW_MS - 1..NOW_MS + 2));
    (0_u32..4, action, direction, transport, selector(), selector(), takes_part).prop_map(
        |(priority, action, direction, (protocol, ports, icmp_types), source, destination, (enabled, expires_at_ms))| RuleSpec {
            priority,
            action,
            direction,
            protocol: protocol.to_owned(),
            source,
            destination,
            ports,
            icmp_types,
            log: false,
            rate_limit: None,
            enabled,
            expires_at_ms,
            description: String::new(),
        },
    )
}

fn packet() -> impl Strategy<Value = Packet> {
    let address = |address: &str| address.parse::<IpAddr>().unwrap();
    let pair = |pool: Vec<&'static str>| (select(pool.clone()), select(pool));
    let addresses = prop_oneof![pair(V4.to_vec()), pair(V6.to_vec())].prop_map(move |(source, destination)| (address(source), address(destination)));
    let port = || select(PORTS.to_vec());
    let transport = prop_oneof![
        4 => (select(vec![6, 17]), option::of(port()), port()).prop_map(|(protocol, source_port, port)| (protocol, source_port, Some(port), None)),
        2 => (select(ICMP_TYPES.to_vec()), select(vec![0, 4])).prop_map(|icmp| (0, None, None, Some(icmp))),
        1 => select(vec![47, 132]).prop_map(|protocol| (protocol, None, None, None)),
    ];
    (any::<bool>(), addresses, transport).prop_map(|(inbound, (source, destination), (protocol, source_port, port, icmp))| {
        let direction = if inbound { Direction::Inbound } else { Direction::Outbound };
        // ICMP of the packet's family.
        let protocol = if icmp.is_none() {
            protocol
        } else if source.is_ipv4() {
            1
        } else {
            58
        };
        Packet { direction, protocol, source, destination, source_port, port, icmp }
    })
}
