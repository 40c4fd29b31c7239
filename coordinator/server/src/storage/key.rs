//! Credentials of accounts: sessions and API keys, as hashes. Looked up by id before a grant can exist, and otherwise by the account they belong to.

use loopback_api::Time;
use loopback_api::key::{ApiKey, KeyKind};
use loopback_protocol::id::{AccountId, KeyId};
use loopback_protocol::secret::SecretHash;
use sqlx::AnyPool;
use sqlx::any::AnyRow;

use super::audit::signed;
use super::{StorageError, Tx, row};

/// A credential, with whose it is.
pub(crate) struct StoredKey {
    /// Whose.
    pub account: AccountId,
    /// Their e-mail address.
    pub email: String,
    /// Of its secret.
    pub hash: SecretHash,
    expires_at_ms: u64,
    revoked: bool,
}

impl StoredKey {
    /// Whether it still holds.
    pub(crate) const fn is_live(&self, now_ms: u64) -> bool {
        !self.revoked && now_ms < self.expires_at_ms
    }
}

/// The credential with an id.
///
/// # Errors
/// The database fails.
pub(crate) async fn find(reader: &AnyPool, key: KeyId) -> Result<Option<StoredKey>, StorageError> {
    let sql =
        "SELECT k.account, k.secret_hash, k.expires_at_ms, k.revoked_at_ms, a.email FROM account_key k JOIN account a ON a.id = k.account WHERE k.id = $1";
    let found = sqlx::query(sql).bind(key.to_string()).fetch_optional(reader).await?;
    found.as_ref().map(stored).transpose()
}

fn stored(found: &AnyRow) -> Result<StoredKey, StorageError> {
    Ok(StoredKey {
        account: row::id(found, "account")?,
        email: row::text(found, "email")?,
        hash: row::hash(found, "secret_hash")?,
        expires_at_ms: row::number(found, "expires_at_ms")?,
        revoked: row::optional_number(found, "revoked_at_ms")?.is_some(),
    })
}

/// Whether an account's credential still holds.
///
/// # Errors
/// The database fails.
pub(crate) async fn is_live(reader: &AnyPool, account: AccountId, key: KeyId, now_ms: u64) -> Result<bool, StorageError> {
    let sql = "SELECT id FROM account_key WHERE account = $1 AND id = $2 AND revoked_at_ms IS NULL AND expires_at_ms > $3";
    let found = sqlx::query(sql).bind(account.to_string()).bind(key.to_string()).bind(signed(now_ms)).fetch_optional(reader).await?;
    Ok(found.is_some())
}

/// An account's credentials that still hold, newest first, from before an id.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, account: AccountId, now_ms: u64, before: &str, rows: i64) -> Result<Vec<ApiKey>, StorageError> {
    let sql = "SELECT id, kind, description, created_at_ms, expires_at_ms FROM account_key \
        WHERE account = $1 AND revoked_at_ms IS NULL AND expires_at_ms > $2 AND ($3 = '' OR id < $3) ORDER BY id DESC LIMIT $4";
    let found = sqlx::query(sql).bind(account.to_string()).bind(signed(now_ms)).bind(before.to_owned()).bind(rows).fetch_all(reader).await?;
    found.iter().map(api_key).collect()
}

fn api_key(found: &AnyRow) -> Result<ApiKey, StorageError> {
    let kind = match row::text(found, "kind")?.as_str() {
        "session" => KeyKind::Session,
        "api" => KeyKind::Api,
        _ => return Err(StorageError::Corrupt("kind")),
    };
    Ok(ApiKey {
        id: row::id(found, "id")?,
        kind,
        description: row::text(found, "description")?,
        created_at: Time(row::number(found, "created_at_ms")?),
        expires_at: Time(row::number(found, "expires_at_ms")?),
        last_used_at: None,
        last_used_from: None,
    })
}

/// Adds a credential of an account.
///
/// # Errors
/// The database fails.
pub(crate) async fn insert(tx: &mut Tx, account: AccountId, key: &ApiKey, hash: SecretHash) -> Result<(), StorageError> {
    let sql = "INSERT INTO account_key (account, id, kind, description, secret_hash, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    let kind = match key.kind {
        KeyKind::Session => "session",
        KeyKind::Api => "api",
    };
    sqlx::query(sql)
        .bind(account.to_string())
        .bind(key.id.to_string())
        .bind(kind)
        .bind(key.description.clone())
        .bind(hex::encode(hash.0))
        .bind(signed(key.created_at.0))
        .bind(signed(key.expires_at.0))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Revokes an account's credential and says whether there is one; a second time changes nothing.
///
/// # Errors
/// The database fails.
pub(crate) async fn revoke(tx: &mut Tx, account: AccountId, key: KeyId, now_ms: u64) -> Result<bool, StorageError> {
    let sql = "UPDATE account_key SET revoked_at_ms = COALESCE(revoked_at_ms, $3) WHERE account = $1 AND id = $2";
    let done = sqlx::query(sql).bind(account.to_string()).bind(key.to_string()).bind(signed(now_ms)).execute(tx.connection()).await?;
    Ok(done.rows_affected() > 0)
}

/// Forgets an account's sessions that no longer hold.
///
/// # Errors
/// The database fails.
pub(crate) async fn forget_dead_sessions(tx: &mut Tx, account: AccountId, now_ms: u64) -> Result<(), StorageError> {
    let sql = "DELETE FROM account_key WHERE account = $1 AND kind = 'session' AND (revoked_at_ms IS NOT NULL OR expires_at_ms <= $2)";
    sqlx::query(sql).bind(account.to_string()).bind(signed(now_ms)).execute(tx.connection()).await?;
    Ok(())
}
