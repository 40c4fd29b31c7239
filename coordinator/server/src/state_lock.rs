//! One running coordinator for a state directory: two would both write down the audit chain, the recordings and what hosts observed, each without the other's.
//!
//! The kernel holds the lock and lets it go with the process, however that ends. `setup` and `account` do not take it: they write only through the database.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The lock, in the state directory.
pub(crate) const FILE: &str = "lock";

/// Held as long as it lives.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

/// Why this process may not run on a state directory.
#[derive(Debug, thiserror::Error)]
pub enum StateLockError {
    /// Another coordinator does.
    #[error("another coordinator runs on {0}; stop it first (systemctl stop loopback-coordinator), or set another `state_dir`")]
    Held(PathBuf),
    /// The file cannot be made.
    #[error("{path}: {source}; make it a directory this user can write, or set `state_dir`")]
    File {
        /// The state directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

impl StateLock {
    /// Keeps other coordinators away from a claimed state directory.
    ///
    /// # Errors
    /// Another one runs on it, or it cannot be written.
    pub fn take(state_dir: &Path) -> Result<Self, StateLockError> {
        let at = |source| StateLockError::File { path: state_dir.to_owned(), source };
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(state_dir.join(FILE)).map_err(at)?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StateLockError::Held(state_dir.to_owned())),
            Err(TryLockError::Error(source)) => Err(at(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{StateLock, StateLockError};
    use crate::coordinator::claim_state_dir;

    #[test]
    fn a_second_coordinator_is_kept_away_until_the_first_is_gone() {
        let state_dir = tempfile::tempdir().unwrap();
        let first = StateLock::take(state_dir.path()).unwrap();
        assert!(matches!(StateLock::take(state_dir.path()), Err(StateLockError::Held(_))));
        drop(first);
        StateLock::take(state_dir.path()).unwrap();
        claim_state_dir(state_dir.path()).unwrap();
    }
}
