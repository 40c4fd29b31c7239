//! How observations reach the coordinator: each is numbered, kept in the spool and, while the link keeps up, sent at once. What the link did not take is
//! read back from the spool in order, a bounded window at a time, and leaves it when acknowledged. It reads no `/proc` and no disk.

use std::collections::VecDeque;
use std::sync::Arc;

use loopback_protocol::control::AgentMessage;
use loopback_protocol::limits::SERIES_MAX;
use loopback_protocol::metrics::{Frame, Schema, Series};
use sha2::{Digest as _, Sha256};

use crate::agent::{Now, Output};
use crate::limits::{FRAMES_IN_FLIGHT_MAX, INTERVAL_MIN_MS, METRICS_INTERVAL_MS};

/// The stream of samples.
#[derive(Debug)]
pub struct Delivery {
    schema: Arc<Schema>,
    /// Sequence of the newest frame made.
    newest: u64,
    /// Up to here the coordinator has them, or they are too old to be wanted.
    settled: u64,
    interval_ms: u64,
    due_ms: u64,
    /// An observation is under way.
    collecting: bool,
    max_age_ms: u64,
    way: Way,
}

/// Whether frames can leave.
#[derive(Debug)]
enum Way {
    Blocked,
    Open(Open),
}

/// A link's window.
#[derive(Debug)]
struct Open {
    /// Sequence of the last frame sent on this link.
    sent: u64,
    /// Sequences sent and not acknowledged.
    in_flight: VecDeque<u64>,
    /// The schema the coordinator knows on this link.
    announced: Option<u32>,
    /// The spool is being read; it was asked when this frame was the newest.
    reading_up_to: Option<u64>,
}

impl Delivery {
    /// Goes on after the newest frame in the spool; frames older than `max_age_ms` are not sent.
    pub fn new(newest: u64, max_age_ms: u64) -> Self {
        let schema = Arc::new(Schema { id: 0, series: Vec::new() });
        Self { schema, newest, settled: 0, interval_ms: METRICS_INTERVAL_MS, due_ms: 0, collecting: false, max_age_ms, way: Way::Blocked }
    }

    /// A link is there, with the coordinator's interval. What was not acknowledged on the one before is sent again.
    pub fn link_up(&mut self, interval_ms: u64, now_ms: u64, outputs: &mut Vec<Output>) {
        self.interval_ms = interval_ms.max(INTERVAL_MIN_MS);
        self.due_ms = self.due_ms.min(now_ms.saturating_add(self.interval_ms));
        self.way = Way::Open(Open { sent: self.settled, in_flight: VecDeque::new(), announced: None, reading_up_to: None });
        self.read_spool(outputs);
    }

    /// The link is gone.
    pub fn link_down(&mut self) {
        self.way = Way::Blocked;
    }

    /// Asks for an observation when one is due.
    pub fn run_due(&mut self, now_ms: u64, outputs: &mut Vec<Output>) {
        if now_ms >= self.due_ms && !self.collecting {
            self.collecting = true;
            self.due_ms = now_ms.saturating_add(self.interval_ms);
            outputs.push(Output::Collect);
        }
    }

    /// When the next observation is due.
    pub const fn wakes_at_ms(&self) -> Option<u64> {
        if self.collecting { None } else { Some(self.due_ms) }
    }

    /// An observation is there; series and values are as long as each other, beyond the protocol's bound they are cut.
    pub fn observed(&mut self, mut series: Vec<Series>, mut values: Vec<f64>, now: Now, outputs: &mut Vec<Output>) {
        self.collecting = false;
        let length = series.len().min(values.len()).min(SERIES_MAX);
        series.truncate(length);
        values.truncate(length);
        if self.schema.series != series {
            self.schema = Arc::new(Schema { id: schema_id(&series), series });
        }
        let goes_at_once = matches!(&self.way, Way::Open(open) if open.sent >= self.newest && open.room() > 0);
        self.newest = self.newest.saturating_add(1);
        let frame = Frame { schema: self.schema.id, sequence: self.newest, time_ms: now.unix_ms, values };
        outputs.push(Output::Spool { schema: Arc::clone(&self.schema), frame: frame.clone() });
        match &mut self.way {
            Way::Open(open) if goes_at_once => open.send(&self.schema, frame, outputs),
            _ => self.read_spool(outputs),
        }
    }

