//! A shell through a WebSocket: what reaches the host, what reaches the operator, and how it ends.

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::get;
use loopback_api::session::{ClientMessage, OpenRequest, ServerMessage};
use loopback_api::{Problem, ProblemKind};
use loopback_protocol::id::SessionId;
use loopback_protocol::shell::WindowSize;

use crate::coordinator::{Authority, Coordinator, problem};
use crate::operator::Operator;

const HOST: &str = "acme/prod/web/host-1";
const PATH: &str = "/v1/organizations/acme/projects/prod/workspaces/web/hosts/host-1/shell";

/// The far end of a session, as a test plays it.
struct Host(WebSocket);

impl Host {
    async fn said(&mut self) -> ClientMessage {
        loop {
            match self.0.recv().await.unwrap().unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("not said: {other:?}"),
            }
        }
    }

    /// Reads what is typed until it ends with `keys`.
    async fn typed(&mut self, keys: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        while !all.ends_with(keys) {
            match self.0.recv().await.unwrap().unwrap() {
                Message::Binary(bytes) => all.extend_from_slice(&bytes),
                Message::Ping(_) => {}
                other => panic!("not typed: {other:?} after {all:?}"),
            }
        }
        all
    }

    async fn say(&mut self, message: ServerMessage) {
        self.0.send(Message::text(serde_json::to_string(&message).unwrap())).await.unwrap();
    }

    async fn open(&mut self) -> OpenRequest {
        let ClientMessage::Open(open) = self.said().await else { panic!("something else than a request to open") };
        self.say(ServerMessage::Opened { session: SessionId::new(1, [1; 10]) }).await;
        open
    }

    async fn show(&mut self, output: &str) {
        self.0.send(Message::binary(output.as_bytes().to_vec())).await.unwrap();
    }

    async fn end(&mut self, reason: &str, exit_code: u8) {
        self.say(ServerMessage::Ended { reason: reason.to_owned(), exit_code }).await;
    }
}

async fn start<F: Future<Output = ()> + Send + 'static>(play: impl Fn(Host) -> F + Clone + Send + Sync + 'static) -> (Coordinator, Operator) {
    let authority = Authority::new();
    let upgrade = async move |upgrade: WebSocketUpgrade| -> Response { upgrade.on_upgrade(move |socket| play(Host(socket))) };
    let coordinator = Coordinator::start(&authority, &["loopback-coordinator"], Router::new().route(PATH, get(upgrade))).await;
    let operator = Operator::with_key(&coordinator, &authority);
    (coordinator, operator)
}

#[tokio::test]
async fn a_pipe_is_typed_as_it_is_and_its_end_is_ctrl_d() {
    let (coordinator, operator) = start(async |mut host| {
        let open = host.open().await;
        let asked = (open.command.as_deref(), open.run_as.as_deref(), open.reason.as_str(), open.max_seconds, open.size);
        let size = WindowSize { columns: 80, rows: 24 };
        assert_eq!(asked, (Some("sh -c 'cat; exit 7'"), Some("deploy"), "ticket 4711", Some(1_800), size));
        assert_eq!(host.typed(b"\x04").await, b"one\r\n\xfftwo\n\x04");
        host.show("one\r\n").await;
        host.show("\u{1b}[1mtwo\u{1b}[0m\n").await;
        host.end("exit(7)", 7).await;
    })
    .await;
    let arguments = ["shell", HOST, "--user", "deploy", "--reason", "ticket 4711", "--max", "30m", "--", "sh", "-c", "cat; exit 7"];
    let ran = operator.pipe(&arguments, b"one\r\n\xfftwo\n").await;
    assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (7, "one\r\n\u{1b}[1mtwo\u{1b}[0m\n", ""));
    let asked = coordinator.asked();
    assert_eq!((asked[0].what.as_str(), asked[0].authorization.as_str()), (format!("GET {PATH}").as_str(), "Bearer lbk_test"));
}

