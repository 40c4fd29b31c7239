//! Paths as people write them (`acme/prod/web/host-1`, slugs and ids mixed) looked up. It is done before a grant can exist, and proves nothing.

use loopback_core::access::{ScopeKind, ScopePath, Target};
use loopback_protocol::id::{Id, Kind, OrganizationId};
use sqlx::AnyConnection;

use super::{StorageError, row};

const ORGANIZATION: &str = "SELECT id, slug FROM organization WHERE (id = $1 OR slug = $1) AND state <> 'deleted'";
const PROJECT: &str = "SELECT id, slug FROM project WHERE organization = $2 AND (id = $1 OR slug = $1)";
const WORKSPACE: &str = "SELECT id, slug FROM workspace WHERE organization = $2 AND project = $3 AND (id = $1 OR slug = $1)";
const HOST: &str = "SELECT id, slug FROM host WHERE organization = $2 AND workspace = $3 AND (id = $1 OR slug = $1) AND removed_at_ms IS NULL";

/// What a path names.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The organization, if there is one; a deleted one is none.
    pub organization: Option<OrganizationId>,
    /// The place, or the level at which there is nothing.
    pub target: Target,
    /// The path in slugs as far as it exists, then as it was written.
    pub path: String,
}

/// Looks a path up, wide to narrow.
///
/// # Errors
/// The database fails.
pub(crate) async fn resolve(connection: &mut AnyConnection, segments: &[&str]) -> Result<Resolved, StorageError> {
    let mut slugs: Vec<String> = segments.iter().map(|segment| (*segment).to_owned()).collect();
    let mut found: Option<ScopePath> = None;
    let mut missing = None;
    for (segment, slug) in segments.iter().zip(&mut slugs) {
        match next(connection, found, segment).await? {
            Ok((scope, canonical)) => (found, *slug) = (Some(scope), canonical),
            Err(kind) => {
                missing = Some(kind);
                break;
            }
        }
    }
    let target = match (missing, found) {
        (None, Some(scope)) => Target::Found(scope),
        (kind, _) => Target::Missing(kind.unwrap_or(ScopeKind::Organization)),
    };
    Ok(Resolved { organization: found.map(|scope| scope.organization()), target, path: slugs.join("/") })
}

/// One level down: the narrower scope and its slug, or the level that has no such thing.
async fn next(connection: &mut AnyConnection, parent: Option<ScopePath>, name: &str) -> Result<Result<(ScopePath, String), ScopeKind>, StorageError> {
    let found = match parent {
        None => one(connection, ORGANIZATION, &[name]).await?.map(|(id, slug)| (ScopePath::Organization(id), slug)).ok_or(ScopeKind::Organization),
        Some(ScopePath::Organization(organization)) => {
            let row = one(connection, PROJECT, &[name, &organization.to_string()]).await?;
            row.map(|(id, slug)| (ScopePath::Project(organization, id), slug)).ok_or(ScopeKind::Project)
        }
        Some(ScopePath::Project(organization, project)) => {
            let row = one(connection, WORKSPACE, &[name, &organization.to_string(), &project.to_string()]).await?;
            row.map(|(id, slug)| (ScopePath::Workspace(organization, project, id), slug)).ok_or(ScopeKind::Workspace)
        }
        Some(ScopePath::Workspace(organization, project, workspace)) => {
            let row = one(connection, HOST, &[name, &organization.to_string(), &workspace.to_string()]).await?;
            row.map(|(id, slug)| (ScopePath::Host(organization, project, workspace, id), slug)).ok_or(ScopeKind::Host)
        }
        Some(ScopePath::Host(..)) => Err(ScopeKind::Host),
    };
    Ok(found)
}

async fn one<K: Kind>(connection: &mut AnyConnection, sql: &'static str, values: &[&str]) -> Result<Option<(Id<K>, String)>, StorageError> {
    let query = values.iter().fold(sqlx::query(sql), |query, value| query.bind((*value).to_owned()));
    let found = query.fetch_optional(connection).await?;
    found.map(|found| Ok((row::id(&found, "id")?, row::text(&found, "slug")?))).transpose()
}

/// Where the organization's host or workspace with this id is; only ids stand for themselves without their path.
///
/// # Errors
/// The database fails.
pub(crate) async fn by_id(connection: &mut AnyConnection, organization: OrganizationId, kind: ScopeKind, id: &str) -> Result<Option<ScopePath>, StorageError> {
    let sql = match kind {
        ScopeKind::Host => "SELECT organization, project, workspace, id AS host FROM host WHERE organization = $1 AND id = $2 AND removed_at_ms IS NULL",
        ScopeKind::Workspace => "SELECT organization, project, id AS workspace, NULL AS host FROM workspace WHERE organization = $1 AND id = $2",
        ScopeKind::Organization | ScopeKind::Project => return Ok(None),
    };
    let found = sqlx::query(sql).bind(organization.to_string()).bind(id.to_owned()).fetch_optional(connection).await?;
    found.as_ref().map(row::scope).transpose()
}
