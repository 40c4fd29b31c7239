//! Fresh identifiers and secrets: the one place where randomness enters.

use loopback_protocol::id::{Id, Kind};
use loopback_protocol::secret::{SECRET_BYTES, Secret, SecretKind};

use crate::clock::now_ms;

/// An identifier nobody has yet.
#[must_use]
pub fn fresh<K: Kind>() -> Id<K> {
    Id::new(now_ms(), rand::random())
}

/// A credential nobody can guess.
#[must_use]
pub fn fresh_secret<K: SecretKind>() -> Secret<K> {
    Secret::new(fresh(), rand::random::<[u8; SECRET_BYTES]>())
}
