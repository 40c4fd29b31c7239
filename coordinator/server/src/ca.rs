//! The coordinator's certificate authority: one key that signs its own server certificate and the hosts' short-lived client certificates.
//!
//! It signs what it is told to; who may have a certificate is decided elsewhere.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use loopback_protocol::id::{HostId, OrganizationId};
use loopback_protocol::secret::Fingerprint;
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::server::danger::ClientCertVerifier as _;
use rustls_pki_types::{CertificateDer, UnixTime};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

mod host_certificate;
pub(crate) mod keys;
mod leaf;
mod verifier;

pub use host_certificate::{HostCertificate, InvalidHostCertificate};
pub use verifier::RemovedHosts;

use crate::clock::now_ms;
use leaf::LeafResolver;
use verifier::HostVerifier;

/// The name the server certificate always carries, whatever the coordinator is called; agents ask for it.
pub const SERVER_NAME: &str = "loopback-coordinator";
/// How far a peer's clock may be behind ours.
const CLOCK_SKEW_MS: u64 = 5 * 60 * 1_000;
const CA_LIFE_MS: u64 = 20 * 365 * 24 * 60 * 60 * 1_000;

/// The authority, and the server identity it has signed.
#[derive(Debug)]
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
    leaf: Arc<LeafResolver>,
    removed: RemovedHosts,
}

/// Why the authority cannot work.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// Its files.
    #[error("{path}: {source}")]
    File {
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// A key or certificate that cannot be read or made.
    #[error("the certificate authority: {0}")]
    Certificate(#[from] rcgen::Error),
    /// A TLS setting rustls refuses.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A client verifier cannot be built.
    #[error("client certificates: {0}")]
    Verifier(#[from] rustls::server::VerifierBuilderError),
}

/// A signing request that is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRequest {
    /// It is no signing request, or its signature does not fit its key.
    #[error("the certificate signing request is malformed or not signed by its own key")]
    Malformed,
    /// Another algorithm than ECDSA on P-256.
    #[error("the key of a host must be ECDSA on P-256")]
    Algorithm,
}

impl Ca {
    /// Opens the authority in `state_dir/ca`, or makes it there. `names` are the addresses and names the server answers to.
    ///
    /// # Errors
    /// Files cannot be read or written, or hold something else.
    pub fn open(state_dir: &Path, names: &[String]) -> Result<Arc<Self>, CaError> {
        let directory = state_dir.join("ca");
        keys::private_directory(&directory)?;
        let key = keys::open_key(&directory.join("ca.key"))?;
        let certificate = match keys::read_certificate(&directory.join("ca.crt"))? {
            Some(certificate) => certificate,
            None => keys::write_certificate(&directory.join("ca.crt"), self_signed(&key)?)?,
        };
        let issuer = Issuer::from_ca_cert_der(&certificate, key)?;
        let server_key = keys::open_key(&directory.join("server.key"))?;
        let leaf = Arc::new(LeafResolver::new(&issuer, certificate.clone(), server_key, names)?);
        Ok(Arc::new(Self { issuer, certificate, leaf, removed: RemovedHosts::default() }))
    }

    /// What install lines carry, so that the first contact is already authenticated.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.certificate)
    }

    /// The authority's certificate, in DER.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The server key's pin, as `curl --pinnedpubkey` takes it behind `sha256//`.
    #[must_use]
    pub fn pin(&self) -> String {
        base64::engine::general_purpose::STANDARD.encode(Sha256::digest(self.leaf.public_key()))
    }

    /// The hosts whose certificates are refused although they have not expired.
    #[must_use]
    pub const fn removed(&self) -> &RemovedHosts {
        &self.removed
    }

    /// For HTTPS.
    ///
    /// # Errors
    /// rustls refuses a setting.
    pub fn https_config(&self) -> Result<Arc<rustls::ServerConfig>, CaError> {
        let mut config = self.server_builder()?.with_no_client_auth().with_cert_resolver(self.leaf.clone());
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// For QUIC: a client certificate is verified when there is one; the link demands it, enrolment cannot have it yet.
    ///
    /// # Errors
    /// rustls refuses a setting.
    pub fn quic_config(&self, alpn: &[&[u8]]) -> Result<rustls::ServerConfig, CaError> {
        let verifier = HostVerifier::new(&self.certificate, self.removed.clone(), self.provider())?;
        let builder = rustls::ServerConfig::builder_with_provider(self.provider()).with_protocol_versions(&[&rustls::version::TLS13])?;
        let mut config = builder.with_client_cert_verifier(Arc::new(verifier)).with_cert_resolver(self.leaf.clone());
        config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
        Ok(config)
    }

    /// Signs a host's client certificate: the subject is ours to say, the key is the request's.
    ///
    /// # Errors
    /// The request is malformed or holds a weak or foreign kind of key.
    pub fn sign_host(&self, csr_der: &[u8], organization: OrganizationId, host: HostId, life_ms: u64) -> Result<CertificateDer<'static>, BadRequest> {
        let request = rcgen::CertificateSigningRequestParams::from_der(&csr_der.into()).map_err(|_| BadRequest::Malformed)?;
        if request.public_key.algorithm() != &rcgen::PKCS_ECDSA_P256_SHA256 {
            return Err(BadRequest::Algorithm);
        }
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, organization.to_string());
        params.distinguished_name.push(DnType::CommonName, host.to_string());
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        (params.not_before, params.not_after) = validity(life_ms);
        let signed = params.signed_by(&request.public_key, &self.issuer).map_err(|_| BadRequest::Malformed)?;
        Ok(signed.der().clone())
    }

    /// Reads a host certificate this authority has signed, whether or not it has expired since.
    #[must_use]
    pub fn expired_host(&self, certificate_der: &[u8]) -> Option<HostCertificate> {
        let certificate = HostCertificate::parse(certificate_der).ok()?;
        let while_valid = UnixTime::since_unix_epoch(Duration::from_millis(certificate.not_after_ms.saturating_sub(1_000)));
        let verifier = HostVerifier::new(&self.certificate, self.removed.clone(), self.provider()).ok()?;
        verifier.verify_client_cert(&certificate_der.into(), &[], while_valid).ok()?;
        Some(certificate)
    }

    fn server_builder(&self) -> Result<rustls::ConfigBuilder<rustls::ServerConfig, rustls::WantsVerifier>, CaError> {
        Ok(rustls::ServerConfig::builder_with_provider(self.provider()).with_safe_default_protocol_versions()?)
    }

    #[expect(clippy::unused_self, reason = "the provider is the authority's choice; nothing else may choose one")]
    fn provider(&self) -> Arc<rustls::crypto::CryptoProvider> {
        Arc::new(rustls::crypto::ring::default_provider())
    }
}

