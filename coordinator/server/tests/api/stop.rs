//! How the coordinator stops: shells end first, while their hosts can still be told.

use loopback_api::session::ServerMessage;
use loopback_coordinator::storage::Storage;
use loopback_protocol::shell::{Exit, ShellEvent, ShellRequest};

use crate::harness::World;
use crate::machine::{Ended, Machine};
use crate::operator::Operator;

#[tokio::test]
async fn a_stop_ends_shells_on_their_hosts_and_writes_it_down_before_the_links_close() {
    let world = World::start().await;
    let machine = Machine::joined(&world, "web-1").await;
    let link = machine.link().await;
    let mut operator = Operator::ask(&world, "web-1").await;
    let mut shell = link.shell().await;
    let ShellRequest::Open(open) = shell.hear().await else { panic!("no opening") };
    shell.say(&ShellEvent::Opened(1)).await;
    assert_eq!(operator.hear().await, ServerMessage::Opened { session: open.session });

    let World { coordinator, directory, .. } = world;
    let host = async {
        assert_eq!(shell.hear().await, ShellRequest::Close("coordinator stopped".into()));
        assert_eq!(link.connection.close_reason(), None);
        shell.say(&ShellEvent::Output(b"the last words".to_vec())).await;
        shell.say(&ShellEvent::Exited(Exit::Signal(1))).await;
        assert_eq!(operator.hear().await, ServerMessage::Ended { reason: "coordinator stopped".into(), exit_code: 1 });
        assert_eq!(link.ended().await, Ended::Closed(0));
    };
    let (stopped, ()) = tokio::join!(coordinator.shutdown(), host);
    stopped.unwrap();

    let storage = Storage::open(directory.path()).await.unwrap();
    let sql = "SELECT ended, recording FROM shell_session WHERE state = 'ended'";
    let (ended, recording): (String, String) = sqlx::query_as(sql).fetch_one(storage.reader()).await.unwrap();
    assert_eq!((ended.as_str(), recording.len()), ("coordinator stopped", 64));
    let cast = directory.path().join("recordings");
    let casts: Vec<_> = walk(&cast).into_iter().filter(|path| path.extension().is_some_and(|extension| extension == "cast")).collect();
    assert!(std::fs::read_to_string(&casts[0]).unwrap().contains("the last words"));
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}
