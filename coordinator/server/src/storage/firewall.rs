//! Firewalls of organizations and workspaces, and their rules as people wrote them.

use loopback_api::Time;
use loopback_api::firewall::{Firewall, NewFirewall, Rule};
use loopback_core::access::Grant;
use loopback_core::firewall::rule::{DefaultVerdict, Stage};
use loopback_protocol::id::FirewallId;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyExecutor, AnyPool};

use super::audit::signed;
use super::{StorageError, Tx, row};

// A workspace's firewalls have a workspace, an organization's have none; `$2` is the workspace or the empty text.
const SELECT: &str = "SELECT f.id, f.slug, f.description, f.stage, f.default_inbound, f.default_outbound, f.created_at_ms, f.updated_at_ms, \
    o.slug AS organization_slug, p.slug AS project_slug, w.slug AS workspace_slug, \
    (SELECT COUNT(*) FROM firewall_rule r WHERE r.organization = f.organization AND r.firewall = f.id) AS rule_count \
    FROM firewall f JOIN organization o ON o.id = f.organization \
    LEFT JOIN workspace w ON w.organization = f.organization AND w.id = f.workspace \
    LEFT JOIN project p ON p.organization = f.organization AND p.id = f.project \
    WHERE f.organization = $1 AND COALESCE(f.workspace, '') = $2 ";

/// Firewalls of the grant's scope without their rules, newest first, from before an id.
///
/// # Errors
/// The database fails.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, before: &str, rows: i64) -> Result<Vec<Firewall>, StorageError> {
    let sql = format!("{SELECT} AND ($3 = '' OR f.id < $3) ORDER BY f.id DESC LIMIT $4");
    let (organization, workspace) = place(grant);
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(organization).bind(workspace).bind(before.to_owned()).bind(rows);
    query.fetch_all(reader).await?.iter().map(firewall).collect()
}

/// A firewall of the grant's scope by slug or id, with its rules.
///
/// # Errors
/// The database fails.
pub(crate) async fn find(connection: &mut AnyConnection, grant: &Grant, name: &str) -> Result<Option<Firewall>, StorageError> {
    let sql = format!("{SELECT} AND (f.id = $3 OR f.slug = $3)");
    let (organization, workspace) = place(grant);
    let query = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(organization).bind(workspace).bind(name.to_owned());
    let Some(found) = query.fetch_optional(&mut *connection).await? else { return Ok(None) };
    let mut firewall = firewall(&found)?;
    firewall.rules = rules(connection, grant, firewall.id).await?;
    Ok(Some(firewall))
}

async fn rules<'e>(executor: impl AnyExecutor<'e>, grant: &Grant, firewall: FirewallId) -> Result<Vec<Rule>, StorageError> {
    let sql = "SELECT id, spec FROM firewall_rule WHERE organization = $1 AND firewall = $2 ORDER BY position";
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(firewall.to_string()).fetch_all(executor).await?;
    found.iter().map(|found| Ok(Rule { id: row::id(found, "id")?, spec: row::json(found, "spec")? })).collect()
}

fn firewall(found: &AnyRow) -> Result<Firewall, StorageError> {
    let scope = [Some(row::text(found, "organization_slug")?), row::optional_text(found, "project_slug")?, row::optional_text(found, "workspace_slug")?];
    Ok(Firewall {
        id: row::id(found, "id")?,
        slug: row::text(found, "slug")?,
        scope: scope.into_iter().flatten().collect::<Vec<_>>().join("/"),
        description: row::text(found, "description")?,
        stage: row::optional_text(found, "stage")?.map(|name| word(&name, "stage")).transpose()?,
        default_inbound: word(&row::text(found, "default_inbound")?, "default_inbound")?,
        default_outbound: word(&row::text(found, "default_outbound")?, "default_outbound")?,
        rule_count: row::number(found, "rule_count")?,
        rules: Vec::new(),
        created_at: Time(row::number(found, "created_at_ms")?),
        updated_at: Time(row::number(found, "updated_at_ms")?),
    })
}

/// Adds a firewall to the grant's scope, unless its slug is taken there.
///
/// # Errors
/// The database fails, or the scope is gone.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, id: FirewallId, new: &NewFirewall, now_ms: u64) -> Result<bool, StorageError> {
    let sql = "INSERT INTO firewall (organization, id, project, workspace, slug, description, stage, default_inbound, default_outbound, created_at_ms, updated_at_ms) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10) ON CONFLICT DO NOTHING";
    let done = sqlx::query(sql)
        .bind(grant.scope().organization().to_string())
        .bind(id.to_string())
        .bind(grant.scope().project().map(|id| id.to_string()))
        .bind(grant.scope().workspace().map(|id| id.to_string()))
        .bind(new.slug.clone())
        .bind(new.description.clone())
        .bind(new.stage.map(stage_name))
        .bind(verdict_name(new.default_inbound))
        .bind(verdict_name(new.default_outbound))
        .bind(signed(now_ms))
        .execute(tx.connection())
        .await?;
    Ok(done.rows_affected() > 0)
}

