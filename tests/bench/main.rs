//! The benches: real coordinator, real links, each figure beside its goal. `cargo xtask bench NAME` runs one; nothing here is a test.

mod link;
mod row;
mod swarm;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures this build; every row stands beside its goal")]
struct Arguments {
    #[command(subcommand)]
    bench: Bench,
    /// One JSON object for each row
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum Bench {
    /// The coordinator under simulated agents: memory of an idle one, CPU of a report, time of a push
    Link {
        /// Agents in each round
        #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000])]
        agents: Vec<usize>,
    },
    /// Simulates agents; `link` starts it
    #[command(hide = true)]
    Swarm {
        /// HOST:PORT of the coordinator
        #[arg(long)]
        address: String,
        /// The coordinator's CA certificate
        #[arg(long)]
        ca: PathBuf,
        /// How many
        #[arg(long)]
        agents: usize,
    },
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    match arguments.bench {
        Bench::Link { agents } => link::run(&agents, arguments.json),
        Bench::Swarm { address, ca, agents } => swarm::run(&address, &ca, agents),
    }
}
