//! The WebSocket a session runs over.

use std::time::Duration;

use loopback_api::Operation;
use loopback_api::session::OpenShell;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, http};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::client::{CallError, Client, named};
use crate::limits::{CALL_TIMEOUT_MS, MESSAGE_MAX_BYTES};
use crate::tls;

pub(super) type Socket = WebSocketStream<TlsStream<TcpStream>>;

/// Connects to a host's shell, verified and with the credential as any call.
pub(super) async fn connect(client: &Client, host: &[&str]) -> Result<Socket, CallError> {
    let request = request(client, host)?;
    let stream = tls::connect(client.url(), client.tls()).await?;
    let config = WebSocketConfig::default().max_message_size(Some(MESSAGE_MAX_BYTES)).max_frame_size(Some(MESSAGE_MAX_BYTES));
    let shaken = timeout(Duration::from_millis(CALL_TIMEOUT_MS), client_async_with_config(request, stream, Some(config))).await;
    match shaken.map_err(|_| client.unreachable("no answer in time"))? {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::Error::Http(refused)) => {
            let refused = client.refused(refused.status().as_u16(), refused.body().as_deref().unwrap_or_default());
            Err(named(refused, host, None))
        }
        Err(tungstenite::Error::Io(error)) => Err(client.unreachable(error)),
        Err(other) => Err(client.malformed(other.to_string())),
    }
}

fn request(client: &Client, host: &[&str]) -> Result<http::Request<()>, CallError> {
    let url = client.address(&OpenShell::SPEC, host, None);
    // The scheme is a WebSocket's; everything else is the same.
    let url = url.as_str().replacen("https://", "wss://", 1);
    let mut request = url.into_client_request().map_err(|error| CallError::Unusable(error.to_string()))?;
    if let Some(authorization) = client.authorization() {
        request.headers_mut().insert(AUTHORIZATION, authorization.clone());
    }
    Ok(request)
}
