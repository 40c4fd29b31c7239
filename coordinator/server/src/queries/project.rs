//! Projects one may see.

use loopback_api::project::Project;
use loopback_api::{Page, PageQuery, Problem};
use loopback_core::access::{Grant, ScopePath};

use super::page;
use crate::storage::{Storage, project};

/// The projects of the grant's organization that it reaches.
///
/// # Errors
/// The cursor, or the database.
pub async fn list(storage: &Storage, grant: &Grant, query: &PageQuery) -> Result<Page<Project>, Problem> {
    let organization = grant.scope().organization();
    let visible = |project: &Project| grant.reaches(&ScopePath::Project(organization, project.id));
    page(query, |project| project.id, visible, |before, rows| async move { project::list(storage.reader(), grant, &before, rows).await }).await
}
