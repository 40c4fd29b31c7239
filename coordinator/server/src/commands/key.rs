//! Making and revoking an account's own credentials. They act as the person, so no more is given than is held.

use loopback_api::Time;
use loopback_api::key::{ApiKey, KeyKind, MintedKey, NewKey};
use loopback_core::tenancy::LimitKind;
use loopback_protocol::id::{AccountId, KeyId};

use super::{Refused, description};
use crate::clock::now_ms;
use crate::ids;
use crate::limits::{API_KEY_LIFE_DEFAULT_MS, API_KEY_LIFE_MAX_MS};
use crate::storage::{Entry, Storage, key, organization};

/// Makes an API key of an account, within the limits of every organization it belongs to.
///
/// # Errors
/// Fields, or a limit.
pub async fn create(storage: &Storage, account: AccountId, new: &NewKey, entry: Entry) -> Result<MintedKey, Refused> {
    let now = now_ms();
    let life_ms = new.life_seconds.map_or(API_KEY_LIFE_DEFAULT_MS, |seconds| seconds.saturating_mul(1_000));
    if !(1_000..=API_KEY_LIFE_MAX_MS).contains(&life_ms) {
        return Err(Refused::field("/life_seconds", "an API key lives from one second to 365 days"));
    }
    if new.description.trim().is_empty() {
        return Err(Refused::field("/description", "say what the key is for"));
    }
    let description = description(&new.description)?;
    let secret = ids::fresh_secret();
    let key = ApiKey {
        id: secret.id(),
        kind: KeyKind::Api,
        description,
        created_at: Time(now),
        expires_at: Time(now + life_ms),
        last_used_at: None,
        last_used_from: None,
    };
    let mut tx = storage.begin().await?;
    for organization in organization::ids_of_account(tx.connection(), account).await? {
        let charter = organization::charter(tx.connection(), organization).await?;
        let used = organization::used(tx.connection(), organization, LimitKind::ApiKeys, now).await?;
        charter.limits.admit(LimitKind::ApiKeys, used, 1)?;
    }
    key::insert(&mut tx, account, &key, secret.hash()).await?;
    let details = serde_json::json!({ "description": key.description, "expires_at": key.expires_at });
    tx.commit(Entry { target: key.id.to_string(), ..entry }.with_details(details)).await?;
    Ok(MintedKey { key, secret: secret.reveal() })
}

/// Revokes one of an account's credentials; again changes nothing.
///
/// # Errors
/// The account has no such credential.
pub async fn revoke(storage: &Storage, account: AccountId, named: &str, entry: Entry) -> Result<(), Refused> {
    let missing = || Refused::missing("key", named);
    let id: KeyId = named.parse().map_err(|_| missing())?;
    let mut tx = storage.begin().await?;
    if !key::revoke(&mut tx, account, id, now_ms()).await? {
        return Err(missing());
    }
    Ok(tx.commit(entry).await?)
}
