//! Roles.

use loopback_api::role::{CreateRole, DeleteRole, ListRoles, Role, UpdateRole};
use loopback_api::{Nothing, Page, Problem};

use crate::commands;
use crate::http::api::{Api, Call, with};
use crate::queries::{all, page};
use crate::storage::{Storage, role};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.operation::<ListRoles, _, _>(with(storage, list));
    api.operation::<CreateRole, _, _>(with(storage, create));
    api.operation::<UpdateRole, _, _>(with(storage, update));
    api.operation::<DeleteRole, _, _>(with(storage, delete));
}

async fn list(storage: Storage, call: Call<ListRoles>) -> Result<Page<Role>, Problem> {
    let (reader, grant) = (storage.reader(), &call.grant);
    page(&call.query, |role: &Role| role.id, all, |before, rows| async move { role::list(reader, grant, &before, rows).await }).await
}

async fn create(storage: Storage, call: Call<CreateRole>) -> Result<Role, Problem> {
    Ok(commands::role::create(&storage, &call.grant, &call.body, call.entry(call.below(&call.body.slug))).await?)
}

async fn update(storage: Storage, call: Call<UpdateRole>) -> Result<Role, Problem> {
    Ok(commands::role::update(&storage, &call.grant, call.item(), &call.body, call.entry(call.below(call.item()))).await?)
}

async fn delete(storage: Storage, call: Call<DeleteRole>) -> Result<Nothing, Problem> {
    commands::role::delete(&storage, &call.grant, call.item(), call.entry(call.below(call.item()))).await?;
    Ok(Nothing {})
}
