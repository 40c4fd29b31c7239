//! `loopback-coordinator`.

use std::process::ExitCode;

use clap::Parser as _;
use loopback_coordinator::cli::Cli;

#[tokio::main]
async fn main() -> ExitCode {
    match Cli::parse().run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("loopback-coordinator: {error}");
            ExitCode::FAILURE
        }
    }
}
