//! What is missing for the coordinator to run well, and how to mend it. It looks and changes nothing.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use serde::Serialize;

use crate::ca::SERVER_NAME;
use crate::clock::now_ms;
use crate::http::install::open_program;
use crate::storage::probe;

/// The schema this program writes.
const SCHEMA_VERSION: i64 = 1;
/// Free space below which nothing works for long.
const SPACE_MIN_BYTES: u64 = 100 * 1024 * 1024;
/// Free space below which recordings and metrics may run out of it.
const SPACE_LOW_BYTES: u64 = 2 * 1024 * 1024 * 1024;
/// Open files for some ten thousand agents and their operators.
const OPEN_FILES_LOW: u64 = 16_384;
/// A receive buffer that takes the agents' return after a restart.
const UDP_BUFFER_LOW_BYTES: u64 = 2 * 1024 * 1024;
/// This program was written in 2025; a clock before it is not set.
const CLOCK_MIN_MS: u64 = 1_735_689_600_000;
/// How far the newest entry of the audit trail may lie ahead.
const CLOCK_SKEW_MAX_MS: u64 = 60 * 1_000;
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What is to be looked at.
#[derive(Debug, Clone)]
pub struct Installation {
    /// The state directory.
    pub state_dir: PathBuf,
    /// Where the coordinator listens.
    pub listen: SocketAddr,
    /// The agent's program.
    pub agent_binary: PathBuf,
}

/// What was found.
#[derive(Debug, Serialize)]
pub struct Report {
    /// In the order in which to mend.
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How it is.
    pub status: Status,
    /// What was found.
    pub found: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mend: Option<String>,
}

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Nothing to do.
    Ok,
    /// It works, and could be better.
    Warn,
    /// It does not work.
    Fail,
}

/// Looks at everything.
pub async fn run(of: &Installation) -> Report {
    let database = of.state_dir.join("coordinator.db");
    let authority = of.state_dir.join("ca/ca.crt");
    let mut checks = vec![
        state_dir(&of.state_dir),
        space(&of.state_dir),
        schema(&database).await,
        certificate_authority(&authority),
        clock(newest_audit_event(&database).await, now_ms()),
        agent_binary(&of.agent_binary),
    ];
    checks.push(port(of.listen, &authority).await);
    checks.push(open_files(&std::fs::read_to_string("/proc/self/limits")));
    checks.push(udp_buffer(&std::fs::read_to_string("/proc/sys/net/core/rmem_max")));
    Report { checks }
}

impl Report {
    /// Whether something does not work.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.checks.iter().any(|check| check.status == Status::Fail)
    }
}

impl fmt::Display for Report {
    /// A line for each check, and below it what to do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for check in &self.checks {
            writeln!(f, "{:<5} {:<22} {}", check.status.name(), check.name, check.found)?;
            if let Some(mend) = &check.mend {
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

    fn warn(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, status: Status::Warn, found: found.into(), mend: Some(mend.into()) }
    }

    fn fail(name: &'static str, found: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { name, status: Status::Fail, found: found.into(), mend: Some(mend.into()) }
    }
}

fn state_dir(path: &Path) -> Check {
    const NAME: &str = "state directory";
    let shown = path.display();
    match std::fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            Check::warn(NAME, format!("{shown} is not there"), "`loopback-coordinator setup` makes it, with an organization and its owner")
        }
        Err(error) => Check::fail(NAME, format!("{shown}: {error}"), "run this as the user the coordinator runs as, or set state_dir"),
        Ok(metadata) if !metadata.is_dir() => Check::fail(NAME, format!("{shown} is no directory"), "move it away, or set state_dir"),
        Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
            let found = format!("{shown} can be entered by others (mode {:o})", metadata.permissions().mode() & 0o777);
            Check::fail(NAME, found, format!("chmod 0700 {shown}: whoever can read it owns the fleet"))
        }
        Ok(_) if nix::unistd::access(path, nix::unistd::AccessFlags::W_OK).is_err() => {
            Check::fail(NAME, format!("{shown} cannot be written"), "run this as the user the coordinator runs as, or chown it")
        }
        Ok(_) => Check::ok(NAME, shown.to_string()),
    }
}

