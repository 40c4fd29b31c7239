//! Looks at the host and keeps the spool, on a thread of its own: reading `/proc` and writing files blocks. It decides neither when nor what is sent.

use std::io;
use std::path::Path;
use std::sync::Arc;

use loopback_agent_core::{Event, Observation};
use loopback_protocol::metrics::{Frame, Schema, Series};
use tokio::sync::mpsc;

use crate::host::{self, Collector};
use crate::spool::Spool;

/// What to do.
#[derive(Debug)]
pub enum Order {
    /// Answered by [`Event::Observed`].
    Collect,
    /// Answered by [`Event::FactsObserved`].
    ObserveFacts,
    /// Keeps a frame.
    Keep(Arc<Schema>, Frame),
    /// Answered by [`Event::SpoolRead`].
    Read {
        /// Only frames after this one.
        after_sequence: u64,
        /// At most this many.
        frames_max: usize,
    },
    /// Lets go of frames up to this one.
    Forget(u64),
}

/// The host's observer.
pub struct Observer {
    collector: Collector,
    spool: io::Result<Spool>,
    /// The last thing the spool could not do, reported with the next observation.
    spool_error: Option<String>,
}

impl Observer {
    /// An observer with its spool in a directory. A spool that cannot be opened fails the metrics module alone.
    pub fn new(spool_dir: &Path, spool_max_bytes: u64) -> Self {
        Self { collector: Collector::new(), spool: Spool::open(spool_dir, spool_max_bytes), spool_error: None }
    }

    /// The newest frame in the spool.
    pub fn last_sequence(&self) -> u64 {
        self.spool.as_ref().map_or(0, Spool::last_sequence)
    }

    /// Follows orders until nobody gives any. Blocks its thread.
    pub fn run(mut self, mut orders: mpsc::Receiver<Order>, events: &mpsc::Sender<Event>) {
        while let Some(order) = orders.blocking_recv() {
            if let Some(event) = self.follow(order)
                && events.blocking_send(event).is_err()
            {
                return;
            }
        }
    }

    fn follow(&mut self, order: Order) -> Option<Event> {
        match order {
            Order::Collect => Some(Event::Observed(self.collect())),
            Order::ObserveFacts => Some(Event::FactsObserved(host::facts())),
            Order::Keep(schema, frame) => {
                self.use_spool(|spool| spool.push(&schema, &frame));
                None
            }
            Order::Read { after_sequence, frames_max } => {
                Some(Event::SpoolRead(self.use_spool(|spool| spool.pending(after_sequence, frames_max)).unwrap_or_default()))
            }
            Order::Forget(sequence) => {
                self.use_spool(|spool| spool.acknowledge(sequence));
                None
            }
        }
    }

    fn collect(&mut self) -> Observation {
        let host::Observation { mut series, mut values, mut failed } = self.collector.collect();
        if let Ok(spool) = &self.spool {
            series.push(Series::new("loopback_spool_dropped_frames_total", &[]));
            #[expect(clippy::cast_precision_loss, reason = "a count of frames dropped, one each second for ages, is exact")]
            values.push(spool.dropped() as f64);
        }
        failed.extend(self.spool_error.take().map(|error| ("spool".to_owned(), error)));
        Observation { series, values, failed }
    }

    fn use_spool<T>(&mut self, action: impl FnOnce(&mut Spool) -> io::Result<T>) -> Option<T> {
        let done = match &mut self.spool {
            Ok(spool) => action(spool).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        done.map_err(|error| self.spool_error = Some(error)).ok()
    }
}
