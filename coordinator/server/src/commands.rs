//! What changes something: each command takes a grant, decides inside the transaction that writes, and commits together with its audit entry.
//!
//! No command looks at HTTP, and none writes without an entry.

use loopback_api::{FieldError, Problem, ProblemKind};
use loopback_core::access::{Escalation, Grant, Snapshot};
use loopback_core::limits::{DESCRIPTION_MAX_CHARS, NAME_MAX_CHARS};
use loopback_core::tenancy::{EntityStatus, LimitKind, LimitReached, Slug};

use crate::clock::now_ms;
use crate::limits::EMAIL_MAX_CHARS;
use crate::storage::organization as charters;
use crate::storage::{StorageError, Tx, access};

pub mod account;
pub mod binding;
pub mod enroll;
pub mod firewall;
pub mod key;
pub mod member;
pub mod organization;
pub mod project;
pub mod role;
pub mod setup;
pub mod token;
pub mod workspace;

/// Why a command was not done; nothing of it has happened.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The organization's status.
    #[error(transparent)]
    Status(#[from] EntityStatus),
    /// A limit of the organization.
    #[error("{0}; remove some, or ask whoever runs this coordinator for more")]
    Limit(#[from] LimitReached),
    /// Somebody would give what they do not hold.
    #[error(transparent)]
    Escalation(#[from] Escalation),
    /// A place the actor may not change.
    #[error("{0}")]
    Beyond(String),
    /// Fields that may not say what they say.
    #[error("{}", .0.iter().map(|fault| format!("{}: {}", fault.pointer, fault.reason)).collect::<Vec<_>>().join("; "))]
    Invalid(Vec<FieldError>),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// What it is about is not there.
    #[error("{0}")]
    Missing(String),
}

impl Refused {
    /// A field and what is wrong with it.
    pub(crate) fn field(pointer: &str, reason: impl std::fmt::Display) -> Self {
        Self::Invalid(vec![FieldError { pointer: pointer.to_owned(), reason: reason.to_string() }])
    }

    /// Nothing has that name.
    pub(crate) fn missing(what: &str, name: &str) -> Self {
        Self::Missing(format!("there is no {what} `{name}` here"))
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let kind = match refused {
            Refused::Storage(error) => return error.into(),
            Refused::Invalid(faults) => return Self::validation(faults),
            Refused::Status(_) => ProblemKind::EntityStatus,
            Refused::Limit(_) => ProblemKind::LimitReached,
            Refused::Escalation(_) | Refused::Beyond(_) => ProblemKind::Forbidden,
            Refused::Conflict(_) => ProblemKind::Conflict,
            Refused::Missing(_) => ProblemKind::NotFound,
        };
        Self::new(kind, refused.to_string())
    }
}

/// Whether `added` more of a kind may be created in the grant's organization. Asked inside the transaction that creates them.
///
/// # Errors
/// Its status or its limit refuses.
pub(crate) async fn admit_creation(tx: &mut Tx, grant: &Grant, limit: LimitKind, added: u64) -> Result<(), Refused> {
    let organization = grant.scope().organization();
    let charter = charters::charter(tx.connection(), organization).await?;
    charter.standing.admits_creation()?;
    let used = charters::used(tx.connection(), organization, limit, now_ms()).await?;
    Ok(charter.limits.admit(limit, used, added)?)
}

/// What the organization's bindings say inside this transaction.
pub(crate) async fn present(tx: &mut Tx, grant: &Grant) -> Result<Snapshot, StorageError> {
    access::snapshot(tx.connection(), grant.scope().organization()).await
}

fn slug(text: &str) -> Result<Slug, Refused> {
    text.parse().map_err(|invalid| Refused::field("/slug", invalid))
}

/// A name for people: the given one, or the slug.
fn name(given: Option<&str>, slug: &str) -> Result<String, Refused> {
    let name = given.unwrap_or(slug).trim();
    if name.is_empty() || name.chars().count() > NAME_MAX_CHARS || name.chars().any(char::is_control) {
        return Err(Refused::field("/name", format_args!("use 1 to {NAME_MAX_CHARS} characters, none of them a control character")));
    }
    Ok(name.to_owned())
}

fn description(text: &str) -> Result<String, Refused> {
    if text.chars().count() > DESCRIPTION_MAX_CHARS || text.chars().any(|c| c.is_control() && c != '\n' && c != '\t') {
        return Err(Refused::field("/description", format_args!("use at most {DESCRIPTION_MAX_CHARS} characters, none of them a control character")));
    }
    Ok(text.to_owned())
}

/// An e-mail address as accounts have it: trimmed and in lower case.
pub(crate) fn email(text: &str) -> Result<String, Refused> {
    let email = text.trim().to_lowercase();
    let well_formed = email.split_once('@').is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'));
    if !well_formed || email.chars().count() > EMAIL_MAX_CHARS || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Refused::field("/email", "this is no e-mail address"));
    }
    Ok(email)
}
