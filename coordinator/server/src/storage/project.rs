//! Projects.

use loopback_api::Time;
use loopback_api::project::Project;
use loopback_core::access::Grant;
use sqlx::AnyPool;
use sqlx::any::AnyRow;

use super::audit::signed;
use super::{StorageError, Tx, row};

/// Projects of the grant's organization, newest first, from before an id; the caller leaves out what its grant does not reach.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, before: &str, rows: i64) -> Result<Vec<Project>, StorageError> {
    let sql = "SELECT p.id, p.slug, p.name, p.created_at_ms, o.slug AS organization_slug FROM project p JOIN organization o ON o.id = p.organization \
        WHERE p.organization = $1 AND ($2 = '' OR p.id < $2) ORDER BY p.id DESC LIMIT $3";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(before.to_owned()).bind(rows).fetch_all(reader).await?;
    found.iter().map(project).collect()
}

/// The project the grant is for.
///
/// # Errors
/// The database fails.
pub(crate) async fn get(reader: &AnyPool, grant: &Grant) -> Result<Option<Project>, StorageError> {
    let Some(id) = grant.scope().project() else { return Ok(None) };
    let sql = "SELECT p.id, p.slug, p.name, p.created_at_ms, o.slug AS organization_slug FROM project p JOIN organization o ON o.id = p.organization \
        WHERE p.organization = $1 AND p.id = $2";
    let query = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string());
    query.fetch_optional(reader).await?.as_ref().map(project).transpose()
}

fn project(found: &AnyRow) -> Result<Project, StorageError> {
    Ok(Project {
        id: row::id(found, "id")?,
        path: format!("{}/{}", row::text(found, "organization_slug")?, row::text(found, "slug")?),
        name: row::text(found, "name")?,
        created_at: Time(row::number(found, "created_at_ms")?),
    })
}

/// Adds a project to the grant's organization, unless its slug is taken.
///
/// # Errors
/// The database fails.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, slug: &str, project: &Project) -> Result<bool, StorageError> {
    let sql = "INSERT INTO project (organization, id, slug, name, created_at_ms) VALUES ($1, $2, $3, $4, $5) ON CONFLICT (organization, slug) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(grant.scope().organization().to_string())
        .bind(project.id.to_string())
        .bind(slug.to_owned())
        .bind(project.name.clone())
        .bind(signed(project.created_at.0))
        .execute(tx.connection())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// How many workspaces the grant's project holds.
///
/// # Errors
/// The database fails.
pub(crate) async fn workspaces(tx: &mut Tx, grant: &Grant) -> Result<u64, StorageError> {
    let Some(id) = grant.scope().project() else { return Ok(0) };
    let sql = "SELECT COUNT(*) AS total FROM workspace WHERE organization = $1 AND project = $2";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).fetch_one(tx.connection()).await?;
    row::number(&found, "total")
}

/// Removes the grant's project and says whether it was there.
///
/// # Errors
/// The database fails, or the project holds workspaces.
pub(crate) async fn delete(tx: &mut Tx, grant: &Grant) -> Result<bool, StorageError> {
    let Some(id) = grant.scope().project() else { return Ok(false) };
    let sql = "DELETE FROM project WHERE organization = $1 AND id = $2";
    let done = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).execute(tx.connection()).await?;
    Ok(done.rows_affected() > 0)
}
