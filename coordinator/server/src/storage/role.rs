//! Roles: named sets of permissions, stored as a JSON list of `key:verb`.

use loopback_api::role::Role;
use loopback_core::access::{Grant, Permission, PermissionSet};
use loopback_protocol::id::{AccountId, OrganizationId, RoleId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool};

use super::audit::signed;
use super::{StorageError, Tx, row};

/// Roles, newest first, from before an id.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, before: &str, rows: i64) -> Result<Vec<Role>, StorageError> {
    let sql = "SELECT id, slug, name, permissions FROM role WHERE organization = $1 AND ($2 = '' OR id < $2) ORDER BY id DESC LIMIT $3";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(before.to_owned()).bind(rows).fetch_all(reader).await?;
    found.iter().map(role).collect()
}

/// A role by slug or id.
///
/// # Errors
/// The database fails.
pub(crate) async fn find(tx: &mut Tx, grant: &Grant, name: &str) -> Result<Option<Role>, StorageError> {
    let sql = "SELECT id, slug, name, permissions FROM role WHERE organization = $1 AND (id = $2 OR slug = $2)";
    let query = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(name.to_owned());
    query.fetch_optional(tx.connection()).await?.as_ref().map(role).transpose()
}

/// The slugs of the roles an account holds anywhere in an organization. The account's credential is the right to it.
///
/// # Errors
/// The database fails.
pub(crate) async fn slugs_of(reader: &AnyPool, organization: OrganizationId, account: AccountId, now_ms: u64) -> Result<Vec<String>, StorageError> {
    let sql = "SELECT DISTINCT r.slug FROM binding b JOIN role r ON r.organization = b.organization AND r.id = b.role \
        WHERE b.organization = $1 AND b.account = $2 AND (b.expires_at_ms IS NULL OR b.expires_at_ms > $3) ORDER BY r.slug";
    Ok(sqlx::query_scalar(sql).bind(organization.to_string()).bind(account.to_string()).bind(signed(now_ms)).fetch_all(reader).await?)
}

fn role(found: &AnyRow) -> Result<Role, StorageError> {
    let permissions = permissions(found)?.iter().map(|permission| permission.to_string()).collect();
    Ok(Role { id: row::id(found, "id")?, slug: row::text(found, "slug")?, name: row::text(found, "name")?, permissions })
}

/// The column `permissions` of a role.
pub(super) fn permissions(found: &AnyRow) -> Result<PermissionSet, StorageError> {
    let names: Vec<String> = row::json(found, "permissions")?;
    names.iter().map(|name| name.parse::<Permission>().map_err(|_| StorageError::Corrupt("permissions"))).collect()
}

/// Adds a role.
///
/// # Errors
/// The database fails.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, role: &Role, now_ms: u64) -> Result<(), StorageError> {
    sqlx::query("INSERT INTO role (organization, id, slug, name, permissions, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(grant.scope().organization().to_string())
        .bind(role.id.to_string())
        .bind(role.slug.clone())
        .bind(role.name.clone())
        .bind(serde_json::to_string(&role.permissions).map_err(|_| StorageError::Corrupt("permissions"))?)
        .bind(signed(now_ms))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Replaces a role's slug, name and permissions.
///
/// # Errors
/// The database fails.
pub(crate) async fn update(tx: &mut Tx, grant: &Grant, role: &Role) -> Result<(), StorageError> {
    sqlx::query("UPDATE role SET slug = $3, name = $4, permissions = $5 WHERE organization = $1 AND id = $2")
        .bind(grant.scope().organization().to_string())
        .bind(role.id.to_string())
        .bind(role.slug.clone())
        .bind(role.name.clone())
        .bind(serde_json::to_string(&role.permissions).map_err(|_| StorageError::Corrupt("permissions"))?)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Removes a role.
///
/// # Errors
/// The database fails, or somebody holds the role.
pub(crate) async fn delete(tx: &mut Tx, grant: &Grant, role: RoleId) -> Result<(), StorageError> {
    let sql = "DELETE FROM role WHERE organization = $1 AND id = $2";
    sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(role.to_string()).execute(tx.connection()).await?;
    Ok(())
}

/// How many bindings put the role somewhere.
///
/// # Errors
/// The database fails.
pub(crate) async fn holders(connection: &mut AnyConnection, grant: &Grant, role: RoleId) -> Result<u64, StorageError> {
    let sql = "SELECT COUNT(*) AS total FROM binding WHERE organization = $1 AND role = $2";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(role.to_string()).fetch_one(connection).await?;
    row::number(&found, "total")
}
