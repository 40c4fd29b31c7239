//! The typed client: an operation of the API in, its output or the reason why not out.
//!
//! It follows no redirect, uses no proxy, and sends its key to nobody but a coordinator its CA vouches for.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use loopback_api::session::GetRecording;
use loopback_api::{Operation, Problem, ProblemKind, Spec};
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Method, Response, Url};
use rustls::ClientConfig;

use crate::credential::Credential;
use crate::limits::{ANSWER_MAX_BYTES, CALL_TIMEOUT_MS, CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS, RECORDING_MAX_BYTES};
use crate::tls::{self, TlsError};

/// Calls one coordinator with one credential.
pub(crate) struct Client {
    url: Url,
    http: reqwest::Client,
    tls: Arc<ClientConfig>,
    authorization: Option<HeaderValue>,
}

/// A recording.
pub(crate) struct Recording {
    /// As asciicast.
    pub(crate) text: String,
    /// What the coordinator found when it checked it: `whole`, `truncated` or `altered`.
    pub(crate) verdict: Option<String>,
}

/// The header that tells [`Recording::verdict`].
const RECORDING_VERDICT: &str = "x-loopback-recording";

/// What the coordinator says of a scope or an item that is not there, or not for the caller.
const NOT_FOUND: &str = "there is no such thing, or it is not yours to see";

/// Why a call brought no output.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// The coordinator refused.
    #[error("{0}")]
    Problem(Box<Problem>),
    /// It cannot be reached, or did not answer in time.
    #[error("cannot reach {url}: {reason}")]
    Unreachable { url: String, reason: String },
    /// Somebody else answers in its place. Nothing was sent to them.
    #[error("{url} is not the coordinator this profile knows: {reason}")]
    Untrusted { url: String, reason: String },
    /// What answers does not speak this API.
    #[error("{url} gave an answer this program does not understand: {reason}")]
    Malformed { url: String, reason: String },
    /// The key or the CA cannot be used at all.
    #[error("{0}")]
    Unusable(String),
}

impl From<TlsError> for CallError {
    fn from(error: TlsError) -> Self {
        match error {
            TlsError::Unreachable { url, reason } => Self::Unreachable { url: url.into(), reason },
            TlsError::Untrusted { url, reason } => Self::Untrusted { url: url.into(), reason },
            TlsError::NoAuthority { ref url } => Self::Malformed { url: url.to_string(), reason: "it shows no CA of its own".to_owned() },
            TlsError::Certificate(_) => Self::Unusable(error.to_string()),
        }
    }
}

