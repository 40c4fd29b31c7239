//! The rows of shell sessions.
//!
//! `recording` is empty while there is a recording that is not closed, and its closing hash afterwards.

use loopback_api::session::SessionState;
use loopback_core::access::{Grant, ScopePath};
use loopback_core::shell::{EndReason, RecordingHash};
use loopback_protocol::id::SessionId;
use sqlx::AnyPool;
use sqlx::any::AnyRow;

use super::audit::signed;
use super::{StorageError, Tx, row};

/// A session to add.
#[derive(Debug)]
pub(crate) struct NewSession<'a> {
    /// Its id.
    pub id: SessionId,
    /// Whose.
    pub email: &'a str,
    /// The host's path now.
    pub host_path: &'a str,
    /// As which user; empty is the host's login user.
    pub run_as: &'a str,
    /// Why.
    pub reason: &'a str,
    /// When it was asked for.
    pub started_at_ms: u64,
}

/// A stored session.
#[derive(Debug, Clone)]
pub(crate) struct SessionRow {
    /// Its id.
    pub id: SessionId,
    /// The host.
    pub scope: ScopePath,
    /// Whose.
    pub email: String,
    /// The host's path when it began.
    pub host_path: String,
    /// As which user; empty is the host's login user.
    pub run_as: String,
    /// Why.
    pub reason: String,
    /// Where it stands.
    pub state: SessionState,
    /// Why it ended.
    pub ended: Option<String>,
    /// Empty for a recording that is not closed, else its closing hash.
    pub recording: Option<String>,
    /// When it was asked for.
    pub started_at_ms: u64,
    /// When it ended.
    pub ended_at_ms: Option<u64>,
}

const COLUMNS: &str = "SELECT organization, id, project, workspace, host, email, host_path, run_as, reason, state, ended, recording, started_at_ms, ended_at_ms \
    FROM shell_session";

/// Adds a session on the grant's host, opening.
///
/// # Errors
/// The database fails, or the grant is not for a host.
pub(crate) async fn insert(tx: &mut Tx, grant: &Grant, new: &NewSession<'_>) -> Result<(), StorageError> {
    let ScopePath::Host(organization, project, workspace, host) = *grant.scope() else { return Err(StorageError::Corrupt("scope of a session")) };
    let sql = "INSERT INTO shell_session (organization, id, project, workspace, host, account, email, host_path, run_as, reason, state, started_at_ms) \
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, 'opening', $11)";
    sqlx::query(sql)
        .bind(organization.to_string())
        .bind(new.id.to_string())
        .bind(project.to_string())
        .bind(workspace.to_string())
        .bind(host.to_string())
        .bind(grant.actor().account().map(|account| account.to_string()).unwrap_or_default())
        .bind(new.email.to_owned())
        .bind(new.host_path.to_owned())
        .bind(new.run_as.to_owned())
        .bind(new.reason.to_owned())
        .bind(signed(new.started_at_ms))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// The shell runs and is recorded.
///
/// # Errors
/// The database fails.
pub(crate) async fn activate(tx: &mut Tx, grant: &Grant, id: SessionId) -> Result<(), StorageError> {
    let sql = "UPDATE shell_session SET state = 'active', recording = '' WHERE organization = $1 AND id = $2 AND state = 'opening'";
    sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).execute(tx.connection()).await?;
    Ok(())
}

/// It is over; a second time changes nothing.
///
/// # Errors
/// The database fails.
pub(crate) async fn end(
    tx: &mut Tx,
    grant: &Grant,
    id: SessionId,
    reason: &EndReason,
    recording: Option<RecordingHash>,
    now_ms: u64,
) -> Result<(), StorageError> {
    let sql = "UPDATE shell_session SET state = 'ended', ended = $3, ended_at_ms = $4, recording = COALESCE($5, recording) \
        WHERE organization = $1 AND id = $2 AND state <> 'ended'";
    sqlx::query(sql)
        .bind(grant.scope().organization().to_string())
        .bind(id.to_string())
        .bind(reason.to_string())
        .bind(signed(now_ms))
        .bind(recording.map(|hash| hash.to_string()))
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// A session the grant reaches.
///
/// # Errors
/// The database fails, or the row cannot be read.
pub(crate) async fn get(reader: &AnyPool, grant: &Grant, id: SessionId) -> Result<Option<SessionRow>, StorageError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE organization = $1 AND id = $2"));
    let found = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(id.to_string()).fetch_optional(reader).await?;
    Ok(found.as_ref().map(session).transpose()?.filter(|row| grant.reaches(&row.scope)))
}

/// Sessions of the grant's organization, newest first, from before an id (empty for the newest of all); `only_open` leaves out what is over. Which of them
/// the grant reaches is the caller's to ask.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub(crate) async fn list(reader: &AnyPool, grant: &Grant, only_open: bool, before: &str, rows: i64) -> Result<Vec<SessionRow>, StorageError> {
    let open = if only_open { "AND state <> 'ended'" } else { "" };
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE organization = $1 AND ($2 = '' OR id < $2) {open} ORDER BY id DESC LIMIT $3"));
    let query = sqlx::query(sql).bind(grant.scope().organization().to_string()).bind(before.to_owned()).bind(rows);
    query.fetch_all(reader).await?.iter().map(session).collect()
}

/// Sessions of every organization that have not ended: after a start they are what a crash left. It is the coordinator's own duty, so there is no grant yet.
///
/// # Errors
/// The database fails, or a row cannot be read.
pub(crate) async fn unfinished(reader: &AnyPool) -> Result<Vec<SessionRow>, StorageError> {
    let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE state <> 'ended' ORDER BY organization, id"));
    sqlx::query(sql).fetch_all(reader).await?.iter().map(session).collect()
}

fn session(found: &AnyRow) -> Result<SessionRow, StorageError> {
    let state = match row::text(found, "state")?.as_str() {
        "opening" => SessionState::Opening,
        "active" => SessionState::Active,
        "ended" => SessionState::Ended,
        _ => return Err(StorageError::Corrupt("state")),
    };
    Ok(SessionRow {
        id: row::id(found, "id")?,
        scope: row::scope(found)?,
        email: row::text(found, "email")?,
        host_path: row::text(found, "host_path")?,
        run_as: row::text(found, "run_as")?,
        reason: row::text(found, "reason")?,
        state,
        ended: row::optional_text(found, "ended")?,
        recording: row::optional_text(found, "recording")?,
        started_at_ms: row::number(found, "started_at_ms")?,
        ended_at_ms: row::optional_number(found, "ended_at_ms")?,
    })
}