    /// The spool answered: frames in order of their sequence, none when nothing is left to send.
    pub fn spool_read(&mut self, frames: Vec<(Arc<Schema>, Frame)>, now: Now, outputs: &mut Vec<Output>) {
        let Way::Open(open) = &mut self.way else { return };
        let Some(asked_at) = open.reading_up_to.take() else { return };
        if frames.is_empty() {
            // The spool lost them to its bound.
            open.sent = open.sent.max(asked_at);
        }
        let oldest_wanted_ms = now.unix_ms.saturating_sub(self.max_age_ms);
        let settled_before = self.settled;
        for (schema, frame) in frames {
            if frame.time_ms < oldest_wanted_ms && open.in_flight.is_empty() {
                open.sent = frame.sequence;
                self.settled = frame.sequence;
            } else {
                open.send(&schema, frame, outputs);
            }
        }
        if self.settled > settled_before {
            outputs.push(Output::ForgetSpooled { up_to_sequence: self.settled });
        }
        self.read_spool(outputs);
    }

    /// The coordinator has everything up to here.
    pub fn acknowledged(&mut self, sequence: u64, outputs: &mut Vec<Output>) {
        if sequence <= self.settled || sequence > self.newest {
            return;
        }
        self.settled = sequence;
        if let Way::Open(open) = &mut self.way {
            open.in_flight.retain(|sent| *sent > sequence);
        }
        outputs.push(Output::ForgetSpooled { up_to_sequence: sequence });
        self.read_spool(outputs);
    }

    /// Reads on when something waits, nothing is being read and half of the window is free.
    fn read_spool(&mut self, outputs: &mut Vec<Output>) {
        let Way::Open(open) = &mut self.way else { return };
        if open.sent < self.newest && open.reading_up_to.is_none() && open.room() * 2 >= FRAMES_IN_FLIGHT_MAX {
            open.reading_up_to = Some(self.newest);
            outputs.push(Output::ReadSpool { after_sequence: open.sent, frames_max: open.room() });
        }
    }
}

impl Open {
    fn send(&mut self, schema: &Schema, frame: Frame, outputs: &mut Vec<Output>) {
        if self.announced != Some(schema.id) {
            self.announced = Some(schema.id);
            outputs.push(Output::Send(AgentMessage::MetricsSchema(schema.clone())));
        }
        self.sent = frame.sequence;
        self.in_flight.push_back(frame.sequence);
        outputs.push(Output::Send(AgentMessage::MetricsFrame(frame)));
    }

    /// How many more frames may be in flight.
    fn room(&self) -> usize {
        FRAMES_IN_FLIGHT_MAX.saturating_sub(self.in_flight.len())
    }
}

