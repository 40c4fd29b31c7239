//! Signing in and out.

use std::net::IpAddr;

use loopback_api::Time;
use loopback_api::key::{ApiKey, KeyKind};
use loopback_core::access::Actor;
use loopback_core::audit::Outcome;
use loopback_protocol::id::{AccountId, Key, KeyId};
use loopback_protocol::secret::Secret;

use crate::clock::now_ms;
use crate::ids;
use crate::limits::{EMAIL_MAX_CHARS, SESSION_LIFE_MS};
use crate::login_limit::{LoginLimit, TooMany};
use crate::password::{PasswordError, Passwords};
use crate::storage::{Entry, Storage, StorageError, account, key};

/// A session that was opened.
#[derive(Debug)]
pub struct Session {
    /// Whose.
    pub account: AccountId,
    /// Its secret, to be shown once.
    pub secret: Secret<Key>,
    /// Until when it holds.
    pub expires_at: Time,
}

/// Why nobody was signed in. What was wrong is told to nobody but the audit trail.
#[derive(Debug, thiserror::Error)]
pub enum LoginRefused {
    /// No such account, or another password.
    #[error("this e-mail address and password do not belong together")]
    Wrong,
    /// Too many have failed.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// The hash function failed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// Signs in with a password. An unknown address takes as long as a wrong password, and is told the same.
///
/// # Errors
/// Wrong, too often, or a failure within.
pub async fn login(
    storage: &Storage,
    passwords: &Passwords,
    limit: &LoginLimit,
    email: &str,
    password: String,
    address: IpAddr,
    entry: Entry,
) -> Result<Session, LoginRefused> {
    let email: String = email.trim().to_lowercase().chars().take(EMAIL_MAX_CHARS).collect();
    let now = now_ms();
    limit.attempt(&email, address, now)?;
    let account = account::by_email(storage.reader(), &email).await?;
    let fits = passwords.fits(password, account.as_ref().map(|account| account.password_hash.as_str())).await?;
    let entry = Entry { target: email.clone(), ..entry };
    let Some(account) = account.filter(|_| fits) else {
        storage.begin().await?.commit(entry.with_outcome(Outcome::Denied)).await?;
        return Err(LoginRefused::Wrong);
    };
    limit.succeeded(&email, address);
    let secret = ids::fresh_secret();
    let session = Session { account: account.id, expires_at: Time(now + SESSION_LIFE_MS), secret };
    let key = ApiKey {
        id: session.secret.id(),
        kind: KeyKind::Session,
        description: entry.user_agent.clone(),
        created_at: Time(now),
        expires_at: session.expires_at,
        last_used_at: None,
        last_used_from: None,
    };
    let mut tx = storage.begin().await?;
    key::forget_dead_sessions(&mut tx, account.id, now).await?;
    key::insert(&mut tx, account.id, &key, session.secret.hash()).await?;
    let actor = Actor::Account { account: account.id, key: key.id };
    tx.commit(Entry { actor, actor_name: account.email, ..entry }).await?;
    Ok(session)
}

/// Ends the session a request was made with.
///
/// # Errors
/// The database fails.
pub async fn logout(storage: &Storage, account: AccountId, key: KeyId, entry: Entry) -> Result<(), StorageError> {
    let mut tx = storage.begin().await?;
    key::revoke(&mut tx, account, key, now_ms()).await?;
    tx.commit(entry).await
}
