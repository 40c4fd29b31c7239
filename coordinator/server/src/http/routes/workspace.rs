//! Workspaces.

use loopback_api::workspace::{CreateWorkspace, DeleteWorkspace, GetWorkspace, ListWorkspaces, Workspace};
use loopback_api::{Nothing, Page, Problem};

use crate::http::api::{Api, Call, with};
use crate::http::error::not_found;
use crate::storage::{Storage, workspace};
use crate::{commands, queries};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.operation::<ListWorkspaces, _, _>(with(storage, list));
    api.operation::<CreateWorkspace, _, _>(with(storage, create));
    api.operation::<GetWorkspace, _, _>(with(storage, get));
    api.operation::<DeleteWorkspace, _, _>(with(storage, delete));
}

async fn list(storage: Storage, call: Call<ListWorkspaces>) -> Result<Page<Workspace>, Problem> {
    queries::workspace::list(&storage, &call.grant, &call.query).await
}

async fn create(storage: Storage, call: Call<CreateWorkspace>) -> Result<Workspace, Problem> {
    let path = call.below(&call.body.slug);
    Ok(commands::workspace::create(&storage, &call.grant, path.clone(), &call.body, call.entry(path)).await?)
}

async fn get(storage: Storage, call: Call<GetWorkspace>) -> Result<Workspace, Problem> {
    workspace::get(storage.reader(), &call.grant).await?.ok_or_else(not_found)
}

async fn delete(storage: Storage, call: Call<DeleteWorkspace>) -> Result<Nothing, Problem> {
    commands::workspace::delete(&storage, &call.grant, &call.path, call.entry(&call.path)).await?;
    Ok(Nothing {})
}
