//! The whole agent as one state machine: an event and the time go in, outputs come out. It does nothing itself.
//!
//! The loop around it in full: `let event = next().await; core.handle(event, now, &mut outputs); for output in outputs.drain(..) { effects.run(output) }`.

use std::sync::Arc;

use loopback_protocol::control::{AgentMessage, CoordinatorMessage, Heartbeat, Hello, Welcome};
use loopback_protocol::enroll::HostFacts;
use loopback_protocol::firewall::{Policy, PolicyOutcome, PolicyStatus};
use loopback_protocol::metrics::{Frame, Schema, Series};
use loopback_protocol::version::PROTOCOL_VERSION;

use crate::delivery::Delivery;
use crate::enforcement::Enforcement;
use crate::limits::{CONFIRM_POLL_MS, FACTS_INTERVAL_MS};
use crate::link::Link;
use crate::modules::{Module, Modules};
use crate::renewal::{Renewal, Validity};

/// Everything that happens to an agent.
#[derive(Debug)]
pub enum Event {
    /// Time has passed.
    Tick,
    /// The handshake succeeded and the control stream is open.
    LinkUp,
    /// The link ended, could not be had, or the renewal before it failed.
    LinkDown {
        /// Why.
        loss: LinkLoss,
        /// A random number in `0.0..1.0`, for the pause before the next attempt.
        jitter: f64,
    },
    /// The coordinator's name has other addresses than before.
    CoordinatorMoved,
    /// The coordinator said something.
    Message(CoordinatorMessage),
    /// The policy asked for is in the kernel, or is not, in the kernel's words. There is one at a time.
    FirewallFinished(Result<(), String>),
    /// What the host says of itself now.
    FactsObserved(HostFacts),
    /// The host was observed.
    Observed(Observation),
    /// Frames from the spool, in order of their sequence; empty when there is none left.
    SpoolRead(Vec<(Arc<Schema>, Frame)>),
    /// A module fails, in its own words.
    ModuleFailed(Module, String),
    /// A certificate was verified and stored.
    CertificateStored(Validity),
}

/// Why a link is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkLoss {
    /// The coordinator refuses the certificate as expired.
    CertificateExpired,
    /// Anything else, for people.
    Other(String),
}

/// One observation of the host, before it has a number.
#[derive(Debug, Default)]
pub struct Observation {
    /// What was observed.
    pub series: Vec<Series>,
    /// One value for each series.
    pub values: Vec<f64>,
    /// Collectors that failed, and how.
    pub failed: Vec<(String, String)>,
}

/// Everything an agent wants done.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "outputs live for a moment, in one vector that is reused; a box for each message would cost more")]
pub enum Output {
    /// Opens a link; answered by [`Event::LinkUp`] or [`Event::LinkDown`].
    Connect,
    /// Renews the expired certificate by proof of its key; answered by [`Event::CertificateStored`] or [`Event::LinkDown`].
    RenewExpired,
    /// Closes the link; answered by [`Event::LinkDown`].
    Disconnect {
        /// For the other side's log.
        reason: &'static str,
    },
    /// Sends a message on the link.
    Send(AgentMessage),
    /// Puts a policy into the kernel; answered by [`Event::FirewallFinished`].
    ApplyPolicy(Arc<Policy>),
    /// Observes the host; answered by [`Event::Observed`].
    Collect,
    /// Looks at the host's facts; answered by [`Event::FactsObserved`].
    ObserveFacts,
    /// Keeps a frame until it is acknowledged.
    Spool {
        /// Names its values.
        schema: Arc<Schema>,
        /// The frame.
        frame: Frame,
    },
    /// Reads frames back; answered by [`Event::SpoolRead`].
    ReadSpool {
        /// Only frames after this one.
        after_sequence: u64,
        /// At most this many.
        frames_max: usize,
    },
    /// Lets go of the frames up to this one.
    ForgetSpooled {
        /// The last one to let go of.
        up_to_sequence: u64,
    },
    /// Verifies and stores the host's next certificate, in DER; answered by [`Event::CertificateStored`] if it is one.
    StoreCertificate(Vec<u8>),
}

impl Output {
    pub(crate) const fn send_status(status: PolicyStatus) -> Self {
        Self::Send(AgentMessage::PolicyStatus(status))
    }
}

/// What time it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds of a clock that never goes back.
    pub monotonic_ms: u64,
    /// Milliseconds since 1970, by the host's clock.
    pub unix_ms: u64,
}

/// What an agent starts with.
#[derive(Debug)]
pub struct Setup {
    /// The agent's semantic version.
    pub agent_version: String,
    /// What the host's owner allows.
    pub allowed: Vec<Module>,
    /// What the host says of itself.
    pub facts: HostFacts,
    /// The host's certificate.
    pub validity: Validity,
    /// A signing request by the host's key, in DER. The key stays, so one serves every renewal.
    pub csr_der: Vec<u8>,
    /// What the kernel enforces already.
    pub enforced: Option<Arc<Policy>>,
    /// The newest frame in the spool.
    pub last_sequence: u64,
    /// Older frames are not sent.
    pub spool_max_age_ms: u64,
}

