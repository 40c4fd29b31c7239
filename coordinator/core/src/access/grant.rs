//! The decision, and the proof of it.

use super::actor::Actor;
use super::permission::{Key, Permission, Verb};
use super::scope::{ScopeKind, ScopePath};
use super::snapshot::Snapshot;
use crate::enroll::Admission;

/// The proof that an actor may do one thing in one place. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    actor: Actor,
    permission: Permission,
    scope: ScopePath,
    reach: Vec<ScopePath>,
}

/// What a request aims at, after its path was looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// It is there.
    Found(ScopePath),
    /// Nothing is there, at this level.
    Missing(ScopeKind),
}

/// Why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The actor may not know whether it exists.
    #[error("there is no such thing, or it is not yours to see")]
    NotFound,
    /// The actor may know of it and lacks this.
    #[error("this needs {0}")]
    Forbidden(Permission),
}

impl Grant {
    /// Whether the actor may do this there.
    ///
    /// # Errors
    /// [`Denied::NotFound`] for outsiders and for what the actor cannot see; [`Denied::Forbidden`] for what it sees, and for a member who holds the
    /// permission nowhere at all: that answer does not depend on whether the target exists.
    pub fn authorize(snapshot: &Snapshot, actor: Actor, permission: Permission, target: Target, now_ms: u64) -> Result<Self, Denied> {
        let account = actor.account().filter(|account| snapshot.is_member(*account)).ok_or(Denied::NotFound)?;
        if let Target::Found(scope) = target
            && snapshot.allows(account, permission, &scope, now_ms)
        {
            return Ok(Self { actor, permission, scope, reach: vec![scope] });
        }
        let organization = ScopePath::Organization(snapshot.organization());
        let holds_it_somewhere = !snapshot.reach(account, permission, &organization, now_ms).is_empty();
        let sees = matches!(target, Target::Found(scope) if scope == organization || is_visible(snapshot, account, &scope, now_ms));
        Err(if sees || !holds_it_somewhere { Denied::Forbidden(permission) } else { Denied::NotFound })
    }

    /// Whether the actor may list what lies under a place: it may if it holds the permission there, above, or somewhere below; [`Grant::reaches`]
    /// then tells which rows are its to see.
    ///
    /// # Errors
    /// As [`Grant::authorize`].
    pub fn authorize_list(snapshot: &Snapshot, actor: Actor, permission: Permission, target: Target, now_ms: u64) -> Result<Self, Denied> {
        if let (Some(account), Target::Found(scope)) = (actor.account(), target) {
            let reach = snapshot.reach(account, permission, &scope, now_ms);
            if !reach.is_empty() {
                return Ok(Self { actor, permission, scope, reach });
            }
        }
        Self::authorize(snapshot, actor, permission, target, now_ms)
    }

    /// For whoever runs the coordinator's own command line: possession of its state directory is the proof.
    #[must_use]
    pub fn of_console(permission: Permission, scope: ScopePath) -> Self {
        Self { actor: Actor::Console, permission, scope, reach: vec![scope] }
    }

    /// For the coordinator's own duties on one scope: an expiry, a limit, a lost host.
    #[must_use]
    pub fn of_system(permission: Permission, scope: ScopePath) -> Self {
        Self { actor: Actor::System, permission, scope, reach: vec![scope] }
    }

    /// For a machine whose token was admitted: it may create one host in the token's workspace.
    #[must_use]
    pub fn of_admission(admission: &Admission) -> Self {
        let scope = admission.workspace();
        let permission = Key::ProjectWorkspaceHost.may(Verb::Create);
        Self { actor: Actor::Token { token: admission.token() }, permission, scope, reach: vec![scope] }
    }

    /// Who acts.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        self.actor
    }

    /// What was asked and granted.
    #[must_use]
    pub const fn permission(&self) -> Permission {
        self.permission
    }

    /// Where.
    #[must_use]
    pub const fn scope(&self) -> &ScopePath {
        &self.scope
    }

    /// Whether a row at `scope` is the actor's to see.
    #[must_use]
    pub fn reaches(&self, scope: &ScopePath) -> bool {
        self.reach.iter().any(|held| held.contains(scope))
    }
}

