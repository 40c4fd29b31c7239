//! Hosts: Linux machines with an agent.

use std::net::IpAddr;

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::HostId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists the hosts of an organization that one may see.
    ListOrganizationHosts "list_organization_hosts" Get "/v1/organizations/{organization}/hosts", Access::Reaches(Key::ProjectWorkspaceHost.may(Verb::Read)), "host.list", PageQuery, Nothing => Page<Host>;
    /// Lists the hosts of a workspace that one may see.
    ListHosts "list_hosts" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts", Access::Reaches(Key::ProjectWorkspaceHost.may(Verb::Read)), "host.list", PageQuery, Nothing => Page<Host>;
    /// Shows a host.
    GetHost "get_host" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts/{host}", Access::Holds(Key::ProjectWorkspaceHost.may(Verb::Read)), "host.read", Nothing, Nothing => Host;
    /// Removes a host: its certificate is revoked and its link closed at once.
    RemoveHost "remove_host" Delete "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts/{host}", Access::Holds(Key::ProjectWorkspaceHost.may(Verb::Delete)), "host.remove", Nothing, Nothing => Nothing;
}

/// How a host's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HostState {
    /// Linked, every module healthy.
    Online,
    /// Linked, and a module fails or its identity is claimed twice; `problems` says so.
    Degraded,
    /// No link.
    Offline,
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Host {
    /// Its id.
    #[schemars(with = "String")]
    pub id: HostId,
    /// `acme/prod/web/host-1`.
    pub path: String,
    /// How its connection is.
    pub state: HostState,
    /// What is wrong, in sentences.
    pub problems: Vec<String>,
    /// When it was last heard of; absent until it first was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_seen_at: Option<Time>,
    /// What it calls itself.
    pub hostname: String,
    /// Its operating system.
    pub os: String,
    /// Its kernel's release.
    pub kernel: String,
    /// Its architecture.
    pub architecture: String,
    /// Its global addresses.
    pub addresses: Vec<IpAddr>,
    /// Its agent's version.
    pub agent_version: String,
    /// Since when it exists.
    pub created_at: Time,
}
