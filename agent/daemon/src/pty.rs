//! Shell sessions on this host: one terminal, one login shell and one tree of processes for each stream the coordinator opens.
//!
//! A session lives inside [`serve`]. Whatever ends it – the shell, the coordinator, a cut stream, the agent – `serve` returns only when no process of the session is left, or says that some
//! are. It decides nothing about who may open a shell, keeps no recording and knows no time limit: the coordinator does.

use std::io;
use std::path::Path;
use std::time::Duration;

use loopback_protocol::error::Malformed;
use loopback_protocol::frame::Decoder;
use loopback_protocol::limits::SHELL_FRAME_MAX_BYTES;
use loopback_protocol::shell::{Exit, ShellEvent, ShellOpen, ShellRequest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

mod account;
mod cgroup;
mod exec;
mod procfs;
mod queue;
mod relay;
mod shell;
mod terminal;
mod tree;

pub use exec::{SESSION_EXEC, SessionExecError, session_exec};
pub use tree::end_leftovers;

use relay::Relay;
use shell::Shell;
use tree::ProcessTree;

/// How long a coordinator may take to say what it opens.
const OPEN_WAIT_MAX_MS: u64 = 10_000;
/// How long the last output and the exit status may take to leave.
const FAREWELL_MAX_MS: u64 = 5_000;

/// What the host's owner decides about shells.
#[derive(Debug, Clone)]
pub struct ShellConfig {
    /// The login name of sessions that name none.
    pub login_user: String,
}

/// Why a session did not go as it should.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The coordinator's messages are not what they must be.
    #[error("the coordinator broke the shell protocol: {0}")]
    Coordinator(#[from] Malformed),
    /// The coordinator opened a stream and did not say what for.
    #[error("the coordinator opened a shell stream and sent no request for {OPEN_WAIT_MAX_MS} ms")]
    Silent,
    /// The stream broke.
    #[error("the shell stream failed: {0}")]
    Stream(io::Error),
    /// The kernel's side of the terminal failed.
    #[error("the session's terminal failed: {0}")]
    Terminal(io::Error),
    /// Processes of the session survive SIGKILL, which only the kernel can hold up (a hung mount, a broken disk).
    #[error("{0} processes of the session cannot be killed; look for state D in `ps`")]
    Unkillable(usize),
}

/// Runs one session on one stream, from its first message to its last.
///
/// Cancel it by the token, not by dropping the future: ending processes takes time, and dropping only sends them SIGKILL.
///
/// # Errors
/// The coordinator broke the protocol, the stream or the terminal failed, or processes are left. Except for the last, the session is gone from the host all the same.
pub async fn serve<W, R>(send: W, recv: R, config: &ShellConfig, cancel: CancellationToken) -> Result<(), SessionError>
where
    W: AsyncWrite + Unpin + Send,
    R: AsyncRead + Unpin + Send,
{
    // The file this process runs from, even when an update has put another in its place.
    serve_through(Path::new("/proc/self/exe"), send, recv, config, cancel).await
}

/// [`serve`], entering sessions through another program that understands [`SESSION_EXEC`].
///
/// # Errors
/// As [`serve`].
pub async fn serve_through<W, R>(program: &Path, mut send: W, mut recv: R, config: &ShellConfig, cancel: CancellationToken) -> Result<(), SessionError>
where
    W: AsyncWrite + Unpin + Send,
    R: AsyncRead + Unpin + Send,
{
    let mut decoder = Decoder::new(SHELL_FRAME_MAX_BYTES);
    let first = tokio::select! {
        () = cancel.cancelled() => return Ok(()),
        first = tokio::time::timeout(Duration::from_millis(OPEN_WAIT_MAX_MS), first_request(&mut recv, &mut decoder)) => first.map_err(|_| SessionError::Silent)??,
    };
    let Some(request) = first else { return Ok(()) };
    let ShellRequest::Open(open) = request else { return Err(Malformed::Missing("shell_request.open").into()) };

    let shell = match Shell::open(&open, &config.login_user, program.as_os_str()).await {
        Ok(shell) => shell,
        Err(refusal) => {
            tracing::warn!(session = %open.session, reason = %refusal, "shell session refused");
            return say_last(&mut send, &ShellEvent::Refused(refusal.to_string())).await;
        }
    };
    run(shell, &open, decoder, send, recv, &cancel).await
}

/// From an open shell to its farewell.
async fn run<W, R>(shell: Shell, open: &ShellOpen, decoder: Decoder, mut send: W, mut recv: R, cancel: &CancellationToken) -> Result<(), SessionError>
where
    W: AsyncWrite + Unpin + Send,
    R: AsyncRead + Unpin + Send,
{
    let Shell { terminal, mut child, pid, tree } = shell;
    tracing::info!(session = %open.session, pid, "shell session opened");
    let mut relay = Relay::new(terminal, decoder);
    relay.announce(&ShellEvent::Opened(pid))?;
    let outcome = relay.run(&mut send, &mut recv, &mut child, cancel).await;

    end_processes(tree).await?;
    let exit = exit_of(&mut child).await;
    let ending = outcome?;
    tracing::info!(session = %open.session, ?ending, ?exit, "shell session ended");
    relay.drain()?;
    relay.announce(&ShellEvent::Exited(exit?))?;
    say(&mut send, relay.unsent()).await
}

async fn end_processes(tree: ProcessTree) -> Result<(), SessionError> {
    // Reading /proc and waiting for the kernel would hold up the other sessions on this thread.
    tokio::task::spawn_blocking(move || tree.end())
        .await
        .map_err(|panic| SessionError::Terminal(io::Error::other(panic)))?
        .map_err(|remaining| SessionError::Unkillable(remaining.count))
}

async fn exit_of(child: &mut Child) -> Result<Exit, SessionError> {
    use std::os::unix::process::ExitStatusExt as _;
    let status = child.wait().await.map_err(SessionError::Terminal)?;
    let number = |value: i32| u8::try_from(value).unwrap_or(u8::MAX);
    Ok(match status.signal() {
        Some(signal) => Exit::Signal(number(signal)),
        None => Exit::Code(number(status.code().unwrap_or_default())),
    })
}

/// The first request, or none when the stream ends before it.
async fn first_request<R: AsyncRead + Unpin>(recv: &mut R, decoder: &mut Decoder) -> Result<Option<ShellRequest>, SessionError> {
    let mut bytes = [0; 1024];
    loop {
        if let Some(payload) = decoder.next_frame()? {
            return Ok(Some(ShellRequest::decode(&payload)?));
        }
        let read = recv.read(&mut bytes).await.map_err(SessionError::Stream)?;
        if read == 0 {
            return Ok(None);
        }
        decoder.push(bytes.get(..read).unwrap_or_default());
    }
}

async fn say_last<W: AsyncWrite + Unpin>(send: &mut W, event: &ShellEvent) -> Result<(), SessionError> {
    let frame = loopback_protocol::frame::encode(&event.encode(), SHELL_FRAME_MAX_BYTES)?;
    say(send, &frame).await
}

/// Sends the last bytes and finishes the stream.
async fn say<W: AsyncWrite + Unpin>(send: &mut W, bytes: &[u8]) -> Result<(), SessionError> {
    let farewell = async {
        send.write_all(bytes).await?;
        send.shutdown().await
    };
    match tokio::time::timeout(Duration::from_millis(FAREWELL_MAX_MS), farewell).await {
        Ok(sent) => sent.map_err(SessionError::Stream),
        Err(_) => Err(SessionError::Stream(io::ErrorKind::TimedOut.into())),
    }
}
