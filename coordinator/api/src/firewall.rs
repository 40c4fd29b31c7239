//! Firewalls of organizations and workspaces, and what they make of a host.

use std::net::IpAddr;

use loopback_core::access::{Key, Verb};
use loopback_core::firewall::rule::{DefaultVerdict, RuleDirection, RuleSpec, Stage};
use loopback_protocol::id::{FirewallId, RuleId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists an organization's firewalls.
    ListOrganizationFirewalls "list_organization_firewalls" Get "/v1/organizations/{organization}/firewalls", Access::Holds(Key::OrganizationFirewall.may(Verb::Read)), "firewall.list", PageQuery, Nothing => Page<Firewall>;
    /// Makes an organization firewall, without rules yet.
    CreateOrganizationFirewall "create_organization_firewall" Post "/v1/organizations/{organization}/firewalls", Access::Holds(Key::OrganizationFirewall.may(Verb::Create)), "firewall.create", Nothing, NewFirewall => Firewall;
    /// Shows an organization firewall with its rules.
    GetOrganizationFirewall "get_organization_firewall" Get "/v1/organizations/{organization}/firewalls/{firewall}", Access::Holds(Key::OrganizationFirewall.may(Verb::Read)), "firewall.read", Nothing, Nothing => Firewall;
    /// Changes what an organization firewall is, not its rules.
    UpdateOrganizationFirewall "update_organization_firewall" Put "/v1/organizations/{organization}/firewalls/{firewall}", Access::Holds(Key::OrganizationFirewall.may(Verb::Update)), "firewall.update", Nothing, NewFirewall => Firewall;
    /// Replaces all rules of an organization firewall.
    SetOrganizationFirewallRules "set_organization_firewall_rules" Put "/v1/organizations/{organization}/firewalls/{firewall}/rules", Access::Holds(Key::OrganizationFirewallRule.may(Verb::Update)), "firewall.rules.set", Nothing, Rules => Firewall;
    /// Removes an organization firewall.
    DeleteOrganizationFirewall "delete_organization_firewall" Delete "/v1/organizations/{organization}/firewalls/{firewall}", Access::Holds(Key::OrganizationFirewall.may(Verb::Delete)), "firewall.delete", Nothing, Nothing => Nothing;
    /// Lists a workspace's firewalls.
    ListWorkspaceFirewalls "list_workspace_firewalls" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/firewalls", Access::Holds(Key::ProjectWorkspaceFirewall.may(Verb::Read)), "firewall.list", PageQuery, Nothing => Page<Firewall>;
    /// Makes a workspace firewall, without rules yet.
    CreateWorkspaceFirewall "create_workspace_firewall" Post "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/firewalls", Access::Holds(Key::ProjectWorkspaceFirewall.may(Verb::Create)), "firewall.create", Nothing, NewFirewall => Firewall;
    /// Shows a workspace firewall with its rules.
    GetWorkspaceFirewall "get_workspace_firewall" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/firewalls/{firewall}", Access::Holds(Key::ProjectWorkspaceFirewall.may(Verb::Read)), "firewall.read", Nothing, Nothing => Firewall;
    /// Changes what a workspace firewall is, not its rules.
    UpdateWorkspaceFirewall "update_workspace_firewall" Put "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/firewalls/{firewall}", Access::Holds(Key::ProjectWorkspaceFirewall.may(Verb::Update)), "firewall.update", Nothing, NewFirewall => Firewall;
    /// Replaces all rules of a workspace firewall.
    SetWorkspaceFirewallRules "set_workspace_firewall_rules" Put "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/firewalls/{firewall}/rules", Access::Holds(Key::ProjectWorkspaceFirewallRule.may(Verb::Update)), "firewall.rules.set", Nothing, Rules => Firewall;
    /// Removes a workspace firewall.
    DeleteWorkspaceFirewall "delete_workspace_firewall" Delete "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/firewalls/{firewall}", Access::Holds(Key::ProjectWorkspaceFirewall.may(Verb::Delete)), "firewall.delete", Nothing, Nothing => Nothing;
    /// Shows the policy meant for a host, and how far the host is with it.
    GetHostFirewall "get_host_firewall" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts/{host}/firewall", Access::Holds(Key::ProjectWorkspaceHostFirewall.may(Verb::Read)), "host.firewall.read", Nothing, Nothing => HostFirewall;
    /// Tells which rule decides a packet.
    ExplainHostFirewall "explain_host_firewall" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts/{host}/firewall/explain", Access::Holds(Key::ProjectWorkspaceHostFirewall.may(Verb::Read)), "host.firewall.explain", PacketQuery, Nothing => Explanation;
}

