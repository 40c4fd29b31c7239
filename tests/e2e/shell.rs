//! A shell on a host as if one sat there; recorded, and ended with all that runs in it.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use loopback_tests::fleet::{Fleet, ORGANIZATION, WORKSPACE, path};
use loopback_tests::terminal::Terminal;
use loopback_tests::wait::wait_for;

use crate::sessions::{newest, runaways, running, text};

const WITHIN: Duration = Duration::from_secs(15);
/// What the issue promises after a permission is taken away.
const REVOKED_LIMIT: Duration = Duration::from_secs(1);

#[test]
fn a_shell_has_a_prompt_a_size_signals_and_an_exit_code() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let host = path(&fleet.machine(0)?);
    let mut terminal = open(&fleet, &host)?;
    terminal.send("shopt -q login_shell && tty && echo $LOOPBACK_SESSION_ID\r")?;
    terminal.expect("/dev/pts/", WITHIN)?;
    terminal.expect("ses_", WITHIN)?;
    for (columns, rows) in [(132, 43), (80, 24), (211, 60)] {
        terminal.resize(columns, rows)?;
        // The shell learns of it by SIGWINCH, a moment later.
        terminal.send(&format!("until stty size | grep -q '{rows} {columns}'; do :; done; echo si\"\"ze is $(stty size)\r"))?;
        terminal.expect(&format!("size is {rows} {columns}"), WITHIN)?;
    }
    let mark = mark(0);
    terminal.send(&format!("sleep {mark}\r"))?;
    wait_for(WITHIN, "the sleep to run", || Ok(running(&fleet.machine(0)?, &mark)? > 0))?;
    terminal.send("\x03")?;
    terminal.send("echo un\"\"harmed\r")?;
    terminal.expect("unharmed", WITHIN)?;
    terminal.send("exit 42\r")?;
    ensure!(terminal.wait(WITHIN)? == 42, "the exit code is another");
    let session = newest(&fleet)?;
    ensure!(text(&session, "state") == "ended" && text(&session, "ended") == "exit(42)", "{session}");
    fleet.end()
}

#[test]
fn full_screen_programs_draw_and_are_left() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let host = path(&fleet.machine(0)?);
    let mut terminal = open(&fleet, &host)?;
    for (start, drawn, leave) in
        [("vim -u NONE\r", "VIM - Vi IMproved", ":q\r"), ("htop\r", "Load average", "q"), ("tmux -L e2e -f /dev/null\r", "[0]", "exit\r")]
    {
        terminal.send(start)?;
        // All of them switch to the alternate screen first.
        terminal.expect("\x1b[?1049h", WITHIN)?;
        terminal.expect(drawn, WITHIN)?;
        terminal.send(leave)?;
        terminal.expect("\x1b[?1049l", WITHIN)?;
        terminal.send("echo ba\"\"ck\r")?;
        terminal.expect("back", WITHIN)?;
    }
    terminal.send("exit\r")?;
    ensure!(terminal.wait(WITHIN)? == 0, "the exit code is another");
    fleet.end()
}

#[test]
fn a_command_runs_without_a_prompt_and_gives_its_exit_code() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let host = path(&fleet.machine(0)?);
    let outcome = fleet.owner.run(&["shell", &host, "--", "hostname; echo $((6 * 7)); exit 7"])?;
    ensure!(outcome.code == 7, "{outcome:?}");
    ensure!(outcome.stdout.contains("host-1") && outcome.stdout.contains("42"), "{outcome:?}");
    ensure!(fleet.owner.run(&["shell", &host, "--", "kill -9 $$"])?.code == 137, "a signal is 128 and its number");
    fleet.owner.run(&["shell", "acme/prod/web/nobody", "--", "true"])?.refused(1)?;
    fleet.end()
}

#[test]
fn a_session_ends_at_its_time_limit_with_everything_in_it() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let machine = fleet.machine(0)?;
    let mark = mark(1);
    let mut terminal = fleet.owner.terminal(&["shell", &path(&machine), "--max", "3s"])?;
    terminal.send(&format!("{}\r", runaways(&mark)))?;
    wait_for(WITHIN, "the runaways", || Ok(running(&machine, &mark)? >= 4))?;
    ensure!(terminal.wait(WITHIN)? != 0, "a session that was ended did not end well");
    gone(&fleet, &mark)?;
    ensure!(text(&newest(&fleet)?, "ended") == "time limit", "{}", newest(&fleet)?);
    fleet.end()
}