/// A host agent.
#[derive(Debug)]
pub struct Agent {
    agent_version: String,
    csr_der: Vec<u8>,
    facts: HostFacts,
    facts_due_ms: u64,
    clock_offset_ms: Option<i64>,
    link: Link,
    modules: Modules,
    enforcement: Enforcement,
    delivery: Delivery,
    renewal: Renewal,
}

impl Agent {
    /// An agent that connects as soon as it is handed an event.
    #[must_use]
    pub fn new(setup: Setup, now: Now) -> Self {
        Self {
            agent_version: setup.agent_version,
            csr_der: setup.csr_der,
            facts: setup.facts,
            facts_due_ms: now.monotonic_ms.saturating_add(FACTS_INTERVAL_MS),
            clock_offset_ms: None,
            link: Link::starting(now.monotonic_ms),
            modules: Modules::allowing(&setup.allowed),
            enforcement: Enforcement::new(setup.enforced),
            delivery: Delivery::new(setup.last_sequence, setup.spool_max_age_ms),
            renewal: Renewal::new(setup.validity),
        }
    }

    /// Takes an event and says what to do.
    pub fn handle(&mut self, event: Event, now: Now, outputs: &mut Vec<Output>) {
        match event {
            Event::Tick => {}
            Event::LinkUp => self.link_up(now, outputs),
            Event::LinkDown { loss, jitter } => self.link_down(&loss, jitter, now),
            Event::CoordinatorMoved => self.enforcement.coordinator_moved(),
            Event::Message(message) => self.message(message, now, outputs),
            Event::FirewallFinished(result) => self.firewall_finished(result, now, outputs),
            Event::FactsObserved(facts) => self.facts_observed(facts, outputs),
            Event::Observed(observation) => self.observed(observation, now, outputs),
            Event::SpoolRead(frames) => self.delivery.spool_read(frames, now, outputs),
            Event::ModuleFailed(module, error) => self.module_observed(module, Some(&error), now),
            Event::CertificateStored(validity) => self.certificate_stored(validity, outputs),
        }
        self.run_due(now, outputs);
    }

    /// When to hand it a [`Event::Tick`] if nothing else happens before, by the monotonic clock.
    #[must_use]
    pub fn wakes_at_ms(&self, now: Now) -> u64 {
        let confirmation = self.enforcement.is_unconfirmed().then(|| now.monotonic_ms.saturating_add(CONFIRM_POLL_MS));
        let observation = self.delivery.wakes_at_ms().filter(|_| self.modules.allows(Module::Metrics));
        [self.link.wakes_at_ms(), observation, confirmation].into_iter().flatten().fold(self.facts_due_ms, u64::min)
    }

    /// How far the host's clock is ahead of the coordinator's, in milliseconds, once a coordinator has said.
    #[must_use]
    pub const fn clock_offset_ms(&self) -> Option<i64> {
        self.clock_offset_ms
    }

    fn link_up(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let Link::Connecting(attempt) = self.link else { return };
        self.link = Link::Greeting(attempt.up(now.monotonic_ms));
        outputs.push(Output::Send(AgentMessage::Hello(Hello {
            protocol_version: PROTOCOL_VERSION,
            agent_version: self.agent_version.clone(),
            facts: self.facts.clone(),
            modules: self.modules.report(),
            clock_ms: now.unix_ms,
            policy_digest: self.enforcement.digest(),
        })));
    }

    fn link_down(&mut self, loss: &LinkLoss, jitter: f64, now: Now) {
        if *loss == LinkLoss::CertificateExpired {
            self.renewal.refused_as_expired();
        }
        self.change_link(|link| link.lost(now.monotonic_ms, jitter));
        self.delivery.link_down();
    }

    fn message(&mut self, message: CoordinatorMessage, now: Now, outputs: &mut Vec<Output>) {
        match (&self.link, message) {
            (Link::Greeting(_), CoordinatorMessage::Welcome(welcome)) => self.welcomed(&welcome, now, outputs),
            (Link::Live(_), CoordinatorMessage::Policy(policy)) => self.policy(policy, outputs),
            (Link::Live(_), CoordinatorMessage::PolicyConfirmed(generation)) => self.enforcement.confirmed(generation),
            (Link::Live(_), CoordinatorMessage::MetricsAcknowledged(sequence)) => self.delivery.acknowledged(sequence, outputs),
            (Link::Live(_), CoordinatorMessage::Certificate(certificate_der)) => outputs.push(Output::StoreCertificate(certificate_der)),
            (Link::Live(_) | Link::Greeting(_), _) => self.give_up("the welcome must come first, and once", outputs),
            // What was under way when this side gave up.
            (Link::Waiting(_) | Link::Renewing(_) | Link::Connecting(_) | Link::Closing(_), _) => {}
        }
    }

