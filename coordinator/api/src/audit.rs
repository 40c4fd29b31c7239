//! The audit trail.

use loopback_core::access::{Key, Verb};
use loopback_core::audit::Outcome;
use loopback_protocol::id::EventId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::Page;
use crate::time::Time;

operations! {
    /// Lists the organization's audit events.
    ListAuditEvents "list_audit_events" Get "/v1/organizations/{organization}/audit/events", Access::Holds(Key::OrganizationAudit.may(Verb::Read)), "audit.list", AuditQuery, Nothing => Page<AuditEvent>;
    /// Proves that no event of the organization's trail was changed, moved or taken out from between others, or names the first that was.
    VerifyAudit "verify_audit" Get "/v1/organizations/{organization}/audit/verification", Access::Holds(Key::OrganizationAudit.may(Verb::Execute)), "audit.verify", Nothing, Nothing => AuditVerification;
}

/// Which events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditQuery {
    /// Only this action, or those under it: `firewall` finds `firewall.create`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Only on targets that begin with this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Only of actors with this name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// Only from this time on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Time>,
    /// At most this many items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// An event of the trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditEvent {
    /// Its id.
    #[schemars(with = "String")]
    pub id: EventId,
    /// Its place in the trail.
    pub sequence: u64,
    /// When.
    pub time: Time,
    /// Who: `account`, `token`, `host`, `console`, `system` or `anonymous`.
    pub actor_kind: String,
    /// Their name at that time.
    pub actor: String,
    /// From where.
    pub address: String,
    /// What.
    pub action: String,
    /// On what.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What changed, or why not.
    pub details: serde_json::Value,
    /// The request it came from.
    pub request_id: String,
    /// The link of the chain, in hexadecimal.
    pub hash: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditVerification {
    /// Whether the trail is whole.
    pub whole: bool,
    /// How many events were found whole.
    pub events: u64,
    /// The last whole link, in hexadecimal.
    pub head: String,
    /// The first event that is not as it was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}
