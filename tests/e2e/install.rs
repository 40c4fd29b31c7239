//! The install script alone, against a server of its own on the loopback interface: what it puts in place, what it refuses, and that half of it does nothing.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use loopback_tests::process::{Outcome, run};
use loopback_tests::program::repository_file;
use rcgen::PublicKeyData as _;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

const LIMIT: Duration = Duration::from_secs(30);
const TOKEN: &str = "lbt_secret.fingerprint";

/// Stands for the agent: tells its arguments and the token it was given, and takes an identity when it joins.
const AGENT: &str = r#"#!/bin/sh
case "$*" in
    "config default") echo '#allow = ["firewall"]' ;;
    "config unit "*) echo "ExecStart=$3" ;;
    *join*) echo "joined: $*"; echo "token: $LOOPBACK_TOKEN"; mkdir -p "$4" && touch "$4/identity.json" ;;
esac
"#;

#[test]
fn the_line_installs_and_joins_with_the_token_in_the_environment() -> Result<()> {
    let (server, root) = (Server::start(AGENT)?, tempfile::tempdir()?);
    let told = server.install(&root, &server.pin, TOKEN)?.ok()?;
    let at = |path: &str| root.path().join(path);
    ensure!(told.contains(&format!("token: {TOKEN}")), "{told}");
    ensure!(told.contains(&format!("join --coordinator {}", server.address)), "{told}");
    ensure!(!told.lines().any(|line| line.starts_with("joined:") && line.contains("lbt_")), "the token stands in the arguments: {told}");
    ensure!(fs::read_to_string(at("usr/local/bin/loopback-agent"))? == AGENT, "another agent was installed");
    ensure!(fs::read_to_string(at("etc/loopback/agent.toml"))? == "#allow = [\"firewall\"]\n", "another configuration was installed");
    for (unit, file) in [("agent", "loopback-agent.service"), ("firewall", "loopback-firewall.service")] {
        ensure!(fs::read_to_string(at("etc/systemd/system").join(file))? == format!("ExecStart={unit}\n"), "another unit was installed");
    }

    // Again: the identity and an edited configuration stay, and no token is needed.
    fs::write(at("etc/loopback/agent.toml"), "# edited\n")?;
    let told = server.install(&root, &server.pin, "")?.ok()?;
    ensure!(told.contains("keeps its identity") && !told.contains("joined:"), "{told}");
    ensure!(fs::read_to_string(at("etc/loopback/agent.toml"))? == "# edited\n", "the configuration was replaced");
    Ok(())
}

#[test]
fn what_is_not_as_announced_is_not_installed() -> Result<()> {
    let (server, root) = (Server::start(AGENT)?, tempfile::tempdir()?);
    let check = |outcome: Outcome, because: &str| -> Result<()> {
        ensure!(outcome.code != 0 && outcome.stderr.contains(because), "{outcome:?}");
        ensure!(fs::read_dir(root.path())?.next().is_none(), "refused, and yet something was installed");
        Ok(())
    };
    check(server.install(&root, &server.pin, "")?, "LOOPBACK_TOKEN is not set")?;
    check(server.install(&root, &STANDARD.encode([0; 32]), TOKEN)?, "cannot download the agent")?;
    *server.agent.lock().unwrap_or_else(PoisonError::into_inner) = "#!/bin/sh\ntouch /tmp/never\n".to_owned();
    check(server.install(&root, &server.pin, TOKEN)?, "SHA-256 differs")?;
    Ok(())
}

#[test]
fn a_script_that_arrived_in_part_does_nothing() -> Result<()> {
    let (server, root) = (Server::start(AGENT)?, tempfile::tempdir()?);
    let script = server.script(&server.pin)?;
    let call = script.rfind("main \"$@\"").context("the last line calls main")?;
    // Every line's end and every byte of the last call but its end.
    let cuts = script.match_indices('\n').map(|(at, _)| at).filter(|at| *at < call).chain(call..call + "main".len());
    for cut in cuts {
        let part = script.get(..cut).unwrap_or_default();
        run(shell(root.path(), TOKEN), part, LIMIT)?;
        ensure!(fs::read_dir(root.path())?.next().is_none() && server.requests.load(Ordering::Relaxed) == 0, "cut after {cut} bytes it did something");
    }
    Ok(())
}

fn shell(root: &Path, token: &str) -> Command {
    let mut command = Command::new("sh");
    command.env("LOOPBACK_PREFIX", root).env("LOOPBACK_TOKEN", token);
    command
}

/// A coordinator's HTTPS side, as far as the script sees it.
struct Server {
    address: String,
    pin: String,
    agent: Arc<Mutex<String>>,
    sum: String,
    requests: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start(agent: &str) -> Result<Self> {
        let key = rcgen::KeyPair::generate()?;
        let certificate = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()])?.self_signed(&key)?;
        let pin = STANDARD.encode(Sha256::digest(key.subject_public_key_info()));
        let private = PrivateKeyDer::try_from(key.serialize_der()).map_err(anyhow::Error::msg)?;
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?.to_string();
        let (requests, agent_text) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(agent.to_owned())));
        let (counter, served, config) = (Arc::clone(&requests), Arc::clone(&agent_text), Arc::new(config));
        let thread = std::thread::spawn(move || {
            // A connection that says nothing ends the server.
            while let Ok((stream, _)) = listener.accept() {
                let text = served.lock().unwrap_or_else(PoisonError::into_inner).clone();
                match answer(stream, &config, &text) {
                    Ok(true) => _ = counter.fetch_add(1, Ordering::Relaxed),
                    Ok(false) => break,
                    // A client that does not like our pin goes away.
                    Err(_) => {}
                }
            }
        });
        Ok(Self { address, pin, sum: hex::encode(Sha256::digest(agent)), agent: agent_text, requests, thread: Some(thread) })
    }

    fn script(&self, pin: &str) -> Result<String> {
        let template = fs::read_to_string(repository_file("packaging/install.sh")?)?;
        Ok(template.replace("@ADDRESS@", &self.address).replace("@PIN@", pin).replace("@SHA256_X86_64@", &self.sum).replace("@SHA256_AARCH64@", &self.sum))
    }

    fn install(&self, root: &TempDir, pin: &str, token: &str) -> Result<Outcome> {
        run(shell(root.path(), token), &self.script(pin)?, LIMIT)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(TcpStream::connect(&self.address));
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// Answers one request; false if there was none.
fn answer(stream: TcpStream, config: &Arc<ServerConfig>, agent: &str) -> Result<bool> {
    if stream.peek(&mut [0])? == 0 {
        return Ok(false);
    }
    let mut tls = BufReader::new(StreamOwned::new(ServerConnection::new(Arc::clone(config))?, stream));
    let mut request = String::new();
    tls.read_line(&mut request)?;
    let mut line = String::new();
    while tls.read_line(&mut line)? > 2 {
        line.clear();
    }
    let found = request.starts_with("GET /agent/x86_64/loopback-agent ") || request.starts_with("GET /agent/aarch64/loopback-agent ");
    let (status, body) = if found { ("200 OK", agent) } else { ("404 Not Found", "") };
    let mut tls = tls.into_inner();
    write!(tls, "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())?;
    tls.conn.send_close_notify();
    tls.flush()?;
    Ok(true)
}
