//! An organization with one member and one linked host, whose agent is played by hand; everything between is real.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::serve::ListenerExt as _;
use futures_util::{SinkExt as _, StreamExt as _};
use loopback_api::Operation;
use loopback_api::session::{ClientMessage, OpenRequest, OpenShell, ServerMessage};
use loopback_core::access::{Grant, Key, ScopePath, Verb};
use loopback_core::shell::Verdict;
use loopback_core::tenancy::Limits;
use loopback_protocol::frame::{self, Decoder};
use loopback_protocol::id::{AccountId, BindingId, Id, MembershipId, RoleId, SessionId, WorkspaceId};
use loopback_protocol::limits::SHELL_FRAME_MAX_BYTES;
use loopback_protocol::secret::{SECRET_BYTES, Secret};
use loopback_protocol::shell::{Exit, ShellEvent, ShellRequest, WindowSize};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::Authority;
use crate::http::api::Api;
use crate::http::identity::Gate;
use crate::http::routes;
use crate::http::socket::make_prompt;
use crate::link::Registry;
use crate::observed::{HostKey, Observed};
use crate::shell::Broker;
use crate::storage::session::{self, SessionRow};
use crate::storage::{Entry, Storage, Trail};

/// May do everything with shells in the whole organization.
pub(super) const OPERATOR: u8 = 5;
/// May do the same in another workspace.
pub(super) const NEIGHBOUR: u8 = 15;
/// Belongs to nothing.
pub(super) const STRANGER: u8 = 25;

/// Anything that should happen has happened by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);
pub(super) const SIZE: WindowSize = WindowSize { columns: 80, rows: 24 };

pub(super) type Socket = tokio_tungstenite::WebSocketStream<tokio::net::TcpStream>;

pub(super) struct Scene {
    pub(super) directory: tempfile::TempDir,
    pub(super) storage: Storage,
    pub(super) broker: Arc<Broker>,
    pub(super) stop: CancellationToken,
    pub(super) address: SocketAddr,
    pub(super) host: Option<Host>,
}

/// A linked host: the agent's end of the connection, and what keeps the other end in the registry.
pub(super) struct Host {
    pub(super) connection: quinn::Connection,
    _link: Box<dyn std::any::Any>,
}

/// The agent's end of a session's stream.
pub(super) struct Shell {
    pub(super) send: quinn::SendStream,
    pub(super) requests: Requests,
}

pub(super) struct Requests {
    pub(super) receive: quinn::RecvStream,
    pub(super) decoder: Decoder,
}

impl Scene {
    pub(super) async fn new() -> Self {
        Self::with_recordings(|directory| directory.join("recordings")).await
    }

    pub(super) async fn with_recordings(recordings: impl FnOnce(PathBuf) -> PathBuf) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::open(directory.path()).await.unwrap();
        populate(&storage).await;
        let (registry, stop) = (Registry::new(5_000), CancellationToken::new());
        let host = Some(link(&registry).await);
        let authority = Authority::new(storage.clone());
        let broker = Broker::new(storage.clone(), authority, registry, recordings(directory.path().to_owned()), stop.clone());
        let (observed, _) = Observed::open(directory.path()).await.unwrap();
        let mut api = Api::new(Gate::new(storage.clone(), Authority::new(storage.clone()), observed), TaskTracker::new());
        routes::session::register(&mut api, &storage, &broker);
        let (listener, router) = (tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap(), api.into_router());
        let address = listener.local_addr().unwrap();
        let listener = listener.tap_io(|stream| make_prompt(stream).unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { directory, storage, broker, stop, address, host }
    }

    /// An operator whose session was asked for.
    pub(super) async fn operator(&self, request: OpenRequest) -> Socket {
        let mut socket = self.socket().await;
        tell(&mut socket, &ClientMessage::Open(request)).await;
        socket
    }