fn self_signed(key: &KeyPair) -> Result<CertificateDer<'static>, rcgen::Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Loopback coordinator CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = validity(CA_LIFE_MS);
    Ok(params.self_signed(key)?.der().clone())
}

/// From a little before now, for peers whose clocks are behind.
fn validity(life_ms: u64) -> (OffsetDateTime, OffsetDateTime) {
    let at = |ms: u64| OffsetDateTime::from_unix_timestamp(i64::try_from(ms / 1_000).unwrap_or_default()).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    (at(now_ms().saturating_sub(CLOCK_SKEW_MS)), at(now_ms().saturating_add(life_ms)))
}

#[cfg(test)]
mod tests {
    use loopback_protocol::id::Id;
    use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};

    use super::{BadRequest, Ca, HostCertificate};

    fn csr(key: &KeyPair) -> Vec<u8> {
        CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
    }

    #[test]
    fn the_authority_and_the_servers_key_outlive_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let first = Ca::open(directory.path(), &["localhost".into()]).unwrap();
        let second = Ca::open(directory.path(), &["other.example".into(), "192.0.2.1".into()]).unwrap();
        assert_eq!((first.fingerprint(), first.pin()), (second.fingerprint(), second.pin()));
    }

    #[test]
    fn a_hosts_certificate_says_who_it_is_whatever_the_request_said() {
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::open(directory.path(), &[]).unwrap();
        let (organization, host) = (Id::new(1, [1; 10]), Id::new(2, [2; 10]));
        let certificate = ca.sign_host(&csr(&KeyPair::generate().unwrap()), organization, host, 60_000).unwrap();
        let parsed = HostCertificate::parse(&certificate).unwrap();
        assert_eq!((parsed.organization, parsed.host), (organization, host));
        assert!(HostCertificate::parse(ca.certificate()).is_err());
    }

    #[test]
    fn foreign_keys_and_broken_requests_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let ca = Ca::open(directory.path(), &[]).unwrap();
        let sign = |csr: &[u8]| ca.sign_host(csr, Id::new(1, [1; 10]), Id::new(2, [2; 10]), 60_000).unwrap_err();
        assert_eq!(sign(b"not a request"), BadRequest::Malformed);
        assert_eq!(sign(&csr(&KeyPair::generate_for(&PKCS_ED25519).unwrap())), BadRequest::Algorithm);
        let mut forged = csr(&KeyPair::generate().unwrap());
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(sign(&forged), BadRequest::Malformed);
    }
}
