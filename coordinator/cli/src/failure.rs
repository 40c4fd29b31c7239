//! How a command fails: what it says, what to do next, and its exit code.

use std::io;
use std::process::ExitCode;

use loopback_api::{Problem, ProblemKind};

use crate::client::CallError;
use crate::credential::CredentialError;
use crate::output::note;
use crate::profile::ProfileError;
use crate::tls::TlsError;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// It was asked in a way it does not understand.
    #[error("{0}")]
    Usage(String),
    /// The coordinator refused, or could not be asked.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The profile cannot be read or written.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// It is not known which coordinator to ask, or as whom.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// Something of this machine stood in the way, or what was asked for turned out bad.
    #[error("{0}")]
    Failed(String),
    /// Standard output is gone.
    #[error("cannot write the output: {0}")]
    Output(io::Error),
}

impl From<TlsError> for Failure {
    fn from(error: TlsError) -> Self {
        Self::Call(error.into())
    }
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self::Failed(message.into())
    }

    /// 1 refused or failed, 2 usage, 3 cannot reach the coordinator.
    pub(crate) const fn exit_code(&self) -> u8 {
        match self {
            Self::Call(CallError::Unreachable { .. }) => 3,
            Self::Usage(_) => 2,
            _ => 1,
        }
    }

    /// Says it on standard error and gives the exit code.
    pub(crate) fn report(&self, verbose: bool) -> ExitCode {
        // Whoever closed our output (`| head`) has what they wanted.
        if matches!(self, Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe) {
            return ExitCode::SUCCESS;
        }
        note(&self.text(verbose));
        ExitCode::from(self.exit_code())
    }

    fn text(&self, verbose: bool) -> String {
        let mut lines = match self {
            Self::Call(CallError::Problem(problem)) => problem_lines(problem, verbose),
            other => vec![format!("error: {other}")],
        };
        lines.extend(self.hint().map(|hint| format!("hint: {hint}")));
        lines.join("\n")
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Call(CallError::Problem(problem)) => problem_hint(problem.kind),
            Self::Call(CallError::Unreachable { .. }) => Some("check the address, and that `loopback-coordinator run` runs there and its port is open"),
            Self::Call(CallError::Untrusted { .. }) => Some(
                "if the coordinator was set up anew, sign in again with `loopback login URL --email YOU --ca-fingerprint HEX`; `loopback-coordinator ca fingerprint` prints it there",
            ),
            Self::Call(CallError::Malformed { .. }) => Some("check that the URL is the coordinator's own, and that this program is not older than it"),
            Self::Credential(error) => error.hint(),
            _ => None,
        }
    }
}

fn problem_lines(problem: &Problem, verbose: bool) -> Vec<String> {
    let mut lines = Vec::new();
    if problem.detail.contains("Authorization: Bearer") {
        // The coordinator tells programs how to write the header.
        lines.push("error: not signed in, or not any more".to_owned());
    } else if problem.errors.is_empty() {
        lines.push(format!("error: {}", problem.detail));
    } else {
        lines.push(format!("error: {}", problem.title));
        lines.extend(problem.errors.iter().map(|error| format!("  {}: {}", error.pointer, error.reason)));
    }
    if verbose && !problem.request_id.is_empty() {
        lines.push(format!("request: {}", problem.request_id));
    }
    lines
}

const fn problem_hint(kind: ProblemKind) -> Option<&'static str> {
    match kind {
        ProblemKind::Unauthenticated => Some("sign in with `loopback login URL --email YOU`, or set LOOPBACK_KEY to a key that still holds"),
        ProblemKind::Forbidden => Some("who may change roles there can give it to you with `loopback binding create YOU ROLE SCOPE`"),
        ProblemKind::NotFound => Some("check the spelling; `loopback whoami` shows where you belong"),
        ProblemKind::RateLimited => Some("try again in a moment"),
        ProblemKind::Validation | ProblemKind::EntityStatus | ProblemKind::LimitReached | ProblemKind::Conflict | ProblemKind::Unavailable => None,
    }
}

#[cfg(test)]
mod tests {
    use loopback_api::{FieldError, Problem, ProblemKind};

    use super::Failure;
    use crate::client::CallError;

    fn refused(problem: Problem) -> Failure {
        Failure::Call(CallError::Problem(Box::new(problem)))
    }

    #[test]
    fn a_refusal_names_every_field_and_the_request_only_on_demand() {
        let fault = |pointer: &str| FieldError { pointer: pointer.to_owned(), reason: "is not a port".to_owned() };
        let problem = Problem { request_id: "req-1".to_owned(), ..Problem::validation(vec![fault("/rules/0/ports/0"), fault("/rules/7/ports/1")]) };
        let text = "error: The request is not valid\n  /rules/0/ports/0: is not a port\n  /rules/7/ports/1: is not a port";
        assert_eq!(refused(problem.clone()).text(false), text);
        assert_eq!(refused(problem).text(true), format!("{text}\nrequest: req-1"));
    }

    #[test]
    fn who_is_not_signed_in_is_told_how() {
        let for_programs = Problem::new(ProblemKind::Unauthenticated, "sign in, or send an API key as `Authorization: Bearer`");
        assert!(refused(for_programs).text(false).starts_with("error: not signed in, or not any more\nhint: sign in with `loopback login"));
        let failure = refused(Problem::new(ProblemKind::Unauthenticated, "The credential has expired."));
        assert!(failure.text(false).starts_with("error: The credential has expired.\nhint: sign in with `loopback login"));
        assert_eq!(failure.exit_code(), 1);
    }

    #[test]
    fn exit_codes_tell_usage_and_reach_apart() {
        assert_eq!(Failure::usage("x").exit_code(), 2);
        assert_eq!(Failure::Call(CallError::Unreachable { url: "https://h/".to_owned(), reason: "refused".to_owned() }).exit_code(), 3);
        assert_eq!(Failure::failed("x").exit_code(), 1);
    }
}
