//! Bindings.

use loopback_api::binding::{Binding, CreateBinding, DeleteBinding, ListBindings};
use loopback_api::{Nothing, Page, Problem};

use crate::http::api::{Api, Call, with};
use crate::storage::Storage;
use crate::{commands, queries};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.operation::<ListBindings, _, _>(with(storage, list));
    api.operation::<CreateBinding, _, _>(with(storage, create));
    api.operation::<DeleteBinding, _, _>(with(storage, delete));
}

async fn list(storage: Storage, call: Call<ListBindings>) -> Result<Page<Binding>, Problem> {
    queries::binding::list(&storage, &call.grant, &call.query).await
}

async fn create(storage: Storage, call: Call<CreateBinding>) -> Result<Binding, Problem> {
    Ok(commands::binding::create(&storage, &call.grant, &call.body, call.entry(&call.body.scope)).await?)
}

async fn delete(storage: Storage, call: Call<DeleteBinding>) -> Result<Nothing, Problem> {
    commands::binding::delete(&storage, &call.grant, call.item(), call.entry(&call.path)).await?;
    Ok(Nothing {})
}
