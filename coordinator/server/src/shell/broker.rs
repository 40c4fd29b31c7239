//! Opens, holds and ends shell sessions: from an allowed call to the last audit entry.
//!
//! Every transition is one transaction with its audit entry. Without a recording there is no session, and without a lease none goes on.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::extract::ws::WebSocket;
use loopback_api::session::{OpenRequest, OpenShell};
use loopback_core::access::{Grant, Key, Verb};
use loopback_core::audit::Outcome;
use loopback_core::limits::SHELL_OPENING_MAX_MS;
use loopback_core::shell::{EndReason, Header, RecordingHash, ShellPolicy, ShellRequest, Terms, admit};
use loopback_core::tenancy::{EntityStatus, LimitKind};
use loopback_protocol::id::{OrganizationId, SessionId};
use loopback_protocol::shell::ShellOpen;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::lease;
use super::operator::Operator;
use super::recorder::{Recording, Recordings};
use super::relay::Relay;
use crate::authority::Authority;
use crate::clock::now_ms;
use crate::http::api::Call;
use crate::ids;
use crate::link::Registry;
use crate::storage::session::NewSession;
use crate::storage::{Entry, Storage, StorageError, Trail, organization, session};

/// Relays shells between operators and hosts.
#[derive(Debug)]
pub struct Broker {
    storage: Storage,
    authority: Arc<Authority>,
    registry: Registry,
    recordings: Recordings,
    stop: CancellationToken,
    live: Mutex<HashMap<SessionId, Live>>,
}

/// The way to end a session that is open here.
#[derive(Debug)]
struct Live {
    organization: OrganizationId,
    terminate: oneshot::Sender<String>,
}

/// An open session's place; dropping it forgets the way.
#[derive(Debug)]
struct Place<'a> {
    broker: &'a Broker,
    id: SessionId,
    terminated: oneshot::Receiver<String>,
}

