//! A policy and its status to the wire and back. What comes from a peer is checked here: bounds, meanings, order.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{
    Action, AddressRange, DefaultAction, Direction, Layer, Mode, Policy, PolicyDigest, PolicyLayer, PolicyOutcome, PolicyRule, PolicyStatus, PortRange,
    RateLimit,
};
use crate::error::{Malformed, bounded, text};
use crate::limits::{POLICY_RULES_MAX, RULE_ICMP_TYPES_MAX, RULE_PORTS_MAX, RULE_RANGES_MAX, TEXT_MAX_BYTES};
use crate::wire;

impl Policy {
    pub(crate) fn to_wire(&self) -> wire::Policy {
        wire::Policy {
            generation: self.generation,
            mode: match self.mode {
                Mode::Off => wire::Mode::Off,
                Mode::Observe => wire::Mode::Observe,
                Mode::Enforce => wire::Mode::Enforce,
            }
            .into(),
            layers: self.layers.iter().map(layer_to_wire).collect(),
            default_inbound: default_to_wire(self.default_inbound).into(),
            default_outbound: default_to_wire(self.default_outbound).into(),
        }
    }
}

fn layer_to_wire(layer: &PolicyLayer) -> wire::PolicyLayer {
    wire::PolicyLayer {
        layer: match layer.layer {
            Layer::Guardrail => wire::Layer::Guardrail,
            Layer::Workspace => wire::Layer::Workspace,
            Layer::Host => wire::Layer::Host,
            Layer::Baseline => wire::Layer::Baseline,
        }
        .into(),
        rules: layer.rules.iter().map(rule_to_wire).collect(),
    }
}

fn rule_to_wire(rule: &PolicyRule) -> wire::PolicyRule {
    wire::PolicyRule {
        rule: rule.rule.to_string(),
        direction: match rule.direction {
            Direction::Inbound => wire::Direction::Inbound,
            Direction::Outbound => wire::Direction::Outbound,
        }
        .into(),
        action: match rule.action {
            Action::Allow => wire::Action::Allow,
            Action::Deny => wire::Action::Deny,
            Action::Reject => wire::Action::Reject,
            Action::Next => wire::Action::Next,
        }
        .into(),
        protocol: rule.protocol.map(u32::from),
        source: rule.source.as_deref().map(addresses_to_wire),
        destination: rule.destination.as_deref().map(addresses_to_wire),
        ports: rule.ports.iter().map(|range| wire::PortRange { first: range.first.into(), last: range.last.into() }).collect(),
        icmp_types: rule.icmp_types.iter().copied().map(u32::from).collect(),
        log: rule.log,
        rate_limit: rule.rate_limit.map(|limit| wire::RateLimit { per_second: limit.per_second, burst: limit.burst }),
    }
}

