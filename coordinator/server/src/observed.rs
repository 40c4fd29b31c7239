//! What agents report and credentials' last use. Observations are no decisions: they carry no audit event and live in a file of their own, written by
//! one task in batches, so that ten thousand agents cost a few commits a second.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use loopback_protocol::control::CoordinatorMessage;
use loopback_protocol::enroll::HostFacts;
use loopback_protocol::firewall::PolicyStatus;
use loopback_protocol::id::{AccountId, HostId, KeyId, OrganizationId};
use loopback_protocol::metrics::Series;
use sqlx::AnyPool;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::clock::now_ms;
use crate::storage::StorageError;
use crate::storage::observed as rows;

/// Observations waiting to be written; a sender waits when there are more.
const QUEUE_MAX: usize = 8_192;
/// Observations written in one transaction.
const BATCH_MAX: usize = 2_048;
/// How long metrics are kept.
const METRICS_RETENTION_MS: u64 = 14 * 24 * 60 * 60 * 1_000;
/// Between two sweeps of what is too old.
const SWEEP_INTERVAL_MS: u64 = 10 * 60 * 1_000;

/// Who an observation is about: the tenant comes first, and from the certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HostKey {
    /// Whose host.
    pub organization: OrganizationId,
    /// Which host.
    pub host: HostId,
}

/// Something seen.
#[derive(Debug)]
pub enum Observation {
    /// What a host says of itself, when it links and when that changes.
    Facts {
        /// The host.
        key: HostKey,
        /// What it said.
        facts: HostFacts,
        /// Its agent's version.
        agent_version: String,
    },
    /// A host's link ended.
    Seen(HostKey),
    /// What became of a policy.
    Policy {
        /// The host.
        key: HostKey,
        /// What it said.
        status: PolicyStatus,
    },
    /// Samples, acknowledged to the agent when they are durable.
    Frame {
        /// The host.
        key: HostKey,
        /// What names the values.
        schema: Arc<StoredSchema>,
        /// When they were taken.
        time_ms: u64,
        /// The values.
        values: Vec<f64>,
        /// Where to acknowledge which sequence.
        acknowledge: (mpsc::Sender<CoordinatorMessage>, u64),
    },
    /// A credential was used.
    KeyUse {
        /// Whose.
        account: AccountId,
        /// Which.
        key: KeyId,
        /// From where.
        address: IpAddr,
    },
}

/// A schema as it is stored: named by its content, so that the same series cost one row.
#[derive(Debug)]
pub struct StoredSchema {
    /// SHA-256 of `series`, in hexadecimal.
    pub digest: String,
    /// The series, in JSON.
    pub series: String,
    /// How many values a frame must have.
    pub length: usize,
    /// Whether its row is there: each link writes it once.
    pub(crate) written: AtomicBool,
}

/// The file of observations.
#[derive(Debug, Clone)]
pub struct Observed {
    readers: AnyPool,
    writer: AnyPool,
    queue: mpsc::Sender<Observation>,
}

/// The task that writes.
#[derive(Debug)]
pub struct ObservedWriter {
    writer: AnyPool,
    queue: mpsc::Receiver<Observation>,
}

impl Observed {
    /// Opens the file in a directory. The writer must be run.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub async fn open(directory: &Path) -> Result<(Self, ObservedWriter), StorageError> {
        let (readers, writer) = crate::storage::open_file(&directory.join("observed.db"), include_str!("storage/observed.sql")).await?;
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        Ok((Self { readers, writer: writer.clone(), queue: sender }, ObservedWriter { writer, queue }))
    }

    /// For reading.
    #[must_use]
    pub const fn reader(&self) -> &AnyPool {
        &self.readers
    }

    /// For the reconciler, which reads and writes a host's generation in one transaction.
    pub(crate) const fn writer(&self) -> &AnyPool {
        &self.writer
    }

    /// Hands an observation to the writer; waits while the queue is full, so that a flood slows its sender and nobody else.
    pub async fn report(&self, observation: Observation) {
        if self.queue.send(observation).await.is_err() {
            tracing::debug!("observation after the writer stopped");
        }
    }

    /// Hands over what may be lost: a credential's last use.
    pub fn report_or_drop(&self, observation: Observation) {
        let _ = self.queue.try_send(observation);
    }
}

impl StoredSchema {
    /// The stored form of a schema's series.
    ///
    /// # Errors
    /// The series cannot be written as JSON.
    pub fn new(series: &[Series]) -> Result<Self, serde_json::Error> {
        use sha2::Digest as _;
        let pairs: Vec<_> = series.iter().map(|series| (&series.name, &series.labels)).collect();
        let text = serde_json::to_string(&pairs)?;
        Ok(Self { digest: hex::encode(sha2::Sha256::digest(&text)), series: text, length: series.len(), written: AtomicBool::new(false) })
    }
}

impl ObservedWriter {
    /// Writes until stopped; what was queued by then is written too.
    ///
    /// # Errors
    /// The database fails; the process should end, since nothing would be acknowledged any more.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), StorageError> {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut swept_at_ms = 0;
        loop {
            tokio::select! {
                biased;
                count = self.queue.recv_many(&mut batch, BATCH_MAX) => if count == 0 { return Ok(()) },
                () = stop.cancelled() => self.queue.close(),
            }
            if batch.is_empty() {
                continue;
            }
            rows::write(&self.writer, &batch, now_ms()).await?;
            for observation in batch.drain(..) {
                if let Observation::Frame { acknowledge: (sender, sequence), .. } = observation {
                    // A link that is gone or drowning asks again with the next frame.
                    let _ = sender.try_send(CoordinatorMessage::MetricsAcknowledged(sequence));
                }
            }
            if now_ms().saturating_sub(swept_at_ms) > SWEEP_INTERVAL_MS {
                swept_at_ms = now_ms();
                rows::sweep(&self.writer, swept_at_ms.saturating_sub(METRICS_RETENTION_MS)).await?;
            }
        }
    }
}
