//! The first contact: nothing is known of the coordinator but the fingerprint of its CA, which the token carries. A chain without that CA, or a leaf that
//! CA did not sign, is refused in the handshake: the token is not sent.

use std::sync::{Arc, OnceLock};

use loopback_protocol::secret::Fingerprint;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

/// Verifies a server by the fingerprint of its CA.
#[derive(Debug)]
pub struct PinnedCa {
    fingerprint: Fingerprint,
    provider: Arc<CryptoProvider>,
    judgement: OnceLock<Judgement>,
}

/// What the handshake brought to light.
#[derive(Debug, Clone)]
pub enum Judgement {
    /// The pinned CA, which signed the server's certificate.
    Trusted(CertificateDer<'static>),
    /// No certificate in the chain has the fingerprint, or the one that has did not sign.
    OtherCa,
}

impl PinnedCa {
    /// Trusts only the CA with this fingerprint.
    pub const fn new(fingerprint: Fingerprint, provider: Arc<CryptoProvider>) -> Self {
        Self { fingerprint, provider, judgement: OnceLock::new() }
    }

    /// What the handshake brought to light, if it came that far.
    pub fn judgement(&self) -> Option<&Judgement> {
        self.judgement.get()
    }

    fn verify(&self, chain: &Chain<'_>) -> Result<CertificateDer<'static>, Error> {
        let presented = std::iter::once(chain.leaf).chain(chain.others);
        let ca = presented.into_iter().find(|certificate| Fingerprint::of(certificate) == self.fingerprint);
        let ca = ca.ok_or(Error::InvalidCertificate(CertificateError::UnknownIssuer))?.clone().into_owned();
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&self.provider))
            .build()
            .map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(chain.leaf, chain.others, chain.server_name, &[], chain.now)?;
        Ok(ca)
    }
}

struct Chain<'a> {
    leaf: &'a CertificateDer<'a>,
    others: &'a [CertificateDer<'a>],
    server_name: &'a ServerName<'a>,
    now: UnixTime,
}

impl ServerCertVerifier for PinnedCa {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verified = self.verify(&Chain { leaf, others, server_name, now });
        let judgement = match &verified {
            Ok(ca) => Some(Judgement::Trusted(ca.clone())),
            Err(Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature)) => Some(Judgement::OtherCa),
            Err(_) => None,
        };
        if let Some(judgement) = judgement {
            // A verifier serves one handshake.
            let _ = self.judgement.set(judgement);
        }
        verified.map(|_| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use loopback_protocol::secret::Fingerprint;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

    use super::{Judgement, PinnedCa};
    use crate::fake_coordinator::Authority;
    use crate::quic::SERVER_NAME;

    fn check(pinned: &Authority, leaf: &CertificateDer<'static>, others: &[CertificateDer<'static>], expected: fn(Option<&Judgement>) -> bool, trusted: bool) {
        let verifier = PinnedCa::new(Fingerprint::of(pinned.der()), Arc::new(rustls::crypto::ring::default_provider()));
        let verified = verifier.verify_server_cert(leaf, others, &ServerName::try_from(SERVER_NAME).unwrap(), &[], UnixTime::now());
        assert_eq!(verified.is_ok(), trusted, "{verified:?}");
        assert!(expected(verifier.judgement()), "{:?}", verifier.judgement());
    }

    #[test]
    fn only_a_leaf_of_the_pinned_ca_with_the_right_name_is_trusted() {
        let (ours, other) = (Authority::new(), Authority::new());
        let (our_leaf, _) = ours.issue_server(SERVER_NAME);
        let (other_leaf, _) = other.issue_server(SERVER_NAME);
        let (misnamed, _) = ours.issue_server("elsewhere");
        let our_ca = [ours.der().clone()];
        let both = [ours.der().clone(), other.der().clone()];
        check(&ours, &our_leaf, &our_ca, |judgement| matches!(judgement, Some(Judgement::Trusted(_))), true);
        check(&ours, &other_leaf, &[other.der().clone()], |judgement| matches!(judgement, Some(Judgement::OtherCa)), false);
        check(&ours, &our_leaf, &[], |judgement| matches!(judgement, Some(Judgement::OtherCa)), false);
        // A stranger may show the pinned CA beside its own; it cannot sign with it.
        check(&ours, &other_leaf, &both, |judgement| matches!(judgement, Some(Judgement::OtherCa)), false);
        check(&ours, &misnamed, &our_ca, |judgement| judgement.is_none(), false);
    }
}
