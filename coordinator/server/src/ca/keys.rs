//! The authority's files: keys nobody else may read, written whole or not at all.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use super::CaError;

/// A directory of our own.
pub(super) fn private_directory(path: &Path) -> Result<(), CaError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| file_error(path, source))
}

/// The key in a file; a fresh one if there is none.
pub(super) fn open_key(path: &Path) -> Result<KeyPair, CaError> {
    match fs::read_to_string(path) {
        Ok(pem) => Ok(KeyPair::from_pem(&pem)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
            write_private(path, key.serialize_pem().as_bytes())?;
            Ok(key)
        }
        Err(source) => Err(file_error(path, source)),
    }
}

/// The certificate in a file, if there is one.
pub(super) fn read_certificate(path: &Path) -> Result<Option<CertificateDer<'static>>, CaError> {
    match fs::read(path) {
        Ok(pem) => CertificateDer::from_pem_slice(&pem).map(Some).map_err(|error| file_error(path, io::Error::new(io::ErrorKind::InvalidData, error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(file_error(path, source)),
    }
}

/// Writes a certificate as PEM and gives it back.
pub(super) fn write_certificate(path: &Path, certificate: CertificateDer<'static>) -> Result<CertificateDer<'static>, CaError> {
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &certificate);
    let lines: Vec<_> = body.as_bytes().chunks(64).map(String::from_utf8_lossy).collect();
    write_private(path, format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n")).as_bytes())?;
    Ok(certificate)
}

/// Random bytes kept in a file, made once.
pub(crate) fn open_random<const N: usize>(path: &Path) -> Result<[u8; N], CaError>
where
    rand::distr::StandardUniform: rand::distr::Distribution<[u8; N]>,
{
    match fs::read(path) {
        Ok(bytes) => bytes.try_into().map_err(|_| file_error(path, io::Error::new(io::ErrorKind::InvalidData, "it has another length"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let bytes: [u8; N] = rand::random();
            write_private(path, &bytes)?;
            Ok(bytes)
        }
        Err(source) => Err(file_error(path, source)),
    }
}

fn write_private(path: &Path, bytes: &[u8]) -> Result<(), CaError> {
    let write = || {
        let temporary = path.with_extension("new");
        let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |parent| fs::File::open(parent)?.sync_all())
    };
    write().map_err(|source| file_error(path, source))
}

fn file_error(path: &Path, source: io::Error) -> CaError {
    CaError::File { path: path.display().to_string(), source }
}
