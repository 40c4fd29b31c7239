//! Credentials as text: a recognisable prefix, the id to look it up by, the secret and a checksum that tells a typing error from a wrong secret.
//!
//! `lbt_` + 26 characters of id + 32 of secret (hex of 16 bytes) + 8 of CRC-32. Only the SHA-256 of the secret is ever stored.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::id::{AgentToken, Id, Key, Kind};

/// Random bytes in a secret.
pub const SECRET_BYTES: usize = 16;
const ID_CHARS: usize = 26;
const SECRET_CHARS: usize = 2 * SECRET_BYTES;
const CHECKSUM_CHARS: usize = 8;

/// A kind of credential, by its id's kind.
pub trait SecretKind: Kind {
    /// What the text starts with, so that scanners find it where it should not be.
    const SECRET_PREFIX: &'static str;
}

impl SecretKind for AgentToken {
    const SECRET_PREFIX: &'static str = "lbt_";
}

impl SecretKind for Key {
    const SECRET_PREFIX: &'static str = "lbk_";
}

/// A credential in clear. It shows itself to nobody but [`Secret::reveal`].
pub struct Secret<K> {
    id: Id<K>,
    bytes: [u8; SECRET_BYTES],
}

/// What is stored of a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecretHash(pub [u8; 32]);

/// A text that is no credential of its kind: mistyped, cut off, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a well-formed {prefix}… credential; copy it again, whole")]
pub struct MalformedSecret {
    /// The prefix that was expected.
    pub prefix: &'static str,
}

impl<K: SecretKind> Secret<K> {
    /// Makes a credential from random bytes.
    #[must_use]
    pub const fn new(id: Id<K>, bytes: [u8; SECRET_BYTES]) -> Self {
        Self { id, bytes }
    }

    /// The id the credential is stored under.
    #[must_use]
    pub const fn id(&self) -> Id<K> {
        self.id
    }

    /// What to store, and what to compare with what is stored.
    #[must_use]
    pub fn hash(&self) -> SecretHash {
        SecretHash(Sha256::digest(self.bytes).into())
    }

    /// The text to show once.
    #[must_use]
    pub fn reveal(&self) -> String {
        let body = format!("{}{}{}", K::SECRET_PREFIX, self.id.suffix(), hex::encode(self.bytes));
        format!("{body}{:08x}", crc32fast::hash(body.as_bytes()))
    }

    /// Reads a credential.
    ///
    /// # Errors
    /// Prefix, length, alphabet or checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, MalformedSecret> {
        let malformed = || MalformedSecret { prefix: K::SECRET_PREFIX };
        let rest = text.strip_prefix(K::SECRET_PREFIX).filter(|rest| rest.is_ascii() && rest.len() == ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS);
        let (body, checksum) = rest.and(text.split_at_checked(text.len().saturating_sub(CHECKSUM_CHARS))).ok_or_else(malformed)?;
        if format!("{:08x}", crc32fast::hash(body.as_bytes())) != checksum {
            return Err(malformed());
        }
        let (id, secret) = rest.and_then(|rest| rest.split_at_checked(ID_CHARS)).ok_or_else(malformed)?;
        let id = Id::from_suffix(id).map_err(|_| malformed())?;
        let mut bytes = [0; SECRET_BYTES];
        hex::decode_to_slice(secret.get(..SECRET_CHARS).unwrap_or_default(), &mut bytes).map_err(|_| malformed())?;
        Ok(Self { id, bytes })
    }
}

impl SecretHash {
    /// Compares in a time that does not depend on where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl<K: SecretKind> fmt::Debug for Secret<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}…({})", K::SECRET_PREFIX, self.id)
    }
}

/// SHA-256 over a certificate's DER; what pins a coordinator before anything else is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of a certificate.
    #[must_use]
    pub fn of(certificate_der: &[u8]) -> Self {
        Self(Sha256::digest(certificate_der).into())
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = MalformedJoinString;

    fn from_str(text: &str) -> Result<Self, MalformedJoinString> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| MalformedJoinString::Fingerprint)?;
        Ok(Self(bytes))
    }
}

/// What an install line carries: the token, and the fingerprint of the CA it may be shown to (`lbt_….<64 hex>`).
#[derive(Debug)]
pub struct JoinString {
    /// Admits the host.
    pub token: Secret<AgentToken>,
    /// The only CA the token may be sent to.
    pub ca: Fingerprint,
}

/// A text that is no join string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MalformedJoinString {
    /// The part before the dot.
    #[error(transparent)]
    Token(#[from] MalformedSecret),
    /// The part after the dot.
    #[error("the CA fingerprint is not 64 hexadecimal digits; copy the whole token, with what stands after its dot")]
    Fingerprint,
}

impl JoinString {
    /// The text to show once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}.{}", self.token.reveal(), self.ca)
    }
}

impl std::str::FromStr for JoinString {
    type Err = MalformedJoinString;

    fn from_str(text: &str) -> Result<Self, MalformedJoinString> {
        let (token, ca) = text.trim().split_once('.').unwrap_or((text, ""));
        Ok(Self { token: Secret::parse(token)?, ca: ca.parse()? })
    }
}

#[cfg(test)]
mod tests {
    use super::{Fingerprint, JoinString, MalformedJoinString, SECRET_BYTES, Secret};
    use crate::id::{AgentToken, Id, Key};

    fn token() -> Secret<AgentToken> {
        Secret::new(Id::new(1_700_000_000_000, [3; 10]), [9; SECRET_BYTES])
    }

    #[test]
    fn a_secret_reads_back_and_hashes_alike() {
        let text = token().reveal();
        let read = Secret::<AgentToken>::parse(&text).unwrap();
        assert_eq!(read.id(), token().id());
        assert!(read.hash().matches(&token().hash()));
    }

    #[test]
    fn every_single_changed_character_is_noticed() {
        let text = token().reveal();
        for position in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[position] = if bytes[position] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).unwrap();
            assert!(Secret::<AgentToken>::parse(&changed).is_err(), "position {position}");
        }
        assert!(Secret::<AgentToken>::parse(&text[..text.len() - 1]).is_err());
        assert!(Secret::<AgentToken>::parse("lbt_é").is_err());
    }

    #[test]
    fn credentials_are_not_interchangeable() {
        assert!(Secret::<Key>::parse(&token().reveal()).is_err());
    }

    #[test]
    fn debug_shows_no_secret() {
        assert!(!format!("{:?}", token()).contains(&hex::encode([9; SECRET_BYTES])));
    }

    #[test]
    fn a_join_string_without_its_fingerprint_says_so() {
        let join = JoinString { token: token(), ca: Fingerprint::of(b"ca") };
        assert_eq!(join.reveal().parse::<JoinString>().unwrap().ca, join.ca);
        let cut = token().reveal();
        assert_eq!(cut.parse::<JoinString>().unwrap_err(), MalformedJoinString::Fingerprint);
    }
}