/// A firewall. `rules` is empty in lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Firewall {
    /// Its id.
    #[schemars(with = "String")]
    pub id: FirewallId,
    /// Unique in its scope.
    pub slug: String,
    /// Where it belongs, as a path.
    pub scope: String,
    /// For people.
    pub description: String,
    /// Where an organization firewall stands; absent for a workspace's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// What happens to inbound packets no rule decided.
    pub default_inbound: DefaultVerdict,
    /// What happens to outbound packets no rule decided.
    pub default_outbound: DefaultVerdict,
    /// How many rules it has.
    pub rule_count: u64,
    /// In evaluation order.
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Since when it exists.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
}

/// A stored rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Its id.
    #[schemars(with = "String")]
    pub id: RuleId,
    /// What it says.
    #[serde(flatten)]
    pub spec: RuleSpec,
}

/// A firewall to make, or what to make of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewFirewall {
    /// Unique in its scope.
    pub slug: String,
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// For organization firewalls: `baseline` when left out. Workspace firewalls have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage: Option<Stage>,
    /// What happens to inbound packets no rule decided: `deny` when left out.
    #[serde(default = "deny")]
    pub default_inbound: DefaultVerdict,
    /// What happens to outbound packets no rule decided: `allow` when left out.
    #[serde(default = "allow")]
    pub default_outbound: DefaultVerdict,
}

const fn deny() -> DefaultVerdict {
    DefaultVerdict::Deny
}

const fn allow() -> DefaultVerdict {
    DefaultVerdict::Allow
}

/// All rules of a firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    /// In any order: the priority counts, then deny before allow, then the place in this list.
    pub rules: Vec<RuleSpec>,
}

/// How far a host is with its policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum ApplyStatus {
    /// The host has not told yet.
    Pending,
    /// In the kernel, read back and found as meant.
    Applied {
        /// Which policy.
        generation: u64,
        /// Since when, by the host's clock.
        at: Time,
    },
    /// The kernel refused it; the policy before it is still in force.
    Failed {
        /// Which policy.
        generation: u64,
        /// The kernel's message.
        error: String,
    },
    /// Applied and taken back.
    RolledBack {
        /// Which policy.
        generation: u64,
        /// Why.
        reason: String,
    },
}

/// The policy meant for a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HostFirewall {
    /// Counts the host's policies.
    pub generation: u64,
    /// How far the host is with it.
    pub status: ApplyStatus,
    /// Whether any firewall is in force; without one nothing is filtered.
    pub filtered: bool,
    /// What happens to inbound packets no rule decided.
    pub default_inbound: DefaultVerdict,
    /// What happens to outbound packets no rule decided.
    pub default_outbound: DefaultVerdict,
    /// In evaluation order.
    pub rules: Vec<EffectiveRule>,
}

/// A rule of a host's policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EffectiveRule {
    /// `guardrail`, `workspace`, `host` or `baseline`.
    pub layer: String,
    /// The firewall it came from.
    pub firewall: String,
    /// The rule.
    pub rule: Rule,
}

/// A packet to ask about: the first of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PacketQuery {
    /// Seen from the host.
    pub direction: RuleDirection,
    /// `tcp`, `udp`, `icmp`, `icmpv6` or an IP protocol number.
    pub protocol: String,
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes to.
    pub destination: IpAddr,
    /// Its destination port, for TCP and UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// What decides a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Explanation {
    /// What happens to it.
    pub verdict: DefaultVerdict,
    /// The deciding layer: `system`, `guardrail`, `workspace`, `host`, `baseline` or `default`.
    pub layer: String,
    /// The deciding rule's firewall; absent for the system layer and the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub firewall: Option<String>,
    /// The deciding rule; absent for the system layer and the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Rule>,
    /// A sentence.
    pub reason: String,
}
