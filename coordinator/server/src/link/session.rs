//! One host's link: hello, welcome, then desired state down and observed state up until it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use loopback_core::access::Actor;
use loopback_protocol::control::{AgentMessage, CoordinatorMessage, Hello, Welcome};
use loopback_protocol::error::Malformed;
use loopback_protocol::firewall::PolicyOutcome;
use loopback_protocol::frame;
use loopback_protocol::limits::CONTROL_FRAME_MAX_BYTES;
use loopback_protocol::metrics::{Frame, Schema};
use loopback_protocol::version::PROTOCOL_VERSION;
use quinn::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::mpsc;

use super::listener::Shared;
use super::registry::{Machine, Place, code};
use crate::ca::HostCertificate;
use crate::clock::now_ms;
use crate::observed::{HostKey, Observation, StoredSchema};
use crate::storage::host::HostRow;
use crate::storage::{self, Entry, StorageError, Trail};

/// How long an agent has to open its control stream and say hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);
/// Messages waiting for an agent.
const MESSAGES_MAX: usize = 64;
/// Schemas of one link; an agent sends another when its series change.
const SCHEMAS_MAX: usize = 64;

/// What every link is told.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Between heartbeats.
    pub heartbeat_interval_ms: u32,
    /// Between metrics frames.
    pub metrics_interval_ms: u32,
    /// Of a host's certificate.
    pub certificate_life_ms: u64,
}

