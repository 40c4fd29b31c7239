//! Projects: governance boundaries inside an organization.

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::ProjectId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists the projects one may see.
    ListProjects "list_projects" Get "/v1/organizations/{organization}/projects", Access::Reaches(Key::OrganizationProject.may(Verb::Read)), "project.list", PageQuery, Nothing => Page<Project>;
    /// Makes a project.
    CreateProject "create_project" Post "/v1/organizations/{organization}/projects", Access::Holds(Key::OrganizationProject.may(Verb::Create)), "project.create", Nothing, NewProject => Project;
    /// Shows a project.
    GetProject "get_project" Get "/v1/organizations/{organization}/projects/{project}", Access::Holds(Key::OrganizationProject.may(Verb::Read)), "project.read", Nothing, Nothing => Project;
    /// Removes a project that holds no workspace.
    DeleteProject "delete_project" Delete "/v1/organizations/{organization}/projects/{project}", Access::Holds(Key::OrganizationProject.may(Verb::Delete)), "project.delete", Nothing, Nothing => Nothing;
}

/// A governance boundary.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Project {
    /// Its id.
    #[schemars(with = "String")]
    pub id: ProjectId,
    /// `acme/prod`.
    pub path: String,
    /// For people.
    pub name: String,
    /// Since when it exists.
    pub created_at: Time,
}

/// A project to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewProject {
    /// Unique in the organization.
    pub slug: String,
    /// For people; the slug when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}