impl Client {
    /// A client for a coordinator. Nothing is sent yet.
    pub(crate) fn new(credential: &Credential) -> Result<Self, CallError> {
        let tls = tls::client_config(&credential.roots)?;
        let http = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.clone())
            .https_only(true)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_millis(CONNECT_TIMEOUT_MS))
            .read_timeout(Duration::from_millis(READ_TIMEOUT_MS))
            .user_agent(concat!("loopback/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| CallError::Unusable(error.to_string()))?;
        let authorization = credential.key.as_deref().map(authorization).transpose()?;
        Ok(Self { url: credential.url.clone(), http, tls: Arc::new(tls), authorization })
    }

    /// Calls an operation on a scope, wide to narrow, and on an item in it.
    pub(crate) async fn call<O: Operation>(&self, scope: &[&str], item: Option<&str>, query: &O::Query, body: &O::Body) -> Result<O::Output, CallError> {
        let request = self.request(&O::SPEC, scope, item).timeout(Duration::from_millis(CALL_TIMEOUT_MS)).query(query);
        let request = if O::SPEC.method.writes() { request.json(body) } else { request };
        let response = request.send().await.map_err(|error| self.unanswered(&error))?;
        let answer = self.bounded(response, ANSWER_MAX_BYTES).await.map_err(|error| named(error, scope, item))?;
        // No content is how an empty answer may be written.
        let json: &[u8] = if answer.is_empty() { b"{}" } else { &answer };
        serde_json::from_slice(json).map_err(|error| self.malformed(error.to_string()))
    }

    /// Fetches a recording, which is text as it is and not JSON.
    pub(crate) async fn recording(&self, scope: &[&str], item: &str) -> Result<Recording, CallError> {
        let response = self.request(&GetRecording::SPEC, scope, Some(item)).send().await.map_err(|error| self.unanswered(&error))?;
        let verdict = response.headers().get(RECORDING_VERDICT).map(|verdict| String::from_utf8_lossy(verdict.as_bytes()).into_owned());
        let bytes = self.bounded(response, RECORDING_MAX_BYTES).await.map_err(|error| named(error, scope, Some(item)))?;
        let text = String::from_utf8(bytes).map_err(|_| self.malformed("it is not UTF-8".to_owned()))?;
        Ok(Recording { text, verdict })
    }

    /// Where an operation is.
    pub(crate) fn address(&self, spec: &Spec, scope: &[&str], item: Option<&str>) -> Url {
        let scope: Vec<String> = scope.iter().copied().map(encoded).collect();
        let scope: Vec<&str> = scope.iter().map(String::as_str).collect();
        let mut url = self.url.clone();
        url.set_path(&spec.url(&scope, item.map(encoded).as_deref()));
        url
    }

    /// The coordinator's address.
    pub(crate) const fn url(&self) -> &Url {
        &self.url
    }

    /// How to connect to it by other means than a call.
    pub(crate) fn tls(&self) -> Arc<ClientConfig> {
        self.tls.clone()
    }

    /// The credential's header.
    pub(crate) const fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    fn request(&self, spec: &Spec, scope: &[&str], item: Option<&str>) -> reqwest::RequestBuilder {
        let method = match spec.method {
            loopback_api::Method::Get => Method::GET,
            loopback_api::Method::Post => Method::POST,
            loopback_api::Method::Put => Method::PUT,
            loopback_api::Method::Patch => Method::PATCH,
            loopback_api::Method::Delete => Method::DELETE,
        };
        let request = self.http.request(method, self.address(spec, scope, item));
        match &self.authorization {
            Some(value) => request.header(AUTHORIZATION, value.clone()),
            None => request,
        }
    }

    /// The answer's bytes, if it is not a refusal.
    async fn bounded(&self, mut response: Response, limit: usize) -> Result<Vec<u8>, CallError> {
        let status = response.status();
        let mut answer = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unanswered(&error))? {
            answer.extend_from_slice(&chunk);
            if answer.len() > limit {
                return Err(self.malformed(format!("it is longer than {limit} bytes")));
            }
        }
        if status.is_success() { Ok(answer) } else { Err(self.refused(status.as_u16(), &answer)) }
    }

    /// What an answer that is no success says.
    pub(crate) fn refused(&self, status: u16, answer: &[u8]) -> CallError {
        match serde_json::from_slice(answer) {
            Ok(problem) => CallError::Problem(Box::new(problem)),
            Err(_) => self.malformed(format!("status {status} without a reason")),
        }
    }

    pub(crate) fn malformed(&self, reason: String) -> CallError {
        CallError::Malformed { url: self.url.to_string(), reason }
    }

    pub(crate) fn unreachable(&self, reason: impl ToString) -> CallError {
        CallError::Unreachable { url: self.url.to_string(), reason: reason.to_string() }
    }

    fn unanswered(&self, error: &reqwest::Error) -> CallError {
        match tls::distrust(error) {
            Some(reason) => CallError::Untrusted { url: self.url.to_string(), reason },
            None if error.is_timeout() => self.unreachable("no answer in time"),
            None => self.unreachable(innermost(error)),
        }
    }
}

/// The coordinator does not repeat the path of what is not there; who mistyped it wants to see it.
pub(crate) fn named(mut error: CallError, scope: &[&str], item: Option<&str>) -> CallError {
    if let CallError::Problem(problem) = &mut error
        && problem.kind == ProblemKind::NotFound
        && problem.detail == NOT_FOUND
        && !scope.is_empty()
    {
        let scope = scope.join("/");
        let what = item.map_or_else(|| format!("`{scope}`"), |item| format!("`{item}` in {scope}"));
        problem.detail = format!("there is no {what}, or it is not yours to see");
    }
    error
}

/// A key as a header that no log shows.
fn authorization(key: &str) -> Result<HeaderValue, CallError> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
    let mut value = value.map_err(|_| CallError::Unusable("the key holds characters no key has; copy it again".to_owned()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A segment of a path, with everything that could end it written as `%XX`.
fn encoded(segment: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.~@".contains(&b);
    segment.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The last of a chain of errors: it names the cause, such as `Connection refused`.
fn innermost(error: &dyn Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::{authorization, encoded};

    #[test]
    fn a_name_cannot_leave_its_segment() {
        assert_eq!(encoded("ada+x@example.org"), "ada%2Bx@example.org");
        assert_eq!(encoded("a/b?c#d%ä"), "a%2Fb%3Fc%23d%25%C3%A4");
    }

    #[test]
    fn a_key_is_not_shown_by_its_header() {
        let header = authorization(" lbk_secret\n").unwrap();
        assert_eq!(header.to_str().unwrap(), "Bearer lbk_secret");
        assert!(!format!("{header:?}").contains("lbk_"));
        let refused = authorization("lbk_\u{1}secret").unwrap_err();
        assert!(!refused.to_string().contains("secret"));
    }
}
