//! What this host lacks for the agent to work, and how to mend it. It looks and changes nothing.

use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use loopback_agent_core::modules::Module;
use serde::Serialize;

use crate::clock::{rfc3339, unix_ms};
use crate::config::Settings;
use crate::keystore::{Keystore, KeystoreError};
use crate::link::chain;
use crate::nft;
use crate::quic::{self, Coordinator};

/// A certificate should never come this close to its end: it is renewed at two thirds of its life.
const EXPIRES_SOON: Duration = Duration::from_secs(3_600);

/// Everything that was looked at.
#[derive(Debug, Serialize)]
pub struct Diagnosis {
    checks: Vec<Check>,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    found: String,
    /// Absent when nothing needs mending.
    #[serde(skip_serializing_if = "Option::is_none")]
    mend: Option<&'static str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

impl Diagnosis {
    /// Looks at everything.
    pub async fn make(settings: &Settings) -> Self {
        let keystore = Keystore::peek(&settings.state_dir);
        let checks = vec![
            root(),
            firewall(settings).await,
            proc(),
            terminals(),
            cgroups(),
            state_dir(&keystore),
            certificate(&keystore),
            agent(&keystore),
            coordinator(settings, &keystore).await,
        ];
        Self { checks }
    }

    /// Whether the agent cannot work.
    pub fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.status == Status::Fail)
    }
}

impl fmt::Display for Diagnosis {
    /// As the coordinator's doctor tells it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Check { name, status, found, mend } in &self.checks {
            writeln!(f, "{:<5} {name:<22} {found}", status.name())?;
            if let Some(mend) = mend {
                writeln!(f, "      {:<22} -> {mend}", "")?;
            }
        }
        Ok(())
    }
}

impl Status {
    const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        }
    }
}

impl Check {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, status: Status::Ok, found: found.into(), mend: None }
    }

    fn warn(name: &'static str, found: impl Into<String>, mend: &'static str) -> Self {
        Self { name, status: Status::Warn, found: found.into(), mend: Some(mend) }
    }

    fn fail(name: &'static str, found: impl Into<String>, mend: &'static str) -> Self {
        Self { name, status: Status::Fail, found: found.into(), mend: Some(mend) }
    }
}

fn root() -> Check {
    const NAME: &str = "privileges";
    if nix::unistd::geteuid().is_root() {
        Check::ok(NAME, "runs as root")
    } else {
        Check::fail(NAME, "does not run as root", "nftables and login shells need root: run `sudo loopback-agent doctor`, and the agent by its systemd unit")
    }
}

async fn firewall(settings: &Settings) -> Check {
    const NAME: &str = "firewall";
    if !settings.allow.contains(&Module::Firewall) {
        return Check::ok(NAME, "forbidden by this host's configuration");
    }
    match nft::check().await {
        Ok(()) => Check::ok(NAME, "nft works and the kernel has nf_tables"),
        Err(error) => Check::fail(NAME, chain(&error), "install nftables (apt-get install nftables) and load the module: modprobe nf_tables"),
    }
}

fn proc() -> Check {
    const NAME: &str = "metrics";
    match fs::read_to_string("/proc/stat") {
        Ok(text) if text.starts_with("cpu") => Check::ok(NAME, "/proc can be read"),
        Ok(_) => Check::fail(NAME, "/proc/stat is not the kernel's", "mount proc: mount -t proc proc /proc"),
        Err(error) => Check::fail(NAME, format!("/proc/stat: {error}"), "mount proc: mount -t proc proc /proc"),
    }
}

fn terminals() -> Check {
    const NAME: &str = "terminals";
    match File::options().read(true).write(true).open("/dev/ptmx") {
        Ok(_) => Check::ok(NAME, "pseudo-terminals can be opened"),
        Err(error) => Check::fail(NAME, format!("/dev/ptmx: {error}"), "mount devpts: mount -t devpts devpts /dev/pts"),
    }
}