    /// An operator who was let in and has not said anything.
    pub(super) async fn socket(&self) -> Socket {
        let path = OpenShell::SPEC.url(&["acme", "prod", "web", "host-1"], None);
        let mut request = format!("ws://{}{path}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", secret(OPERATOR).reveal()).parse().unwrap());
        let stream = tokio::net::TcpStream::connect(self.address).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.unwrap().0
    }

    /// A request of somebody about a session: status, verdict on the recording, body.
    pub(super) async fn call<O: Operation>(&self, account: u8, item: Option<SessionId>) -> (u16, String, String) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let url = format!("http://{}{}", self.address, O::SPEC.url(&["acme"], item.map(|id| id.to_string()).as_deref()));
        let request = reqwest::Client::new().request(O::SPEC.method.name().parse().unwrap(), url).bearer_auth(secret(account).reveal());
        let response = request.send().await.unwrap();
        let verdict = response.headers().get("x-loopback-recording").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default();
        (response.status().as_u16(), verdict, response.text().await.unwrap())
    }

    /// The host's next session.
    pub(super) async fn shell(&self) -> Shell {
        let (send, receive) = within(self.host.as_ref().unwrap().connection.accept_bi()).await.unwrap();
        Shell { send, requests: Requests { receive, decoder: Decoder::new(SHELL_FRAME_MAX_BYTES) } }
    }

    /// An operator and a host whose shell runs.
    pub(super) async fn open(&self) -> (Socket, Shell, SessionId) {
        let mut operator = self.operator(plain()).await;
        let mut shell = self.shell().await;
        let ShellRequest::Open(open) = shell.next().await else { panic!("no opening") };
        shell.say(&ShellEvent::Opened(4)).await;
        assert_eq!(heard(&mut operator).await, ServerMessage::Opened { session: open.session });
        (operator, shell, open.session)
    }

    pub(super) async fn row(&self, id: SessionId) -> SessionRow {
        session::get(self.storage.reader(), &system(), id).await.unwrap().unwrap()
    }

    pub(super) async fn only_row(&self) -> SessionRow {
        let mut rows = session::list(self.storage.reader(), &system(), false, "", 10).await.unwrap();
        assert_eq!(rows.len(), 1);
        rows.remove(0)
    }

    /// Action and details of everything in the trail, in its order.
    pub(super) async fn trail(&self) -> Vec<(String, serde_json::Value)> {
        let rows: Vec<(String, String)> = sqlx::query_as("SELECT action, event FROM audit_event WHERE trail = $1 AND action <> 'test' ORDER BY sequence")
            .bind(place().organization().to_string())
            .fetch_all(self.storage.reader())
            .await
            .unwrap();
        rows.into_iter().map(|(action, event)| (action, serde_json::from_str::<serde_json::Value>(&event).unwrap()["details"].clone())).collect()
    }

    pub(super) async fn actions(&self) -> Vec<String> {
        self.trail().await.into_iter().map(|(action, _)| action).collect()
    }

    pub(super) async fn take_permission_away(&self) {
        let mut tx = self.storage.begin().await.unwrap();
        sqlx::query("DELETE FROM binding").execute(tx.connection()).await.unwrap();
        tx.bump_revision(place().organization()).await.unwrap();
        tx.commit(test_entry()).await.unwrap();
    }

    pub(super) fn verdict(&self, id: SessionId) -> Verdict {
        self.broker.recordings().open(place().organization(), id).unwrap().unwrap().verdict
    }

    pub(super) fn cast(&self, id: SessionId) -> String {
        let organization = place().organization().to_string();
        std::fs::read_to_string(self.directory.path().join("recordings").join(organization).join(format!("{id}.cast"))).unwrap()
    }
}

impl Shell {
    pub(super) async fn next(&mut self) -> ShellRequest {
        self.requests.next().await
    }

    pub(super) async fn say(&mut self, event: &ShellEvent) {
        within(self.send.write_all(&frame::encode(&event.encode(), SHELL_FRAME_MAX_BYTES).unwrap())).await.unwrap();
    }

    /// Waits for the order to end the session, and obeys it.
    pub(super) async fn closed(&mut self) -> String {
        let reason = self.requests.close().await;
        self.say(&ShellEvent::Exited(Exit::Signal(9))).await;
        reason
    }
}

impl Requests {
    pub(super) async fn next(&mut self) -> ShellRequest {
        loop {
            if let Some(payload) = self.decoder.next_frame().unwrap() {
                return ShellRequest::decode(&payload).unwrap();
            }
            self.decoder.push(&within(self.receive.read_chunk(4_096, true)).await.unwrap().expect("a request").bytes);
        }
    }

    pub(super) async fn close(&mut self) -> String {
        loop {
            if let ShellRequest::Close(reason) = self.next().await {
                return reason;
            }
        }
    }
}

