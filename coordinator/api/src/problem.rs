//! Errors: RFC 9457 problem documents with a stable type.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What went wrong, by a stable word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProblemKind {
    /// The request says something it may not say; `errors` names the fields.
    Validation,
    /// The organization's status refuses it.
    EntityStatus,
    /// A limit of the organization is reached.
    LimitReached,
    /// It contradicts what is there.
    Conflict,
    /// There is no such thing, or it is not the caller's to see.
    NotFound,
    /// The caller sees it and may not do this.
    Forbidden,
    /// No credential, or one that no longer holds.
    Unauthenticated,
    /// Too many requests.
    RateLimited,
    /// The coordinator or the host cannot answer now.
    Unavailable,
}

/// A field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// A JSON pointer into the request's body.
    pub pointer: String,
    /// A sentence.
    pub reason: String,
}

/// The body of every error, as `application/problem+json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// The stable word.
    #[serde(rename = "type")]
    pub kind: ProblemKind,
    /// The kind in words.
    pub title: String,
    /// What happened this time, and what to do.
    pub detail: String,
    /// The HTTP status.
    pub status: u16,
    /// The request, for the one who looks into the logs.
    #[serde(default)]
    pub request_id: String,
    /// For `validation`: each field's fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
}

impl ProblemKind {
    /// The HTTP status it travels with.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::Validation => 422,
            Self::EntityStatus | Self::LimitReached | Self::Conflict => 409,
            Self::NotFound => 404,
            Self::Forbidden => 403,
            Self::Unauthenticated => 401,
            Self::RateLimited => 429,
            Self::Unavailable => 503,
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Validation => "The request is not valid",
            Self::EntityStatus => "The organization's status refuses this",
            Self::LimitReached => "A limit is reached",
            Self::Conflict => "It contradicts what is there",
            Self::NotFound => "Not found",
            Self::Forbidden => "Not allowed",
            Self::Unauthenticated => "Not signed in",
            Self::RateLimited => "Too many requests",
            Self::Unavailable => "Not available now",
        }
    }
}

impl Problem {
    /// A problem of one kind; the server adds the request's id.
    #[must_use]
    pub fn new(kind: ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, title: kind.title().to_owned(), detail: detail.into(), status: kind.status(), request_id: String::new(), errors: Vec::new() }
    }

    /// A validation problem from the fields' faults.
    #[must_use]
    pub fn validation(errors: Vec<FieldError>) -> Self {
        let detail = errors.iter().map(|error| format!("{}: {}", error.pointer, error.reason)).collect::<Vec<_>>().join("; ");
        Self { errors, ..Self::new(ProblemKind::Validation, detail) }
    }

    /// A validation problem of one field.
    #[must_use]
    pub fn field(pointer: &str, reason: impl fmt::Display) -> Self {
        Self::validation(vec![FieldError { pointer: pointer.to_owned(), reason: reason.to_string() }])
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Problem {}
