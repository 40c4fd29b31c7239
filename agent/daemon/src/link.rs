//! One link from its handshake to its end: the control stream, and a task for each shell session the coordinator opens. When it ends, so do its sessions.
//! It does not try again; the core says when.

use std::sync::Arc;

use loopback_agent_core::{Event, LinkLoss};
use loopback_protocol::control::{AgentMessage, CoordinatorMessage};
use loopback_protocol::frame;
use loopback_protocol::limits::{CONTROL_FRAME_MAX_BYTES, SHELL_FRAME_MAX_BYTES};
use loopback_protocol::shell::ShellEvent;
use quinn::{Connection, ConnectionError, RecvStream, SendStream, TransportErrorCode};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::frames::FrameReader;
use crate::keystore::Keystore;
use crate::limits::{LAST_WORDS_TIMEOUT, SESSIONS_END_TIMEOUT};
use crate::pty::{self, ShellConfig};
use crate::quic::{self, Coordinator, Dialled};

/// The alert a server sends over a client certificate that has expired (RFC 8446, section 6).
const ALERT_CERTIFICATE_EXPIRED: u8 = 45;

/// What a link needs of its surroundings.
pub struct Link {
    pub(crate) coordinator: Arc<Coordinator>,
    pub(crate) keystore: Arc<Keystore>,
    /// None where the host's owner forbids shells.
    pub(crate) shells: Option<Arc<ShellConfig>>,
    /// What to send.
    pub(crate) outbox: mpsc::Receiver<AgentMessage>,
    /// What happens.
    pub(crate) events: mpsc::Sender<Event>,
    /// Ends it.
    pub(crate) cancel: CancellationToken,
}

impl Link {
    /// Lives through a link; the last event is that it is down.
    pub async fn run(mut self) {
        match self.connect().await {
            Ok(dialled) => self.converse(dialled).await,
            Err(loss) => self.down(loss).await,
        }
    }

    async fn connect(&self) -> Result<Dialled, LinkLoss> {
        let other = |error: &dyn std::error::Error| LinkLoss::Other(chain(error));
        let config = self
            .keystore
            .credentials()
            .map_err(|error| other(&error))
            .and_then(|credentials| quic::link_config(&credentials).map_err(|error| other(&error)))?;
        if self.coordinator.resolve().await.map_err(|error| other(&error))? {
            self.tell(Event::CoordinatorMoved).await;
        }
        let dialling = self.coordinator.dial(config);
        match self.cancel.run_until_cancelled(dialling).await {
            Some(Ok(dialled)) => Ok(dialled),
            Some(Err(quic::DialError::Handshake(error))) => Err(loss(&error)),
            Some(Err(error)) => Err(other(&error)),
            None => Err(LinkLoss::Other("closed by this agent".to_owned())),
        }
    }

    async fn converse(&mut self, dialled: Dialled) {
        let (send, recv) = match dialled.connection.open_bi().await {
            Ok(streams) => streams,
            Err(error) => return self.down(loss(&error)).await,
        };
        self.tell(Event::LinkUp).await;
        tracing::info!(coordinator = %dialled.connection.remote_address(), "link up");
        let mut sessions = Sessions { config: self.shells.clone(), running: JoinSet::new(), cancel: self.cancel.child_token() };
        let loss = tokio::select! {
            loss = write(send, &mut self.outbox) => loss,
            loss = read(recv, &self.events) => loss,
            loss = sessions.accept(&dialled.connection) => loss,
            () = self.cancel.cancelled() => LinkLoss::Other("closed by this agent".to_owned()),
        };
        if self.cancel.is_cancelled() {
            // While the connection is there the sessions can still say how they ended.
            sessions.end().await;
            dialled.close("the agent closes the link").await;
        } else {
            dialled.abandon();
        }
        self.down(loss).await;
        // The next link need not wait for this.
        sessions.end().await;
    }

    async fn down(&self, loss: LinkLoss) {
        match &loss {
            LinkLoss::CertificateExpired => tracing::warn!("the coordinator refuses the certificate as expired"),
            LinkLoss::Other(_) if self.cancel.is_cancelled() => tracing::info!("link closed"),
            LinkLoss::Other(reason) => tracing::warn!(reason, "no link"),
        }
        self.tell(Event::LinkDown { loss, jitter: rand::random() }).await;
    }

