//! Policies for the tests: written by hand, and drawn at random from a seed.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use loopback_protocol::firewall::{Action, AddressRange, DefaultAction, Direction, Layer, Mode, Policy, PolicyLayer, PolicyRule, PortRange, RateLimit};
use loopback_protocol::id::Id;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// A rule without selectors; `number` makes its identifier.
pub fn rule(number: u8, direction: Direction, action: Action) -> PolicyRule {
    PolicyRule {
        rule: Id::new(u64::from(number), [number; 10]),
        direction,
        action,
        protocol: None,
        source: None,
        destination: None,
        ports: Vec::new(),
        icmp_types: Vec::new(),
        log: false,
        rate_limit: None,
    }
}

/// A rule about packets to one port of the host or of its peer.
pub fn to_port(number: u8, direction: Direction, action: Action, protocol: u8, port: u16) -> PolicyRule {
    PolicyRule { protocol: Some(protocol), ports: vec![PortRange::new(port, port).unwrap()], ..rule(number, direction, action) }
}

/// Single addresses as a selector.
pub fn addresses(addresses: &[&str]) -> Option<Vec<AddressRange>> {
    Some(addresses.iter().map(|address| AddressRange::single(address.parse().unwrap())).collect())
}

/// An enforced policy: deny inbound, allow outbound unless a rule says otherwise.
pub fn policy(layers: Vec<(Layer, Vec<PolicyRule>)>) -> Policy {
    let layers = layers.into_iter().map(|(layer, rules)| PolicyLayer { layer, rules }).collect();
    Policy { generation: 1, mode: Mode::Enforce, layers, default_inbound: DefaultAction::Deny, default_outbound: DefaultAction::Allow }
}

/// Denies everything by every means there is.
pub fn denies_everything() -> Policy {
    let rules = vec![rule(1, Direction::Inbound, Action::Deny), rule(2, Direction::Outbound, Action::Deny)];
    Policy { default_outbound: DefaultAction::Deny, ..policy(vec![(Layer::Guardrail, rules)]) }
}

/// Any policy at all: the same for the same seed.
pub fn random(seed: u64, rules_max: usize) -> Policy {
    let mut random = StdRng::seed_from_u64(seed);
    let layers = [Layer::Guardrail, Layer::Workspace, Layer::Host, Layer::Baseline].into_iter().filter(|_| random.random_bool(0.7)).collect::<Vec<_>>();
    let layers = layers.into_iter().map(|layer| {
        let count = random.random_range(0..=rules_max);
        PolicyLayer { layer, rules: (0..count).map(|_| random_rule(&mut random)).collect() }
    });
    let layers = layers.collect();
    let defaults = [DefaultAction::Allow, DefaultAction::Deny, DefaultAction::Reject];
    Policy {
        generation: random.random(),
        mode: *[Mode::Enforce, Mode::Enforce, Mode::Enforce, Mode::Observe, Mode::Off].choose(&mut random).unwrap(),
        layers,
        default_inbound: *defaults.choose(&mut random).unwrap(),
        default_outbound: *defaults.choose(&mut random).unwrap(),
    }
}

/// Any rule at all, with a liking for the ends of the address and port space.
fn random_rule(random: &mut StdRng) -> PolicyRule {
    let protocol = [None, Some(TCP), Some(UDP), Some(1), Some(58), Some(random.random())].choose(random).copied().unwrap();
    let ports = if random.random_bool(0.5) { (0..random.random_range(1..6)).map(|_| random_ports(random)).collect() } else { Vec::new() };
    let icmp_types = if random.random_bool(0.2) { (0..random.random_range(1..6)).map(|_| random.random()).collect() } else { Vec::new() };
    PolicyRule {
        rule: Id::new(random.random_range(0..1 << 40), random.random()),
        direction: *[Direction::Inbound, Direction::Outbound].choose(random).unwrap(),
        action: *[Action::Allow, Action::Deny, Action::Reject, Action::Next].choose(random).unwrap(),
        protocol,
        source: random_selector(random),
        destination: random_selector(random),
        ports,
        icmp_types,
        log: random.random_bool(0.2),
        rate_limit: random.random_bool(0.2).then(|| RateLimit { per_second: random.random_range(1..=u32::MAX), burst: random.random_range(0..200) }),
    }
}

fn random_ports(random: &mut StdRng) -> PortRange {
    let ends = [random.random(), random.random(), 0, 1, 80, 81, u16::MAX - 1, u16::MAX];
    let (one, other) = (*ends.choose(random).unwrap(), *ends.choose(random).unwrap());
    PortRange::new(one.min(other), one.max(other)).unwrap()
}

fn random_selector(random: &mut StdRng) -> Option<Vec<AddressRange>> {
    random.random_bool(0.5).then(|| (0..random.random_range(0..6)).map(|_| random_range(random)).collect())
}

fn random_range(random: &mut StdRng) -> AddressRange {
    if random.random_bool(0.5) {
        let ends = [random.random(), 0, 1, 0x0a00_0000, 0x0aff_ffff, u32::MAX - 1, u32::MAX];
        let end = |random: &mut StdRng| IpAddr::V4(Ipv4Addr::from_bits(*ends.choose(random).unwrap()));
        random_between(end, u32::BITS, random)
    } else {
        let ends = [random.random(), 0, 1, 0x0102_0304, 0xffff_0102_0304, 0xfe80 << 112, u128::MAX - 1, u128::MAX];
        let end = |random: &mut StdRng| IpAddr::V6(Ipv6Addr::from_bits(*ends.choose(random).unwrap()));
        random_between(end, u128::BITS, random)
    }
}

/// Between two of the ends, or a prefix around one of them.
fn random_between(end: impl Fn(&mut StdRng) -> IpAddr, width: u32, random: &mut StdRng) -> AddressRange {
    let (one, other) = (end(random), end(random));
    if random.random_bool(0.5) {
        return AddressRange::new(one.min(other), one.max(other)).unwrap();
    }
    let host = random.random_range(0..=width);
    match one {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(host).unwrap_or(0);
            let (first, last) = (address.to_bits() & mask, address.to_bits() | !mask);
            AddressRange::new(Ipv4Addr::from_bits(first).into(), Ipv4Addr::from_bits(last).into()).unwrap()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(host).unwrap_or(0);
            let (first, last) = (address.to_bits() & mask, address.to_bits() | !mask);
            AddressRange::new(Ipv6Addr::from_bits(first).into(), Ipv6Addr::from_bits(last).into()).unwrap()
        }
    }
}