    fn welcomed(&mut self, welcome: &Welcome, now: Now, outputs: &mut Vec<Output>) {
        self.change_link(|link| match link {
            Link::Greeting(greeting) => Link::Live(greeting.welcomed(welcome, now.monotonic_ms)),
            other => other,
        });
        self.clock_offset_ms = Some(now.unix_ms.cast_signed().saturating_sub(welcome.clock_ms.cast_signed()));
        self.enforcement.link_is_new();
        self.delivery.link_up(welcome.metrics_interval_ms.into(), now.monotonic_ms, outputs);
    }

    fn policy(&mut self, policy: Policy, outputs: &mut Vec<Output>) {
        if self.modules.allows(Module::Firewall) {
            self.enforcement.wanted(policy, outputs);
        } else {
            let outcome = PolicyOutcome::Failed("the host's own configuration forbids the firewall module".to_owned());
            outputs.push(Output::send_status(PolicyStatus { generation: policy.generation, digest: policy.digest(), outcome }));
        }
    }

    fn firewall_finished(&mut self, result: Result<(), String>, now: Now, outputs: &mut Vec<Output>) {
        self.module_observed(Module::Firewall, result.as_ref().err().map(String::as_str), now);
        self.enforcement.finished(result, now, outputs);
    }

    fn facts_observed(&mut self, facts: HostFacts, outputs: &mut Vec<Output>) {
        if facts != self.facts {
            self.facts = facts;
            if self.link.is_live() {
                outputs.push(Output::Send(AgentMessage::Facts(self.facts.clone())));
            }
        }
    }

    fn observed(&mut self, observation: Observation, now: Now, outputs: &mut Vec<Output>) {
        let Observation { mut series, mut values, failed } = observation;
        let errors: Vec<String> = failed.into_iter().map(|(collector, error)| format!("{collector}: {error}")).collect();
        self.module_observed(Module::Metrics, Some(errors.join("; ")).filter(|errors| !errors.is_empty()).as_deref(), now);
        series.push(Series::new("loopback_clock_offset_seconds", &[]));
        #[expect(clippy::cast_precision_loss, reason = "a clock that is off by 2^53 ms has other troubles")]
        values.push(self.clock_offset_ms.map_or(f64::NAN, |offset| offset as f64 / 1_000.0));
        self.delivery.observed(series, values, now, outputs);
    }

    fn module_observed(&mut self, module: Module, error: Option<&str>, now: Now) {
        if let (true, Link::Live(live)) = (self.modules.observe(module, error), &mut self.link) {
            live.hurry(now.monotonic_ms);
        }
    }

    fn certificate_stored(&mut self, validity: Validity, outputs: &mut Vec<Output>) {
        self.renewal = Renewal::new(validity);
        if let Link::Renewing(attempt) = self.link {
            self.link = Link::Connecting(attempt);
            outputs.push(Output::Connect);
        }
    }

    /// Does what time alone brings about.
    fn run_due(&mut self, now: Now, outputs: &mut Vec<Output>) {
        let now_ms = now.monotonic_ms;
        match &mut self.link {
            Link::Waiting(waiting) if waiting.is_over(now_ms) => {
                let attempt = waiting.attempt();
                let expired = self.renewal.has_expired(now.unix_ms);
                self.link = if expired { Link::Renewing(attempt) } else { Link::Connecting(attempt) };
                outputs.push(if expired { Output::RenewExpired } else { Output::Connect });
            }
            Link::Greeting(greeting) if greeting.is_overdue(now_ms) => self.give_up("no welcome came", outputs),
            Link::Live(live) => {
                if live.beat(now_ms) {
                    outputs.push(Output::Send(AgentMessage::Heartbeat(Heartbeat { clock_ms: now.unix_ms, modules: self.modules.report() })));
                }
                if self.renewal.ask(now_ms, now.unix_ms) {
                    outputs.push(Output::Send(AgentMessage::Renew(self.csr_der.clone())));
                }
                self.enforcement.report(outputs);
            }
            Link::Waiting(_) | Link::Renewing(_) | Link::Connecting(_) | Link::Greeting(_) | Link::Closing(_) => {}
        }
        self.enforcement.run_due(now_ms, outputs);
        if self.modules.allows(Module::Metrics) {
            self.delivery.run_due(now_ms, outputs);
        }
        if now_ms >= self.facts_due_ms {
            self.facts_due_ms = now_ms.saturating_add(FACTS_INTERVAL_MS);
            outputs.push(Output::ObserveFacts);
        }
    }

    fn give_up(&mut self, reason: &'static str, outputs: &mut Vec<Output>) {
        self.change_link(Link::closing);
        outputs.push(Output::Disconnect { reason });
    }

    /// Lets a transition consume the state.
    fn change_link(&mut self, transition: impl FnOnce(Link) -> Link) {
        let link = std::mem::replace(&mut self.link, Link::starting(u64::MAX));
        self.link = transition(link);
    }
}

#[cfg(test)]
mod tests;
