//! One's own API keys and sessions.

use loopback_api::key::{ApiKey, CreateKey, ListKeys, MintedKey, RevokeKey};
use loopback_api::{Nothing, Page, Problem};

use crate::clock::now_ms;
use crate::commands;
use crate::http::api::{AccountCall, Api, with};
use crate::queries::{all, page};
use crate::storage::{Storage, key};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.account::<ListKeys, _, _>(with(storage, list));
    api.account::<CreateKey, _, _>(with(storage, create));
    api.account::<RevokeKey, _, _>(with(storage, revoke));
}

async fn list(storage: Storage, call: AccountCall<ListKeys>) -> Result<Page<ApiKey>, Problem> {
    let (reader, account, now) = (storage.reader(), call.account, now_ms());
    page(&call.query, |key: &ApiKey| key.id, all, |before, rows| async move { key::list(reader, account, now, &before, rows).await }).await
}

async fn create(storage: Storage, call: AccountCall<CreateKey>) -> Result<MintedKey, Problem> {
    Ok(commands::key::create(&storage, call.account, &call.body, call.entry("")).await?)
}

async fn revoke(storage: Storage, call: AccountCall<RevokeKey>) -> Result<Nothing, Problem> {
    commands::key::revoke(&storage, call.account, call.item(), call.entry(call.item())).await?;
    Ok(Nothing {})
}
