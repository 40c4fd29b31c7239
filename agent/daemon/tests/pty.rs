//! Shell sessions over real terminals: what an operator sees, how a session ends, and that nothing of it is left.

// The lints that spare tests know a module by this line.
#[cfg(test)]
#[path = "pty/operator.rs"]
mod operator;

use std::time::Duration;

use loopback_agent::pty::SessionError;
use loopback_protocol::shell::{Exit, ShellEvent, ShellRequest, WindowSize};
use sha2::{Digest as _, Sha256};

use operator::{Operator, flooded_bytes, marker, open_request, processes_with, resident_bytes, session_cgroups, terminals, wait_for};

#[tokio::test]
async fn a_login_shell_answers_what_is_typed() {
    let mut operator = Operator::open(None).await;
    operator.type_in("echo is:$((40+2)):$0\n").await;
    operator.sees("is:42:-").await;
    operator.type_in("exit\n").await;
    assert_eq!(operator.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_command_gives_its_exit_code_and_all_its_output() {
    let mut operator = Operator::open(Some("seq 1 20000; exit 7")).await;
    assert_eq!(operator.exit().await, Exit::Code(7));
    let screen = operator.screen();
    assert!(screen.starts_with("1\r\n2\r\n") && screen.ends_with("\r\n19999\r\n20000\r\n"), "{} bytes", screen.len());
}

#[tokio::test]
async fn a_shell_killed_by_a_signal_says_so_and_leaves_nothing() {
    let marker = marker();
    let mut operator = Operator::open(None).await;
    operator.type_in(&format!("sleep {marker} & kill -9 $$\n")).await;
    assert_eq!(operator.exit().await, Exit::Signal(9));
    assert_eq!(processes_with(&marker), Vec::<i32>::new());
}

#[tokio::test]
async fn programs_know_the_window_and_its_changes() {
    let mut operator = Operator::open(Some("stty size; read -r _; stty size")).await;
    operator.sees("24 80").await;
    operator.request(&ShellRequest::Resize(WindowSize { columns: 132, rows: 50 })).await;
    operator.type_in("\n").await;
    operator.sees("50 132").await;
    assert_eq!(operator.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn ctrl_c_interrupts_what_is_in_the_foreground_only() {
    let mut operator = Operator::open(None).await;
    operator.type_in("sleep 1000; echo after:$?\n").await;
    operator.runs("sleep 1000").await;
    operator.type_in("\x03").await;
    operator.type_in("echo still:$((1+1))\n").await;
    operator.sees("still:2").await;
    operator.type_in("exit 3\n").await;
    assert_eq!(operator.exit().await, Exit::Code(3));
}

#[tokio::test]
async fn a_signal_goes_to_the_foreground_program_and_spares_the_shell() {
    let mut operator = Operator::open(None).await;
    operator.type_in("sleep 1000; echo status:$?:\n").await;
    operator.runs("sleep 1000").await;
    operator.request(&ShellRequest::Signal(15)).await;
    operator.sees("status:143:").await;
    operator.close().await;
}

#[tokio::test]
async fn characters_survive_the_edges_of_chunks() {
    let mut operator = Operator::open(Some("for i in $(seq 1 9000); do printf 'a→ü𝄞'; done")).await;
    assert_eq!(operator.exit().await, Exit::Code(0));
    assert_eq!(operator.screen(), "a→ü𝄞".repeat(9000));
}

#[tokio::test]
async fn backspace_takes_back_a_whole_character() {
    let mut operator = Operator::open(Some("echo ready; read -r line; printf '[%s]' \"$line\"")).await;
    operator.sees("ready").await;
    operator.type_in("aü\x7fb\n").await;
    operator.sees("[ab]").await;
    assert_eq!(operator.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn a_flood_to_a_slow_reader_stays_small_and_ctrl_c_still_answers() {
    let mut operator = Operator::open(Some("yes flood")).await;
    operator.sees("flood").await;
    let before = resident_bytes();
    // While nobody reads, the program stands still instead of filling our memory.
    let mut written = 0;
    wait_for("yes to block", || std::mem::replace(&mut written, flooded_bytes(operator.pid())) == written).await;
    operator.discard(50_000_000).await;
    assert!(resident_bytes() < before + 4_000_000, "grew from {before} to {}", resident_bytes());
    operator.type_in("\x03").await;
    let (late, exit) = operator.discard_to_exit().await;
    assert_eq!(exit, Exit::Signal(2));
    assert!(late < 512 * 1024, "{late} bytes came after Ctrl-C");
}

#[tokio::test]
async fn input_nobody_reads_holds_up_neither_the_window_nor_the_end() {
    let mut operator = Operator::open(Some("stty raw -echo; trap 'stty size' WINCH; echo ready; while :; do sleep 0.1; done")).await;
    operator.sees("ready").await;
    for _ in 0..40 {
        operator.request(&ShellRequest::Input(vec![b'x'; 16 * 1024])).await;
    }
    operator.request(&ShellRequest::Resize(WindowSize { columns: 41, rows: 17 })).await;
    operator.sees("17 41").await;
    operator.close().await;
}

#[tokio::test]
async fn a_stream_stuffed_with_input_is_ended_by_cancelling() {
    let mut operator = Operator::open(Some("stty raw -echo; echo ready; sleep 1000")).await;
    operator.sees("ready").await;
    // Kernel, session and stream together hold less.
    let stuffed = tokio::time::timeout(Duration::from_secs(1), async {
        for _ in 0..200 {
            operator.request(&ShellRequest::Input(vec![b'x'; 16 * 1024])).await;
        }
    });
    assert!(stuffed.await.is_err(), "the session took it all");
    operator.cancel();
    let (events, result) = operator.end().await;
    assert!(result.is_ok() && matches!(events.last(), Some(ShellEvent::Exited(_))), "{result:?} {events:?}");
}

#[tokio::test]
async fn a_paste_larger_than_every_buffer_arrives_whole() {
    let mut operator = Operator::open(Some("stty raw -echo; echo ready; sleep 1; head -c 3000000 | sha256sum")).await;
    operator.sees("ready").await;
    let paste: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
    for piece in paste.chunks(16 * 1024) {
        operator.request(&ShellRequest::Input(piece.to_vec())).await;
    }
    assert_eq!(operator.exit().await, Exit::Code(0));
    assert!(operator.screen().contains(&hex::encode(Sha256::digest(&paste))), "{}", operator.screen());
}

#[tokio::test]
async fn daemons_of_a_session_end_with_it() {
    let marker = marker();
    let mut operator = Operator::open(None).await;
    operator.type_in(&format!("nohup setsid sleep {marker} >/dev/null 2>&1 & disown\n")).await;
    operator.type_in(&format!("(env -i setsid sleep {marker} &) ; (trap '' HUP; sleep {marker}) &\n")).await;
    wait_for("the daemons to run", || processes_with(&marker).len() >= 3).await;
    operator.type_in("exit\n").await;
    // With jobs left, some shells ask once.
    operator.type_in("exit\n").await;
    operator.exit().await;
    assert_eq!(processes_with(&marker), Vec::<i32>::new());
}

#[tokio::test]
async fn closing_cancelling_and_cutting_end_every_process() {
    for how in ["close", "cancel", "cut", "reset", "malformed", "second open"] {
        let marker = marker();
        let mut operator = Operator::open(None).await;
        operator.type_in(&format!("setsid nohup sleep {marker} >/dev/null 2>&1 &\n sleep {marker}\n")).await;
        wait_for("the programs to run", || processes_with(&marker).len() == 2).await;
        match how {
            "close" => operator.request(&ShellRequest::Close("time limit".into())).await,
            "cancel" => operator.cancel(),
            "cut" => operator.finish_input().await,
            "reset" => operator.hang_up(),
            "malformed" => operator.raw(&[0xff; 64]).await,
            _ => operator.request(&open_request(None)).await,
        }
        let (events, result) = operator.end().await;
        assert_eq!(processes_with(&marker), Vec::<i32>::new(), "{how}");
        let exited = matches!(events.last(), Some(ShellEvent::Exited(_)));
        match how {
            "close" | "cancel" | "cut" => assert!(result.is_ok() && exited, "{how}: {result:?} {events:?}"),
            "reset" => assert!(!exited, "{how}: {result:?}"),
            _ => assert!(matches!(result, Err(SessionError::Coordinator(_))), "{how}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn a_dropped_session_leaves_nothing_either() {
    let marker = marker();
    let mut operator = Operator::open(None).await;
    operator.type_in(&format!("setsid nohup sleep {marker} >/dev/null 2>&1 &\n sleep {marker}\n")).await;
    wait_for("the programs to run", || processes_with(&marker).len() == 2).await;
    operator.drop_session().await;
    wait_for("the programs to end", || processes_with(&marker).is_empty()).await;
}

#[tokio::test]
async fn a_shell_that_closes_its_terminal_is_waited_for() {
    let mut operator = Operator::open(Some("exec <&- >&- 2>&-; sleep 1; exit 5")).await;
    operator.type_in("into the void\n").await;
    operator.request(&ShellRequest::Signal(28)).await;
    operator.type_in("again\n").await;
    assert_eq!(operator.exit().await, Exit::Code(5));
}

#[tokio::test]
async fn the_environment_is_a_login_and_nothing_of_the_agent() {
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "the agent's side has something to leak");
    let mut operator = Operator::open(Some("env -0 | tr '\\0' '\\n'; umask; trap")).await;
    assert_eq!(operator.exit().await, Exit::Code(0));
    let screen = operator.screen();
    let names: Vec<&str> = screen.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    for name in ["HOME", "USER", "LOGNAME", "SHELL", "PATH", "LANG", "TERM", "LOOPBACK_SESSION_ID"] {
        assert!(names.contains(&name), "{name} is missing in {names:?}");
    }
    assert!(screen.contains("TERM=xterm-256color\r\n") && screen.contains("LANG=C.UTF-8\r\n") && screen.contains("0022\r\n"), "{screen}");
    for prefix in ["CARGO", "NEXTEST", "RUST", "LD_"] {
        assert!(!names.iter().any(|name| name.starts_with(prefix) && !name.ends_with("_HOME")), "{prefix} leaks: {names:?}");
    }
}

#[tokio::test]
async fn the_echo_is_reported_off_before_the_prompt_and_on_after_it() {
    let mut operator = Operator::open(Some("stty -echo; printf 'Password: '; read -r secret; stty echo; echo; echo got:${#secret}")).await;
    operator.sees("Password: ").await;
    assert_eq!(operator.echo(), [false], "the report is ahead of the prompt");
    operator.type_in("geheim\n").await;
    operator.sees("got:6").await;
    assert_eq!(operator.echo(), [false, true]);
    assert!(!operator.screen().contains("geheim"));
    assert_eq!(operator.exit().await, Exit::Code(0));
}

#[tokio::test]
async fn an_echo_that_goes_silently_is_reported_all_the_same() {
    let mut operator = Operator::open(Some("read -rs secret; echo got:${#secret}")).await;
    operator.waits_for(|operator| operator.echo() == [false]).await;
    operator.type_in("geheim\n").await;
    operator.sees("got:6").await;
    assert!(!operator.screen().contains("geheim"));
}

#[tokio::test]
async fn full_screen_programs_start_and_quit() {
    let sockets = tempfile::tempdir().unwrap();
    let tmux = format!("TMUX_TMPDIR={} tmux -f /dev/null new-session 'echo in''side; read -r _'", sockets.path().display());
    for (command, shows, quits, code) in [("vim -u NONE -N", "~", ":q!\r", 0), ("htop", "\x1b[?1049h", "q", 0), (tmux.as_str(), "inside", "\r", 0)] {
        let mut operator = Operator::open(Some(command)).await;
        operator.sees(shows).await;
        operator.type_in(quits).await;
        assert_eq!(operator.exit().await, Exit::Code(code), "{command}: {}", operator.screen());
    }
}

#[tokio::test]
async fn a_session_as_another_user_is_that_user_with_a_terminal_of_its_own() {
    let user = operator::TemporaryUser::create();
    let mut operator =
        Operator::open_as(&user.name, Some("id -un; id -G; test -O $(tty) && echo owns; touch $(tty) && echo writes; pwd; cat /etc/shadow")).await;
    assert_eq!(operator.exit().await, Exit::Code(1));
    let screen = operator.screen();
    let group = user.group();
    for line in [user.name.as_str(), group.as_str(), "owns", "writes", "/"] {
        assert!(screen.lines().any(|shown| shown == line), "{line} is missing in {screen}");
    }
    assert!(screen.contains("Permission denied"), "{screen}");
}

#[tokio::test]
async fn an_account_without_login_says_so_itself() {
    let mut operator = Operator::open_as("daemon", None).await;
    assert_eq!(operator.exit().await, Exit::Code(1));
    assert!(operator.screen().contains("not available"), "{}", operator.screen());
}

#[tokio::test]
async fn an_unknown_user_is_refused_with_its_name() {
    let (events, result) = Operator::open_as("no-such-user", None).await.end().await;
    assert!(result.is_ok());
    let [ShellEvent::Refused(reason)] = events.as_slice() else { panic!("{events:?}") };
    assert!(reason.contains("no user \"no-such-user\""), "{reason}");
}

#[tokio::test]
async fn a_stream_that_does_not_begin_with_open_is_refused() {
    let (_, result) = Operator::start(&ShellRequest::Input(b"ls\n".to_vec())).await.end().await;
    assert!(matches!(result, Err(SessionError::Coordinator(_))), "{result:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_sessions_come_and_go_and_leave_nothing() {
    let marker = marker();
    let (before, cgroups_before) = (terminals(), session_cgroups());
    let mut operators = Vec::new();
    // Not root, whose profile may do anything.
    let user = operator::TemporaryUser::create();
    for _ in 0..100 {
        operators.push(Operator::open_as(&user.name, Some(&format!("exec sleep {marker}"))).await);
    }
    wait_for("a hundred programs", || processes_with(&marker).len() >= 100).await;
    assert!(terminals() >= before + 100);
    assert!(session_cgroups() >= cgroups_before + 100, "this test needs a cgroup2 file system it may write to");
    for operator in &mut operators {
        operator.request(&ShellRequest::Close("done".into())).await;
    }
    for operator in operators {
        let (events, result) = operator.end().await;
        assert!(result.is_ok() && matches!(events.last(), Some(ShellEvent::Exited(_))), "{result:?}");
    }
    assert_eq!(processes_with(&marker), Vec::<i32>::new());
    wait_for("every terminal and control group to go", || terminals() <= before && session_cgroups() <= cgroups_before).await;
}