/// A link to serve.
#[derive(Debug, Clone, Copy)]
pub(super) struct Session<'a> {
    pub(super) shared: &'a Shared,
    pub(super) terms: Terms,
}

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the agent sent what it may not: {0}")]
    Malformed(#[from] Malformed),
    #[error("the agent did not say hello in time")]
    Silent,
    #[error("the connection ended: {0}")]
    Connection(#[from] quinn::ConnectionError),
    #[error("the control stream ended: {0}")]
    Read(#[from] quinn::ReadError),
    #[error("the control stream cannot be written: {0}")]
    Write(#[from] quinn::WriteError),
    #[error("the agent closed its control stream")]
    Closed,
    #[error("the host was removed")]
    Removed,
    #[error(transparent)]
    Duplicate(#[from] super::registry::Duplicate),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// A link that said hello.
struct Live<'a> {
    session: Session<'a>,
    key: HostKey,
    row: HostRow,
    certificate: HostCertificate,
    agent_version: String,
    place: Place,
    messages: mpsc::Sender<CoordinatorMessage>,
    schemas: HashMap<u32, Arc<StoredSchema>>,
}

impl Session<'_> {
    /// Serves the link until it ends.
    pub(super) async fn run(self, connection: Connection) {
        let peer = connection.remote_address();
        let Some(certificate) = peer_certificate(&connection) else {
            return connection.close(VarInt::from_u32(code::MALFORMED), b"a link needs a host's certificate");
        };
        let host = certificate.host;
        let Err(ended) = self.serve(&connection, certificate).await else { return };
        let close = |number, reason: &str| connection.close(VarInt::from_u32(number), reason.as_bytes());
        match &ended {
            Ended::Malformed(_) => close(code::MALFORMED, &ended.to_string()),
            Ended::Silent => close(code::SILENT, &ended.to_string()),
            Ended::Removed => close(code::REMOVED, "this host was removed"),
            Ended::Duplicate(_) => close(code::DUPLICATE, &ended.to_string()),
            Ended::Storage(error) => {
                tracing::error!(%host, %error, "link lost to the database");
                close(code::STOPPING, "the coordinator cannot work now");
            }
            Ended::Closed | Ended::Read(_) | Ended::Write(_) | Ended::Connection(_) => close(code::STOPPING, ""),
        }
        tracing::info!(%host, %peer, reason = %ended, "link ended");
    }

    async fn serve(self, connection: &Connection, certificate: HostCertificate) -> Result<(), Ended> {
        let key = HostKey { organization: certificate.organization, host: certificate.host };
        let row = storage::host::of_certificate(self.shared.storage.reader(), key.organization, key.host).await?.ok_or(Ended::Removed)?;
        let (mut send, mut receive, mut decoder, hello) = tokio::time::timeout(HELLO_TIMEOUT, first_message(connection)).await.map_err(|_| Ended::Silent)??;
        let (messages, mut outgoing) = mpsc::channel(MESSAGES_MAX);
        let machine = Machine { machine_id: hello.facts.machine_id.clone(), boot_id: hello.facts.boot_id.clone(), hostname: hello.facts.hostname.clone() };
        let place = match self.shared.registry.admit(key, connection, machine, hello.modules, hello.policy_digest, messages.clone()) {
            Ok(place) => place,
            Err(duplicate) => return Err(self.refuse_duplicate(&row, duplicate).await?),
        };
        // Removed while it took its time to say hello: whoever removed it found no link to close.
        if self.shared.ca.removed().contains(key.host) {
            return Err(Ended::Removed);
        }
        tracing::info!(host = %key.host, path = %row.path, peer = %connection.remote_address(), version = %hello.agent_version, "linked");
        write(&mut send, &CoordinatorMessage::Welcome(self.welcome(key))).await?;
        let agent_version = hello.agent_version;
        self.shared.observed.report(Observation::Facts { key, facts: hello.facts, agent_version: agent_version.clone() }).await;
        self.shared.desired.wake(key.organization);
        let mut live = Live { session: self, key, row, certificate, agent_version, place, messages, schemas: HashMap::new() };
        let ended = live.exchange(&mut send, &mut receive, &mut decoder, &mut outgoing).await;
        self.shared.observed.report(Observation::Seen(key)).await;
        ended
    }

    fn welcome(&self, key: HostKey) -> Welcome {
        Welcome {
            host: key.host,
            heartbeat_interval_ms: self.terms.heartbeat_interval_ms,
            metrics_interval_ms: self.terms.metrics_interval_ms,
            clock_ms: now_ms(),
        }
    }

    async fn refuse_duplicate(&self, row: &HostRow, duplicate: super::registry::Duplicate) -> Result<Ended, StorageError> {
        let entry = host_entry(row, "host.identity.duplicate").with_outcome(loopback_core::audit::Outcome::Denied);
        let entry = entry.with_details(serde_json::json!({ "reason": duplicate.to_string() }));
        self.shared.storage.begin().await?.commit(entry).await?;
        Ok(Ended::Duplicate(duplicate))
    }
}

impl Live<'_> {
    async fn exchange(
        &mut self,
        send: &mut SendStream,
        receive: &mut RecvStream,
        decoder: &mut frame::Decoder,
        outgoing: &mut mpsc::Receiver<CoordinatorMessage>,
    ) -> Result<(), Ended> {
        loop {
            while let Some(payload) = decoder.next_frame()? {
                self.take(AgentMessage::decode(&payload)?).await?;
            }
            tokio::select! {
                chunk = receive.read_chunk(CONTROL_FRAME_MAX_BYTES, true) => match chunk? {
                    Some(chunk) => decoder.push(&chunk.bytes),
                    None => return Err(Ended::Closed),
                },
                // The sender is in `self`, so the channel never closes first.
                Some(message) = outgoing.recv() => write(send, &message).await?,
            }
        }
    }

    async fn take(&mut self, message: AgentMessage) -> Result<(), Ended> {
        let observed = &self.session.shared.observed;
        match message {
            AgentMessage::Hello(_) => return Err(Malformed::Invalid("hello, said twice").into()),
            AgentMessage::Heartbeat(heartbeat) => self.place.heard(Some(heartbeat.modules)),
            AgentMessage::Facts(facts) => {
                observed.report(Observation::Facts { key: self.key, facts, agent_version: self.agent_version.clone() }).await;
                self.session.shared.desired.wake(self.key.organization);
            }
            AgentMessage::PolicyStatus(status) => {
                if matches!(status.outcome, PolicyOutcome::Applied { .. }) {
                    self.reply(CoordinatorMessage::PolicyConfirmed(status.generation)).await;
                }
                observed.report(Observation::Policy { key: self.key, status }).await;
            }
            AgentMessage::MetricsSchema(schema) => self.remember(&schema)?,
            AgentMessage::MetricsFrame(frame) => self.store(frame).await?,
            AgentMessage::Renew(csr_der) => self.renew(&csr_der).await?,
        }
        self.place.heard(None);
        Ok(())
    }

    fn remember(&mut self, schema: &Schema) -> Result<(), Ended> {
        if self.schemas.len() >= SCHEMAS_MAX && !self.schemas.contains_key(&schema.id) {
            return Err(Malformed::TooLarge { field: "metrics_schema", size: SCHEMAS_MAX + 1, limit: SCHEMAS_MAX }.into());
        }
        let stored = StoredSchema::new(&schema.series).map_err(|_| Malformed::Invalid("metrics_schema"))?;
        self.schemas.insert(schema.id, Arc::new(stored));
        Ok(())
    }

    async fn store(&self, frame: Frame) -> Result<(), Ended> {
        let schema = self.schemas.get(&frame.schema).cloned().ok_or(Malformed::Invalid("metrics_frame.schema"))?;
        if schema.length != frame.values.len() {
            return Err(Malformed::Invalid("metrics_frame.values").into());
        }
        let acknowledge = (self.messages.clone(), frame.sequence);
        self.session.shared.observed.report(Observation::Frame { key: self.key, schema, time_ms: frame.time_ms, values: frame.values, acknowledge }).await;
        Ok(())
    }

    /// The next certificate, for the key the host already has: who holds a link cannot hand its identity to another key.
    async fn renew(&self, csr_der: &[u8]) -> Result<(), Ended> {
        let next = self.session.shared.ca.sign_host(csr_der, self.key.organization, self.key.host, self.session.terms.certificate_life_ms);
        let next = next.map_err(|_| Malformed::Invalid("renew_csr_der"))?;
        if HostCertificate::parse(&next).map(|next| next.key) != Ok(self.certificate.key) {
            return Err(Malformed::Invalid("renew_csr_der: another key").into());
        }
        self.session.shared.storage.begin().await?.commit(host_entry(&self.row, "host.certificate.renew")).await?;
        self.reply(CoordinatorMessage::Certificate(next.to_vec())).await;
        Ok(())
    }

    async fn reply(&self, message: CoordinatorMessage) {
        // Full only if the agent does not read; then the link is as good as gone, and its idle timeout says so.
        let _ = self.messages.try_send(message);
    }
}

/// An audit entry of a host about itself.
pub(super) fn host_entry(row: &HostRow, action: &str) -> Entry {
    let trail = Trail::Organization(row.scope.organization());
    Entry { actor: Actor::Host { host: row.id }, actor_name: row.path.clone(), ..Entry::of_system(trail, action, &row.path) }
}

async fn first_message(connection: &Connection) -> Result<(SendStream, RecvStream, frame::Decoder, Hello), Ended> {
    let (send, mut receive) = connection.accept_bi().await?;
    let mut decoder = frame::Decoder::new(CONTROL_FRAME_MAX_BYTES);
    let payload = loop {
        if let Some(payload) = decoder.next_frame()? {
            break payload;
        }
        decoder.push(&receive.read_chunk(CONTROL_FRAME_MAX_BYTES, true).await?.ok_or(Ended::Closed)?.bytes);
    };
    match AgentMessage::decode(&payload)? {
        AgentMessage::Hello(hello) if hello.protocol_version >= PROTOCOL_VERSION => Ok((send, receive, decoder, hello)),
        AgentMessage::Hello(_) => Err(Malformed::Invalid("hello.protocol_version").into()),
        _ => Err(Malformed::Missing("hello").into()),
    }
}

async fn write(send: &mut SendStream, message: &CoordinatorMessage) -> Result<(), Ended> {
    send.write_all(&frame::encode(&message.encode(), CONTROL_FRAME_MAX_BYTES)?).await?;
    Ok(())
}

fn peer_certificate(connection: &Connection) -> Option<HostCertificate> {
    let identity = connection.peer_identity()?.downcast::<Vec<rustls_pki_types::CertificateDer<'static>>>().ok()?;
    HostCertificate::parse(identity.first()?).ok()
}
