//! Where operations meet their handlers. A handler is called with a grant, its path, query and body read and bounded; it never sees a request that was
//! not allowed.
//!
//! The order is fixed: credential, path, decision, query, body, handler. What a stranger sends is not even parsed. A write is decided once more when its
//! body is there.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use axum::{Json, RequestPartsExt, Router};
use loopback_api::{Method, Operation, Problem, ProblemKind, Spec};
use loopback_core::access::{Actor, Grant};
use loopback_protocol::id::{AccountId, KeyId};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::body::read;
use super::error::{Refusal, finish, not_found};
use super::identity::{Admitted, Caller, Gate, Origin, Place};
use crate::limits::{BODY_MAX_BYTES, BULK_BODY_MAX_BYTES, REQUEST_TIMEOUT_MS, WEBSOCKET_MESSAGE_MAX_BYTES};
use crate::storage::{Entry, Trail};

/// The operations that have a handler.
#[derive(Debug)]
pub struct Api {
    gate: Arc<Gate>,
    upgrades: TaskTracker,
    router: Router,
    operations: Vec<Spec>,
    pages: Vec<&'static str>,
}

/// A call of a scoped operation, allowed.
#[derive(Debug)]
pub struct Call<O: Operation> {
    /// The proof that it is allowed.
    pub grant: Grant,
    /// The canonical slug path of the scope: `acme/prod/web`.
    pub path: String,
    /// The item named in the path, as the caller wrote it.
    pub item: Option<String>,
    /// The query.
    pub query: O::Query,
    /// The body.
    pub body: O::Body,
    /// Where it came from.
    pub origin: Origin,
}

/// A call of an operation that an account does about itself.
#[derive(Debug)]
pub struct AccountCall<O: Operation> {
    /// Who.
    pub account: AccountId,
    /// Through which credential.
    pub key: KeyId,
    /// Their e-mail address.
    pub email: String,
    /// The item named in the path, as the caller wrote it.
    pub item: Option<String>,
    /// The query.
    pub query: O::Query,
    /// The body.
    pub body: O::Body,
    /// Where it came from.
    pub origin: Origin,
}

/// A call by anybody.
#[derive(Debug)]
pub struct PublicCall<O: Operation> {
    /// The query.
    pub query: O::Query,
    /// The body.
    pub body: O::Body,
    /// Where it came from.
    pub origin: Origin,
}

/// A request's id: 32 hexadecimal digits, made here and never taken from a client.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl<O: Operation> Call<O> {
    /// What the audit trail says of this call, as far as it is known before it is done.
    #[must_use]
    pub fn entry(&self, target: impl Into<String>) -> Entry {
        self.origin.stamp(Entry::of_grant(&self.grant, &self.origin.actor_name, O::SPEC.audit, &target.into()))
    }

    /// The item named in the path.
    #[must_use]
    pub fn item(&self) -> &str {
        self.item.as_deref().unwrap_or_default()
    }

    /// The path of something in the call's scope.
    #[must_use]
    pub fn below(&self, name: &str) -> String {
        format!("{}/{name}", self.path)
    }
}

impl<O: Operation> AccountCall<O> {
    /// As [`Call::entry`], in the platform's trail.
    #[must_use]
    pub fn entry(&self, target: impl Into<String>) -> Entry {
        let actor = Actor::Account { account: self.account, key: self.key };
        let entry = Entry::of_system(Trail::Platform, O::SPEC.audit, &target.into());
        self.origin.stamp(Entry { actor, actor_name: self.email.clone(), ..entry })
    }

    /// The item named in the path.
    #[must_use]
    pub fn item(&self) -> &str {
        self.item.as_deref().unwrap_or_default()
    }
}

/// Gives a handler what it needs beside the call.
pub fn with<D, C, F, Fut>(deps: &D, act: F) -> impl Fn(C) -> Fut + Clone + Send + Sync + 'static + use<D, C, F, Fut>
where
    D: Clone + Send + Sync + 'static,
    F: Fn(D, C) -> Fut + Clone + Send + Sync + 'static,
{
    let deps = deps.clone();
    move |call| act(deps.clone(), call)
}

impl Api {
    /// No operations yet. `upgrades` holds the tasks of WebSockets, so that a stop can wait for them.
    #[must_use]
    pub fn new(gate: Gate, upgrades: TaskTracker) -> Self {
        Self { gate: Arc::new(gate), upgrades, router: Router::new(), operations: Vec::new(), pages: Vec::new() }
    }

