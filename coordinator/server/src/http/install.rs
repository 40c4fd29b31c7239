//! What a machine fetches before it belongs to anybody: the install script, the agent's program, and a sign of life. Public by nature, and beside the
//! operations of the API; nothing of a tenant is in it.

use std::fmt::Write as _;
use std::fs::{File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as PathParameter, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get};
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;
use tokio_util::io::ReaderStream;

use super::api::Api;

/// The script, with placeholders.
const SCRIPT: &str = include_str!("../../../../packaging/install.sh");
/// The architecture of the agent that is served: the coordinator's own, whose build it comes from.
const ARCHITECTURE: &str = std::env::consts::ARCH;
/// What is read of the program at a time.
const READ_BYTES: usize = 64 * 1024;

/// What install lines lead to.
#[derive(Debug, Clone)]
pub struct Install {
    /// `host:port` as machines reach the coordinator.
    pub address: String,
    /// The server key's pin, as `curl --pinnedpubkey` takes it behind `sha256//`.
    pub pin: String,
    /// The agent's program.
    pub agent_binary: PathBuf,
}

#[derive(Debug)]
struct Served {
    install: Install,
    /// The program's digest, as long as the file stays the same.
    digest: Mutex<Option<(Identity, String)>>,
}

/// What changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    inode: u64,
    bytes: u64,
    changed_at: (i64, i64),
}

/// Serves `/healthz`, `/install.sh` and `/agent/<architecture>/loopback-agent`.
pub fn register(api: &mut Api, install: Install) {
    for (path, route) in pages(install) {
        api.page(path, route);
    }
}

fn pages(install: Install) -> [(&'static str, MethodRouter); 3] {
    let served = Arc::new(Served { install, digest: Mutex::default() });
    [
        ("/healthz", get(|| async { "ok\n" })),
        ("/install.sh", get(script).with_state(Arc::clone(&served))),
        ("/agent/{architecture}/loopback-agent", get(program).with_state(served)),
    ]
}

async fn script(State(served): State<Arc<Served>>) -> Response {
    // Without a program the script is served all the same: it says what is missing.
    let digest = served.digest().await.unwrap_or_else(|error| {
        tracing::warn!(path = %served.install.agent_binary.display(), %error, "there is no agent to install; `loopback-coordinator doctor` tells how to mend it");
        String::new()
    });
    let of = |architecture: &str| if architecture == ARCHITECTURE { digest.as_str() } else { "" };
    let script = SCRIPT
        .replace("@ADDRESS@", &served.install.address)
        .replace("@PIN@", &served.install.pin)
        .replace("@SHA256_X86_64@", of("x86_64"))
        .replace("@SHA256_AARCH64@", of("aarch64"));
    ([(header::CONTENT_TYPE, "text/x-shellscript; charset=utf-8")], script).into_response()
}

async fn program(State(served): State<Arc<Served>>, PathParameter(architecture): PathParameter<String>) -> Response {
    if architecture != ARCHITECTURE {
        return (StatusCode::NOT_FOUND, format!("this coordinator serves the agent for {ARCHITECTURE} alone\n")).into_response();
    }
    match open(served.install.agent_binary.clone()).await {
        Ok((file, identity)) => {
            let headers = [(header::CONTENT_TYPE, "application/octet-stream".to_owned()), (header::CONTENT_LENGTH, identity.bytes.to_string())];
            (headers, Body::from_stream(ReaderStream::with_capacity(tokio::fs::File::from_std(file), READ_BYTES))).into_response()
        }
        Err(error) => {
            tracing::warn!(path = %served.install.agent_binary.display(), %error, "the agent's program cannot be served");
            (StatusCode::NOT_FOUND, "this coordinator has no agent to serve: put it beside the coordinator, or set agent_binary\n").into_response()
        }
    }
}

impl Served {
    /// The program's SHA-256 in hexadecimal.
    async fn digest(&self) -> io::Result<String> {
        // Held while reading: many machines at once read the file once.
        let mut known = self.digest.lock().await;
        let (mut file, identity) = open(self.install.agent_binary.clone()).await?;
        if let Some((_, digest)) = known.as_ref().filter(|(of, _)| *of == identity) {
            return Ok(digest.clone());
        }
        let digest = spawn_blocking(move || sha256(&mut file)).await.map_err(io::Error::other)??;
        *known = Some((identity, digest.clone()));
        Ok(digest)
    }
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        Self { inode: metadata.ino(), bytes: metadata.len(), changed_at: (metadata.ctime(), metadata.ctime_nsec()) }
    }
}

