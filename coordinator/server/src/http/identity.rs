//! Who calls, and whether they may: the credential, then the path, then the decision, and a trace of every refusal.
//!
//! Nothing of the request's body has been read when this is done.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use axum::extract::ConnectInfo;
use axum::http::header;
use axum::http::request::Parts;
use loopback_api::{Access, Problem, ProblemKind, Spec};
use loopback_core::access::{Actor, Denied, Grant, Permission, ScopePath, Target};
use loopback_core::audit::Outcome;
use loopback_protocol::id::{AccountId, KeyId, OrganizationId};
use loopback_protocol::secret::Secret;

use super::api::RequestId;
use super::error::{not_found, unauthenticated};
use crate::authority::Authority;
use crate::clock::now_ms;
use crate::limits::{OWNERS_NAMED_MAX, SEGMENT_MAX_BYTES, USER_AGENT_MAX_CHARS};
use crate::observed::{Observation, Observed};
use crate::storage::{Entry, Storage, Trail, key, member, resolve};

/// Where a request came from.
#[derive(Debug, Clone)]
pub struct Origin {
    /// The peer's address.
    pub address: IpAddr,
    /// Its `User-Agent`, cut.
    pub user_agent: String,
    /// The request's id.
    pub request: String,
    /// The caller's e-mail address, or empty.
    pub actor_name: String,
}

/// An account that showed a credential that holds.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The account.
    pub account: AccountId,
    /// The credential.
    pub key: KeyId,
    /// The account's e-mail address.
    pub email: String,
}

/// What a path names: its scope from wide to narrow, and the item in it.
#[derive(Debug, Clone, Default)]
pub struct Place {
    /// As the caller wrote it.
    pub scope: Vec<String>,
    /// As the caller wrote it.
    pub item: Option<String>,
}

/// A grant and the canonical path it is for.
#[derive(Debug)]
pub struct Admitted {
    /// The proof.
    pub grant: Grant,
    /// `acme/prod/web`.
    pub path: String,
}

/// Lets callers in, or says why not.
#[derive(Debug)]
pub struct Gate {
    storage: Storage,
    authority: Arc<Authority>,
    observed: Observed,
}

impl Origin {
    /// Reads a request's head.
    #[must_use]
    pub fn of(parts: &Parts) -> Self {
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED), |info| info.0.ip().to_canonical());
        let user_agent = parts.headers.get(header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let request = parts.extensions.get::<RequestId>().map(|id| id.0.clone()).unwrap_or_default();
        Self { address, user_agent: user_agent.chars().take(USER_AGENT_MAX_CHARS).collect(), request, actor_name: String::new() }
    }

    /// Fills an entry with it.
    #[must_use]
    pub fn stamp(&self, entry: Entry) -> Entry {
        Entry { address: self.address.to_string(), user_agent: self.user_agent.clone(), request: self.request.clone(), ..entry }
    }
}

impl Caller {
    /// As decisions and the audit trail know it.
    #[must_use]
    pub const fn actor(&self) -> Actor {
        Actor::Account { account: self.account, key: self.key }
    }
}

impl Gate {
    /// A gate on the storage's accounts; `observed` hears which credentials are used.
    #[must_use]
    pub const fn new(storage: Storage, authority: Arc<Authority>, observed: Observed) -> Self {
        Self { storage, authority, observed }
    }

