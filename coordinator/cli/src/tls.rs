//! Whom the operator's machine believes to be the coordinator.
//!
//! The CA is the coordinator's own and signs nothing but that coordinator and its hosts' clients, so a certificate of it is believed for the address it was
//! reached at, or for the name every coordinator bears: an address nobody thought of when it was set up is still safe. Public CAs are never asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Url;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::limits::CONNECT_TIMEOUT_MS;

/// In the certificate of every coordinator, whatever its addresses.
const COORDINATOR_NAME: &str = "loopback-coordinator";

/// Why there is no trusted connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: Url, reason: String },
    #[error("{url} is not the coordinator this CA belongs to: {reason}")]
    Untrusted { url: Url, reason: String },
    #[error("the CA's certificate cannot be used: {0}")]
    Certificate(rustls::Error),
    #[error("{url} shows no CA; is it a Loopback coordinator?")]
    NoAuthority { url: Url },
}

/// TLS that trusts certificates of these CAs only.
pub(crate) fn client_config(roots: &[CertificateDer<'static>]) -> Result<ClientConfig, TlsError> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).map_err(TlsError::Certificate)?;
    }
    let built = WebPkiServerVerifier::builder_with_provider(Arc::new(store), provider()).build();
    let webpki = built.map_err(|error| TlsError::Certificate(rustls::Error::General(error.to_string())))?;
    config(Arc::new(OwnCoordinator { webpki }))
}

/// A TLS connection to the coordinator, its certificate verified as `config` wants.
pub(crate) async fn connect(url: &Url, config: Arc<ClientConfig>) -> Result<TlsStream<TcpStream>, TlsError> {
    let unreachable = |reason: String| TlsError::Unreachable { url: url.clone(), reason };
    let host = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let name = ServerName::try_from(host.to_owned()).map_err(|error| unreachable(error.to_string()))?;
    let handshake = async {
        let tcp = TcpStream::connect((host, url.port_or_known_default().unwrap_or_default())).await?;
        tcp.set_nodelay(true)?;
        TlsConnector::from(config).connect(name, tcp).await
    };
    match timeout(Duration::from_millis(CONNECT_TIMEOUT_MS), handshake).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(match distrust(&error) {
            Some(reason) => TlsError::Untrusted { url: url.clone(), reason },
            None => unreachable(error.to_string()),
        }),
        Err(_) => Err(unreachable("no answer in time".to_owned())),
    }
}

/// The CA a coordinator shows at the first contact: the last certificate of its chain. Nothing is believed yet, and nothing is sent.
pub(crate) async fn presented_authority(url: &Url) -> Result<CertificateDer<'static>, TlsError> {
    let witness = Arc::new(Witness { provider: provider(), chain: Mutex::new(Vec::new()) });
    drop(connect(url, Arc::new(config(witness.clone())?)).await?);
    let mut chain = witness.chain.lock().map(|mut chain| std::mem::take(&mut *chain)).unwrap_or_default();
    match (chain.len(), chain.pop()) {
        (2.., Some(authority)) => Ok(authority),
        _ => Err(TlsError::NoAuthority { url: url.clone() }),
    }
}

/// Why the peer's certificate was not believed, if that is what an error is about.
pub(crate) fn distrust(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    let mut current = Some(error);
    while let Some(error) = current {
        // An I/O error hides what it wraps from `source`.
        let wrapped = error.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref()).map(|inner| inner as &(dyn std::error::Error + 'static));
        match error.downcast_ref::<rustls::Error>() {
            // A bad signature is another CA of the same name: a coordinator that was set up anew.
            Some(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => {
                return Some("its certificate comes from another CA".to_owned());
            }
            Some(rustls::Error::InvalidCertificate(reason)) => return Some(reason.to_string()),
            _ => current = wrapped.or_else(|| error.source()),
        }
    }
    None
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn config(verifier: Arc<dyn ServerCertVerifier>) -> Result<ClientConfig, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions().map_err(TlsError::Certificate)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Believes certificates of one CA for the address they were reached at, or for [`COORDINATOR_NAME`].
#[derive(Debug)]
struct OwnCoordinator {
    webpki: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for OwnCoordinator {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |name: &ServerName<'_>| self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now);
        match verify(server_name) {
            Err(rustls::Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. })) => {
                verify(&ServerName::try_from(COORDINATOR_NAME).map_err(|error| rustls::Error::General(error.to_string()))?)
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

/// Believes nothing and remembers what it was shown. Only for connections that send nothing.
#[derive(Debug)]
struct Witness {
    provider: Arc<CryptoProvider>,
    chain: Mutex<Vec<CertificateDer<'static>>>,
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Ok(mut chain) = self.chain.lock() {
            *chain = std::iter::once(end_entity).chain(intermediates).map(|certificate| certificate.clone().into_owned()).collect();
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