/// Whether another firewall of the grant's scope has the slug.
///
/// # Errors
/// The database fails.
pub(crate) async fn slug_is_taken(tx: &mut Tx, grant: &Grant, slug: &str, by_other_than: FirewallId) -> Result<bool, StorageError> {
    let sql = "SELECT id FROM firewall WHERE organization = $1 AND COALESCE(workspace, '') = $2 AND slug = $3 AND id <> $4";
    let (organization, workspace) = place(grant);
    let query = sqlx::query(sql).bind(organization).bind(workspace).bind(slug.to_owned()).bind(by_other_than.to_string());
    Ok(query.fetch_optional(tx.connection()).await?.is_some())
}

/// Replaces what a firewall of the grant's scope is, not its rules.
///
/// # Errors
/// The database fails.
pub(crate) async fn update(tx: &mut Tx, grant: &Grant, id: FirewallId, new: &NewFirewall, now_ms: u64) -> Result<(), StorageError> {
    let sql = "UPDATE firewall SET slug = $4, description = $5, stage = $6, default_inbound = $7, default_outbound = $8, updated_at_ms = $9 \
        WHERE organization = $1 AND COALESCE(workspace, '') = $2 AND id = $3";
    let (organization, workspace) = place(grant);
    sqlx::query(sql)
        .bind(organization)
        .bind(workspace)
        .bind(id.to_string())
        .bind(new.slug.clone())
        .bind(new.description.clone())
        .bind(new.stage.map(stage_name))
        .bind(verdict_name(new.default_inbound))
        .bind(verdict_name(new.default_outbound))
        .bind(signed(now_ms))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Replaces all rules of a firewall that was found under the same grant.
///
/// # Errors
/// The database fails.
pub(crate) async fn set_rules(tx: &mut Tx, grant: &Grant, id: FirewallId, rules: &[Rule], now_ms: u64) -> Result<(), StorageError> {
    let organization = grant.scope().organization().to_string();
    delete_rules(tx, grant, id).await?;
    for (position, rule) in (0_i64..).zip(rules) {
        let spec = serde_json::to_string(&rule.spec).map_err(|_| StorageError::Corrupt("spec"))?;
        sqlx::query("INSERT INTO firewall_rule (organization, firewall, position, id, spec) VALUES ($1, $2, $3, $4, $5)")
            .bind(organization.clone())
            .bind(id.to_string())
            .bind(position)
            .bind(rule.id.to_string())
            .bind(spec)
            .execute(tx.connection())
            .await?;
    }
    let sql = "UPDATE firewall SET updated_at_ms = $3 WHERE organization = $1 AND id = $2";
    sqlx::query(sql).bind(organization).bind(id.to_string()).bind(signed(now_ms)).execute(tx.connection()).await?;
    Ok(())
}

/// Removes a firewall that was found under the same grant.
///
/// # Errors
/// The database fails.
pub(crate) async fn delete(tx: &mut Tx, grant: &Grant, id: FirewallId) -> Result<(), StorageError> {
    delete_rules(tx, grant, id).await?;
    let sql = "DELETE FROM firewall WHERE organization = $1 AND id = $2";
    sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).execute(tx.connection()).await?;
    Ok(())
}

async fn delete_rules(tx: &mut Tx, grant: &Grant, id: FirewallId) -> Result<(), StorageError> {
    let sql = "DELETE FROM firewall_rule WHERE organization = $1 AND firewall = $2";
    sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).execute(tx.connection()).await?;
    Ok(())
}

fn place(grant: &Grant) -> (String, String) {
    (grant.scope().organization().to_string(), grant.scope().workspace().map(|id| id.to_string()).unwrap_or_default())
}

/// The words of stages and verdicts are those of the API.
fn word<T: serde::de::DeserializeOwned>(name: &str, column: &'static str) -> Result<T, StorageError> {
    serde_json::from_value(serde_json::Value::from(name)).map_err(|_| StorageError::Corrupt(column))
}

const fn stage_name(stage: Stage) -> &'static str {
    match stage {
        Stage::Guardrail => "guardrail",
        Stage::Baseline => "baseline",
    }
}

const fn verdict_name(verdict: DefaultVerdict) -> &'static str {
    match verdict {
        DefaultVerdict::Allow => "allow",
        DefaultVerdict::Deny => "deny",
        DefaultVerdict::Reject => "reject",
    }
}
