//! Accounts. They belong to no organization: what is read and written here is about the account itself, and needs its credential or the console.

use loopback_protocol::id::AccountId;
use sqlx::AnyExecutor;
use sqlx::any::AnyRow;

use super::audit::signed;
use super::{StorageError, Tx, row};

/// An account as it is stored.
#[derive(Clone)]
pub(crate) struct Account {
    /// Its id.
    pub id: AccountId,
    /// Its e-mail address, in lower case.
    pub email: String,
    /// Its name.
    pub name: String,
    /// Of its password.
    pub password_hash: String,
}

/// The account with an e-mail address.
///
/// # Errors
/// The database fails.
pub(crate) async fn by_email<'e>(executor: impl AnyExecutor<'e>, email: &str) -> Result<Option<Account>, StorageError> {
    let found = sqlx::query("SELECT id, email, name, password_hash FROM account WHERE email = $1").bind(email.to_owned()).fetch_optional(executor).await?;
    found.as_ref().map(account).transpose()
}

/// The account with an id.
///
/// # Errors
/// The database fails.
pub(crate) async fn by_id<'e>(executor: impl AnyExecutor<'e>, id: AccountId) -> Result<Option<Account>, StorageError> {
    let found = sqlx::query("SELECT id, email, name, password_hash FROM account WHERE id = $1").bind(id.to_string()).fetch_optional(executor).await?;
    found.as_ref().map(account).transpose()
}

/// Adds an account; only the console does.
///
/// # Errors
/// The database fails.
pub(crate) async fn insert(tx: &mut Tx, account: &Account, now_ms: u64) -> Result<(), StorageError> {
    sqlx::query("INSERT INTO account (id, email, name, password_hash, created_at_ms) VALUES ($1, $2, $3, $4, $5)")
        .bind(account.id.to_string())
        .bind(account.email.clone())
        .bind(account.name.clone())
        .bind(account.password_hash.clone())
        .bind(signed(now_ms))
        .execute(tx.connection())
        .await?;
    Ok(())
}

fn account(found: &AnyRow) -> Result<Account, StorageError> {
    Ok(Account {
        id: row::id(found, "id")?,
        email: row::text(found, "email")?,
        name: row::text(found, "name")?,
        password_hash: row::text(found, "password_hash")?,
    })
}
