//! A firewall and its rules as people write them, and as they are stored: text where people write text, checked before anything is kept.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a matching rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleAction {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DefaultVerdict {
    /// It passes.
    Allow,
    /// It is dropped in silence.
    Deny,
    /// It is refused with an answer.
    Reject,
}

/// Seen from the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RuleDirection {
    /// To the host.
    Inbound,
    /// From the host.
    Outbound,
}

/// Where an organization firewall stands among the layers. Workspace firewalls have no stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Before the workspace's rules; nothing overrides it.
    Guardrail,
    /// After the workspace's and the host's rules: applies unless refined.
    Baseline,
}

/// A token bucket: the rule matches only as often as this.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleRateLimit {
    /// Packets per second.
    pub per_second: u32,
    /// Packets above the rate that still match.
    pub burst: u32,
}

/// A rule as it is written. Selectors that are left out are any; a selector that resolves to nothing matches nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RuleSpec {
    /// Lower is asked first; ties: deny, reject, next, allow, then the older firewall, then the order of the list.
    pub priority: u32,
    /// What it does when it matches.
    pub action: RuleAction,
    /// Which packets it is asked about.
    pub direction: RuleDirection,
    /// `any`, `tcp`, `udp`, `icmp`, `icmpv6` or an IP protocol number.
    #[serde(default = "any", skip_serializing_if = "is_any")]
    pub protocol: String,
    /// Addresses (`192.0.2.1`), networks (`2001:db8::/32`), ranges (`192.0.2.1-192.0.2.9`) and references (`host:acme/prod/web/host-1`,
    /// `workspace:acme/prod/web`; ids work too).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Vec<String>>,
    /// As `source`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<Vec<String>>,
    /// Destination ports (`443`) and ranges (`8000-8099`), for TCP and UDP.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<String>,
    /// For ICMP and ICMPv6.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub icmp_types: Vec<u8>,
    /// Matching packets are logged on the host, at a limited rate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub log: bool,
    /// The rule matches only as often as this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit: Option<RuleRateLimit>,
    /// Whether it takes part.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// From when it takes no part, in milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at_ms: Option<u64>,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

fn any() -> String {
    "any".to_owned()
}

fn is_any(protocol: &str) -> bool {
    protocol == "any"
}

const fn yes() -> bool {
    true
}
