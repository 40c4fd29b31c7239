//! Workspaces.

use loopback_api::Time;
use loopback_api::workspace::Workspace;
use loopback_core::access::Grant;
use sqlx::AnyPool;
use sqlx::any::AnyRow;

use super::audit::signed;
use super::{StorageError, Tx, row};

/// Workspaces of the grant's project, newest first, from before an id; the caller leaves out what its grant does not reach.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, before: &str, rows: i64) -> Result<Vec<Workspace>, StorageError> {
    let Some(project) = grant.scope().project() else { return Ok(Vec::new()) };
    let sql = "SELECT w.id, w.slug, w.name, w.created_at_ms, p.slug AS project_slug, o.slug AS organization_slug FROM workspace w \
        JOIN project p ON p.organization = w.organization AND p.id = w.project JOIN organization o ON o.id = w.organization \
        WHERE w.organization = $1 AND w.project = $2 AND ($3 = '' OR w.id < $3) ORDER BY w.id DESC LIMIT $4";
    let query = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(project.to_string()).bind(before.to_owned()).bind(rows);
    query.fetch_all(reader).await?.iter().map(workspace).collect()
}

/// The workspace the grant is for.
///
/// # Errors
/// The database fails.
pub(crate) async fn get(reader: &AnyPool, grant: &Grant) -> Result<Option<Workspace>, StorageError> {
    let Some(id) = grant.scope().workspace() else { return Ok(None) };
    let sql = "SELECT w.id, w.slug, w.name, w.created_at_ms, p.slug AS project_slug, o.slug AS organization_slug FROM workspace w \
        JOIN project p ON p.organization = w.organization AND p.id = w.project JOIN organization o ON o.id = w.organization \
        WHERE w.organization = $1 AND w.id = $2";
    let query = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string());
    query.fetch_optional(reader).await?.as_ref().map(workspace).transpose()
}

fn workspace(found: &AnyRow) -> Result<Workspace, StorageError> {
    let path = ["organization_slug", "project_slug", "slug"].map(|column| row::text(found, column)).into_iter().collect::<Result<Vec<_>, _>>()?;
    Ok(Workspace { id: row::id(found, "id")?, path: path.join("/"), name: row::text(found, "name")?, created_at: Time(row::number(found, "created_at_ms")?) })
}

/// Adds a workspace to the grant's project, unless its slug is taken.
///
/// # Errors
/// The database fails, or the project is gone.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, slug: &str, workspace: &Workspace) -> Result<bool, StorageError> {
    let sql = "INSERT INTO workspace (organization, id, project, slug, name, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6) \
        ON CONFLICT (organization, project, slug) DO NOTHING";
    let done = sqlx::query(sql)
        .bind(grant.scope().organization().to_string())
        .bind(workspace.id.to_string())
        .bind(grant.scope().project().map(|id| id.to_string()))
        .bind(slug.to_owned())
        .bind(workspace.name.clone())
        .bind(signed(workspace.created_at.0))
        .execute(tx.connection())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// How many hosts the grant's workspace holds; removed ones do not count.
///
/// # Errors
/// The database fails.
pub(crate) async fn hosts(tx: &mut Tx, grant: &Grant) -> Result<u64, StorageError> {
    let Some(id) = grant.scope().workspace() else { return Ok(0) };
    let sql = "SELECT COUNT(*) AS total FROM host WHERE organization = $1 AND workspace = $2 AND removed_at_ms IS NULL";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).fetch_one(tx.connection()).await?;
    row::number(&found, "total")
}

/// Removes the grant's workspace with its firewalls and tokens, and says whether it was there.
///
/// # Errors
/// The database fails.
pub(crate) async fn delete(tx: &mut Tx, grant: &Grant) -> Result<bool, StorageError> {
    let Some(id) = grant.scope().workspace() else { return Ok(false) };
    let parts = [
        "DELETE FROM firewall_rule WHERE organization = $1 AND firewall IN (SELECT id FROM firewall WHERE organization = $1 AND workspace = $2)",
        "DELETE FROM firewall WHERE organization = $1 AND workspace = $2",
        "DELETE FROM agent_token WHERE organization = $1 AND workspace = $2",
    ];
    for sql in parts {
        sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).execute(tx.connection()).await?;
    }
    let sql = "DELETE FROM workspace WHERE organization = $1 AND id = $2";
    let done = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).execute(tx.connection()).await?;
    Ok(done.rows_affected() > 0)
}
