//! stand-in
use std::net::SocketAddr;
use std::path::Path;

use loopback_protocol::firewall::Policy;

/// stand-in
#[derive(Debug, thiserror::Error)]
#[error("stand-in")]
pub struct NftError;

/// stand-in
pub async fn apply(_policy: &Policy, _coordinators: &[SocketAddr], _state_dir: &Path) -> Result<(), NftError> {
    Ok(())
}

/// stand-in
pub async fn restore(_state_dir: &Path) -> Result<Option<Policy>, NftError> {
    Ok(None)
}

/// stand-in
pub fn stored(_state_dir: &Path) -> Result<Option<(Policy, Vec<SocketAddr>)>, NftError> {
    Ok(None)
}

/// stand-in
pub async fn check() -> Result<(), NftError> {
    Ok(())
}

/// stand-in
#[must_use]
pub fn show(_policy: &Policy, _coordinators: &[SocketAddr]) -> String {
    String::new()
}
