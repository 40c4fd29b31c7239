//! Making, changing and removing roles.

use loopback_api::FieldError;
use loopback_api::role::{NewRole, Role};
use loopback_core::access::{Grant, OWNER, Permission, PermissionSet, ScopePath};

use super::{Refused, name, present, slug};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::{Entry, Storage, Tx, role};

/// Makes a role of permissions the actor holds in the whole organization.
///
/// # Errors
/// Fields, a slug that is taken, or a permission the actor lacks.
pub async fn create(storage: &Storage, grant: &Grant, new: &NewRole, entry: Entry) -> Result<Role, Refused> {
    let (role, permissions) = read(new, ids::fresh())?;
    let mut tx = storage.begin().await?;
    may_hand_on(&mut tx, grant, &permissions).await?;
    if role::find(&mut tx, grant, &role.slug).await?.is_some() {
        return Err(Refused::Conflict(format!("there is a role {} already", role.slug)));
    }
    role::insert(&mut tx, grant, &role, now_ms()).await?;
    tx.bump_revision(grant.scope().organization()).await?;
    tx.commit(entry.with_details(serde_json::json!({ "id": role.id, "permissions": role.permissions }))).await?;
    Ok(role)
}

/// Replaces a role. The actor must hold, in the whole organization, what it allowed before and what it will allow: one who could take away what they do
/// not hold could disarm those above them.
///
/// # Errors
/// Fields, no such role, the owner's role, a slug that is taken, or a permission the actor lacks.
pub async fn update(storage: &Storage, grant: &Grant, named: &str, new: &NewRole, entry: Entry) -> Result<Role, Refused> {
    let mut tx = storage.begin().await?;
    let before = role::find(&mut tx, grant, named).await?.ok_or_else(|| Refused::missing("role", named))?;
    if before.slug == OWNER {
        return Err(Refused::Conflict("the owner's role holds everything and cannot be changed; make another role".to_owned()));
    }
    let (role, permissions) = read(new, before.id)?;
    may_hand_on(&mut tx, grant, &permissions.union(&set(&before.permissions)?)).await?;
    if role.slug != before.slug && role::find(&mut tx, grant, &role.slug).await?.is_some() {
        return Err(Refused::Conflict(format!("there is a role {} already", role.slug)));
    }
    role::update(&mut tx, grant, &role).await?;
    tx.bump_revision(grant.scope().organization()).await?;
    tx.commit(entry.with_details(serde_json::json!({ "before": before, "after": role }))).await?;
    Ok(role)
}

/// Removes a role that no binding uses.
///
/// # Errors
/// No such role, the owner's role, or one in use.
pub async fn delete(storage: &Storage, grant: &Grant, named: &str, entry: Entry) -> Result<(), Refused> {
    let mut tx = storage.begin().await?;
    let role = role::find(&mut tx, grant, named).await?.ok_or_else(|| Refused::missing("role", named))?;
    if role.slug == OWNER {
        return Err(Refused::Conflict("the owner's role cannot be removed".to_owned()));
    }
    let holders = role::holders(tx.connection(), grant, role.id).await?;
    if holders > 0 {
        return Err(Refused::Conflict(format!("{holders} bindings use the role {}; delete them first", role.slug)));
    }
    role::delete(&mut tx, grant, role.id).await?;
    tx.bump_revision(grant.scope().organization()).await?;
    Ok(tx.commit(entry.with_details(serde_json::json!({ "before": role }))).await?)
}

fn read(new: &NewRole, id: loopback_protocol::id::RoleId) -> Result<(Role, PermissionSet), Refused> {
    let slug = slug(&new.slug)?;
    let name = name(new.name.as_deref(), slug.as_str())?;
    let permissions = set(&new.permissions)?;
    // In the catalogue's order and each once, however they were written.
    let names = permissions.iter().map(|permission| permission.to_string()).collect();
    Ok((Role { id, slug: slug.as_str().to_owned(), name, permissions: names }, permissions))
}

fn set(names: &[String]) -> Result<PermissionSet, Refused> {
    let (mut set, mut faults) = (PermissionSet::EMPTY, Vec::new());
    for (position, name) in names.iter().enumerate() {
        match name.parse::<Permission>() {
            Ok(permission) => set.insert(permission),
            Err(unknown) => faults.push(FieldError { pointer: format!("/permissions/{position}"), reason: unknown.to_string() }),
        }
    }
    if faults.is_empty() { Ok(set) } else { Err(Refused::Invalid(faults)) }
}

/// A role has no end, and whoever is bound to it holds it for as long: who holds a permission for a while can put it into none.
async fn may_hand_on(tx: &mut Tx, grant: &Grant, permissions: &PermissionSet) -> Result<(), Refused> {
    // The console stands above bindings: whoever holds the state directory holds everything in it.
    let Some(account) = grant.actor().account() else { return Ok(()) };
    let everywhere = ScopePath::Organization(grant.scope().organization());
    Ok(present(tx, grant).await?.may_delegate(account, permissions, &everywhere, None)?)
}
