//! A coordinator for tests: a real CA and a real QUIC server on 127.0.0.1, whose every answer the test gives.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use loopback_protocol::control::{AgentMessage, CoordinatorMessage, Welcome};
use loopback_protocol::enroll::{Enrolled, FirstAnswer, FirstContact};
use loopback_protocol::frame;
use loopback_protocol::id::{HostId, Id};
use loopback_protocol::limits::{CONTROL_FRAME_MAX_BYTES, ENROLL_FRAME_MAX_BYTES};
use loopback_protocol::secret::{Fingerprint, JoinString, SECRET_BYTES, Secret};
use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Connection, Endpoint, SendStream, ServerConfig};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, CertifiedIssuer, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::frames::FrameReader;
use crate::quic::{SERVER_NAME, provider};

/// How long a test waits for anything.
pub const DEADLINE: Duration = Duration::from_secs(20);
const DAY: Duration = Duration::from_secs(86_400);

/// A certificate authority.
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate's life, around now.
#[derive(Clone, Copy)]
pub struct Life {
    /// It became valid this long ago.
    pub since: Duration,
    /// It is valid for this long altogether.
    pub lasts: Duration,
}

impl Life {
    /// Just issued.
    pub const FRESH: Self = Self { since: Duration::from_secs(60), lasts: DAY };
    /// Over.
    pub const EXPIRED: Self = Self { since: Duration::from_secs(2 * 86_400), lasts: DAY };
    /// Past two thirds.
    pub const AGEING: Self = Self { since: Duration::from_secs(80_000), lasts: DAY };
}

impl Authority {
    pub fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self { issuer: CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap() }
    }

    pub fn der(&self) -> &CertificateDer<'static> {
        self.issuer.der()
    }

    pub fn issue_server(&self, name: &str) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (certificate.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into())
    }

    pub fn issue_host(&self, csr_der: &[u8], life: Life) -> Vec<u8> {
        let mut request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(csr_der)).unwrap();
        let from = SystemTime::now() - life.since;
        request.params.not_before = from.into();
        request.params.not_after = (from + life.lasts).into();
        request.params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        request.signed_by(&self.issuer).unwrap().der().to_vec()
    }

    /// A token for this authority's coordinator.
    pub fn join_string(&self) -> JoinString {
        JoinString { token: Secret::new(Id::new(1, [3; 10]), [9; SECRET_BYTES]), ca: Fingerprint::of(self.der()) }
    }
}

/// The host every enrolment here becomes.
pub fn host() -> HostId {
    Id::new(1, [7; 10])
}

/// A listening coordinator.
pub struct FakeCoordinator {
    endpoint: Endpoint,
}

impl FakeCoordinator {
    /// Listens; port 0 takes any. The chain it shows is its leaf and its CA.
    pub fn listen(authority: &Authority, port: u16) -> Self {
        Self::listen_as(authority, SERVER_NAME, port)
    }

    pub fn listen_as(authority: &Authority, name: &str, port: u16) -> Self {
        let (leaf, key) = authority.issue_server(name);
        let mut roots = RootCertStore::empty();
        roots.add(authority.der().clone()).unwrap();
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).allow_unauthenticated().build().unwrap();
        let mut tls = rustls::ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_client_cert_verifier(clients)
            .with_single_cert(vec![leaf, authority.der().clone()], key)
            .unwrap();
        tls.alpn_protocols = vec![ALPN_LINK.to_vec(), ALPN_ENROLL.to_vec()];
        let config = ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
        Self { endpoint: Endpoint::server(config, SocketAddr::from(([127, 0, 0, 1], port))).unwrap() }
    }

    pub fn address(&self) -> String {
        self.endpoint.local_addr().unwrap().to_string()
    }

    pub fn port(&self) -> u16 {
        self.endpoint.local_addr().unwrap().port()
    }

    /// The next connection whose handshake succeeds.
    pub async fn accept(&self) -> Connection {
        let next = async {
            loop {
                if let Ok(connection) = self.endpoint.accept().await.unwrap().await {
                    return connection;
                }
            }
        };
        tokio::time::timeout(DEADLINE, next).await.expect("a connection in time")
    }

    /// The next handshake, whatever comes of it.
    pub async fn accept_any(&self) -> Result<Connection, quinn::ConnectionError> {
        tokio::time::timeout(DEADLINE, async { self.endpoint.accept().await.unwrap().await }).await.expect("a handshake in time")
    }

    /// Answers one first contact.
    pub async fn answer(&self, answer: impl FnOnce(&FirstContact, &Connection) -> FirstAnswer) -> FirstContact {
        let connection = self.accept().await;
        let (mut send, recv) = connection.accept_bi().await.unwrap();
        let contact = FrameReader::new(recv, ENROLL_FRAME_MAX_BYTES).next().await.unwrap().expect("a first contact");
        let contact = FirstContact::decode(&contact).unwrap();
        let answer = answer(&contact, &connection);
        send.write_all(&frame::encode(&answer.encode(), ENROLL_FRAME_MAX_BYTES).unwrap()).await.unwrap();
        connection.closed().await;
        contact
    }

    /// Takes the next link and its hello.
    pub async fn link(&self) -> FakeLink {
        let connection = self.accept().await;
        let (send, recv) = tokio::time::timeout(DEADLINE, connection.accept_bi()).await.unwrap().unwrap();
        FakeLink { connection, send, frames: FrameReader::new(recv, CONTROL_FRAME_MAX_BYTES) }
    }

    /// Is gone at once, with everything it had; its port is free again.
    pub async fn die(self) {
        let address = self.endpoint.local_addr().unwrap();
        self.endpoint.close(99_u32.into(), b"killed");
        self.endpoint.wait_idle().await;
        drop(self);
        let freed = async {
            while std::net::UdpSocket::bind(address).is_err() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(DEADLINE, freed).await.expect("the port is free in time");
    }
}

/// Lets a host in.
pub fn admit(authority: &Authority, csr_der: &[u8], life: Life) -> FirstAnswer {
    FirstAnswer::Enrolled(Enrolled { host: host(), path: "acme/prod/web/host-1".into(), certificate_der: authority.issue_host(csr_der, life) })
}

/// The coordinator's end of a link.
pub struct FakeLink {
    pub connection: Connection,
    send: SendStream,
    frames: FrameReader,
}

impl FakeLink {
    /// Waits for a message that the test wants, past all others.
    pub async fn until<T>(&mut self, wanted: impl Fn(AgentMessage) -> Option<T>) -> T {
        let next = async {
            loop {
                let payload = self.frames.next().await.unwrap().expect("another message");
                if let Some(found) = wanted(AgentMessage::decode(&payload).unwrap()) {
                    return found;
                }
            }
        };
        tokio::time::timeout(DEADLINE, next).await.expect("the message in time")
    }

    pub async fn say(&mut self, message: CoordinatorMessage) {
        self.send.write_all(&frame::encode(&message.encode(), CONTROL_FRAME_MAX_BYTES).unwrap()).await.unwrap();
    }

    /// Answers the hello, with short intervals.
    pub async fn welcome(&mut self) {
        let hello = self.until(|message| if let AgentMessage::Hello(hello) = message { Some(hello) } else { None }).await;
        assert_eq!(hello.modules.len(), 3);
        self.say(CoordinatorMessage::Welcome(Welcome { host: host(), heartbeat_interval_ms: 100, metrics_interval_ms: 100, clock_ms: hello.clock_ms })).await;
    }
}