    /// A scoped operation.
    pub fn operation<O, F, Fut>(&mut self, handler: F)
    where
        O: Operation,
        F: Fn(Call<O>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Output, Problem>> + Send,
    {
        self.scoped::<O, _, _>(BODY_MAX_BYTES, move |call| answer(handler(call)));
    }

    /// A scoped operation whose body may hold a whole list of rules.
    pub fn bulk<O, F, Fut>(&mut self, handler: F)
    where
        O: Operation,
        F: Fn(Call<O>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Output, Problem>> + Send,
    {
        self.scoped::<O, _, _>(BULK_BODY_MAX_BYTES, move |call| answer(handler(call)));
    }

    /// A scoped operation that makes its own response.
    pub fn raw<O, F, Fut>(&mut self, handler: F)
    where
        O: Operation,
        F: Fn(Call<O>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Problem>> + Send,
    {
        self.scoped::<O, _, _>(BODY_MAX_BYTES, handler);
    }

    /// A scoped operation that goes on as a WebSocket. It is decided before the upgrade.
    pub fn upgrade<O, F, Fut>(&mut self, handler: F)
    where
        O: Operation,
        F: Fn(Call<O>, WebSocket) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (gate, upgrades) = (Arc::clone(&self.gate), self.upgrades.clone());
        self.route::<O, _, _>(move |request| {
            let (gate, upgrades, handler) = (Arc::clone(&gate), upgrades.clone(), handler.clone());
            async move {
                let (mut parts, body) = request.into_parts();
                let call = admit::<O>(&gate, &mut parts, body, BODY_MAX_BYTES).await?.0;
                let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &())
                    .await
                    .map_err(|_| Problem::new(ProblemKind::Validation, "this address speaks WebSocket over HTTP/1.1; use `loopback shell`"))?;
                let upgrade = upgrade.max_message_size(WEBSOCKET_MESSAGE_MAX_BYTES).max_frame_size(WEBSOCKET_MESSAGE_MAX_BYTES);
                Ok(upgrade.on_upgrade(move |socket| upgrades.track_future(handler(call, socket))))
            }
        });
    }

    /// An operation of an account about itself.
    pub fn account<O, F, Fut>(&mut self, handler: F)
    where
        O: Operation,
        F: Fn(AccountCall<O>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Output, Problem>> + Send,
    {
        let gate = Arc::clone(&self.gate);
        self.route::<O, _, _>(move |request| {
            let (gate, handler) = (Arc::clone(&gate), handler.clone());
            async move {
                let (mut parts, body) = request.into_parts();
                let mut origin = Origin::of(&parts);
                let Caller { account, key, email } = gate.caller(&parts, &origin).await?;
                origin.actor_name.clone_from(&email);
                let Place { item, .. } = place(&mut parts).await?;
                let query = query::<O>(&parts)?;
                let body = read(body, BODY_MAX_BYTES).await?;
                if O::SPEC.method.writes() {
                    // A body may take its time, and the credential may be gone by then.
                    gate.caller(&parts, &origin).await?;
                }
                answer(handler(AccountCall { account, key, email, item, query, body, origin })).await
            }
        });
    }

    /// An operation of anybody.
    pub fn public<O, F, Fut>(&mut self, handler: F)
    where
        O: Operation,
        F: Fn(PublicCall<O>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<O::Output, Problem>> + Send,
    {
        self.route::<O, _, _>(move |request| {
            let handler = handler.clone();
            async move {
                let (parts, body) = request.into_parts();
                let origin = Origin::of(&parts);
                let query = query::<O>(&parts)?;
                let body = read(body, BODY_MAX_BYTES).await?;
                answer(handler(PublicCall { query, body, origin })).await
            }
        });
    }

    /// Something served to anybody beside the operations: a document, a binary.
    pub fn page(&mut self, path: &'static str, route: MethodRouter) {
        self.router = std::mem::take(&mut self.router).route(path, route);
        self.pages.push(path);
    }

    /// What was registered.
    #[must_use]
    pub fn operations(&self) -> &[Spec] {
        &self.operations
    }

    /// The paths of what is served beside the operations.
    #[must_use]
    pub fn pages(&self) -> &[&'static str] {
        &self.pages
    }

    /// Everything as one service, with request ids, a timeout and a trace around it.
    pub fn into_router(self) -> Router {
        self.router.fallback(nowhere).method_not_allowed_fallback(wrong_method).layer(middleware::from_fn(around))
    }

    fn scoped<O, F, Fut>(&mut self, limit: usize, handler: F)
    where
        O: Operation,
        F: Fn(Call<O>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Problem>> + Send,
    {
        let gate = Arc::clone(&self.gate);
        self.route::<O, _, _>(move |request| {
            let (gate, handler) = (Arc::clone(&gate), handler.clone());
            async move {
                let (mut parts, body) = request.into_parts();
                let (call, caller) = admit::<O>(&gate, &mut parts, body, limit).await?;
                let (scope, path, origin) = (*call.grant.scope(), call.path.clone(), call.origin.clone());
                let result = handler(call).await;
                if let Err(problem) = &result
                    && problem.kind == ProblemKind::Forbidden
                {
                    gate.refused(&O::SPEC, &caller, &origin, &scope, &path, problem).await?;
                }
                result
            }
        });
    }

    fn route<O, F, Fut>(&mut self, handler: F)
    where
        O: Operation,
        F: Fn(Request) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Problem>> + Send,
    {
        let method = match O::SPEC.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Put => MethodFilter::PUT,
            Method::Patch => MethodFilter::PATCH,
            Method::Delete => MethodFilter::DELETE,
        };
        let handle = move |request: Request| {
            let answer = handler(request);
            async move { answer.await.map_err(Refusal) }
        };
        self.router = std::mem::take(&mut self.router).route(O::SPEC.path, on(method, handle));
        self.operations.push(O::SPEC);
    }
}

async fn answer<T: serde::Serialize>(result: impl Future<Output = Result<T, Problem>> + Send) -> Result<Response, Problem> {
    Ok(Json(result.await?).into_response())
}

/// Credential, path, decision, query, body.
async fn admit<O: Operation>(gate: &Gate, parts: &mut Parts, body: Body, limit: usize) -> Result<(Call<O>, Caller), Problem> {
    let mut origin = Origin::of(parts);
    let caller = gate.caller(parts, &origin).await?;
    origin.actor_name.clone_from(&caller.email);
    let place = place(parts).await?;
    let Admitted { mut grant, path } = gate.admit(&O::SPEC, &caller, &place, &origin).await?;
    let query = query::<O>(parts)?;
    let body = read(body, limit).await?;
    // A body may take its time, and what was allowed before it may not be any more.
    if O::SPEC.method.writes() && !gate.still_holds(&grant).await? {
        gate.caller(parts, &origin).await?;
        grant = gate.admit(&O::SPEC, &caller, &place, &origin).await?.grant;
    }
    Ok((Call { grant, path, item: place.item, query, body, origin }, caller))
}

async fn place(parts: &mut Parts) -> Result<Place, Problem> {
    let Path(parameters) = parts.extract::<Path<Vec<(String, String)>>>().await.map_err(|_| not_found())?;
    let mut place = Place::default();
    for (name, value) in parameters {
        match name.as_str() {
            "organization" | "project" | "workspace" | "host" => place.scope.push(value),
            _ => place.item = Some(value),
        }
    }
    Ok(place)
}

fn query<O: Operation>(parts: &Parts) -> Result<O::Query, Problem> {
    let query = Query::<O::Query>::try_from_uri(&parts.uri).map_err(|error| Problem::new(ProblemKind::Validation, error.body_text()))?;
    Ok(query.0)
}

async fn nowhere() -> Refusal {
    Refusal(not_found())
}

async fn wrong_method() -> Refusal {
    Refusal(Problem { status: 405, ..Problem::new(ProblemKind::NotFound, "this address does not know this method; /v1/openapi.json lists those it knows") })
}

async fn around(mut request: Request, next: Next) -> Response {
    let id = RequestId(hex::encode(rand::random::<[u8; 16]>()));
    // The path may hold names of tenants, never secrets; the query and the headers stay out.
    let span = tracing::debug_span!("request", id = %id.0, method = %request.method(), path = %request.uri().path());
    request.extensions_mut().insert(id.clone());
    let work = tokio::time::timeout(Duration::from_millis(REQUEST_TIMEOUT_MS), next.run(request)).instrument(span);
    let response = work.await.unwrap_or_else(|_| Refusal(Problem::new(ProblemKind::Unavailable, "the request took too long; try again")).into_response());
    finish(response, &id.0)
}
