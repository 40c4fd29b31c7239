//! stand-in
use std::ffi::OsString;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;

/// stand-in
#[derive(Debug, Clone)]
pub struct ShellConfig {
    /// stand-in
    pub login_user: String,
}

/// stand-in
#[derive(Debug, thiserror::Error)]
#[error("stand-in")]
pub struct SessionError;

/// stand-in
pub async fn serve<W: AsyncWrite + Unpin + Send, R: AsyncRead + Unpin + Send>(
    _send: W,
    _recv: R,
    _config: &ShellConfig,
    cancel: CancellationToken,
) -> Result<(), SessionError> {
    cancel.cancelled().await;
    Ok(())
}

/// stand-in
#[must_use]
pub fn session_exec(_args: Vec<OsString>) -> anyhow::Error {
    anyhow::anyhow!("stand-in")
}

/// stand-in
pub fn end_leftovers() {}
