//! What a host's certificate says.

use loopback_protocol::id::{HostId, OrganizationId};
use loopback_protocol::secret::Fingerprint;
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Name};

/// A host's certificate, read. Its signature is checked elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostCertificate {
    /// Whose host it is.
    pub organization: OrganizationId,
    /// Which host.
    pub host: HostId,
    /// Until when it holds, in milliseconds since 1970.
    pub not_after_ms: u64,
    /// SHA-256 over the public key: the host's key stays the same over renewals.
    pub key: Fingerprint,
    /// The public key's bits, for signatures.
    pub public_key: Vec<u8>,
}

/// A certificate that is no host's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the certificate is not one of a host")]
pub struct InvalidHostCertificate;

impl HostCertificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// It is no certificate, or its subject names no host.
    pub fn parse(der: &[u8]) -> Result<Self, InvalidHostCertificate> {
        let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| InvalidHostCertificate)?;
        if !rest.is_empty() {
            return Err(InvalidHostCertificate);
        }
        let subject = certificate.subject();
        let not_after_s = u64::try_from(certificate.validity().not_after.timestamp()).map_err(|_| InvalidHostCertificate)?;
        Ok(Self {
            organization: only(subject, X509Name::iter_organization)?,
            host: only(subject, X509Name::iter_common_name)?,
            not_after_ms: not_after_s.saturating_mul(1_000),
            key: Fingerprint::of(certificate.public_key().raw),
            public_key: certificate.public_key().subject_public_key.data.to_vec(),
        })
    }
}

fn only<'a, T, I>(name: &'a X509Name<'a>, attributes: impl FnOnce(&'a X509Name<'a>) -> I) -> Result<T, InvalidHostCertificate>
where
    T: std::str::FromStr,
    I: Iterator<Item = &'a x509_parser::x509::AttributeTypeAndValue<'a>>,
{
    let mut attributes = attributes(name);
    let (Some(attribute), None) = (attributes.next(), attributes.next()) else { return Err(InvalidHostCertificate) };
    attribute.as_str().ok().and_then(|text| text.parse().ok()).ok_or(InvalidHostCertificate)
}
