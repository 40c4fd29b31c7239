//! The agent as its coordinator meets it, with a time of the test's own.

use loopback_protocol::control::{AgentMessage, CoordinatorMessage, ModuleState, Welcome};
use loopback_protocol::enroll::HostFacts;
use loopback_protocol::firewall::{Policy, PolicyOutcome};
use loopback_protocol::id::Id;
use loopback_protocol::metrics::Series;

use super::{Agent, Event, LinkLoss, Now, Observation, Output, Setup};
use crate::limits::{BACKOFF_FIRST_MS, FACTS_INTERVAL_MS, LINK_STABLE_MS, WELCOME_TIMEOUT_MS};
use crate::modules::Module;
use crate::renewal::Validity;

const START_UNIX_MS: u64 = 1_800_000_000_000;
const DAY_MS: u64 = 86_400_000;
const VALIDITY: Validity = Validity { from_ms: START_UNIX_MS, until_ms: START_UNIX_MS + DAY_MS };

struct Host {
    agent: Agent,
    monotonic_ms: u64,
}

impl Host {
    fn new(allowed: &[Module]) -> Self {
        let setup = Setup {
            agent_version: "0.1.0".into(),
            allowed: allowed.to_vec(),
            facts: HostFacts::default(),
            validity: VALIDITY,
            csr_der: vec![7],
            enforced: None,
            last_sequence: 0,
            spool_max_age_ms: DAY_MS,
        };
        Self { agent: Agent::new(setup, Now { monotonic_ms: 0, unix_ms: START_UNIX_MS }), monotonic_ms: 0 }
    }

    /// A host that has been welcomed.
    fn live(allowed: &[Module]) -> Self {
        let mut host = Self::new(allowed);
        host.hand(Event::Tick);
        host.hand(Event::LinkUp);
        host.hand(welcome());
        host
    }

    fn now(&self) -> Now {
        Now { monotonic_ms: self.monotonic_ms, unix_ms: START_UNIX_MS + self.monotonic_ms }
    }

    fn hand(&mut self, event: Event) -> Vec<Output> {
        let mut outputs = Vec::new();
        self.agent.handle(event, self.now(), &mut outputs);
        outputs
    }

    fn after(&mut self, ms: u64) -> Vec<Output> {
        self.monotonic_ms += ms;
        self.hand(Event::Tick)
    }

    /// Lets time pass as the loop does, from one wake to the next.
    fn until(&mut self, end_ms: u64) -> Vec<Output> {
        let mut outputs = Vec::new();
        while self.agent.wakes_at_ms(self.now()) <= end_ms {
            self.monotonic_ms = self.agent.wakes_at_ms(self.now()).max(self.monotonic_ms + 1);
            outputs.extend(self.hand(Event::Tick));
        }
        self.monotonic_ms = end_ms;
        outputs
    }
}

fn welcome() -> Event {
    let clock_ms = START_UNIX_MS - 2_500;
    Event::Message(CoordinatorMessage::Welcome(Welcome { host: Id::new(1, [1; 10]), heartbeat_interval_ms: 5_000, metrics_interval_ms: 10_000, clock_ms }))
}

fn lost(jitter: f64) -> Event {
    Event::LinkDown { loss: LinkLoss::Other("timed out".into()), jitter }
}

fn connects(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Connect))
}

fn heartbeats(outputs: &[Output]) -> usize {
    outputs.iter().filter(|output| matches!(output, Output::Send(AgentMessage::Heartbeat(_)))).count()
}

fn statuses<'a>(outputs: &'a [Output]) -> Vec<(u64, &'a PolicyOutcome)> {
    let status = |output: &'a Output| match output {
        Output::Send(AgentMessage::PolicyStatus(status)) => Some((status.generation, &status.outcome)),
        _ => None,
    };
    outputs.iter().filter_map(status).collect()
}

#[test]
fn it_connects_at_once_greets_and_then_beats() {
    let mut host = Host::new(&Module::ALL);
    assert!(connects(&host.hand(Event::Tick)));
    let greeting = host.hand(Event::LinkUp);
    assert!(matches!(greeting.first(), Some(Output::Send(AgentMessage::Hello(hello))) if hello.policy_digest.is_none() && hello.modules.len() == 3));
    host.hand(welcome());
    assert_eq!(host.agent.clock_offset_ms(), Some(2_500));
    assert_eq!(heartbeats(&host.until(20_000)), 4);
}

#[test]
fn a_link_without_a_welcome_is_given_up_and_tried_again_later() {
    let mut host = Host::new(&[]);
    host.hand(Event::Tick);
    host.hand(Event::LinkUp);
    assert!(matches!(host.after(WELCOME_TIMEOUT_MS).as_slice(), [Output::Disconnect { .. }]));
    assert!(host.after(1).is_empty());
    assert!(!connects(&host.hand(lost(1.0))));
    assert!(!connects(&host.after(BACKOFF_FIRST_MS - 1)));
    assert!(connects(&host.after(1)));
}

#[test]
fn a_stable_link_that_is_lost_is_back_at_once() {
    let mut host = Host::live(&[]);
    host.until(LINK_STABLE_MS);
    assert!(connects(&host.hand(lost(0.9))));
    assert!(!connects(&host.hand(lost(0.9))));
}

#[test]
fn a_coordinator_that_speaks_out_of_turn_is_left() {
    let mut host = Host::new(&Module::ALL);
    host.hand(Event::Tick);
    host.hand(Event::LinkUp);
    let outputs = host.hand(Event::Message(CoordinatorMessage::Policy(Policy::unfiltered(1))));
    assert!(matches!(outputs.as_slice(), [Output::Disconnect { .. }]));
    let mut host = Host::live(&[]);
    assert!(matches!(host.hand(welcome()).as_slice(), [Output::Disconnect { .. }]));
}

