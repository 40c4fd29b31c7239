//! API keys: credentials that act as their account.

use loopback_protocol::id::KeyId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists one's own API keys and sessions, without their secrets.
    ListKeys "list_keys" Get "/v1/account/keys", Access::Account, "key.list", PageQuery, Nothing => Page<ApiKey>;
    /// Makes an API key and shows its secret once.
    CreateKey "create_key" Post "/v1/account/keys", Access::Account, "key.create", Nothing, NewKey => MintedKey;
    /// Revokes one of one's own API keys or sessions, at once.
    RevokeKey "revoke_key" Delete "/v1/account/keys/{key}", Access::Account, "key.revoke", Nothing, Nothing => Nothing;
}

/// What a credential came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum KeyKind {
    /// Signing in.
    Session,
    /// Being made for a program.
    Api,
}

/// A credential of an account, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiKey {
    /// Its id.
    #[schemars(with = "String")]
    pub id: KeyId,
    /// What it came from.
    pub kind: KeyKind,
    /// For people.
    pub description: String,
    /// Since when it exists.
    pub created_at: Time,
    /// Until when it holds.
    pub expires_at: Time,
    /// When it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_at: Option<Time>,
    /// From where it was last used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_from: Option<String>,
}

/// An API key to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewKey {
    /// For people.
    pub description: String,
    /// Its life in seconds: 90 days when left out, 365 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_seconds: Option<u64>,
}

/// A new API key: the only time its secret is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MintedKey {
    /// The key.
    pub key: ApiKey,
    /// `lbk_…`; send it as `Authorization: Bearer`.
    pub secret: String,
}

impl std::fmt::Debug for MintedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedKey").field("key", &self.key).finish_non_exhaustive()
    }
}