    async fn tell(&self, event: Event) {
        // Without a loop the agent is ending.
        let _ = self.events.send(event).await;
    }
}

async fn write(mut stream: SendStream, outbox: &mut mpsc::Receiver<AgentMessage>) -> LinkLoss {
    while let Some(message) = outbox.recv().await {
        let frame = match frame::encode(&message.encode(), CONTROL_FRAME_MAX_BYTES) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::error!(%error, "a message of this agent does not fit into a frame");
                continue;
            }
        };
        if let Err(error) = stream.write_all(&frame).await {
            return if let quinn::WriteError::ConnectionLost(error) = error { loss(&error) } else { LinkLoss::Other(chain(&error)) };
        }
    }
    LinkLoss::Other("closed by this agent".to_owned())
}

async fn read(stream: RecvStream, events: &mpsc::Sender<Event>) -> LinkLoss {
    let mut frames = FrameReader::new(stream, CONTROL_FRAME_MAX_BYTES);
    loop {
        let payload = match frames.next().await {
            Ok(Some(payload)) => payload,
            Ok(None) => return LinkLoss::Other("the coordinator ended the control stream".to_owned()),
            Err(crate::frames::FrameError::Read(quinn::ReadError::ConnectionLost(error))) => return loss(&error),
            Err(error) => return LinkLoss::Other(chain(&error)),
        };
        match CoordinatorMessage::decode(&payload) {
            Ok(message) => {
                if events.send(Event::Message(message)).await.is_err() {
                    return LinkLoss::Other("closed by this agent".to_owned());
                }
            }
            Err(error) => return LinkLoss::Other(format!("the coordinator sent what it must not: {error}")),
        }
    }
}

/// The shell sessions of a link.
struct Sessions {
    config: Option<Arc<ShellConfig>>,
    running: JoinSet<()>,
    cancel: CancellationToken,
}

impl Sessions {
    async fn accept(&mut self, connection: &Connection) -> LinkLoss {
        loop {
            tokio::select! {
                accepted = connection.accept_bi() => match accepted {
                    Ok((send, recv)) => self.open(send, recv),
                    Err(error) => return loss(&error),
                },
                Some(ended) = self.running.join_next() => judge(ended),
            }
        }
    }

    fn open(&mut self, mut send: SendStream, recv: RecvStream) {
        let cancel = self.cancel.child_token();
        match self.config.clone() {
            Some(config) => self.running.spawn(async move {
                if let Err(error) = pty::serve(&mut send, recv, &config, cancel).await {
                    tracing::warn!(error = chain(&error), "a shell session failed");
                }
                arrived(send).await;
            }),
            None => self.running.spawn(async move {
                let refusal = ShellEvent::Refused("the host's own configuration forbids the shell module".to_owned()).encode();
                if let Ok(frame) = frame::encode(&refusal, SHELL_FRAME_MAX_BYTES) {
                    // Whoever asked may be gone.
                    let _ = send.write_all(&frame).await;
                    arrived(send).await;
                }
            }),
        };
    }

    /// Ends every session and waits for that; what does not end in time is dropped, which ends it the hard way.
    async fn end(&mut self) {
        self.cancel.cancel();
        let all = async {
            while let Some(ended) = self.running.join_next().await {
                judge(ended);
            }
        };
        if tokio::time::timeout(SESSIONS_END_TIMEOUT, all).await.is_err() {
            tracing::warn!(sessions = self.running.len(), "shell sessions did not end in time");
            self.running.shutdown().await;
        }
    }
}

/// Waits until the last words are at the other side: a connection that closes throws away what is under way.
async fn arrived(mut stream: SendStream) {
    // A stream that was finished or stopped before is as well.
    let _ = stream.finish();
    let _ = tokio::time::timeout(LAST_WORDS_TIMEOUT, stream.stopped()).await;
}

/// A panic in a session is one of the agent.
fn judge(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && let Ok(panic) = error.try_into_panic()
    {
        std::panic::resume_unwind(panic);
    }
}

fn loss(error: &ConnectionError) -> LinkLoss {
    match error {
        ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::crypto(ALERT_CERTIFICATE_EXPIRED) => LinkLoss::CertificateExpired,
        other => LinkLoss::Other(chain(other)),
    }
}

/// An error with what caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests;
