//! Passwords: argon2id on threads that may block, a few at a time, since each hash takes 19 MiB. An unknown account costs as much as a wrong password.

use std::sync::Arc;

use argon2::password_hash::{PasswordHash, PasswordHasher as _, PasswordVerifier as _, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use loopback_core::limits::{PASSWORD_MAX_CHARS, PASSWORD_MIN_CHARS};
use tokio::sync::Semaphore;

use crate::limits::PASSWORD_HASHES_MAX;

/// Hashes and verifies.
#[derive(Clone)]
pub struct Passwords {
    turns: Arc<Semaphore>,
    nobodys: Arc<str>,
}

/// Why a password cannot be taken or checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too short or too long.
    #[error("use {PASSWORD_MIN_CHARS} to {PASSWORD_MAX_CHARS} characters")]
    Length,
    /// The hash function failed, or its thread did.
    #[error("the password could not be hashed")]
    Hashing,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Passwords").finish_non_exhaustive()
    }
}

impl Passwords {
    /// Makes the hash that unknown accounts are checked against.
    ///
    /// # Errors
    /// The hash function fails.
    pub fn new() -> Result<Self, PasswordError> {
        let nobodys = hash(&hex::encode(rand::random::<[u8; 16]>()))?;
        Ok(Self { turns: Arc::new(Semaphore::new(PASSWORD_HASHES_MAX)), nobodys: nobodys.into() })
    }

    /// What to store of a new password.
    ///
    /// # Errors
    /// It is too short or too long, or hashing fails.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        if !(PASSWORD_MIN_CHARS..=PASSWORD_MAX_CHARS).contains(&password.chars().count()) {
            return Err(PasswordError::Length);
        }
        self.in_turn(move || hash(&password)).await?
    }

    /// Whether a password fits what is stored; `None`, an unknown account, never fits and takes as long.
    ///
    /// # Errors
    /// Hashing fails.
    pub async fn fits(&self, password: String, stored: Option<&str>) -> Result<bool, PasswordError> {
        let (known, stored) = (stored.is_some(), stored.unwrap_or(&self.nobodys).to_owned());
        // An overlong one is never hashed; its length tells an attacker nothing they did not send.
        if password.chars().count() > PASSWORD_MAX_CHARS {
            return Ok(false);
        }
        let fits = move || PasswordHash::new(&stored).is_ok_and(|stored| hasher().verify_password(password.as_bytes(), &stored).is_ok());
        Ok(self.in_turn(fits).await? && known)
    }

    async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordError> {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| PasswordError::Hashing)?;
        // The turn goes into the thread: a caller that gives up does not free it early.
        let work = move || {
            let _turn = turn;
            work()
        };
        tokio::task::spawn_blocking(work).await.map_err(|_| PasswordError::Hashing)
    }
}

/// A password nobody chose: 128 random bits as 32 hexadecimal digits.
#[must_use]
pub fn generate() -> String {
    hex::encode(rand::random::<[u8; 16]>())
}

fn hash(password: &str) -> Result<String, PasswordError> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>()).map_err(|_| PasswordError::Hashing)?;
    Ok(hasher().hash_password(password.as_bytes(), &salt).map_err(|_| PasswordError::Hashing)?.to_string())
}

/// OWASP's first choice for argon2id: 19 MiB, two passes, one lane.
fn hasher() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::default())
}

#[cfg(test)]
mod tests {
    use super::{PasswordError, Passwords, generate};

    #[tokio::test]
    async fn only_the_right_password_of_a_known_account_fits() {
        let passwords = Passwords::new().unwrap();
        let stored = passwords.hash("correct horse battery".to_owned()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(passwords.fits("correct horse battery".to_owned(), Some(&stored)).await.unwrap());
        assert!(!passwords.fits("correct horse batterz".to_owned(), Some(&stored)).await.unwrap());
        assert!(!passwords.fits("correct horse battery".to_owned(), None).await.unwrap());
        assert_eq!(passwords.hash("short".to_owned()).await, Err(PasswordError::Length));
        assert_ne!(generate(), generate());
    }
}
