//! QUIC connections to the coordinator: what TLS demands, how the transport is set, which address is dialled. It says nothing on them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK};
use nix::sys::socket::{setsockopt, sockopt};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig};
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint, EndpointConfig, IdleTimeout, TransportConfig, VarInt};
use rustls::ConfigBuilder;
use rustls::RootCertStore;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;

use crate::keystore::Credentials;
use crate::limits::{CONNECT_TIMEOUT, COORDINATOR_ADDRESSES_MAX, SESSIONS_MAX, UDP_RECEIVE_BUFFER_BYTES};
use crate::pinned_ca::PinnedCa;

/// What every coordinator's certificate is named, whatever address it is reached at.
pub const SERVER_NAME: &str = "loopback-coordinator";
/// The code of an end without a fault.
pub const CODE_DONE: VarInt = VarInt::from_u32(0);

/// Where the coordinator is.
#[derive(Debug)]
pub struct Coordinator {
    address: String,
    server_name: String,
    /// The last addresses it was known by; they must stay open in the firewall.
    known: Mutex<Vec<SocketAddr>>,
}

/// An endpoint and its one connection. The endpoint must outlive it, and lets the last packets out.
#[derive(Debug)]
pub struct Dialled {
    endpoint: Endpoint,
    /// The connection.
    pub connection: Connection,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The name has no address.
    #[error("the coordinator's address {address} cannot be resolved; is it HOST:PORT, and does DNS work?")]
    Unresolved {
        /// What was looked up.
        address: String,
        /// Why not.
        source: io::Error,
    },
    /// No socket.
    #[error("no UDP socket")]
    Socket(#[source] io::Error),
    /// TLS cannot be set up with these credentials.
    #[error("the host's credentials cannot be used")]
    Credentials(#[from] rustls::Error),
    /// Never with the provider that is built in.
    #[error("the TLS library lacks QUIC's initial cipher suite")]
    CipherSuite(#[from] NoInitialCipherSuite),
    /// The address is none.
    #[error("the coordinator's address cannot be dialled")]
    Address(#[from] quinn::ConnectError),
    /// Nobody answered.
    #[error("the coordinator at {0} does not answer over UDP; is it running, and does every firewall on the way let UDP through?")]
    Silent(SocketAddr),
    /// The handshake failed.
    #[error("the handshake with the coordinator failed")]
    Handshake(#[from] ConnectionError),
}

impl Coordinator {
    /// A coordinator by its address (HOST:PORT), with the addresses it was last known by.
    #[must_use]
    pub const fn new(address: String, server_name: String, known: Vec<SocketAddr>) -> Self {
        Self { address, server_name, known: Mutex::new(known) }
    }

    /// The addresses it was last known by.
    #[must_use]
    pub fn known(&self) -> Vec<SocketAddr> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Looks its addresses up; while the name service is silent the known ones hold. Says whether they are others than before.
    pub async fn resolve(&self) -> Result<bool, DialError> {
        let found = tokio::net::lookup_host(&self.address).await;
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match found {
            Ok(found) => {
                let mut found: Vec<_> = found.take(COORDINATOR_ADDRESSES_MAX).collect();
                found.sort_unstable();
                found.dedup();
                let moved = *known != found;
                *known = found;
                Ok(moved)
            }
            Err(_) if !known.is_empty() => Ok(false),
            Err(source) => Err(DialError::Unresolved { address: self.address.clone(), source }),
        }
    }

    /// Dials the known addresses, one after the other.
    pub async fn dial(&self, config: ClientConfig) -> Result<Dialled, DialError> {
        let nothing = io::Error::from(io::ErrorKind::NotFound);
        let mut failure = DialError::Unresolved { address: self.address.clone(), source: nothing };
        for address in self.known() {
            match dial(address, &self.server_name, config.clone()).await {
                Ok(dialled) => return Ok(dialled),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }
}

impl Dialled {
    /// Closes a connection that is of no use, and waits for nothing.
    pub fn abandon(self) {
        self.connection.close(CODE_DONE, b"");
    }

    /// Closes the connection and waits until the other side can know.
    pub async fn close(self, reason: &str) {
        self.connection.close(CODE_DONE, reason.as_bytes());
        self.endpoint.wait_idle().await;
    }
}

/// How an enrolled host connects: mTLS, the coordinator's CA the only root.
pub fn link_config(credentials: &Credentials) -> Result<ClientConfig, DialError> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials.ca_der.clone())?;
    let chain = vec![credentials.certificate_der.clone()];
    let tls = tls13(provider())?.with_root_certificates(roots).with_client_auth_cert(chain, credentials.key.to_der().into())?;
    finish(tls, ALPN_LINK)
}

/// How a host that knows the coordinator's CA comes without a certificate.
pub fn renewal_config(credentials: &Credentials) -> Result<ClientConfig, DialError> {
    let mut roots = RootCertStore::empty();
    roots.add(credentials.ca_der.clone())?;
    finish(tls13(provider())?.with_root_certificates(roots).with_no_client_auth(), ALPN_ENROLL)
}

/// How a machine comes that knows nothing but a fingerprint.
pub fn enroll_config(pinned: Arc<PinnedCa>) -> Result<ClientConfig, DialError> {
    finish(tls13(provider())?.dangerous().with_custom_certificate_verifier(pinned).with_no_client_auth(), ALPN_ENROLL)
}

/// The cryptography, named here so that no process-wide default is relied on.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn tls13(provider: Arc<CryptoProvider>) -> Result<ConfigBuilder<rustls::ClientConfig, rustls::WantsVerifier>, rustls::Error> {
    rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13])
}

fn finish(mut tls: rustls::ClientConfig, alpn: &[u8]) -> Result<ClientConfig, DialError> {
    tls.alpn_protocols = vec![alpn.to_vec()];
    // Every link proves itself anew; tickets would only be memory.
    tls.resumption = Resumption::disabled();
    let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
    config.transport_config(Arc::new(transport()));
    Ok(config)
}

/// The transport's settings, each with its reason.
fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        // A host is offline after three heartbeats of five seconds; the link must not be dead for longer unnoticed.
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(15_000))))
        // Three chances within the idle timeout; also keeps NAT bindings, which live 30 s and more.
        .keep_alive_interval(Some(Duration::from_secs(5)))
        // What one stream may have under way to us: a policy of megabytes in a few round trips, and no pasted flood in front of a Ctrl-C.
        .stream_receive_window(VarInt::from_u32(256 * 1024))
        // All streams together: streams nobody reads must not stop the control stream, and are bounded all the same.
        .receive_window(VarInt::from_u32(64 * 1024 * 1024))
        // What we may have under way unacknowledged; the windows of the coordinator are the bound for each stream.
        .send_window(8 * 1024 * 1024)
        // One for each shell session; quinn's default of 100 caps the sessions of a host.
        .max_concurrent_bidi_streams(VarInt::from_u32(SESSIONS_MAX))
        // Nothing comes this way.
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    transport
}

async fn dial(address: SocketAddr, server_name: &str, config: ClientConfig) -> Result<Dialled, DialError> {
    let unspecified = if address.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { IpAddr::V6(Ipv6Addr::UNSPECIFIED) };
    let socket = UdpSocket::bind((unspecified, 0)).map_err(DialError::Socket)?;
    // Beyond the system's bound only root may; where neither is permitted the link is slower, not broken.
    let _ = setsockopt(&socket, sockopt::RcvBufForce, &UDP_RECEIVE_BUFFER_BYTES).or_else(|_| setsockopt(&socket, sockopt::RcvBuf, &UDP_RECEIVE_BUFFER_BYTES));
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(quinn::TokioRuntime)).map_err(DialError::Socket)?;
    let connecting = endpoint.connect_with(config, address, server_name)?;
    let connection = tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.map_err(|_| DialError::Silent(address))?;
    match connection {
        Ok(connection) => Ok(Dialled { endpoint, connection }),
        Err(ConnectionError::TimedOut) => Err(DialError::Silent(address)),
        Err(error) => Err(error.into()),
    }
}