fn space(state_dir: &Path) -> Check {
    const NAME: &str = "space";
    // One that is not there yet will be made on the file system of what is.
    let Some(present) = state_dir.ancestors().find(|path| path.exists()) else { return Check::fail(NAME, "no directory above it is there", "set state_dir") };
    match nix::sys::statvfs::statvfs(present) {
        Err(error) => Check::fail(NAME, format!("{}: {error}", present.display()), "run this as the user the coordinator runs as"),
        Ok(disk) => {
            let free = disk.blocks_available().saturating_mul(disk.fragment_size());
            let found = format!("{} MiB free on {}", free / (1024 * 1024), present.display());
            let mend = "make room: shells without a recording are refused, and metrics are lost";
            match free {
                0..SPACE_MIN_BYTES => Check::fail(NAME, found, mend),
                SPACE_MIN_BYTES..SPACE_LOW_BYTES => Check::warn(NAME, found, mend),
                SPACE_LOW_BYTES.. => Check::ok(NAME, found),
            }
        }
    }
}

async fn schema(file: &Path) -> Check {
    const NAME: &str = "database";
    if !file.exists() {
        return Check::warn(NAME, format!("{} is not there", file.display()), "`loopback-coordinator setup` makes it, with an organization and its owner");
    }
    match probe::schema_version(file).await {
        Ok(Some(SCHEMA_VERSION)) => Check::ok(NAME, format!("{}, schema {SCHEMA_VERSION}", file.display())),
        Ok(Some(other)) => {
            let found = format!("schema {other}, and this program knows {SCHEMA_VERSION}");
            Check::fail(NAME, found, "run the version that wrote it, or restore the backup made before the upgrade")
        }
        Ok(None) => Check::fail(NAME, "it has no schema", "restore it from a backup"),
        Err(error) => Check::fail(NAME, format!("{}: {error}", file.display()), "run this as the user the coordinator runs as; else restore it from a backup"),
    }
}

async fn newest_audit_event(file: &Path) -> Option<u64> {
    let newest = if file.exists() { probe::newest_audit_event(file).await } else { Ok(None) };
    newest.ok().flatten()
}

fn certificate_authority(certificate: &Path) -> Check {
    const NAME: &str = "certificate authority";
    let files = [certificate.to_owned(), certificate.with_extension("key"), certificate.with_file_name("server.key")];
    if !certificate.exists() {
        return Check::warn(NAME, format!("{} is not there", certificate.display()), "the first start makes it");
    }
    for file in &files {
        match std::fs::read(file).and_then(|_| std::fs::metadata(file)) {
            Err(error) => {
                return Check::fail(
                    NAME,
                    format!("{}: {error}", file.display()),
                    "run this as the user the coordinator runs as; else restore it from a backup",
                );
            }
            Ok(metadata) if metadata.permissions().mode() & 0o077 != 0 => {
                return Check::fail(NAME, format!("{} can be read by others", file.display()), format!("chmod 0600 {}", file.display()));
            }
            Ok(_) => {}
        }
    }
    match CertificateDer::from_pem_file(certificate) {
        Ok(der) => Check::ok(NAME, format!("fingerprint {}", loopback_protocol::secret::Fingerprint::of(&der))),
        Err(error) => Check::fail(NAME, format!("{}: {error}", certificate.display()), "restore it from a backup: with a new one every agent has to join anew"),
    }
}

fn clock(newest_audit_event_ms: Option<u64>, now_ms: u64) -> Check {
    const NAME: &str = "clock";
    const MEND: &str = "set the clock and keep it set (timedatectl set-ntp true): certificates and audit entries depend on it";
    let shown = loopback_api::Time(now_ms);
    if now_ms < CLOCK_MIN_MS {
        return Check::fail(NAME, format!("it says {shown}"), MEND);
    }
    match newest_audit_event_ms.map(loopback_api::Time) {
        Some(newest) if newest.0 > now_ms.saturating_add(CLOCK_SKEW_MAX_MS) => {
            Check::fail(NAME, format!("it says {shown}, and the newest audit entry was written at {newest}"), MEND)
        }
        _ => Check::ok(NAME, shown.to_string()),
    }
}

