//! Members: the accounts that belong to an organization.

use loopback_core::access::{Key, Verb};
use loopback_protocol::id::{AccountId, MembershipId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::page::{Page, PageQuery};
use crate::time::Time;

operations! {
    /// Lists the members.
    ListMembers "list_members" Get "/v1/organizations/{organization}/members", Access::Holds(Key::OrganizationMembership.may(Verb::Read)), "member.list", PageQuery, Nothing => Page<Member>;
    /// Makes an existing account a member, without any role yet.
    AddMember "add_member" Post "/v1/organizations/{organization}/members", Access::Holds(Key::OrganizationMembership.may(Verb::Create)), "member.add", Nothing, NewMember => Member;
    /// Removes a member and every role they hold.
    RemoveMember "remove_member" Delete "/v1/organizations/{organization}/members/{member}", Access::Holds(Key::OrganizationMembership.may(Verb::Delete)), "member.remove", Nothing, Nothing => Nothing;
}

/// An account's place in an organization.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Its id.
    #[schemars(with = "String")]
    pub id: MembershipId,
    /// The account.
    #[schemars(with = "String")]
    pub account: AccountId,
    /// Its e-mail address.
    pub email: String,
    /// Its name.
    pub name: String,
    /// Since when they belong.
    pub created_at: Time,
}

/// A member to add.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMember {
    /// An existing account's e-mail address.
    pub email: String,
}
