//! The rows of hosts.

use loopback_core::access::{Grant, ScopePath};
use loopback_protocol::id::{HostId, OrganizationId};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, Row};

use super::audit::{signed, unsigned};
use super::{StorageError, Tx, binding};

/// A host that is not removed.
#[derive(Debug, Clone)]
pub struct HostRow {
    /// Its id.
    pub id: HostId,
    /// Where it is.
    pub scope: ScopePath,
    /// `acme/prod/web/host-1`.
    pub path: String,
    /// Since when it exists.
    pub created_at_ms: u64,
}

const COLUMNS: &str = "SELECT h.organization, h.id, h.project, h.workspace, h.created_at_ms, \
    o.slug || '/' || p.slug || '/' || w.slug || '/' || h.slug AS path FROM host h JOIN organization o ON o.id = h.organization \
    JOIN project p ON p.organization = h.organization AND p.id = h.project JOIN workspace w ON w.organization = h.organization AND w.id = h.workspace \
    WHERE h.organization = $1 AND h.removed_at_ms IS NULL";

impl HostRow {
    /// Whether a rule's reference (`host:acme/prod/web/host-1`, `workspace:acme/prod/web`, slugs and ids mixed, or an id alone) means this host.
    #[must_use]
    pub fn is_meant_by(&self, reference: &str) -> bool {
        let scope = self.scope.to_string();
        let names = |levels: usize, text: &str| {
            let pairs = || self.path.split('/').zip(scope.split('/')).take(levels);
            let segments: Vec<_> = text.split('/').collect();
            match segments.as_slice() {
                [id] => pairs().last().is_some_and(|(_, own)| own == *id),
                segments => segments.len() == levels && pairs().zip(segments).all(|((slug, id), segment)| slug == *segment || id == *segment),
            }
        };
        match reference.split_once(':') {
            Some(("host", text)) => names(4, text),
            Some(("workspace", text)) => names(3, text),
            _ => false,
        }
    }
}

/// The host a certificate names, if it is not removed. The certificate is the proof, so there is no grant yet.
///
/// # Errors
/// The engine refuses, or the row cannot be read.
pub async fn of_certificate(pool: &AnyPool, organization: OrganizationId, host: HostId) -> Result<Option<HostRow>, StorageError> {
    let statement = sqlx::AssertSqlSafe(format!("{COLUMNS} AND h.id = $2"));
    let row = sqlx::query(statement).bind(organization.to_string()).bind(host.to_string()).fetch_optional(pool).await?;
    row.as_ref().map(read).transpose()
}

/// Every host of an organization, for the reconciler.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn of_organization(pool: &AnyPool, organization: OrganizationId) -> Result<Vec<HostRow>, StorageError> {
    let statement = sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY h.id DESC"));
    let rows = sqlx::query(statement).bind(organization.to_string()).fetch_all(pool).await?;
    rows.iter().map(read).collect()
}

/// The host a grant was given for.
///
/// # Errors
/// The engine refuses, the row cannot be read, or the grant is not for a host that is there.
pub async fn get(pool: &AnyPool, grant: &Grant) -> Result<Option<HostRow>, StorageError> {
    match grant.scope().host() {
        Some(host) => of_certificate(pool, grant.scope().organization(), host).await,
        None => Ok(None),
    }
}

/// The hosts in the grant's scope that it reaches, newest first, from before `before`.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn list(pool: &AnyPool, grant: &Grant, before: Option<HostId>) -> Result<Vec<HostRow>, StorageError> {
    let mut rows = of_organization(pool, grant.scope().organization()).await?;
    rows.retain(|row| grant.scope().contains(&row.scope) && grant.reaches(&row.scope) && before.is_none_or(|before| row.id < before));
    Ok(rows)
}

/// Hosts that were removed, whose certificates may not have expired.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn removed(pool: &AnyPool) -> Result<Vec<HostId>, StorageError> {
    let rows: Vec<String> = sqlx::query_scalar("SELECT id FROM host WHERE removed_at_ms IS NOT NULL").fetch_all(pool).await?;
    rows.iter().map(|id| id.parse().map_err(|_| StorageError::Corrupt("host id"))).collect()
}

/// Removes the grant's host: its slug is free again, its bindings are gone, its certificate counts for nothing.
///
/// # Errors
/// The engine refuses.
pub async fn remove(tx: &mut Tx, grant: &Grant, now_ms: u64) -> Result<(), StorageError> {
    let (organization, host) = (grant.scope().organization().to_string(), grant.scope().host().map(|id| id.to_string()));
    let statement = "UPDATE host SET removed_at_ms = $3 WHERE organization = $1 AND id = $2 AND removed_at_ms IS NULL";
    sqlx::query(statement).bind(&organization).bind(&host).bind(signed(now_ms)).execute(tx.connection()).await?;
    binding::delete_at(tx, grant).await?;
    tx.bump_revision(grant.scope().organization()).await
}

fn read(row: &AnyRow) -> Result<HostRow, StorageError> {
    let text = |column: &str| row.try_get::<String, _>(column);
    let id = text("id")?.parse().map_err(|_| StorageError::Corrupt("host id"))?;
    let scope = ScopePath::Host(
        text("organization")?.parse().map_err(|_| StorageError::Corrupt("organization id"))?,
        text("project")?.parse().map_err(|_| StorageError::Corrupt("project id"))?,
        text("workspace")?.parse().map_err(|_| StorageError::Corrupt("workspace id"))?,
        id,
    );
    Ok(HostRow { id, scope, path: text("path")?, created_at_ms: unsigned(row.try_get("created_at_ms")?) })
}

#[cfg(test)]
mod tests {
    use loopback_core::access::ScopePath;
    use loopback_protocol::id::Id;

    use super::HostRow;

    #[test]
    fn references_mean_hosts_by_path_by_id_and_mixed() {
        let scope = ScopePath::Host(Id::new(1, [1; 10]), Id::new(1, [2; 10]), Id::new(1, [3; 10]), Id::new(1, [4; 10]));
        let row = HostRow { id: Id::new(1, [4; 10]), scope, path: "acme/prod/web/h1".into(), created_at_ms: 0 };
        let workspace = scope.workspace().unwrap();
        for meant in [
            "host:acme/prod/web/h1",
            &format!("host:{}", row.id),
            &format!("host:acme/prod/{workspace}/h1"),
            "workspace:acme/prod/web",
            &format!("workspace:{workspace}"),
        ] {
            assert!(row.is_meant_by(meant), "{meant}");
        }
        for other in ["host:h1", "host:acme/prod/web", "host:acme/prod/web/h2", "workspace:web", "workspace:acme/prod", "acme/prod/web/h1", "host:"] {
            assert!(!row.is_meant_by(other), "{other}");
        }
    }
}
