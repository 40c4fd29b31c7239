//! A host that holds a good certificate and misuses it. It speaks QUIC as an agent does, from the host's own network.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use loopback_protocol::version::ALPN_LINK;
use loopback_tests::host::Host;
use nix::sched::{CloneFlags, setns};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ClientConfig, Endpoint, EndpointConfig, TokioRuntime};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

/// How long the coordinator may listen to nonsense.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an agent never sends as its first words.
pub const NONSENSE: &[(&str, &[u8])] = &[
    ("a frame of four gigabytes", &[0xff, 0xff, 0xff, 0xff, 1, 2, 3]),
    ("a frame that is no message", &[0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff]),
    ("an empty message", &[0, 0, 0, 0]),
    ("a heartbeat before the hello", &[0, 0, 0, 2, 0x12, 0]),
    ("text", b"GET / HTTP/1.1\r\n\r\n"),
];

/// Connects as this host, says these bytes, and waits until the coordinator closes the link.
pub fn send(host: &Host, coordinator: &str, bytes: &'static [u8]) -> Result<()> {
    let address: SocketAddr = coordinator.parse()?;
    let config = client(host)?;
    let namespace = File::open(format!("/run/netns/{}", host.machine.namespace))?;
    // A namespace belongs to a thread, and this one ends with its socket.
    let thread = std::thread::spawn(move || -> Result<()> {
        setns(namespace, CloneFlags::CLONE_NEWNET).context("cannot enter the host's network")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(talk(config, address, bytes))
    });
    thread.join().map_err(|_| anyhow!("the hostile agent panicked"))?
}

async fn talk(config: ClientConfig, address: SocketAddr, bytes: &[u8]) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, Arc::new(TokioRuntime))?;
    let link = endpoint.connect_with(config, address, &address.ip().to_string())?.await.context("a good certificate is let in")?;
    let (mut send, _recv) = link.open_bi().await?;
    send.write_all(bytes).await?;
    let closed = tokio::time::timeout(PATIENCE, link.closed()).await;
    ensure!(closed.is_ok(), "the coordinator still listens after {bytes:?}");
    Ok(())
}

fn client(host: &Host) -> Result<ClientConfig> {
    let certificate = CertificateDer::from_pem_file(host.state().join("host.crt")).map_err(|error| anyhow!("host.crt: {error}"))?;
    let key = PrivateKeyDer::from_pem_file(host.state().join("host.key")).map_err(|error| anyhow!("host.key: {error}"))?;
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_protocol_versions(&[&rustls::version::TLS13])?;
    let mut tls = builder.dangerous().with_custom_certificate_verifier(Arc::new(AnyServer)).with_client_auth_cert(vec![certificate], key)?;
    tls.alpn_protocols = vec![ALPN_LINK.to_vec()];
    Ok(ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?)))
}

/// The hostile side does not care whom it talks to.
#[derive(Debug)]
struct AnyServer;

impl ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(&self, _: &[u8], _: &CertificateDer<'_>, _: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
