//! Where the programs under test are: built by this workspace, beside the test's own executable. It builds nothing.

use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};

/// The path of `loopback`, `loopback-agent`, `loopback-coordinator` or `probe`.
///
/// # Errors
/// It has not been built.
pub fn program(name: &str) -> Result<PathBuf> {
    let own = std::env::current_exe().context("cannot tell where this executable is")?;
    // Tests run from `target/<profile>/deps`, binaries from `target/<profile>`.
    let found = own.ancestors().skip(1).take(2).map(|directory| directory.join(name)).find(|candidate| candidate.is_file());
    found.with_context(|| format!("{name} is not beside {}: run `cargo build --workspace` first", own.display()))
}

/// A file of the repository.
///
/// # Errors
/// There is no such file.
pub fn repository_file(path: &str) -> Result<PathBuf> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    ensure!(file.is_file(), "{} is missing", file.display());
    Ok(file)
}
