//! Whether a shell may be opened as it is asked for, and on which terms. Who may open one at all is decided by `access`.
//!
//! That a session is recorded is no term: without a recording there is no session.

use crate::limits::{DESCRIPTION_MAX_CHARS, SHELL_DURATION_DEFAULT_MS, SHELL_IDLE_DEFAULT_MS};
use crate::tenancy::{LimitKind, LimitReached, Limits};

/// What a workspace demands of its shell sessions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShellPolicy {
    /// Whether the operator has to say why.
    pub reason_required: bool,
    /// Users of the host that may be asked for; the host's login user needs no place here.
    pub run_as: Vec<String>,
    /// The longest life of a session.
    pub max_duration_ms: u64,
    /// How long a session may go without input.
    pub idle_limit_ms: u64,
}

/// What an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShellRequest<'a> {
    /// The user of the host; `None` is the host's login user.
    pub run_as: Option<&'a str>,
    /// Why, in the operator's words; may be empty.
    pub reason: &'a str,
    /// How long the session may live; the policy's longest life when left out, and never more.
    pub max_ms: Option<u64>,
}

/// What a session may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// The user of the host; empty is the host's login user.
    pub run_as: String,
    /// When it is ended, in milliseconds since 1970.
    pub deadline_ms: u64,
    /// How long it may go without input.
    pub idle_limit_ms: u64,
}

/// Why no session is opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// No reason was given.
    #[error("the workspace's shell policy demands a reason: say why you need the shell")]
    ReasonRequired,
    /// A reason nobody will read.
    #[error("a reason has at most {DESCRIPTION_MAX_CHARS} characters")]
    ReasonTooLong,
    /// A user the policy does not list.
    #[error("the workspace's shell policy does not let you run as `{user}`: {}", alternatives(.allowed))]
    RunAs {
        /// Who was asked for.
        user: String,
        /// Who may be.
        allowed: Vec<String>,
    },
    /// A life of no length.
    #[error("a session that may last 0 seconds cannot be opened: ask for more, or leave the limit out")]
    Duration,
    /// The organization's limit of open sessions.
    #[error(transparent)]
    Limit(#[from] LimitReached),
}

impl Default for ShellPolicy {
    fn default() -> Self {
        Self { reason_required: false, run_as: Vec::new(), max_duration_ms: SHELL_DURATION_DEFAULT_MS, idle_limit_ms: SHELL_IDLE_DEFAULT_MS }
    }
}

impl Refused {
    /// A stable word for the audit trail and scripts.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::ReasonRequired => "reason-required",
            Self::ReasonTooLong => "reason-too-long",
            Self::RunAs { .. } => "run-as",
            Self::Duration => "duration",
            Self::Limit(_) => "limit-reached",
        }
    }
}

/// Decides inside the transaction that creates the session, so that two operators cannot share the last place. `open_in_org` are the sessions that have
/// not ended.
///
/// # Errors
/// The first reason that stands in the way.
pub fn admit(policy: &ShellPolicy, request: &ShellRequest<'_>, open_in_org: u64, limits: &Limits, now_ms: u64) -> Result<Terms, Refused> {
    if policy.reason_required && request.reason.trim().is_empty() {
        return Err(Refused::ReasonRequired);
    }
    if request.reason.chars().count() > DESCRIPTION_MAX_CHARS {
        return Err(Refused::ReasonTooLong);
    }
    let run_as = request.run_as.unwrap_or_default();
    if !run_as.is_empty() && !policy.run_as.iter().any(|user| user == run_as) {
        return Err(Refused::RunAs { user: run_as.to_owned(), allowed: policy.run_as.clone() });
    }
    let life_ms = request.max_ms.unwrap_or(policy.max_duration_ms).min(policy.max_duration_ms);
    if life_ms == 0 {
        return Err(Refused::Duration);
    }
    limits.admit(LimitKind::ShellSessions, open_in_org, 1)?;
    Ok(Terms { run_as: run_as.to_owned(), deadline_ms: now_ms.saturating_add(life_ms), idle_limit_ms: policy.idle_limit_ms })
}

fn alternatives(users: &[String]) -> String {
    if users.is_empty() {
        "leave the user out to run as the host's login user".to_owned()
    } else {
        format!("leave it out for the host's login user, or ask for {}", users.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::{Refused, ShellPolicy, ShellRequest, Terms, admit};
    use crate::limits::{SHELL_DURATION_DEFAULT_MS, SHELL_IDLE_DEFAULT_MS};
    use crate::tenancy::Limits;

    const PLAIN: ShellRequest<'_> = ShellRequest { run_as: None, reason: "", max_ms: None };

    fn strict() -> ShellPolicy {
        ShellPolicy { reason_required: true, run_as: vec!["deploy".into()], max_duration_ms: 1_000, idle_limit_ms: 100 }
    }

    #[test]
    fn the_default_policy_gives_the_login_user_an_hour() {
        let terms = Terms { run_as: String::new(), deadline_ms: 5 + SHELL_DURATION_DEFAULT_MS, idle_limit_ms: SHELL_IDLE_DEFAULT_MS };
        assert_eq!(admit(&ShellPolicy::default(), &PLAIN, 0, &Limits::default(), 5), Ok(terms));
    }

    #[test]
    fn a_life_is_what_was_asked_for_and_never_more_than_the_policys() {
        let check = |max_ms: Option<u64>, deadline_ms: u64| {
            let request = ShellRequest { reason: "why", max_ms, ..PLAIN };
            assert_eq!(admit(&strict(), &request, 0, &Limits::default(), 10).map(|terms| terms.deadline_ms), Ok(deadline_ms));
        };
        check(None, 1_010);
        check(Some(1), 11);
        check(Some(u64::MAX), 1_010);
    }

    #[test]
    fn each_refusal_has_its_reason() {
        let limits = Limits { shell_sessions: 2, ..Limits::default() };
        let check = |request: ShellRequest<'_>, open: u64, expected: Option<&str>| {
            assert_eq!(admit(&strict(), &request, open, &limits, 0).as_ref().err().map(Refused::reason), expected);
        };
        let good = ShellRequest { run_as: Some("deploy"), reason: "release 7", max_ms: Some(1) };
        check(good, 1, None);
        check(good, 2, Some("limit-reached"));
        check(ShellRequest { reason: " \n", ..good }, 0, Some("reason-required"));
        check(ShellRequest { reason: &"x".repeat(1_001), ..good }, 0, Some("reason-too-long"));
        check(ShellRequest { run_as: Some("root"), ..good }, 0, Some("run-as"));
        check(ShellRequest { run_as: Some("Deploy"), ..good }, 0, Some("run-as"));
        check(ShellRequest { max_ms: Some(0), ..good }, 0, Some("duration"));
    }

    #[test]
    fn root_needs_to_be_listed() {
        let root = ShellRequest { run_as: Some("root"), ..PLAIN };
        let refused = admit(&ShellPolicy::default(), &root, 0, &Limits::default(), 0).unwrap_err().to_string();
        assert_eq!(refused, "the workspace's shell policy does not let you run as `root`: leave the user out to run as the host's login user");
        let listing = ShellPolicy { run_as: vec!["root".into()], ..ShellPolicy::default() };
        assert_eq!(admit(&listing, &root, 0, &Limits::default(), 0).map(|terms| terms.run_as), Ok("root".into()));
    }
}
