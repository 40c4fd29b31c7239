//! Accounts: signing in, and who one is.

use loopback_protocol::id::{AccountId, KeyId, OrganizationId};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::time::Time;

operations! {
    /// Signs in with a password.
    Login "login" Post "/v1/login", Access::Public, "account.login", Nothing, LoginRequest => LoginAnswer;
    /// Ends the session this request is made with.
    Logout "logout" Post "/v1/logout", Access::Account, "account.logout", Nothing, Nothing => Nothing;
    /// Tells who is signed in, and where they may go.
    WhoAmI "who_am_i" Get "/v1/account", Access::Account, "account.read", Nothing, Nothing => Identity;
}

/// An e-mail address and its password.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoginRequest {
    /// The account's e-mail address.
    pub email: String,
    /// Its password.
    pub password: String,
}

impl std::fmt::Debug for LoginRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginRequest").field("email", &self.email).finish_non_exhaustive()
    }
}

/// A session's credential, shown once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub struct LoginAnswer {
    /// `lbk_…`; send it as `Authorization: Bearer`.
    pub secret: String,
    /// Its id.
    #[schemars(with = "String")]
    pub key: KeyId,
    /// Until when it holds.
    pub expires_at: Time,
    /// Who signed in.
    pub identity: Identity,
}

impl std::fmt::Debug for LoginAnswer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LoginAnswer").field("key", &self.key).field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// Who is signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Identity {
    /// The account.
    #[schemars(with = "String")]
    pub account: AccountId,
    /// Its e-mail address.
    pub email: String,
    /// Its name.
    pub name: String,
    /// The organizations it belongs to.
    pub organizations: Vec<IdentityOrganization>,
}

/// An organization one belongs to, and what one may do in all of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct IdentityOrganization {
    /// Its id.
    #[schemars(with = "String")]
    pub id: OrganizationId,
    /// Its slug.
    pub slug: String,
    /// The slugs of the roles one holds anywhere in it.
    pub roles: Vec<String>,
}