#[test]
fn a_policy_is_applied_reported_and_taken_back_when_the_link_does_not_return() {
    let mut host = Host::live(&[Module::Firewall]);
    assert!(
        matches!(host.hand(Event::Message(CoordinatorMessage::Policy(Policy::unfiltered(4)))).as_slice(), [Output::ApplyPolicy(policy)] if policy.generation == 4)
    );
    let applied = host.hand(Event::FirewallFinished(Ok(())));
    assert!(matches!(statuses(&applied).as_slice(), [(4, PolicyOutcome::Applied { at_ms: START_UNIX_MS })]));
    host.hand(lost(0.5));
    let rolled_back = host.until(16_000);
    assert!(rolled_back.iter().any(|output| matches!(output, Output::ApplyPolicy(policy) if policy.generation == 0)));
    assert!(statuses(&host.hand(Event::FirewallFinished(Ok(())))).is_empty(), "nothing is sent without a link");
    host.hand(Event::LinkUp);
    assert!(matches!(statuses(&host.hand(welcome())).as_slice(), [(4, PolicyOutcome::RolledBack(_))]));
}

#[test]
fn a_failing_firewall_is_told_at_once_and_the_link_stays() {
    let mut host = Host::live(&[Module::Firewall]);
    host.hand(Event::Message(CoordinatorMessage::Policy(Policy::unfiltered(4))));
    let outputs = host.hand(Event::FirewallFinished(Err("no nft\x07".into())));
    assert!(matches!(statuses(&outputs).as_slice(), [(4, PolicyOutcome::Failed(error))] if error == "no nft "));
    let told = outputs.iter().any(|output| match output {
        Output::Send(AgentMessage::Heartbeat(heartbeat)) => heartbeat.modules[0].state == ModuleState::Failed("no nft ".into()),
        _ => false,
    });
    assert!(told, "{outputs:?}");
}

#[test]
fn what_the_owner_forbids_is_not_done() {
    let mut host = Host::live(&[]);
    let outputs = host.hand(Event::Message(CoordinatorMessage::Policy(Policy::unfiltered(4))));
    assert!(matches!(statuses(&outputs).as_slice(), [(4, PolicyOutcome::Failed(_))]));
    assert!(!host.until(60_000).iter().any(|output| matches!(output, Output::Collect | Output::ApplyPolicy(_))));
}

#[test]
fn observations_go_on_without_a_link_and_carry_the_clock_offset() {
    let mut host = Host::new(&[Module::Metrics]);
    for _ in 0..3 {
        assert!(host.until(host.monotonic_ms + 10_000).iter().any(|output| matches!(output, Output::Collect)));
        let outputs = host.hand(Event::Observed(Observation {
            series: vec![Series::new("node_load1", &[])],
            values: vec![0.5],
            failed: vec![("disk".into(), "gone".into())],
        }));
        let spooled = outputs.iter().find_map(|output| if let Output::Spool { schema, frame } = output { Some((schema, frame)) } else { None });
        let (schema, frame) = spooled.expect("a frame is spooled");
        assert_eq!(schema.series.last().map(|series| series.name.as_str()), Some("loopback_clock_offset_seconds"));
        assert!(frame.values[1].is_nan(), "no coordinator has said its time");
        assert_eq!(frame.time_ms, host.now().unix_ms);
    }
}

#[test]
fn the_certificate_is_renewed_over_the_link_at_two_thirds() {
    let mut host = Host::live(&[]);
    let asked = |outputs: &[Output]| outputs.iter().filter(|output| matches!(output, Output::Send(AgentMessage::Renew(csr)) if csr == &[7])).count();
    assert_eq!(asked(&host.until(DAY_MS * 2 / 3 - 1)), 0);
    assert_eq!(asked(&host.until(DAY_MS * 2 / 3 + 10_000)), 1);
    assert!(matches!(host.hand(Event::Message(CoordinatorMessage::Certificate(vec![9]))).as_slice(), [Output::StoreCertificate(_)]));
    host.hand(Event::CertificateStored(Validity { from_ms: host.now().unix_ms, until_ms: host.now().unix_ms + DAY_MS }));
    assert_eq!(asked(&host.until(DAY_MS)), 0);
}

#[test]
fn an_expired_certificate_is_renewed_before_a_link_is_tried() {
    let mut host = Host::new(&[]);
    assert!(connects(&host.hand(Event::Tick)));
    host.hand(Event::LinkDown { loss: LinkLoss::CertificateExpired, jitter: 0.0 });
    assert!(host.after(1).is_empty());
    host.hand(lost(0.0));
    let mut host = Host::new(&[]);
    host.monotonic_ms = DAY_MS;
    assert!(host.hand(Event::Tick).iter().any(|output| matches!(output, Output::RenewExpired)));
    let renewed = host.hand(Event::CertificateStored(Validity { from_ms: 0, until_ms: u64::MAX }));
    assert!(connects(&renewed));
}

#[test]
fn changed_facts_are_told_and_unchanged_ones_are_not() {
    let mut host = Host::live(&[]);
    assert!(host.until(FACTS_INTERVAL_MS).iter().any(|output| matches!(output, Output::ObserveFacts)));
    assert!(host.hand(Event::FactsObserved(HostFacts::default())).is_empty());
    let renamed = HostFacts { hostname: "other".into(), ..HostFacts::default() };
    assert!(matches!(host.hand(Event::FactsObserved(renamed)).as_slice(), [Output::Send(AgentMessage::Facts(_))]));
}
