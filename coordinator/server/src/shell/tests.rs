//! The broker between a real WebSocket and a real QUIC stream, over a real database; only the host's side is played by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{State, WebSocketUpgrade};
use axum::routing::get;
use futures_util::{SinkExt as _, StreamExt as _};
use loopback_api::session::{ClientMessage, OpenRequest, OpenShell, ServerMessage, SessionState};
use loopback_core::access::{Actor, Grant, Key, ScopePath, Target, Verb};
use loopback_core::shell::Verdict;
use loopback_protocol::frame::{self, Decoder};
use loopback_protocol::id::{Id, SessionId};
use loopback_protocol::limits::{SHELL_CHUNK_MAX_BYTES, SHELL_FRAME_MAX_BYTES};
use loopback_protocol::shell::{Exit, ShellEvent, ShellRequest, WindowSize};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::Broker;
use crate::authority::Authority;
use crate::clock::now_ms;
use crate::http::api::Call;
use crate::http::identity::Origin;
use crate::link::Registry;
use crate::observed::HostKey;
use crate::storage::session::{self, SessionRow};
use crate::storage::{Entry, Storage, Trail};

/// Anything that should happen has happened by then.
const PATIENCE: Duration = Duration::from_secs(20);
const SIZE: WindowSize = WindowSize { columns: 80, rows: 24 };

type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

struct Scene {
    directory: tempfile::TempDir,
    storage: Storage,
    broker: Arc<Broker>,
    stop: CancellationToken,
    address: SocketAddr,
    host: Option<Host>,
}

/// A linked host: the agent's end of the connection, and what keeps the other end in the registry.
struct Host {
    connection: quinn::Connection,
    _link: Box<dyn std::any::Any>,
}

/// The agent's end of a session's stream.
struct Shell {
    send: quinn::SendStream,
    requests: Requests,
}

struct Requests {
    receive: quinn::RecvStream,
    decoder: Decoder,
}

impl Scene {
    async fn new() -> Self {
        Self::with_recordings(|directory| directory.join("recordings")).await
    }

