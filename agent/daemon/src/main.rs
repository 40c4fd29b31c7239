//! `loopback-agent`: see [`loopback_agent::cli`].

use std::process::ExitCode;

fn main() -> ExitCode {
    loopback_agent::cli::main()
}
