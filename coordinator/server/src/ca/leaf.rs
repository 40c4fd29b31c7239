//! The server's own certificate: signed at start, and again while running before it expires. Its key stays, so that pins of install lines stay true.

use std::sync::{Arc, RwLock};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, Issuer, KeyPair, KeyUsagePurpose, PublicKeyData as _};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::{CaError, SERVER_NAME, validity};
use crate::clock::now_ms;

const LEAF_LIFE_MS: u64 = 90 * 24 * 60 * 60 * 1_000;
const LEAF_RENEW_MS: u64 = LEAF_LIFE_MS / 3 * 2;

/// Gives rustls the present certificate.
#[derive(Debug)]
pub(super) struct LeafResolver {
    authority: CertificateDer<'static>,
    authority_key: KeyPair,
    key: KeyPair,
    names: Vec<String>,
    present: RwLock<Leaf>,
}

#[derive(Debug, Clone)]
struct Leaf {
    certified: Arc<CertifiedKey>,
    renew_at_ms: u64,
}

impl LeafResolver {
    pub(super) fn new(issuer: &Issuer<'static, KeyPair>, authority: CertificateDer<'static>, key: KeyPair, names: &[String]) -> Result<Self, CaError> {
        let always = [SERVER_NAME, "localhost", "127.0.0.1", "::1"].map(str::to_owned);
        let mut names: Vec<_> = always.into_iter().chain(names.iter().cloned()).collect();
        names.sort();
        names.dedup();
        let authority_key = KeyPair::try_from(issuer.key().serialized_der())?;
        let present = sign(&authority, &authority_key, &key, &names)?;
        Ok(Self { authority, authority_key, key, names, present: RwLock::new(present) })
    }

    /// The subject public key info, in DER.
    pub(super) fn public_key(&self) -> Vec<u8> {
        self.key.subject_public_key_info()
    }
}

impl ResolvesServerCert for LeafResolver {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let present = self.present.read().ok()?.clone();
        if now_ms() < present.renew_at_ms {
            return Some(present.certified);
        }
        let Ok(next) = sign(&self.authority, &self.authority_key, &self.key, &self.names) else { return Some(present.certified) };
        self.present.write().ok()?.clone_from(&next);
        Some(next.certified)
    }
}

fn sign(authority: &CertificateDer<'static>, authority_key: &KeyPair, key: &KeyPair, names: &[String]) -> Result<Leaf, CaError> {
    let issuer = Issuer::from_ca_cert_der(authority, authority_key)?;
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, SERVER_NAME);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    (params.not_before, params.not_after) = validity(LEAF_LIFE_MS);
    let certificate = params.signed_by(key, &issuer)?.der().clone();
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let certified = CertifiedKey::new(vec![certificate, authority.clone()], rustls::crypto::ring::sign::any_supported_type(&private)?);
    Ok(Leaf { certified: Arc::new(certified), renew_at_ms: now_ms().saturating_add(LEAF_RENEW_MS) })
}
