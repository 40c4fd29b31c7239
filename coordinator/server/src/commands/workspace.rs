//! Making and removing workspaces.

use loopback_api::Time;
use loopback_api::workspace::{NewWorkspace, Workspace};
use loopback_core::access::Grant;
use loopback_core::tenancy::LimitKind;

use super::{Refused, admit_creation, name, slug};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::{Entry, Storage, binding, workspace};

/// Makes a workspace at `path` in the grant's project.
///
/// # Errors
/// Fields, status, limit, or a slug that is taken.
pub async fn create(storage: &Storage, grant: &Grant, path: String, new: &NewWorkspace, entry: Entry) -> Result<Workspace, Refused> {
    let slug = slug(&new.slug)?;
    let workspace = Workspace { id: ids::fresh(), path, name: name(new.name.as_deref(), slug.as_str())?, created_at: Time(now_ms()) };
    let mut tx = storage.begin().await?;
    admit_creation(&mut tx, grant, LimitKind::Workspaces, 1).await?;
    if !workspace::insert(&mut tx, grant, slug.as_str(), &workspace).await? {
        return Err(Refused::Conflict(format!("there is a workspace {} already", workspace.path)));
    }
    tx.commit(entry.with_details(serde_json::json!({ "id": workspace.id, "name": workspace.name }))).await?;
    Ok(workspace)
}

/// Removes the grant's workspace with its firewalls, its tokens and the bindings on it.
///
/// # Errors
/// It still holds hosts, or is gone.
pub async fn delete(storage: &Storage, grant: &Grant, path: &str, entry: Entry) -> Result<(), Refused> {
    let mut tx = storage.begin().await?;
    let hosts = workspace::hosts(&mut tx, grant).await?;
    if hosts > 0 {
        return Err(Refused::Conflict(format!("{path} holds {hosts} hosts; remove them first")));
    }
    binding::delete_at(&mut tx, grant).await?;
    if !workspace::delete(&mut tx, grant).await? {
        return Err(Refused::missing("workspace", path));
    }
    tx.bump_revision(grant.scope().organization()).await?;
    Ok(tx.commit(entry).await?)
}
