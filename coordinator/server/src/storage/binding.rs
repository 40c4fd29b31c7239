//! Bindings: a role on a scope, for an account.

use loopback_api::Time;
use loopback_api::binding::Binding;
use loopback_core::access::{Grant, ScopePath};
use loopback_protocol::id::{AccountId, BindingId, RoleId};
use sqlx::AnyPool;
use sqlx::any::AnyRow;

use super::audit::signed;
use super::{StorageError, Tx, row};

const COLUMNS_AND_TABLES: &str = "SELECT b.organization, b.id, b.account, b.project, b.workspace, b.host, b.expires_at_ms, b.created_at_ms, \
    a.email, r.slug AS role_slug, o.slug AS organization_slug, p.slug AS project_slug, w.slug AS workspace_slug, h.slug AS host_slug \
    FROM binding b JOIN account a ON a.id = b.account JOIN role r ON r.organization = b.organization AND r.id = b.role \
    JOIN organization o ON o.id = b.organization \
    LEFT JOIN project p ON p.organization = b.organization AND p.id = b.project \
    LEFT JOIN workspace w ON w.organization = b.organization AND w.id = b.workspace \
    LEFT JOIN host h ON h.organization = b.organization AND h.id = b.host ";

/// A binding and where it is, so that its reader can tell whether it is theirs to see.
pub(crate) struct PlacedBinding {
    /// Where.
    pub scope: ScopePath,
    /// What.
    pub binding: Binding,
}

/// A binding to add.
pub(crate) struct NewRow {
    /// Its id.
    pub id: BindingId,
    /// Who holds it.
    pub account: AccountId,
    /// Which role.
    pub role: RoleId,
    /// Where.
    pub scope: ScopePath,
    /// Until when, in milliseconds since 1970.
    pub expires_at_ms: Option<u64>,
}

/// Bindings of the whole organization, newest first, from before an id; the caller leaves out what its grant does not reach.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, before: &str, rows: i64) -> Result<Vec<PlacedBinding>, StorageError> {
    let sql = format!("{COLUMNS_AND_TABLES} WHERE b.organization = $1 AND ($2 = '' OR b.id < $2) ORDER BY b.id DESC LIMIT $3");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(grant.scope().organization().to_string()).bind(before.to_owned()).bind(rows);
    query.fetch_all(reader).await?.iter().map(placed).collect()
}

/// A binding of the organization.
///
/// # Errors
/// The database fails.
pub(crate) async fn find(tx: &mut Tx, grant: &Grant, id: BindingId) -> Result<Option<PlacedBinding>, StorageError> {
    let sql = format!("{COLUMNS_AND_TABLES} WHERE b.organization = $1 AND b.id = $2");
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(grant.scope().organization().to_string()).bind(id.to_string());
    query.fetch_optional(tx.connection()).await?.as_ref().map(placed).transpose()
}

fn placed(found: &AnyRow) -> Result<PlacedBinding, StorageError> {
    let slugs = ["organization_slug", "project_slug", "workspace_slug", "host_slug"].map(|column| row::optional_text(found, column));
    let slugs = slugs.into_iter().collect::<Result<Vec<_>, _>>()?;
    let binding = Binding {
        id: row::id(found, "id")?,
        account: row::id(found, "account")?,
        email: row::text(found, "email")?,
        role: row::text(found, "role_slug")?,
        scope: slugs.into_iter().flatten().collect::<Vec<_>>().join("/"),
        expires_at: row::optional_number(found, "expires_at_ms")?.map(Time),
        created_at: Time(row::number(found, "created_at_ms")?),
    };
    Ok(PlacedBinding { scope: row::scope(found)?, binding })
}

/// Adds a binding.
///
/// # Errors
/// The database fails, or the account is no member.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, new: &NewRow, now_ms: u64) -> Result<(), StorageError> {
    let sql = "INSERT INTO binding (organization, id, account, role, project, workspace, host, expires_at_ms, created_at_ms) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
    sqlx::query(sql)
        .bind(grant.scope().organization().to_string())
        .bind(new.id.to_string())
        .bind(new.account.to_string())
        .bind(new.role.to_string())
        .bind(new.scope.project().map(|id| id.to_string()))
        .bind(new.scope.workspace().map(|id| id.to_string()))
        .bind(new.scope.host().map(|id| id.to_string()))
        .bind(new.expires_at_ms.map(signed))
        .bind(signed(now_ms))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Removes a binding.
///
/// # Errors
/// The database fails.
pub(crate) async fn delete(tx: &mut Tx, grant: &Grant, id: BindingId) -> Result<(), StorageError> {
    let sql = "DELETE FROM binding WHERE organization = $1 AND id = $2";
    sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).execute(tx.connection()).await?;
    Ok(())
}

/// Removes the bindings on the grant's own scope, which is about to go.
///
/// # Errors
/// The database fails.
pub(crate) async fn delete_at(tx: &mut Tx, grant: &Grant) -> Result<(), StorageError> {
    let scope = grant.scope();
    let (sql, id) = match *scope {
        ScopePath::Organization(_) => return Ok(()),
        ScopePath::Project(_, project) => ("DELETE FROM binding WHERE organization = $1 AND project = $2", project.to_string()),
        ScopePath::Workspace(.., workspace) => ("DELETE FROM binding WHERE organization = $1 AND workspace = $2", workspace.to_string()),
        ScopePath::Host(.., host) => ("DELETE FROM binding WHERE organization = $1 AND host = $2", host.to_string()),
    };
    sqlx::query(sql).bind(scope.organization().to_string()).bind(id).execute(tx.connection()).await?;
    Ok(())
}
