//! The state directory: the host's key, certificate, CA and identity. Files appear whole or not at all, also when the machine loses power; nobody but
//! their owner may read them. The key is read and written here and goes nowhere else.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use loopback_protocol::id::HostId;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use serde::{Deserialize, Serialize};

use crate::hostkey::{HostKey, HostKeyError};

const KEY: &str = "host.key";
const CERTIFICATE: &str = "host.crt";
const CA: &str = "ca.crt";
/// Written last: where it is, the others are.
const IDENTITY: &str = "identity.json";
const LOCK: &str = "lock";
const DIRECTORY_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const PEM_LINE_CHARS: usize = 64;

/// A state directory.
#[derive(Debug)]
pub struct Keystore {
    dir: PathBuf,
}

/// Who this host is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The host's id.
    pub host: HostId,
    /// `organization/project/workspace/host`, for people.
    pub path: String,
    /// Where the coordinator is, as HOST:PORT.
    pub coordinator: String,
    /// The name the coordinator's certificate must carry.
    pub server_name: String,
}

/// What a host shows and trusts.
pub struct Credentials {
    pub(crate) key: HostKey,
    /// The host's certificate, in DER.
    pub certificate_der: CertificateDer<'static>,
    /// The only root, in DER.
    pub ca_der: CertificateDer<'static>,
}

/// Holds the state directory for one process, until dropped.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// A state directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeystoreError {
    /// A file cannot be read or written.
    #[error("cannot use {path}; run as root, or name another directory with --state-dir")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else's directory.
    #[error("{0} holds other things than an agent's state, and would be closed to everybody else; name an empty directory with --state-dir")]
    Foreign(PathBuf),
    /// The machine is no host yet.
    #[error("this machine has not joined; run the line that `loopback token create` prints")]
    NotJoined,
    /// A file is damaged.
    #[error("{path} is damaged; run `loopback-agent leave --yes` and join again")]
    Damaged {
        /// Which file.
        path: PathBuf,
    },
    /// The key does not go with the certificate.
    #[error(transparent)]
    Key(#[from] HostKeyError),
    /// Another process holds the directory.
    #[error("another loopback-agent uses {0}; stop it first: systemctl stop loopback-agent")]
    InUse(PathBuf),
}

impl Keystore {
    /// Opens a state directory; makes it if need be, and keeps others out.
    ///
    /// # Errors
    /// It cannot be made, or holds things and no state: it is not touched.
    pub fn open(dir: &Path) -> Result<Self, KeystoreError> {
        let at = |source| KeystoreError::File { path: dir.to_owned(), source };
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(dir).map_err(at)?;
        // Closing it would cut others off, and `leave` would erase what is theirs.
        if ![LOCK, KEY, IDENTITY].iter().any(|ours| dir.join(ours).exists()) && holds_something(dir).map_err(at)? {
            return Err(KeystoreError::Foreign(dir.to_owned()));
        }
        fs::set_permissions(dir, Permissions::from_mode(DIRECTORY_MODE)).map_err(at)?;
        Ok(Self { dir: dir.to_owned() })
    }

