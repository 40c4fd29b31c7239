//! What passes between an operator and a host while a session lasts, in one loop over one closed set of events.
//!
//! Nothing is buffered without bound: whoever does not read stops being read from. What ends a session – a lost permission, a limit, an order – is looked at
//! before any byte, so that neither a flood nor somebody who does not read can put it off.

use std::pin::pin;
use std::time::Duration;

use loopback_api::session::ServerMessage;
use loopback_core::shell::{EndReason, Session, Terms};
use loopback_protocol::id::SessionId;
use loopback_protocol::shell::{ShellEvent, ShellOpen, ShellRequest};
use quinn::{RecvStream, SendStream};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::agent::{Agent, AgentLost};
use super::operator::{Operator, OperatorLost, Said};
use super::recorder::{Recording, RecordingError};
use crate::clock::now_ms;
use crate::limits::SHELL_CLOSE_TIMEOUT_MS;
use crate::storage::StorageError;

const CLOSE_TIMEOUT: Duration = Duration::from_millis(SHELL_CLOSE_TIMEOUT_MS);
/// How long the host may leave requests unread before the stream is reset instead of closed.
const UNREAD_TIMEOUT: Duration = Duration::from_millis(500);

/// A session and its three ends.
#[derive(Debug)]
pub(super) struct Relay<'a> {
    id: SessionId,
    session: Session,
    operator: &'a mut Operator,
    agent: Agent,
    recording: Recording,
}

/// Everything that can happen to a session.
#[derive(Debug)]
enum Event {
    Ordered(EndReason),
    Due,
    Activated(Result<(), StorageError>),
    Recorded(Result<(), RecordingError>),
    Shown(Result<(), OperatorLost>),
    Told(Result<(), AgentLost>),
    Said(Result<Said, OperatorLost>),
    Happened(Result<ShellEvent, AgentLost>),
}

/// How far it is written down that the shell runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activation {
    NotDue,
    Due,
    Done,
}

impl<'a> Relay<'a> {
    /// Asks the host to open the session.
    pub(super) fn open(terms: Terms, open: ShellOpen, operator: &'a mut Operator, stream: (SendStream, RecvStream), recording: Recording) -> Self {
        let (id, mut agent) = (open.session, Agent::new(stream));
        agent.requests.queue(&ShellRequest::Open(open));
        Self { id, session: Session::new(terms, now_ms()), operator, agent, recording }
    }

    /// Relays until the session ends. `activate` writes down that the shell runs; `orders` ends the session from outside.
    pub(super) async fn run(&mut self, activate: impl Future<Output = Result<(), StorageError>>, orders: impl Future<Output = EndReason>) -> EndReason {
        let (mut activate, mut orders) = (pin!(activate), pin!(orders));
        let mut activation = Activation::NotDue;
        let reason = loop {
            if let Session::Ended(ended) = &self.session {
                break ended.reason.clone();
            }
            if activation == Activation::NotDue && matches!(self.session, Session::Active(_)) {
                activation = Activation::Due;
            }
            let due_in = self.session.due_ms().unwrap_or_default().saturating_sub(now_ms());
            let event = tokio::select! {
                biased;
                reason = &mut orders => Event::Ordered(reason),
                () = sleep(Duration::from_millis(due_in)) => Event::Due,
                done = &mut activate, if activation == Activation::Due => {
                    activation = Activation::Done;
                    Event::Activated(done)
                }
                event = self.next() => event,
            };
            self.take(event);
        };
        if activation == Activation::Due {
            // A command may be over before it is written down that it began; the trail tells both, in order.
            self.activated(timeout(CLOSE_TIMEOUT, activate).await.unwrap_or(Ok(())));
        }
        reason
    }

    /// Ends the session on the host, waits until no process of it is left or the host does not answer, and gives back the recording to be closed.
    pub(super) async fn wind_up(mut self, reason: &EndReason) -> Recording {
        let is_over_there = matches!(reason, EndReason::Exit(_) | EndReason::Signal(_) | EndReason::Refused(_));
        if !is_over_there {
            let deadline = Instant::now() + CLOSE_TIMEOUT;
            self.tell_close(reason).await;
            if timeout_at(deadline, self.drain()).await.is_err() {
                tracing::warn!(session = %self.id, "the host did not say that the session's processes are gone");
                self.agent.requests.abandon();
            }
        }
        self.agent.requests.finish();
        self.recording
    }

