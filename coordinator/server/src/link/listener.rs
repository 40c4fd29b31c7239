//! Accepts connections, and owns the task of each until it ends.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::endpoint::{self, EndpointError};
use super::registry::code;
use super::session::{Session, Terms};
use super::{Registry, enroll};
use crate::ca::Ca;
use crate::observed::Observed;
use crate::reconcile::Desired;
use crate::storage::Storage;

/// Peers that have not shown a certificate: in their handshake, or at a first contact. A restart brings all hosts back at once, paced by their own jitter.
const UNKNOWN_PEERS_MAX: usize = 4_096;
/// First contacts decided at a time; each holds a database transaction for a moment.
const ENROLMENTS_MAX: usize = 64;
/// A handshake that takes longer is somebody else's fault.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// What links touch. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shared {
    /// Signs and refuses certificates.
    pub ca: Arc<Ca>,
    /// Decisions.
    pub storage: Storage,
    /// Observations.
    pub observed: Observed,
    /// Who is linked.
    pub registry: Registry,
    /// What they must enforce.
    pub desired: Desired,
}

/// The coordinator's UDP side.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    shared: Shared,
    terms: Terms,
    unknown: Arc<Semaphore>,
    enrolments: Semaphore,
}

impl Listener {
    /// Binds the port.
    ///
    /// # Errors
    /// The port is taken, or a key cannot be read.
    pub fn bind(address: SocketAddr, state_dir: &Path, shared: Shared, terms: Terms) -> Result<Self, EndpointError> {
        let endpoint = endpoint::bind(&shared.ca, state_dir, address)?;
        Ok(Self { endpoint, shared, terms, unknown: Arc::new(Semaphore::new(UNKNOWN_PEERS_MAX)), enrolments: Semaphore::new(ENROLMENTS_MAX) })
    }

    /// Serves until stopped, then tells every agent so.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => if let Some((incoming, place)) = self.let_in(incoming) {
                        connections.spawn(Arc::clone(&self).serve(incoming, place));
                    },
                    None => break,
                },
                Some(ended) = connections.join_next() => if let Err(error) = ended && error.is_panic() {
                    // A fault of ours in one connection's task must not be silent, nor take the others down.
                    tracing::error!(%error, "a connection's task panicked");
                },
            }
        }
        self.endpoint.close(VarInt::from_u32(code::STOPPING), b"the coordinator stops");
        self.endpoint.wait_idle().await;
        connections.shutdown().await;
    }

    /// A place for a peer nobody knows yet. When half of them are taken, only who proves to be where it says it is gets one: nobody fills them with
    /// addresses that are not its own.
    fn let_in(&self, incoming: Incoming) -> Option<(Incoming, OwnedSemaphorePermit)> {
        if self.unknown.available_permits() < UNKNOWN_PEERS_MAX / 2 && !incoming.remote_address_validated() {
            // Fails for those alone that have proved it.
            let _ = incoming.retry();
            return None;
        }
        match Arc::clone(&self.unknown).try_acquire_owned() {
            Ok(place) => Some((incoming, place)),
            Err(_) => {
                // It sends its first packet again, and may find a place then.
                incoming.ignore();
                None
            }
        }
    }

    async fn serve(self: Arc<Self>, incoming: Incoming, place: OwnedSemaphorePermit) {
        let peer = incoming.remote_address();
        let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, async { incoming.accept()?.await }).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "handshake failed"),
            Err(_) => return tracing::debug!(%peer, "handshake timed out"),
        };
        match application(&connection).as_deref() {
            Some(ALPN_LINK) => {
                // Its certificate was verified; without one it is sent away at once.
                drop(place);
                Session { shared: &self.shared, terms: self.terms }.run(connection).await;
            }
            Some(ALPN_ENROLL) => enroll::serve(&connection, &self.shared, &self.enrolments, self.terms.certificate_life_ms).await,
            _ => connection.close(VarInt::from_u32(code::MALFORMED), b"unknown application protocol"),
        }
    }
}

fn application(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}
