//! The coordinator's durable state. Reads go to a pool; every write is a [`Tx`], and a `Tx` commits only together with its audit entry.
//!
//! It holds rows and transactions and knows no rule about them.

use std::path::Path;
use std::time::Duration;

use loopback_core::audit::{ChainHash, Outcome};
use loopback_protocol::id::OrganizationId;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{Any, AnyConnection, AnyPool, Connection, Executor, Row, Transaction};
use tokio::sync::broadcast;

pub(crate) mod access;
pub(crate) mod account;
pub(crate) mod audit;
pub(crate) mod binding;
pub mod enrollment;
pub(crate) mod firewall;
pub mod host;
pub(crate) mod key;
pub(crate) mod member;
pub mod observed;
pub(crate) mod organization;
pub mod policy;
pub(crate) mod probe;
pub(crate) mod project;
pub(crate) mod resolve;
pub(crate) mod role;
pub(crate) mod row;
pub(crate) mod session;
#[cfg(test)]
mod statements;
pub(crate) mod token;
pub(crate) mod workspace;

pub use audit::{Entry, Trail};

/// Connections that read at the same time.
const READERS_MAX: u32 = 8;
/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT_MS: u32 = 10_000;
/// Changes a slow listener may lag behind before it is told to look at everything.
const CHANGES_MAX: usize = 1_024;

/// The coordinator's state.
#[derive(Debug, Clone)]
pub struct Storage {
    readers: AnyPool,
    writer: AnyPool,
    changes: broadcast::Sender<OrganizationId>,
}

/// What storage cannot do.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The engine's own words.
    #[error("the database failed: {0}")]
    Engine(#[from] sqlx::Error),
    /// A stored value that no version of this program wrote.
    #[error("the database holds a {0} that cannot be read; restore it from a backup")]
    Corrupt(&'static str),
}

/// A write unit. Dropped without [`Tx::commit`], it changes nothing.
#[derive(Debug)]
pub struct Tx {
    inner: Transaction<'static, Any>,
    changes: broadcast::Sender<OrganizationId>,
}

impl Storage {
    /// Opens or creates the state in a directory.
    ///
    /// # Errors
    /// The file cannot be opened, or its schema cannot be brought up to date.
    pub async fn open(directory: &Path) -> Result<Self, StorageError> {
        let (readers, writer) = open_file(&directory.join("coordinator.db"), include_str!("storage/schema.sql")).await?;
        Ok(Self { readers, writer, changes: broadcast::Sender::new(CHANGES_MAX) })
    }

    /// For reading.
    #[must_use]
    pub const fn reader(&self) -> &AnyPool {
        &self.readers
    }

    /// Begins a write unit; one at a time.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn begin(&self) -> Result<Tx, StorageError> {
        let inner = self.writer.begin_with("BEGIN IMMEDIATE").await?;
        Ok(Tx { inner, changes: self.changes.clone() })
    }

    /// Closes the file: what is in its write-ahead log is put in its place, so that a copy of the one file is whole.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// Tells which organization changed, after each commit of this process that did something; denials and failures wake nobody. A listener that lags looks at everything.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<OrganizationId> {
        self.changes.subscribe()
    }
}

impl Tx {
    /// For statements of this write unit.
    pub fn connection(&mut self) -> &mut AnyConnection {
        &mut self.inner
    }

    /// Counts the organization's revision up: its bindings, members or roles have changed, and every lease is decided anew.
    ///
    /// # Errors
    /// The engine refuses.
    pub async fn bump_revision(&mut self, organization: OrganizationId) -> Result<(), StorageError> {
        sqlx::query("UPDATE organization SET revision = revision + 1 WHERE id = $1").bind(organization.to_string()).execute(self.connection()).await?;
        Ok(())
    }

