//! Firewalls of organizations and of workspaces: the same handlers, since the grant says which.

use loopback_api::firewall::{
    CreateOrganizationFirewall, CreateWorkspaceFirewall, DeleteOrganizationFirewall, DeleteWorkspaceFirewall, Firewall, GetOrganizationFirewall,
    GetWorkspaceFirewall, ListOrganizationFirewalls, ListWorkspaceFirewalls, NewFirewall, Rules, SetOrganizationFirewallRules, SetWorkspaceFirewallRules,
    UpdateOrganizationFirewall, UpdateWorkspaceFirewall,
};
use loopback_api::{Nothing, Operation, Page, PageQuery, Problem};

use crate::commands;
use crate::http::api::{Api, Call, with};
use crate::http::error::not_found;
use crate::queries::{all, page};
use crate::storage::{Storage, StorageError, firewall};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage) {
    api.operation::<ListOrganizationFirewalls, _, _>(with(storage, list));
    api.operation::<ListWorkspaceFirewalls, _, _>(with(storage, list));
    api.operation::<GetOrganizationFirewall, _, _>(with(storage, get));
    api.operation::<GetWorkspaceFirewall, _, _>(with(storage, get));
    api.operation::<CreateOrganizationFirewall, _, _>(with(storage, create));
    api.operation::<CreateWorkspaceFirewall, _, _>(with(storage, create));
    api.operation::<UpdateOrganizationFirewall, _, _>(with(storage, update));
    api.operation::<UpdateWorkspaceFirewall, _, _>(with(storage, update));
    api.bulk::<SetOrganizationFirewallRules, _, _>(with(storage, set_rules));
    api.bulk::<SetWorkspaceFirewallRules, _, _>(with(storage, set_rules));
    api.operation::<DeleteOrganizationFirewall, _, _>(with(storage, delete));
    api.operation::<DeleteWorkspaceFirewall, _, _>(with(storage, delete));
}

async fn list<O: Operation<Query = PageQuery>>(storage: Storage, call: Call<O>) -> Result<Page<Firewall>, Problem> {
    let (reader, grant) = (storage.reader(), &call.grant);
    page(&call.query, |firewall: &Firewall| firewall.id, all, |before, rows| async move { firewall::list(reader, grant, &before, rows).await }).await
}

async fn get<O: Operation>(storage: Storage, call: Call<O>) -> Result<Firewall, Problem> {
    let mut connection = storage.reader().acquire().await.map_err(StorageError::from)?;
    firewall::find(&mut connection, &call.grant, call.item()).await?.ok_or_else(not_found)
}

async fn create<O: Operation<Body = NewFirewall>>(storage: Storage, call: Call<O>) -> Result<Firewall, Problem> {
    Ok(commands::firewall::create(&storage, &call.grant, &call.body, call.entry(call.below(&call.body.slug))).await?)
}

async fn update<O: Operation<Body = NewFirewall>>(storage: Storage, call: Call<O>) -> Result<Firewall, Problem> {
    Ok(commands::firewall::update(&storage, &call.grant, call.item(), &call.body, call.entry(call.below(call.item()))).await?)
}

async fn set_rules<O: Operation<Body = Rules>>(storage: Storage, call: Call<O>) -> Result<Firewall, Problem> {
    let entry = call.entry(call.below(call.item()));
    let item = call.item().to_owned();
    Ok(commands::firewall::set_rules(&storage, &call.grant, &item, call.body.rules, entry).await?)
}

async fn delete<O: Operation>(storage: Storage, call: Call<O>) -> Result<Nothing, Problem> {
    commands::firewall::delete(&storage, &call.grant, call.item(), call.entry(call.below(call.item()))).await?;
    Ok(Nothing {})
}
