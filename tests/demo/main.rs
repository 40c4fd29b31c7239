//! `cargo xtask demo`: a coordinator, an organization and three hosts in network namespaces, with firewalls in force, to try things on.
//!
//! With `--check` it walks the README's first tour by itself and proves every step. It leaves nothing behind, however it ends.

mod scene;
mod tour;

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use clap::Parser;
use loopback_tests::fleet::Fleet;
use loopback_tests::lab::{Lab, namespaces};
use loopback_tests::wait::{interrupted, wait_for, watch_interrupts};

/// Until somebody presses Ctrl-C; a demo is forgotten sooner than this.
const DEMO_LIMIT: Duration = Duration::from_secs(7 * 24 * 3600);

/// A coordinator and three hosts to try things on.
#[derive(Parser)]
struct Arguments {
    /// Walks the README's first tour by itself, proves every step, and exits.
    #[arg(long)]
    check: bool,
    /// Leaves the logs and state files when it ends.
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match demo(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) if interrupted() => {
            say(format!("interrupted; {}", remains(&arguments)));
            ExitCode::from(130)
        }
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(arguments: &Arguments) -> Result<()> {
    watch_interrupts()?;
    let started = Instant::now();
    let mut lab = Lab::new()?;
    if arguments.keep {
        lab.keep_files();
        say(format!("logs and state stay in {}", lab.directory().display()));
    }
    let mut fleet = scene::set(lab)?;
    say(format!("everything runs after {:.1} s", started.elapsed().as_secs_f32()));
    if arguments.check {
        check(fleet, arguments.keep)
    } else {
        scene::tell(&fleet, remains(arguments));
        let mut dead = BTreeSet::new();
        let ended = wait_for(DEMO_LIMIT, "Ctrl-C", || {
            tell_of_dead(&mut fleet, &mut dead);
            Ok(false)
        });
        drop(fleet);
        if interrupted() {
            say(format!("\nended; {}", remains(arguments)));
            return Ok(());
        }
        ended
    }
}

/// Killing an agent is a good thing to try: the demo says so once, and goes on.
fn tell_of_dead(fleet: &mut Fleet, known: &mut BTreeSet<String>) {
    for host in &mut fleet.hosts {
        let name = host.machine.name.clone();
        if host.check_alive().is_err() && known.insert(name.clone()) {
            say(format!("\nthe agent of {name} has ended; what it did is in {}", host.machine.directory.join("agent.log").display()));
            say(format!("the firewall stays in its kernel; start it again: {name}-agent run"));
        }
    }
}

/// On standard output. Whoever closed the terminal wants an end, not a panic in the middle of cleaning up.
fn say(text: impl Display) {
    let _gone = writeln!(io::stdout(), "{text}");
}

fn remains(arguments: &Arguments) -> &'static str {
    if arguments.keep { "only the logs and state files are left" } else { "nothing is left behind" }
}

fn check(mut fleet: Fleet, keeps_files: bool) -> Result<()> {
    let steps = tour::walk(&mut fleet)?;
    let directory = fleet.lab.directory().to_owned();
    fleet.end()?;
    let own = format!("loopback-{}-", std::process::id());
    ensure!(!namespaces().iter().any(|name| name.starts_with(&own)), "a namespace is left behind");
    ensure!(keeps_files || !directory.exists(), "{} is left behind", directory.display());
    say(format!("the tour holds: {steps} steps, and nothing is left behind"));
    Ok(())
}
