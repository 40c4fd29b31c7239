//! One's own API keys and sessions.

use loopback_api::key::{ApiKey, CreateKey, ListKeys, MintedKey, RevokeKey};
use loopback_api::{Nothing, Page, Problem, Time};

use crate::clock::now_ms;
use crate::commands;
use crate::http::api::{AccountCall, Api, with};
use crate::observed::Observed;
use crate::queries::{all, page};
use crate::storage::observed::key_uses;
use crate::storage::{Storage, key};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage, observed: &Observed) {
    api.account::<ListKeys, _, _>(with(&(storage.clone(), observed.clone()), list));
    api.account::<CreateKey, _, _>(with(storage, create));
    api.account::<RevokeKey, _, _>(with(storage, revoke));
}

async fn list((storage, observed): (Storage, Observed), call: AccountCall<ListKeys>) -> Result<Page<ApiKey>, Problem> {
    let (reader, account, now) = (storage.reader(), call.account, now_ms());
    let mut keys = page(&call.query, |key: &ApiKey| key.id, all, |before, rows| async move { key::list(reader, account, now, &before, rows).await }).await?;
    let mut uses = key_uses(observed.reader(), account).await?;
    for key in &mut keys.items {
        (key.last_used_at, key.last_used_from) = uses.remove(&key.id).map(|(at_ms, from)| (Time(at_ms), from)).unzip();
    }
    Ok(keys)
}

async fn create(storage: Storage, call: AccountCall<CreateKey>) -> Result<MintedKey, Problem> {
    Ok(commands::key::create(&storage, call.account, &call.body, call.entry("")).await?)
}

async fn revoke(storage: Storage, call: AccountCall<RevokeKey>) -> Result<Nothing, Problem> {
    commands::key::revoke(&storage, call.account, call.item(), call.entry(call.item())).await?;
    Ok(Nothing {})
}
