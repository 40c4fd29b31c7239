//! A first contact: one request, one answer.

use std::net::IpAddr;
use std::time::Duration;

use loopback_protocol::enroll::{FirstAnswer, FirstContact, RENEW_EXPORTER_LABEL, Refusal};
use loopback_protocol::frame;
use loopback_protocol::limits::ENROLL_FRAME_MAX_BYTES;
use quinn::{Connection, RecvStream, VarInt};
use tokio::sync::Semaphore;

use super::listener::Shared;
use super::registry::code;
use crate::ca::Ca;
use crate::commands::enroll;
use crate::storage::Storage;

/// How long a first contact may take.
const CONTACT_TIMEOUT: Duration = Duration::from_secs(15);

/// Answers one first contact and lets the machine go.
pub(super) async fn serve(connection: &Connection, shared: &Shared, turns: &Semaphore, certificate_life_ms: u64) {
    let peer = connection.remote_address();
    let contact = async {
        let (mut send, mut receive) = connection.accept_bi().await.map_err(|error| error.to_string())?;
        let payload = read(&mut receive).await?;
        // Who says nothing keeps nobody else from speaking: the turn begins with the request.
        let turn = turns.acquire().await.map_err(|error| error.to_string())?;
        let answer = answer(connection, &payload, &shared.ca, &shared.storage, certificate_life_ms, peer.ip().to_canonical()).await;
        drop(turn);
        let frame = frame::encode(&answer.encode(), ENROLL_FRAME_MAX_BYTES).map_err(|error| error.to_string())?;
        send.write_all(&frame).await.map_err(|error| error.to_string())?;
        send.finish().map_err(|error| error.to_string())?;
        // The machine closes when it has read the answer.
        connection.closed().await;
        Ok::<_, String>(())
    };
    match tokio::time::timeout(CONTACT_TIMEOUT, contact).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "first contact failed"),
        Err(_) => tracing::debug!(%peer, "first contact timed out"),
    }
    connection.close(VarInt::from_u32(code::STOPPING), b"");
}

async fn answer(connection: &Connection, payload: &[u8], ca: &Ca, storage: &Storage, life_ms: u64, address: IpAddr) -> FirstAnswer {
    let done = match FirstContact::decode(payload) {
        Ok(FirstContact::Enroll(request)) => enroll::enroll(storage, ca, &request, address, life_ms).await,
        Ok(FirstContact::Renew(request)) => {
            let mut keying = [0; 32];
            match connection.export_keying_material(&mut keying, RENEW_EXPORTER_LABEL, b"") {
                Ok(()) => enroll::renew_expired(storage, ca, &request, &keying, address, life_ms).await,
                Err(_) => return refused("malformed", "the connection has no keying material"),
            }
        }
        Err(error) => return refused("malformed", &error.to_string()),
    };
    match done {
        Ok(answer) => answer,
        Err(error) => {
            tracing::error!(%error, "first contact lost to the database");
            refused("unavailable", "the coordinator cannot admit hosts now; try again")
        }
    }
}

fn refused(reason: &str, message: &str) -> FirstAnswer {
    FirstAnswer::Refused(Refusal { reason: reason.to_owned(), message: message.to_owned() })
}

async fn read(receive: &mut RecvStream) -> Result<Vec<u8>, String> {
    let mut decoder = frame::Decoder::new(ENROLL_FRAME_MAX_BYTES);
    loop {
        if let Some(payload) = decoder.next_frame().map_err(|error| error.to_string())? {
            return Ok(payload);
        }
        let chunk = receive.read_chunk(ENROLL_FRAME_MAX_BYTES, true).await.map_err(|error| error.to_string())?;
        decoder.push(&chunk.ok_or("the machine said nothing")?.bytes);
    }
}