/// The id follows from the content, so that a schema in the spool and the same one after a restart are one.
fn schema_id(series: &[Series]) -> u32 {
    let mut hash = Sha256::new();
    for text in series.iter().flat_map(|series| std::iter::once(&series.name).chain(series.labels.iter().flat_map(|(name, value)| [name, value]))) {
        hash.update(text.as_bytes());
        hash.update([0]);
    }
    let [first, second, third, fourth, ..] = <[u8; 32]>::from(hash.finalize());
    u32::from_be_bytes([first, second, third, fourth])
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;

    use loopback_protocol::control::AgentMessage;
    use loopback_protocol::metrics::{Frame, Schema, Series};

    use super::Delivery;
    use crate::agent::{Now, Output};
    use crate::limits::FRAMES_IN_FLIGHT_MAX;

    const HOUR_MS: u64 = 3_600_000;

    /// A delivery with a spool that answers at once and a coordinator that notes what it gets.
    struct Host {
        delivery: Delivery,
        spool: VecDeque<(Arc<Schema>, Frame)>,
        now_ms: u64,
        received: Vec<u64>,
        schemas: Vec<u32>,
    }

    impl Host {
        fn new() -> Self {
            Self { delivery: Delivery::new(0, 24 * HOUR_MS), spool: VecDeque::new(), now_ms: 100 * HOUR_MS, received: Vec::new(), schemas: Vec::new() }
        }

        fn now(&self) -> Now {
            Now { monotonic_ms: self.now_ms, unix_ms: self.now_ms }
        }

        fn observe(&mut self, names: &[&str]) {
            let mut outputs = Vec::new();
            self.now_ms += 10_000;
            self.delivery.observed(names.iter().map(|name| Series::new(name, &[])).collect(), vec![1.0; names.len()], self.now(), &mut outputs);
            self.run(outputs);
        }

        fn link_up(&mut self) {
            let mut outputs = Vec::new();
            self.delivery.link_up(10_000, self.now_ms, &mut outputs);
            self.run(outputs);
        }

        fn acknowledge(&mut self, sequence: u64) {
            let mut outputs = Vec::new();
            self.delivery.acknowledged(sequence, &mut outputs);
            self.run(outputs);
        }

        fn run(&mut self, outputs: Vec<Output>) {
            for output in outputs {
                match output {
                    Output::Spool { schema, frame } => self.spool.push_back((schema, frame)),
                    Output::ForgetSpooled { up_to_sequence } => self.spool.retain(|(_, frame)| frame.sequence > up_to_sequence),
                    Output::ReadSpool { after_sequence, frames_max } => {
                        let frames = self.spool.iter().filter(|(_, frame)| frame.sequence > after_sequence).take(frames_max).cloned().collect();
                        let mut outputs = Vec::new();
                        self.delivery.spool_read(frames, self.now(), &mut outputs);
                        self.run(outputs);
                    }
                    Output::Send(AgentMessage::MetricsSchema(schema)) => self.schemas.push(schema.id),
                    Output::Send(AgentMessage::MetricsFrame(frame)) => {
                        assert_eq!(self.schemas.last(), Some(&frame.schema), "a frame follows its schema");
                        self.received.push(frame.sequence);
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }

    #[test]
    fn live_frames_go_at_once_and_leave_the_spool_when_acknowledged() {
        let mut host = Host::new();
        host.link_up();
        host.observe(&["a"]);
        host.observe(&["a"]);
        assert_eq!((host.received.as_slice(), host.schemas.len(), host.spool.len()), (&[1, 2][..], 1, 2));
        host.acknowledge(1);
        assert_eq!(host.spool.len(), 1);
    }

    #[test]
    fn what_was_observed_offline_follows_in_order_within_the_window() {
        let mut host = Host::new();
        let many = u64::try_from(3 * FRAMES_IN_FLIGHT_MAX).unwrap();
        for _ in 0..many {
            host.observe(&["a"]);
        }
        host.link_up();
        assert_eq!(host.received.len(), FRAMES_IN_FLIGHT_MAX);
        host.observe(&["a"]);
        while let Some(last) = host.received.last().copied().filter(|last| *last <= many) {
            host.acknowledge(last);
        }
        assert_eq!(host.received, (1..=many + 1).collect::<Vec<_>>());
    }

    #[test]
    fn a_lost_link_repeats_what_was_not_acknowledged() {
        let mut host = Host::new();
        host.link_up();
        for _ in 0..3 {
            host.observe(&["a"]);
        }
        host.acknowledge(1);
        host.delivery.link_down();
        host.observe(&["a"]);
        host.received.clear();
        host.link_up();
        assert_eq!(host.received, [2, 3, 4]);
        assert_eq!(host.schemas.len(), 2, "the schema is named on each link");
    }

    #[test]
    fn another_set_of_series_is_another_schema_and_the_same_set_the_same() {
        let mut host = Host::new();
        host.link_up();
        for names in [&["a"][..], &["a", "b"], &["a"]] {
            host.observe(names);
        }
        assert_eq!(host.schemas.len(), 3);
        assert_eq!(host.schemas[0], host.schemas[2]);
        assert_ne!(host.schemas[0], host.schemas[1]);
    }

    #[test]
    fn what_is_too_old_is_forgotten_unsent() {
        let mut host = Host::new();
        host.observe(&["a"]);
        host.observe(&["a"]);
        host.now_ms += 24 * HOUR_MS - 5_000;
        host.observe(&["a"]);
        host.link_up();
        assert_eq!(host.received, [3]);
        assert_eq!(host.spool.len(), 1);
    }

    #[test]
    fn frames_the_spool_lost_do_not_hold_up_the_others() {
        let mut host = Host::new();
        for _ in 0..200 {
            host.observe(&["a"]);
        }
        host.spool.clear();
        host.link_up();
        host.observe(&["a"]);
        assert_eq!(host.received, [201]);
    }
}
