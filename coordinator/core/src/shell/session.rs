//! Where a session stands: opening, active, ended; and when time ends it. The first reason is the reason: what has ended stays as it ended.

use super::end::EndReason;
use super::policy::Terms;
use crate::limits::SHELL_OPENING_MAX_MS;

/// A session from its admission to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Session {
    /// The host has been asked.
    Opening(Opening),
    /// The shell runs.
    Active(Active),
    /// It is over.
    Ended(Ended),
}

/// The host has been asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    terms: Terms,
    answer_due_ms: u64,
}

/// The shell runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Active {
    terms: Terms,
    last_input_ms: u64,
}

/// It is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Session {
    /// An admitted session whose host is asked now. Its recording is open by then, or it is not asked.
    #[must_use]
    pub const fn new(terms: Terms, now_ms: u64) -> Self {
        Self::Opening(Opening { terms, answer_due_ms: now_ms.saturating_add(SHELL_OPENING_MAX_MS) })
    }

    /// The host says that the shell runs. Anything but an opening session stays as it is.
    #[must_use]
    pub fn opened(self, now_ms: u64) -> Self {
        match self {
            Self::Opening(Opening { terms, .. }) => Self::Active(Active { terms, last_input_ms: now_ms }),
            other => other,
        }
    }

    /// The operator typed, resized or signalled.
    pub const fn touch(&mut self, now_ms: u64) {
        if let Self::Active(active) = self {
            active.last_input_ms = now_ms;
        }
    }

    /// Time has passed: ends what is due.
    #[must_use]
    pub fn elapsed(self, now_ms: u64) -> Self {
        match self.due() {
            Some((due_ms, reason)) if due_ms <= now_ms => self.end(reason, now_ms),
            _ => self,
        }
    }

    /// Something ended it.
    #[must_use]
    pub fn end(self, reason: EndReason, now_ms: u64) -> Self {
        match self {
            Self::Opening(_) | Self::Active(_) => Self::Ended(Ended { reason, at_ms: now_ms }),
            ended @ Self::Ended(_) => ended,
        }
    }

    /// When [`Session::elapsed`] has to be asked next, in milliseconds since 1970; never once it ended.
    #[must_use]
    pub fn due_ms(&self) -> Option<u64> {
        self.due().map(|(due_ms, _)| due_ms)
    }

    fn due(&self) -> Option<(u64, EndReason)> {
        let (terms, sooner) = match self {
            Self::Opening(opening) => (&opening.terms, (opening.answer_due_ms, EndReason::HostLost)),
            Self::Active(active) => (&active.terms, (active.last_input_ms.saturating_add(active.terms.idle_limit_ms), EndReason::IdleLimit)),
            Self::Ended(_) => return None,
        };
        if terms.deadline_ms <= sooner.0 { Some((terms.deadline_ms, EndReason::TimeLimit)) } else { Some(sooner) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Ended, Session};
    use crate::limits::SHELL_OPENING_MAX_MS;
    use crate::shell::{EndReason, Terms};

    const HOUR_MS: u64 = 3_600_000;

    fn opening() -> Session {
        Session::new(Terms { run_as: String::new(), deadline_ms: HOUR_MS, idle_limit_ms: 1_000 }, 0)
    }

    fn check_ends(session: Session, at_ms: u64, reason: EndReason) {
        assert_eq!(session.due_ms(), Some(at_ms));
        assert_eq!(session.clone().elapsed(at_ms - 1), session);
        assert_eq!(session.elapsed(at_ms), Session::Ended(Ended { reason, at_ms }));
    }

    #[test]
    fn a_host_that_does_not_answer_is_lost() {
        check_ends(opening(), SHELL_OPENING_MAX_MS, EndReason::HostLost);
    }

    #[test]
    fn an_idle_session_ends_and_input_puts_it_off_until_the_time_is_over() {
        let mut session = opening().opened(10);
        check_ends(session.clone(), 1_010, EndReason::IdleLimit);
        session.touch(500);
        check_ends(session.clone(), 1_500, EndReason::IdleLimit);
        session.touch(HOUR_MS - 1_000);
        check_ends(session, HOUR_MS, EndReason::TimeLimit);
    }

    #[test]
    fn the_first_reason_stays() {
        let mut session = opening().opened(1).end(EndReason::PermissionRevoked, 2);
        session.touch(3);
        let session = session.end(EndReason::HostLost, 3).opened(4).elapsed(u64::MAX);
        assert_eq!(session, Session::Ended(Ended { reason: EndReason::PermissionRevoked, at_ms: 2 }));
        assert_eq!(session.due_ms(), None);
    }
}
