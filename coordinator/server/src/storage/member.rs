//! Members: the accounts that belong to an organization.

use loopback_api::Time;
use loopback_api::member::Member;
use loopback_core::access::{Grant, OWNER};
use loopback_protocol::id::{AccountId, BindingId, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool};

use super::audit::signed;
use super::{StorageError, Tx, row};

/// Members, newest first, from before an id.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, before: &str, rows: i64) -> Result<Vec<Member>, StorageError> {
    let sql = "SELECT m.id, m.account, m.created_at_ms, a.email, a.name FROM membership m JOIN account a ON a.id = m.account \
        WHERE m.organization = $1 AND ($2 = '' OR m.id < $2) ORDER BY m.id DESC LIMIT $3";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(before.to_owned()).bind(rows).fetch_all(reader).await?;
    found.iter().map(member).collect()
}

/// A member by membership id, account id or e-mail address.
///
/// # Errors
/// The database fails.
pub(crate) async fn find(tx: &mut Tx, grant: &Grant, name: &str) -> Result<Option<Member>, StorageError> {
    let sql = "SELECT m.id, m.account, m.created_at_ms, a.email, a.name FROM membership m JOIN account a ON a.id = m.account \
        WHERE m.organization = $1 AND (m.id = $2 OR m.account = $2 OR a.email = $3)";
    let query = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(name.to_owned()).bind(name.to_lowercase());
    query.fetch_optional(tx.connection()).await?.as_ref().map(member).transpose()
}

fn member(found: &AnyRow) -> Result<Member, StorageError> {
    Ok(Member {
        id: row::id(found, "id")?,
        account: row::id(found, "account")?,
        email: row::text(found, "email")?,
        name: row::text(found, "name")?,
        created_at: Time(row::number(found, "created_at_ms")?),
    })
}

/// Adds a member.
///
/// # Errors
/// The database fails.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, member: &Member) -> Result<(), StorageError> {
    sqlx::query("INSERT INTO membership (organization, id, account, created_at_ms) VALUES ($1, $2, $3, $4)")
        .bind(grant.scope().organization().to_string())
        .bind(member.id.to_string())
        .bind(member.account.to_string())
        .bind(signed(member.created_at.0))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Removes a member and every role they hold.
///
/// # Errors
/// The database fails.
pub(crate) async fn delete(tx: &mut Tx, grant: &Grant, account: AccountId) -> Result<(), StorageError> {
    for sql in ["DELETE FROM binding WHERE organization = $1 AND account = $2", "DELETE FROM membership WHERE organization = $1 AND account = $2"] {
        sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(account.to_string()).execute(tx.connection()).await?;
    }
    Ok(())
}

/// The bindings that make somebody an owner of the whole organization for good.
///
/// # Errors
/// The database fails.
pub(crate) async fn owners(connection: &mut AnyConnection, grant: &Grant) -> Result<Vec<(BindingId, AccountId)>, StorageError> {
    let sql = "SELECT b.id, b.account FROM binding b JOIN role r ON r.organization = b.organization AND r.id = b.role \
        WHERE b.organization = $1 AND r.slug = $2 AND b.project IS NULL AND b.expires_at_ms IS NULL";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(OWNER).fetch_all(connection).await?;
    found.iter().map(|found| Ok((row::id(found, "id")?, row::id(found, "account")?))).collect()
}

/// The e-mail addresses of some owners, for a member who was refused and has no grant.
///
/// # Errors
/// The database fails.
pub(crate) async fn owner_emails(reader: &AnyPool, organization: OrganizationId, rows: i64) -> Result<Vec<String>, StorageError> {
    let sql = "SELECT DISTINCT a.email FROM binding b JOIN role r ON r.organization = b.organization AND r.id = b.role JOIN account a ON a.id = b.account \
        WHERE b.organization = $1 AND r.slug = $2 AND b.project IS NULL AND b.expires_at_ms IS NULL ORDER BY a.email LIMIT $3";
    Ok(sqlx::query_scalar(sql).bind(organization.to_string()).bind(OWNER).bind(rows).fetch_all(reader).await?)
}
