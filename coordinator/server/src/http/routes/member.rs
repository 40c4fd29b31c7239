//! Members.

use loopback_api::member::{AddMember, ListMembers, Member, RemoveMember};
use loopback_api::{Nothing, Page, Problem};

use crate::commands;
use crate::http::api::{Api, Call, with};
use crate::queries::{all, page};
use crate::storage::{Storage, member};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.operation::<ListMembers, _, _>(with(storage, list));
    api.operation::<AddMember, _, _>(with(storage, add));
    api.operation::<RemoveMember, _, _>(with(storage, remove));
}

async fn list(storage: Storage, call: Call<ListMembers>) -> Result<Page<Member>, Problem> {
    let (reader, grant) = (storage.reader(), &call.grant);
    page(&call.query, |member: &Member| member.id, all, |before, rows| async move { member::list(reader, grant, &before, rows).await }).await
}

async fn add(storage: Storage, call: Call<AddMember>) -> Result<Member, Problem> {
    Ok(commands::member::add(&storage, &call.grant, &call.body, call.entry(&call.path)).await?)
}

async fn remove(storage: Storage, call: Call<RemoveMember>) -> Result<Nothing, Problem> {
    commands::member::remove(&storage, &call.grant, call.item(), call.entry(&call.path)).await?;
    Ok(Nothing {})
}
