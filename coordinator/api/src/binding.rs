//! Bindings: a role on a scope, for an account.

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::{AccountId, BindingId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists the bindings one may see.
    ListBindings "list_bindings" Get "/v1/organizations/{organization}/bindings", Access::Reaches(Key::OrganizationMembership.may(Verb::Read)), "binding.list", PageQuery, Nothing => Page<Binding>;
    /// Gives a member a role on a scope; only what one holds there oneself.
    CreateBinding "create_binding" Post "/v1/organizations/{organization}/bindings", Access::Reaches(Key::OrganizationMembership.may(Verb::Update)), "binding.create", Nothing, NewBinding => Binding;
    /// Takes a role on a scope away; at once, also from open shells.
    DeleteBinding "delete_binding" Delete "/v1/organizations/{organization}/bindings/{binding}", Access::Reaches(Key::OrganizationMembership.may(Verb::Update)), "binding.delete", Nothing, Nothing => Nothing;
}

/// A role on a scope, for an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Binding {
    /// Its id.
    #[schemars(with = "String")]
    pub id: BindingId,
    /// Who holds it.
    #[schemars(with = "String")]
    pub account: AccountId,
    /// Their e-mail address.
    pub email: String,
    /// The role's slug.
    pub role: String,
    /// Where, as a path: `acme/prod/web`.
    pub scope: String,
    /// Until when; absent is for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
    /// Since when.
    pub created_at: Time,
}

/// A binding to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewBinding {
    /// The member's e-mail address.
    pub email: String,
    /// The role's slug or id.
    pub role: String,
    /// Where, as a path that begins with the organization.
    pub scope: String,
    /// Until when; for good when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Time>,
}
