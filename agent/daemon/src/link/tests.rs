//! The daemon against a coordinator of the test's own, over real QUIC: it joins, is welcomed, beats, is cut off and comes back.

use std::path::Path;

use loopback_protocol::control::{AgentMessage, CoordinatorMessage, ModuleState};
use loopback_protocol::enroll::{FirstAnswer, FirstContact, HostFacts, RENEW_EXPORTER_LABEL, Refusal};
use loopback_protocol::limits::SHELL_FRAME_MAX_BYTES;
use loopback_protocol::shell::ShellEvent;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::config::Settings;
use crate::enroll::{self, EnrollError, Joined};
use crate::eventloop::{self, RunError};
use crate::fake_coordinator::{Authority, DEADLINE, FakeCoordinator, Life, admit};
use crate::frames::FrameReader;
use crate::keystore::{Keystore, KeystoreError};
use crate::limits::STOP_TIMEOUT;
use crate::quic::{self, Coordinator};

/// An enrolled machine.
struct Machine {
    dir: TempDir,
}

/// An agent that runs on it, until dropped.
struct Running {
    task: JoinHandle<Result<(), RunError>>,
    stop: DropGuard,
}

impl Machine {
    async fn joined(authority: &Authority, coordinator: &FakeCoordinator, life: Life) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let keystore = Keystore::open(dir.path()).unwrap();
        let (joined, _) = tokio::join!(
            join(&keystore, coordinator, authority),
            coordinator.answer(|contact, _| match contact {
                FirstContact::Enroll(request) => admit(authority, &request.csr_der, life),
                FirstContact::Renew(_) => panic!("no enrolment"),
            })
        );
        assert!(matches!(joined.unwrap(), Joined::New(identity) if identity.path == "acme/prod/web/host-1"));
        Self { dir }
    }

    /// The firewall is left out: these tests share the kernel with the machine they run on.
    fn run(&self, allow: &str) -> Running {
        let config = self.dir.path().with_extension("toml");
        std::fs::write(&config, format!("allow = {allow}\nstate_dir = {:?}", self.dir.path())).unwrap();
        let settings = Settings::load(Some(&config)).unwrap();
        std::fs::remove_file(config).unwrap();
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        Running { task: tokio::spawn(async move { eventloop::run(&settings, stop).await }), stop: guard }
    }

    fn keystore(&self) -> Keystore {
        Keystore::peek(self.dir.path())
    }
}

impl Running {
    async fn stop(self) -> Result<(), RunError> {
        drop(self.stop);
        tokio::time::timeout(STOP_TIMEOUT / 2, self.task).await.expect("nothing has to be aborted").unwrap()
    }
}

async fn join(keystore: &Keystore, coordinator: &FakeCoordinator, authority: &Authority) -> Result<Joined, EnrollError> {
    let facts = HostFacts { hostname: "web-1".into(), ..HostFacts::default() };
    enroll::join(keystore, &coordinator.address(), &authority.join_string(), facts).await
}

fn heartbeat(message: AgentMessage) -> Option<()> {
    matches!(message, AgentMessage::Heartbeat(_)).then_some(())
}

