//! What the tests and the demo need of a Debian machine beyond rustup and a linker: it installs what is missing, says so, and does nothing when nothing is.

use std::fs;
use std::io::{BufReader, Read as _};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::program::Program;

/// A program and the Debian package it comes in.
const PROGRAMS: &[(&str, &str)] = &[
    ("asciinema", "asciinema"),
    ("curl", "curl"),
    ("git", "git"),
    ("htop", "htop"),
    ("ip", "iproute2"),
    ("nc", "netcat-openbsd"),
    ("nft", "nftables"),
    ("ping", "iputils-ping"),
    ("ps", "procps"),
    ("tmux", "tmux"),
    ("vim", "vim"),
];

/// The runner the tests are configured for.
const NEXTEST_VERSION: &str = "0.9.143";

/// Every machine has one; an image for containers may not, and the demo's hosts need a file to put theirs over.
const MACHINE_ID: &str = "/etc/machine-id";

/// Installs what is missing.
pub fn setup() -> Result<()> {
    ensure!(is_root()?, "network namespaces and nftables need root: run this as root, or with `sudo -E env PATH=\"$PATH\" cargo xtask …`");
    let missing: Vec<&str> = PROGRAMS.iter().filter(|(program, _)| !is_installed(program)).map(|(_, package)| *package).collect();
    if !missing.is_empty() {
        println!("installing Debian packages: {}", missing.join(" "));
        ensure!(is_installed("apt-get"), "there is no apt-get here: install {} yourself", missing.join(", "));
        Program::new("apt-get", &["update", "-qq"]).run()?;
        let mut install = Program::new("apt-get", &["install", "-y", "-qq", "--no-install-recommends"]);
        for package in missing {
            install.argument(package);
        }
        install.env("DEBIAN_FRONTEND", "noninteractive").run()?;
    }
    if !is_installed("cargo-nextest") {
        println!("installing cargo-nextest {NEXTEST_VERSION} from source; that takes some minutes, once");
        Program::cargo(&["install", "cargo-nextest", "--locked", "--version", NEXTEST_VERSION]).run()?;
    }
    if !Path::new(MACHINE_ID).exists() {
        println!("writing {MACHINE_ID}, which this machine lacks");
        fs::write(MACHINE_ID, new_machine_id()?).with_context(|| format!("cannot write {MACHINE_ID}"))?;
    }
    Ok(())
}

fn is_root() -> Result<bool> {
    let status = fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|ids| ids.split_whitespace().nth(1));
    Ok(uid == Some("0"))
}

fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}

fn new_machine_id() -> Result<String> {
    let mut bytes = [0; 16];
    BufReader::new(fs::File::open("/dev/urandom")?).read_exact(&mut bytes)?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{digits}\n"))
}

#[cfg(test)]
mod tests {
    use super::{PROGRAMS, is_installed, new_machine_id};

    #[test]
    fn a_machine_id_is_32_digits() {
        let id = new_machine_id().unwrap();
        assert!(id.len() == 33 && id.trim_end().bytes().all(|byte| byte.is_ascii_hexdigit()));
    }

    #[test]
    fn what_is_installed_is_found() {
        assert!(is_installed("sh"));
        assert!(!is_installed("no-such-program"));
        assert!(PROGRAMS.is_sorted());
    }
}
