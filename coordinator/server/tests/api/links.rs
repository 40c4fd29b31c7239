//! The link: what it takes to have one, what crosses it, and that who breaks its rules loses it alone.

use loopback_coordinator::ca::HostCertificate;
use loopback_protocol::control::{AgentMessage, CoordinatorMessage, Heartbeat, Hello, ModuleHealth, ModuleState};
use loopback_protocol::enroll::HostFacts;
use loopback_protocol::firewall::{PolicyOutcome, PolicyStatus};
use loopback_protocol::frame;
use loopback_protocol::limits::CONTROL_FRAME_MAX_BYTES;
use loopback_protocol::metrics::Frame;
use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK};
use rcgen::KeyPair;
use serde_json::json;

use crate::harness::World;
use crate::machine::{Ended, Machine, ended};

const HOST: &str = "/v1/organizations/acme/projects/prod/workspaces/web/hosts/web-1";
/// Application error codes.
const MALFORMED: Ended = Ended::Closed(1);
const REMOVED: Ended = Ended::Closed(2);
const DUPLICATE: Ended = Ended::Closed(3);
const REPLACED: Ended = Ended::Closed(4);
/// TLS alerts.
const CERTIFICATE_REVOKED: Ended = Ended::Alert(44);

#[tokio::test]
async fn a_host_is_welcomed_told_its_policy_and_told_again_when_that_changes() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    assert_eq!(world.get(HOST).await.expect(200).at("/state"), "offline");
    let mut link = machine.link().await;
    let CoordinatorMessage::Welcome(welcome) = link.welcome.clone() else { panic!("{:?}", link.welcome) };
    assert_eq!(welcome.host.to_string(), world.get(HOST).await.at("/id"));
    let first = link.policy().await;
    assert_eq!((first.generation, first.layers.len()), (1, 0));
    confirm(&mut link, &first).await;
    world.eventually(&format!("{HOST}/firewall"), "/status/state", "applied").await;
    world.eventually(HOST, "/hostname", "web-1").await;
    assert_eq!(world.get(HOST).await.at("/state"), "online");

    let firewalls = "/v1/organizations/acme/projects/prod/workspaces/web/firewalls";
    world.post(firewalls, json!({ "slug": "edge", "default_inbound": "deny" })).await.expect(200);
    let second = link.policy().await;
    assert_eq!(second.generation, 2);
    assert_ne!(second.digest(), first.digest());
    confirm(&mut link, &second).await;
    world.delete(&format!("{firewalls}/edge")).await.expect(200);
    let third = link.policy().await;
    assert_eq!((third.generation, third.digest()), (3, first.digest()));

    let failing = ModuleHealth { module: "firewall".into(), state: ModuleState::Failed("no nft".into()) };
    link.say(&AgentMessage::Heartbeat(Heartbeat { clock_ms: 0, modules: vec![failing] })).await;
    world.eventually(HOST, "/state", "degraded").await;
    assert_eq!(world.get(HOST).await.at("/problems/0"), "module firewall fails: no nft");
    link.connection.close(0_u32.into(), b"");
    world.eventually(HOST, "/state", "offline").await;
    world.end().await;
}

async fn confirm(link: &mut crate::machine::Link, policy: &loopback_protocol::firewall::Policy) {
    let outcome = PolicyOutcome::Applied { at_ms: 1 };
    link.say(&AgentMessage::PolicyStatus(PolicyStatus { generation: policy.generation, digest: policy.digest(), outcome })).await;
    assert_eq!(link.answer().await, CoordinatorMessage::PolicyConfirmed(policy.generation));
}

#[tokio::test]
async fn who_breaks_the_rules_loses_the_link_and_nobody_else_does() {
    let world = World::start().await;
    let neighbour = Machine::joined(&world, "web-1").await;
    let mut neighbours = neighbour.link().await;
    let culprit = Machine::joined(&world, "web-2").await;
    let framed = |payload: &[u8]| frame::encode(payload, CONTROL_FRAME_MAX_BYTES).unwrap();
    let hello =
        Hello { protocol_version: 1, agent_version: "0.1.0".into(), facts: culprit.facts.clone(), modules: Vec::new(), clock_ms: 0, policy_digest: None };
    let unnamed = Frame { schema: 9, sequence: 1, time_ms: 1, values: vec![1.0] };
    let announced = u32::try_from(CONTROL_FRAME_MAX_BYTES + 1).unwrap().to_be_bytes();
    for bytes in [
        framed(&[0xff; 40]),
        framed(b""),
        announced.to_vec(),
        framed(&AgentMessage::Hello(hello).encode()),
        framed(&AgentMessage::MetricsFrame(unnamed).encode()),
        framed(&AgentMessage::Renew(b"no request".to_vec()).encode()),
        framed(&AgentMessage::Renew(Machine::csr(&KeyPair::generate().unwrap())).encode()),
    ] {
        let mut link = culprit.link().await;
        link.send(&bytes).await;
        assert_eq!(link.ended().await, MALFORMED, "{bytes:?}");
        neighbours.check_works().await;
    }
    world.end().await;
}

