//! The first contact, and the way back of a host that was away: who is let in, who is not, and the trace each leaves.

use std::time::Duration;

use loopback_coordinator::ca::HostCertificate;
use loopback_protocol::enroll::FirstAnswer;
use loopback_protocol::id::Id;
use loopback_protocol::limits::ENROLL_FRAME_MAX_BYTES;
use loopback_protocol::secret::{SECRET_BYTES, Secret};
use loopback_protocol::version::ALPN_ENROLL;
use rcgen::{CertificateParams, DnType, Issuer, KeyPair, PKCS_ED25519};
use rustls_pki_types::CertificateDer;
use serde_json::json;
use time::OffsetDateTime;

use crate::harness::World;
use crate::machine::{Ended, Machine, ended, first_contact, token};

const TOKENS: &str = "/v1/organizations/acme/projects/prod/workspaces/web/tokens";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// A TLS alert.
const CERTIFICATE_EXPIRED: Ended = Ended::Alert(45);

/// Shows a token, and fails unless it is refused for this reason with one more event in this trail.
async fn check_refused(world: &World, machine: &Machine, token: &str, reason: &str, trail: &str) {
    check_refusal(world, machine.enroll(token), reason, trail).await;
}

async fn check_refusal(world: &World, contact: impl Future<Output = FirstAnswer>, reason: &str, trail: &str) {
    let before = world.audit("host.enroll").await;
    let FirstAnswer::Refused(refusal) = contact.await else { panic!("admitted, and not refused as {reason}") };
    assert_eq!(refusal.reason, reason);
    let new: Vec<_> = world.audit("host.enroll").await.into_iter().filter(|event| !before.contains(event)).collect();
    let [event] = new.as_slice() else { panic!("{reason} left {new:?}") };
    assert_eq!((&event["outcome"], &event["details"]["reason"], &event["address"]), (&json!("denied"), &json!(reason), &json!("127.0.0.1")));
    assert!(event["trail"].as_str().unwrap().starts_with(trail), "{event}");
}

#[tokio::test]
async fn each_refusal_has_its_reason_and_its_event() {
    let world = World::start().await;
    let machine = Machine::new(&world, "web-1");
    check_refused(&world, &machine, "lbt_nonsense", "malformed", "platform").await;
    let unknown: Secret<loopback_protocol::id::AgentToken> = Secret::new(Id::new(1, [1; 10]), [1; SECRET_BYTES]);
    check_refused(&world, &machine, &unknown.reveal(), "unknown", "platform").await;

    // Whoever guesses at the secret of a token learns nothing of it, and leaves no mark with its tenant.
    let known = token(&world).await;
    let guessed = Secret::<loopback_protocol::id::AgentToken>::new(Secret::<loopback_protocol::id::AgentToken>::parse(&known).unwrap().id(), [1; SECRET_BYTES]);
    check_refused(&world, &machine, &guessed.reveal(), "unknown", "platform").await;
    let weak = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    check_refusal(&world, machine.enroll_with(&known, Machine::csr(&weak)), "malformed", "org_").await;
    check_refusal(&world, machine.enroll_with(&known, b"no request".to_vec()), "malformed", "org_").await;

    // None of it has used the token up.
    assert!(matches!(machine.enroll(&known).await, FirstAnswer::Enrolled(_)));
    check_refused(&world, &machine, &known, "spent", "org_").await;
    let revoked = token(&world).await;
    let id = Secret::<loopback_protocol::id::AgentToken>::parse(&revoked).unwrap().id();
    world.delete(&format!("{TOKENS}/{id}")).await.expect(200);
    check_refused(&world, &machine, &revoked, "revoked", "org_").await;
    let late = token(&world).await;
    world.sql("UPDATE agent_token SET expires_at_ms = 1 WHERE uses = 0").await;
    check_refused(&world, &machine, &late, "expired", "org_").await;

    let fresh = token(&world).await;
    world.sql("UPDATE organization SET limits = json_set(limits, '$.hosts', 1) WHERE slug = 'acme'").await;
    check_refused(&world, &machine, &fresh, "limit-reached", "org_").await;
    world.sql("UPDATE organization SET verification = 'blocked' WHERE slug = 'acme'").await;
    check_refused(&world, &machine, &fresh, "entity-status", "org_").await;
    assert_eq!(world.get("/v1/organizations/acme/hosts").await.json()["items"].as_array().unwrap().len(), 1);
    world.end().await;
}

#[tokio::test]
async fn what_is_no_first_contact_is_told_so_or_dropped() {
    let world = World::start().await;
    let machine = Machine::new(&world, "web-1");
    let connection = machine.connect(ALPN_ENROLL, None).await.unwrap();
    let FirstAnswer::Refused(refusal) = first_contact(&connection, b"nonsense").await else { panic!("admitted") };
    assert_eq!(refusal.reason, "malformed");
    let connection = machine.connect(ALPN_ENROLL, None).await.unwrap();
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send.write_all(&u32::try_from(ENROLL_FRAME_MAX_BYTES + 1).unwrap().to_be_bytes()).await.unwrap();
    assert_eq!(ended(&connection).await, Ended::Closed(0));
    assert!(matches!(machine.enroll(&token(&world).await).await, FirstAnswer::Enrolled(_)));
    world.end().await;
}

