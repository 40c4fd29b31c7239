//! Agent tokens: what lets machines join a workspace.

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::AgentTokenId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists a workspace's agent tokens, without their secrets.
    ListTokens "list_tokens" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/tokens", Access::Holds(Key::ProjectWorkspaceAgentToken.may(Verb::Read)), "agent_token.list", PageQuery, Nothing => Page<Token>;
    /// Mints an agent token and shows its install line once.
    CreateToken "create_token" Post "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/tokens", Access::Holds(Key::ProjectWorkspaceAgentToken.may(Verb::Create)), "agent_token.create", Nothing, NewToken => MintedToken;
    /// Revokes an agent token; hosts that joined with it stay.
    RevokeToken "revoke_token" Delete "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/tokens/{token}", Access::Holds(Key::ProjectWorkspaceAgentToken.may(Verb::Delete)), "agent_token.revoke", Nothing, Nothing => Nothing;
}

/// How a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// It admits hosts.
    Active,
    /// Its time is over.
    Expired,
    /// Its uses are used.
    Spent,
    /// Somebody took it back.
    Revoked,
}

/// A token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Token {
    /// Its id.
    #[schemars(with = "String")]
    pub id: AgentTokenId,
    /// For people.
    pub description: String,
    /// How it is.
    pub state: TokenState,
    /// How many hosts it may admit.
    pub max_uses: u32,
    /// How many it has admitted.
    pub uses: u32,
    /// Until when it admits hosts.
    pub expires_at: Time,
    /// When it was minted.
    pub created_at: Time,
    /// By whom.
    pub created_by: String,
}

/// A token to mint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// For people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Its life in seconds: an hour when left out, 365 days at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub life_seconds: Option<u64>,
    /// How many hosts it may admit: one when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_uses: Option<u32>,
}

/// A minted token: the only time its secret is shown.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MintedToken {
    /// The token.
    pub token: Token,
    /// `lbt_….<CA fingerprint>`: what `loopback-agent join` takes.
    pub join: String,
    /// The line that installs the agent and joins.
    pub install: String,
}

impl std::fmt::Debug for MintedToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MintedToken").field("token", &self.token).finish_non_exhaustive()
    }
}
