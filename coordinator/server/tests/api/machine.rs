//! A machine played by hand: its key, its certificate, and the QUIC connections an agent makes. Everything on the other side is real.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use loopback_coordinator::ca::SERVER_NAME;
use loopback_protocol::control::{AgentMessage, CoordinatorMessage, Hello};
use loopback_protocol::enroll::{EnrollRequest, FirstAnswer, FirstContact, HostFacts, RENEW_EXPORTER_LABEL, RenewExpiredRequest};
use loopback_protocol::firewall::{Policy, PolicyOutcome, PolicyStatus};
use loopback_protocol::frame::{self, Decoder};
use loopback_protocol::limits::{CONTROL_FRAME_MAX_BYTES, ENROLL_FRAME_MAX_BYTES, SHELL_FRAME_MAX_BYTES};
use loopback_protocol::shell::{ShellEvent, ShellRequest};
use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK, PROTOCOL_VERSION};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};
use rcgen::{CertificateParams, KeyPair};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;

use crate::harness::World;

/// Anything that should happen has happened by then.
const PATIENCE: Duration = Duration::from_secs(20);

/// A machine with a key.
pub struct Machine {
    pub key: KeyPair,
    pub certificate: Option<CertificateDer<'static>>,
    pub facts: HostFacts,
    coordinator: SocketAddr,
    roots: Arc<rustls::RootCertStore>,
    endpoint: Endpoint,
}

/// A link that said hello and was welcomed.
pub struct Link {
    pub connection: Connection,
    pub welcome: CoordinatorMessage,
    stream: Stream,
}

/// The machine's end of a shell.
pub struct Shell(Stream);

/// Frames in both directions.
struct Stream {
    send: SendStream,
    receive: RecvStream,
    decoder: Decoder,
    limit: usize,
}

/// How a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// The coordinator closed it with this code.
    Closed(u64),
    /// The coordinator refused the handshake with this TLS alert.
    Alert(u64),
}

impl Machine {
    /// A machine that belongs to nobody.
    pub fn new(world: &World, hostname: &str) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(world.coordinator.ca().certificate().clone()).unwrap();
        let facts = HostFacts { hostname: hostname.into(), machine_id: format!("machine-{hostname}"), boot_id: "boot-1".into(), ..HostFacts::default() };
        Self {
            key: KeyPair::generate().unwrap(),
            certificate: None,
            facts,
            coordinator: world.coordinator.address(),
            roots: Arc::new(roots),
            endpoint: Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap(),
        }
    }

    /// A host of `acme/prod/web`.
    pub async fn joined(world: &World, hostname: &str) -> Self {
        let mut machine = Self::new(world, hostname);
        let FirstAnswer::Enrolled(enrolled) = machine.enroll(&token(world).await).await else { panic!("{hostname} was not admitted") };
        assert_eq!(enrolled.path, format!("acme/prod/web/{hostname}"));
        machine.certificate = Some(enrolled.certificate_der.into());
        machine
    }

    /// A signing request for a key.
    pub fn csr(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
    }

    /// Shows a token.
    pub async fn enroll(&self, token: &str) -> FirstAnswer {
        self.enroll_with(token, Self::csr(&self.key)).await
    }

    /// Shows a token, and asks for a certificate with any request.
    pub async fn enroll_with(&self, token: &str, csr_der: Vec<u8>) -> FirstAnswer {
        let request = EnrollRequest { token: token.into(), csr_der, facts: self.facts.clone(), agent_version: "0.1.0".into() };
        let connection = self.connect(ALPN_ENROLL, None).await.unwrap();
        first_contact(&connection, &FirstContact::Enroll(request).encode()).await
    }

    /// Shows a certificate, and proves with a key over this connection that it is its own.
    pub async fn renew_expired(&self, certificate: &CertificateDer<'_>, proof: &KeyPair, csr_der: Vec<u8>) -> FirstAnswer {
        let connection = self.connect(ALPN_ENROLL, None).await.unwrap();
        let mut keying = [0; 32];
        connection.export_keying_material(&mut keying, RENEW_EXPORTER_LABEL, b"").unwrap();
        let random = ring::rand::SystemRandom::new();
        let signer = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &proof.serialize_der(), &random).unwrap();
        let signature = signer.sign(&random, &[&keying[..], &csr_der].concat()).unwrap().as_ref().to_vec();
        let request = RenewExpiredRequest { certificate_der: certificate.to_vec(), csr_der, signature };
        first_contact(&connection, &FirstContact::Renew(request).encode()).await
    }

    /// Links and is welcomed.
    pub async fn link(&self) -> Link {
        self.try_link(&self.facts).await.unwrap()
    }

    /// Tries to link as this host, saying of itself what it likes.
    pub async fn try_link(&self, facts: &HostFacts) -> Result<Link, Ended> {
        let connection = self.connect(ALPN_LINK, self.certificate.as_ref()).await?;
        match Self::hello(&connection, facts).await {
            Some((stream, welcome)) => Ok(Link { connection, welcome, stream }),
            None => Err(ended(&connection).await),
        }
    }

    /// The first exchange, unless the connection ends in it.
    async fn hello(connection: &Connection, facts: &HostFacts) -> Option<(Stream, CoordinatorMessage)> {
        let mut stream = Stream::of(connection.open_bi().await.ok()?, CONTROL_FRAME_MAX_BYTES);
        stream.write(&AgentMessage::Hello(hello(facts)).encode()).await?;
        let welcome = CoordinatorMessage::decode(&stream.read().await?).unwrap();
        Some((stream, welcome))
    }

    /// Says hello on a stream that is open already, and waits for the end.
    pub async fn hello_late(&self, connection: &Connection, stream: (SendStream, RecvStream)) -> Ended {
        let mut stream = Stream::of(stream, CONTROL_FRAME_MAX_BYTES);
        // The connection may be over by now.
        let _ = stream.write(&AgentMessage::Hello(hello(&self.facts)).encode()).await;
        ended(connection).await
    }

    /// A connection for a protocol, with or without a certificate.
    pub async fn connect(&self, alpn: &[u8], certificate: Option<&CertificateDer<'static>>) -> Result<Connection, Ended> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
        let tls = tls.with_root_certificates(Arc::clone(&self.roots));
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let mut tls = match certificate {
            Some(certificate) => tls.with_client_auth_cert(vec![certificate.clone()], key).unwrap(),
            None => tls.with_no_client_auth(),
        };
        tls.alpn_protocols = vec![alpn.to_vec()];
        let config = quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap()));
        within(self.endpoint.connect_with(config, self.coordinator, SERVER_NAME).unwrap()).await.map_err(Ended::of)
    }
}

