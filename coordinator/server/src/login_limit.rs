//! How often a login may fail, per account and per address. It counts in memory, forgets in windows, and asks nobody.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

use crate::limits::{LOGIN_COUNTERS_MAX, LOGIN_FAILURES_PER_ACCOUNT_MAX, LOGIN_FAILURES_PER_ADDRESS_MAX, LOGIN_WINDOW_MS};

/// The failed logins of the present windows.
#[derive(Debug, Default)]
pub struct LoginLimit {
    windows: Mutex<HashMap<Counted, Window>>,
}

/// Too many have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many failed logins; try again in {} minutes", .wait_ms.div_ceil(60_000))]
pub struct TooMany {
    /// Until the window is over, in milliseconds.
    pub wait_ms: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Counted {
    Account(String),
    Address(IpAddr),
}

#[derive(Debug, Clone, Copy)]
struct Window {
    until_ms: u64,
    failures: u32,
}

impl LoginLimit {
    /// Counts an attempt as failed before it is made, so that attempts at the same time count too; [`LoginLimit::succeeded`] takes it back.
    ///
    /// # Errors
    /// The account or the address has failed too often.
    pub fn attempt(&self, email: &str, address: IpAddr, now_ms: u64) -> Result<(), TooMany> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if windows.len() >= LOGIN_COUNTERS_MAX {
            windows.retain(|_, window| now_ms < window.until_ms);
        }
        let counted = [(Counted::Account(email.to_owned()), LOGIN_FAILURES_PER_ACCOUNT_MAX), (counted(address), LOGIN_FAILURES_PER_ADDRESS_MAX)];
        for (who, maximum) in &counted {
            match windows.get(who).filter(|window| now_ms < window.until_ms) {
                Some(window) if window.failures >= *maximum => return Err(TooMany { wait_ms: window.until_ms - now_ms }),
                Some(_) => {}
                // Full of fresh windows: somebody floods. Those who are not counted yet wait, rather than go uncounted.
                None if windows.len() >= LOGIN_COUNTERS_MAX => return Err(TooMany { wait_ms: LOGIN_WINDOW_MS }),
                None => {}
            }
        }
        for (who, _) in counted {
            let fresh = Window { until_ms: now_ms + LOGIN_WINDOW_MS, failures: 0 };
            let window = windows.entry(who).or_insert(fresh);
            if now_ms >= window.until_ms {
                *window = fresh;
            }
            window.failures += 1;
        }
        Ok(())
    }

    /// Takes an attempt back: it did not fail.
    pub fn succeeded(&self, email: &str, address: IpAddr) {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        windows.remove(&Counted::Account(email.to_owned()));
        if let Some(window) = windows.get_mut(&counted(address)) {
            window.failures = window.failures.saturating_sub(1);
        }
    }
}

/// One person has a whole /64 of IPv6 to come from.
fn counted(address: IpAddr) -> Counted {
    match address.to_canonical() {
        IpAddr::V6(address) => Counted::Address(IpAddr::V6((u128::from(address) >> 64 << 64).into())),
        address @ IpAddr::V4(_) => Counted::Address(address),
    }
}

#[cfg(test)]
mod tests {
    use super::{LoginLimit, TooMany};
    use crate::limits::{LOGIN_FAILURES_PER_ACCOUNT_MAX, LOGIN_FAILURES_PER_ADDRESS_MAX, LOGIN_WINDOW_MS};

    #[test]
    fn an_account_waits_after_its_failures_until_the_window_is_over() {
        let limit = LoginLimit::default();
        for n in 0..LOGIN_FAILURES_PER_ACCOUNT_MAX {
            assert_eq!(limit.attempt("a@b", [10, 0, 0, u8::try_from(n).unwrap()].into(), 0), Ok(()));
        }
        assert_eq!(limit.attempt("a@b", [10, 0, 0, 99].into(), 1_000), Err(TooMany { wait_ms: LOGIN_WINDOW_MS - 1_000 }));
        assert_eq!(limit.attempt("c@d", [10, 0, 0, 99].into(), 1_000), Ok(()));
        assert_eq!(limit.attempt("a@b", [10, 0, 0, 99].into(), LOGIN_WINDOW_MS), Ok(()));
    }

    #[test]
    fn an_address_waits_after_its_failures_with_whatever_account() {
        let limit = LoginLimit::default();
        for n in 0..LOGIN_FAILURES_PER_ADDRESS_MAX {
            assert_eq!(limit.attempt(&format!("{n}@b"), format!("2001:db8::{n}").parse().unwrap(), 0), Ok(()));
        }
        assert!(limit.attempt("z@b", "2001:db8::ffff".parse().unwrap(), 0).is_err());
        assert_eq!(limit.attempt("z@b", "2001:db8:0:1::1".parse().unwrap(), 0), Ok(()));
    }

    #[test]
    fn success_counts_for_nothing() {
        let limit = LoginLimit::default();
        for _ in 0..10 * LOGIN_FAILURES_PER_ADDRESS_MAX {
            assert_eq!(limit.attempt("a@b", [10, 0, 0, 1].into(), 0), Ok(()));
            limit.succeeded("a@b", [10, 0, 0, 1].into());
        }
    }
}
