//! The messages of an agent's control stream. Desired state flows down, observed state flows up; nothing else crosses.

use prost::Message as _;

use crate::enroll::HostFacts;
use crate::error::{Malformed, bounded, text};
use crate::firewall::{Policy, PolicyDigest, PolicyStatus};
use crate::id::HostId;
use crate::limits::{CERTIFICATE_MAX_BYTES, MODULES_MAX, NAME_MAX_BYTES, TEXT_MAX_BYTES};
use crate::metrics::{Frame, Schema};
use crate::wire;

/// From an agent.
#[derive(Debug, Clone, PartialEq)]
pub enum AgentMessage {
    /// The first message, once.
    Hello(Hello),
    /// The agent lives; sent at the interval the welcome named.
    Heartbeat(Heartbeat),
    /// Something the host says of itself has changed.
    Facts(HostFacts),
    /// What became of a policy.
    PolicyStatus(PolicyStatus),
    /// Names the series of later frames.
    MetricsSchema(Schema),
    /// Samples.
    MetricsFrame(Frame),
    /// A signing request for the next certificate, in DER.
    Renew(Vec<u8>),
}

/// From the coordinator.
#[derive(Debug, Clone, PartialEq)]
pub enum CoordinatorMessage {
    /// The answer to a hello.
    Welcome(Welcome),
    /// What the host must enforce from now on.
    Policy(Policy),
    /// The status of this generation arrived: the coordinator is reachable through the policy.
    PolicyConfirmed(u64),
    /// Frames up to this sequence are stored.
    MetricsAcknowledged(u64),
    /// The certificate asked for, in DER.
    Certificate(Vec<u8>),
}

/// Who speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// The newest protocol the agent speaks.
    pub protocol_version: u32,
    /// The agent's semantic version.
    pub agent_version: String,
    /// What the host says of itself.
    pub facts: HostFacts,
    /// The modules and how they are.
    pub modules: Vec<ModuleHealth>,
    /// The host's clock, in milliseconds since 1970.
    pub clock_ms: u64,
    /// What the kernel enforces now, if a policy was ever applied.
    pub policy_digest: Option<PolicyDigest>,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// The host's clock, in milliseconds since 1970.
    pub clock_ms: u64,
    /// The modules and how they are.
    pub modules: Vec<ModuleHealth>,
}

/// How a module is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleHealth {
    /// `firewall`, `metrics`, `shell`.
    pub module: String,
    /// Its state.
    pub state: ModuleState,
}

/// The state of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModuleState {
    /// It works.
    Healthy,
    /// It fails, in its own words; the others go on.
    Failed(String),
    /// The host's own configuration forbids it.
    Forbidden,
}

/// What an agent needs to know of its coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The host this agent is.
    pub host: HostId,
    /// Between heartbeats.
    pub heartbeat_interval_ms: u32,
    /// Between metrics frames.
    pub metrics_interval_ms: u32,
    /// The coordinator's clock, in milliseconds since 1970.
    pub clock_ms: u64,
}

impl AgentMessage {
    /// The payload of the frame that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        use wire::agent_message::Message;
        let message = match self {
            Self::Hello(hello) => Message::Hello(wire::Hello {
                protocol_version: hello.protocol_version,
                agent_version: hello.agent_version.clone(),
                facts: Some(hello.facts.to_wire()),
                modules: modules_to_wire(&hello.modules),
                clock_ms: hello.clock_ms,
                policy_digest: hello.policy_digest.map(|digest| digest.0.to_vec()).unwrap_or_default(),
            }),
            Self::Heartbeat(heartbeat) => Message::Heartbeat(wire::Heartbeat { clock_ms: heartbeat.clock_ms, modules: modules_to_wire(&heartbeat.modules) }),
            Self::Facts(facts) => Message::Facts(facts.to_wire()),
            Self::PolicyStatus(status) => Message::PolicyStatus(status.to_wire()),
            Self::MetricsSchema(schema) => Message::MetricsSchema(schema.to_wire()),
            Self::MetricsFrame(frame) => Message::MetricsFrame(frame.to_wire()),
            Self::Renew(csr_der) => Message::RenewCsrDer(csr_der.clone()),
        };
        wire::AgentMessage { message: Some(message) }.encode_to_vec()
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    /// What the agent got wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        use wire::agent_message::Message;
        let message = wire::AgentMessage::decode(payload).map_err(|_| Malformed::Message("agent message"))?;
        Ok(match message.message.ok_or(Malformed::Missing("agent_message.message"))? {
            Message::Hello(hello) => Self::Hello(hello.try_into()?),
            Message::Heartbeat(heartbeat) => Self::Heartbeat(Heartbeat { clock_ms: heartbeat.clock_ms, modules: modules_from_wire(heartbeat.modules)? }),
            Message::Facts(facts) => Self::Facts(facts.try_into()?),
            Message::PolicyStatus(status) => Self::PolicyStatus(status.try_into()?),
            Message::MetricsSchema(schema) => Self::MetricsSchema(schema.try_into()?),
            Message::MetricsFrame(frame) => Self::MetricsFrame(frame.try_into()?),
            Message::RenewCsrDer(csr_der) => {
                bounded("renew_csr_der", csr_der.len(), CERTIFICATE_MAX_BYTES)?;
                Self::Renew(csr_der)
            }
        })
    }
}

