//! Client certificates: the authority's, unexpired, and not of a host that was removed.

use std::collections::HashSet;
use std::sync::{Arc, RwLock};

use loopback_protocol::id::HostId;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, UnixTime};

use super::{CaError, HostCertificate};

/// The hosts whose certificates no longer count: what a revocation list says, known at once.
#[derive(Debug, Clone, Default)]
pub struct RemovedHosts(Arc<RwLock<HashSet<HostId>>>);

impl RemovedHosts {
    /// From now on the host is refused.
    pub fn insert(&self, host: HostId) {
        if let Ok(mut hosts) = self.0.write() {
            hosts.insert(host);
        }
    }

    /// Whether the host is refused. A poisoned set refuses everyone.
    #[must_use]
    pub fn contains(&self, host: HostId) -> bool {
        self.0.read().map_or(true, |hosts| hosts.contains(&host))
    }
}

/// What the QUIC listener asks about a client certificate.
#[derive(Debug)]
pub(super) struct HostVerifier {
    chain: Arc<dyn ClientCertVerifier>,
    removed: RemovedHosts,
}

impl HostVerifier {
    pub(super) fn new(authority: &CertificateDer<'static>, removed: RemovedHosts, provider: Arc<CryptoProvider>) -> Result<Self, CaError> {
        let mut roots = RootCertStore::empty();
        roots.add(authority.clone())?;
        let chain = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).allow_unauthenticated().build()?;
        Ok(Self { chain, removed })
    }
}

impl ClientCertVerifier for HostVerifier {
    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn verify_client_cert(&self, end_entity: &CertificateDer<'_>, intermediates: &[CertificateDer<'_>], now: UnixTime) -> Result<ClientCertVerified, Error> {
        let verified = self.chain.verify_client_cert(end_entity, intermediates, now)?;
        let certificate = HostCertificate::parse(end_entity).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        if self.removed.contains(certificate.host) { Err(Error::InvalidCertificate(CertificateError::Revoked)) } else { Ok(verified) }
    }

    fn verify_tls12_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(&self, message: &[u8], cert: &CertificateDer<'_>, dss: &DigitallySignedStruct) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
