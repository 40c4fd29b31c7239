//! Changing an organization.

use loopback_api::organization::{Organization, OrganizationUpdate};
use loopback_core::access::Grant;

use super::{Refused, name};
use crate::storage::{Entry, Storage, organization};

/// Renames the grant's organization.
///
/// # Errors
/// The name is no name, or the organization is gone.
pub async fn update(storage: &Storage, grant: &Grant, update: &OrganizationUpdate, entry: Entry) -> Result<Organization, Refused> {
    let name = name(Some(&update.name), "")?;
    let before = organization::get(storage.reader(), grant).await?.ok_or_else(|| Refused::missing("organization", &entry.target))?;
    let mut tx = storage.begin().await?;
    organization::rename(&mut tx, grant, &name).await?;
    tx.commit(entry.with_details(serde_json::json!({ "name": { "before": before.name, "after": name } }))).await?;
    Ok(Organization { name, ..before })
}
