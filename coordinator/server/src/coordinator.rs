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
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::authority::Authority;
use crate::ca::{Ca, CaError};
use crate::commands::token::InstallLine;
use crate::config::{Config, ConfigError};
use crate::http::api::Api;
use crate::http::identity::Gate;
use crate::http::install::{self, Install};
use crate::http::openapi;
use crate::http::routes::account::Door;
use crate::http::routes::host::Hosts;
use crate::http::routes::host_firewall::HostFirewalls;
use crate::http::routes::{
    account, audit, binding, firewall, host, host_firewall, key, member, metrics, organization, permission, project, role, session, token, workspace,
};
use crate::http::socket::PromptAcceptor;
use crate::limits::{HANDSHAKE_TIMEOUT_MS, IDLE_TIMEOUT_MS, SHELLS_STOP_MAX_MS, STOP_GRACE_MS};
use crate::link::{EndpointError, Listener, Registry, Shared};
use crate::login_limit::LoginLimit;
use crate::observed::Observed;
use crate::password::{PasswordError, Passwords};
use crate::reconcile::Desired;
use crate::shell::Broker;
use crate::state_lock;
use crate::storage::{Storage, StorageError, host as host_rows};
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
    pages: Vec<&'static str>,
    shells: CancellationToken,
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
    #[error("{path}: {source}; make it an empty directory this user can write, or set `state_dir`")]
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
    /// Its QUIC endpoint.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
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
        let parts = Parts::open(&config, storage, Arc::clone(&ca), address, &mut supervisor).await?;
        let upgrades = TaskTracker::new();
        let install = Install { address: public_address.clone(), pin: ca.pin(), agent_binary: config.agent_binary() };
        let api = api(&parts, passwords, install, upgrades.clone()).await;
        let (operations, pages) = (api.operations().to_vec(), api.pages().to_vec());
        serve(&mut supervisor, listener, ca.https_config()?, api.into_router()).map_err(|source| StartError::Listen { address, source })?;
        tracing::info!(%address, public_address, fingerprint = %ca.fingerprint(), "the coordinator runs");
        let Parts { storage, authority, shells, .. } = parts;
        Ok(Self { address, public_address, ca, storage, authority, operations, pages, shells, upgrades, supervisor })
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

    /// What it serves beside them: paths that anybody may fetch.
    #[must_use]
    pub fn pages(&self) -> &[&'static str] {
        &self.pages
    }

    /// Waits for what should not happen: a task that ends by itself.
    pub async fn failed(&mut self) -> TaskEnded {
        self.supervisor.failed().await
    }

    /// Stops. Shells end first, while their hosts can still be told to end what runs in them; then there is no new request, those under way get a moment,
    /// and everything is gone.
    ///
    /// # Errors
    /// A task that failed while stopping, or did not stop.
    pub async fn shutdown(self) -> Result<(), TaskEnded> {
        self.shells.cancel();
        self.upgrades.close();
        if tokio::time::timeout(Duration::from_millis(SHELLS_STOP_MAX_MS), self.upgrades.wait()).await.is_err() {
            tracing::warn!(left = self.upgrades.len(), "shells did not end in time; the next start writes down that they have ended");
        }
        self.supervisor.stop(Duration::from_millis(2 * STOP_GRACE_MS)).await?;
        self.storage.close().await;
        Ok(())
    }
}

/// The storage of a state directory, which is made for its owner alone if it is not there.
///
/// # Errors
/// The directory or its databases.
pub async fn open_storage(state_dir: &Path) -> Result<Storage, StartError> {
    claim_state_dir(state_dir)?;
    Ok(Storage::open(state_dir).await?)
}

/// Makes the state directory, for its owner alone, or finds that it is ours already.
///
/// # Errors
/// It cannot be made, or holds somebody else's things.
pub fn claim_state_dir(state_dir: &Path) -> Result<(), StartError> {
    use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
    let private = || {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state_dir)?;
        // Closing somebody else's directory would cut them off.
        let is_ours = ["coordinator.db", "ca"].iter().any(|ours| state_dir.join(ours).exists());
        if !is_ours && std::fs::read_dir(state_dir)?.flatten().any(|entry| !["lost+found", state_lock::FILE].iter().any(|known| entry.file_name() == *known)) {
            return Err(std::io::Error::new(std::io::ErrorKind::DirectoryNotEmpty, "it holds other things than a coordinator's state"));
        }
        std::fs::set_permissions(state_dir, std::fs::Permissions::from_mode(0o700))
    };
    private().map_err(|source| StartError::StateDir { path: state_dir.display().to_string(), source })
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

