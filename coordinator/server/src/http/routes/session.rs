//! Shell sessions and their recordings.

use std::fmt::Display;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderName, header};
use axum::response::{IntoResponse as _, Response};
use loopback_api::session::{GetRecording, GetSession, ListSessions, OpenShell, Session, SessionState, TerminateSession};
use loopback_api::{Nothing, Operation, Page, Problem, ProblemKind};
use loopback_core::shell::Verdict;
use tokio::io::AsyncReadExt as _;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use crate::http::api::{Api, Call, with};
use crate::http::error::not_found;
use crate::queries;
use crate::shell::{Broker, StoredRecording, target};
use crate::storage::Storage;
use crate::storage::session::{self, SessionRow};

/// What a recording proves: `whole`, `truncated` or `altered`.
const VERDICT: HeaderName = HeaderName::from_static("x-loopback-recording");

#[derive(Clone)]
struct Deps {
    storage: Storage,
    broker: Arc<Broker>,
}

/// Registers this noun's operations.
pub fn register(api: &mut Api, storage: &Storage, broker: &Arc<Broker>) {
    let deps = Deps { storage: storage.clone(), broker: Arc::clone(broker) };
    let shells = Arc::clone(broker);
    api.upgrade::<OpenShell, _, _>(move |call, socket| {
        let broker = Arc::clone(&shells);
        async move { broker.run(call, socket).await }
    });
    api.operation::<ListSessions, _, _>(with(storage, list));
    api.operation::<GetSession, _, _>(with(storage, get));
    api.operation::<TerminateSession, _, _>(with(&deps, terminate));
    api.raw::<GetRecording, _, _>(with(&deps, recording));
}

async fn list(storage: Storage, call: Call<ListSessions>) -> Result<Page<Session>, Problem> {
    queries::session::list(&storage, &call.grant, &call.query).await
}

async fn get(storage: Storage, call: Call<GetSession>) -> Result<Session, Problem> {
    Ok(queries::session::shown(row(&storage, &call).await?)?)
}

async fn terminate(Deps { storage, broker }: Deps, call: Call<TerminateSession>) -> Result<Nothing, Problem> {
    let row = row(&storage, &call).await?;
    if row.state == SessionState::Ended {
        let why = row.ended.unwrap_or_default();
        return Err(Problem::new(ProblemKind::Conflict, format!("the session has ended already: {why}")));
    }
    // The order is written down first: what it does then follows in the trail.
    storage.begin().await?.commit(call.entry(target(&row.host_path, row.id))).await?;
    // One that ended by itself in between is ended all the same.
    broker.terminate(row.scope.organization(), row.id, &call.origin.actor_name);
    Ok(Nothing {})
}

async fn recording(Deps { storage, broker }: Deps, call: Call<GetRecording>) -> Result<Response, Problem> {
    let row = row(&storage, &call).await?;
    let (organization, id) = (row.scope.organization(), row.id);
    let recordings = broker.recordings().clone();
    let opened = spawn_blocking(move || recordings.open(organization, id)).await.map_err(|error| unreadable(&row, error))?;
    let stored = opened.map_err(|error| unreadable(&row, error))?.ok_or_else(|| Problem::new(ProblemKind::NotFound, "the session has no recording"))?;
    let verdict = verdict(&row, &stored);
    let entry = call.entry(target(&row.host_path, row.id)).with_details(serde_json::json!({ "recording": verdict }));
    storage.begin().await?.commit(entry).await?;
    let lines = ReaderStream::new(tokio::fs::File::from_std(stored.file).take(stored.bytes));
    let headers =
        [(header::CONTENT_TYPE, "application/x-asciicast".to_owned()), (header::CONTENT_LENGTH, stored.bytes.to_string()), (VERDICT, verdict.to_owned())];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Whole is what closes with the hash that was written down when the session ended.
fn verdict(row: &SessionRow, stored: &StoredRecording) -> &'static str {
    match &stored.verdict {
        Verdict::Whole { hash, .. } if row.recording.as_deref() == Some(&hash.to_string()) => "whole",
        // A session that ends at this moment is closed on the disk before it is in the database.
        Verdict::Whole { .. } if row.state != SessionState::Ended => "truncated",
        Verdict::Whole { .. } | Verdict::Altered { .. } => "altered",
        Verdict::Truncated { .. } => "truncated",
    }
}

fn unreadable(row: &SessionRow, error: impl Display) -> Problem {
    tracing::error!(session = %row.id, %error, "a recording cannot be read");
    Problem::new(ProblemKind::Unavailable, "the recording cannot be read now; tell whoever runs the coordinator this request's id")
}

/// The session the path names, if the caller may know of it.
async fn row<O: Operation>(storage: &Storage, call: &Call<O>) -> Result<SessionRow, Problem> {
    let id = call.item().parse().map_err(|_| not_found())?;
    session::get(storage.reader(), &call.grant, id).await?.ok_or_else(not_found)
}
