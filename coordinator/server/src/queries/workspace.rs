//! Workspaces one may see.

use loopback_api::workspace::Workspace;
use loopback_api::{Page, PageQuery, Problem};
use loopback_core::access::{Grant, ScopePath};

use super::page;
use crate::storage::{Storage, workspace};

/// The workspaces of the grant's project that it reaches.
///
/// # Errors
/// The cursor, or the database.
pub async fn list(storage: &Storage, grant: &Grant, query: &PageQuery) -> Result<Page<Workspace>, Problem> {
    let scope = *grant.scope();
    let visible =
        |workspace: &Workspace| scope.project().is_some_and(|project| grant.reaches(&ScopePath::Workspace(scope.organization(), project, workspace.id)));
    page(query, |workspace| workspace.id, visible, |before, rows| async move { workspace::list(storage.reader(), grant, &before, rows).await }).await
}
