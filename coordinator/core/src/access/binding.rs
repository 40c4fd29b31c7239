//! A role on a scope, for an account, optionally until a time.

use loopback_protocol::id::{AccountId, BindingId, RoleId};

use super::permission::PermissionSet;
use super::scope::ScopePath;

/// A role on a scope, with the role's permissions resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// Its id.
    pub id: BindingId,
    /// Who holds it.
    pub account: AccountId,
    /// The role it puts there.
    pub role: RoleId,
    /// Where it holds, and below.
    pub scope: ScopePath,
    /// What the role allows.
    pub permissions: PermissionSet,
    /// From when it no longer holds, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

impl Binding {
    /// Whether it still holds.
    #[must_use]
    pub fn is_live(&self, now_ms: u64) -> bool {
        self.expires_at_ms.is_none_or(|expiry| now_ms < expiry)
    }
}
