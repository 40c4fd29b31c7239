//! What a token opens: the rows that admitting a machine reads and writes.

use std::collections::HashSet;

use loopback_core::access::{Grant, ScopePath};
use loopback_core::enroll::AgentToken;
use loopback_core::limits::SLUG_MAX_CHARS;
use loopback_core::tenancy::{Limits, Slug, Standing};
use loopback_protocol::id::{AgentTokenId, HostId};
use loopback_protocol::secret::SecretHash;
use sqlx::Row;

use super::audit::{signed, unsigned};
use super::{StorageError, Tx};

/// A token with everything its admission depends on.
#[derive(Debug)]
pub struct TokenContext {
    /// The token.
    pub token: AgentToken,
    /// Its organization's status.
    pub standing: Standing,
    /// What the organization may hold.
    pub limits: Limits,
    /// Hosts of the organization.
    pub hosts: u64,
    /// The workspace's path of slugs.
    pub path: String,
}

/// Looks a token up by its id alone: a machine does not know its organization yet.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn token(tx: &mut Tx, id: AgentTokenId) -> Result<Option<TokenContext>, StorageError> {
    let statement = "SELECT t.organization, t.project, t.workspace, t.secret_hash, t.expires_at_ms, t.max_uses, t.uses, t.revoked_at_ms, \
        o.verification, o.state, o.limits, o.slug AS organization_slug, p.slug AS project_slug, w.slug AS workspace_slug, \
        (SELECT COUNT(*) FROM host h WHERE h.organization = t.organization AND h.removed_at_ms IS NULL) AS hosts \
        FROM agent_token t JOIN organization o ON o.id = t.organization \
        JOIN project p ON p.organization = t.organization AND p.id = t.project \
        JOIN workspace w ON w.organization = t.organization AND w.id = t.workspace WHERE t.id = $1";
    let Some(row) = sqlx::query(statement).bind(id.to_string()).fetch_optional(tx.connection()).await? else { return Ok(None) };
    let text = |column: &str| row.try_get::<String, _>(column);
    let corrupt = |what| move |_| StorageError::Corrupt(what);
    let mut hash = [0; 32];
    hex::decode_to_slice(text("secret_hash")?, &mut hash).map_err(corrupt("token's hash"))?;
    let workspace = ScopePath::Workspace(
        text("organization")?.parse().map_err(|_| StorageError::Corrupt("organization id"))?,
        text("project")?.parse().map_err(|_| StorageError::Corrupt("project id"))?,
        text("workspace")?.parse().map_err(|_| StorageError::Corrupt("workspace id"))?,
    );
    let token = AgentToken {
        id,
        workspace,
        hash: SecretHash(hash),
        expires_at_ms: unsigned(row.try_get("expires_at_ms")?),
        max_uses: u32::try_from(row.try_get::<i64, _>("max_uses")?).unwrap_or_default(),
        uses: u32::try_from(row.try_get::<i64, _>("uses")?).unwrap_or(u32::MAX),
        revoked_at_ms: row.try_get::<Option<i64>, _>("revoked_at_ms")?.map(unsigned),
    };
    let standing = Standing {
        verification: text("verification")?.parse().map_err(|_| StorageError::Corrupt("verification"))?,
        state: text("state")?.parse().map_err(|_| StorageError::Corrupt("state"))?,
    };
    let limits = serde_json::from_str(&text("limits")?).map_err(|_| StorageError::Corrupt("limits"))?;
    let path = format!("{}/{}/{}", text("organization_slug")?, text("project_slug")?, text("workspace_slug")?);
    Ok(Some(TokenContext { token, standing, limits, hosts: unsigned(row.try_get("hosts")?), path }))
}

/// The nearest slug to a host name that is free in the grant's workspace.
///
/// # Errors
/// The engine refuses.
pub async fn free_slug(tx: &mut Tx, grant: &Grant, hostname: &str) -> Result<Slug, StorageError> {
    let wanted = Slug::from_hostname(hostname).or_else(|| "host".parse().ok()).ok_or(StorageError::Corrupt("slug"))?;
    if !slugs_like(tx, grant, wanted.as_str()).await?.contains(wanted.as_str()) {
        return Ok(wanted);
    }
    // A numbered slug may be cut to make room for its number; what is cut never reaches this far.
    let stem: String = wanted.as_str().chars().take(SLUG_MAX_CHARS - 12).collect();
    let taken = slugs_like(tx, grant, &format!("{stem}%")).await?;
    (2..).map(|number| wanted.numbered(number)).find(|slug| !taken.contains(slug.as_str())).ok_or(StorageError::Corrupt("slug"))
}

async fn slugs_like(tx: &mut Tx, grant: &Grant, pattern: &str) -> Result<HashSet<String>, StorageError> {
    let statement = "SELECT slug FROM host WHERE organization = $1 AND workspace = $2 AND removed_at_ms IS NULL AND slug LIKE $3";
    let (organization, workspace) = (grant.scope().organization().to_string(), grant.scope().workspace().map(|id| id.to_string()));
    let slugs: Vec<String> = sqlx::query_scalar(statement).bind(organization).bind(workspace).bind(pattern).fetch_all(tx.connection()).await?;
    Ok(slugs.into_iter().collect())
}

/// Makes the host the grant admits, and counts the token's use.
///
/// # Errors
/// The engine refuses.
pub async fn insert_host(
    tx: &mut Tx,
    grant: &Grant,
    token: AgentTokenId,
    host: HostId,
    slug: &Slug,
    machine_id: &str,
    now_ms: u64,
) -> Result<(), StorageError> {
    let scope = grant.scope();
    let statement = "INSERT INTO host (organization, id, project, workspace, slug, machine_id, token, created_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    sqlx::query(statement)
        .bind(scope.organization().to_string())
        .bind(host.to_string())
        .bind(scope.project().map(|id| id.to_string()))
        .bind(scope.workspace().map(|id| id.to_string()))
        .bind(slug.as_str())
        .bind(machine_id)
        .bind(token.to_string())
        .bind(signed(now_ms))
        .execute(tx.connection())
        .await?;
    let statement = "UPDATE agent_token SET uses = uses + 1 WHERE organization = $1 AND id = $2";
    sqlx::query(statement).bind(scope.organization().to_string()).bind(token.to_string()).execute(tx.connection()).await?;
    Ok(())
}
