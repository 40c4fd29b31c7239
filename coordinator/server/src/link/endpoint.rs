//! The QUIC endpoint and its one block of settings.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use loopback_protocol::version::{ALPN_ENROLL, ALPN_LINK};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{Endpoint, EndpointConfig, IdleTimeout, ServerConfig, TransportConfig, VarInt};
use quinn_proto::HashedConnectionIdGenerator;

use crate::ca::{Ca, CaError, keys};

/// An agent that says nothing for this long has no link: three heartbeats of five seconds.
const IDLE_TIMEOUT_MS: u32 = 15_000;
/// The agents keep the link alive; the coordinator would pay for each of 100,000.
const KEEP_ALIVE: Option<Duration> = None;
/// A fixed window of 64 KiB keeps Ctrl-C in a flooding shell quick (measured: 9 ms against 91 with the default).
const STREAM_WINDOW_BYTES: u32 = 64 * 1024;
/// All of one agent's streams together; bounds what 100,000 of them may make us hold.
const CONNECTION_WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// What may wait for an agent's acknowledgement on all of its streams.
const SEND_WINDOW_BYTES: u64 = 4 * 1024 * 1024;
/// The agent opens its control stream, and nothing else.
const AGENT_STREAMS_MAX: u32 = 2;
/// First packets that wait to be looked at; how many peers may be in their handshake is the listener's bound.
const INCOMING_MAX: usize = 4_096;

/// Why there is no endpoint.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// The certificates.
    #[error(transparent)]
    Ca(#[from] CaError),
    /// rustls offers no cipher suite for QUIC.
    #[error("TLS for QUIC: {0}")]
    Tls(#[from] quinn::crypto::rustls::NoInitialCipherSuite),
    /// The address.
    #[error("UDP {address}: {source}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Binds the endpoint. The reset key and the connection-id key are kept over restarts: with them an agent whose coordinator was killed is told so by
/// the next packet it sends, instead of waiting out its idle timeout.
pub(super) fn bind(ca: &Ca, state_dir: &Path, address: SocketAddr) -> Result<Endpoint, EndpointError> {
    let reset_key = keys::open_random::<64>(&state_dir.join("ca/quic-reset.key"))?;
    let connection_id_key = u64::from_le_bytes(keys::open_random::<8>(&state_dir.join("ca/quic-connection-id.key"))?);
    let mut endpoint = EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &reset_key)));
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(connection_id_key)));
    endpoint.min_reset_interval(Duration::ZERO);

    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(IDLE_TIMEOUT_MS))))
        .keep_alive_interval(KEEP_ALIVE)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .max_concurrent_bidi_streams(VarInt::from_u32(AGENT_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None);
    let tls = QuicServerConfig::try_from(ca.quic_config(&[ALPN_LINK, ALPN_ENROLL])?)?;
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server.transport_config(Arc::new(transport)).max_incoming(INCOMING_MAX);

    let bind_error = |source| EndpointError::Bind { address, source };
    let socket = std::net::UdpSocket::bind(address).map_err(bind_error)?;
    let runtime = quinn::default_runtime().ok_or_else(|| bind_error(std::io::Error::other("no runtime")))?;
    Endpoint::new(endpoint, Some(server), socket, runtime).map_err(bind_error)
}