    async fn tell_close(&mut self, reason: &EndReason) {
        let requests = &mut self.agent.requests;
        requests.queue(&ShellRequest::Close(reason.to_string()));
        let deadline = Instant::now() + UNREAD_TIMEOUT;
        while requests.has_unsent() {
            match timeout_at(deadline, requests.send()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return,
                Err(_) => return requests.abandon(),
            }
        }
    }

    /// Records what still comes, until the host's last word.
    async fn drain(&mut self) {
        let Self { agent, recording, .. } = self;
        loop {
            let has_room = recording.has_room();
            tokio::select! {
                // One that fails now is found when it is closed.
                _ = recording.work() => {}
                event = agent.events.receive(), if has_room => match event {
                    Ok(ShellEvent::Output(bytes)) => recording.output(&bytes),
                    Ok(ShellEvent::Opened(_) | ShellEvent::Echo(_)) => {}
                    Ok(ShellEvent::Exited(_) | ShellEvent::Refused(_)) | Err(_) => return,
                },
            }
        }
    }

    /// Every branch may be dropped half-way without losing anything.
    async fn next(&mut self) -> Event {
        let Self { operator, agent, recording, .. } = self;
        let has_room = recording.has_room();
        let (has_output, has_requests) = (operator.screen.has_unsent(), agent.requests.has_unsent());
        let has_room_for_requests = agent.requests.has_room();
        tokio::select! {
            done = recording.work() => Event::Recorded(done),
            done = operator.screen.send(), if has_output => Event::Shown(done),
            done = agent.requests.send(), if has_requests => Event::Told(done),
            said = operator.keyboard.receive(), if has_room && has_room_for_requests => Event::Said(said),
            // No more than one piece of output waits here: what a program floods the terminal with after Ctrl-C is what was under way before it.
            event = agent.events.receive(), if has_room && !has_output => Event::Happened(event),
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Ordered(reason) => self.end(reason),
            Event::Due => self.update(|session| session.elapsed(now_ms())),
            Event::Activated(done) => self.activated(done),
            Event::Recorded(Ok(())) | Event::Shown(Ok(())) | Event::Told(Ok(())) => {}
            Event::Recorded(Err(error)) => {
                tracing::error!(session = %self.id, %error, "a session ends because it cannot be recorded");
                self.end(EndReason::RecordingFailed);
            }
            Event::Said(Ok(said)) => self.said(said),
            Event::Happened(Ok(event)) => self.happened(event),
            Event::Shown(Err(lost)) | Event::Said(Err(lost)) => self.end(lost.into()),
            Event::Told(Err(error)) | Event::Happened(Err(error)) => {
                tracing::info!(session = %self.id, %error, "a session lost its host");
                self.end(EndReason::HostLost);
            }
        }
    }

    fn said(&mut self, said: Said) {
        self.session.touch(now_ms());
        match said {
            Said::Input(bytes) => {
                self.recording.input(&bytes);
                self.agent.requests.queue_input(&bytes);
            }
            Said::Resize(size) => {
                self.recording.resize(size);
                self.agent.requests.queue(&ShellRequest::Resize(size));
            }
            Said::Signal(number) => self.agent.requests.queue(&ShellRequest::Signal(number)),
            Said::Close => self.end(EndReason::OperatorClosed),
        }
    }

    fn happened(&mut self, event: ShellEvent) {
        match event {
            ShellEvent::Opened(_) => {
                self.update(|session| session.opened(now_ms()));
                self.operator.screen.queue(&ServerMessage::Opened { session: self.id });
            }
            ShellEvent::Output(bytes) => {
                self.recording.output(&bytes);
                self.operator.screen.queue_output(bytes);
            }
            ShellEvent::Echo(on) => self.recording.echo(on),
            ShellEvent::Refused(words) => self.end(EndReason::Refused(words)),
            ShellEvent::Exited(exit) => self.end(exit.into()),
        }
    }

    /// What is not in the audit trail must not happen.
    fn activated(&mut self, done: Result<(), StorageError>) {
        if let Err(error) = done {
            tracing::error!(session = %self.id, %error, "a session ends because its beginning cannot be written down");
            self.end(EndReason::RecordingFailed);
        }
    }

    fn end(&mut self, reason: EndReason) {
        self.update(|session| session.end(reason, now_ms()));
    }

    fn update(&mut self, change: impl FnOnce(Session) -> Session) {
        self.session = change(self.session.clone());
    }
}

impl From<OperatorLost> for EndReason {
    fn from(lost: OperatorLost) -> Self {
        match lost {
            OperatorLost::Gone => Self::OperatorClosed,
            OperatorLost::Malformed(words) => Self::Policy(words.to_owned()),
        }
    }
}
