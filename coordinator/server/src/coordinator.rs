//! The coordinator as a whole: what it is made of, in the order in which it starts, and how it stops.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::routing::get;
use axum::{Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use hyper_util::rt::TokioTimer;
use loopback_api::Spec;
use tokio::sync::mpsc;
use tokio_util::task::TaskTracker;

use crate::authority::Authority;
use crate::ca::{Ca, CaError};
use crate::commands::token::InstallLine;
use crate::config::{Config, ConfigError};
use crate::http::api::Api;
use crate::http::identity::Gate;
use crate::http::openapi;
use crate::http::routes::account::Door;
use crate::http::routes::{account, audit, binding, firewall, key, member, organization, permission, project, role, token, workspace};
use crate::http::socket::PromptAcceptor;
use crate::limits::{HANDSHAKE_TIMEOUT_MS, IDLE_TIMEOUT_MS, KEY_USES_MAX, STOP_GRACE_MS};
use crate::login_limit::LoginLimit;
use crate::password::{PasswordError, Passwords};
use crate::storage::{Storage, StorageError};
use crate::supervisor::{Supervisor, TaskEnded};

/// A coordinator that runs.
#[derive(Debug)]
pub struct Coordinator {
    address: SocketAddr,
    public_address: String,
    ca: Arc<Ca>,
    storage: Storage,
    authority: Arc<Authority>,
    operations: Vec<Spec>,
    upgrades: TaskTracker,
    supervisor: Supervisor,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its state directory.
    #[error("{path}: {source}; make it a directory this user can write, or set `state_dir`")]
    StateDir {
        /// Which directory.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// Its storage.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its certificate authority.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// Its hash function.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// Its port.
    #[error("cannot listen on {address}: {source}; stop what listens there, or set `listen`")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

impl Coordinator {
    /// Starts everything. When it returns, requests are answered.
    ///
    /// # Errors
    /// The first thing that is missing, and how to mend it.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let listen = config.listen_address()?;
        let storage = open_storage(&config.state_dir).await?;
        let passwords = Passwords::new()?;
        let (listener, address) = bind(listen).map_err(|source| StartError::Listen { address: listen, source })?;
        let public_address = config.public_address(address.port());
        let ca = open_ca(&config.state_dir, &public_address, address)?;
        let mut supervisor = Supervisor::default();
        let upgrades = TaskTracker::new();
        // Nobody writes the uses of credentials down yet; the sender does not mind.
        let (key_uses, _) = mpsc::channel(KEY_USES_MAX);
        let authority = Authority::new(storage.clone());
        let gate = Gate::new(storage.clone(), Arc::clone(&authority), key_uses);
        let line = InstallLine { address: public_address.clone(), pin: ca.pin(), ca: ca.fingerprint() };
        let api = api(gate, &storage, passwords, line, upgrades.clone());
        let operations = api.operations().to_vec();
        serve(&mut supervisor, listener, ca.https_config()?, api.into_router()).map_err(|source| StartError::Listen { address, source })?;
        tracing::info!(%address, public_address, fingerprint = %ca.fingerprint(), "the coordinator runs");
        Ok(Self { address, public_address, ca, storage, authority, operations, upgrades, supervisor })
    }

    /// Where it listens, with the port it was given.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The `host:port` others reach it by.
    #[must_use]
    pub fn public_address(&self) -> &str {
        &self.public_address
    }

    /// Its certificate authority.
    #[must_use]
    pub fn ca(&self) -> &Ca {
        &self.ca
    }

    /// Its state.
    #[must_use]
    pub const fn storage(&self) -> &Storage {
        &self.storage
    }

    /// Its access decisions.
    #[must_use]
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// The operations it answers.
    #[must_use]
    pub fn operations(&self) -> &[Spec] {
        &self.operations
    }

    /// Waits for what should not happen: a task that ends by itself.
    pub async fn failed(&mut self) -> TaskEnded {
        self.supervisor.failed().await
    }

    /// Stops: no new request, those under way get a moment, then everything is gone.
    ///
    /// # Errors
    /// A task that failed while stopping, or did not stop.
    pub async fn shutdown(self) -> Result<(), TaskEnded> {
        self.upgrades.close();
        self.supervisor.stop(Duration::from_millis(2 * STOP_GRACE_MS)).await?;
        // What is left of the terminals ends with the process.
        let _ = tokio::time::timeout(Duration::from_millis(STOP_GRACE_MS), self.upgrades.wait()).await;
        Ok(())
    }
}

/// The storage of a state directory, which is made for its owner alone if it is not there.
///
/// # Errors
/// The directory or its databases.
pub async fn open_storage(state_dir: &Path) -> Result<Storage, StartError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let private = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        std::fs::set_permissions(state_dir, std::fs::Permissions::from_mode(0o700))
    };
    private().map_err(|source| StartError::StateDir { path: state_dir.display().to_string(), source })?;
    Ok(Storage::open(state_dir).await?)
}

/// The certificate authority of a state directory, with a server certificate for the names this coordinator is reached by.
///
/// # Errors
/// Its files.
pub fn open_ca(state_dir: &Path, public_address: &str, address: SocketAddr) -> Result<Arc<Ca>, CaError> {
    let public_host = public_address.rsplit_once(':').map_or(public_address, |(host, _)| host).trim_matches(['[', ']']);
    let mut names: Vec<String> = vec![public_host.to_owned(), "localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    if !address.ip().is_unspecified() {
        names.push(address.ip().to_string());
    }
    names.sort();
    names.dedup();
    Ca::open(state_dir, &names)
}

/// Every operation with what it needs, and nothing more.
fn api(gate: Gate, storage: &Storage, passwords: Passwords, line: InstallLine, upgrades: TaskTracker) -> Api {
    let mut api = Api::new(gate, upgrades);
    account::register(&mut api, &Door { storage: storage.clone(), passwords, limit: Arc::new(LoginLimit::default()) });
    key::register(&mut api, storage);
    permission::register(&mut api);
    organization::register(&mut api, storage);
    member::register(&mut api, storage);
    role::register(&mut api, storage);
    binding::register(&mut api, storage);
    project::register(&mut api, storage);
    workspace::register(&mut api, storage);
    token::register(&mut api, storage, line);
    firewall::register(&mut api, storage);
    audit::register(&mut api, storage);
    let document = openapi::document();
    api.page("/v1/openapi.json", get(async move || Json(document)));
    api
}

fn bind(address: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let bound = listener.local_addr()?;
    Ok((listener, bound))
}

fn serve(supervisor: &mut Supervisor, listener: TcpListener, tls: Arc<rustls::ServerConfig>, router: Router) -> std::io::Result<()> {
    let acceptor = RustlsAcceptor::new(RustlsConfig::from_config(tls)).handshake_timeout(Duration::from_millis(HANDSHAKE_TIMEOUT_MS)).acceptor(PromptAcceptor);
    let handle = Handle::new();
    let mut server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle.clone());
    // Without a timer hyper waits forever for who connects and says nothing.
    let idle = Duration::from_millis(IDLE_TIMEOUT_MS);
    server.http_builder().http1().timer(TokioTimer::new()).header_read_timeout(idle);
    server.http_builder().http2().timer(TokioTimer::new()).keep_alive_interval(idle).keep_alive_timeout(idle);
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let stop = supervisor.token();
    supervisor.spawn("https", async move {
        let mut serving = std::pin::pin!(server.serve(service));
        tokio::select! {
            ended = &mut serving => return ended,
            () = stop.cancelled() => handle.graceful_shutdown(Some(Duration::from_millis(STOP_GRACE_MS))),
        }
        serving.await
    });
    Ok(())
}
