//! The agent's program.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next() {
        Some(subcommand) if subcommand == loopback_agent::pty::SESSION_EXEC => loopback_agent::pty::session_exec(arguments.collect()).into(),
        _ => ExitCode::from(2),
    }
}
