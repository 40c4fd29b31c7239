//! A coordinator with two organizations and the people the tests need, and a client that speaks HTTPS to it.

use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use loopback_coordinator::Coordinator;
use loopback_coordinator::commands::setup::{self, NewAccount};
use loopback_coordinator::config::Config;
use loopback_coordinator::password::Passwords;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery staple";

/// Owns the organization `acme`.
pub const OWNER: &str = "owner@acme.example";
/// Owns the organization `other` and knows nothing of `acme`.
pub const OUTSIDER: &str = "outsider@other.example";

/// A running coordinator and who is signed in.
pub struct World {
    pub coordinator: Coordinator,
    pub owner: String,
    pub outsider: String,
    client: reqwest::Client,
    logs: Logs,
    passwords: Passwords,
    pub directory: TempDir,
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or(Value::Null)
    }

    /// The body's member at a JSON pointer, as text.
    pub fn at(&self, pointer: &str) -> String {
        self.json().pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {}", self.text)).to_owned()
    }

    /// The body without what differs from request to request.
    pub fn without_request_id(&self) -> Value {
        let mut body = self.json();
        assert_eq!(body["request_id"].as_str(), self.headers["x-request-id"].to_str().ok(), "{}", self.text);
        body["request_id"].take();
        body
    }

    /// Fails unless the status is this one.
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text);
        self
    }
}

impl World {
    /// Starts a coordinator with the organizations `acme` (with `acme/prod/web`) and `other`.
    pub async fn start() -> Self {
        let logs = Logs::captured();
        let directory = tempfile::tempdir().unwrap();
        let coordinator = Coordinator::start(Config::at(directory.path(), "127.0.0.1:0".parse().unwrap()).unwrap()).await.unwrap();
        let passwords = Passwords::new().unwrap();
        for (organization, email) in [("acme", OWNER), ("other", OUTSIDER)] {
            setup::organization(coordinator.storage(), &passwords, organization, account(email)).await.unwrap();
        }
        let _ = rustls::crypto::ring::default_provider().install_default();
        let root = reqwest::Certificate::from_der(coordinator.ca().certificate()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([root]).build().unwrap();
        let mut world = Self { coordinator, owner: String::new(), outsider: String::new(), client, logs, passwords, directory };
        world.owner = world.login(OWNER).await;
        world.outsider = world.login(OUTSIDER).await;
        world.post("/v1/organizations/acme/projects", json!({ "slug": "prod" })).await.expect(200);
        world.post("/v1/organizations/acme/projects/prod/workspaces", json!({ "slug": "web" })).await.expect(200);
        world
    }

    /// Makes an account, and signs it in.
    pub async fn person(&self, email: &str, place: Option<(&str, &str)>) -> String {
        setup::person(self.coordinator.storage(), &self.passwords, account(email), place).await.unwrap();
        self.login(email).await
    }

    /// Signs somebody in.
    pub async fn login(&self, email: &str) -> String {
        self.try_login(email, PASSWORD).await.expect(200).at("/secret")
    }

    /// Tries to sign somebody in.
    pub async fn try_login(&self, email: &str, password: &str) -> Answer {
        self.call(None, "POST", "/v1/login", Some(json!({ "email": email, "password": password }).to_string())).await
    }

    /// As the owner of `acme`.
    pub async fn get(&self, path: &str) -> Answer {
        self.call(Some(&self.owner), "GET", path, None).await
    }

    /// As the owner of `acme`.
    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.call(Some(&self.owner), "POST", path, Some(body.to_string())).await
    }

    /// As the owner of `acme`.
    pub async fn put(&self, path: &str, body: Value) -> Answer {
        self.call(Some(&self.owner), "PUT", path, Some(body.to_string())).await
    }

    /// As the owner of `acme`.
    pub async fn delete(&self, path: &str) -> Answer {
        self.call(Some(&self.owner), "DELETE", path, None).await
    }