/// What the coordinator is made of, started and owned by the supervisor.
struct Parts {
    storage: Storage,
    observed: Observed,
    ca: Arc<Ca>,
    registry: Registry,
    desired: Desired,
    authority: Arc<Authority>,
    broker: Arc<Broker>,
    /// Ends every shell.
    shells: CancellationToken,
}

impl Parts {
    async fn open(config: &Config, storage: Storage, ca: Arc<Ca>, address: SocketAddr, supervisor: &mut Supervisor) -> Result<Self, StartError> {
        let (observed, writer) = Observed::open(&config.state_dir).await?;
        let terms = config.link_terms();
        let registry = Registry::new(terms.heartbeat_interval_ms);
        let desired = Desired::new(storage.clone(), observed.clone(), registry.clone());
        let authority = Authority::new(storage.clone());
        let shells = supervisor.token().child_token();
        let broker = Broker::new(storage.clone(), Arc::clone(&authority), registry.clone(), config.state_dir.join("recordings"), shells.clone());
        broker.recover().await?;
        for removed in host_rows::removed(storage.reader()).await? {
            ca.removed().insert(removed);
        }
        let parts = Self { storage, observed, ca, registry, desired, authority, broker, shells };
        let link = Listener::bind(address, &config.state_dir, parts.link(), terms)?;
        let stop = supervisor.token();
        supervisor.spawn("observed", writer.run(stop.clone()));
        supervisor.spawn("desired", parts.desired.clone().run(stop.clone()));
        supervisor.spawn("links", async move {
            Arc::new(link).run(stop).await;
            Ok::<_, StorageError>(())
        });
        Ok(parts)
    }

    fn link(&self) -> Shared {
        Shared {
            ca: Arc::clone(&self.ca),
            storage: self.storage.clone(),
            observed: self.observed.clone(),
            registry: self.registry.clone(),
            desired: self.desired.clone(),
        }
    }
}

/// Every operation with what it needs, and nothing more.
async fn api(parts: &Parts, passwords: Passwords, install: Install, upgrades: TaskTracker) -> Api {
    let Parts { storage, observed, ca, registry, desired, authority, broker, .. } = parts;
    let mut api = Api::new(Gate::new(storage.clone(), Arc::clone(authority), observed.clone()), upgrades);
    account::register(&mut api, &Door { storage: storage.clone(), passwords, limit: Arc::new(LoginLimit::default()) });
    key::register(&mut api, storage, observed);
    permission::register(&mut api);
    organization::register(&mut api, storage);
    member::register(&mut api, storage);
    role::register(&mut api, storage);
    binding::register(&mut api, storage);
    project::register(&mut api, storage);
    workspace::register(&mut api, storage);
    token::register(&mut api, storage, InstallLine { address: install.address.clone(), pin: install.pin.clone(), ca: ca.fingerprint() });
    host::register(&mut api, &Hosts { storage: storage.clone(), observed: observed.clone(), registry: registry.clone(), ca: Arc::clone(ca) });
    firewall::register(&mut api, storage);
    // Agents resolve the name themselves; what they reach is what their system layer lets pass.
    let coordinators = tokio::net::lookup_host(&install.address).await.map(Iterator::collect).unwrap_or_default();
    let effective = HostFirewalls { storage: storage.clone(), observed: observed.clone(), desired: desired.clone(), coordinators };
    host_firewall::register(&mut api, &effective);
    metrics::register(&mut api, observed);
    session::register(&mut api, storage, broker);
    audit::register(&mut api, storage);
    let document = openapi::document();
    api.page("/v1/openapi.json", get(async move || Json(document)));
    install::register(&mut api, install);
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
