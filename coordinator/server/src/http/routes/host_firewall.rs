//! What a host's firewalls come to: its policy, how far the host is with it, and why a packet is decided as it is.

use std::net::SocketAddr;

use loopback_api::firewall::{ApplyStatus, EffectiveRule, ExplainHostFirewall, Explanation, GetHostFirewall, HostFirewall, PacketQuery, Rule};
use loopback_api::{Operation, Problem, ProblemKind, Time};
use loopback_core::firewall::rule::{DefaultVerdict, RuleDirection};
use loopback_core::firewall::{DecidedBy, Firewall, Packet, evaluate, read_protocol};
use loopback_protocol::firewall::{DefaultAction, Direction, Mode};
use loopback_protocol::id::RuleId;

use crate::http::api::{Api, Call, with};
use crate::http::error::not_found;
use crate::observed::{HostKey, Observed};
use crate::reconcile::{Desired, HostPolicySource};
use crate::storage::observed::{self, HostPolicy, StoredOutcome};
use crate::storage::{Storage, host};

/// What the operations on hosts' firewalls touch.
#[derive(Debug, Clone)]
pub struct HostFirewalls {
    /// The rows.
    pub storage: Storage,
    /// What the hosts reported.
    pub observed: Observed,
    /// What compiles.
    pub desired: Desired,
    /// The addresses agents reach the coordinator by, which their system layer always lets pass.
    pub coordinators: Vec<SocketAddr>,
}

/// Adds the operations on hosts' firewalls.
pub fn register(api: &mut Api, firewalls: &HostFirewalls) {
    api.operation::<GetHostFirewall, _, _>(with(firewalls, HostFirewalls::get));
    api.operation::<ExplainHostFirewall, _, _>(with(firewalls, HostFirewalls::explain));
}

impl HostFirewalls {
    async fn get(self, call: Call<GetHostFirewall>) -> Result<HostFirewall, Problem> {
        let source = self.source(&call).await?;
        let key = key(&call)?;
        let stored = observed::policy(self.observed.reader(), key).await?;
        let current = stored.as_ref().filter(|stored| stored.digest == hex::encode(source.policy.digest().0));
        Ok(HostFirewall {
            generation: stored.as_ref().map_or(0, |stored| stored.generation),
            status: current.map_or(ApplyStatus::Pending, status),
            filtered: source.policy.mode != Mode::Off,
            default_inbound: verdict(source.policy.default_inbound),
            default_outbound: verdict(source.policy.default_outbound),
            rules: effective(&source),
        })
    }

    async fn explain(self, call: Call<ExplainHostFirewall>) -> Result<Explanation, Problem> {
        let packet = packet(&call.query)?;
        let source = self.source(&call).await?;
        let decision = evaluate(&source.policy, &self.coordinators, &packet);
        let default = |reason: String| Explanation { verdict: decision.verdict, layer: "default".to_owned(), firewall: None, rule: None, reason };
        Ok(match decision.decided_by {
            DecidedBy::Unfiltered => default("no firewall is in force for this host, so nothing is filtered".to_owned()),
            DecidedBy::Default => default("no rule matches, so the strictest default of the firewalls in force decides".to_owned()),
            DecidedBy::System(part) => {
                Explanation { layer: "system".to_owned(), ..default(format!("the agent's own layer always lets this pass ({part}); no firewall can change it")) }
            }
            DecidedBy::Rule { layer, rule } => {
                let found = find(&source.firewalls, rule).ok_or_else(not_found)?;
                let reason = format!("the first matching rule, of firewall {} in the {} layer, decides", found.0, layer.name());
                Explanation { layer: layer.name().to_owned(), firewall: Some(found.0), rule: Some(found.1), ..default(reason) }
            }
        })
    }

    async fn source<O: Operation>(&self, call: &Call<O>) -> Result<HostPolicySource, Problem> {
        let row = host::get(self.storage.reader(), &call.grant).await?.ok_or_else(not_found)?;
        self.desired.source(&row).await?.map_err(|error| Problem::new(ProblemKind::Conflict, error.to_string()))
    }
}

fn key<O: Operation>(call: &Call<O>) -> Result<HostKey, Problem> {
    let host = call.grant.scope().host().ok_or_else(not_found)?;
    Ok(HostKey { organization: call.grant.scope().organization(), host })
}

fn status(stored: &HostPolicy) -> ApplyStatus {
    let generation = stored.generation;
    match stored.status.as_ref().filter(|status| status.generation == generation).map(|status| &status.outcome) {
        None => ApplyStatus::Pending,
        Some(StoredOutcome::Applied(at_ms)) => ApplyStatus::Applied { generation, at: Time(*at_ms) },
        Some(StoredOutcome::Failed(error)) => ApplyStatus::Failed { generation, error: error.clone() },
        Some(StoredOutcome::RolledBack(reason)) => ApplyStatus::RolledBack { generation, reason: reason.clone() },
    }
}

fn effective(source: &HostPolicySource) -> Vec<EffectiveRule> {
    let layers = source.policy.layers.iter();
    let rules = layers.flat_map(|layer| layer.rules.iter().map(move |rule| (layer.layer, rule.rule)));
    let show = |(layer, rule): (loopback_protocol::firewall::Layer, RuleId)| {
        let (firewall, rule) = find(&source.firewalls, rule)?;
        Some(EffectiveRule { layer: layer.name().to_owned(), firewall, rule })
    };
    rules.filter_map(show).collect()
}

fn find(firewalls: &[Firewall], rule: RuleId) -> Option<(String, Rule)> {
    let mut rules = firewalls.iter().flat_map(|firewall| firewall.rules.iter().map(move |rule| (firewall, rule)));
    let (firewall, stored) = rules.find(|(_, stored)| stored.id == rule)?;
    Some((firewall.slug.clone(), Rule { id: stored.id, spec: stored.spec.clone() }))
}

fn packet(query: &PacketQuery) -> Result<Packet, Problem> {
    let protocol = read_protocol(&query.protocol).map_err(|error| Problem::field("/protocol", error))?;
    let protocol = protocol.ok_or_else(|| Problem::field("/protocol", "a packet has one protocol: say tcp, udp, icmp, icmpv6 or a number"))?;
    if query.source.is_ipv4() != query.destination.is_ipv4() {
        return Err(Problem::field("/destination", "source and destination must be of one family"));
    }
    if matches!(protocol, 6 | 17) && query.port.is_none() {
        return Err(Problem::field("/port", "a TCP or UDP packet has a destination port"));
    }
    let direction = match query.direction {
        RuleDirection::Inbound => Direction::Inbound,
        RuleDirection::Outbound => Direction::Outbound,
    };
    Ok(Packet { direction, protocol, source: query.source, destination: query.destination, source_port: None, port: query.port, icmp: None })
}

const fn verdict(action: DefaultAction) -> DefaultVerdict {
    match action {
        DefaultAction::Allow => DefaultVerdict::Allow,
        DefaultAction::Deny => DefaultVerdict::Deny,
        DefaultAction::Reject => DefaultVerdict::Reject,
    }
}
