//! `loopback-coordinator`.

use clap::Parser as _;
use loopback_coordinator::cli::Cli;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    Cli::parse().run().await
}
