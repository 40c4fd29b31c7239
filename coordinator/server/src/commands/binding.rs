//! Giving and taking roles on scopes.

use loopback_api::Time;
use loopback_api::binding::{Binding, NewBinding};
use loopback_core::access::Permission;
use loopback_core::access::{Grant, OWNER, PermissionSet, ScopePath, Target};
use loopback_protocol::id::BindingId;

use super::{Refused, email, present};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::binding::NewRow;
use crate::storage::{Entry, Storage, StorageError, Tx, binding, member, resolve, role};

/// Gives a member a role on a scope: only where the grant reaches, only what the actor holds there, and for no longer.
///
/// # Errors
/// Fields, a permission the actor lacks there, or the same binding again.
pub async fn create(storage: &Storage, grant: &Grant, new: &NewBinding, entry: Entry) -> Result<Binding, Refused> {
    let (email, now) = (email(&new.email)?, now_ms());
    if new.expires_at.is_some_and(|expiry| expiry.0 <= now) {
        return Err(Refused::field("/expires_at", "this time is over"));
    }
    let mut tx = storage.begin().await?;
    let scope = place(&mut tx, grant, &new.scope).await?;
    let member = member::find(&mut tx, grant, &email).await?.ok_or_else(|| Refused::field("/email", "this is no member; `loopback member add` makes one"))?;
    let role = role::find(&mut tx, grant, &new.role).await?.ok_or_else(|| Refused::field("/role", "there is no such role; `loopback role list` names them"))?;
    let snapshot = present(&mut tx, grant).await?;
    if let Some(account) = grant.actor().account() {
        let permissions = role.permissions.iter().map(|name| name.parse::<Permission>()).collect::<Result<PermissionSet, _>>();
        snapshot.may_delegate(account, &permissions.map_err(|_| StorageError::Corrupt("permissions"))?, &scope, new.expires_at.map(|expiry| expiry.0))?;
    }
    if snapshot.live_bindings(member.account, now).any(|held| held.role == role.id && held.scope == scope && held.expires_at_ms == new.expires_at.map(|t| t.0))
    {
        return Err(Refused::Conflict(format!("{email} holds the role {} there already", role.slug)));
    }
    let row = NewRow { id: ids::fresh(), account: member.account, role: role.id, scope, expires_at_ms: new.expires_at.map(|time| time.0) };
    binding::insert(&mut tx, grant, &row, now).await?;
    let made = binding::find(&mut tx, grant, row.id).await?.ok_or(StorageError::Corrupt("binding"))?.binding;
    tx.bump_revision(scope.organization()).await?;
    tx.commit(entry.with_details(serde_json::json!({ "binding": made }))).await?;
    Ok(Binding { created_at: Time(now), ..made })
}

/// Takes a role on a scope away, wherever the grant reaches. What the role allowed need not be the actor's own: taking away gives nobody anything.
///
/// # Errors
/// There is no such binding, or it is the last that makes somebody an owner for good.
pub async fn delete(storage: &Storage, grant: &Grant, named: &str, entry: Entry) -> Result<(), Refused> {
    let missing = || Refused::missing("binding", named);
    let id: BindingId = named.parse().map_err(|_| missing())?;
    let mut tx = storage.begin().await?;
    let placed = binding::find(&mut tx, grant, id).await?.filter(|placed| grant.reaches(&placed.scope)).ok_or_else(missing)?;
    let owners = member::owners(tx.connection(), grant).await?;
    if let [(last, _)] = owners.as_slice()
        && *last == id
    {
        return Err(Refused::Conflict(format!("this makes {} the last {OWNER}; make somebody else an owner first", placed.binding.email)));
    }
    binding::delete(&mut tx, grant, id).await?;
    tx.bump_revision(grant.scope().organization()).await?;
    let target = format!("{}/{id}", placed.binding.scope);
    Ok(tx.commit(Entry { target, ..entry }.with_details(serde_json::json!({ "before": placed.binding }))).await?)
}

/// The scope a path names. What is not there and what the actor may not give roles in are told apart for nobody.
async fn place(tx: &mut Tx, grant: &Grant, path: &str) -> Result<ScopePath, Refused> {
    let segments: Vec<&str> = path.split('/').collect();
    match resolve::resolve(tx.connection(), &segments).await?.target {
        Target::Found(scope) if scope.organization() == grant.scope().organization() && grant.reaches(&scope) => Ok(scope),
        _ => Err(Refused::field("/scope", "there is no such place in this organization, or none where you may give roles")),
    }
}