fn agent_binary(path: &Path) -> Check {
    const NAME: &str = "agent to install";
    match open_program(path) {
        Ok(_) => Check::ok(NAME, format!("{} for {}", path.display(), std::env::consts::ARCH)),
        Err(error) => Check::warn(
            NAME,
            format!("{}: {error}", path.display()),
            "put loopback-agent beside loopback-coordinator, or set agent_binary: without it install lines do not work",
        ),
    }
}

async fn port(listen: SocketAddr, authority: &Path) -> Check {
    const NAME: &str = "port";
    let tcp = std::net::TcpListener::bind(listen).map(drop);
    let udp = std::net::UdpSocket::bind(listen).map(drop);
    let (protocol, error) = match (tcp, udp) {
        (Ok(()), Ok(())) => return Check::ok(NAME, format!("{listen} is free, TCP and UDP")),
        (Err(tcp), _) => ("TCP", tcp),
        (Ok(()), Err(udp)) => ("UDP", udp),
    };
    let in_use = error.kind() == io::ErrorKind::AddrInUse;
    if in_use && protocol == "TCP" && is_ours(listen, authority).await.is_ok() {
        return Check::ok(NAME, format!("{listen} is held by the coordinator that runs"));
    }
    let mend = if in_use {
        format!("stop what listens there (ss -lntup sport = :{}), or set listen", listen.port())
    } else {
        "set listen to an address of this machine and a port this user may bind".to_owned()
    };
    Check::fail(NAME, format!("{protocol} {listen}: {error}"), mend)
}

/// Whether what listens there shows a certificate of this authority.
async fn is_ours(listen: SocketAddr, authority: &Path) -> io::Result<()> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(authority).map_err(io::Error::other)?).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().map_err(io::Error::other)?;
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    let here = match listen {
        SocketAddr::V4(address) if address.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], address.port())),
        SocketAddr::V6(address) if address.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, address.port())),
        address => address,
    };
    let handshake = async {
        let stream = tokio::net::TcpStream::connect(here).await?;
        tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.map(drop)
    };
    tokio::time::timeout(PROBE_TIMEOUT, handshake).await?
}

fn open_files(limits: &io::Result<String>) -> Check {
    const NAME: &str = "open files";
    let soft = limits.as_ref().ok().and_then(|text| text.lines().find_map(|line| line.strip_prefix("Max open files")));
    match soft.and_then(|rest| rest.split_whitespace().next()) {
        Some("unlimited") => Check::ok(NAME, "unlimited"),
        Some(number) => match number.parse::<u64>() {
            Ok(number) if number < OPEN_FILES_LOW => Check::warn(
                NAME,
                format!("at most {number} in this shell"),
                "LimitNOFILE=65536 in the coordinator's unit (the packaged one has it), or ulimit -n 65536 before it is started by hand",
            ),
            _ => Check::ok(NAME, format!("at most {number}")),
        },
        None => Check::warn(NAME, "/proc/self/limits cannot be read", "mount /proc"),
    }
}

