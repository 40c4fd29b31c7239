//! Shell sessions as they are shown.

use loopback_api::session::{Session, SessionQuery};
use loopback_api::{Page, Problem, Time};
use loopback_core::access::Grant;

use super::page;
use crate::storage::session::{self, SessionRow};
use crate::storage::{Storage, StorageError};

/// A page of the sessions the grant reaches, newest first.
///
/// # Errors
/// The cursor is none of ours, or the database fails.
pub(crate) async fn list(storage: &Storage, grant: &Grant, query: &SessionQuery) -> Result<Page<Session>, Problem> {
    let fetch = |before: String, rows| async move { session::list(storage.reader(), grant, query.open, &before, rows).await };
    let page = page(&query.page(), |row: &SessionRow| row.id, |row| grant.reaches(&row.scope), fetch).await?;
    let items = page.items.into_iter().map(shown).collect::<Result<_, _>>()?;
    Ok(Page { items, next: page.next })
}

/// A session as the API shows it.
///
/// # Errors
/// The row is not one of a host.
pub(crate) fn shown(row: SessionRow) -> Result<Session, StorageError> {
    Ok(Session {
        id: row.id,
        host: row.scope.host().ok_or(StorageError::Corrupt("scope of a session"))?,
        host_path: row.host_path,
        email: row.email,
        run_as: row.run_as,
        reason: row.reason,
        state: row.state,
        ended: row.ended,
        started_at: Time(row.started_at_ms),
        ended_at: row.ended_at_ms.map(Time),
        recorded: row.recording.is_some(),
    })
}
