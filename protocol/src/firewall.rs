//! A host's effective policy as it crosses the link: layers in order, rules in order, every reference resolved to addresses.
//!
//! It says what to enforce. How the kernel is made to enforce it is the agent's decision.

use std::net::IpAddr;

use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::error::Malformed;
use crate::id::RuleId;
use crate::wire;

mod conversion;

/// Everything a host must enforce besides the agent's own system layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Counts the host's policies; higher is newer.
    pub generation: u64,
    /// Whether it is enforced.
    pub mode: Mode,
    /// In evaluation order; first match decides.
    pub layers: Vec<PolicyLayer>,
    /// What happens to inbound packets no rule decided.
    pub default_inbound: DefaultAction,
    /// What happens to outbound packets no rule decided.
    pub default_outbound: DefaultAction,
}

/// Whether a policy is enforced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// No table in the kernel.
    Off,
    /// Counts and logs what would be denied, denies nothing.
    Observe,
    /// Denies.
    Enforce,
}

/// One layer's rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyLayer {
    /// Which layer.
    pub layer: Layer,
    /// In evaluation order.
    pub rules: Vec<PolicyRule>,
}

/// The layers a coordinator compiles, in evaluation order. The system layer before them is the agent's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Organization firewalls that nothing overrides.
    Guardrail,
    /// The workspace's firewalls.
    Workspace,
    /// Firewalls attached to the host.
    Host,
    /// Organization firewalls that apply unless refined.
    Baseline,
}

impl Layer {
    /// The name in commands, comments and explanations.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Guardrail => "guardrail",
            Self::Workspace => "workspace",
            Self::Host => "host",
            Self::Baseline => "baseline",
        }
    }
}

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The packet passes; final.
    Allow,
    /// The packet is dropped in silence; final.
    Deny,
    /// The packet is refused with an answer; final.
    Reject,
    /// The rest of this layer is skipped.
    Next,
}

/// What happens to a packet that no rule decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultAction {
    /// It passes.
    Allow,
    /// It is dropped in silence.
    Deny,
    /// It is refused with an answer.
    Reject,
}

/// Seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the host.
    Inbound,
    /// From the host.
    Outbound,
}

/// A rule with everything resolved. Selectors: `None` is any; a list that is empty matches nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// The rule it came from.
    pub rule: RuleId,
    /// Which packets it is asked about.
    pub direction: Direction,
    /// What it does when it matches.
    pub action: Action,
    /// IP protocol number; `None` is any.
    pub protocol: Option<u8>,
    /// Where a connection comes from.
    pub source: Option<Vec<AddressRange>>,
    /// Where a connection goes to.
    pub destination: Option<Vec<AddressRange>>,
    /// Destination ports, for TCP and UDP; empty is any.
    pub ports: Vec<PortRange>,
    /// For ICMP and ICMPv6; empty is any.
    pub icmp_types: Vec<u8>,
    /// Matching packets are logged, at a limited rate.
    pub log: bool,
    /// The rule matches only as often as this.
    pub rate_limit: Option<RateLimit>,
}

/// Addresses from `first` to `last`, both included, of one family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    last: IpAddr,
}

/// Ports from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: u16,
    last: u16,
}

/// A token bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Packets per second.
    pub per_second: u32,
    /// Packets above the rate that still match.
    pub burst: u32,
}

impl AddressRange {
    /// A range, if it is one: same family, not inverted.
    #[must_use]
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// The range of one address.
    #[must_use]
    pub const fn single(address: IpAddr) -> Self {
        Self { first: address, last: address }
    }

    /// Its first address.
    #[must_use]
    pub const fn first(&self) -> IpAddr {
        self.first
    }

    /// Its last address.
    #[must_use]
    pub const fn last(&self) -> IpAddr {
        self.last
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        self.first.is_ipv4() == address.is_ipv4() && self.first <= address && address <= self.last
    }
}

impl PortRange {
    /// A range, if it is not inverted.
    #[must_use]
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last { Some(Self { first, last }) } else { None }
    }

    /// Its first port.
    #[must_use]
    pub const fn first(&self) -> u16 {
        self.first
    }

    /// Its last port.
    #[must_use]
    pub const fn last(&self) -> u16 {
        self.last
    }

    /// Whether a port lies in it.
    #[must_use]
    pub const fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

/// SHA-256 over what a policy says, its generation left out: equal digests enforce the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PolicyDigest(pub [u8; 32]);