    /// Who calls.
    ///
    /// # Errors
    /// No credential, or one that does not hold; all alike.
    pub async fn caller(&self, parts: &Parts, origin: &Origin) -> Result<Caller, Problem> {
        let bearer = parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).and_then(|value| value.strip_prefix("Bearer "));
        let secret = bearer.and_then(|text| Secret::parse(text.trim()).ok()).ok_or_else(unauthenticated)?;
        let stored = key::find(self.storage.reader(), secret.id()).await?.ok_or_else(unauthenticated)?;
        if !stored.hash.matches(&secret.hash()) || !stored.is_live(now_ms()) {
            return Err(unauthenticated());
        }
        // A full queue loses an observation, never a request.
        self.observed.report_or_drop(Observation::KeyUse { account: stored.account, key: secret.id(), address: origin.address });
        Ok(Caller { account: stored.account, key: secret.id(), email: stored.email })
    }

    /// Whether the caller may do this there.
    ///
    /// # Errors
    /// 404 for what they may not know of, 403 for what they see and may not do. Both leave a trace.
    pub async fn admit(&self, spec: &Spec, caller: &Caller, place: &Place, origin: &Origin) -> Result<Admitted, Problem> {
        if place.scope.iter().chain(&place.item).any(|segment| segment.len() > SEGMENT_MAX_BYTES) {
            return Err(not_found());
        }
        let segments: Vec<&str> = place.scope.iter().map(String::as_str).collect();
        let resolved = resolve::resolve(&mut *self.storage.reader().acquire().await.map_err(crate::storage::StorageError::from)?, &segments).await?;
        let Some(organization) = resolved.organization else {
            self.record(denial(spec, caller, origin, Trail::Platform, &place.scope.join("/"), "no such organization")).await?;
            return Err(not_found());
        };
        let snapshot = self.authority.snapshot(organization).await?;
        let decision = match spec.access {
            Access::Holds(permission) => Grant::authorize(&snapshot, caller.actor(), permission, resolved.target, now_ms()),
            Access::Reaches(permission) => Grant::authorize_list(&snapshot, caller.actor(), permission, resolved.target, now_ms()),
            // Such operations name no organization; the API's own tests hold that.
            Access::Public | Access::Account => return Err(not_found()),
        };
        match decision {
            // A place that is not there was not decided on: authorization gives grants for what was found alone.
            Ok(grant) => Ok(Admitted { grant, path: resolved.path }),
            Err(Denied::NotFound) => {
                let stranger = !snapshot.is_member(caller.account);
                if stranger || matches!(resolved.target, Target::Found(_)) {
                    let why = if stranger { "not a member" } else { "not visible" };
                    self.record(denial(spec, caller, origin, Trail::Organization(organization), &resolved.path, why)).await?;
                }
                Err(not_found())
            }
            Err(Denied::Forbidden(permission)) => {
                let why = format!("lacks {permission}");
                self.record(denial(spec, caller, origin, Trail::Organization(organization), &resolved.path, &why)).await?;
                Err(self.forbidden(organization, permission, &place.scope.join("/")).await?)
            }
        }
    }

    /// Whether what was granted would be granted again now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn still_holds(&self, grant: &Grant) -> Result<bool, Problem> {
        Ok(self.authority.still_holds(grant, now_ms()).await?)
    }

    /// Writes down that a caller was refused by the operation itself.
    ///
    /// # Errors
    /// The database fails.
    pub async fn refused(&self, spec: &Spec, caller: &Caller, origin: &Origin, scope: &ScopePath, path: &str, problem: &Problem) -> Result<(), Problem> {
        self.record(denial(spec, caller, origin, Trail::Organization(scope.organization()), path, &problem.detail)).await
    }

    async fn forbidden(&self, organization: OrganizationId, permission: Permission, path: &str) -> Result<Problem, Problem> {
        let owners = member::owner_emails(self.storage.reader(), organization, OWNERS_NAMED_MAX).await?;
        Ok(Problem::new(ProblemKind::Forbidden, format!("this needs {permission} on {path}; {} can grant it", owners.join(" or "))))
    }

    async fn record(&self, entry: Entry) -> Result<(), Problem> {
        Ok(self.storage.begin().await?.commit(entry).await?)
    }
}

fn denial(spec: &Spec, caller: &Caller, origin: &Origin, trail: Trail, path: &str, why: &str) -> Entry {
    let entry = Entry { actor: caller.actor(), actor_name: caller.email.clone(), ..Entry::of_system(trail, spec.audit, path) };
    origin.stamp(entry).with_outcome(Outcome::Denied).with_details(serde_json::json!({ "reason": why }))
}
