//! Who this host is, from its state directory alone: no coordinator and no running agent is asked.

use std::fmt;

use serde::Serialize;

use crate::clock::rfc3339;
use crate::hostkey::HostKeyError;
use crate::keystore::{Identity, Keystore, KeystoreError};
use crate::nft;

/// What `loopback-agent status` tells.
#[derive(Debug, Serialize)]
pub struct Status {
    host: String,
    path: String,
    coordinator: String,
    /// Whether an agent holds the state directory.
    running: bool,
    certificate_expires_at: String,
    /// Absent when no policy was ever applied.
    policy_generation: Option<u64>,
}

/// No status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// The state directory.
    #[error(transparent)]
    Keystore(#[from] KeystoreError),
    /// The certificate.
    #[error(transparent)]
    Certificate(#[from] HostKeyError),
    /// The stored policy.
    #[error("the stored policy cannot be read")]
    Policy(#[from] nft::NftError),
}

impl Status {
    /// Reads a state directory.
    pub fn read(keystore: &Keystore) -> Result<Self, StatusError> {
        let Identity { host, path, coordinator, .. } = keystore.identity()?;
        let credentials = keystore.credentials()?;
        let validity = credentials.key.validity_of(&credentials.certificate_der)?;
        Ok(Self {
            host: host.to_string(),
            path,
            coordinator,
            running: matches!(keystore.lock(), Err(KeystoreError::InUse(_))),
            certificate_expires_at: rfc3339(validity.until_ms),
            policy_generation: nft::stored(keystore.dir())?.map(|(policy, _)| policy.generation),
        })
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "host         {} ({})", self.path, self.host)?;
        writeln!(f, "coordinator  {}", self.coordinator)?;
        writeln!(f, "agent        {}", if self.running { "running" } else { "not running" })?;
        writeln!(f, "certificate  expires {}", self.certificate_expires_at)?;
        match self.policy_generation {
            Some(generation) => write!(f, "policy       generation {generation}"),
            None => write!(f, "policy       none"),
        }
    }
}