#[tokio::test]
async fn of_two_machines_that_race_for_one_use_exactly_one_wins() {
    let world = World::start().await;
    let (one, two, token) = (Machine::new(&world, "web-1"), Machine::new(&world, "web-1"), token(&world).await);
    let answers = tokio::join!(one.enroll(&token), two.enroll(&token));
    let (winner, loser) = match answers {
        (FirstAnswer::Enrolled(winner), FirstAnswer::Refused(loser)) | (FirstAnswer::Refused(loser), FirstAnswer::Enrolled(winner)) => (winner, loser),
        other => panic!("{other:?}"),
    };
    assert_eq!((winner.path.as_str(), loser.reason.as_str()), ("acme/prod/web/web-1", "spent"));
    let outcomes: Vec<_> = world.audit("host.enroll").await.iter().map(|event| event["outcome"].as_str().unwrap().to_owned()).collect();
    assert_eq!(outcomes, ["allowed", "denied"]);
    // The next of that name gets a number.
    let FirstAnswer::Enrolled(next) = two.enroll(&crate::machine::token(&world).await).await else { panic!("refused") };
    assert_eq!(next.path, "acme/prod/web/web-1-2");
    world.end().await;
}

/// The certificate of a machine, as if it had expired some time ago.
fn expired(world: &World, machine: &Machine, ago: Duration) -> CertificateDer<'static> {
    let ca = world.directory.path().join("ca");
    let key = KeyPair::from_pem(&std::fs::read_to_string(ca.join("ca.key")).unwrap()).unwrap();
    let issuer = Issuer::from_ca_cert_der(world.coordinator.ca().certificate(), key).unwrap();
    let holder = HostCertificate::parse(machine.certificate.as_ref().unwrap()).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, holder.organization.to_string());
    params.distinguished_name.push(DnType::CommonName, holder.host.to_string());
    params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    params.not_after = OffsetDateTime::now_utc() - ago;
    params.not_before = params.not_after - DAY;
    params.signed_by(&machine.key, &issuer).unwrap().der().clone()
}

#[tokio::test]
async fn a_host_that_was_away_comes_back_by_proving_its_key() {
    let world = World::start().await;
    let mut machine = Machine::joined(&world, "web-1").await;
    let (csr, other) = (Machine::csr(&machine.key), KeyPair::generate().unwrap());
    let old = expired(&world, &machine, DAY);
    machine.certificate = Some(old.clone());
    assert_eq!(machine.try_link(&machine.facts).await.err(), Some(CERTIFICATE_EXPIRED));
    let reason = |answer: FirstAnswer| match answer {
        FirstAnswer::Refused(refusal) => refusal.reason,
        FirstAnswer::Enrolled(_) => "enrolled".to_owned(),
    };
    assert_eq!(reason(machine.renew_expired(&old, &other, csr.clone()).await), "malformed");
    assert_eq!(reason(machine.renew_expired(&old, &machine.key, Machine::csr(&other)).await), "malformed");
    let foreign = CertificateParams::default().self_signed(&machine.key).unwrap().der().clone();
    assert_eq!(reason(machine.renew_expired(&foreign, &machine.key, csr.clone()).await), "malformed");
    let ancient = expired(&world, &machine, 31 * DAY);
    assert_eq!(reason(machine.renew_expired(&ancient, &machine.key, csr.clone()).await), "expired");
    assert!(world.audit("host.certificate.renew").await.is_empty());

    let FirstAnswer::Enrolled(renewed) = machine.renew_expired(&old, &machine.key, csr.clone()).await else { panic!("refused") };
    assert_eq!(renewed.path, "acme/prod/web/web-1");
    assert_eq!(world.audit("host.certificate.renew").await.len(), 1);
    machine.certificate = Some(renewed.certificate_der.into());
    machine.link().await.check_works().await;

    world.delete("/v1/organizations/acme/projects/prod/workspaces/web/hosts/web-1").await.expect(200);
    assert_ne!(reason(machine.renew_expired(&old, &machine.key, csr).await), "enrolled");
    world.end().await;
}

#[tokio::test]
async fn who_connects_and_says_nothing_keeps_no_machine_out() {
    let world = World::start().await;
    let (silent, machine) = (Machine::new(&world, "silent"), Machine::new(&world, "web-1"));
    let token = token(&world).await;
    let mut connections = Vec::new();
    for _ in 0..80 {
        connections.push(silent.connect(ALPN_ENROLL, None).await.unwrap());
    }
    // The silent are sent away after 15 s.
    let answer = tokio::time::timeout(Duration::from_secs(10), machine.enroll(&token)).await.expect("it is its turn");
    assert!(matches!(answer, FirstAnswer::Enrolled(_)), "{answer:?}");
    assert!(connections.iter().all(|connection| connection.close_reason().is_none()));
    world.end().await;
}
