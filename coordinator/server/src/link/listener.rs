//! Accepts connections, and owns the task of each until it ends.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, Incoming, VarInt};
use tokio::sync::Semaphore;
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

/// First contacts at a time; each holds a database transaction for a moment.
const ENROLMENTS_MAX: usize = 64;
/// A handshake that takes longer is somebody else's fault.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The coordinator's UDP side.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    ca: Arc<Ca>,
    storage: Storage,
    observed: Observed,
    registry: Registry,
    desired: Desired,
    terms: Terms,
    enrolments: Arc<Semaphore>,
}

impl Listener {
    /// Binds the port.
    ///
    /// # Errors
    /// The port is taken, or a key cannot be read.
    #[expect(clippy::too_many_arguments, reason = "what a link touches, each named once")]
    pub fn bind(
        address: SocketAddr,
        state_dir: &Path,
        ca: Arc<Ca>,
        storage: Storage,
        observed: Observed,
        registry: Registry,
        desired: Desired,
        terms: Terms,
    ) -> Result<Self, EndpointError> {
        let endpoint = endpoint::bind(&ca, state_dir, address)?;
        Ok(Self { endpoint, ca, storage, observed, registry, desired, terms, enrolments: Arc::new(Semaphore::new(ENROLMENTS_MAX)) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// The socket does not tell.
    pub fn local_address(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Serves until stopped, then tells every agent so.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                incoming = self.endpoint.accept() => match incoming {
                    Some(incoming) => { connections.spawn(Arc::clone(&self).serve(incoming)); }
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

    async fn serve(self: Arc<Self>, incoming: Incoming) {
        let peer = incoming.remote_address();
        let connection = match tokio::time::timeout(HANDSHAKE_TIMEOUT, async { incoming.accept()?.await }).await {
            Ok(Ok(connection)) => connection,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "handshake failed"),
            Err(_) => return tracing::debug!(%peer, "handshake timed out"),
        };
        match application(&connection).as_deref() {
            Some(ALPN_LINK) => {
                let session = Session {
                    ca: &self.ca,
                    storage: &self.storage,
                    observed: &self.observed,
                    registry: &self.registry,
                    desired: &self.desired,
                    terms: self.terms,
                };
                session.run(connection).await;
            }
            Some(ALPN_ENROLL) => {
                let Ok(_place) = self.enrolments.acquire().await else { return };
                enroll::serve(&connection, &self.ca, &self.storage, self.terms.certificate_life_ms).await;
            }
            _ => connection.close(VarInt::from_u32(code::MALFORMED), b"unknown application protocol"),
        }
    }
}

fn application(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}
