//! Where the link stands, and when to try again. It dials nothing: [`crate::agent`] turns its states into outputs.
//!
//! ```text
//! Waiting → Connecting → Greeting → Live
//!    │  ↘ Renewing ↗         ↓        ↓
//!    └────────────────── (lost) ← Closing
//! ```

use loopback_protocol::control::Welcome;

use crate::limits::{BACKOFF_FIRST_MS, BACKOFF_MAX_MS, INTERVAL_MIN_MS, LINK_STABLE_MS, WELCOME_TIMEOUT_MS};

/// The state of the link. Times are milliseconds of a monotonic clock.
#[derive(Debug)]
pub enum Link {
    /// For the next attempt.
    Waiting(Waiting),
    /// The certificate has expired; the next one is being asked for.
    Renewing(Attempt),
    /// The handshake is under way.
    Connecting(Attempt),
    /// Hello was said, the welcome is awaited.
    Greeting(Greeting),
    /// Welcomed.
    Live(Live),
    /// Given up by this side; its end has not been reported yet.
    Closing(Attempt),
}

/// A pause.
#[derive(Debug)]
pub struct Waiting {
    until_ms: u64,
    attempt: Attempt,
}

/// How many attempts went before without a stable link; zero right after one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt(u32);

/// A link that has not been answered.
#[derive(Debug)]
pub struct Greeting {
    attempt: Attempt,
    deadline_ms: u64,
}

/// A link that works.
#[derive(Debug)]
pub struct Live {
    attempt: Attempt,
    since_ms: u64,
    heartbeat_interval_ms: u64,
    heartbeat_due_ms: u64,
}

impl Link {
    /// A first attempt at once; the one after it already waits.
    #[must_use]
    pub const fn starting(now_ms: u64) -> Self {
        Self::Waiting(Waiting { until_ms: now_ms, attempt: Attempt(1) })
    }

    /// The link ended, or could not be had; `jitter` in `0.0..1.0` chooses within the pause.
    #[must_use]
    pub fn lost(self, now_ms: u64, jitter: f64) -> Self {
        let attempt = match self {
            Self::Waiting(waiting) => return Self::Waiting(waiting),
            Self::Renewing(attempt) | Self::Connecting(attempt) | Self::Closing(attempt) => attempt,
            Self::Greeting(greeting) => greeting.attempt,
            Self::Live(live) if now_ms.saturating_sub(live.since_ms) >= LINK_STABLE_MS => Attempt(0),
            Self::Live(live) => live.attempt,
        };
        Self::Waiting(Waiting { until_ms: now_ms.saturating_add(attempt.pause_ms(jitter)), attempt: Attempt(attempt.0.saturating_add(1)) })
    }

    /// This side gives the link up.
    #[must_use]
    pub fn closing(self) -> Self {
        match self {
            Self::Greeting(greeting) => Self::Closing(greeting.attempt),
            Self::Live(live) => Self::Closing(live.attempt),
            other => other,
        }
    }

    /// Whether messages may be sent.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// When time alone will change something, if ever.
    #[must_use]
    pub const fn wakes_at_ms(&self) -> Option<u64> {
        match self {
            Self::Waiting(waiting) => Some(waiting.until_ms),
            Self::Greeting(greeting) => Some(greeting.deadline_ms),
            Self::Live(live) => Some(live.heartbeat_due_ms),
            Self::Renewing(_) | Self::Connecting(_) | Self::Closing(_) => None,
        }
    }
}

impl Waiting {
    /// Whether the pause is over.
    #[must_use]
    pub const fn is_over(&self, now_ms: u64) -> bool {
        now_ms >= self.until_ms
    }

    /// Ends the pause.
    #[must_use]
    pub const fn attempt(&self) -> Attempt {
        self.attempt
    }
}

impl Attempt {
    /// The handshake succeeded.
    #[must_use]
    pub const fn up(self, now_ms: u64) -> Greeting {
        Greeting { attempt: self, deadline_ms: now_ms.saturating_add(WELCOME_TIMEOUT_MS) }
    }

