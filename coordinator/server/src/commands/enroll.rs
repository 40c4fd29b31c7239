//! Admitting machines, and renewing the certificates of those that were away.

use std::net::IpAddr;

use loopback_core::access::{Actor, Grant};
use loopback_core::audit::Outcome;
use loopback_core::enroll::{self, Refused};
use loopback_core::limits::CERTIFICATE_GRACE_MS;
use loopback_protocol::enroll::{EnrollRequest, Enrolled, FirstAnswer, Refusal, RenewExpiredRequest};
use loopback_protocol::id::HostId;
use loopback_protocol::secret::Secret;
use serde_json::json;

use crate::ca::{Ca, HostCertificate};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::enrollment::{self, TokenContext};
use crate::storage::{Entry, Storage, StorageError, Trail, host};

/// Admits a machine that shows a token, or says why not; both are audited.
///
/// # Errors
/// The database fails; nothing has happened.
pub async fn enroll(storage: &Storage, ca: &Ca, request: &EnrollRequest, address: IpAddr, life_ms: u64) -> Result<FirstAnswer, StorageError> {
    let Ok(token) = Secret::parse(request.token.trim()) else {
        return refuse(storage, None, Actor::Anonymous, &Refused::Malformed, request, address).await;
    };
    let mut tx = storage.begin().await?;
    let context = enrollment::token(&mut tx, token.id()).await?;
    let decision = match &context {
        Some(context) => enroll::admit(Some(&context.token), &token.hash(), context.standing, &context.limits, context.hosts, now_ms()),
        None => Err(Refused::Unknown),
    };
    let (admission, context) = match (decision, context) {
        (Ok(admission), Some(context)) => (admission, context),
        (Err(refused), context) => {
            drop(tx);
            // A wrong secret shows nothing of the tenant whose token it guesses at, and leaves no mark in its trail either.
            let known = context.filter(|_| refused != Refused::Unknown);
            let actor = known.as_ref().map_or(Actor::Anonymous, |context| Actor::Token { token: context.token.id });
            return refuse(storage, known, actor, &refused, request, address).await;
        }
        (Ok(_), None) => return Err(StorageError::Corrupt("token")),
    };
    let grant = Grant::of_admission(&admission);
    let id: HostId = ids::fresh();
    let Ok(certificate) = ca.sign_host(&request.csr_der, grant.scope().organization(), id, life_ms) else {
        drop(tx);
        return refuse(storage, Some(context), grant.actor(), &Refused::Malformed, request, address).await;
    };
    let slug = enrollment::free_slug(&mut tx, &grant, &request.facts.hostname).await?;
    enrollment::insert_host(&mut tx, &grant, admission.token(), id, &slug, &request.facts.machine_id, now_ms()).await?;
    let path = format!("{}/{slug}", context.path);
    let details = json!({ "hostname": request.facts.hostname, "machine_id": request.facts.machine_id, "agent_version": request.agent_version, "host": id });
    let entry = Entry::of_grant(&grant, &format!("token {}", admission.token()), "host.enroll", &path).with_details(details);
    tx.commit(Entry { address: address.to_string(), ..entry }).await?;
    tracing::info!(host = %id, %path, %address, "host enrolled");
    Ok(FirstAnswer::Enrolled(Enrolled { host: id, path, certificate_der: certificate.to_vec() }))
}

/// Renews the certificate of a host that was away past its expiry and proves that it still holds the key.
///
/// # Errors
/// The database fails; nothing has happened.
pub async fn renew_expired(
    storage: &Storage,
    ca: &Ca,
    request: &RenewExpiredRequest,
    keying: &[u8],
    address: IpAddr,
    life_ms: u64,
) -> Result<FirstAnswer, StorageError> {
    let refused = |reason: &str, message: &str| Ok(FirstAnswer::Refused(Refusal { reason: reason.to_owned(), message: message.to_owned() }));
    let Some(certificate) = ca.expired_host(&request.certificate_der).filter(|certificate| proves_key(certificate, request, keying)) else {
        return refused("malformed", "the certificate is not one of this coordinator, or its key is not yours: join again with a token");
    };
    if now_ms().saturating_sub(certificate.not_after_ms) > CERTIFICATE_GRACE_MS {
        return refused("expired", "the host was away for more than 30 days: join again with a token");
    }
    let Some(row) = host::of_certificate(storage.reader(), certificate.organization, certificate.host).await? else {
        return refused("removed", "this host was removed: join again with a token");
    };
    let next = ca.sign_host(&request.csr_der, certificate.organization, certificate.host, life_ms);
    let Some(next) = next.ok().filter(|next| HostCertificate::parse(next).map(|next| next.key) == Ok(certificate.key)) else {
        return refused("malformed", "the request is for another key");
    };
    let trail = Trail::Organization(row.scope.organization());
    let entry = Entry { actor: Actor::Host { host: row.id }, actor_name: row.path.clone(), ..Entry::of_system(trail, "host.certificate.renew", &row.path) };
    storage.begin().await?.commit(Entry { address: address.to_string(), ..entry }.with_details(json!({ "expired_at_ms": certificate.not_after_ms }))).await?;
    Ok(FirstAnswer::Enrolled(Enrolled { host: row.id, path: row.path, certificate_der: next.to_vec() }))
}

/// The signature covers this connection's keying material, so that it cannot be replayed on another.
fn proves_key(certificate: &HostCertificate, request: &RenewExpiredRequest, keying: &[u8]) -> bool {
    let message = [keying, request.csr_der.as_slice()].concat();
    let key = ring::signature::UnparsedPublicKey::new(&ring::signature::ECDSA_P256_SHA256_ASN1, &certificate.public_key);
    key.verify(&message, &request.signature).is_ok()
}

async fn refuse(
    storage: &Storage,
    context: Option<TokenContext>,
    actor: Actor,
    refused: &Refused,
    request: &EnrollRequest,
    address: IpAddr,
) -> Result<FirstAnswer, StorageError> {
    let (trail, target) = match &context {
        Some(context) => (Trail::Organization(context.token.workspace.organization()), context.path.as_str()),
        None => (Trail::Platform, ""),
    };
    let actor_name = if let Actor::Token { token } = actor { format!("token {token}") } else { "anonymous".to_owned() };
    let entry = Entry { actor, actor_name, address: address.to_string(), ..Entry::of_system(trail, "host.enroll", target) };
    let details = json!({ "reason": refused.reason(), "hostname": request.facts.hostname });
    storage.begin().await?.commit(entry.with_outcome(Outcome::Denied).with_details(details)).await?;
    tracing::info!(%address, reason = refused.reason(), "host refused");
    Ok(FirstAnswer::Refused(Refusal { reason: refused.reason().to_owned(), message: refused.to_string() }))
}
