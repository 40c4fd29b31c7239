//! Walks the README's first tour: every command of it, in its order, each held against what it must show and against the hosts' kernels. A command that is not known here fails the walk.

use std::ffi::OsString;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use loopback_tests::fleet::Fleet;
use loopback_tests::process::run;
use loopback_tests::program::repository_file;
use loopback_tests::terminal::Terminal;

use crate::say;
use crate::scene::commands;

const SECTION: &str = "## A first tour";
const STEP_LIMIT: Duration = Duration::from_secs(60);
const SHOW_LIMIT: Duration = Duration::from_secs(15);

/// A block of the tour: how it begins, and what proves it.
struct Step {
    begins: &'static str,
    proof: Proof,
}

enum Proof {
    /// It ends well and shows all of these.
    Shows(&'static [&'static str]),
    /// It is a shell on host-1.
    IsAShell,
}

const STEPS: &[Step] = &[
    Step { begins: "loopback whoami", proof: Proof::Shows(&["owner@example.com", "host-1", "host-2", "host-3", "online"]) },
    Step { begins: "host-2 curl", proof: Proof::Shows(&["hello from host-1", "host-3 is dropped", "and so is everyone at 9090"]) },
    Step { begins: "loopback firewall status", proof: Proof::Shows(&["applied", "guardrail", "baseline", "default"]) },
    Step { begins: "loopback firewall rules", proof: Proof::Shows(&["hello from host-1"]) },
    Step { begins: "loopback metrics", proof: Proof::Shows(&["cpu", "memory", "uptime", "VALUE"]) },
    Step { begins: "loopback shell acme/prod/web/host-1 --", proof: Proof::Shows(&["host-1", "it left with 7"]) },
    Step { begins: "loopback shell acme/prod/web/host-1", proof: Proof::IsAShell },
    Step { begins: "session=", proof: Proof::Shows(&["forty-two is 42"]) },
    Step { begins: "loopback audit list", proof: Proof::Shows(&["firewall.rules.set", "shell_session", "whole"]) },
];

/// Walks it, and gives the number of steps.
pub fn walk(fleet: &mut Fleet) -> Result<usize> {
    let readme = fs::read_to_string(repository_file("README.md")?)?;
    let blocks = blocks(&readme);
    ensure!(blocks.len() == STEPS.len(), "the README's tour has {} blocks of commands, and {} are known here", blocks.len(), STEPS.len());
    for (block, step) in blocks.iter().zip(STEPS) {
        ensure!(block.starts_with(step.begins), "the README's tour says {block:?} where {:?} is known here", step.begins);
        say(format!("$ {}", block.trim_end().replace('\n', "\n  ")));
        take(fleet, block, &step.proof)?;
    }
    prove_in_kernel(fleet)?;
    Ok(blocks.len())
}

/// The fenced `sh` blocks of the tour.
fn blocks(readme: &str) -> Vec<String> {
    let section = readme.split_once(SECTION).map_or("", |(_, after)| after);
    let section = section.split("\n## ").next().unwrap_or_default();
    section.split("```sh\n").skip(1).filter_map(|block| block.split_once("```")).map(|(block, _)| block.to_owned()).collect()
}

fn take(fleet: &Fleet, block: &str, proof: &Proof) -> Result<()> {
    let command = shell(fleet, block)?;
    match proof {
        Proof::Shows(texts) => {
            let outcome = run(command, "", STEP_LIMIT)?;
            let shown = format!("{}{}", outcome.stdout, outcome.stderr);
            print!("{shown}");
            outcome.ok()?;
            for text in *texts {
                ensure!(shown.contains(text), "it does not show {text:?}");
            }
        }
        Proof::IsAShell => use_shell(&command, &path(fleet)?)?,
    }
    Ok(())
}

fn shell(fleet: &Fleet, block: &str) -> Result<Command> {
    let mut command = Command::new("sh");
    command.args(["-euc", block]).env("PATH", path(fleet)?);
    Ok(command)
}

/// The demo's commands first, as its user is told to set it.
fn path(fleet: &Fleet) -> Result<OsString> {
    let inherited = std::env::var_os("PATH").unwrap_or_default();
    std::env::join_paths(std::iter::once(commands(fleet)).chain(std::env::split_paths(&inherited))).context("PATH cannot hold the demo's commands")
}

fn use_shell(command: &Command, path: &OsString) -> Result<()> {
    let mut terminal = Terminal::start(command, &[("PATH", path)])?;
    // What is typed differs from what is shown, so that an echo proves nothing.
    terminal.send("echo forty-two is $((6 * 7)) on $(hostname)\r")?;
    terminal.expect("forty-two is 42 on host-1", SHOW_LIMIT)?;
    terminal.resize(132, 43)?;
    terminal.send("stty size\r")?;
    terminal.expect("43 132", SHOW_LIMIT)?;
    terminal.send("exit 3\r")?;
    let code = terminal.wait(SHOW_LIMIT)?;
    ensure!(code == 3, "the shell was left with 3 and ended with {code}");
    Ok(())
}

/// What the tour changed is in the kernel of every host, and nowhere else.
fn prove_in_kernel(fleet: &Fleet) -> Result<()> {
    for host in &fleet.hosts {
        let rules = host.machine.run(&["nft", "list", "table", "inet", "loopback"])?.ok()?;
        ensure!(rules.contains("8080") && rules.contains("9090"), "{} does not enforce what was meant:\n{rules}", host.machine.name);
        let tables = host.machine.run(&["nft", "list", "tables"])?.ok()?;
        ensure!(tables.trim() == "table inet loopback", "{} has other tables: {tables}", host.machine.name);
    }
    let hub = fleet.lab.hub().run(&["nft", "list", "tables"])?.ok()?;
    ensure!(hub.trim().is_empty(), "the hub has tables: {hub}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{STEPS, blocks};

    #[test]
    fn the_readme_tells_the_tour_that_is_walked() {
        let readme = std::fs::read_to_string(loopback_tests::program::repository_file("README.md").unwrap()).unwrap();
        let blocks = blocks(&readme);
        assert_eq!(blocks.len(), STEPS.len());
        for (block, step) in blocks.iter().zip(STEPS) {
            assert!(block.starts_with(step.begins), "{block}");
        }
    }
}