impl CoordinatorMessage {
    /// The payload of the frame that carries it.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        use wire::coordinator_message::Message;
        let message = match self {
            Self::Welcome(welcome) => Message::Welcome(wire::Welcome {
                host: welcome.host.to_string(),
                heartbeat_interval_ms: welcome.heartbeat_interval_ms,
                metrics_interval_ms: welcome.metrics_interval_ms,
                clock_ms: welcome.clock_ms,
            }),
            Self::Policy(policy) => Message::Policy(policy.to_wire()),
            Self::PolicyConfirmed(generation) => Message::PolicyConfirmedGeneration(*generation),
            Self::MetricsAcknowledged(sequence) => Message::MetricsAcknowledgedSequence(*sequence),
            Self::Certificate(certificate_der) => Message::CertificateDer(certificate_der.clone()),
        };
        wire::CoordinatorMessage { message: Some(message) }.encode_to_vec()
    }

    /// Reads a frame's payload.
    ///
    /// # Errors
    /// What the coordinator got wrong.
    pub fn decode(payload: &[u8]) -> Result<Self, Malformed> {
        use wire::coordinator_message::Message;
        let message = wire::CoordinatorMessage::decode(payload).map_err(|_| Malformed::Message("coordinator message"))?;
        Ok(match message.message.ok_or(Malformed::Missing("coordinator_message.message"))? {
            Message::Welcome(welcome) => Self::Welcome(welcome.try_into()?),
            Message::Policy(policy) => Self::Policy(policy.try_into()?),
            Message::PolicyConfirmedGeneration(generation) => Self::PolicyConfirmed(generation),
            Message::MetricsAcknowledgedSequence(sequence) => Self::MetricsAcknowledged(sequence),
            Message::CertificateDer(certificate_der) => {
                bounded("certificate_der", certificate_der.len(), CERTIFICATE_MAX_BYTES)?;
                Self::Certificate(certificate_der)
            }
        })
    }
}

impl TryFrom<wire::Hello> for Hello {
    type Error = Malformed;

    fn try_from(message: wire::Hello) -> Result<Self, Malformed> {
        let policy_digest = if message.policy_digest.is_empty() {
            None
        } else {
            Some(PolicyDigest(<[u8; 32]>::try_from(message.policy_digest).map_err(|_| Malformed::Invalid("hello.policy_digest"))?))
        };
        Ok(Self {
            protocol_version: message.protocol_version,
            agent_version: text("hello.agent_version", message.agent_version, NAME_MAX_BYTES)?,
            facts: message.facts.ok_or(Malformed::Missing("hello.facts"))?.try_into()?,
            modules: modules_from_wire(message.modules)?,
            clock_ms: message.clock_ms,
            policy_digest,
        })
    }
}

impl TryFrom<wire::Welcome> for Welcome {
    type Error = Malformed;

    fn try_from(message: wire::Welcome) -> Result<Self, Malformed> {
        if message.heartbeat_interval_ms == 0 || message.metrics_interval_ms == 0 {
            return Err(Malformed::Invalid("welcome.interval"));
        }
        Ok(Self {
            host: message.host.parse().map_err(|_| Malformed::Invalid("welcome.host"))?,
            heartbeat_interval_ms: message.heartbeat_interval_ms,
            metrics_interval_ms: message.metrics_interval_ms,
            clock_ms: message.clock_ms,
        })
    }
}

fn modules_to_wire(modules: &[ModuleHealth]) -> Vec<wire::ModuleHealth> {
    let to_wire = |health: &ModuleHealth| wire::ModuleHealth {
        module: health.module.clone(),
        error: if let ModuleState::Failed(error) = &health.state { error.clone() } else { String::new() },
        forbidden: health.state == ModuleState::Forbidden,
    };
    modules.iter().map(to_wire).collect()
}

