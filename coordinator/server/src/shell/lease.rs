//! The lease of an open session: the permission is decided anew on each change of the organization and each second.

use std::time::Duration;

use loopback_core::access::Grant;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, timeout, timeout_at};

use crate::authority::Authority;
use crate::clock::now_ms;
use crate::storage::Storage;

/// Between two decisions when nothing is known to have changed: an expiry changes nothing, and another process may.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a session goes on while no decision can be had; then it counts as refused.
const UNDECIDED_MAX: Duration = Duration::from_secs(5);

/// Returns when the grant no longer holds.
pub(super) async fn lost(storage: &Storage, authority: &Authority, grant: &Grant) {
    let mut changes = storage.subscribe();
    let mut decided_at = Instant::now();
    while decided_at.elapsed() <= UNDECIDED_MAX {
        match timeout(INTERVAL, authority.still_holds(grant, now_ms())).await {
            Ok(Ok(true)) => decided_at = Instant::now(),
            Ok(Ok(false)) => return,
            Ok(Err(error)) => tracing::warn!(%error, "a session's lease cannot be decided"),
            Err(_) => tracing::warn!("a session's lease cannot be decided in time"),
        }
        let again_at = Instant::now() + INTERVAL;
        loop {
            match timeout_at(again_at, changes.recv()).await {
                Ok(Ok(organization)) if organization != grant.scope().organization() => {}
                Ok(Ok(_) | Err(RecvError::Lagged(_))) | Err(_) => break,
                // The storage is gone, and with it the coordinator.
                Ok(Err(RecvError::Closed)) => return,
            }
        }
    }
}
