//! Audit entries as they are written: the trail, the sequence and the chain are added by the transaction.

use std::fmt;

use loopback_core::access::{Actor, Grant};
use loopback_core::audit::{ChainHash, Event, Outcome};
use loopback_protocol::id::OrganizationId;
use serde_json::Value;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AnyPool, Row as _};

use super::StorageError;
use crate::{clock, ids};

/// Which chain an entry belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trail {
    /// A tenant's.
    Organization(OrganizationId),
    /// What belongs to no tenant: logins, malformed tokens, the coordinator itself.
    Platform,
}

/// What is to be said of a write, a denial or a sensitive read.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The chain.
    pub trail: Trail,
    /// Who.
    pub actor: Actor,
    /// Their name for people.
    pub actor_name: String,
    /// From where, or empty.
    pub address: String,
    /// With what, or empty.
    pub user_agent: String,
    /// What: the audit key of the operation.
    pub action: String,
    /// On what, as a path.
    pub target: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What changed, or why not; never a secret.
    pub details: Value,
    /// The request, or empty.
    pub request: String,
}

impl Entry {
    /// An entry about something the coordinator does by itself.
    #[must_use]
    pub fn of_system(trail: Trail, action: &str, target: &str) -> Self {
        Self {
            trail,
            actor: Actor::System,
            actor_name: "system".to_owned(),
            address: String::new(),
            user_agent: String::new(),
            action: action.to_owned(),
            target: target.to_owned(),
            outcome: Outcome::Allowed,
            details: Value::Null,
            request: String::new(),
        }
    }

    /// An entry about what a grant allowed, in the grant's organization.
    #[must_use]
    pub fn of_grant(grant: &Grant, actor_name: &str, action: &str, target: &str) -> Self {
        let trail = Trail::Organization(grant.scope().organization());
        Self { actor: grant.actor(), actor_name: actor_name.to_owned(), ..Self::of_system(trail, action, target) }
    }

    /// The same entry with what changed.
    #[must_use]
    pub fn with_details(self, details: Value) -> Self {
        Self { details, ..self }
    }

    /// The same entry with another outcome.
    #[must_use]
    pub fn with_outcome(self, outcome: Outcome) -> Self {
        Self { outcome, ..self }
    }

    pub(super) fn event(&self, sequence: u64) -> Event {
        Event {
            id: ids::fresh(),
            trail: self.trail.to_string(),
            sequence,
            time_ms: clock::now_ms(),
            actor: self.actor,
            actor_name: self.actor_name.clone(),
            address: self.address.clone(),
            user_agent: self.user_agent.clone(),
            action: self.action.clone(),
            target: self.target.clone(),
            outcome: self.outcome,
            details: self.details.clone(),
            request: self.request.clone(),
        }
    }
}

impl fmt::Display for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Organization(organization) => organization.fmt(f),
            Self::Platform => f.write_str("platform"),
        }
    }
}

pub(super) async fn insert(connection: &mut AnyConnection, event: &Event, hash: ChainHash) -> Result<(), StorageError> {
    let text = serde_json::to_string(event).map_err(|_| StorageError::Corrupt("audit event"))?;
    sqlx::query("INSERT INTO audit_event (trail, sequence, id, time_ms, actor_name, action, target, event, hash) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        .bind(&event.trail)
        .bind(signed(event.sequence))
        .bind(event.id.to_string())
        .bind(signed(event.time_ms))
        .bind(&event.actor_name)
        .bind(&event.action)
        .bind(&event.target)
        .bind(text)
        .bind(hex::encode(hash.0))
        .execute(connection)
        .await?;
    Ok(())
}

/// A link as it is stored.
pub(super) fn chain_hash(text: &str) -> Result<ChainHash, StorageError> {
    let mut bytes = [0; 32];
    hex::decode_to_slice(text, &mut bytes).map_err(|_| StorageError::Corrupt("audit hash"))?;
    Ok(ChainHash(bytes))
}

/// Counters and times are stored as signed integers, the one integer both engines have.
pub(crate) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// The way back of [`signed`].
pub(crate) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// Which events of a trail. Empty texts ask for all.
#[derive(Debug)]
pub(crate) struct Filter<'a> {
    /// The action, or what it begins with before a dot.
    pub action: &'a str,
    /// The target, or what it begins with before a slash.
    pub target: &'a str,
    /// The actor's name.
    pub actor: &'a str,
    /// From this time on, in milliseconds since 1970.
    pub since_ms: u64,
    /// Before this sequence number.
    pub before: i64,
}

/// Events of the grant's organization, newest first.
///
/// # Errors
/// The database fails, or an event cannot be read.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, filter: &Filter<'_>, rows: i64) -> Result<Vec<(Event, ChainHash)>, StorageError> {
    let sql = "SELECT event, hash FROM audit_event WHERE trail = $1 AND sequence < $2 AND time_ms >= $3 \
        AND ($4 = '' OR action = $4 OR substr(action, 1, length($4) + 1) = $4 || '.') \
        AND ($5 = '' OR target = $5 OR substr(target, 1, length($5) + 1) = $5 || '/') \
        AND ($6 = '' OR actor_name = $6) ORDER BY sequence DESC LIMIT $7";
    let found = sqlx::query(sql)
        .bind(Trail::Organization(grant.scope().organization()).to_string())
        .bind(filter.before)
        .bind(signed(filter.since_ms))
        .bind(filter.action.to_owned())
        .bind(filter.target.to_owned())
        .bind(filter.actor.to_owned())
        .bind(rows)
        .fetch_all(reader)
        .await?;
    found.iter().map(|row| stored(row)?.ok_or(StorageError::Corrupt("audit event"))).collect()
}

/// Events of the grant's organization in their order, after a sequence number: each with its stored place, and nothing where it cannot be read or where the
/// columns it is searched by say something else.
///
/// # Errors
/// The database fails.
pub(crate) async fn after(reader: &AnyPool, grant: &Grant, sequence: u64, rows: i64) -> Result<Vec<(u64, Option<(Event, ChainHash)>)>, StorageError> {
    let sql = "SELECT trail, sequence, id, time_ms, actor_name, action, target, event, hash FROM audit_event \
        WHERE trail = $1 AND sequence > $2 ORDER BY sequence LIMIT $3";
    let trail = Trail::Organization(grant.scope().organization()).to_string();
    let found = sqlx::query(sql).bind(trail).bind(signed(sequence)).bind(rows).fetch_all(reader).await?;
    found.iter().map(|row| Ok((unsigned(row.try_get("sequence")?), stored(row)?.filter(|(event, _)| agrees(row, event))))).collect()
}

/// Whether the columns an event is searched by say what the event says.
fn agrees(row: &AnyRow, event: &Event) -> bool {
    let number = |column: &str, value: u64| row.try_get::<i64, _>(column).is_ok_and(|stored| stored == signed(value));
    let word = |column: &str, value: &str| row.try_get::<String, _>(column).is_ok_and(|stored| stored == value);
    number("sequence", event.sequence)
        && number("time_ms", event.time_ms)
        && word("trail", &event.trail)
        && word("id", &event.id.to_string())
        && word("actor_name", &event.actor_name)
        && word("action", &event.action)
        && word("target", &event.target)
}

fn stored(row: &AnyRow) -> Result<Option<(Event, ChainHash)>, StorageError> {
    let event = serde_json::from_str(&row.try_get::<String, _>("event")?).ok();
    let hash = chain_hash(&row.try_get::<String, _>("hash")?).ok();
    Ok(event.zip(hash))
}