fn modules_from_wire(modules: Vec<wire::ModuleHealth>) -> Result<Vec<ModuleHealth>, Malformed> {
    bounded("modules", modules.len(), MODULES_MAX)?;
    let from_wire = |health: wire::ModuleHealth| {
        let error = text("module.error", health.error, TEXT_MAX_BYTES)?;
        let state = match (health.forbidden, error.is_empty()) {
            (true, _) => ModuleState::Forbidden,
            (false, true) => ModuleState::Healthy,
            (false, false) => ModuleState::Failed(error),
        };
        Ok(ModuleHealth { module: text("module.module", health.module, NAME_MAX_BYTES)?, state })
    };
    modules.into_iter().map(from_wire).collect()
}

#[cfg(test)]
mod tests {
    use super::{AgentMessage, CoordinatorMessage, Heartbeat, Hello, ModuleHealth, ModuleState, Welcome};
    use crate::enroll::HostFacts;
    use crate::error::Malformed;
    use crate::firewall::{Policy, PolicyDigest, PolicyOutcome, PolicyStatus};
    use crate::id::Id;
    use crate::metrics::{Frame, Schema, Series};

    /// A new kind of message stops the build here, until it is put into one of the two lists: desired state flows down, observed state flows up.
    #[test]
    fn what_crosses_the_link_is_this_list() {
        let desired_or_answer = |message: &CoordinatorMessage| match message {
            CoordinatorMessage::Policy(_) | CoordinatorMessage::Certificate(_) => "desired",
            CoordinatorMessage::Welcome(_) | CoordinatorMessage::PolicyConfirmed(_) | CoordinatorMessage::MetricsAcknowledged(_) => "answer",
        };
        let observed_or_request = |message: &AgentMessage| match message {
            AgentMessage::Hello(_) | AgentMessage::Heartbeat(_) | AgentMessage::Facts(_) | AgentMessage::PolicyStatus(_) => "observed",
            AgentMessage::MetricsSchema(_) | AgentMessage::MetricsFrame(_) => "observed",
            AgentMessage::Renew(_) => "request",
        };
        assert_eq!(desired_or_answer(&CoordinatorMessage::Policy(Policy::unfiltered(1))), "desired");
        assert_eq!(observed_or_request(&AgentMessage::Facts(HostFacts::default())), "observed");
    }

    #[test]
    fn agent_messages_read_back() {
        let modules = vec![
            ModuleHealth { module: "firewall".into(), state: ModuleState::Failed("no nft".into()) },
            ModuleHealth { module: "shell".into(), state: ModuleState::Forbidden },
        ];
        let digest = PolicyDigest([4; 32]);
        for message in [
            AgentMessage::Hello(Hello {
                protocol_version: 1,
                agent_version: "0.1.0".into(),
                facts: HostFacts::default(),
                modules: modules.clone(),
                clock_ms: 9,
                policy_digest: Some(digest),
            }),
            AgentMessage::Heartbeat(Heartbeat { clock_ms: 1, modules }),
            AgentMessage::Facts(HostFacts::default()),
            AgentMessage::PolicyStatus(PolicyStatus { generation: 1, digest, outcome: PolicyOutcome::Applied { at_ms: 0 } }),
            AgentMessage::PolicyStatus(PolicyStatus { generation: 2, digest, outcome: PolicyOutcome::Failed("netlink: no such file".into()) }),
            AgentMessage::MetricsSchema(Schema { id: 1, series: vec![Series::new("node_cpu_seconds_total", &[("mode", "idle"), ("cpu", "0")])] }),
            AgentMessage::MetricsFrame(Frame { schema: 1, sequence: 2, time_ms: 3, values: vec![1.5, 0.0] }),
            AgentMessage::Renew(vec![1, 2]),
        ] {
            assert_eq!(AgentMessage::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn coordinator_messages_read_back() {
        for message in [
            CoordinatorMessage::Welcome(Welcome { host: Id::new(1, [1; 10]), heartbeat_interval_ms: 5_000, metrics_interval_ms: 10_000, clock_ms: 4 }),
            CoordinatorMessage::Policy(Policy::unfiltered(3)),
            CoordinatorMessage::PolicyConfirmed(0),
            CoordinatorMessage::MetricsAcknowledged(7),
            CoordinatorMessage::Certificate(vec![3]),
        ] {
            assert_eq!(CoordinatorMessage::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn an_empty_and_a_foreign_message_are_refused() {
        assert_eq!(AgentMessage::decode(b""), Err(Malformed::Missing("agent_message.message")));
        assert!(AgentMessage::decode(&[0xff; 40]).is_err());
        let nameless = AgentMessage::MetricsSchema(Schema { id: 1, series: vec![Series::new("0day", &[])] });
        assert_eq!(AgentMessage::decode(&nameless.encode()), Err(Malformed::Invalid("series.name")));
    }
}
