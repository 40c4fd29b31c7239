//! Somebody at a terminal: the WebSocket of a shell, over TLS.

use std::sync::Arc;

use futures_util::{SinkExt as _, StreamExt as _};
use loopback_api::Operation as _;
use loopback_api::session::{ClientMessage, OpenRequest, OpenShell, ServerMessage};
use loopback_coordinator::ca::SERVER_NAME;
use loopback_protocol::shell::WindowSize;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

use crate::harness::World;
use crate::machine::within;

/// An operator who asked for a shell.
pub struct Operator(WebSocketStream<TlsStream<TcpStream>>);

impl Operator {
    /// The owner of `acme` asks for a shell on a host of `acme/prod/web`.
    pub async fn ask(world: &World, host: &str) -> Self {
        let address = world.coordinator.address();
        let mut roots = rustls::RootCertStore::empty();
        roots.add(world.coordinator.ca().certificate().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(tls.with_root_certificates(roots).with_no_client_auth()));
        let stream = connector.connect(SERVER_NAME.try_into().unwrap(), TcpStream::connect(address).await.unwrap()).await.unwrap();
        let mut request = format!("wss://{address}{}", OpenShell::SPEC.url(&["acme", "prod", "web", host], None)).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", world.owner).parse().unwrap());
        let mut operator = Self(tokio_tungstenite::client_async(request, stream).await.unwrap().0);
        let size = WindowSize { columns: 80, rows: 24 };
        let open = OpenRequest { size, term: "xterm".into(), lang: String::new(), run_as: None, command: None, reason: String::new(), max_seconds: None };
        operator.0.send(Message::text(serde_json::to_string(&ClientMessage::Open(open)).unwrap())).await.unwrap();
        operator
    }

    /// The next message; output on the way to it is passed over.
    pub async fn hear(&mut self) -> ServerMessage {
        loop {
            if let Message::Text(text) = within(self.0.next()).await.expect("a message").unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }
}
