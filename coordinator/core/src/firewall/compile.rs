//! From firewalls as they are stored to one host's policy: layers in order, in each layer one list, every reference resolved.
//!
//! Within a layer the rules of all its firewalls are one list by priority, then strictness, then age. Strictness is deny, reject, next, allow: where two
//! rules of one priority both match, the one that lets less pass decides, and `next`, which leaves the packet to inner layers, lets less pass than `allow`.
//! It looks nothing up: a reference the caller gives no addresses for matches nothing.

use std::collections::HashMap;
use std::net::IpAddr;

use loopback_protocol::firewall::{Action, AddressRange, DefaultAction, Direction, Layer, Mode, Policy, PolicyLayer, PolicyRule, PortRange, RateLimit};
use loopback_protocol::id::{FirewallId, RuleId};
use loopback_protocol::limits::{POLICY_RULES_MAX, RULE_RANGES_MAX};

use super::rule::{DefaultVerdict, RuleAction, RuleDirection, RuleSpec, Stage};
use super::selector::{InvalidSelector, Selector};
use super::transport::{InvalidPorts, UnknownProtocol, read_ports, read_protocol};
use crate::limits::POLICY_MAX_BYTES;

/// A firewall that is in force for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firewall {
    /// Its id; ids order by creation.
    pub id: FirewallId,
    /// Its name in explanations.
    pub slug: String,
    /// Among which layers it counts.
    pub placement: Placement,
    /// What happens to inbound packets no rule decided.
    pub default_inbound: DefaultVerdict,
    /// What happens to outbound packets no rule decided.
    pub default_outbound: DefaultVerdict,
    /// In the order of their creation.
    pub rules: Vec<StoredRule>,
}

/// A rule that was validated and kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRule {
    /// Its id.
    pub id: RuleId,
    /// What it says.
    pub spec: RuleSpec,
}

/// What a firewall belongs to, and so its layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The organization.
    Organization(Stage),
    /// The host's workspace.
    Workspace,
    /// The host itself.
    Host,
}

/// What each reference stands for, by its text (`host:acme/prod/web/host-1`): the addresses its hosts reported.
#[derive(Debug, Clone, Default)]
pub struct Addresses(HashMap<String, Vec<IpAddr>>);

/// Why there is no policy. The one in force stays.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// More rules than a host takes.
    #[error("{count} rules apply to this host and at most {POLICY_RULES_MAX} may: take some out of its firewalls")]
    TooManyRules {
        /// How many there are.
        count: usize,
    },
    /// A selector that resolves to more than a host takes.
    #[error("rule {rule} names {count} addresses and ranges and at most {RULE_RANGES_MAX} may be named: use networks instead of references")]
    TooManyAddresses {
        /// Which rule.
        rule: RuleId,
        /// How many it names.
        count: usize,
    },
    /// More than one message to the host carries.
    #[error("the policy of this host has {bytes} bytes and at most {POLICY_MAX_BYTES} may be sent: use networks instead of references, or fewer rules")]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// A kept rule's protocol cannot be read.
    #[error("rule {rule}: {invalid}")]
    Protocol {
        /// Which rule.
        rule: RuleId,
        /// What is wrong with it.
        invalid: UnknownProtocol,
    },
    /// A kept rule's ports cannot be read.
    #[error("rule {rule}: {invalid}")]
    Ports {
        /// Which rule.
        rule: RuleId,
        /// What is wrong with them.
        invalid: InvalidPorts,
    },
    /// A kept rule's source or destination cannot be read.
    #[error("rule {rule}: {invalid}")]
    Selector {
        /// Which rule.
        rule: RuleId,
        /// What is wrong with it.
        invalid: InvalidSelector,
    },
}

impl Placement {
    /// The layer of its rules.
    #[must_use]
    pub const fn layer(self) -> Layer {
        match self {
            Self::Organization(Stage::Guardrail) => Layer::Guardrail,
            Self::Workspace => Layer::Workspace,
            Self::Host => Layer::Host,
            Self::Organization(Stage::Baseline) => Layer::Baseline,
        }
    }
}

impl Addresses {
    /// Sets what a reference stands for. What stands in no packet between hosts (loopback, multicast, `::`) is left out, whatever a host reports.
    pub fn insert(&mut self, reference: String, reported: impl IntoIterator<Item = IpAddr>) {
        let between_hosts = |address: &IpAddr| !(address.is_loopback() || address.is_multicast() || address.is_unspecified());
        self.0.insert(reference, reported.into_iter().map(|address| address.to_canonical()).filter(between_hosts).collect());
    }

    fn of(&self, reference: &str) -> &[IpAddr] {
        self.0.get(reference).map_or(&[], Vec::as_slice)
    }
}

/// The references rules make, by their text, in order and with repetitions: what [`Addresses`] must know before [`compile`].
pub fn references<'a>(rules: impl IntoIterator<Item = &'a RuleSpec>) -> impl Iterator<Item = &'a str> {
    let entries = rules.into_iter().flat_map(|rule| rule.source.iter().chain(&rule.destination).flatten());
    entries.filter_map(|entry| Selector::reference(entry))
}

/// When the next rule expires and the policy has to be compiled again, in milliseconds since 1970.
#[must_use]
pub fn next_expiry(firewalls: &[Firewall], now_ms: u64) -> Option<u64> {
    let enabled = firewalls.iter().flat_map(|firewall| &firewall.rules).filter(|rule| rule.spec.enabled);
    enabled.filter_map(|rule| rule.spec.expires_at_ms).filter(|expiry| now_ms < *expiry).min()
}