async fn open(path: PathBuf) -> io::Result<(File, Identity)> {
    let opened = spawn_blocking(move || open_program(&path)).await.map_err(io::Error::other)?;
    opened.map(|(file, metadata)| (file, Identity::of(&metadata)))
}

/// The agent's program, if it is a file that can be read.
pub(crate) fn open_program(path: &Path) -> io::Result<(File, Metadata)> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() { Ok((file, metadata)) } else { Err(io::Error::other("it is no file")) }
}

fn sha256(file: &mut File) -> io::Result<String> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => context.update(buffer.get(..count).unwrap_or_default()),
        }
    }
    let mut text = String::new();
    for byte in context.finish().as_ref() {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use axum::Router;

    use super::{ARCHITECTURE, Install, pages};

    async fn serve(install: Install) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = pages(install).into_iter().fold(Router::new(), |router, (path, route)| router.route(path, route));
        tokio::spawn(async move { axum::serve(listener, router).await });
        format!("http://{address}")
    }

    async fn fetch(url: &str) -> (u16, Vec<u8>) {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let response = reqwest::get(url).await.unwrap();
        (response.status().as_u16(), response.bytes().await.unwrap().to_vec())
    }

    fn sum(directory: &tempfile::TempDir, bytes: &[u8]) -> String {
        let copy = directory.path().join("copy");
        std::fs::write(&copy, bytes).unwrap();
        let output = Command::new("sha256sum").arg(copy).output().unwrap();
        String::from_utf8(output.stdout).unwrap()[..64].to_owned()
    }

    #[tokio::test]
    async fn the_script_names_the_program_that_is_served_also_after_it_was_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let agent_binary = directory.path().join("loopback-agent");
        let base = serve(Install { address: "c.example:8443".into(), pin: "UElO".into(), agent_binary: agent_binary.clone() }).await;
        for content in [&b"first"[..], &[7; 300_000]] {
            std::fs::write(directory.path().join("new"), content).unwrap();
            std::fs::rename(directory.path().join("new"), &agent_binary).unwrap();
            let (status, program) = fetch(&format!("{base}/agent/{ARCHITECTURE}/loopback-agent")).await;
            assert_eq!((status, program.as_slice()), (200, content));
            let script = String::from_utf8(fetch(&format!("{base}/install.sh")).await.1).unwrap();
            assert!(script.contains(&format!("SHA256_{}='{}'", ARCHITECTURE.to_uppercase(), sum(&directory, content))));
            assert!(script.contains("ADDRESS='c.example:8443'\nPIN='UElO'\n") && !script.contains('@'.to_string().repeat(2).as_str()), "{script}");
        }
        assert_eq!(fetch(&format!("{base}/healthz")).await, (200, b"ok\n".to_vec()));
    }

    #[tokio::test]
    async fn what_is_not_there_is_said_in_words() {
        let directory = tempfile::tempdir().unwrap();
        let base = serve(Install { address: "c:1".into(), pin: "x".into(), agent_binary: directory.path().to_owned() }).await;
        let (status, text) = fetch(&format!("{base}/agent/{ARCHITECTURE}/loopback-agent")).await;
        assert_eq!(status, 404);
        assert!(String::from_utf8(text).unwrap().contains("agent_binary"));
        assert_eq!(fetch(&format!("{base}/agent/sparc/loopback-agent")).await.0, 404);
        let script = String::from_utf8(fetch(&format!("{base}/install.sh")).await.1).unwrap();
        assert!(script.contains("SHA256_X86_64=''\nSHA256_AARCH64=''\n"));
    }
}
