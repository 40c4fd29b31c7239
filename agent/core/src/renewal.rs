//! When to ask for the next certificate: at two thirds of its life over the link; once it has expired, by proof of its key before a link is tried.

use crate::limits::RENEWAL_RETRY_MS;

/// From when until when a certificate is valid, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// Not before.
    pub from_ms: u64,
    /// Not after.
    pub until_ms: u64,
}

impl Validity {
    /// When two thirds of it are over.
    #[must_use]
    pub const fn renew_at_ms(&self) -> u64 {
        self.until_ms.saturating_sub(self.until_ms.saturating_sub(self.from_ms) / 3)
    }
}

/// The life of the host's certificate.
#[derive(Debug)]
pub struct Renewal {
    validity: Validity,
    /// By the monotonic clock.
    asked_at_ms: Option<u64>,
    refused_as_expired: bool,
}

impl Renewal {
    /// Watches over a certificate.
    #[must_use]
    pub const fn new(validity: Validity) -> Self {
        Self { validity, asked_at_ms: None, refused_as_expired: false }
    }

    /// Whether to ask for the next certificate now; says so once in a while until one is there.
    pub fn ask(&mut self, monotonic_ms: u64, unix_ms: u64) -> bool {
        let asked_lately = self.asked_at_ms.is_some_and(|asked| monotonic_ms.saturating_sub(asked) < RENEWAL_RETRY_MS);
        let ask = unix_ms >= self.validity.renew_at_ms() && !asked_lately;
        if ask {
            self.asked_at_ms = Some(monotonic_ms);
        }
        ask
    }

    /// The coordinator says the certificate has expired, whatever this host's clock says.
    pub const fn refused_as_expired(&mut self) {
        self.refused_as_expired = true;
    }

    /// Whether a link is pointless with this certificate.
    #[must_use]
    pub const fn has_expired(&self, unix_ms: u64) -> bool {
        self.refused_as_expired || unix_ms >= self.validity.until_ms
    }
}

#[cfg(test)]
mod tests {
    use super::{Renewal, Validity};
    use crate::limits::RENEWAL_RETRY_MS;

    const DAY_MS: u64 = 86_400_000;
    const VALIDITY: Validity = Validity { from_ms: DAY_MS, until_ms: 2 * DAY_MS };

    #[test]
    fn it_asks_at_two_thirds_and_again_only_after_a_while() {
        let mut renewal = Renewal::new(VALIDITY);
        let due = DAY_MS + DAY_MS * 2 / 3;
        assert!(!renewal.ask(0, due - 1));
        assert!(renewal.ask(5, due));
        assert!(!renewal.ask(5 + RENEWAL_RETRY_MS - 1, due + 1));
        assert!(renewal.ask(5 + RENEWAL_RETRY_MS, due + 2));
    }

    #[test]
    fn it_has_expired_by_either_clock() {
        let mut renewal = Renewal::new(VALIDITY);
        assert!(!renewal.has_expired(2 * DAY_MS - 1));
        assert!(renewal.has_expired(2 * DAY_MS));
        renewal.refused_as_expired();
        assert!(renewal.has_expired(DAY_MS));
    }
}