/// Why no session is opened.
#[derive(Debug, thiserror::Error)]
enum NotOpened {
    #[error("the permission to open it was taken away")]
    Revoked,
    #[error(transparent)]
    Refused(#[from] loopback_core::shell::Refused),
    #[error(transparent)]
    Status(#[from] EntityStatus),
    #[error("the coordinator cannot write it down now: try again, and tell whoever runs it")]
    Storage(#[from] StorageError),
}

impl Broker {
    /// A broker that keeps recordings in a directory and ends every session when `stop` is cancelled. [`Broker::recover`] has to be called before it is used.
    #[must_use]
    pub fn new(storage: Storage, authority: Arc<Authority>, registry: Registry, recordings: PathBuf, stop: CancellationToken) -> Arc<Self> {
        Arc::new(Self { storage, authority, registry, recordings: Recordings::new(recordings), stop, live: Mutex::default() })
    }

    /// Ends what a crash left open, and says how many sessions that were. Their recordings stay without a closing line, and so prove to be cut off.
    ///
    /// # Errors
    /// The database fails.
    pub async fn recover(&self) -> Result<usize, StorageError> {
        let left = session::unfinished(self.storage.reader()).await?;
        for row in &left {
            let grant = Grant::of_system(Key::ProjectWorkspaceHostShellSession.may(Verb::Delete), row.scope);
            let reason = EndReason::CoordinatorStopped;
            let mut tx = self.storage.begin().await?;
            session::end(&mut tx, &grant, row.id, &reason, None, now_ms()).await?;
            let entry = Entry::of_system(Trail::Organization(row.scope.organization()), END, &target(&row.host_path, row.id));
            tx.commit(entry.with_details(serde_json::json!({ "reason": reason.to_string(), "recording": null }))).await?;
        }
        Ok(left.len())
    }

    /// Serves one session from the operator's first message to its end.
    pub async fn run(&self, call: Call<OpenShell>, socket: WebSocket) {
        let mut operator = Operator::new(socket);
        let asked = tokio::select! {
            biased;
            () = self.stop.cancelled() => return operator.end(&EndReason::CoordinatorStopped).await,
            asked = operator.keyboard.open_request() => asked,
        };
        let request = match asked {
            Ok(request) => request,
            Err(lost) => return operator.end(&lost.into()).await,
        };
        let place = self.enter(call.grant.scope().organization());
        let id = place.id;
        let terms = match self.admit(&call, id, &request).await {
            Ok(terms) => terms,
            Err(refusal) => {
                tracing::info!(host = %call.path, reason = %refusal, "no session was opened");
                let reason = if matches!(refusal, NotOpened::Revoked) { EndReason::PermissionRevoked } else { EndReason::Policy(refusal.to_string()) };
                return operator.end(&reason).await;
            }
        };
        let (reason, recording) = self.serve(&call, request, terms, &mut operator, place).await;
        if let Err(error) = self.end(&call, id, &reason, recording).await {
            // The row stays open, and the next start ends it.
            tracing::error!(session = %id, %error, "the end of a session could not be written down");
        }
        operator.end(&reason).await;
    }

    /// Ends an open session in the name of somebody else, and says whether there was one.
    pub fn terminate(&self, organization: OrganizationId, session: SessionId, by: &str) -> bool {
        let mut live = self.live();
        let is_theirs = live.get(&session).is_some_and(|session| session.organization == organization);
        let found = if is_theirs { live.remove(&session) } else { None };
        found.is_some_and(|session| session.terminate.send(by.to_owned()).is_ok())
    }

    /// The kept recordings.
    pub(crate) const fn recordings(&self) -> &Recordings {
        &self.recordings
    }

    fn enter(&self, organization: OrganizationId) -> Place<'_> {
        let (id, (terminate, terminated)) = (ids::fresh(), oneshot::channel());
        self.live().insert(id, Live { organization, terminate });
        Place { broker: self, id, terminated }
    }

    /// Decides and writes down that the session was asked for, in one transaction: two operators cannot share the last place.
    async fn admit(&self, call: &Call<OpenShell>, id: SessionId, request: &OpenRequest) -> Result<Terms, NotOpened> {
        let (organization, now_ms) = (call.grant.scope().organization(), now_ms());
        let asked = ShellRequest {
            run_as: request.run_as.as_deref(),
            reason: &request.reason,
            max_ms: request.max_seconds.map(|seconds| seconds.saturating_mul(1_000)),
        };
        let entry = Entry { action: REQUEST.to_owned(), ..call.entry(target(&call.path, id)) };
        let mut tx = self.storage.begin().await?;
        let charter = organization::charter(tx.connection(), organization).await?;
        let open = organization::used(tx.connection(), organization, LimitKind::ShellSessions, now_ms).await?;
        // The call was let in when the terminal connected, and what it asks for came later. Nobody else writes now, so this answer is the last word.
        let decided = if self.authority.still_holds(&call.grant, now_ms).await? { Ok(()) } else { Err(NotOpened::Revoked) };
        let decided = decided.and_then(|()| Ok(charter.standing.admits_creation()?));
        let decided = decided.and_then(|()| Ok(admit(&ShellPolicy::default(), &asked, open, &charter.limits, now_ms)?));
        let terms = match decided {
            Ok(terms) => terms,
            Err(refusal) => {
                tx.commit(entry.with_outcome(Outcome::Denied).with_details(serde_json::json!({ "reason": refusal.to_string() }))).await?;
                return Err(refusal);
            }
        };
        let new =
            NewSession { id, email: &call.origin.actor_name, host_path: &call.path, run_as: &terms.run_as, reason: &request.reason, started_at_ms: now_ms };
        session::insert(&mut tx, &call.grant, &new).await?;
        let details = serde_json::json!({ "run_as": terms.run_as, "reason": request.reason, "until_ms": terms.deadline_ms });
        tx.commit(entry.with_details(details)).await?;
        Ok(terms)
    }

    /// From the recording's first line to its last, with the session between them.
    async fn serve(
        &self,
        call: &Call<OpenShell>,
        request: OpenRequest,
        terms: Terms,
        operator: &mut Operator,
        mut place: Place<'_>,
    ) -> (EndReason, Option<RecordingHash>) {
        let id = place.id;
        let recording = match self.recordings.begin(call.grant.scope().organization(), id, &header(call, &request)).await {
            Ok(recording) => recording,
            Err(error) => {
                tracing::error!(session = %id, %error, "a session is not opened because it cannot be recorded");
                return (EndReason::RecordingFailed, None);
            }
        };
        let stream = match self.reach(call).await {
            Ok(stream) => stream,
            Err(reason) => return close(id, recording, reason).await,
        };
        let open =
            ShellOpen { session: id, run_as: terms.run_as.clone(), term: request.term, size: request.size, command: request.command, lang: request.lang };
        let mut relay = Relay::open(terms, open, operator, stream, recording);
        let reason = relay.run(self.activate(call, id), self.orders(call, &mut place.terminated)).await;
        let recording = relay.wind_up(&reason).await;
        close(id, recording, reason).await
    }

    async fn reach(&self, call: &Call<OpenShell>) -> Result<(quinn::SendStream, quinn::RecvStream), EndReason> {
        let opened = self.registry.open_stream(call.grant.scope().host().ok_or(EndReason::HostLost)?);
        // An agent that has as many streams as it takes makes the next one wait.
        tokio::select! {
            opened = tokio::time::timeout(Duration::from_millis(SHELL_OPENING_MAX_MS), opened) => match opened {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => {
                    tracing::info!(host = %call.path, %error, "no session could be opened");
                    Err(EndReason::HostLost)
                }
                Err(_) => Err(EndReason::HostLost),
            },
            () = self.stop.cancelled() => Err(EndReason::CoordinatorStopped),
        }
    }

    /// What ends a session from outside.
    async fn orders(&self, call: &Call<OpenShell>, terminated: &mut oneshot::Receiver<String>) -> EndReason {
        tokio::select! {
            // The sender stays in the map as long as the session lasts, or has sent.
            Ok(by) = terminated => EndReason::TerminatedBy(by),
            () = lease::lost(&self.storage, &self.authority, &call.grant) => EndReason::PermissionRevoked,
            () = self.stop.cancelled() => EndReason::CoordinatorStopped,
        }
    }

    async fn activate(&self, call: &Call<OpenShell>, id: SessionId) -> Result<(), StorageError> {
        let mut tx = self.storage.begin().await?;
        session::activate(&mut tx, &call.grant, id).await?;
        tx.commit(Entry { action: ACTIVE.to_owned(), ..call.entry(target(&call.path, id)) }).await
    }

    async fn end(&self, call: &Call<OpenShell>, id: SessionId, reason: &EndReason, recording: Option<RecordingHash>) -> Result<(), StorageError> {
        let target = target(&call.path, id);
        let entry = match reason {
            EndReason::Exit(_) | EndReason::Signal(_) | EndReason::OperatorClosed => Entry { action: END.to_owned(), ..call.entry(target) },
            _ => Entry::of_system(Trail::Organization(call.grant.scope().organization()), END, &target),
        };
        let mut tx = self.storage.begin().await?;
        session::end(&mut tx, &call.grant, id, reason, recording, now_ms()).await?;
        let details = serde_json::json!({ "reason": reason.to_string(), "recording": recording.map(|hash| hash.to_string()) });
        tx.commit(entry.with_details(details)).await
    }

    fn live(&self) -> MutexGuard<'_, HashMap<SessionId, Live>> {
        // Nothing panics while holding it, and what it holds stays valid at every step.
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.broker.live().remove(&self.id);
    }
}

/// The audit actions of a session's transitions.
const REQUEST: &str = "shell_session.request";
const ACTIVE: &str = "shell_session.active";
const END: &str = "shell_session.end";

async fn close(id: SessionId, recording: Recording, reason: EndReason) -> (EndReason, Option<RecordingHash>) {
    match recording.close(&reason).await {
        Ok(hash) => (reason, Some(hash)),
        Err(error) => {
            tracing::error!(session = %id, %error, "a recording could not be closed");
            (reason, None)
        }
    }
}

fn header(call: &Call<OpenShell>, request: &OpenRequest) -> Header {
    Header { size: request.size, timestamp_s: now_ms() / 1_000, term: request.term.clone(), title: call.path.clone(), command: request.command.clone() }
}

/// What the audit trail calls a session.
pub(crate) fn target(host_path: &str, id: SessionId) -> String {
    format!("{host_path}/{id}")
}
