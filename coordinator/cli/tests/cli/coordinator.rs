//! A coordinator in this process: its own CA, HTTPS on a free port of the loopback address, and the answers a test gives it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use axum_server::Handle;
use axum_server::tls_rustls::RustlsConfig;
use loopback_api::{Problem, ProblemKind};
use loopback_protocol::secret::Fingerprint;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::task::JoinHandle;

/// A CA.
pub struct Authority {
    certificate: CertificateDer<'static>,
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "loopback test CA");
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), certificate: certificate.der().clone(), issuer: Issuer::new(params, key) }
    }

    pub fn fingerprint(&self) -> String {
        Fingerprint::of(&self.certificate).to_string()
    }

    pub fn pem(&self) -> &str {
        &self.pem
    }

    fn server_config(&self, names: &[&str]) -> rustls::ServerConfig {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(names).unwrap().signed_by(&key, &self.issuer).unwrap();
        let chain = vec![leaf.der().clone(), self.certificate.clone()];
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
            .unwrap()
    }
}

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `GET /v1/account`.
    pub what: String,
    pub authorization: String,
    pub body: String,
}

pub struct Coordinator {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    handle: Handle<SocketAddr>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Coordinator {
    /// Serves `routes` with a certificate for `names`. What has no route is not found.
    pub async fn start(authority: &Authority, names: &[&str], routes: Router) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        let absent = async || problem(Problem::new(ProblemKind::NotFound, "There is no such thing."));
        let app = routes.fallback(absent).layer(from_fn(move |request: Request, next: Next| remember(log.clone(), request, next)));
        let handle = Handle::new();
        let config = RustlsConfig::from_config(Arc::new(authority.server_config(names)));
        let server = axum_server::bind_rustls("127.0.0.1:0".parse::<SocketAddr>().unwrap(), config).handle(handle.clone());
        let task = tokio::spawn(server.serve(app.into_make_service()));
        let address = handle.listening().await.unwrap();
        Self { url: format!("https://{address}/"), asked, handle, task }
    }

    /// Everything it was asked since the last time.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }

    /// The same, methods and paths only.
    pub fn paths(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.what).collect()
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        self.handle.shutdown();
        self.task.abort();
    }
}

async fn remember(log: Arc<Mutex<Vec<Asked>>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap();
    log.lock().unwrap().push(Asked {
        what: format!("{} {}", parts.method, parts.uri),
        authorization: parts.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default(),
        body: String::from_utf8_lossy(&body).into_owned(),
    });
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// A problem as the coordinator sends it.
pub fn problem(problem: Problem) -> Response {
    let problem = Problem { request_id: "req-4711".to_owned(), ..problem };
    let status = axum::http::StatusCode::from_u16(problem.status).unwrap();
    (status, [("content-type", "application/problem+json")], Json(problem)).into_response()
}
