//! What an organization's bindings say, at one revision: the whole input of its access decisions.

use std::collections::{HashMap, HashSet};

use loopback_protocol::id::{AccountId, OrganizationId};

use super::binding::Binding;
use super::permission::{Permission, PermissionSet};
use super::scope::ScopePath;

/// Members and bindings of one organization at one revision. Immutable: a change makes a new one.
#[derive(Debug, Clone)]
pub struct Snapshot {
    organization: OrganizationId,
    revision: u64,
    members: HashSet<AccountId>,
    bindings: HashMap<AccountId, Vec<Binding>>,
}

/// What somebody would give away without holding it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("you cannot give what you do not hold there yourself, nor for longer than you hold it: {}", .missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
pub struct Escalation {
    /// The permissions they lack at that scope, or will lack before the gift ends.
    pub missing: Vec<Permission>,
}

impl Snapshot {
    /// Gathers members and bindings. Bindings of non-members and of other organizations count for nothing.
    #[must_use]
    pub fn new(organization: OrganizationId, revision: u64, members: HashSet<AccountId>, all: Vec<Binding>) -> Self {
        let mut bindings: HashMap<AccountId, Vec<Binding>> = HashMap::new();
        for binding in all {
            if binding.scope.organization() == organization && members.contains(&binding.account) {
                bindings.entry(binding.account).or_default().push(binding);
            }
        }
        Self { organization, revision, members, bindings }
    }

    /// Whose it is.
    #[must_use]
    pub const fn organization(&self) -> OrganizationId {
        self.organization
    }

    /// Which change of the organization it reflects.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether the account belongs to the organization.
    #[must_use]
    pub fn is_member(&self, account: AccountId) -> bool {
        self.members.contains(&account)
    }

    /// The account's unexpired bindings.
    pub fn live_bindings(&self, account: AccountId, now_ms: u64) -> impl Iterator<Item = &Binding> {
        self.bindings.get(&account).into_iter().flatten().filter(move |binding| binding.is_live(now_ms))
    }

    /// Whether the account may do this there.
    #[must_use]
    pub fn allows(&self, account: AccountId, permission: Permission, scope: &ScopePath, now_ms: u64) -> bool {
        self.live_bindings(account, now_ms).any(|binding| binding.permissions.contains(permission) && binding.scope.contains(scope))
    }

    /// Everything the account may do there.
    #[must_use]
    pub fn permissions_at(&self, account: AccountId, scope: &ScopePath, now_ms: u64) -> PermissionSet {
        let reaching = self.live_bindings(account, now_ms).filter(|binding| binding.scope.contains(scope));
        reaching.fold(PermissionSet::EMPTY, |set, binding| set.union(&binding.permissions))
    }

    /// The places at, above or below `scope` where the account holds the permission.
    #[must_use]
    pub fn reach(&self, account: AccountId, permission: Permission, scope: &ScopePath, now_ms: u64) -> Vec<ScopePath> {
        let holding = self.live_bindings(account, now_ms).filter(|binding| binding.permissions.contains(permission));
        holding.map(|binding| binding.scope).filter(|held| held.contains(scope) || scope.contains(held)).collect()
    }

    /// Whether the account may hand these permissions on at that scope until then, or for good: the one rule for roles, bindings, keys and approvals.
    /// Who holds something for a while gives it for no longer, or they would keep it by giving it to themselves.
    ///
    /// # Errors
    /// Names what the account does not hold there itself for all that time.
    pub fn may_delegate(&self, account: AccountId, permissions: &PermissionSet, scope: &ScopePath, until_ms: Option<u64>) -> Result<(), Escalation> {
        // A binding has an end and no beginning: what holds at the last moment holds at every one before.
        let last_ms = until_ms.map_or(u64::MAX, |until| until.saturating_sub(1));
        let missing: Vec<_> = permissions.difference(&self.permissions_at(account, scope, last_ms)).iter().collect();
        if missing.is_empty() { Ok(()) } else { Err(Escalation { missing }) }
    }
}
