//! The operator's command line: shows what the coordinator says, and asks it for what the operator wants.
//!
//! It decides nothing: every right, limit and verdict is the coordinator's. It talks HTTPS to one coordinator, trusts only the CA it was shown to
//! trust, keeps its credential in a file nobody else can read, and never takes a secret from an argument.

mod arguments;
mod attach;
mod client;
mod commands;
mod credential;
mod failure;
mod firewall_rules;
mod limits;
mod listing;
mod output;
mod player;
mod profile;
mod question;
mod quote;
mod scope;
mod sparkline;
mod table;
mod tls;
mod when;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;

use crate::arguments::Cli;
use crate::failure::Failure;
use crate::output::note;

/// Runs the command of this process' arguments and tells its exit code: 0 done, 1 refused or failed, 2 usage, 3 cannot reach the coordinator; a
/// shell's own after `shell`.
#[must_use]
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if error.kind() == ErrorKind::MissingSubcommand => return help(),
        Err(error) => error.exit(),
    };
    let verbose = cli.globals.verbose;
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::failed(format!("cannot start: {error}")).report(verbose),
    };
    let code = match runtime.block_on(commands::run(cli)) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => failure.report(verbose),
    };
    // A reader of our output that stalled must not hold the process.
    runtime.shutdown_background();
    code
}

/// `loopback host` asks what there is to say. By itself clap gives its help only as long as no option is set by the environment.
fn help() -> ExitCode {
    if let Err(help) = Cli::try_parse_from(std::env::args_os().chain(["--help".into()])) {
        note(help.to_string().trim_end());
    }
    ExitCode::from(2)
}
