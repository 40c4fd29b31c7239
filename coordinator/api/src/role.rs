//! Roles: named sets of permissions.

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::RoleId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};

operations! {
    /// Lists the roles.
    ListRoles "list_roles" Get "/v1/organizations/{organization}/roles", Access::Holds(Key::OrganizationRole.may(Verb::Read)), "role.list", PageQuery, Nothing => Page<Role>;
    /// Makes a role of permissions one holds oneself.
    CreateRole "create_role" Post "/v1/organizations/{organization}/roles", Access::Holds(Key::OrganizationRole.may(Verb::Create)), "role.create", Nothing, NewRole => Role;
    /// Replaces a role's name and permissions; at once for all who hold it.
    UpdateRole "update_role" Put "/v1/organizations/{organization}/roles/{role}", Access::Holds(Key::OrganizationRole.may(Verb::Update)), "role.update", Nothing, NewRole => Role;
    /// Removes a role nobody holds.
    DeleteRole "delete_role" Delete "/v1/organizations/{organization}/roles/{role}", Access::Holds(Key::OrganizationRole.may(Verb::Delete)), "role.delete", Nothing, Nothing => Nothing;
}

/// A named set of permissions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Role {
    /// Its id.
    #[schemars(with = "String")]
    pub id: RoleId,
    /// Unique in the organization.
    pub slug: String,
    /// For people.
    pub name: String,
    /// What it allows, as `key:verb`.
    pub permissions: Vec<String>,
}

/// A role to make, or what to make of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRole {
    /// Unique in the organization.
    pub slug: String,
    /// For people; the slug when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it allows, as `key:verb`.
    pub permissions: Vec<String>,
}