#[tokio::test]
async fn without_a_certificate_or_a_hello_there_is_no_link() {
    let world = World::start().await;
    let mut machine = Machine::joined(&world, "web-1").await;
    let bare = machine.connect(ALPN_LINK, None).await.unwrap();
    assert_eq!(ended(&bare).await, MALFORMED);
    // What comes first has to be a hello.
    let connection = machine.connect(ALPN_LINK, machine.certificate.as_ref()).await.unwrap();
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    let heartbeat = AgentMessage::Heartbeat(Heartbeat { clock_ms: 0, modules: Vec::new() }).encode();
    send.write_all(&frame::encode(&heartbeat, CONTROL_FRAME_MAX_BYTES).unwrap()).await.unwrap();
    assert_eq!(ended(&connection).await, MALFORMED);
    // Another authority's certificate does not pass the handshake, whatever it says.
    let stranger = KeyPair::generate().unwrap();
    let forged = rcgen::CertificateParams::default().self_signed(&stranger).unwrap().der().clone();
    (machine.key, machine.certificate) = (stranger, Some(forged));
    assert!(matches!(machine.try_link(&machine.facts).await, Err(Ended::Alert(_))));
    assert!(machine.connect(ALPN_ENROLL, None).await.is_ok());
    world.end().await;
}

#[tokio::test]
async fn a_removed_host_loses_its_link_at_once_and_does_not_get_another() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let link = machine.link().await;
    world.delete(HOST).await.expect(200);
    assert_eq!(link.ended().await, REMOVED);
    assert_eq!(machine.try_link(&machine.facts).await.err(), Some(CERTIFICATE_REVOKED));
    world.get(HOST).await.expect(404);
    // Its name is free again.
    Machine::joined(&world, "web-1").await.link().await.check_works().await;
    world.end().await;
}

#[tokio::test]
async fn of_two_machines_with_one_identity_the_newer_is_refused_and_both_are_named() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let mut link = machine.link().await;
    let copy = HostFacts { hostname: "copy-of-web-1".into(), machine_id: "another".into(), ..machine.facts.clone() };
    assert_eq!(machine.try_link(&copy).await.err(), Some(DUPLICATE));
    let events = world.audit("host.identity.duplicate").await;
    assert_eq!(events.len(), 1);
    assert_eq!((events[0]["outcome"].as_str(), events[0]["target"].as_str()), (Some("denied"), Some("acme/prod/web/web-1")));
    let shown = world.get(HOST).await.expect(200);
    assert_eq!(shown.at("/state"), "degraded");
    assert!(shown.at("/problems/0").contains("`web-1` is linked, `copy-of-web-1` was refused"), "{}", shown.text);
    link.check_works().await;
    world.end().await;
}

#[tokio::test]
async fn a_machine_that_comes_back_replaces_its_older_link() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let older = machine.link().await;
    let mut newer = machine.link().await;
    assert_eq!(older.ended().await, REPLACED);
    newer.check_works().await;
    assert_eq!(world.get(HOST).await.at("/state"), "online");
    assert!(world.audit("host.identity.duplicate").await.is_empty());
    world.end().await;
}

#[tokio::test]
async fn a_certificate_is_renewed_over_the_link_for_the_same_key() {
    let world = World::start().await;
    let mut machine = Machine::joined(&world, "web-1").await;
    let mut link = machine.link().await;
    link.say(&AgentMessage::Renew(Machine::csr(&machine.key))).await;
    let CoordinatorMessage::Certificate(next) = link.answer().await else { panic!("no certificate") };
    let (old, new) = (HostCertificate::parse(machine.certificate.as_ref().unwrap()).unwrap(), HostCertificate::parse(&next).unwrap());
    assert_eq!((new.organization, new.host, new.key), (old.organization, old.host, old.key));
    assert!(new.not_after_ms >= old.not_after_ms);
    let events = world.audit("host.certificate.renew").await;
    assert_eq!((events.len(), events[0]["target"].as_str(), events[0]["actor"]["kind"].as_str()), (1, Some("acme/prod/web/web-1"), Some("host")));
    machine.certificate = Some(next.into());
    machine.link().await.check_works().await;
    world.end().await;
}

#[tokio::test]
async fn a_host_that_is_removed_before_it_says_hello_gets_no_link() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let connection = machine.connect(ALPN_LINK, machine.certificate.as_ref()).await.unwrap();
    // The coordinator has looked the host up when it grants the stream.
    let late = connection.open_bi().await.unwrap();
    world.delete(HOST).await.expect(200);
    assert_eq!(machine.hello_late(&connection, late).await, REMOVED);
    world.end().await;
}
