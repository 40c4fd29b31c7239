//! Projects.

use loopback_api::project::{CreateProject, DeleteProject, GetProject, ListProjects, Project};
use loopback_api::{Nothing, Page, Problem};

use crate::http::api::{Api, Call, with};
use crate::http::error::not_found;
use crate::storage::{Storage, project};
use crate::{commands, queries};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.operation::<ListProjects, _, _>(with(storage, list));
    api.operation::<CreateProject, _, _>(with(storage, create));
    api.operation::<GetProject, _, _>(with(storage, get));
    api.operation::<DeleteProject, _, _>(with(storage, delete));
}

async fn list(storage: Storage, call: Call<ListProjects>) -> Result<Page<Project>, Problem> {
    queries::project::list(&storage, &call.grant, &call.query).await
}

async fn create(storage: Storage, call: Call<CreateProject>) -> Result<Project, Problem> {
    let path = call.below(&call.body.slug);
    Ok(commands::project::create(&storage, &call.grant, path.clone(), &call.body, call.entry(path)).await?)
}

async fn get(storage: Storage, call: Call<GetProject>) -> Result<Project, Problem> {
    project::get(storage.reader(), &call.grant).await?.ok_or_else(not_found)
}

async fn delete(storage: Storage, call: Call<DeleteProject>) -> Result<Nothing, Problem> {
    commands::project::delete(&storage, &call.grant, &call.path, call.entry(&call.path)).await?;
    Ok(Nothing {})
}
