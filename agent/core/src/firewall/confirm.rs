//! Commit-confirm: a policy that was applied has to be confirmed within a deadline, else it goes back.
//!
//! It says when; it neither applies nor restores anything, and the clock is its caller's.

/// How long after it was applied a policy may wait for its confirmation, in milliseconds.
pub const CONFIRM_DEADLINE_MS: u64 = 15_000;

/// Whether an applied policy still waits for its confirmation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confirm {
    waiting: Option<Waiting>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Waiting {
    generation: u64,
    deadline: u64,
}

impl Confirm {
    /// Nothing waits.
    #[must_use]
    pub const fn new() -> Self {
        Self { waiting: None }
    }

    /// A policy is in the kernel since `now`, in milliseconds of a monotonic clock. It takes the place of one that still waited.
    pub const fn applied(&mut self, generation: u64, now: u64) {
        self.waiting = Some(Waiting { generation, deadline: now.saturating_add(CONFIRM_DEADLINE_MS) });
    }

    /// The coordinator was reached through this policy. Word of another one changes nothing.
    pub fn confirmed(&mut self, generation: u64) {
        if self.waiting.is_some_and(|waiting| waiting.generation == generation) {
            self.waiting = None;
        }
    }

    /// The generation whose deadline has passed at `now`, once: its policy has to go back.
    pub fn expired(&mut self, now: u64) -> Option<u64> {
        let waiting = self.waiting.take_if(|waiting| waiting.deadline <= now)?;
        Some(waiting.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::{CONFIRM_DEADLINE_MS, Confirm};

    fn applied() -> Confirm {
        let mut confirm = Confirm::new();
        confirm.applied(7, 1_000);
        confirm
    }

    #[test]
    fn an_unconfirmed_policy_expires_once_at_its_deadline() {
        let mut confirm = applied();
        assert_eq!(confirm.expired(1_000 + CONFIRM_DEADLINE_MS - 1), None);
        assert_eq!(confirm.expired(1_000 + CONFIRM_DEADLINE_MS), Some(7));
        assert_eq!(confirm.expired(u64::MAX), None);
    }

    #[test]
    fn a_confirmed_policy_stays() {
        let mut confirm = applied();
        confirm.confirmed(7);
        assert_eq!(confirm.expired(u64::MAX), None);
    }

    #[test]
    fn word_of_another_generation_confirms_nothing() {
        let mut confirm = applied();
        confirm.confirmed(6);
        assert_eq!(confirm.expired(u64::MAX), Some(7));
    }

    #[test]
    fn a_newer_policy_has_its_own_deadline() {
        let mut confirm = applied();
        confirm.applied(8, 9_000);
        confirm.confirmed(7);
        assert_eq!(confirm.expired(1_000 + CONFIRM_DEADLINE_MS), None);
        assert_eq!(confirm.expired(9_000 + CONFIRM_DEADLINE_MS), Some(8));
    }
}
