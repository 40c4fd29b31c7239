//! Agent tokens, as hashes. What a machine shows is looked up by who enrols it; here they are minted, listed and revoked.

use loopback_api::Time;
use loopback_api::token::{Token, TokenState};
use loopback_core::access::Grant;
use loopback_protocol::id::AgentTokenId;
use loopback_protocol::secret::SecretHash;
use sqlx::AnyPool;
use sqlx::any::AnyRow;

use super::audit::signed;
use super::{StorageError, Tx, row};

/// Tokens of the grant's workspace, newest first, from before an id.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, now_ms: u64, before: &str, rows: i64) -> Result<Vec<Token>, StorageError> {
    let sql = "SELECT id, description, expires_at_ms, max_uses, uses, revoked_at_ms, created_at_ms, created_by FROM agent_token \
        WHERE organization = $1 AND workspace = $2 AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4";
    let (organization, workspace) = place(grant);
    let found = sqlx::query(sql).bind(organization).bind(workspace).bind(before.to_owned()).bind(rows).fetch_all(reader).await?;
    found.iter().map(|found| token(found, now_ms)).collect()
}

fn token(found: &AnyRow, now_ms: u64) -> Result<Token, StorageError> {
    let (uses, max_uses, expires_at_ms) = (row::number(found, "uses")?, row::number(found, "max_uses")?, row::number(found, "expires_at_ms")?);
    let state = if row::optional_number(found, "revoked_at_ms")?.is_some() {
        TokenState::Revoked
    } else if now_ms >= expires_at_ms {
        TokenState::Expired
    } else if uses >= max_uses {
        TokenState::Spent
    } else {
        TokenState::Active
    };
    let narrow = |value: u64| u32::try_from(value).map_err(|_| StorageError::Corrupt("uses"));
    Ok(Token {
        id: row::id(found, "id")?,
        description: row::text(found, "description")?,
        state,
        max_uses: narrow(max_uses)?,
        uses: narrow(uses)?,
        expires_at: Time(expires_at_ms),
        created_at: Time(row::number(found, "created_at_ms")?),
        created_by: row::text(found, "created_by")?,
    })
}

/// Adds a token to the grant's workspace.
///
/// # Errors
/// The database fails, or the workspace is gone.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, token: &Token, hash: SecretHash) -> Result<(), StorageError> {
    let sql = "INSERT INTO agent_token (organization, id, project, workspace, description, secret_hash, expires_at_ms, max_uses, uses, created_at_ms, created_by) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 0, $9, $10)";
    sqlx::query(sql)
        .bind(grant.scope().organization().to_string())
        .bind(token.id.to_string())
        .bind(grant.scope().project().map(|id| id.to_string()))
        .bind(grant.scope().workspace().map(|id| id.to_string()))
        .bind(token.description.clone())
        .bind(hex::encode(hash.0))
        .bind(signed(token.expires_at.0))
        .bind(i64::from(token.max_uses))
        .bind(signed(token.created_at.0))
        .bind(token.created_by.clone())
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Revokes a token of the grant's workspace and says whether there is one; a second time changes nothing.
///
/// # Errors
/// The database fails.
pub(crate) async fn revoke(tx: &mut Tx, grant: &Grant, token: AgentTokenId, now_ms: u64) -> Result<bool, StorageError> {
    let sql = "UPDATE agent_token SET revoked_at_ms = COALESCE(revoked_at_ms, $4) WHERE organization = $1 AND workspace = $2 AND id = $3";
    let (organization, workspace) = place(grant);
    let done = sqlx::query(sql).bind(organization).bind(workspace).bind(token.to_string()).bind(signed(now_ms)).execute(tx.connection()).await?;
    Ok(done.rows_affected() > 0)
}

fn place(grant: &Grant) -> (String, Option<String>) {
    (grant.scope().organization().to_string(), grant.scope().workspace().map(|id| id.to_string()))
}
