//! The audit trail: showing it, and proving that it is whole.

use loopback_api::audit::{AuditEvent, AuditQuery, AuditVerification};
use loopback_api::{Page, PageQuery, Problem, Time};
use loopback_core::access::{Actor, Grant};
use loopback_core::audit::{ChainHash, Event, Verifier};

use super::bad_cursor;
use crate::limits::AUDIT_BATCH_EVENTS;
use crate::storage::audit::{self, Filter};
use crate::storage::{Storage, StorageError};

/// Events of the grant's organization, newest first. The cursor is a sequence number.
///
/// # Errors
/// The cursor, or the database.
pub async fn list(storage: &Storage, grant: &Grant, query: &AuditQuery) -> Result<Page<AuditEvent>, Problem> {
    let before = query.cursor.as_deref().map(|cursor| cursor.parse().ok().filter(|sequence| *sequence > 0).ok_or_else(bad_cursor)).transpose()?;
    let filter = Filter {
        action: query.action.as_deref().unwrap_or_default(),
        target: query.target.as_deref().unwrap_or_default().trim_end_matches('/'),
        actor: query.actor.as_deref().unwrap_or_default(),
        since_ms: query.since.map_or(0, |since| since.0),
        before: before.unwrap_or(i64::MAX),
    };
    let size = PageQuery { limit: query.limit, cursor: None }.size();
    let mut found = audit::list(storage.reader(), grant, &filter, i64::from(size) + 1).await?;
    let size = usize::try_from(size).unwrap_or(1);
    let more = found.len() > size;
    found.truncate(size);
    let next = found.last().filter(|_| more).map(|(event, _)| event.sequence.to_string());
    Ok(Page { items: found.into_iter().map(|(event, hash)| shown(event, hash)).collect(), next })
}

/// Walks the whole trail of the grant's organization, some events at a time.
///
/// # Errors
/// The database fails; a broken trail is an answer, not an error.
pub async fn verify(storage: &Storage, grant: &Grant) -> Result<AuditVerification, StorageError> {
    let mut verifier = Verifier::default();
    let broken = loop {
        let (events, _) = verifier.head();
        let batch = audit::after(storage.reader(), grant, events, AUDIT_BATCH_EVENTS).await?;
        if batch.is_empty() {
            break None;
        }
        let broken = batch.into_iter().find_map(|(sequence, stored)| match stored {
            Some((event, hash)) => verifier.check(&event, hash).err().map(|broken| broken.to_string()),
            None => Some(format!("event {sequence} is not what was written")),
        });
        if broken.is_some() {
            break broken;
        }
    };
    let (events, head) = verifier.head();
    Ok(AuditVerification { whole: broken.is_none(), events, head: hex::encode(head.0), broken })
}

fn shown(event: Event, hash: ChainHash) -> AuditEvent {
    let kind = match event.actor {
        Actor::Account { .. } => "account",
        Actor::Token { .. } => "token",
        Actor::Host { .. } => "host",
        Actor::Console => "console",
        Actor::System => "system",
        Actor::Anonymous => "anonymous",
    };
    AuditEvent {
        id: event.id,
        sequence: event.sequence,
        time: Time(event.time_ms),
        actor_kind: kind.to_owned(),
        actor: event.actor_name,
        address: event.address,
        action: event.action,
        target: event.target,
        outcome: event.outcome,
        details: event.details,
        request_id: event.request,
        hash: hex::encode(hash.0),
    }
}
