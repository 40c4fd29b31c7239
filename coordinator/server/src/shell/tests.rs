//! The broker between a real WebSocket and a real QUIC stream, over a real database; only the host's side is played by hand.

mod scene;

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use loopback_api::Page;
use loopback_api::session::{ClientMessage, GetRecording, GetSession, ListSessions, OpenRequest, ServerMessage, Session, SessionState, TerminateSession};
use loopback_core::shell::Verdict;
use loopback_protocol::frame;
use loopback_protocol::id::Id;
use loopback_protocol::limits::{SHELL_CHUNK_MAX_BYTES, SHELL_FRAME_MAX_BYTES};
use loopback_protocol::shell::{Exit, ShellEvent, ShellRequest, WindowSize};
use tokio_tungstenite::tungstenite::Message;
use tokio_util::sync::CancellationToken;

use super::Broker;
use crate::authority::Authority;
use crate::link::Registry;
use scene::{NEIGHBOUR, OPERATOR, STRANGER, Scene, Shell, check_ended, heard, place, plain, shown, tell, within};

/// Windows and buffers from the host to an operator who does not read: the stream's 64 KiB, what the sockets hold, and a piece at each hand.
const ABSORBED_MAX_BYTES: usize = 768 * 1024;

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
async fn a_permission_that_is_taken_away_before_the_first_message_opens_nothing() {
    let scene = Scene::new().await;
    let mut operator = scene.socket().await;
    scene.take_permission_away().await;
    tell(&mut operator, &ClientMessage::Open(OpenRequest { command: Some("reboot".into()), ..plain() })).await;
    check_ended(&mut operator, "permission revoked", 1).await;
    let (rows, denied): (i64, i64) = (
        sqlx::query_scalar("SELECT COUNT(*) FROM shell_session").fetch_one(scene.storage.reader()).await.unwrap(),
        sqlx::query_scalar("SELECT COUNT(*) FROM audit_event WHERE event LIKE '%\"denied\"%'").fetch_one(scene.storage.reader()).await.unwrap(),
    );
    assert_eq!((rows, denied), (0, 1));
}

#[tokio::test]
async fn an_operator_who_does_not_read_a_flood_puts_nothing_off() {
    let scene = Scene::new().await;
    let (mut operator, Shell { send, mut requests }, id) = scene.open().await;
    let (is_blocked, blocked) = tokio::sync::oneshot::channel();
    let flood = tokio::spawn(flood(send, is_blocked));
    let absorbed_bytes = within(blocked).await.unwrap();
    // What lies between a flood and the eyes is what Ctrl-C has to wait for.
    assert!(absorbed_bytes < ABSORBED_MAX_BYTES, "{absorbed_bytes}");
    let taken_at = Instant::now();
    scene.take_permission_away().await;
    assert_eq!(requests.close().await, "permission revoked");
    assert!(taken_at.elapsed() < Duration::from_secs(1), "{:?}", taken_at.elapsed());
    // The host dies instead of saying that the processes are gone.
    flood.abort();
    check_ended(&mut operator, "permission revoked", 1).await;
    assert_eq!(scene.row(id).await.ended.as_deref(), Some("permission revoked"));
}

/// Sends output without end, and tells once nobody takes it any more, and how much was taken.
async fn flood(mut send: quinn::SendStream, is_blocked: tokio::sync::oneshot::Sender<usize>) {
    let piece = frame::encode(&ShellEvent::Output(vec![b'x'; SHELL_CHUNK_MAX_BYTES]).encode(), SHELL_FRAME_MAX_BYTES).unwrap();
    let (mut is_blocked, mut written) = (Some(is_blocked), 0);
    loop {
        match tokio::time::timeout(Duration::from_millis(500), send.write(&piece[written % piece.len()..])).await {
            Ok(count) => written += count.unwrap(),
            Err(_) => _ = is_blocked.take().map(|tell| tell.send(written)),
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
    let mut operator = scene.socket().await;
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

#[tokio::test]
async fn sessions_are_shown_ended_and_replayed_to_whom_the_host_is_in_reach() {
    let scene = Scene::new().await;
    let (mut operator, mut shell, id) = scene.open().await;
    shell.say(&ShellEvent::Output(b"hello".to_vec())).await;
    assert_eq!(shown(&mut operator).await, b"hello");
    for (account, status) in [(NEIGHBOUR, 404), (STRANGER, 404)] {
        assert_eq!(scene.call::<GetSession>(account, Some(id)).await.0, status);
        assert_eq!(scene.call::<TerminateSession>(account, Some(id)).await.0, status);
        assert_eq!(scene.call::<GetRecording>(account, Some(id)).await.0, status);
    }
    let page = |text: &str| serde_json::from_str::<Page<Session>>(text).unwrap().items;
    assert_eq!(page(&scene.call::<ListSessions>(NEIGHBOUR, None).await.2), []);
    let listed = page(&scene.call::<ListSessions>(OPERATOR, None).await.2);
    assert_eq!((listed[0].id, listed[0].host_path.as_str(), listed[0].email.as_str()), (id, "acme/prod/web/host-1", "a5@acme.example"));
    assert_eq!(scene.call::<GetSession>(OPERATOR, Some(Id::new(9, [9; 10]))).await.0, 404);

    assert_eq!(scene.call::<TerminateSession>(OPERATOR, Some(id)).await.0, 200);
    assert_eq!(shell.closed().await, "terminated by a5@acme.example");
    check_ended(&mut operator, "terminated by a5@acme.example", 1).await;
    assert_eq!(scene.call::<TerminateSession>(OPERATOR, Some(id)).await.0, 409);
    let (status, verdict, text) = scene.call::<GetRecording>(OPERATOR, Some(id)).await;
    assert_eq!((status, verdict.as_str(), text), (200, "whole", scene.cast(id)));
    let actions = scene.actions().await;
    let count = |action: &str| actions.iter().filter(|other| *other == action).count();
    assert_eq!([count("shell_session.terminate"), count("shell_session.recording.read")], [2, 2], "the operator's own, and the stranger's denied: {actions:?}");
}

#[tokio::test]
async fn a_recording_that_was_changed_is_called_altered_also_when_it_is_consistent_in_itself() {
    let scene = Scene::new().await;
    let (mut operator, mut shell, id) = scene.open().await;
    shell.say(&ShellEvent::Exited(Exit::Code(0))).await;
    check_ended(&mut operator, "exit(0)", 0).await;
    // Another recording of the same session, closed as well: only its hash is another than the one that was written down.
    let directory = scene.directory.path().join("recordings").join(place().organization().to_string());
    std::fs::remove_dir_all(&directory).unwrap();
    let header =
        loopback_core::shell::Header { size: WindowSize { columns: 1, rows: 1 }, timestamp_s: 0, term: String::new(), title: String::new(), command: None };
    let forged = scene.broker.recordings().begin(place().organization(), id, &header).await.unwrap();
    forged.close(&loopback_core::shell::EndReason::Exit(0)).await.unwrap();
    assert!(matches!(scene.verdict(id), Verdict::Whole { .. }));
    assert_eq!(scene.call::<GetRecording>(OPERATOR, Some(id)).await.1, "altered");
}