/// The policy of a host that these firewalls are in force for, in any order. The default of a direction is the strictest of all firewalls; without any
/// firewall nothing is filtered. The same input in another order makes the same policy, so that equal digests mean nothing has to be sent.
///
/// # Errors
/// The policy is over a bound, or a kept rule cannot be read.
pub fn compile(firewalls: &[Firewall], addresses: &Addresses, mode: Mode, generation: u64, now_ms: u64) -> Result<Policy, CompileError> {
    if firewalls.is_empty() {
        return Ok(Policy::unfiltered(generation));
    }
    let count = firewalls.iter().flat_map(|firewall| &firewall.rules).filter(|rule| takes_part(&rule.spec, now_ms)).count();
    if count > POLICY_RULES_MAX {
        return Err(CompileError::TooManyRules { count });
    }
    let mut layers = Vec::new();
    for layer in [Layer::Guardrail, Layer::Workspace, Layer::Host, Layer::Baseline] {
        let rules = in_order(firewalls, layer, now_ms).into_iter().map(|rule| resolve(rule, addresses)).collect::<Result<Vec<_>, _>>()?;
        if !rules.is_empty() {
            layers.push(PolicyLayer { layer, rules });
        }
    }
    let default_inbound = strictest(firewalls.iter().map(|firewall| firewall.default_inbound));
    let default_outbound = strictest(firewalls.iter().map(|firewall| firewall.default_outbound));
    let policy = Policy { generation, mode, layers, default_inbound, default_outbound };
    let bytes = policy.to_bytes().len();
    if bytes > POLICY_MAX_BYTES { Err(CompileError::TooLarge { bytes }) } else { Ok(policy) }
}

fn takes_part(rule: &RuleSpec, now_ms: u64) -> bool {
    rule.enabled && rule.expires_at_ms.is_none_or(|expiry| now_ms < expiry)
}

fn in_order(firewalls: &[Firewall], layer: Layer, now_ms: u64) -> Vec<&StoredRule> {
    let mut rules = Vec::new();
    for firewall in firewalls.iter().filter(|firewall| firewall.placement.layer() == layer) {
        for (position, rule) in firewall.rules.iter().enumerate().filter(|(_, rule)| takes_part(&rule.spec, now_ms)) {
            rules.push(((rule.spec.priority, leniency(rule.spec.action), firewall.id, position), rule));
        }
    }
    rules.sort_unstable_by_key(|(place, _)| *place);
    rules.into_iter().map(|(_, rule)| rule).collect()
}

/// How much an action lets pass: the strictest is 0.
const fn leniency(action: RuleAction) -> u8 {
    match action {
        RuleAction::Deny => 0,
        RuleAction::Reject => 1,
        RuleAction::Next => 2,
        RuleAction::Allow => 3,
    }
}

fn strictest(defaults: impl Iterator<Item = DefaultVerdict>) -> DefaultAction {
    let strictest = defaults.min_by_key(|default| match default {
        DefaultVerdict::Deny => 0,
        DefaultVerdict::Reject => 1,
        DefaultVerdict::Allow => 2,
    });
    match strictest {
        Some(DefaultVerdict::Deny) => DefaultAction::Deny,
        Some(DefaultVerdict::Reject) => DefaultAction::Reject,
        Some(DefaultVerdict::Allow) | None => DefaultAction::Allow,
    }
}

fn resolve(stored: &StoredRule, addresses: &Addresses) -> Result<PolicyRule, CompileError> {
    let (rule, spec) = (stored.id, &stored.spec);
    let ports = spec.ports.iter().map(|ports| read_ports(ports)).collect::<Result<Vec<PortRange>, _>>();
    Ok(PolicyRule {
        rule,
        direction: match spec.direction {
            RuleDirection::Inbound => Direction::Inbound,
            RuleDirection::Outbound => Direction::Outbound,
        },
        action: match spec.action {
            RuleAction::Allow => Action::Allow,
            RuleAction::Deny => Action::Deny,
            RuleAction::Reject => Action::Reject,
            RuleAction::Next => Action::Next,
        },
        protocol: read_protocol(&spec.protocol).map_err(|invalid| CompileError::Protocol { rule, invalid })?,
        source: resolve_selector(rule, spec.source.as_deref(), addresses)?,
        destination: resolve_selector(rule, spec.destination.as_deref(), addresses)?,
        ports: ports.map_err(|invalid| CompileError::Ports { rule, invalid })?,
        icmp_types: spec.icmp_types.clone(),
        log: spec.log,
        rate_limit: spec.rate_limit.map(|limit| RateLimit { per_second: limit.per_second, burst: limit.burst }),
    })
}

fn resolve_selector(rule: RuleId, entries: Option<&[String]>, addresses: &Addresses) -> Result<Option<Vec<AddressRange>>, CompileError> {
    let Some(entries) = entries else { return Ok(None) };
    let mut ranges = Vec::new();
    for entry in entries {
        match entry.parse::<Selector>().map_err(|invalid| CompileError::Selector { rule, invalid })? {
            Selector::Range(range) => ranges.push(range),
            Selector::Host(_) | Selector::Workspace(_) => ranges.extend(addresses.of(entry).iter().copied().map(AddressRange::single)),
        }
    }
    // Hosts report their addresses in any order.
    ranges.sort_unstable();
    ranges.dedup();
    if ranges.len() > RULE_RANGES_MAX { Err(CompileError::TooManyAddresses { rule, count: ranges.len() }) } else { Ok(Some(ranges)) }
}
