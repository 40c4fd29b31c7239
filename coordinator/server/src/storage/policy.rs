//! The firewalls of an organization as the compiler takes them.

use loopback_core::firewall::rule::{DefaultVerdict, Stage};
use loopback_core::firewall::{Firewall, Placement, StoredRule};
use loopback_protocol::id::{FirewallId, OrganizationId, WorkspaceId};
use serde::de::DeserializeOwned;
use sqlx::{AnyPool, Row};

use super::StorageError;

/// A firewall, and the workspace it belongs to unless it is the organization's.
#[derive(Debug, Clone)]
pub struct PlacedFirewall {
    /// The workspace it belongs to.
    pub workspace: Option<WorkspaceId>,
    /// What the compiler takes.
    pub firewall: Firewall,
}

/// All firewalls of an organization with their rules, for the reconciler and for explanations of hosts a grant was given for.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn firewalls(pool: &AnyPool, organization: OrganizationId) -> Result<Vec<PlacedFirewall>, StorageError> {
    let statement = "SELECT id, workspace, slug, stage, default_inbound, default_outbound FROM firewall WHERE organization = $1 ORDER BY id";
    let rows = sqlx::query(statement).bind(organization.to_string()).fetch_all(pool).await?;
    let mut firewalls = Vec::with_capacity(rows.len());
    for row in &rows {
        let workspace = row.try_get::<Option<String>, _>("workspace")?.map(|id| id.parse().map_err(|_| StorageError::Corrupt("workspace id"))).transpose()?;
        let stage = row.try_get::<Option<String>, _>("stage")?.map(|stage| word::<Stage>(&stage)).transpose()?;
        let id: FirewallId = row.try_get::<String, _>("id")?.parse().map_err(|_| StorageError::Corrupt("firewall id"))?;
        let firewall = Firewall {
            id,
            slug: row.try_get("slug")?,
            placement: stage.map_or(Placement::Workspace, Placement::Organization),
            default_inbound: word::<DefaultVerdict>(&row.try_get::<String, _>("default_inbound")?)?,
            default_outbound: word::<DefaultVerdict>(&row.try_get::<String, _>("default_outbound")?)?,
            rules: Vec::new(),
        };
        firewalls.push(PlacedFirewall { workspace, firewall });
    }
    let statement = "SELECT firewall, id, spec FROM firewall_rule WHERE organization = $1 ORDER BY firewall, position";
    for row in sqlx::query(statement).bind(organization.to_string()).fetch_all(pool).await? {
        let owner: FirewallId = row.try_get::<String, _>("firewall")?.parse().map_err(|_| StorageError::Corrupt("firewall id"))?;
        let id = row.try_get::<String, _>("id")?.parse().map_err(|_| StorageError::Corrupt("rule id"))?;
        let spec = serde_json::from_str(&row.try_get::<String, _>("spec")?).map_err(|_| StorageError::Corrupt("rule"))?;
        // Both lists are in the same order of ids, but a search is as quick and cannot go wrong.
        if let Ok(place) = firewalls.binary_search_by_key(&owner, |placed| placed.firewall.id)
            && let Some(placed) = firewalls.get_mut(place)
        {
            placed.firewall.rules.push(StoredRule { id, spec });
        }
    }
    Ok(firewalls)
}

/// A word that serde writes, such as `deny`.
pub(super) fn word<T: DeserializeOwned>(text: &str) -> Result<T, StorageError> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|_| StorageError::Corrupt("word"))
}
