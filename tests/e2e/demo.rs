//! The demo proves the README's tour, and leaves nothing behind, however it ends and whenever.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use loopback_tests::lab::namespaces;
use loopback_tests::process::{Daemon, run};
use loopback_tests::program::program;
use loopback_tests::wait::wait_for;
use nix::sys::signal::Signal;

const TOUR_LIMIT: Duration = Duration::from_secs(150);
const STAGE_LIMIT: Duration = Duration::from_secs(60);
const CLEAN_LIMIT: Duration = Duration::from_secs(30);

#[test]
fn the_readmes_tour_is_true() -> Result<()> {
    let mut command = Command::new(program("demo")?);
    command.arg("--check");
    let told = run(command, "", TOUR_LIMIT)?.ok()?;
    ensure!(told.contains("the tour holds"), "{told}");
    Ok(())
}

#[test]
fn a_demo_that_is_interrupted_leaves_nothing_behind() -> Result<()> {
    for (stage, signal) in
        [("", Signal::SIGINT), ("the coordinator answers", Signal::SIGTERM), ("host-1 joined", Signal::SIGINT), ("Ctrl-C ends it", Signal::SIGINT)]
    {
        let log = tempfile::NamedTempFile::new()?;
        let mut demo = Daemon::start("demo", Command::new(program("demo")?), log.path())?;
        let own = format!("loopback-{}-", demo.pid());
        let directory = std::env::temp_dir().join(format!("loopback-{}", demo.pid()));
        wait_for(STAGE_LIMIT, format!("the demo to say {stage:?}"), || Ok(directory.exists() && demo.log().contains(stage)))?;
        let programs = programs_below(&directory);
        demo.signal(signal)?;
        demo.wait(CLEAN_LIMIT)?;
        ensure!(!namespaces().iter().any(|name| name.starts_with(&own)), "interrupted at {stage:?} it leaves namespaces");
        ensure!(!directory.exists(), "interrupted at {stage:?} it leaves files");
        ensure!(programs.iter().all(|pid| !Path::new(&format!("/proc/{pid}/exe")).exists()), "interrupted at {stage:?} it leaves programs");
    }
    Ok(())
}

/// The processes whose standard output is a file of the demo.
fn programs_below(directory: &Path) -> Vec<u32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str().and_then(|name| name.parse().ok()));
    pids.filter(|pid: &u32| fs::read_link(format!("/proc/{pid}/fd/1")).is_ok_and(|file| file.starts_with(directory))).collect()
}