    /// A request with any credential, method and body.
    pub async fn call(&self, secret: Option<&str>, method: &str, path: &str, body: Option<String>) -> Answer {
        let url = format!("https://127.0.0.1:{}{path}", self.coordinator.address().port());
        let mut request = self.client.request(method.parse().unwrap(), url);
        if let Some(secret) = secret {
            request = request.bearer_auth(secret);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await.unwrap() };
        if status >= 400 {
            assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.text);
        }
        answer
    }

    /// Runs a statement behind the coordinator's back.
    pub async fn sql(&self, sql: &str) -> u64 {
        let mut tx = self.coordinator.storage().begin().await.unwrap();
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(tx.connection()).await.unwrap().rows_affected();
        tx.commit(loopback_coordinator::storage::Entry::of_system(loopback_coordinator::storage::Trail::Platform, "test", "sql")).await.unwrap();
        rows
    }

    /// Every event there is, oldest first by trail: trail, action, outcome.
    pub async fn events(&self) -> Vec<(String, String, String)> {
        use sqlx::Row as _;
        let sql = "SELECT trail, action, event FROM audit_event ORDER BY trail, sequence";
        let rows = sqlx::query(sql).fetch_all(self.coordinator.storage().reader()).await.unwrap();
        let outcome = |event: String| serde_json::from_str::<Value>(&event).unwrap()["outcome"].as_str().unwrap().to_owned();
        rows.iter().map(|row| (row.get("trail"), row.get("action"), outcome(row.get("event")))).collect()
    }

    /// The events of an action, whole, oldest first.
    pub async fn audit(&self, action: &str) -> Vec<Value> {
        let sql = "SELECT event FROM audit_event WHERE action = $1 ORDER BY time_ms, trail, sequence";
        let events: Vec<String> = sqlx::query_scalar(sql).bind(action.to_owned()).fetch_all(self.coordinator.storage().reader()).await.unwrap();
        events.iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    /// The file of observations, beside the coordinator.
    pub async fn observed(&self) -> sqlx::AnyPool {
        sqlx::AnyPool::connect(&format!("sqlite://{}", self.directory.path().join("observed.db").display())).await.unwrap()
    }

    /// Asks as the owner of `acme` until an answer's member has this text.
    pub async fn eventually(&self, path: &str, pointer: &str, text: &str) {
        let mut last = Value::Null;
        let asking = async {
            while last.pointer(pointer).and_then(Value::as_str) != Some(text) {
                last = self.get(path).await.json();
            }
        };
        assert!(tokio::time::timeout(Duration::from_secs(20), asking).await.is_ok(), "{pointer} of {path} is not {text}: {last}");
    }

    /// What was logged, at every level.
    pub fn logged(&self) -> String {
        String::from_utf8_lossy(&self.logs.0.lock().unwrap()).into_owned()
    }

    /// Stops the coordinator. An ERROR in the logs is a fault.
    pub async fn end(self) {
        let logs = self.logs.clone();
        drop(self.client);
        self.coordinator.shutdown().await.unwrap();
        let logged = String::from_utf8_lossy(&logs.0.lock().unwrap()).into_owned();
        let errors: Vec<_> = logged.lines().filter(|line| line.contains("ERROR")).collect();
        assert!(errors.is_empty(), "{errors:#?}");
    }
}

fn account(email: &str) -> NewAccount {
    NewAccount { email: email.to_owned(), name: None, password: PASSWORD.to_owned() }
}

/// The process's log lines.
#[derive(Clone)]
struct Logs(Arc<Mutex<Vec<u8>>>);

impl Logs {
    fn captured() -> Self {
        static LOGS: OnceLock<Logs> = OnceLock::new();
        let logs = LOGS.get_or_init(|| {
            let logs = Self(Arc::default());
            let writer = logs.clone();
            let lines = tracing_subscriber::fmt().with_env_filter("debug,loopback_coordinator=trace").with_ansi(false);
            lines.with_writer(move || writer.clone()).init();
            logs
        });
        logs.clone()
    }
}

impl Write for Logs {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