fn udp_buffer(rmem_max: &io::Result<String>) -> Check {
    const NAME: &str = "UDP receive buffer";
    match rmem_max.as_ref().ok().and_then(|text| text.trim().parse::<u64>().ok()) {
        Some(bytes) if bytes < UDP_BUFFER_LOW_BYTES => Check::warn(
            NAME,
            format!("at most {bytes} bytes"),
            "sysctl -w net.core.rmem_max=7500000 (and in /etc/sysctl.d): with thousands of agents packets are lost when all come back at once",
        ),
        Some(bytes) => Check::ok(NAME, format!("at most {bytes} bytes")),
        None => Check::warn(NAME, "net.core.rmem_max cannot be read", "mount /proc"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;

    use super::{Installation, Report, Status, clock, open_files, run, udp_buffer};
    use crate::ca::Ca;
    use crate::storage::{Entry, Storage, Trail};

    fn status(report: &Report, name: &str) -> Status {
        report.checks.iter().find(|check| check.name == name).unwrap().status
    }

    async fn installation() -> (tempfile::TempDir, Installation) {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        std::fs::create_dir(&state_dir).unwrap();
        std::fs::set_permissions(&state_dir, std::fs::Permissions::from_mode(0o700)).unwrap();
        let agent_binary = directory.path().join("loopback-agent");
        std::fs::write(&agent_binary, "agent").unwrap();
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        (directory, Installation { state_dir, listen: free, agent_binary })
    }

    #[tokio::test]
    async fn a_whole_installation_has_nothing_to_mend_but_what_the_machine_lacks() {
        let (_directory, of) = installation().await;
        let storage = Storage::open(&of.state_dir).await.unwrap();
        storage.begin().await.unwrap().commit(Entry::of_system(Trail::Platform, "test", "nothing")).await.unwrap();
        Ca::open(&of.state_dir, &["localhost".into()]).unwrap();
        let report = run(&of).await;
        assert!(!report.has_failed(), "{report}");
        for name in ["state directory", "database", "certificate authority", "clock", "agent to install", "port"] {
            assert_eq!(status(&report, name), Status::Ok, "{report}");
        }
    }

    #[tokio::test]
    async fn before_the_setup_it_says_how_to_begin() {
        let (_directory, mut of) = installation().await;
        of.state_dir = of.state_dir.join("not-there");
        let report = run(&of).await;
        assert!(!report.has_failed(), "{report}");
        assert_eq!(status(&report, "state directory"), Status::Warn);
        assert!(report.to_string().contains("loopback-coordinator setup"));
        assert!(!of.state_dir.exists(), "it changes nothing");
    }

    #[tokio::test]
    async fn each_fault_is_found() {
        let (_directory, of) = installation().await;
        std::fs::set_permissions(&of.state_dir, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::write(of.state_dir.join("coordinator.db"), "no database".repeat(100)).unwrap();
        std::fs::create_dir(of.state_dir.join("ca")).unwrap();
        std::fs::write(of.state_dir.join("ca/ca.crt"), "x").unwrap();
        std::fs::remove_file(&of.agent_binary).unwrap();
        let _stranger = std::net::TcpListener::bind(of.listen).unwrap();
        let report = run(&of).await;
        assert!(report.has_failed());
        for name in ["state directory", "database", "certificate authority", "port"] {
            assert_eq!(status(&report, name), Status::Fail, "{report}");
        }
        assert_eq!(status(&report, "agent to install"), Status::Warn);
    }

    #[tokio::test]
    async fn a_port_the_running_coordinator_holds_is_no_fault() {
        let (_directory, of) = installation().await;
        let ca = Ca::open(&of.state_dir, &["localhost".into()]).unwrap();
        let listener = tokio::net::TcpListener::bind(of.listen).await.unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::clone(&ca.https_config().unwrap()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let _ = acceptor.accept(stream).await;
            }
        });
        assert_eq!(status(&run(&of).await, "port"), Status::Ok);
    }

    #[test]
    fn limits_and_the_clock_are_judged() {
        let limits = |soft: &str| {
            open_files(&Ok(format!("Limit Soft Hard Units\nMax open files            {soft}                 524288               files\n"))).status
        };
        assert_eq!([limits("1024"), limits("65536"), limits("unlimited")], [Status::Warn, Status::Ok, Status::Ok]);
        assert_eq!([udp_buffer(&Ok("212992\n".into())).status, udp_buffer(&Ok("7500000\n".into())).status], [Status::Warn, Status::Ok]);
        let now_ms = 1_800_000_000_000;
        assert_eq!([clock(None, 0).status, clock(None, now_ms).status], [Status::Fail, Status::Ok]);
        assert_eq!([clock(Some(now_ms + 3_600_000), now_ms).status, clock(Some(now_ms), now_ms).status], [Status::Fail, Status::Ok]);
    }
}