#[test]
fn a_terminated_session_ends_with_everything_in_it() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let machine = fleet.machine(0)?;
    let mark = mark(2);
    let mut terminal = open(&fleet, &path(&machine))?;
    terminal.send(&format!("{}\r", runaways(&mark)))?;
    wait_for(WITHIN, "the runaways", || Ok(running(&machine, &mark)? >= 4))?;
    let session = newest(&fleet)?;
    ensure!(text(&session, "state") == "active", "{session}");
    fleet.owner.ok(&["sessions", "terminate", ORGANIZATION, text(&session, "id")])?;
    ensure!(terminal.wait(WITHIN)? != 0, "a session that was ended did not end well");
    gone(&fleet, &mark)?;
    ensure!(text(&newest(&fleet)?, "ended").starts_with("terminated by"), "{}", newest(&fleet)?);
    ensure!(fleet.owner.items(&["sessions", "list", ORGANIZATION, "--open"])?.is_empty(), "it is still open");
    fleet.end()
}

#[test]
fn a_session_ends_within_a_second_of_its_permission() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let machine = fleet.machine(0)?;
    let mark = mark(3);
    let operator = fleet.add_operator("bob", "operator", WORKSPACE)?;
    let mut terminal = operator.terminal(&["shell", &path(&machine)])?;
    terminal.send(&format!("{}\r", runaways(&mark)))?;
    wait_for(WITHIN, "the runaways", || Ok(running(&machine, &mark)? >= 4))?;

    let bindings = fleet.owner.items(&["binding", "list", ORGANIZATION])?;
    let binding = bindings.iter().find(|binding| text(binding, "email") == "bob@example.com").map(|binding| text(binding, "id")).unwrap_or_default();
    fleet.owner.ok(&["binding", "delete", ORGANIZATION, binding])?;
    let taken = Instant::now();
    terminal.wait(REVOKED_LIMIT)?;
    wait_for(REVOKED_LIMIT.saturating_sub(taken.elapsed()), "every process of the session to go", || Ok(running(&machine, &mark)? == 0))?;
    ensure!(text(&newest(&fleet)?, "ended") == "permission revoked", "{}", newest(&fleet)?);
    operator.run(&["shell", &path(&machine), "--", "true"])?.refused(1)?;
    fleet.end()
}

#[test]
fn a_recording_shows_what_was_shown_and_not_what_was_typed_blind() -> Result<()> {
    let fleet = Fleet::start(1)?;
    let machine = fleet.machine(0)?;
    let mut terminal = open(&fleet, &path(&machine))?;
    terminal.send("stty -echo; echo bli\"\"nd; read -r password; stty echo; echo it has ${#password} letters\r")?;
    terminal.expect("blind", WITHIN)?;
    terminal.send("s3cr3t-b1rd\r")?;
    terminal.expect("it has 11 letters", WITHIN)?;
    terminal.send("exit\r")?;
    terminal.wait(WITHIN)?;

    let session = newest(&fleet)?;
    let cast = fleet.owner.ok(&["recordings", "show", ORGANIZATION, text(&session, "id")])?;
    ensure!(cast.contains("it has 11 letters"), "the recording lacks the output: {cast}");
    ensure!(!cast.contains("s3cr3t"), "the recording holds what was typed blind");
    let played = fleet.owner.ok(&["recordings", "play", ORGANIZATION, text(&session, "id"), "--speed", "100"])?;
    ensure!(played.contains("it has 11 letters"), "{played}");
    let file = machine.directory.join("session.cast");
    fs::write(&file, &cast)?;
    // It wants a terminal, if only to ask for its size.
    let played = machine.run(&["script", "-qec", &format!("asciinema cat {}", file.display()), "/dev/null"])?.ok()?;
    ensure!(played.contains("it has 11 letters"), "asciinema shows something else: {played}");
    fleet.end()
}

fn open(fleet: &Fleet, host: &str) -> Result<Terminal> {
    let mut terminal = fleet.owner.terminal(&["shell", host])?;
    terminal.send("echo re\"\"ady\r")?;
    terminal.expect("ready", WITHIN)?;
    Ok(terminal)
}

fn gone(fleet: &Fleet, mark: &str) -> Result<()> {
    wait_for(Duration::from_secs(3), "every process of the session to go", || Ok(running(&fleet.machine(0)?, mark)? == 0))
}

/// A number of seconds to sleep that nobody else sleeps.
fn mark(test: u32) -> String {
    format!("{}", 1_000_000 + test * 10_000_000 + std::process::id() % 1_000_000)
}