/// A place is visible to who may read it, and to who holds anything at or inside it.
fn is_visible(snapshot: &Snapshot, account: loopback_protocol::id::AccountId, scope: &ScopePath, now_ms: u64) -> bool {
    let read = match scope.kind() {
        ScopeKind::Organization => Key::Organization.may(Verb::Read),
        ScopeKind::Project => Key::OrganizationProject.may(Verb::Read),
        ScopeKind::Workspace => Key::ProjectWorkspace.may(Verb::Read),
        ScopeKind::Host => Key::ProjectWorkspaceHost.may(Verb::Read),
    };
    snapshot.allows(account, read, scope, now_ms) || snapshot.live_bindings(account, now_ms).any(|binding| scope.contains(&binding.scope))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use loopback_protocol::id::{AccountId, Id};

    use super::super::binding::Binding;
    use super::super::permission::{Key, Permission, Verb};
    use super::super::scope::{ScopeKind, ScopePath};
    use super::super::snapshot::Snapshot;
    use super::{Actor, Denied, Grant, Target};

    const HOST_READ: Permission = Key::ProjectWorkspaceHost.may(Verb::Read);
    const SHELL: Permission = Key::ProjectWorkspaceHostShellSession.may(Verb::Execute);

    fn account(n: u8) -> AccountId {
        Id::new(1, [n; 10])
    }

    fn actor(n: u8) -> Actor {
        Actor::Account { account: account(n), key: Id::new(1, [n; 10]) }
    }

    fn workspace(n: u8) -> ScopePath {
        ScopePath::Workspace(Id::new(1, [1; 10]), Id::new(1, [n; 10]), Id::new(1, [n; 10]))
    }

    fn host(n: u8) -> ScopePath {
        ScopePath::Host(Id::new(1, [1; 10]), Id::new(1, [n; 10]), Id::new(1, [n; 10]), Id::new(1, [n; 10]))
    }

    /// Account 1 holds nothing, account 2 reads hosts in workspace 1, account 3 opens shells there until time 100.
    fn snapshot() -> Snapshot {
        let binding = |n, permissions: &[Permission], expires_at_ms| Binding {
            id: Id::new(1, [n; 10]),
            account: account(n),
            role: Id::new(1, [n; 10]),
            scope: workspace(1),
            permissions: permissions.iter().copied().collect(),
            expires_at_ms,
        };
        let members = HashSet::from([account(1), account(2), account(3)]);
        let all = vec![binding(2, &[HOST_READ], None), binding(3, &[HOST_READ, SHELL], Some(100)), binding(9, &[HOST_READ], None)];
        Snapshot::new(Id::new(1, [1; 10]), 1, members, all)
    }

    fn check(n: u8, permission: Permission, target: Target, now_ms: u64, expected: Result<(), Denied>) {
        assert_eq!(Grant::authorize(&snapshot(), actor(n), permission, target, now_ms).map(|_| ()), expected);
    }

    #[test]
    fn a_binding_reaches_what_lies_below_it_until_it_expires() {
        check(3, SHELL, Target::Found(host(1)), 99, Ok(()));
        check(3, SHELL, Target::Found(host(1)), 100, Err(Denied::Forbidden(SHELL)));
        check(3, SHELL, Target::Found(host(2)), 99, Err(Denied::NotFound));
    }

    #[test]
    fn an_outsider_learns_nothing_and_neither_does_who_is_no_member_any_more() {
        for target in [Target::Found(host(1)), Target::Missing(ScopeKind::Host), Target::Found(ScopePath::Organization(Id::new(1, [1; 10])))] {
            check(9, HOST_READ, target, 0, Err(Denied::NotFound));
            check(8, HOST_READ, target, 0, Err(Denied::NotFound));
        }
    }

    #[test]
    fn a_member_without_the_permission_gets_the_same_answer_for_what_exists_and_what_does_not() {
        check(1, SHELL, Target::Found(host(1)), 0, Err(Denied::Forbidden(SHELL)));
        check(1, SHELL, Target::Missing(ScopeKind::Host), 0, Err(Denied::Forbidden(SHELL)));
        check(2, HOST_READ, Target::Found(host(2)), 0, Err(Denied::NotFound));
        check(2, HOST_READ, Target::Missing(ScopeKind::Host), 0, Err(Denied::NotFound));
    }

    #[test]
    fn what_is_seen_but_not_allowed_is_forbidden() {
        check(2, SHELL, Target::Found(host(1)), 0, Err(Denied::Forbidden(SHELL)));
        check(2, Key::ProjectWorkspace.may(Verb::Update), Target::Found(workspace(1)), 0, Err(Denied::Forbidden(Key::ProjectWorkspace.may(Verb::Update))));
    }

    #[test]
    fn a_list_shows_what_is_reached_and_nothing_beside_it() {
        let organization = Target::Found(ScopePath::Organization(Id::new(1, [1; 10])));
        let grant = Grant::authorize_list(&snapshot(), actor(2), HOST_READ, organization, 0).unwrap();
        assert!(grant.reaches(&host(1)));
        assert!(!grant.reaches(&host(2)));
        assert!(Grant::authorize_list(&snapshot(), actor(1), HOST_READ, organization, 0).is_err());
    }

    #[test]
    fn nobody_gives_what_they_do_not_hold() {
        let shell = [SHELL].into_iter().collect();
        assert!(snapshot().may_delegate(account(3), &shell, &host(1), Some(50)).is_ok());
        assert_eq!(snapshot().may_delegate(account(2), &shell, &host(1), Some(50)).unwrap_err().missing, [SHELL]);
        assert!(snapshot().may_delegate(account(3), &shell, &ScopePath::Organization(Id::new(1, [1; 10])), Some(50)).is_err());
    }

    #[test]
    fn nobody_gives_for_longer_than_they_hold() {
        let (shell, read) = ([SHELL].into_iter().collect(), [HOST_READ].into_iter().collect());
        assert!(snapshot().may_delegate(account(3), &shell, &host(1), Some(100)).is_ok());
        for until_ms in [Some(101), None] {
            assert_eq!(snapshot().may_delegate(account(3), &shell, &host(1), until_ms).unwrap_err().missing, [SHELL], "{until_ms:?}");
        }
        assert!(snapshot().may_delegate(account(2), &read, &host(1), None).is_ok());
    }
}
