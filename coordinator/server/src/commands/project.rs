//! Making and removing projects.

use loopback_api::Time;
use loopback_api::project::{NewProject, Project};
use loopback_core::access::Grant;
use loopback_core::tenancy::LimitKind;

use super::{Refused, admit_creation, name, slug};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::{Entry, Storage, binding, project};

/// Makes a project at `path` in the grant's organization.
///
/// # Errors
/// Fields, status, limit, or a slug that is taken.
pub async fn create(storage: &Storage, grant: &Grant, path: String, new: &NewProject, entry: Entry) -> Result<Project, Refused> {
    let slug = slug(&new.slug)?;
    let project = Project { id: ids::fresh(), path, name: name(new.name.as_deref(), slug.as_str())?, created_at: Time(now_ms()) };
    let mut tx = storage.begin().await?;
    admit_creation(&mut tx, grant, LimitKind::Projects, 1).await?;
    if !project::insert(&mut tx, grant, slug.as_str(), &project).await? {
        return Err(Refused::Conflict(format!("there is a project {} already", project.path)));
    }
    tx.commit(entry.with_details(serde_json::json!({ "id": project.id, "name": project.name }))).await?;
    Ok(project)
}

/// Removes the grant's project, and the bindings on it.
///
/// # Errors
/// It still holds workspaces, or is gone.
pub async fn delete(storage: &Storage, grant: &Grant, path: &str, entry: Entry) -> Result<(), Refused> {
    let mut tx = storage.begin().await?;
    let workspaces = project::workspaces(&mut tx, grant).await?;
    if workspaces > 0 {
        return Err(Refused::Conflict(format!("{path} holds {workspaces} workspaces; remove them first")));
    }
    binding::delete_at(&mut tx, grant).await?;
    if !project::delete(&mut tx, grant).await? {
        return Err(Refused::missing("project", path));
    }
    tx.bump_revision(grant.scope().organization()).await?;
    Ok(tx.commit(entry).await?)
}
