//! Agent tokens.

use loopback_api::token::{CreateToken, ListTokens, MintedToken, RevokeToken, Token};
use loopback_api::{Nothing, Page, Problem};

use crate::clock::now_ms;
use crate::commands::token::{self as command, InstallLine};
use crate::http::api::{Api, Call, with};
use crate::queries::{all, page};
use crate::storage::{Storage, token};

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage, line: InstallLine) {
    api.operation::<ListTokens, _, _>(with(storage, list));
    api.operation::<CreateToken, _, _>(with(&(storage.clone(), line), create));
    api.operation::<RevokeToken, _, _>(with(storage, revoke));
}

async fn list(storage: Storage, call: Call<ListTokens>) -> Result<Page<Token>, Problem> {
    let (reader, grant, now) = (storage.reader(), &call.grant, now_ms());
    page(&call.query, |token: &Token| token.id, all, |before, rows| async move { token::list(reader, grant, now, &before, rows).await }).await
}

async fn create((storage, line): (Storage, InstallLine), call: Call<CreateToken>) -> Result<MintedToken, Problem> {
    Ok(command::create(&storage, &line, &call.grant, &call.body, call.entry(&call.path)).await?)
}

async fn revoke(storage: Storage, call: Call<RevokeToken>) -> Result<Nothing, Problem> {
    command::revoke(&storage, &call.grant, call.item(), call.entry(call.below(call.item()))).await?;
    Ok(Nothing {})
}