/// An organization with one host, on which the operator may do everything with shells, the neighbour the same in another workspace, the stranger nothing.
pub(super) async fn populate(storage: &Storage) {
    let ScopePath::Host(organization, project, workspace, host) = place() else { panic!("a host") };
    let limits = serde_json::to_string(&Limits { shell_sessions: 2, ..Limits::default() }).unwrap();
    let shell = [Verb::Execute, Verb::Read, Verb::Delete].map(|verb| Key::ProjectWorkspaceHostShellSession.may(verb).to_string());
    let recording = Key::ProjectWorkspaceHostShellSessionRecording.may(Verb::Read).to_string();
    let permissions = serde_json::to_string(&[&shell[..], &[recording]].concat()).unwrap();
    let (role, beside): (RoleId, WorkspaceId) = (Id::new(1, [7; 10]), Id::new(1, [13; 10]));
    let mut statements = vec![
        format!("INSERT INTO organization VALUES ('{organization}', 'acme', 'Acme', 'verified', 'active', '{limits}', 1, 1)"),
        format!("INSERT INTO project VALUES ('{organization}', '{project}', 'prod', 'Prod', 1)"),
        format!("INSERT INTO workspace VALUES ('{organization}', '{workspace}', '{project}', 'web', 'Web', 1)"),
        format!("INSERT INTO workspace VALUES ('{organization}', '{beside}', '{project}', 'db', 'Db', 1)"),
        format!("INSERT INTO host VALUES ('{organization}', '{host}', '{project}', '{workspace}', 'host-1', 'm', 't', 1, NULL)"),
        format!("INSERT INTO role VALUES ('{organization}', '{role}', 'shells', 'Shells', '{permissions}', 1)"),
    ];
    for account in [OPERATOR, NEIGHBOUR, STRANGER] {
        let (id, key, hash, never_ms): (AccountId, _, _, _) = (Id::new(1, [account; 10]), secret(account).id(), secret(account).hash(), i64::MAX);
        statements.push(format!("INSERT INTO account VALUES ('{id}', 'a{account}@acme.example', 'A', '', 1)"));
        statements.push(format!("INSERT INTO account_key VALUES ('{id}', '{key}', 'session', '', '{}', 1, {never_ms}, NULL)", hex::encode(hash.0)));
        if account != STRANGER {
            let (member, binding): (MembershipId, BindingId) = (Id::new(1, [account; 10]), Id::new(1, [account; 10]));
            let scope = if account == OPERATOR { "NULL, NULL".to_owned() } else { format!("'{project}', '{beside}'") };
            statements.push(format!("INSERT INTO membership VALUES ('{organization}', '{member}', '{id}', 1)"));
            statements.push(format!("INSERT INTO binding VALUES ('{organization}', '{binding}', '{id}', '{role}', {scope}, NULL, NULL, 1)"));
        }
    }
    let mut tx = storage.begin().await.unwrap();
    for statement in statements {
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(tx.connection()).await.unwrap();
    }
    tx.commit(test_entry()).await.unwrap();
}

/// An account's credential.
pub(super) fn secret(account: u8) -> Secret<loopback_protocol::id::Key> {
    Secret::new(Id::new(1, [account; 10]), [account; SECRET_BYTES])
}

pub(super) fn place() -> ScopePath {
    ScopePath::Host(Id::new(1, [1; 10]), Id::new(1, [2; 10]), Id::new(1, [3; 10]), Id::new(1, [4; 10]))
}

pub(super) fn test_entry() -> Entry {
    Entry::of_system(Trail::Organization(place().organization()), "test", "test")
}

pub(super) fn system() -> Grant {
    Grant::of_system(Key::ProjectWorkspaceHostShellSession.may(Verb::Read), place())
}

/// A QUIC connection with the windows of the link.
pub(super) async fn link(registry: &Registry) -> Host {
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

pub(super) fn plain() -> OpenRequest {
    OpenRequest { size: SIZE, term: "xterm".into(), lang: String::new(), run_as: None, command: None, reason: String::new(), max_seconds: None }
}

pub(super) async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it happens in time")
}

pub(super) async fn tell(operator: &mut Socket, message: &ClientMessage) {
    operator.send(Message::text(serde_json::to_string(message).unwrap())).await.unwrap();
}

/// The operator's next message; output on the way to it is passed over.
pub(super) async fn heard(operator: &mut Socket) -> ServerMessage {
    loop {
        if let Message::Text(text) = within(operator.next()).await.expect("a message").unwrap() {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

pub(super) async fn shown(operator: &mut Socket) -> Vec<u8> {
    match within(operator.next()).await.expect("output").unwrap() {
        Message::Binary(bytes) => bytes.to_vec(),
        other => panic!("{other:?} instead of output"),
    }
}

pub(super) async fn check_ended(operator: &mut Socket, reason: &str, exit_code: u8) {
    assert_eq!(heard(operator).await, ServerMessage::Ended { reason: reason.into(), exit_code });
}
