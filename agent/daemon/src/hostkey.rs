//! The host's own key (ECDSA P-256): signing requests, proofs, and whether a certificate is for it. It refuses certificates for any other key.

use loopback_agent_core::renewal::Validity;
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SigningKey as _};
use rustls_pki_types::PrivatePkcs8KeyDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A host's key. It is written by the keystore and shown to nobody else.
pub struct HostKey {
    pair: KeyPair,
}

/// A key or certificate that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HostKeyError {
    /// The library refuses.
    #[error("the host's key cannot be used")]
    Key(#[from] rcgen::Error),
    /// The certificate is none.
    #[error("the certificate is not X.509 in DER")]
    Certificate,
    /// The certificate belongs to another key.
    #[error("the certificate is for another key than this host's")]
    OtherKey,
}

impl HostKey {
    /// Makes a key.
    pub fn generate() -> Result<Self, HostKeyError> {
        Ok(Self { pair: KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)? })
    }

    /// Reads PKCS#8 in PEM.
    pub fn from_pem(pem: &str) -> Result<Self, HostKeyError> {
        Ok(Self { pair: KeyPair::from_pem(pem)? })
    }

    /// PKCS#8 in PEM, for the keystore.
    pub fn to_pem(&self) -> String {
        self.pair.serialize_pem()
    }

    /// PKCS#8 in DER, for the handshake.
    pub fn to_der(&self) -> PrivatePkcs8KeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.pair.serialize_der())
    }

    /// A certificate signing request in DER. Its subject is the coordinator's to choose.
    pub fn csr_der(&self) -> Result<Vec<u8>, HostKeyError> {
        Ok(CertificateParams::default().serialize_request(&self.pair)?.der().to_vec())
    }

    /// A signature, as ASN.1.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, HostKeyError> {
        Ok(self.pair.sign(message)?)
    }

    /// When a certificate for this key is valid.
    pub fn validity_of(&self, certificate_der: &[u8]) -> Result<Validity, HostKeyError> {
        let (_, certificate) = X509Certificate::from_der(certificate_der).map_err(|_| HostKeyError::Certificate)?;
        if certificate.public_key().raw != self.pair.subject_public_key_info() {
            return Err(HostKeyError::OtherKey);
        }
        let unix_ms = |seconds: i64| u64::try_from(seconds).unwrap_or_default().saturating_mul(1_000);
        let validity = certificate.validity();
        Ok(Validity { from_ms: unix_ms(validity.not_before.timestamp()), until_ms: unix_ms(validity.not_after.timestamp()) })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::{HostKey, HostKeyError};

    #[test]
    fn only_a_certificate_for_this_key_is_taken() {
        let key = HostKey::generate().unwrap();
        let same = HostKey::from_pem(&key.to_pem()).unwrap();
        let params = || CertificateParams::new(Vec::new()).unwrap();
        let ours = params().self_signed(&key.pair).unwrap();
        let other = params().self_signed(&KeyPair::generate().unwrap()).unwrap();
        assert!(same.validity_of(ours.der()).unwrap().until_ms > 0);
        assert!(matches!(same.validity_of(other.der()), Err(HostKeyError::OtherKey)));
        assert!(matches!(same.validity_of(b"no"), Err(HostKeyError::Certificate)));
    }
}