#[tokio::test]
async fn the_end_in_the_middle_of_a_line_is_two_and_is_repeated_while_somebody_reads() {
    let (_coordinator, operator) = start(async |mut host| {
        host.open().await;
        assert_eq!(host.typed(b"\x04").await, b"half\x04\x04");
        // The first was lost on a program that was just starting.
        assert_eq!(host.typed(b"\x04").await, b"\x04");
        host.end("exit(0)", 0).await;
    })
    .await;
    let ran = operator.pipe(&["shell", HOST], b"half").await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

#[tokio::test]
async fn the_reason_is_told_unless_the_shell_just_exited() {
    for (reason, told, code) in
        [("permission revoked", "permission revoked", 1), ("signal(9)", "signal 9 ended the shell", 137), ("time limit", "time limit", 1)]
    {
        let (_coordinator, operator) = start(move |mut host| async move {
            host.open().await;
            host.end(reason, code).await;
        })
        .await;
        let ran = operator.run(&["shell", HOST]).await;
        assert_eq!((ran.code, ran.stderr), (i32::from(code), format!("session ended: {told}\n")));
    }
}

#[tokio::test]
async fn a_session_that_is_never_opened_tells_why() {
    let offline = format!("{HOST} is offline or does not answer; `loopback host show {HOST}` shows when it was last seen");
    for (reason, told) in [
        ("policy: root is not among the allowed users", "root is not among the allowed users"),
        ("host lost", offline.as_str()),
        ("coordinator stopped", "no session: coordinator stopped"),
    ] {
        let (_coordinator, operator) = start(move |mut host| async move {
            host.said().await;
            host.end(reason, 1).await;
        })
        .await;
        let ran = operator.run(&["shell", HOST, "--user", "root"]).await;
        assert_eq!((ran.code, ran.stderr), (1, format!("error: {told}\n")));
    }
}

#[tokio::test]
async fn a_lost_connection_leaves_with_3() {
    let (_coordinator, operator) = start(async |mut host| {
        host.open().await;
        host.show("$ ").await;
    })
    .await;
    let ran = operator.run(&["shell", HOST]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (3, "$ "));
    assert!(ran.stderr.contains("the session's connection is lost") && !ran.stderr.contains("docs.rs"), "{}", ran.stderr);
}

#[tokio::test]
async fn who_may_not_open_a_shell_is_told_like_in_any_call() {
    let authority = Authority::new();
    let refuse = async || problem(Problem::new(ProblemKind::Forbidden, "You lack project.workspace.host.shell_session:execute on acme/prod/web/host-1."));
    let coordinator = Coordinator::start(&authority, &["loopback-coordinator"], Router::new().route(PATH, get(refuse))).await;
    let ran = Operator::with_key(&coordinator, &authority).run(&["shell", HOST]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("error: You lack project.workspace.host.shell_session:execute"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_terminal_is_raw_while_the_session_lasts_and_as_before_after_it() {
    let (_coordinator, operator) = start(async |mut host| {
        let open = host.open().await;
        assert_eq!((open.size, open.term.as_str(), open.lang.as_str(), open.command), (WindowSize { columns: 100, rows: 30 }, "xterm", "C.UTF-8", None));
        host.show("ready\r\n").await;
        assert_eq!(host.typed(b"\x1a").await, b"\x03\x1a");
        host.show("typed\r\n").await;
        assert_eq!(host.said().await, ClientMessage::Resize(WindowSize { columns: 132, rows: 50 }));
        host.show("resized\r\n").await;
        assert_eq!(host.typed(b"/").await, b"ls\r~/");
        host.show("escaped\r\n").await;
        host.typed(b"\r").await;
        assert_eq!(host.said().await, ClientMessage::Close);
        host.end("operator closed", 0).await;
    })
    .await;
    let mut terminal = operator.terminal(&["shell", HOST]);
    let before = terminal.modes();
    terminal.expect("ready");
    assert_ne!(terminal.modes(), before);
    terminal.press("\x03\x1a");
    terminal.expect("typed");
    terminal.resize(132, 50);
    terminal.expect("resized");
    terminal.press("ls\r~/");
    terminal.expect("escaped");
    terminal.press("\r~.");
    terminal.expect("session ended: operator closed");
    assert_eq!((terminal.code(), terminal.modes()), (0, before));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hang_up_closes_the_session_and_gives_the_terminal_back() {
    let (_coordinator, operator) = start(async |mut host| {
        host.open().await;
        host.show("ready\r\n").await;
        assert_eq!(host.said().await, ClientMessage::Close);
        host.end("operator closed", 129).await;
    })
    .await;
    let terminal = operator.terminal(&["shell", HOST]);
    let before = terminal.modes();
    terminal.expect("ready");
    terminal.hang_up();
    assert_eq!((terminal.code(), terminal.modes()), (129, before));
}
