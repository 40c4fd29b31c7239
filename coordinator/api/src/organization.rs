//! Organizations: the tenants.

use loopback_core::access::{Key, Verb};
use loopback_core::tenancy::{Limits, State, Verification};
use loopback_protocol::id::OrganizationId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists the organizations one belongs to.
    ListOrganizations "list_organizations" Get "/v1/organizations", Access::Account, "organization.list", PageQuery, Nothing => Page<Organization>;
    /// Shows an organization.
    GetOrganization "get_organization" Get "/v1/organizations/{organization}", Access::Holds(Key::Organization.may(Verb::Read)), "organization.read", Nothing, Nothing => Organization;
    /// Renames an organization.
    UpdateOrganization "update_organization" Patch "/v1/organizations/{organization}", Access::Holds(Key::Organization.may(Verb::Update)), "organization.update", Nothing, OrganizationUpdate => Organization;
}

/// A tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Organization {
    /// Its id.
    #[schemars(with = "String")]
    pub id: OrganizationId,
    /// Unique on the coordinator.
    pub slug: String,
    /// For people.
    pub name: String,
    /// Whether it has been checked.
    pub verification: Verification,
    /// Its life cycle.
    pub state: State,
    /// What it may hold.
    pub limits: Limits,
    /// Since when it exists.
    pub created_at: Time,
}

/// What can be changed of an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OrganizationUpdate {
    /// For people.
    pub name: String,
}