    /// A state directory as it is, to be read only.
    #[must_use]
    pub fn peek(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Where it is.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Keeps other agents away as long as the lock lives.
    ///
    /// # Errors
    /// Another process has it.
    pub fn lock(&self) -> Result<Lock, KeystoreError> {
        let path = self.dir.join(LOCK);
        let at = |source| KeystoreError::File { path: path.clone(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(FILE_MODE).open(&path).map_err(at)?;
        match file.try_lock() {
            Ok(()) => Ok(Lock { _file: file }),
            Err(fs::TryLockError::WouldBlock) => Err(KeystoreError::InUse(self.dir.clone())),
            Err(fs::TryLockError::Error(source)) => Err(at(source)),
        }
    }

    /// Who this host is.
    ///
    /// # Errors
    /// It has not joined, or its identity cannot be read.
    pub fn identity(&self) -> Result<Identity, KeystoreError> {
        serde_json::from_str(&self.read(IDENTITY)?).map_err(|_| self.damaged(IDENTITY))
    }

    /// What this host shows and trusts.
    ///
    /// # Errors
    /// It has not joined, or a file is damaged.
    pub fn credentials(&self) -> Result<Credentials, KeystoreError> {
        let key = HostKey::from_pem(&self.read(KEY)?)?;
        Ok(Credentials { key, certificate_der: self.read_certificate(CERTIFICATE)?, ca_der: self.read_certificate(CA)? })
    }

    /// Makes this machine a host.
    ///
    /// # Errors
    /// A file cannot be written; then it has not joined.
    pub fn store(&self, identity: &Identity, credentials: &Credentials) -> Result<(), KeystoreError> {
        self.write(KEY, credentials.key.to_pem().as_bytes())?;
        self.write(CA, to_pem(&credentials.ca_der).as_bytes())?;
        self.store_certificate(&credentials.certificate_der)?;
        let json = serde_json::to_vec_pretty(identity).map_err(|_| self.damaged(IDENTITY))?;
        self.write(IDENTITY, &json)
    }

    /// Replaces the host's certificate.
    ///
    /// # Errors
    /// The file cannot be written; the old certificate stays.
    pub fn store_certificate(&self, certificate_der: &[u8]) -> Result<(), KeystoreError> {
        self.write(CERTIFICATE, to_pem(certificate_der).as_bytes())
    }

    /// Forgets everything, the identity first.
    ///
    /// # Errors
    /// Something cannot be removed.
    pub fn erase(&self) -> Result<(), KeystoreError> {
        match fs::remove_file(self.dir.join(IDENTITY)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(KeystoreError::File { path: self.dir.join(IDENTITY), source }),
            _ => {}
        }
        let at = |source| KeystoreError::File { path: self.dir.clone(), source };
        for entry in fs::read_dir(&self.dir).map_err(at)? {
            let entry = entry.map_err(at)?;
            let is_dir = entry.file_type().map_err(at)?.is_dir();
            if is_dir { fs::remove_dir_all(entry.path()) } else { fs::remove_file(entry.path()) }.map_err(at)?;
        }
        Ok(())
    }

    fn read(&self, name: &str) -> Result<String, KeystoreError> {
        let path = self.dir.join(name);
        fs::read_to_string(&path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => KeystoreError::NotJoined,
            io::ErrorKind::InvalidData => KeystoreError::Damaged { path },
            _ => KeystoreError::File { path, source },
        })
    }

    fn read_certificate(&self, name: &str) -> Result<CertificateDer<'static>, KeystoreError> {
        CertificateDer::from_pem_slice(self.read(name)?.as_bytes()).map_err(|_| self.damaged(name))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), KeystoreError> {
        replace(&self.dir, name, bytes).map_err(|source| KeystoreError::File { path: self.dir.join(name), source })
    }

    fn damaged(&self, name: &str) -> KeystoreError {
        KeystoreError::Damaged { path: self.dir.join(name) }
    }
}

/// Whether there is anything in a directory but what a file system of its own begins with.
fn holds_something(dir: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(dir)? {
        if entry?.file_name() != "lost+found" {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Writes beside, syncs, renames and syncs the directory: a reader sees the old bytes or the new ones.
fn replace(dir: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let beside = dir.join(format!(".{name}.new"));
    // What a crash left may have other rights.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&beside, dir.join(name))?;
    File::open(dir)?.sync_all()
}

fn to_pem(certificate_der: &[u8]) -> String {
    let base64 = base64::engine::general_purpose::STANDARD.encode(certificate_der);
    let mut pem = String::from("-----BEGIN CERTIFICATE-----\n");
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(PEM_LINE_CHARS));
        pem.push_str(line);
        pem.push('\n');
        rest = after;
    }
    pem.push_str("-----END CERTIFICATE-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use loopback_protocol::id::Id;
    use rustls_pki_types::CertificateDer;

    use super::{Credentials, Identity, Keystore, KeystoreError};
    use crate::hostkey::HostKey;

    fn identity() -> Identity {
        Identity {
            host: Id::new(1, [1; 10]),
            path: "acme/prod/web/host-1".into(),
            coordinator: "127.0.0.1:8443".into(),
            server_name: "loopback-coordinator".into(),
        }
    }

    fn credentials() -> Credentials {
        let der = |byte| CertificateDer::from(vec![byte; 100]);
        Credentials { key: HostKey::generate().unwrap(), certificate_der: der(1), ca_der: der(2) }
    }

    #[test]
    fn what_was_stored_reads_back_and_nobody_else_may_read_it() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("state");
        let keystore = Keystore::open(&dir).unwrap();
        assert!(matches!(keystore.identity(), Err(KeystoreError::NotJoined)));
        let stored = credentials();
        keystore.store(&identity(), &stored).unwrap();
        let read = keystore.credentials().unwrap();
        assert_eq!(keystore.identity().unwrap(), identity());
        assert_eq!((read.certificate_der, read.ca_der, read.key.to_pem()), (stored.certificate_der, stored.ca_der, stored.key.to_pem()));
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        for entry in fs::read_dir(&dir).unwrap() {
            assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_a_crash_left_half_written_is_neither_read_nor_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(dir.path()).unwrap();
        keystore.store(&identity(), &credentials()).unwrap();
        for name in ["host.crt", "host.key", "identity.json"] {
            let beside = dir.path().join(format!(".{name}.new"));
            fs::write(&beside, b"{ half").unwrap();
            fs::set_permissions(&beside, fs::Permissions::from_mode(0o666)).unwrap();
        }
        assert_eq!(keystore.identity().unwrap(), identity());
        keystore.store(&identity(), &credentials()).unwrap();
        assert_eq!(fs::metadata(dir.path().join("host.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(!dir.path().join(".host.key.new").exists());
    }

    #[test]
    fn a_directory_others_may_read_is_closed_when_opened() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        Keystore::open(dir.path()).unwrap();
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_directory_of_somebody_else_is_neither_closed_nor_used() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("passwd"), "root").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(matches!(Keystore::open(dir.path()), Err(KeystoreError::Foreign(_))));
        assert_eq!(fs::metadata(dir.path()).unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn two_agents_do_not_share_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(dir.path()).unwrap();
        let lock = keystore.lock().unwrap();
        assert!(matches!(keystore.lock(), Err(KeystoreError::InUse(_))));
        drop(lock);
        keystore.lock().unwrap();
    }

    #[test]
    fn an_erased_directory_has_nothing_left() {
        let dir = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(dir.path()).unwrap();
        keystore.store(&identity(), &credentials()).unwrap();
        fs::create_dir(dir.path().join("spool")).unwrap();
        keystore.erase().unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
