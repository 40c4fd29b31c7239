//! `loopback-agent`: the command line, or – called by the agent itself – the entry into a shell session.

use std::process::ExitCode;

use loopback_agent::{cli, pty};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        // Before anything else: a session's set-up must not wait for a parser or a runtime.
        Some(first) if first == pty::SESSION_EXEC => pty::session_exec(arguments.collect()).into(),
        _ => cli::main(),
    }
}
