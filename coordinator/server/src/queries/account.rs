//! Who one is, and where one may go.

use loopback_api::Problem;
use loopback_api::account::{Identity, IdentityOrganization};
use loopback_protocol::id::AccountId;

use crate::clock::now_ms;
use crate::http::error::unauthenticated;
use crate::storage::{Storage, account, organization, role};

/// Organizations named to one account; whoever belongs to more pages through `list_organizations`.
const ORGANIZATIONS_MAX: i64 = 200;

/// The account, its organizations, and the roles it holds anywhere in them.
///
/// # Errors
/// The database fails.
pub async fn identity(storage: &Storage, account: AccountId) -> Result<Identity, Problem> {
    let stored = account::by_id(storage.reader(), account).await?.ok_or_else(unauthenticated)?;
    let mut organizations = Vec::new();
    for organization in organization::of_account(storage.reader(), account, "", ORGANIZATIONS_MAX).await? {
        let roles = role::slugs_of(storage.reader(), organization.id, account, now_ms()).await?;
        organizations.push(IdentityOrganization { id: organization.id, slug: organization.slug, roles });
    }
    Ok(Identity { account, email: stored.email, name: stored.name, organizations })
}