fn frame_sequence(message: AgentMessage) -> Option<u64> {
    if let AgentMessage::MetricsFrame(frame) = message { Some(frame.sequence) } else { None }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_beats_survives_its_coordinator_and_loses_no_frame() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let machine = Machine::joined(&authority, &coordinator, Life::FRESH).await;
    let agent = machine.run("['metrics', 'shell']");
    let mut link = coordinator.link().await;
    link.welcome().await;
    let unacknowledged = link.until(frame_sequence).await;
    link.until(heartbeat).await;

    let port = coordinator.port();
    drop(link);
    coordinator.die().await;
    let coordinator = FakeCoordinator::listen(&authority, port);
    let mut link = coordinator.link().await;
    link.welcome().await;
    assert_eq!(link.until(frame_sequence).await, unacknowledged, "what was not acknowledged comes again, first");
    link.say(CoordinatorMessage::MetricsAcknowledged(unacknowledged)).await;
    link.until(heartbeat).await;

    let (stopped, closed) = tokio::join!(agent.stop(), link.connection.closed());
    stopped.unwrap();
    assert!(matches!(closed, quinn::ConnectionError::ApplicationClosed(close) if close.error_code == quic::CODE_DONE), "it says goodbye");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_of_another_ca_never_sees_the_token() {
    let (ours, other) = (Authority::new(), Authority::new());
    let coordinator = FakeCoordinator::listen(&other, 0);
    let dir = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(dir.path()).unwrap();
    let (joined, handshake) = tokio::join!(join(&keystore, &coordinator, &ours), coordinator.accept_any());
    assert!(matches!(joined, Err(EnrollError::WrongCa)), "{joined:?}");
    // A server may think that the handshake succeeded; it never gets a stream.
    if let Ok(connection) = handshake {
        assert!(connection.accept_bi().await.is_err());
    }
    assert!(matches!(keystore.identity(), Err(KeystoreError::NotJoined)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_with_another_name_is_refused() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen_as(&authority, "elsewhere", 0);
    let dir = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(dir.path()).unwrap();
    let (joined, _) = tokio::join!(join(&keystore, &coordinator, &authority), coordinator.accept_any());
    assert!(matches!(joined, Err(EnrollError::Dial(_))), "{joined:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_reaches_the_operator_in_the_coordinators_words() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let dir = tempfile::tempdir().unwrap();
    let keystore = Keystore::open(dir.path()).unwrap();
    let refuse = |_: &FirstContact, _: &quinn::Connection| FirstAnswer::Refused(Refusal { reason: "spent".into(), message: "mint another".into() });
    let (joined, contact) = tokio::join!(join(&keystore, &coordinator, &authority), coordinator.answer(refuse));
    assert_eq!(joined.unwrap_err().to_string(), "refused (spent): mint another");
    assert!(matches!(contact, FirstContact::Enroll(request) if request.token == authority.join_string().token.reveal() && request.facts.hostname == "web-1"));
    assert!(matches!(keystore.identity(), Err(KeystoreError::NotJoined)));
}

#[tokio::test(flavor = "multi_thread")]
async fn joining_again_keeps_the_identity_and_another_ca_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let machine = Machine::joined(&authority, &coordinator, Life::FRESH).await;
    let before = machine.keystore().credentials().unwrap().certificate_der;
    assert!(matches!(join(&machine.keystore(), &coordinator, &authority).await, Ok(Joined::Kept(_))));
    assert!(matches!(join(&machine.keystore(), &coordinator, &other).await, Err(EnrollError::OtherIdentity(path)) if path == "acme/prod/web/host-1"));
    assert_eq!(machine.keystore().credentials().unwrap().certificate_der, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_there_is_told_apart_from_a_refusal() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let address = coordinator.address();
    coordinator.die().await;
    let dir = tempfile::tempdir().unwrap();
    let error = enroll::join(&Keystore::open(dir.path()).unwrap(), &address, &authority.join_string(), HostFacts::default()).await.unwrap_err();
    assert!(error.is_unreachable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ageing_certificate_is_renewed_over_the_link() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let machine = Machine::joined(&authority, &coordinator, Life::AGEING).await;
    let before = machine.keystore().credentials().unwrap().certificate_der;
    let agent = machine.run("[]");
    let mut link = coordinator.link().await;
    link.welcome().await;
    let csr_der = link.until(|message| if let AgentMessage::Renew(csr_der) = message { Some(csr_der) } else { None }).await;
    let next = authority.issue_host(&csr_der, Life::FRESH);
    link.say(CoordinatorMessage::Certificate(next.clone())).await;
    let stored = async {
        while machine.keystore().credentials().unwrap().certificate_der == before {
            link.until(heartbeat).await;
        }
    };
    tokio::time::timeout(DEADLINE, stored).await.expect("stored in time");
    assert_eq!(machine.keystore().credentials().unwrap().certificate_der.to_vec(), next);
    agent.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_certificate_is_renewed_by_the_proof_of_its_key() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let machine = Machine::joined(&authority, &coordinator, Life::EXPIRED).await;
    let agent = machine.run("[]");
    let renew = |contact: &FirstContact, connection: &quinn::Connection| {
        let FirstContact::Renew(request) = contact else { panic!("no renewal") };
        let mut signed = vec![0; 32];
        connection.export_keying_material(&mut signed, RENEW_EXPORTER_LABEL, b"").unwrap();
        signed.extend_from_slice(&request.csr_der);
        let (_, expired) = X509Certificate::from_der(&request.certificate_der).unwrap();
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &expired.public_key().subject_public_key.data);
        key.verify(&signed, &request.signature).expect("the proof holds");
        admit(&authority, &request.csr_der, Life::FRESH)
    };
    coordinator.answer(renew).await;
    coordinator.link().await.welcome().await;
    agent.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_calls_the_certificate_expired_is_understood() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let machine = Machine::joined(&authority, &coordinator, Life::EXPIRED).await;
    let config = quic::link_config(&machine.keystore().credentials().unwrap()).unwrap();
    let client = Coordinator::new(coordinator.address(), quic::SERVER_NAME.into(), Vec::new());
    client.resolve().await.unwrap();
    let (dialled, _) = tokio::join!(client.dial(config), coordinator.accept_any());
    let error = match dialled {
        Ok(dialled) => dialled.connection.closed().await,
        Err(quic::DialError::Handshake(error)) => error,
        Err(error) => panic!("{error}"),
    };
    assert_eq!(super::loss(&error), loopback_agent_core::LinkLoss::CertificateExpired);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forbidden_shell_is_refused_and_reported() {
    let authority = Authority::new();
    let coordinator = FakeCoordinator::listen(&authority, 0);
    let machine = Machine::joined(&authority, &coordinator, Life::FRESH).await;
    let agent = machine.run("['metrics']");
    let mut link = coordinator.link().await;
    link.welcome().await;
    let modules = link.until(|message| if let AgentMessage::Heartbeat(heartbeat) = message { Some(heartbeat.modules) } else { None }).await;
    assert!(modules.iter().any(|health| health.module == "shell" && health.state == ModuleState::Forbidden));
    let (mut send, recv) = link.connection.open_bi().await.unwrap();
    send.write_all(b"\0").await.unwrap();
    let event = FrameReader::new(recv, SHELL_FRAME_MAX_BYTES).next().await.unwrap().expect("an answer");
    assert!(matches!(ShellEvent::decode(&event).unwrap(), ShellEvent::Refused(_)));
    agent.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_does_not_run_where_nobody_joined() {
    let dir = tempfile::tempdir().unwrap();
    let machine = Machine { dir };
    assert!(matches!(machine.run("[]").stop().await, Err(RunError::Keystore(KeystoreError::NotJoined))));
    assert!(Path::new(machine.dir.path()).exists());
}