    async fn with_recordings(recordings: impl FnOnce(PathBuf) -> PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::open(directory.path()).await.unwrap();
        populate(&storage).await;
        let (registry, stop) = (Registry::new(5_000), CancellationToken::new());
        let host = Some(link(&registry).await);
        let authority = Authority::new(storage.clone());
        let broker = Broker::new(storage.clone(), authority, registry, recordings(directory.path().to_owned()), stop.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = (Arc::clone(&broker), storage.clone());
        let router = Router::new().route("/", get(upgrade)).with_state(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { directory, storage, broker, stop, address, host }
    }

    /// An operator whose session was asked for.
    async fn operator(&self, request: OpenRequest) -> Socket {
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        let (mut socket, _) = tokio_tungstenite::client_async(format!("ws://{}/", self.address), stream).await.unwrap();
        tell(&mut socket, &ClientMessage::Open(request)).await;
        socket
    }

    /// The host's next session.
    async fn shell(&self) -> Shell {
        let (send, receive) = within(self.host.as_ref().unwrap().connection.accept_bi()).await.unwrap();
        Shell { send, requests: Requests { receive, decoder: Decoder::new(SHELL_FRAME_MAX_BYTES) } }
    }

    /// An operator and a host whose shell runs.
    async fn open(&self) -> (Socket, Shell, SessionId) {
        let mut operator = self.operator(plain()).await;
        let mut shell = self.shell().await;
        let ShellRequest::Open(open) = shell.next().await else { panic!("no opening") };
        shell.say(&ShellEvent::Opened(4)).await;
        assert_eq!(heard(&mut operator).await, ServerMessage::Opened { session: open.session });
        (operator, shell, open.session)
    }

    async fn row(&self, id: SessionId) -> SessionRow {
        session::get(self.storage.reader(), &system(), id).await.unwrap().unwrap()
    }

    async fn only_row(&self) -> SessionRow {
        let mut rows = session::list(self.storage.reader(), &system(), false, "", 10).await.unwrap();
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    /// Action and details of everything in the trail, in its order.
    async fn trail(&self) -> Vec<(String, serde_json::Value)> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT action, event FROM audit_event WHERE trail = $1 AND action <> 'test' ORDER BY sequence")
            .bind(place().organization().to_string())
            .fetch_all(self.storage.reader())
            .await
            .unwrap();
        rows.into_iter().map(|(action, event)| (action, serde_json::from_str::<serde_json::Value>(&event).unwrap()["details"].clone())).collect()
    }

    async fn actions(&self) -> Vec<String> {
        self.trail().await.into_iter().map(|(action, _)| action).collect()
    }

    async fn take_permission_away(&self) {
        let mut tx = self.storage.begin().await.unwrap();
        sqlx::query("DELETE FROM binding").execute(tx.connection()).await.unwrap();
        tx.bump_revision(place().organization()).await.unwrap();
        tx.commit(test_entry()).await.unwrap();
    }

    fn verdict(&self, id: SessionId) -> Verdict {
        self.broker.recordings().open(place().organization(), id).unwrap().unwrap().verdict
    }

    fn cast(&self, id: SessionId) -> String {
        let organization = place().organization().to_string();
        std::fs::read_to_string(self.directory.path().join("recordings").join(organization).join(format!("{id}.cast"))).unwrap()
    }
}

impl Shell {
    async fn next(&mut self) -> ShellRequest {
        self.requests.next().await
    }

    async fn say(&mut self, event: &ShellEvent) {
        within(self.send.write_all(&frame::encode(&event.encode(), SHELL_FRAME_MAX_BYTES).unwrap())).await.unwrap();
    }

    /// Waits for the order to end the session, and obeys it.
    async fn closed(&mut self) -> String {
        let reason = self.requests.close().await;
        self.say(&ShellEvent::Exited(Exit::Signal(9))).await;
        reason
    }
}

impl Requests {
    async fn next(&mut self) -> ShellRequest {
        loop {
            if let Some(payload) = self.decoder.next_frame().unwrap() {
                return ShellRequest::decode(&payload).unwrap();
            }
            self.decoder.push(&within(self.receive.read_chunk(4_096, true)).await.unwrap().expect("a request").bytes);
        }
    }

    async fn close(&mut self) -> String {
        loop {
            if let ShellRequest::Close(reason) = self.next().await {
                return reason;
            }
        }
    }
}

async fn upgrade(State((broker, storage)): State<(Arc<Broker>, Storage)>, upgrade: WebSocketUpgrade) -> axum::response::Response {
    let snapshot = Authority::new(storage).snapshot(place().organization()).await.unwrap();
    let permission = Key::ProjectWorkspaceHostShellSession.may(Verb::Execute);
    let call = Call::<OpenShell> {
        grant: Grant::authorize(&snapshot, actor(), permission, Target::Found(place()), now_ms()).unwrap(),
        path: "acme/prod/web/host-1".into(),
        item: None,
        query: loopback_api::Nothing {},
        body: loopback_api::Nothing {},
        origin: Origin { address: "127.0.0.1".parse().unwrap(), user_agent: "test".into(), request: "r".into(), actor_name: "ann@acme.example".into() },
    };
    upgrade.on_upgrade(move |socket| async move { broker.run(call, socket).await })
}

/// An organization with one member, who may open shells on its one host.
async fn populate(storage: &Storage) {
    let (organization, account) = (place().organization().to_string(), actor().account().unwrap().to_string());
    let limits = serde_json::to_string(&loopback_core::tenancy::Limits { shell_sessions: 2, ..Default::default() }).unwrap();
    let permissions = format!("[\"{}\"]", Key::ProjectWorkspaceHostShellSession.may(Verb::Execute));
    let key: loopback_protocol::id::KeyId = Id::new(1, [6; 10]);
    let role: loopback_protocol::id::RoleId = Id::new(1, [7; 10]);
    let member: loopback_protocol::id::MembershipId = Id::new(1, [8; 10]);
    let binding: loopback_protocol::id::BindingId = Id::new(1, [9; 10]);
    let never_ms = i64::MAX;
    let statements = [
        format!("INSERT INTO account VALUES ('{account}', 'ann@acme.example', 'Ann', '', 1)"),
        format!("INSERT INTO account_key VALUES ('{account}', '{key}', 'session', '', '', 1, {never_ms}, NULL)"),
        format!("INSERT INTO organization VALUES ('{organization}', 'acme', 'Acme', 'verified', 'active', '{limits}', 1, 1)"),
        format!("INSERT INTO membership VALUES ('{organization}', '{member}', '{account}', 1)"),
        format!("INSERT INTO role VALUES ('{organization}', '{role}', 'shells', 'Shells', '{permissions}', 1)"),
        format!("INSERT INTO binding VALUES ('{organization}', '{binding}', '{account}', '{role}', NULL, NULL, NULL, NULL, 1)"),
    ];
    let mut tx = storage.begin().await.unwrap();
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(tx.connection()).await.unwrap();
    }
    tx.commit(test_entry()).await.unwrap();
}

fn place() -> ScopePath {
    ScopePath::Host(Id::new(1, [1; 10]), Id::new(1, [2; 10]), Id::new(1, [3; 10]), Id::new(1, [4; 10]))
}

fn actor() -> Actor {
    Actor::Account { account: Id::new(1, [5; 10]), key: Id::new(1, [6; 10]) }
}

fn test_entry() -> Entry {
    Entry::of_system(Trail::Organization(place().organization()), "test", "test")
}

fn system() -> Grant {
    Grant::of_system(Key::ProjectWorkspaceHostShellSession.may(Verb::Read), place())
}

/// A QUIC connection with the windows of the link.
async fn link(registry: &Registry) -> Host {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certified = rcgen::generate_simple_self_signed(["agent".to_owned()]).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let tls = tls.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    let mut server = quinn::ServerConfig::with_crypto(Arc::new(quinn::crypto::rustls::QuicServerConfig::try_from(tls).unwrap()));
    let mut transport = quinn::TransportConfig::default();
    transport.stream_receive_window(quinn::VarInt::from_u32(64 * 1024));
    server.transport_config(Arc::new(transport));
    let listener = quinn::Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();

    let mut roots = rustls::RootCertStore::empty();
    roots.add(certified.cert.der().clone()).unwrap();
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_protocol_versions(&[&rustls::version::TLS13]).unwrap();
    let tls = tls.with_root_certificates(roots).with_no_client_auth();
    let client = quinn::ClientConfig::new(Arc::new(quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap()));
    let endpoint = quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let connecting = endpoint.connect_with(client, listener.local_addr().unwrap(), "agent").unwrap();
    let accepting = async { listener.accept().await.unwrap().await.unwrap() };
    let (connection, coordinators) = within(async { tokio::join!(connecting, accepting) }).await;
    let key = HostKey { organization: place().organization(), host: place().host().unwrap() };
    let place = registry.link(key, &coordinators);
    Host { connection: connection.unwrap(), _link: Box::new((place, listener, endpoint)) }
}

fn plain() -> OpenRequest {
    OpenRequest { size: SIZE, term: "xterm".into(), lang: String::new(), run_as: None, command: None, reason: String::new(), max_seconds: None }
}

async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

async fn tell(operator: &mut Socket, message: &ClientMessage) {
    operator.send(Message::text(serde_json::to_string(message).unwrap())).await.unwrap();
}

/// The operator's next message; output on the way to it is passed over.
async fn heard(operator: &mut Socket) -> ServerMessage {
    loop {
        if let Message::Text(text) = within(operator.next()).await.expect("a message").unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

async fn shown(operator: &mut Socket) -> Vec<u8> {
    match within(operator.next()).await.expect("output").unwrap() {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("{other:?} instead of output"),
    }
}

async fn check_ended(operator: &mut Socket, reason: &str, exit_code: u8) {
    assert_eq!(heard(operator).await, ServerMessage::Ended { reason: reason.into(), exit_code });
}

#[tokio::test]
async fn a_session_is_relayed_recorded_and_audited_from_its_opening_to_its_exit() {
    let scene = Scene::new().await;
    let (mut operator, mut shell, id) = scene.open().await;
    assert_eq!(scene.actions().await[0], "shell_session.request");
    shell.say(&ShellEvent::Output(b"$ ".to_vec())).await;
    assert_eq!(shown(&mut operator).await, b"$ ");
    operator.send(Message::binary(b"passwd\r".to_vec())).await.unwrap();
    assert_eq!(shell.next().await, ShellRequest::Input(b"passwd\r".to_vec()));
    shell.say(&ShellEvent::Echo(false)).await;
    shell.say(&ShellEvent::Output(b"Password: ".to_vec())).await;
    assert_eq!(shown(&mut operator).await, b"Password: ");
    operator.send(Message::binary(b"hunter2\r".to_vec())).await.unwrap();
    assert_eq!(shell.next().await, ShellRequest::Input(b"hunter2\r".to_vec()));
    tell(&mut operator, &ClientMessage::Resize(WindowSize { columns: 100, rows: 0 })).await;
    assert_eq!(shell.next().await, ShellRequest::Resize(WindowSize { columns: 100, rows: 1 }));
    tell(&mut operator, &ClientMessage::Signal { number: 2 }).await;
    assert_eq!(shell.next().await, ShellRequest::Signal(2));
    shell.say(&ShellEvent::Exited(Exit::Code(3))).await;
    check_ended(&mut operator, "exit(3)", 3).await;

    let row = scene.row(id).await;
    assert_eq!((row.state, row.ended.as_deref()), (SessionState::Ended, Some("exit(3)")));
    let trail = scene.trail().await;
    assert_eq!(trail.iter().map(|(action, _)| action.as_str()).collect::<Vec<_>>(), ["shell_session.request", "shell_session.active", "shell_session.end"]);
    let Verdict::Whole { hash, .. } = scene.verdict(id) else { panic!("{:?}", scene.verdict(id)) };
    assert_eq!(trail[2].1, serde_json::json!({ "reason": "exit(3)", "recording": hash.to_string() }));
    assert_eq!(row.recording, Some(hash.to_string()));
    let cast = scene.cast(id);
    assert!(cast.contains("passwd") && cast.contains("Password: ") && cast.contains("100x1") && !cast.contains("hunter2"), "{cast}");
}

#[tokio::test]
async fn a_permission_that_is_taken_away_ends_the_session_within_a_second() {
    let scene = Scene::new().await;
    let (mut operator, mut shell, id) = scene.open().await;
    let taken_at = Instant::now();
    scene.take_permission_away().await;
    assert_eq!(shell.closed().await, "permission revoked");
    assert!(taken_at.elapsed() < Duration::from_secs(1), "{:?}", taken_at.elapsed());
    check_ended(&mut operator, "permission revoked", 1).await;
    assert!(matches!(scene.verdict(id), Verdict::Whole { .. }));
}

#[tokio::test]
async fn an_operator_who_does_not_read_a_flood_puts_nothing_off() {
    let scene = Scene::new().await;
    let (mut operator, Shell { send, mut requests }, id) = scene.open().await;
    let (is_blocked, blocked) = tokio::sync::oneshot::channel();
    let flood = tokio::spawn(flood(send, is_blocked));
    within(blocked).await.unwrap();
    let taken_at = Instant::now();
    scene.take_permission_away().await;
    assert_eq!(requests.close().await, "permission revoked");
    assert!(taken_at.elapsed() < Duration::from_secs(1), "{:?}", taken_at.elapsed());
    // The host dies instead of saying that the processes are gone.
    flood.abort();
    check_ended(&mut operator, "permission revoked", 1).await;
    assert_eq!(scene.row(id).await.ended.as_deref(), Some("permission revoked"));
}

/// Sends output without end, and tells once nobody takes it any more.
async fn flood(mut send: quinn::SendStream, is_blocked: tokio::sync::oneshot::Sender<()>) {
    let piece = frame::encode(&ShellEvent::Output(vec![b'x'; SHELL_CHUNK_MAX_BYTES]).encode(), SHELL_FRAME_MAX_BYTES).unwrap();
    let (mut is_blocked, mut written) = (Some(is_blocked), 0);
    loop {
        match tokio::time::timeout(Duration::from_millis(500), send.write(&piece[written..])).await {
            Ok(count) => written = (written + count.unwrap()) % piece.len(),
            Err(_) => _ = is_blocked.take().map(|tell| tell.send(())),
        }
    }
}

#[tokio::test]
async fn output_comes_through_whole_and_in_order() {
    let scene = Scene::new().await;
    let (mut operator, mut shell, id) = scene.open().await;
    let sent: Vec<u8> = (0..300_000_u32).flat_map(|n| format!("{n}\r\n").into_bytes()).collect();
    let flood = sent.clone();
    let talk = tokio::spawn(async move {
        for piece in flood.chunks(4_000) {
            shell.say(&ShellEvent::Output(piece.to_vec())).await;
        }
        shell.say(&ShellEvent::Exited(Exit::Code(0))).await;
        shell
    });
    let mut received = Vec::with_capacity(sent.len());
    loop {
        match within(operator.next()).await.unwrap().unwrap() {
            Message::Binary(bytes) => received.extend_from_slice(&bytes),
            Message::Text(text) => break assert!(text.contains("exit(0)"), "{text}"),
            other => panic!("{other:?}"),
        }
    }
    talk.await.unwrap();
    assert!(received == sent, "{} of {} bytes", received.len(), sent.len());
    assert!(matches!(scene.verdict(id), Verdict::Whole { .. }));
    assert!(scene.cast(id).contains("299999"));
}

#[tokio::test]
async fn a_session_ends_when_its_time_is_over() {
    let scene = Scene::new().await;
    let mut operator = scene.operator(OpenRequest { max_seconds: Some(1), ..plain() }).await;
    let mut shell = scene.shell().await;
    assert!(matches!(shell.next().await, ShellRequest::Open(_)));
    shell.say(&ShellEvent::Opened(4)).await;
    assert_eq!(shell.closed().await, "time limit");
    assert!(matches!(heard(&mut operator).await, ServerMessage::Opened { .. }));
    check_ended(&mut operator, "time limit", 1).await;
}

#[tokio::test]
async fn somebody_else_ends_a_session_of_their_organization_and_no_other() {
    let scene = Scene::new().await;
    let (mut operator, mut shell, id) = scene.open().await;
    assert!(!scene.broker.terminate(Id::new(9, [9; 10]), id, "eve@evil.example"));
    assert!(scene.broker.terminate(place().organization(), id, "bob@acme.example"));
    assert_eq!(shell.closed().await, "terminated by bob@acme.example");
    check_ended(&mut operator, "terminated by bob@acme.example", 1).await;
    assert!(!scene.broker.terminate(place().organization(), id, "bob@acme.example"));
}

#[tokio::test]
async fn an_operator_who_is_gone_has_closed_the_session() {
    let scene = Scene::new().await;
    let (operator, mut shell, _) = scene.open().await;
    drop(operator);
    assert_eq!(shell.closed().await, "operator closed");
}

#[tokio::test]
async fn a_coordinator_that_stops_ends_its_sessions() {
    let scene = Scene::new().await;
    let (mut operator, mut shell, _) = scene.open().await;
    scene.stop.cancel();
    assert_eq!(shell.closed().await, "coordinator stopped");
    check_ended(&mut operator, "coordinator stopped", 1).await;
}

#[tokio::test]
async fn a_host_that_is_lost_or_talks_nonsense_ends_the_session() {
    let mut scene = Scene::new().await;
    let (mut operator, mut shell, _) = scene.open().await;
    shell.send.write_all(&[255; 64]).await.unwrap();
    check_ended(&mut operator, "host lost", 1).await;
    let (mut operator, _shell, _) = scene.open().await;
    scene.host.take().unwrap().connection.close(quinn::VarInt::from_u32(0), b"");
    check_ended(&mut operator, "host lost", 1).await;
    // Its place in the registry is gone too: the next one is not even asked for.
    let mut operator = scene.operator(plain()).await;
    check_ended(&mut operator, "host lost", 1).await;
}

#[tokio::test]
async fn what_the_host_refuses_is_told_in_its_words() {
    let scene = Scene::new().await;
    let mut operator = scene.operator(plain()).await;
    let mut shell = scene.shell().await;
    shell.say(&ShellEvent::Refused("shells are forbidden here".into())).await;
    check_ended(&mut operator, "refused: shells are forbidden here", 1).await;
    let row = scene.only_row().await;
    assert_eq!(row.ended.as_deref(), Some("refused: shells are forbidden here"));
    assert_eq!(scene.actions().await, ["shell_session.request", "shell_session.end"]);
}

#[tokio::test]
async fn the_policy_and_the_limit_refuse_and_leave_a_trace() {
    let scene = Scene::new().await;
    let mut operator = scene.operator(OpenRequest { run_as: Some("root".into()), ..plain() }).await;
    let ServerMessage::Ended { reason, .. } = heard(&mut operator).await else { panic!("it opened") };
    assert!(reason.contains("does not let you run as `root`"), "{reason}");
    let _first = scene.open().await;
    let _second = scene.open().await;
    let mut third = scene.operator(plain()).await;
    let ServerMessage::Ended { reason, .. } = heard(&mut third).await else { panic!("it opened") };
    assert!(reason.contains("2 of at most 2 shell sessions"), "{reason}");
    let denied: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM audit_event WHERE event LIKE '%\"denied\"%'").fetch_one(scene.storage.reader()).await.unwrap();
    assert_eq!(denied, 2);
}

#[tokio::test]
async fn without_a_recording_there_is_no_session() {
    let scene = Scene::with_recordings(|directory| directory.join("coordinator.db")).await;
    let mut operator = scene.operator(plain()).await;
    check_ended(&mut operator, "recording failed", 1).await;
    let row = scene.only_row().await;
    assert_eq!((row.ended.as_deref(), row.recording), (Some("recording failed"), None));
}

#[tokio::test]
async fn an_operator_who_says_something_else_first_opens_nothing() {
    let scene = Scene::new().await;
    let stream = tokio::net::TcpStream::connect(scene.address).await.unwrap();
    let (mut operator, _) = tokio_tungstenite::client_async(format!("ws://{}/", scene.address), stream).await.unwrap();
    tell(&mut operator, &ClientMessage::Close).await;
    check_ended(&mut operator, "policy: the first message has to be `open`", 1).await;
    assert!(scene.actions().await.is_empty());
}

#[tokio::test]
async fn what_a_crash_left_open_is_ended_at_the_next_start_and_its_recording_is_cut_off() {
    let scene = Scene::new().await;
    let (_operator, mut shell, id) = scene.open().await;
    shell.say(&ShellEvent::Output(b"before the crash".to_vec())).await;
    within(async {
        while scene.row(id).await.state != SessionState::Active {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // Another coordinator on the same state: the first one will never say how it ended.
    let (registry, authority) = (Registry::new(5_000), Authority::new(scene.storage.clone()));
    let next = Broker::new(scene.storage.clone(), authority, registry, scene.directory.path().join("recordings"), CancellationToken::new());
    assert_eq!(next.recover().await.unwrap(), 1);
    let row = scene.row(id).await;
    assert_eq!((row.state, row.ended.as_deref(), row.recording.as_deref()), (SessionState::Ended, Some("coordinator stopped"), Some("")));
    assert_eq!(scene.actions().await.last().map(String::as_str), Some("shell_session.end"));
    assert!(matches!(scene.verdict(id), Verdict::Truncated { .. }));
    assert_eq!(next.recover().await.unwrap(), 0);
}
