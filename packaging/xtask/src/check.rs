//! The structure of the repository: the invariants that no compiler holds. It reads tracked files and the dependency graph, and changes nothing.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::program::{Program, root};

/// Crates without clock, randomness, IO, async and SQL; their `clippy.toml` bans the standard library's.
const CORE_CRATES: &[&str] = &["loopback-agent-core", "loopback-core"];
/// What a core crate depends on neither itself nor through others.
const BANNED_IN_CORE: &[&str] = &["axum", "hyper", "mio", "quinn", "rand", "reqwest", "rustls", "socket2", "sqlx", "tokio"];
/// Named in no source file of a core crate outside its tests.
const BANNED_WORDS_IN_CORE: &[&str] =
    &["async fn", "std::env", "std::fs", "std::net::Tcp", "std::net::Udp", "std::process", "std::thread", "std::time::Instant", "std::time::SystemTime"];
/// The repository's top level. Folder names carry the architecture.
const TOP_LEVEL: &[&str] = &[
    ".cargo",
    ".ci",
    ".config",
    ".gitignore",
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "agent",
    "clippy.toml",
    "coordinator",
    "deny.toml",
    "packaging",
    "protocol",
    "rust-toolchain.toml",
    "rustfmt.toml",
    "tests",
];
/// Names that say nothing of what is in the file.
const NAMELESS: &[&str] = &["common", "helper", "helpers", "manager", "misc", "mod", "util", "utils"];
/// In no source file: a lint silenced for good, a test that does not run, a queue without a bound. Written in two so that this file does not hold them.
const BANNED_TEXTS: &[&str] = &[
    concat!("#[", "allow("),
    concat!("#![", "allow("),
    concat!("#[", "ignore"),
    concat!("unbounded", "_channel"),
    concat!("unbounded", "()"),
    concat!("mpsc::", "channel()"),
];

/// Checks all of it.
pub fn check() -> Result<()> {
    println!("── structure");
    let mut faults = Vec::new();
    let files = Program::new("git", &["ls-files"]).read()?;
    let files: Vec<&str> = files.lines().filter(|file| root().join(file).exists()).collect();
    faults.extend(files.iter().filter_map(|file| misplaced(file)));
    for file in files.iter().filter(|file| file.ends_with(".rs")) {
        let text = fs::read_to_string(root().join(file)).with_context(|| format!("cannot read {file}"))?;
        faults.extend(nameless(file));
        faults.extend(source_faults(file, &text));
        if file.starts_with("agent/core/src") || file.starts_with("coordinator/core/src") {
            faults.extend(core_source_faults(file, &text));
        }
    }
    for core in CORE_CRATES {
        let tree = Program::cargo(&["tree", "--package", core, "--edges", "normal", "--prefix", "none", "--format", "{p}"]).read()?;
        faults.extend(core_faults(core, &tree));
    }
    finish(faults)
}

/// Checks that no lab outlived the process that made it.
pub fn nothing_left_behind() -> Result<()> {
    let namespaces = fs::read_dir("/run/netns").into_iter().flatten().flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let left = namespaces.filter(|name| is_left(name, |pid| Path::new(&format!("/proc/{pid}")).exists()));
    finish(left.map(|name| format!("the network namespace {name} was left behind; `ip netns del {name}` removes it")).collect())
}

fn finish(faults: Vec<String>) -> Result<()> {
    for fault in &faults {
        eprintln!("{fault}");
    }
    ensure!(faults.is_empty(), "{} faults in the structure", faults.len());
    Ok(())
}

fn misplaced(file: &str) -> Option<String> {
    let top = file.split('/').next().unwrap_or_default();
    (!TOP_LEVEL.contains(&top)).then(|| format!("{file}: {top} does not belong at the top level"))
}

fn nameless(file: &str) -> Option<String> {
    let stem = Path::new(file).file_stem()?.to_str()?;
    NAMELESS.contains(&stem).then(|| format!("{file}: a file is named after what is in it"))
}

fn source_faults(file: &str, text: &str) -> Vec<String> {
    let mut faults: Vec<String> = BANNED_TEXTS.iter().filter(|banned| text.contains(**banned)).map(|banned| format!("{file}: holds {banned}")).collect();
    if !text.starts_with("//!") {
        faults.push(format!("{file}: begins without //!, which says what it does and what it refuses to do"));
    }
    faults
}

fn core_source_faults(file: &str, text: &str) -> Vec<String> {
    let before_tests = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let named = BANNED_WORDS_IN_CORE.iter().filter(|word| before_tests.contains(**word));
    named.map(|word| format!("{file}: names {word}: a core crate has no clock, randomness, IO, async or SQL")).collect()
}

fn core_faults(core: &str, tree: &str) -> Vec<String> {
    let names = tree.lines().filter_map(|line| line.split_whitespace().next());
    let mut banned: Vec<&str> = names.filter(|name| BANNED_IN_CORE.contains(name)).collect();
    banned.sort_unstable();
    banned.dedup();
    banned.iter().map(|name| format!("{core} depends on {name}: a core crate has no clock, randomness, IO, async or SQL")).collect()
}

/// A lab's namespace carries the pid of its process.
fn is_left(namespace: &str, alive: impl Fn(u32) -> bool) -> bool {
    let Some(rest) = namespace.strip_prefix("loopback-") else { return false };
    let pids: Vec<u32> = rest.split('-').filter_map(|part| part.parse().ok()).collect();
    !pids.into_iter().any(alive)
}

#[cfg(test)]
mod tests {
    use super::{TOP_LEVEL, check, core_faults, core_source_faults, is_left, misplaced, nameless, source_faults};

    #[test]
    fn the_repository_has_its_structure() {
        check().unwrap();
    }

    #[test]
    fn faults_are_found() {
        assert!(TOP_LEVEL.is_sorted());
        assert!(misplaced("scripts/run.sh").is_some());
        assert!(misplaced("agent/core/src/lib.rs").is_none());
        assert!(nameless("agent/core/src/utils.rs").is_some());
        assert!(nameless("agent/core/src/link/mod.rs").is_some());
        assert_eq!(source_faults("a.rs", "//! Fine.\nfn a() {}\n"), Vec::<String>::new());
        assert_eq!(source_faults("a.rs", "fn a() {}\n").len(), 1);
        assert_eq!(core_source_faults("a.rs", "//! Fine.\nuse std::fs::File;\n").len(), 1);
        assert_eq!(core_source_faults("a.rs", "//! Fine.\n#[cfg(test)]\nmod tests {\nuse std::fs;\n}\n").len(), 0);
        assert_eq!(core_faults("core", "core v0.1.0 (/x)\nserde v1.0.0\ntokio v1.0.0\ntokio v1.0.0 (*)\n").len(), 1);
        assert_eq!(core_faults("core", "core v0.1.0\nrand_core v0.9.0\n"), Vec::<String>::new());
    }

    #[test]
    fn a_namespace_is_left_when_its_process_is_gone() {
        assert!(is_left("loopback-17-hub", |_| false));
        assert!(!is_left("loopback-17-hub", |pid| pid == 17));
        assert!(!is_left("docker-17", |_| false));
    }
}
