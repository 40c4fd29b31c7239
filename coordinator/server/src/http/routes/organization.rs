//! Organizations.

use loopback_api::organization::{GetOrganization, ListOrganizations, Organization, UpdateOrganization};
use loopback_api::{Page, Problem};

use crate::commands;
use crate::http::api::{AccountCall, Api, Call, with};
use crate::http::error::not_found;
use crate::queries::{all, page};
use crate::storage::{Storage, organization};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.account::<ListOrganizations, _, _>(with(storage, list));
    api.operation::<GetOrganization, _, _>(with(storage, get));
    api.operation::<UpdateOrganization, _, _>(with(storage, update));
}

async fn list(storage: Storage, call: AccountCall<ListOrganizations>) -> Result<Page<Organization>, Problem> {
    let (reader, account) = (storage.reader(), call.account);
    let fetch = |before: String, rows| async move { organization::of_account(reader, account, &before, rows).await };
    page(&call.query, |organization: &Organization| organization.id, all, fetch).await
}

async fn get(storage: Storage, call: Call<GetOrganization>) -> Result<Organization, Problem> {
    organization::get(storage.reader(), &call.grant).await?.ok_or_else(not_found)
}

async fn update(storage: Storage, call: Call<UpdateOrganization>) -> Result<Organization, Problem> {
    Ok(commands::organization::update(&storage, &call.grant, &call.body, call.entry(&call.path)).await?)
}
