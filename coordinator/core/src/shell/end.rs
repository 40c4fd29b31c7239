//! Why a session ended: one reason, the same words everywhere.

use std::fmt;

use loopback_protocol::shell::Exit;

/// Why a session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndReason {
    /// The shell left with this code.
    Exit(u8),
    /// This signal ended the shell.
    Signal(u8),
    /// The operator closed it.
    OperatorClosed,
    /// Somebody else ended it, by this address.
    TerminatedBy(String),
    /// The operator may no longer have it.
    PermissionRevoked,
    /// Its time was over.
    TimeLimit,
    /// No input for too long.
    IdleLimit,
    /// The host's link was lost, or the host did not answer.
    HostLost,
    /// It could not be recorded any more.
    RecordingFailed,
    /// The host did not open it, in its own words.
    Refused(String),
    /// The workspace's shell policy, in its own words.
    Policy(String),
    /// The coordinator stopped, or was stopped.
    CoordinatorStopped,
}

impl EndReason {
    /// What the operator's command leaves with: the shell's code, 128 + signal, else 1.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Exit(code) => *code,
            Self::Signal(number) => number.saturating_add(128),
            _ => 1,
        }
    }
}

impl From<Exit> for EndReason {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Code(code) => Self::Exit(code),
            Exit::Signal(number) => Self::Signal(number),
        }
    }
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exit(code) => write!(f, "exit({code})"),
            Self::Signal(number) => write!(f, "signal({number})"),
            Self::OperatorClosed => f.write_str("operator closed"),
            Self::TerminatedBy(email) => write!(f, "terminated by {email}"),
            Self::PermissionRevoked => f.write_str("permission revoked"),
            Self::TimeLimit => f.write_str("time limit"),
            Self::IdleLimit => f.write_str("idle limit"),
            Self::HostLost => f.write_str("host lost"),
            Self::RecordingFailed => f.write_str("recording failed"),
            Self::Refused(words) => write!(f, "refused: {words}"),
            Self::Policy(words) => write!(f, "policy: {words}"),
            Self::CoordinatorStopped => f.write_str("coordinator stopped"),
        }
    }
}

#[cfg(test)]
mod tests {
    use loopback_protocol::shell::Exit;

    use super::EndReason;

    #[test]
    fn each_reason_has_its_words_and_its_exit_code() {
        let check = |reason: EndReason, words: &str, code: u8| assert_eq!((reason.to_string().as_str(), reason.exit_code()), (words, code));
        check(Exit::Code(0).into(), "exit(0)", 0);
        check(Exit::Code(255).into(), "exit(255)", 255);
        check(Exit::Signal(9).into(), "signal(9)", 137);
        check(EndReason::Signal(200), "signal(200)", 255);
        check(EndReason::OperatorClosed, "operator closed", 1);
        check(EndReason::TerminatedBy("ann@example.org".into()), "terminated by ann@example.org", 1);
        check(EndReason::PermissionRevoked, "permission revoked", 1);
        check(EndReason::TimeLimit, "time limit", 1);
        check(EndReason::IdleLimit, "idle limit", 1);
        check(EndReason::HostLost, "host lost", 1);
        check(EndReason::RecordingFailed, "recording failed", 1);
        check(EndReason::Refused("no such user".into()), "refused: no such user", 1);
        check(EndReason::Policy("no reason".into()), "policy: no reason", 1);
        check(EndReason::CoordinatorStopped, "coordinator stopped", 1);
    }
}
