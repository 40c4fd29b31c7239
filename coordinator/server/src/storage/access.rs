//! What access decisions are made of: members and bindings with their roles' permissions. Read before a grant can exist.

use std::collections::HashSet;

use loopback_core::access::{Binding, PermissionSet, Snapshot};
use loopback_protocol::id::OrganizationId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool};

use super::audit::unsigned;
use super::{StorageError, role, row};

/// How often members, roles or bindings of a visible organization have changed.
///
/// # Errors
/// The database fails.
pub(crate) async fn revision(reader: &AnyPool, organization: OrganizationId) -> Result<Option<u64>, StorageError> {
    let revision: Option<i64> = sqlx::query_scalar("SELECT revision FROM organization WHERE id = $1 AND state <> 'deleted'")
        .bind(organization.to_string())
        .fetch_optional(reader)
        .await?;
    Ok(revision.map(unsigned))
}

/// Members and bindings as this connection's transaction sees them.
///
/// # Errors
/// The database fails.
pub(crate) async fn snapshot(connection: &mut AnyConnection, organization: OrganizationId) -> Result<Snapshot, StorageError> {
    let revision: i64 =
        sqlx::query_scalar("SELECT revision FROM organization WHERE id = $1").bind(organization.to_string()).fetch_one(&mut *connection).await?;
    let members = sqlx::query("SELECT account FROM membership WHERE organization = $1").bind(organization.to_string()).fetch_all(&mut *connection).await?;
    let members: HashSet<_> = members.iter().map(|member| row::id(member, "account")).collect::<Result<_, _>>()?;
    let sql = "SELECT b.organization, b.id, b.account, b.role, b.project, b.workspace, b.host, b.expires_at_ms, r.permissions \
        FROM binding b JOIN role r ON r.organization = b.organization AND r.id = b.role WHERE b.organization = $1";
    let bindings = sqlx::query(sql).bind(organization.to_string()).fetch_all(connection).await?;
    let bindings = bindings.iter().map(binding).collect::<Result<_, _>>()?;
    Ok(Snapshot::new(organization, unsigned(revision), members, bindings))
}

fn binding(found: &AnyRow) -> Result<Binding, StorageError> {
    let permissions: PermissionSet = role::permissions(found)?;
    Ok(Binding {
        id: row::id(found, "id")?,
        account: row::id(found, "account")?,
        role: row::id(found, "role")?,
        scope: row::scope(found)?,
        permissions,
        expires_at_ms: row::optional_number(found, "expires_at_ms")?,
    })
}
