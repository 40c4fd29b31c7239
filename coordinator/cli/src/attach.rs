//! This terminal, attached to a shell on a host: bytes both ways, its size, signals, and at the end the shell's exit code.
//!
//! Input and output go on independently, so that a stalled reader here never stops a Ctrl-C on its way there. The terminal is put back as it was however
//! the session ends.

mod escape;
mod input;
mod operator;
mod socket;
mod terminal;

use std::io;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use loopback_api::session::{ClientMessage, OpenRequest, ServerMessage};
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::{self, Bytes, Message};

pub(crate) use self::terminal::window_size;

use self::operator::Operator;
use self::socket::Socket;
use self::terminal::RawMode;
use crate::client::{CallError, Client};
use crate::failure::Failure;
use crate::limits::{CLOSE_WAIT_MS, SILENCE_MAX_MS};
use crate::output::note;
use crate::scope::ScopeArg;

/// A session that is asked for.
pub(crate) struct Attached<'a> {
    client: &'a Client,
    host: String,
    sink: SplitSink<Socket, Message>,
    stream: SplitStream<Socket>,
}

/// How a session ended.
struct Ended {
    reason: String,
    exit_code: u8,
}

enum Received {
    Output(Bytes),
    Said(ServerMessage),
}

impl<'a> Attached<'a> {
    /// Asks for a session on a host.
    pub(crate) async fn open(client: &'a Client, host: &ScopeArg, open: OpenRequest) -> Result<Self, Failure> {
        let (mut sink, stream) = socket::connect(client, &host.segments()).await?.split();
        sink.send(said(&ClientMessage::Open(open))).await.map_err(|error| client.unreachable(error))?;
        Ok(Self { client, host: host.to_string(), sink, stream })
    }

    /// Goes on until the session ends; the shell's exit code.
    pub(crate) async fn run(mut self) -> Result<u8, Failure> {
        // Until the shell runs the terminal is its owner's: Ctrl-C gives up.
        let ended = match self.opened().await? {
            Some(ended) => {
                note(&format!("error: {}", ended.not_begun(&self.host)));
                return Ok(ended.exit_code);
            }
            None => {
                let raw = RawMode::enter().map_err(|error| Failure::failed(format!("cannot use this terminal: {error}")))?;
                let operator = Operator::listen(raw.is_some()).map_err(|error| Failure::failed(format!("cannot read this terminal: {error}")))?;
                self.attached(operator).await?
            }
        };
        Ok(ended.told())
    }

    /// Waits until the shell runs. It may also end before.
    async fn opened(&mut self) -> Result<Option<Ended>, Failure> {
        match receive(self.client, &mut self.stream).await? {
            Received::Said(ServerMessage::Opened { .. }) => Ok(None),
            Received::Said(ServerMessage::Ended { reason, exit_code }) => Ok(Some(Ended { reason, exit_code })),
            Received::Output(_) => Err(self.client.malformed("output before the shell was opened".to_owned()).into()),
        }
    }

    async fn attached(&mut self, mut operator: Operator) -> Result<Ended, Failure> {
        let Self { client, sink, stream, .. } = self;
        let mut shown = std::pin::pin!(show(client, stream));
        let ended = tokio::select! {
            ended = &mut shown => ended,
            told = tell(&mut operator, sink) => {
                let reason = told.err().map_or("the session was not closed in time".to_owned(), |error| error.to_string());
                // The last word is the coordinator's. When nothing can be told any more, it may have been said already.
                match timeout(Duration::from_millis(CLOSE_WAIT_MS), shown).await {
                    Ok(ended) => ended,
                    Err(_) => Err(client.unreachable(reason).into()),
                }
            }
        };
        if let Err(Failure::Output(_)) = ended {
            // Nobody reads any more. If this does not arrive either, the coordinator sees the connection go.
            let _ = timeout(Duration::from_millis(CLOSE_WAIT_MS), sink.send(said(&ClientMessage::Close))).await;
        }
        ended.map_err(lost)
    }
}

impl Ended {
    /// Says why, unless the shell just exited; the exit code to leave with.
    fn told(self) -> u8 {
        if let Some(number) = self.reason.strip_prefix("signal(").and_then(|rest| rest.strip_suffix(')')) {
            note(&format!("session ended: signal {number} ended the shell"));
        } else if !self.reason.starts_with("exit") {
            note(&format!("session ended: {}", self.reason));
        }
        self.exit_code
    }

    /// Why there is no shell.
    fn not_begun(&self, host: &str) -> String {
        match self.reason.split_once(": ") {
            Some(("policy" | "refused", words)) => words.to_owned(),
            _ if self.reason == "host lost" => {
                format!("{host} is offline or does not answer; `loopback host show {host}` shows when it was last seen")
            }
            _ => format!("no session: {}", self.reason),
        }
    }
}

/// Shows what arrives until the session ends.
async fn show(client: &Client, stream: &mut SplitStream<Socket>) -> Result<Ended, Failure> {
    let mut stdout = tokio::io::stdout();
    loop {
        match receive(client, stream).await? {
            Received::Output(bytes) => {
                stdout.write_all(&bytes).await.map_err(Failure::Output)?;
                stdout.flush().await.map_err(Failure::Output)?;
            }
            Received::Said(ServerMessage::Ended { reason, exit_code }) => return Ok(Ended { reason, exit_code }),
            Received::Said(ServerMessage::Opened { .. }) => {}
        }
    }
}

/// Tells the host what the operator does, until they want to close.
async fn tell(operator: &mut Operator, sink: &mut SplitSink<Socket, Message>) -> Result<(), tungstenite::Error> {
    while let Some(message) = operator.next().await {
        sink.send(message).await?;
    }
    sink.send(said(&ClientMessage::Close)).await
}

async fn receive(client: &Client, stream: &mut SplitStream<Socket>) -> Result<Received, CallError> {
    loop {
        let silent = |_| client.unreachable(format!("nothing was heard for {} seconds", SILENCE_MAX_MS / 1_000));
        match timeout(Duration::from_millis(SILENCE_MAX_MS), stream.next()).await.map_err(silent)? {
            Some(Ok(Message::Binary(bytes))) => return Ok(Received::Output(bytes)),
            Some(Ok(Message::Text(text))) => {
                let message = serde_json::from_str(&text).map_err(|error| client.malformed(error.to_string()))?;
                return Ok(Received::Said(message));
            }
            // Pings are answered by the WebSocket itself; any frame is a sign of life.
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
            Some(Ok(Message::Close(_))) | None => return Err(client.unreachable("it was closed")),
            Some(Err(error)) => return Err(client.unreachable(broken(error))),
        }
    }
}

/// A connection that ends without a word is what remains of a coordinator that was killed; the TLS library tells of it at length.
fn broken(error: tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "it broke off".to_owned(),
        error => error.to_string(),
    }
}

fn said(message: &ClientMessage) -> Message {
    // Plain data without maps: it cannot fail to be written.
    Message::text(serde_json::to_string(message).unwrap_or_default())
}

fn lost(failure: Failure) -> Failure {
    match failure {
        Failure::Call(CallError::Unreachable { url, reason }) => {
            CallError::Unreachable { url, reason: format!("the session's connection is lost ({reason})") }.into()
        }
        other => other,
    }
}