/// How far a host is with a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyStatus {
    /// Of which policy.
    pub generation: u64,
    /// Of which content.
    pub digest: PolicyDigest,
    /// What became of it.
    pub outcome: PolicyOutcome,
}

/// What became of a policy on a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyOutcome {
    /// It is in the kernel, read back and found as meant.
    Applied {
        /// Since when, by the host's clock, in milliseconds since 1970.
        at_ms: u64,
    },
    /// The kernel refused it, in its own words; the one before it is still in force.
    Failed(String),
    /// It was applied and taken back, for this reason.
    RolledBack(String),
}

impl Policy {
    /// A policy that filters nothing, for a host that no firewall is meant for.
    #[must_use]
    pub const fn unfiltered(generation: u64) -> Self {
        Self { generation, mode: Mode::Off, layers: Vec::new(), default_inbound: DefaultAction::Allow, default_outbound: DefaultAction::Allow }
    }

    /// The digest of what it enforces.
    #[must_use]
    pub fn digest(&self) -> PolicyDigest {
        let mut message = self.to_wire();
        message.generation = 0;
        PolicyDigest(Sha256::digest(message.encode_to_vec()).into())
    }

    /// Rules in all layers.
    #[must_use]
    pub fn rule_count(&self) -> usize {
        self.layers.iter().map(|layer| layer.rules.len()).sum()
    }

    /// The bytes an agent keeps on disk to restore after a boot.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        self.to_wire().encode_to_vec()
    }

    /// Reads what [`Policy::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are not a policy within bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Malformed> {
        wire::Policy::decode(bytes).map_err(|_| Malformed::Message("policy"))?.try_into()
    }
}

#[cfg(test)]
mod tests {
    use super::{Action, AddressRange, DefaultAction, Direction, Layer, Mode, Policy, PolicyLayer, PolicyRule, PortRange, RateLimit};
    use crate::error::Malformed;
    use crate::id::Id;
    use crate::wire;

    fn policy() -> Policy {
        let rule = PolicyRule {
            rule: Id::new(1, [1; 10]),
            direction: Direction::Inbound,
            action: Action::Allow,
            protocol: Some(6),
            source: Some(vec![AddressRange::single("10.0.0.1".parse().unwrap()), AddressRange::new("::1".parse().unwrap(), "::9".parse().unwrap()).unwrap()]),
            destination: None,
            ports: vec![PortRange::new(80, 443).unwrap()],
            icmp_types: Vec::new(),
            log: true,
            rate_limit: Some(RateLimit { per_second: 5, burst: 10 }),
        };
        Policy {
            generation: 7,
            mode: Mode::Enforce,
            layers: vec![PolicyLayer { layer: Layer::Guardrail, rules: Vec::new() }, PolicyLayer { layer: Layer::Workspace, rules: vec![rule] }],
            default_inbound: DefaultAction::Deny,
            default_outbound: DefaultAction::Allow,
        }
    }

    #[test]
    fn a_policy_reads_back() {
        assert_eq!(Policy::from_bytes(&policy().to_bytes()), Ok(policy()));
    }

    #[test]
    fn the_digest_is_of_the_content_alone() {
        let mut other = policy();
        other.generation = 8;
        assert_eq!(policy().digest(), other.digest());
        other.default_outbound = DefaultAction::Deny;
        assert_ne!(policy().digest(), other.digest());
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        let check = |break_it: fn(&mut wire::Policy), expected: Malformed| {
            let mut message = policy().to_wire();
            break_it(&mut message);
            assert_eq!(Policy::try_from(message), Err(expected));
        };
        check(|policy| policy.mode = 0, Malformed::Invalid("policy.mode"));
        check(|policy| policy.mode = 99, Malformed::Invalid("policy.mode"));
        check(|policy| policy.layers.reverse(), Malformed::Invalid("policy.layers"));
        check(|policy| policy.default_inbound = wire::Action::Next.into(), Malformed::Invalid("policy.default"));
        check(|policy| policy.layers[1].rules[0].protocol = Some(256), Malformed::Invalid("rule.protocol"));
        check(|policy| policy.layers[1].rules[0].rule = "host_1".into(), Malformed::Invalid("rule.rule"));
        check(|policy| policy.layers[1].rules[0].ports[0].first = 70_000, Malformed::Invalid("rule.ports"));
        check(|policy| policy.layers[1].rules[0].source.as_mut().unwrap().ranges[0].first = vec![1; 5], Malformed::Invalid("rule.addresses"));
    }
}