fn cgroups() -> Check {
    const NAME: &str = "cgroups";
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    // "… mount point options - type source options" (proc(5)).
    let mounted = mounts.lines().find(|line| line.split(" - ").nth(1).is_some_and(|rest| rest.starts_with("cgroup2 ")));
    match mounted.and_then(|line| line.split(' ').nth(4)) {
        Some(path) => Check::ok(NAME, format!("cgroup v2 is mounted at {path}")),
        None => {
            Check::warn(NAME, "cgroup v2 is not mounted; processes that leave a shell's session could outlive it", "mount -t cgroup2 cgroup2 /sys/fs/cgroup")
        }
    }
}

fn state_dir(keystore: &Keystore) -> Check {
    const NAME: &str = "state directory";
    let dir = keystore.dir().display();
    match fs::metadata(keystore.dir()).map(|metadata| metadata.permissions().mode() & 0o777) {
        Ok(mode) if mode & 0o077 == 0 => Check::ok(NAME, format!("{dir} is closed to others")),
        Ok(mode) => Check::fail(
            NAME,
            format!("{dir} is open to others (mode {mode:o}); it holds the host's key"),
            "close it: chmod 700, and join anew if someone may have read the key",
        ),
        Err(error) => Check::warn(NAME, format!("{dir}: {error}"), "`loopback-agent join` makes it"),
    }
}

fn certificate(keystore: &Keystore) -> Check {
    const NAME: &str = "certificate";
    const RENEW: &str = "start the agent: systemctl start loopback-agent; it renews with the proof of its key";
    let validity =
        keystore.identity().and_then(|_| keystore.credentials()).and_then(|credentials| Ok(credentials.key.validity_of(&credentials.certificate_der)?));
    let left_ms = |until_ms: u64| u128::from(until_ms.saturating_sub(unix_ms()));
    match validity {
        Ok(validity) if left_ms(validity.until_ms) == 0 => Check::fail(NAME, format!("expired {}", rfc3339(validity.until_ms)), RENEW),
        Ok(validity) if left_ms(validity.until_ms) < EXPIRES_SOON.as_millis() => Check::warn(NAME, format!("expires {}", rfc3339(validity.until_ms)), RENEW),
        Ok(validity) => Check::ok(NAME, format!("valid until {}", rfc3339(validity.until_ms))),
        Err(KeystoreError::NotJoined) => Check::warn(NAME, "this machine has not joined", "mint a token (`loopback token create`) and run the line it prints"),
        Err(error) => Check::fail(NAME, chain(&error), "`loopback-agent leave --yes`, then join again"),
    }
}

fn agent(keystore: &Keystore) -> Check {
    const NAME: &str = "agent";
    match keystore.identity().and_then(|_| keystore.lock()) {
        Err(KeystoreError::InUse(_)) => Check::ok(NAME, "runs"),
        Err(KeystoreError::NotJoined) => {
            Check { name: NAME, status: Status::Warn, found: "has nothing to do until this machine has joined".to_owned(), mend: None }
        }
        Err(error) => Check::fail(NAME, chain(&error), "run this as root"),
        Ok(_) => Check::warn(NAME, "does not run; the firewall in the kernel stays as it is", "systemctl start loopback-agent"),
    }
}

async fn coordinator(settings: &Settings, keystore: &Keystore) -> Check {
    const NAME: &str = "coordinator";
    let Ok(identity) = keystore.identity() else {
        return Check { name: NAME, status: Status::Warn, found: "unknown until this machine has joined".to_owned(), mend: None };
    };
    let address = settings.coordinator.clone().unwrap_or(identity.coordinator);
    let coordinator = Coordinator::new(address.clone(), identity.server_name, Vec::new());
    let reach = async {
        let credentials = keystore.credentials().map_err(|error| chain(&error))?;
        // Without the host's certificate: a second link of a running host would be refused as a copy.
        let config = quic::renewal_config(&credentials).map_err(|error| chain(&error))?;
        coordinator.resolve().await.map_err(|error| chain(&error))?;
        let dialled = coordinator.dial(config).await.map_err(|error| chain(&error))?;
        dialled.close("doctor").await;
        Ok::<_, String>(())
    };
    match reach.await {
        Ok(()) => Check::ok(NAME, format!("{address} answers over QUIC with the right CA")),
        Err(error) => Check::fail(NAME, error, "start the coordinator, and let UDP through to its port"),
    }
}
