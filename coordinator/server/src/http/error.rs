//! How a problem leaves the coordinator: as `application/problem+json` with the request's id, and without a word of what failed inside.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use loopback_api::{Problem, ProblemKind};

use crate::storage::StorageError;

/// A problem on its way out. The request's id is added by [`finish`], the one place that knows it for every route.
#[derive(Debug)]
pub struct Refusal(pub Problem);

impl From<Problem> for Refusal {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = status.into_response();
        response.extensions_mut().insert(Pending(self.0));
        response
    }
}

#[derive(Clone)]
struct Pending(Problem);

impl From<StorageError> for Problem {
    fn from(error: StorageError) -> Self {
        tracing::error!(%error, "storage failed");
        Self::new(ProblemKind::Unavailable, "the coordinator cannot answer now; try again, and tell whoever runs it this request's id")
    }
}

/// What an outsider, and a request for nothing at all, is told.
#[must_use]
pub fn not_found() -> Problem {
    Problem::new(ProblemKind::NotFound, "there is no such thing, or it is not yours to see")
}

/// What somebody without a credential that holds is told.
#[must_use]
pub fn unauthenticated() -> Problem {
    Problem::new(
        ProblemKind::Unauthenticated,
        "sign in with `loopback login`, or send an API key that is neither expired nor revoked as `Authorization: Bearer`",
    )
}

/// Gives a response its request id, and a pending problem its body.
#[must_use]
pub fn finish(mut response: Response, request_id: &str) -> Response {
    if let Some(Pending(mut problem)) = response.extensions_mut().remove::<Pending>() {
        request_id.clone_into(&mut problem.request_id);
        let status = response.status();
        response = (status, Json(problem)).into_response();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
    }
    if let Ok(id) = HeaderValue::from_str(request_id) {
        response.headers_mut().insert("x-request-id", id);
    }
    response.headers_mut().entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
