//! Workspaces: the environments hosts live in.

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::WorkspaceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists the workspaces of a project that one may see.
    ListWorkspaces "list_workspaces" Get "/v1/organizations/{organization}/projects/{project}/workspaces", Access::Reaches(Key::ProjectWorkspace.may(Verb::Read)), "workspace.list", PageQuery, Nothing => Page<Workspace>;
    /// Makes a workspace.
    CreateWorkspace "create_workspace" Post "/v1/organizations/{organization}/projects/{project}/workspaces", Access::Holds(Key::ProjectWorkspace.may(Verb::Create)), "workspace.create", Nothing, NewWorkspace => Workspace;
    /// Shows a workspace.
    GetWorkspace "get_workspace" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}", Access::Holds(Key::ProjectWorkspace.may(Verb::Read)), "workspace.read", Nothing, Nothing => Workspace;
    /// Removes a workspace that holds no host.
    DeleteWorkspace "delete_workspace" Delete "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}", Access::Holds(Key::ProjectWorkspace.may(Verb::Delete)), "workspace.delete", Nothing, Nothing => Nothing;
}

/// An environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Workspace {
    /// Its id.
    #[schemars(with = "String")]
    pub id: WorkspaceId,
    /// `acme/prod/web`.
    pub path: String,
    /// For people.
    pub name: String,
    /// Since when it exists.
    pub created_at: Time,
}

/// A workspace to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewWorkspace {
    /// Unique in the project.
    pub slug: String,
    /// For people; the slug when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