    /// Full jitter: anywhere between nothing and a bound that doubles. A whole fleet that loses its coordinator at once must not come back at once.
    fn pause_ms(self, jitter: f64) -> u64 {
        let Some(doublings) = self.0.checked_sub(1) else { return 0 };
        let bound = BACKOFF_FIRST_MS.saturating_mul(1_u64.checked_shl(doublings).unwrap_or(u64::MAX)).min(BACKOFF_MAX_MS);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "at most 30,000, and the jitter is within 0..1"
        )]
        let pause = (bound as f64 * jitter.clamp(0.0, 1.0)) as u64;
        pause
    }
}

impl Greeting {
    /// Whether the welcome is overdue.
    #[must_use]
    pub const fn is_overdue(&self, now_ms: u64) -> bool {
        now_ms >= self.deadline_ms
    }

    /// The coordinator answered.
    #[must_use]
    pub fn welcomed(self, welcome: &Welcome, now_ms: u64) -> Live {
        let heartbeat_interval_ms = u64::from(welcome.heartbeat_interval_ms).max(INTERVAL_MIN_MS);
        Live { attempt: self.attempt, since_ms: now_ms, heartbeat_interval_ms, heartbeat_due_ms: now_ms.saturating_add(heartbeat_interval_ms) }
    }
}

impl Live {
    /// Whether a heartbeat must be sent now; if so the next one is due an interval later.
    pub const fn beat(&mut self, now_ms: u64) -> bool {
        let due = now_ms >= self.heartbeat_due_ms;
        if due {
            self.heartbeat_due_ms = now_ms.saturating_add(self.heartbeat_interval_ms);
        }
        due
    }

    /// There is something to tell: the next heartbeat is due at once.
    pub const fn hurry(&mut self, now_ms: u64) {
        self.heartbeat_due_ms = now_ms;
    }
}

#[cfg(test)]
mod tests {
    use loopback_protocol::control::Welcome;
    use loopback_protocol::id::Id;

    use super::{Attempt, Link, Live, Waiting};
    use crate::limits::{BACKOFF_MAX_MS, LINK_STABLE_MS};

    fn live(since_ms: u64, attempt: u32) -> Live {
        let welcome = Welcome { host: Id::new(1, [1; 10]), heartbeat_interval_ms: 5_000, metrics_interval_ms: 1, clock_ms: 0 };
        Attempt(attempt).up(since_ms).welcomed(&welcome, since_ms)
    }

    fn check_wait(lost: Link, expected_until_ms: u64, expected_attempt: u32) {
        let Link::Waiting(Waiting { until_ms, attempt }) = lost else { panic!("{lost:?} does not wait") };
        assert_eq!((until_ms, attempt), (expected_until_ms, Attempt(expected_attempt)));
    }

    #[test]
    fn pauses_double_up_to_their_bound_and_jitter_takes_any_part_of_them() {
        for (attempt, bound) in [(0, 0), (1, 500), (2, 1_000), (6, 16_000), (7, 30_000), (64, 30_000), (u32::MAX, 30_000)] {
            assert_eq!(Attempt(attempt).pause_ms(1.0), bound, "attempt {attempt}");
            assert_eq!(Attempt(attempt).pause_ms(0.0), 0);
        }
        assert_eq!(Attempt(9).pause_ms(0.5), BACKOFF_MAX_MS / 2);
    }

    #[test]
    fn a_stable_link_comes_back_at_once_but_only_once() {
        let lost = Link::Live(live(100, 4)).lost(100 + LINK_STABLE_MS, 1.0);
        check_wait(lost, 100 + LINK_STABLE_MS, 1);
        check_wait(Link::Connecting(Attempt(1)).lost(7, 1.0), 507, 2);
    }

    #[test]
    fn a_link_that_dies_young_goes_on_waiting_longer() {
        check_wait(Link::Live(live(100, 3)).lost(101, 1.0), 101 + 2_000, 4);
        check_wait(Link::Greeting(Attempt(2).up(0)).lost(50, 1.0), 50 + 1_000, 3);
    }

    #[test]
    fn heartbeats_keep_their_interval_unless_hurried() {
        let mut live = live(0, 1);
        assert!(!live.beat(4_999));
        assert!(live.beat(5_000) && !live.beat(5_001));
        live.hurry(6_000);
        assert!(live.beat(6_000) && !live.beat(10_999));
    }
}
