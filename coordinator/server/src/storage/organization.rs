//! Organizations: what they are, their standing and limits, and how much of each limit is used.

use loopback_api::Time;
use loopback_api::organization::Organization;
use loopback_core::access::Grant;
use loopback_core::tenancy::{LimitKind, Limits, Standing};
use loopback_protocol::id::{AccountId, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool};

use super::audit::signed;
use super::{StorageError, Tx, row};

/// What an organization may do and hold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Charter {
    /// Its status.
    pub standing: Standing,
    /// Its limits.
    pub limits: Limits,
}

/// The organization a grant is in.
///
/// # Errors
/// The database fails.
pub(crate) async fn get(reader: &AnyPool, grant: &Grant) -> Result<Option<Organization>, StorageError> {
    let sql = "SELECT id, slug, name, verification, state, limits, created_at_ms FROM organization WHERE id = $1 AND state <> 'deleted'";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).fetch_optional(reader).await?;
    found.as_ref().map(organization).transpose()
}

/// The organizations an account belongs to, newest first, from before an id. The account's credential is the right to it.
///
/// # Errors
/// The database fails.
pub(crate) async fn of_account(reader: &AnyPool, account: AccountId, before: &str, rows: i64) -> Result<Vec<Organization>, StorageError> {
    let sql = "SELECT o.id, o.slug, o.name, o.verification, o.state, o.limits, o.created_at_ms FROM organization o \
        JOIN membership m ON m.organization = o.id WHERE m.account = $1 AND o.state <> 'deleted' AND ($2 = '' OR o.id < $2) ORDER BY o.id DESC LIMIT $3";
    let found = sqlx::query(sql).bind(account.to_string()).bind(before.to_owned()).bind(rows).fetch_all(reader).await?;
    found.iter().map(organization).collect()
}

fn organization(found: &AnyRow) -> Result<Organization, StorageError> {
    Ok(Organization {
        id: row::id(found, "id")?,
        slug: row::text(found, "slug")?,
        name: row::text(found, "name")?,
        verification: row::parsed(found, "verification")?,
        state: row::parsed(found, "state")?,
        limits: row::json(found, "limits")?,
        created_at: Time(row::number(found, "created_at_ms")?),
    })
}

/// The id behind a slug, for the console.
///
/// # Errors
/// The database fails.
pub(crate) async fn by_slug(tx: &mut Tx, slug: &str) -> Result<Option<OrganizationId>, StorageError> {
    let found = sqlx::query("SELECT id FROM organization WHERE slug = $1").bind(slug.to_owned()).fetch_optional(tx.connection()).await?;
    found.map(|found| row::id(&found, "id")).transpose()
}

/// Adds an organization; only the console does.
///
/// # Errors
/// The database fails.
pub(crate) async fn insert(tx: &mut Tx, _: &Grant, new: &Organization) -> Result<(), StorageError> {
    let limits = serde_json::to_string(&new.limits).map_err(|_| StorageError::Corrupt("limits"))?;
    let sql = "INSERT INTO organization (id, slug, name, verification, state, limits, revision, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6, 1, $7)";
    sqlx::query(sql)
        .bind(new.id.to_string())
        .bind(new.slug.clone())
        .bind(new.name.clone())
        .bind(new.verification.name())
        .bind(new.state.name())
        .bind(limits)
        .bind(signed(new.created_at.0))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Renames the organization a grant is in.
///
/// # Errors
/// The database fails.
pub(crate) async fn rename(tx: &mut Tx, grant: &Grant, name: &str) -> Result<(), StorageError> {
    let sql = "UPDATE organization SET name = $2 WHERE id = $1";
    sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(name.to_owned()).execute(tx.connection()).await?;
    Ok(())
}

/// What an organization may do and hold, read inside the transaction that creates.
///
/// # Errors
/// The database fails.
pub(crate) async fn charter(connection: &mut AnyConnection, organization: OrganizationId) -> Result<Charter, StorageError> {
    let sql = "SELECT verification, state, limits FROM organization WHERE id = $1";
    let found = sqlx::query(sql).bind(organization.to_string()).fetch_one(connection).await?;
    let standing = Standing { verification: row::parsed(&found, "verification")?, state: row::parsed(&found, "state")? };
    Ok(Charter { standing, limits: row::json(&found, "limits")? })
}

/// How much of a limit is used, read inside the transaction that creates.
///
/// # Errors
/// The database fails.
pub(crate) async fn used(connection: &mut AnyConnection, organization: OrganizationId, limit: LimitKind, now_ms: u64) -> Result<u64, StorageError> {
    let sql = match limit {
        LimitKind::Projects => "SELECT COUNT(*) AS total FROM project WHERE organization = $1",
        LimitKind::Workspaces => "SELECT COUNT(*) AS total FROM workspace WHERE organization = $1",
        LimitKind::Hosts => "SELECT COUNT(*) AS total FROM host WHERE organization = $1 AND removed_at_ms IS NULL",
        LimitKind::Members => "SELECT COUNT(*) AS total FROM membership WHERE organization = $1",
        LimitKind::FirewallRules => "SELECT COUNT(*) AS total FROM firewall_rule WHERE organization = $1",
        LimitKind::ShellSessions => "SELECT COUNT(*) AS total FROM shell_session WHERE organization = $1 AND state <> 'ended'",
        LimitKind::ApiKeys => {
            "SELECT COUNT(*) AS total FROM account_key k JOIN membership m ON m.account = k.account \
             WHERE m.organization = $1 AND k.kind = 'api' AND k.revoked_at_ms IS NULL AND k.expires_at_ms > $2"
        }
    };
    let query = sqlx::query(sql).bind(organization.to_string());
    // Of these kinds only keys end by themselves.
    let query = if limit == LimitKind::ApiKeys { query.bind(signed(now_ms)) } else { query };
    row::number(&query.fetch_one(connection).await?, "total")
}

/// The ids of the organizations an account belongs to. The account's credential is the right to it.
///
/// # Errors
/// The database fails.
pub(crate) async fn ids_of_account(connection: &mut AnyConnection, account: AccountId) -> Result<Vec<OrganizationId>, StorageError> {
    let found = sqlx::query("SELECT organization FROM membership WHERE account = $1").bind(account.to_string()).fetch_all(connection).await?;
    found.iter().map(|found| row::id(found, "organization")).collect()
}