fn addresses_to_wire(ranges: &[AddressRange]) -> wire::Addresses {
    let ranges = ranges.iter().map(|range| wire::AddressRange { first: octets(range.first), last: octets(range.last) }).collect();
    wire::Addresses { ranges }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

const fn default_to_wire(action: DefaultAction) -> wire::Action {
    match action {
        DefaultAction::Allow => wire::Action::Allow,
        DefaultAction::Deny => wire::Action::Deny,
        DefaultAction::Reject => wire::Action::Reject,
    }
}

impl TryFrom<wire::Policy> for Policy {
    type Error = Malformed;

    fn try_from(message: wire::Policy) -> Result<Self, Malformed> {
        let mode = match message.mode() {
            wire::Mode::Off => Mode::Off,
            wire::Mode::Observe => Mode::Observe,
            wire::Mode::Enforce => Mode::Enforce,
            wire::Mode::Unspecified => return Err(Malformed::Invalid("policy.mode")),
        };
        let default_inbound = default_from_wire(message.default_inbound())?;
        let default_outbound = default_from_wire(message.default_outbound())?;
        bounded("policy.rules", message.layers.iter().map(|layer| layer.rules.len()).sum(), POLICY_RULES_MAX)?;
        let layers = message.layers.into_iter().map(PolicyLayer::try_from).collect::<Result<Vec<_>, _>>()?;
        if !layers.is_sorted_by(|one, other| one.layer < other.layer) {
            return Err(Malformed::Invalid("policy.layers"));
        }
        Ok(Self { generation: message.generation, mode, layers, default_inbound, default_outbound })
    }
}

fn default_from_wire(action: wire::Action) -> Result<DefaultAction, Malformed> {
    match action {
        wire::Action::Allow => Ok(DefaultAction::Allow),
        wire::Action::Deny => Ok(DefaultAction::Deny),
        wire::Action::Reject => Ok(DefaultAction::Reject),
        wire::Action::Next | wire::Action::Unspecified => Err(Malformed::Invalid("policy.default")),
    }
}

impl TryFrom<wire::PolicyLayer> for PolicyLayer {
    type Error = Malformed;

    fn try_from(message: wire::PolicyLayer) -> Result<Self, Malformed> {
        let layer = match message.layer() {
            wire::Layer::Guardrail => Layer::Guardrail,
            wire::Layer::Workspace => Layer::Workspace,
            wire::Layer::Host => Layer::Host,
            wire::Layer::Baseline => Layer::Baseline,
            wire::Layer::Unspecified => return Err(Malformed::Invalid("policy.layer")),
        };
        let rules = message.rules.into_iter().map(PolicyRule::try_from).collect::<Result<_, _>>()?;
        Ok(Self { layer, rules })
    }
}

impl TryFrom<wire::PolicyRule> for PolicyRule {
    type Error = Malformed;

    fn try_from(message: wire::PolicyRule) -> Result<Self, Malformed> {
        let direction = match message.direction() {
            wire::Direction::Inbound => Direction::Inbound,
            wire::Direction::Outbound => Direction::Outbound,
            wire::Direction::Unspecified => return Err(Malformed::Invalid("rule.direction")),
        };
        let action = match message.action() {
            wire::Action::Allow => Action::Allow,
            wire::Action::Deny => Action::Deny,
            wire::Action::Reject => Action::Reject,
            wire::Action::Next => Action::Next,
            wire::Action::Unspecified => return Err(Malformed::Invalid("rule.action")),
        };
        bounded("rule.ports", message.ports.len(), RULE_PORTS_MAX)?;
        bounded("rule.icmp_types", message.icmp_types.len(), RULE_ICMP_TYPES_MAX)?;
        Ok(Self {
            rule: message.rule.parse().map_err(|_| Malformed::Invalid("rule.rule"))?,
            direction,
            action,
            protocol: message.protocol.map(|number| byte("rule.protocol", number)).transpose()?,
            source: message.source.map(addresses_from_wire).transpose()?,
            destination: message.destination.map(addresses_from_wire).transpose()?,
            ports: message.ports.into_iter().map(PortRange::try_from).collect::<Result<_, _>>()?,
            icmp_types: message.icmp_types.into_iter().map(|number| byte("rule.icmp_types", number)).collect::<Result<_, _>>()?,
            log: message.log,
            rate_limit: message.rate_limit.map(RateLimit::try_from).transpose()?,
        })
    }
}

fn byte(field: &'static str, number: u32) -> Result<u8, Malformed> {
    u8::try_from(number).map_err(|_| Malformed::Invalid(field))
}

fn addresses_from_wire(message: wire::Addresses) -> Result<Vec<AddressRange>, Malformed> {
    bounded("rule.addresses", message.ranges.len(), RULE_RANGES_MAX)?;
    message.ranges.into_iter().map(AddressRange::try_from).collect()
}

impl TryFrom<wire::AddressRange> for AddressRange {
    type Error = Malformed;

    fn try_from(message: wire::AddressRange) -> Result<Self, Malformed> {
        let invalid = Malformed::Invalid("rule.addresses");
        let address = |bytes: Vec<u8>| match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes).map(|octets| IpAddr::V4(Ipv4Addr::from(octets))).ok(),
            16 => <[u8; 16]>::try_from(bytes).map(|octets| IpAddr::V6(Ipv6Addr::from(octets))).ok(),
            _ => None,
        };
        match (address(message.first), address(message.last)) {
            (Some(first), Some(last)) => Self::new(first, last).ok_or(invalid),
            _ => Err(invalid),
        }
    }
}

impl TryFrom<wire::PortRange> for PortRange {
    type Error = Malformed;

    fn try_from(message: wire::PortRange) -> Result<Self, Malformed> {
        let invalid = Malformed::Invalid("rule.ports");
        match (u16::try_from(message.first), u16::try_from(message.last)) {
            (Ok(first), Ok(last)) => Self::new(first, last).ok_or(invalid),
            _ => Err(invalid),
        }
    }
}

impl TryFrom<wire::RateLimit> for RateLimit {
    type Error = Malformed;

    fn try_from(message: wire::RateLimit) -> Result<Self, Malformed> {
        if message.per_second == 0 {
            return Err(Malformed::Invalid("rule.rate_limit"));
        }
        Ok(Self { per_second: message.per_second, burst: message.burst })
    }
}

impl PolicyStatus {
    pub(crate) fn to_wire(&self) -> wire::PolicyStatus {
        use wire::policy_status::Outcome;
        wire::PolicyStatus {
            generation: self.generation,
            digest: self.digest.0.to_vec(),
            outcome: Some(match &self.outcome {
                PolicyOutcome::Applied { at_ms } => Outcome::AppliedAtMs(*at_ms),
                PolicyOutcome::Failed(error) => Outcome::Failed(error.clone()),
                PolicyOutcome::RolledBack(reason) => Outcome::RolledBack(reason.clone()),
            }),
        }
    }
}

impl TryFrom<wire::PolicyStatus> for PolicyStatus {
    type Error = Malformed;

    fn try_from(message: wire::PolicyStatus) -> Result<Self, Malformed> {
        use wire::policy_status::Outcome;
        let outcome = match message.outcome.ok_or(Malformed::Missing("policy_status.outcome"))? {
            Outcome::AppliedAtMs(at_ms) => PolicyOutcome::Applied { at_ms },
            Outcome::Failed(error) => PolicyOutcome::Failed(text("policy_status.failed", error, TEXT_MAX_BYTES)?),
            Outcome::RolledBack(reason) => PolicyOutcome::RolledBack(text("policy_status.rolled_back", reason, TEXT_MAX_BYTES)?),
        };
        let digest = <[u8; 32]>::try_from(message.digest).map_err(|_| Malformed::Invalid("policy_status.digest"))?;
        Ok(Self { generation: message.generation, digest: PolicyDigest(digest), outcome })
    }
}
