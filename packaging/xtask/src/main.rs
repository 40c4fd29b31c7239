//! The project's chores: `cargo xtask setup|demo|test|check|bench`. It depends on nothing of ours, so that it builds in seconds and can judge what does not build.

mod check;
mod program;
mod setup;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use program::Program;

/// The project's chores.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Installs what the other chores need and this machine lacks, saying what.
    Setup,
    /// Starts a coordinator and three hosts in network namespaces, and tells what to try; ends with Ctrl-C and leaves nothing behind.
    Demo {
        /// Runs the README's first tour by itself, proves every step, and exits.
        #[arg(long)]
        check: bool,
        /// Leaves the logs and state files when it ends.
        #[arg(long)]
        keep: bool,
    },
    /// Everything that must pass: format, lints, every test, structure.
    Test,
    /// Only the structure: what may depend on what, and how files are named and begin.
    Check,
    /// Runs a bench and prints its rows; without a name, lists them.
    Bench {
        /// Which.
        name: Option<String>,
        /// One JSON object per row.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().chore) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> Result<()> {
    program::outlive_interrupts()?;
    match chore {
        Chore::Setup => setup::setup(),
        Chore::Demo { check, keep } => demo(check, keep),
        Chore::Test => test::test(),
        Chore::Check => check::check(),
        Chore::Bench { name, json } => bench(name, json),
    }
}

fn demo(check: bool, keep: bool) -> Result<()> {
    setup::setup()?;
    println!("building the programs, unoptimised; the first time takes some minutes");
    Program::cargo(&["build", "--workspace", "--bins"]).run()?;
    let mut demo = Program::cargo(&["run", "--quiet", "--package", "loopback-tests", "--bin", "demo", "--"]);
    demo.flag("--check", check).flag("--keep", keep);
    demo.replace()
}

/// The benches know their own names: without one, or with a wrong one, the program lists them.
fn bench(name: Option<String>, json: bool) -> Result<()> {
    setup::setup()?;
    eprintln!("building the programs, optimised; the first time takes some minutes");
    Program::cargo(&["build", "--quiet", "--profile", "bench", "--workspace", "--bins"]).run()?;
    let mut bench = Program::cargo(&["run", "--quiet", "--profile", "bench", "--package", "loopback-tests", "--bin", "bench", "--"]);
    if let Some(name) = name {
        bench.argument(&name);
    }
    bench.flag("--json", json);
    bench.replace()
}