    /// Adds an audit entry; for the units that make more than one.
    ///
    /// # Errors
    /// The engine refuses, or the trail's head cannot be read.
    pub async fn record(&mut self, entry: &Entry) -> Result<(), StorageError> {
        let trail = entry.trail.to_string();
        let head = sqlx::query("SELECT sequence, hash FROM audit_event WHERE trail = $1 ORDER BY sequence DESC LIMIT 1");
        let head = head.bind(&trail).fetch_optional(self.connection()).await?;
        let (sequence, hash) = match head {
            Some(row) => (audit::unsigned(row.try_get("sequence")?), audit::chain_hash(&row.try_get::<String, _>("hash")?)?),
            None => (0, ChainHash::default()),
        };
        let event = entry.event(sequence + 1);
        let hash = hash.next(&event).map_err(|_| StorageError::Corrupt("audit event"))?;
        audit::insert(self.connection(), &event, hash).await
    }

    /// Makes the unit durable together with what the audit trail says of it.
    ///
    /// # Errors
    /// The engine refuses; then nothing of the unit has happened.
    pub async fn commit(mut self, entry: Entry) -> Result<(), StorageError> {
        self.record(&entry).await?;
        self.inner.commit().await?;
        // A denial or a failure changed nothing that anybody waits for.
        if let (Trail::Organization(organization), Outcome::Allowed) = (entry.trail, entry.outcome) {
            // Nobody listening is no failure.
            let _ = self.changes.send(organization);
        }
        Ok(())
    }
}

/// Opens a database file with its schema: a pool that reads and a pool of one that writes.
pub(crate) async fn open_file(file: &Path, schema: &'static str) -> Result<(AnyPool, AnyPool), StorageError> {
    sqlx::any::install_default_drivers();
    let options: AnyConnectOptions = format!("sqlite://{}?mode=rwc", file.display()).parse()?;
    let pool = |connections: u32| {
        let pragmas = format!("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA busy_timeout = {BUSY_TIMEOUT_MS};");
        AnyPoolOptions::new().max_connections(connections).acquire_timeout(Duration::from_secs(30)).after_connect(move |connection, _| {
            let pragmas = pragmas.clone();
            Box::pin(async move { connection.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(pragmas))).await.map(|_| ()) })
        })
    };
    let writer = pool(1).connect_with(options.clone()).await?;
    migrate(&writer, schema).await?;
    let readers = pool(READERS_MAX).connect_with(options).await?;
    Ok((readers, writer))
}

/// Brings an empty file to the schema. The version row is written in the same transaction, so a crash in the middle leaves an empty file.
async fn migrate(writer: &AnyPool, schema: &'static str) -> Result<(), StorageError> {
    let mut connection = writer.acquire().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    transaction.execute("CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL)").await?;
    let version: Option<i64> = sqlx::query_scalar("SELECT MAX(version) FROM schema_version").fetch_one(&mut *transaction).await?;
    if version.is_none() {
        transaction.execute(sqlx::raw_sql(schema)).await?;
        transaction.execute("INSERT INTO schema_version (version) VALUES (1)").await?;
    }
    transaction.commit().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Entry, Storage, Trail};

    #[tokio::test]
    async fn a_unit_without_its_audit_entry_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let storage = Storage::open(directory.path()).await.unwrap();
        let insert = "INSERT INTO account (id, email, name, password_hash, created_at_ms) VALUES ('acct', 'a@b', 'a', 'x', 1)";
        let count = || async { sqlx::query_scalar::<_, i64>("SELECT COUNT(*) FROM account").fetch_one(storage.reader()).await.unwrap() };
        let mut tx = storage.begin().await.unwrap();
        sqlx::query(insert).execute(tx.connection()).await.unwrap();
        drop(tx);
        assert_eq!(count().await, 0);
        let mut tx = storage.begin().await.unwrap();
        sqlx::query(insert).execute(tx.connection()).await.unwrap();
        tx.commit(Entry::of_system(Trail::Platform, "test", "nothing")).await.unwrap();
        assert_eq!(count().await, 1);
    }

    #[tokio::test]
    async fn a_state_opens_again_and_its_trail_goes_on() {
        let directory = tempfile::tempdir().unwrap();
        for round in 1..=3_i64 {
            let storage = Storage::open(directory.path()).await.unwrap();
            storage.begin().await.unwrap().commit(Entry::of_system(Trail::Platform, "test", "nothing")).await.unwrap();
            let head: i64 = sqlx::query_scalar("SELECT MAX(sequence) FROM audit_event WHERE trail = 'platform'").fetch_one(storage.reader()).await.unwrap();
            assert_eq!(head, round);
        }
    }
}