impl Link {
    /// Says something.
    pub async fn say(&mut self, message: &AgentMessage) {
        self.stream.write(&message.encode()).await.expect("the link is open");
    }

    /// Sends bytes that may be no message.
    pub async fn send(&mut self, bytes: &[u8]) {
        within(self.stream.send.write_all(bytes)).await.unwrap();
    }

    /// What is heard next.
    pub async fn hear(&mut self) -> CoordinatorMessage {
        CoordinatorMessage::decode(&self.stream.read().await.expect("the link is open")).unwrap()
    }

    /// What is heard next that is not a policy: those come when they come.
    pub async fn answer(&mut self) -> CoordinatorMessage {
        loop {
            let message = self.hear().await;
            if !matches!(message, CoordinatorMessage::Policy(_)) {
                return message;
            }
        }
    }

    /// The next policy.
    pub async fn policy(&mut self) -> Policy {
        loop {
            if let CoordinatorMessage::Policy(policy) = self.hear().await {
                return policy;
            }
        }
    }

    /// Fails unless the link works: a status is told, and confirmed.
    pub async fn check_works(&mut self) {
        let (generation, digest) = (77, Policy::unfiltered(77).digest());
        self.say(&AgentMessage::PolicyStatus(PolicyStatus { generation, digest, outcome: PolicyOutcome::Applied { at_ms: 1 } })).await;
        assert_eq!(self.answer().await, CoordinatorMessage::PolicyConfirmed(generation));
    }

    /// How the link ended.
    pub async fn ended(&self) -> Ended {
        ended(&self.connection).await
    }

    /// The next shell that is asked for.
    pub async fn shell(&self) -> Shell {
        Shell(Stream::of(within(self.connection.accept_bi()).await.unwrap(), SHELL_FRAME_MAX_BYTES))
    }
}

impl Shell {
    /// What is asked next.
    pub async fn hear(&mut self) -> ShellRequest {
        ShellRequest::decode(&self.0.read().await.expect("the stream is open")).unwrap()
    }

    /// Tells what happened.
    pub async fn say(&mut self, event: &ShellEvent) {
        self.0.write(&event.encode()).await.expect("the stream is open");
    }
}

impl Stream {
    fn of((send, receive): (SendStream, RecvStream), limit: usize) -> Self {
        Self { send, receive, decoder: Decoder::new(limit), limit }
    }

    async fn write(&mut self, payload: &[u8]) -> Option<()> {
        within(self.send.write_all(&frame::encode(payload, self.limit).unwrap())).await.ok()
    }

    async fn read(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(payload) = self.decoder.next_frame().unwrap() {
                return Some(payload);
            }
            self.decoder.push(&within(self.receive.read_chunk(self.limit, true)).await.ok()??.bytes);
        }
    }
}

impl Ended {
    fn of(error: ConnectionError) -> Self {
        match error {
            ConnectionError::ApplicationClosed(close) => Self::Closed(close.error_code.into_inner()),
            // A TLS alert is the low byte of the code (RFC 9001, section 4.8).
            ConnectionError::ConnectionClosed(close) => Self::Alert(u64::from(close.error_code) & 0xff),
            other => panic!("{other}"),
        }
    }
}

fn hello(facts: &HostFacts) -> Hello {
    Hello { protocol_version: PROTOCOL_VERSION, agent_version: "0.1.0".into(), facts: facts.clone(), modules: Vec::new(), clock_ms: 0, policy_digest: None }
}

/// The text of a new token of `acme/prod/web` for one host.
pub async fn token(world: &World) -> String {
    let join = world.post("/v1/organizations/acme/projects/prod/workspaces/web/tokens", json!({})).await.expect(200).at("/join");
    join.split('.').next().unwrap().to_owned()
}

/// Waits for what has to happen.
pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

/// How a connection that is over ended.
pub async fn ended(connection: &Connection) -> Ended {
    Ended::of(within(connection.closed()).await)
}

/// Sends the one request of a first contact, and reads its one answer.
pub async fn first_contact(connection: &Connection, payload: &[u8]) -> FirstAnswer {
    let mut stream = Stream::of(connection.open_bi().await.unwrap(), ENROLL_FRAME_MAX_BYTES);
    stream.write(payload).await.unwrap();
    FirstAnswer::decode(&stream.read().await.expect("an answer")).unwrap()
}
