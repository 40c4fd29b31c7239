//! The rows of `observed.db`.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;

use loopback_protocol::enroll::HostFacts;
use loopback_protocol::firewall::{PolicyOutcome, PolicyStatus};
use loopback_protocol::id::{AccountId, HostId, KeyId, OrganizationId};
use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, AnyPool, Row};

use super::StorageError;
use super::audit::{signed, unsigned};
use crate::observed::{HostKey, Observation, StoredSchema};

/// What a host said of itself, and when it was last heard of.
#[derive(Debug, Clone)]
pub struct HostObservation {
    /// When its link last began or ended.
    pub last_seen_at_ms: u64,
    /// What it said.
    pub facts: Facts,
    /// Its agent's version.
    pub agent_version: String,
}

/// [`HostFacts`] as they are stored.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// `uname -n`.
    pub hostname: String,
    /// The name of the distribution.
    pub os: String,
    /// `uname -r`.
    pub kernel: String,
    /// `uname -m`.
    pub architecture: String,
    /// Global addresses.
    pub addresses: Vec<std::net::IpAddr>,
}

/// The policy last compiled for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPolicy {
    /// Counts the host's policies.
    pub generation: u64,
    /// Of the policy's content, in hexadecimal.
    pub digest: String,
    /// What the host said last; of an older generation it counts for nothing.
    pub status: Option<StoredStatus>,
}

/// [`PolicyStatus`] as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredStatus {
    /// Of which policy.
    pub generation: u64,
    /// What became of it.
    pub outcome: StoredOutcome,
}

/// [`PolicyOutcome`] as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoredOutcome {
    /// In the kernel since.
    Applied(u64),
    /// The kernel's words.
    Failed(String),
    /// Why it was taken back.
    RolledBack(String),
}

/// A stored frame.
#[derive(Debug, Clone)]
pub struct StoredFrame {
    /// When its samples were taken.
    pub time_ms: u64,
    /// Names its schema.
    pub digest: String,
    /// Its values, packed by [`pack`].
    pub samples: Vec<u8>,
}

/// How far a host's clock may be ahead: a wrong time zone, and no more.
const FRAME_AHEAD_MAX_MS: u64 = 24 * 60 * 60 * 1_000;

/// Writes a batch in one transaction.
pub(crate) async fn write(writer: &AnyPool, batch: &[Observation], now_ms: u64) -> Result<(), StorageError> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    for observation in batch {
        match observation {
            Observation::Facts { key, facts, agent_version } => write_facts(&mut tx, *key, facts, agent_version, now_ms).await?,
            Observation::Seen(key) => {
                let statement = "UPDATE host_observation SET last_seen_at_ms = $3 WHERE organization = $1 AND host = $2";
                sqlx::query(statement).bind(key.organization.to_string()).bind(key.host.to_string()).bind(signed(now_ms)).execute(&mut *tx).await?;
            }
            Observation::Policy { key, status } => write_status(&mut tx, *key, status).await?,
            // From a clock this wrong it would outlive every sweep. It is acknowledged all the same, or the agent would send it for ever.
            Observation::Frame { key, time_ms, .. } if *time_ms > now_ms.saturating_add(FRAME_AHEAD_MAX_MS) => {
                tracing::debug!(host = %key.host, time_ms, "samples from the future, not kept");
            }
            Observation::Frame { key, schema, time_ms, values, .. } => write_frame(&mut tx, *key, schema, *time_ms, values).await?,
            Observation::KeyUse { account, key, address } => {
                let statement = "INSERT INTO key_use (account, key_id, used_at_ms, used_from) VALUES ($1, $2, $3, $4) \
                    ON CONFLICT (account, key_id) DO UPDATE SET used_at_ms = excluded.used_at_ms, used_from = excluded.used_from";
                sqlx::query(statement).bind(account.to_string()).bind(key.to_string()).bind(signed(now_ms)).bind(address.to_string()).execute(&mut *tx).await?;
            }
        }
    }
    tx.commit().await?;
    for observation in batch {
        if let Observation::Frame { schema, .. } = observation {
            schema.written.store(true, Ordering::Relaxed);
        }
    }
    Ok(())
}

async fn write_facts(tx: &mut AnyConnection, key: HostKey, facts: &HostFacts, agent_version: &str, now_ms: u64) -> Result<(), StorageError> {
    let facts = Facts {
        hostname: facts.hostname.clone(),
        os: facts.os.clone(),
        kernel: facts.kernel.clone(),
        architecture: facts.architecture.clone(),
        addresses: facts.addresses.clone(),
    };
    let statement = "INSERT INTO host_observation (organization, host, last_seen_at_ms, facts, agent_version) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (organization, host) DO UPDATE SET last_seen_at_ms = excluded.last_seen_at_ms, facts = excluded.facts, agent_version = excluded.agent_version";
    sqlx::query(statement)
        .bind(key.organization.to_string())
        .bind(key.host.to_string())
        .bind(signed(now_ms))
        .bind(to_json(&facts)?)
        .bind(agent_version)
        .execute(tx)
        .await?;
    Ok(())
}

async fn write_status(tx: &mut AnyConnection, key: HostKey, status: &PolicyStatus) -> Result<(), StorageError> {
    let outcome = match &status.outcome {
        PolicyOutcome::Applied { at_ms } => StoredOutcome::Applied(*at_ms),
        PolicyOutcome::Failed(error) => StoredOutcome::Failed(error.clone()),
        PolicyOutcome::RolledBack(reason) => StoredOutcome::RolledBack(reason.clone()),
    };
    let status = to_json(&StoredStatus { generation: status.generation, outcome })?;
    let statement = "UPDATE host_policy SET status = $3 WHERE organization = $1 AND host = $2";
    sqlx::query(statement).bind(key.organization.to_string()).bind(key.host.to_string()).bind(status).execute(tx).await?;
    Ok(())
}

async fn write_frame(tx: &mut AnyConnection, key: HostKey, schema: &StoredSchema, time_ms: u64, values: &[f64]) -> Result<(), StorageError> {
    let (organization, host) = (key.organization.to_string(), key.host.to_string());
    if !schema.written.load(Ordering::Relaxed) {
        let statement =
            "INSERT INTO metric_schema (organization, host, digest, series) VALUES ($1, $2, $3, $4) ON CONFLICT (organization, host, digest) DO NOTHING";
        sqlx::query(statement).bind(&organization).bind(&host).bind(&schema.digest).bind(&schema.series).execute(&mut *tx).await?;
    }
    // The same frame sent twice is the same row.
    let statement = "INSERT INTO metric_frame (organization, host, time_ms, digest, samples) VALUES ($1, $2, $3, $4, $5) \
        ON CONFLICT (organization, host, time_ms) DO NOTHING";
    sqlx::query(statement).bind(organization).bind(host).bind(signed(time_ms)).bind(&schema.digest).bind(pack(values)?).execute(tx).await?;
    Ok(())
}

/// Removes what is older than `before_ms`, and schemas nothing refers to.
pub(crate) async fn sweep(writer: &AnyPool, before_ms: u64) -> Result<(), StorageError> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    sqlx::query("DELETE FROM metric_frame WHERE time_ms < $1").bind(signed(before_ms)).execute(&mut *tx).await?;
    let orphans = "DELETE FROM metric_schema WHERE NOT EXISTS (SELECT 1 FROM metric_frame f WHERE f.organization = metric_schema.organization \
        AND f.host = metric_schema.host AND f.digest = metric_schema.digest)";
    sqlx::query(orphans).execute(&mut *tx).await?;
    tx.commit().await?;
    Ok(())
}

/// What the hosts of an organization said of themselves.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn hosts(pool: &AnyPool, organization: OrganizationId) -> Result<HashMap<HostId, HostObservation>, StorageError> {
    let statement = "SELECT host, last_seen_at_ms, facts, agent_version FROM host_observation WHERE organization = $1";
    let rows = sqlx::query(statement).bind(organization.to_string()).fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let host = row.try_get::<String, _>("host")?.parse().map_err(|_| StorageError::Corrupt("host id"))?;
            Ok((
                host,
                HostObservation {
                    last_seen_at_ms: unsigned(row.try_get("last_seen_at_ms")?),
                    facts: from_json(&row.try_get::<String, _>("facts")?, "host's facts")?,
                    agent_version: row.try_get("agent_version")?,
                },
            ))
        })
        .collect()
}

/// The policy last compiled for a host.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn policy(pool: &AnyPool, key: HostKey) -> Result<Option<HostPolicy>, StorageError> {
    let statement = "SELECT generation, digest, status FROM host_policy WHERE organization = $1 AND host = $2";
    let row = sqlx::query(statement).bind(key.organization.to_string()).bind(key.host.to_string()).fetch_optional(pool).await?;
    row.map(|row| {
        let status: String = row.try_get("status")?;
        let status = if status.is_empty() { None } else { Some(from_json(&status, "policy status")?) };
        Ok(HostPolicy { generation: unsigned(row.try_get("generation")?), digest: row.try_get("digest")?, status })
    })
    .transpose()
}

/// Gives each host's policy its generation: the one it has while the content stays the same, the next when it changes.
///
/// # Errors
/// The engine refuses.
pub async fn assign_generations(writer: &AnyPool, organization: OrganizationId, digests: &[(HostId, String)]) -> Result<HashMap<HostId, u64>, StorageError> {
    let mut tx = writer.begin_with("BEGIN IMMEDIATE").await?;
    let rows =
        sqlx::query("SELECT host, generation, digest FROM host_policy WHERE organization = $1").bind(organization.to_string()).fetch_all(&mut *tx).await?;
    let mut present = HashMap::with_capacity(rows.len());
    for row in &rows {
        let host: HostId = row.try_get::<String, _>("host")?.parse().map_err(|_| StorageError::Corrupt("host id"))?;
        present.insert(host, (unsigned(row.try_get("generation")?), row.try_get::<String, _>("digest")?));
    }
    let together = moves(&present, digests);
    for (from, to) in &together {
        let statement = "UPDATE host_policy SET generation = generation + 1, digest = $3 WHERE organization = $1 AND digest = $2";
        sqlx::query(statement).bind(organization.to_string()).bind(*from).bind(*to).execute(&mut *tx).await?;
    }
    let mut generations = HashMap::with_capacity(digests.len());
    for (host, digest) in digests {
        let generation = match present.get(host) {
            Some((generation, stored)) if stored == digest => *generation,
            Some((generation, stored)) if together.contains_key(stored.as_str()) => generation + 1,
            stored => {
                let next = stored.map_or(1, |(generation, _)| generation + 1);
                let statement = "INSERT INTO host_policy (organization, host, generation, digest, status) VALUES ($1, $2, $3, $4, '') \
                    ON CONFLICT (organization, host) DO UPDATE SET generation = excluded.generation, digest = excluded.digest";
                sqlx::query(statement).bind(organization.to_string()).bind(host.to_string()).bind(signed(next)).bind(digest).execute(&mut *tx).await?;
                next
            }
        };
        generations.insert(*host, generation);
    }
    tx.commit().await?;
    Ok(generations)
}

/// The contents that all of their hosts leave for one and the same other: a change of rules moves a whole workspace in one statement, not in ten
/// thousand. A content that is both left and reached is moved host by host, since its rows could not be told apart in between.
fn moves<'a>(present: &'a HashMap<HostId, (u64, String)>, digests: &'a [(HostId, String)]) -> HashMap<&'a str, &'a str> {
    let mut targets: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (host, digest) in digests {
        if let Some((_, stored)) = present.get(host) {
            targets.entry(stored).or_default().insert(digest);
        }
    }
    let reached: HashSet<&str> = digests.iter().map(|(_, digest)| digest.as_str()).collect();
    let single = |(from, to): (&'a str, HashSet<&'a str>)| match to.into_iter().collect::<Vec<_>>().as_slice() {
        [to] if !reached.contains(from) => Some((from, *to)),
        _ => None,
    };
    targets.into_iter().filter_map(single).collect()
}

/// A host's frames from `start_ms` to `end_ms`, both included, oldest first; at most `limit`.
///
/// # Errors
/// The engine refuses.
pub async fn frames(pool: &AnyPool, key: HostKey, start_ms: u64, end_ms: u64, limit: u32) -> Result<Vec<StoredFrame>, StorageError> {
    let statement = "SELECT time_ms, digest, samples FROM metric_frame WHERE organization = $1 AND host = $2 AND time_ms >= $3 AND time_ms <= $4 \
        ORDER BY time_ms DESC LIMIT $5";
    let rows =
        sqlx::query(statement).bind(key.organization.to_string()).bind(key.host.to_string()).bind(signed(start_ms)).bind(signed(end_ms)).bind(i64::from(limit));
    let rows = rows.fetch_all(pool).await?;
    rows.iter().rev().map(stored_frame).collect()
}

fn stored_frame(row: &sqlx::any::AnyRow) -> Result<StoredFrame, StorageError> {
    Ok(StoredFrame { time_ms: unsigned(row.try_get("time_ms")?), digest: row.try_get("digest")?, samples: row.try_get("samples")? })
}

/// The newest frame of each step from `start_ms` to `end_ms`, both included, oldest first. Steps are counted from 1970.
///
/// # Errors
/// The engine refuses.
pub async fn frames_by_step(pool: &AnyPool, key: HostKey, start_ms: u64, end_ms: u64, step_ms: u64) -> Result<Vec<StoredFrame>, StorageError> {
    let statement = "SELECT time_ms, digest, samples FROM metric_frame WHERE organization = $1 AND host = $2 AND time_ms IN \
        (SELECT MAX(time_ms) FROM metric_frame WHERE organization = $1 AND host = $2 AND time_ms >= $3 AND time_ms <= $4 GROUP BY time_ms / $5) ORDER BY time_ms";
    let rows = sqlx::query(statement)
        .bind(key.organization.to_string())
        .bind(key.host.to_string())
        .bind(signed(start_ms))
        .bind(signed(end_ms))
        .bind(signed(step_ms.max(1)))
        .fetch_all(pool)
        .await?;
    rows.iter().map(stored_frame).collect()
}

/// A schema's series: name and labels, by position.
///
/// # Errors
/// The engine refuses, or the row cannot be read.
pub async fn schema(pool: &AnyPool, key: HostKey, digest: &str) -> Result<Vec<(String, Vec<(String, String)>)>, StorageError> {
    let statement = "SELECT series FROM metric_schema WHERE organization = $1 AND host = $2 AND digest = $3";
    let text: String = sqlx::query_scalar(statement).bind(key.organization.to_string()).bind(key.host.to_string()).bind(digest).fetch_one(pool).await?;
    from_json(&text, "metric schema")
}

/// When and from where an account's credentials were last used.
///
/// # Errors
/// The engine refuses, or a row cannot be read.
pub async fn key_uses(pool: &AnyPool, account: AccountId) -> Result<HashMap<KeyId, (u64, String)>, StorageError> {
    let rows = sqlx::query("SELECT key_id, used_at_ms, used_from FROM key_use WHERE account = $1").bind(account.to_string()).fetch_all(pool).await?;
    rows.iter()
        .map(|row| {
            let key = row.try_get::<String, _>("key_id")?.parse().map_err(|_| StorageError::Corrupt("key id"))?;
            Ok((key, (unsigned(row.try_get("used_at_ms")?), row.try_get("used_from")?)))
        })
        .collect()
}

/// A frame's values as they are stored: eight little-endian bytes each, compressed.
fn pack(values: &[f64]) -> Result<Vec<u8>, StorageError> {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    zstd::bulk::compress(&bytes, 1).map_err(|_| StorageError::Corrupt("metric frame"))
}

/// The way back of [`pack`].
///
/// # Errors
/// The bytes are not a packed frame within bounds.
pub fn unpack(samples: &[u8]) -> Result<Vec<f64>, StorageError> {
    let bytes = zstd::bulk::decompress(samples, loopback_protocol::limits::SERIES_MAX * 8).map_err(|_| StorageError::Corrupt("metric frame"))?;
    let (values, []) = bytes.as_chunks::<8>() else { return Err(StorageError::Corrupt("metric frame")) };
    Ok(values.iter().map(|value| f64::from_le_bytes(*value)).collect())
}

fn to_json<T: Serialize>(value: &T) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(|_| StorageError::Corrupt("observation"))
}

fn from_json<T: for<'de> Deserialize<'de>>(text: &str, what: &'static str) -> Result<T, StorageError> {
    serde_json::from_str(text).map_err(|_| StorageError::Corrupt(what))
}

#[cfg(test)]
mod tests {
    use loopback_protocol::id::Id;

    use super::{assign_generations, pack, policy, unpack};
    use crate::observed::{HostKey, Observed};

    #[test]
    fn packed_values_come_back_to_the_bit() {
        let values = vec![0.0, -1.5, f64::MAX, f64::NAN, 1e-300];
        let back = unpack(&pack(&values).unwrap()).unwrap();
        assert_eq!(back.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), values.iter().map(|v| v.to_bits()).collect::<Vec<_>>());
        assert!(unpack(b"not zstd").is_err());
    }

    #[tokio::test]
    async fn hosts_move_together_and_apart_and_every_one_counts_its_own() {
        let directory = tempfile::tempdir().unwrap();
        let (observed, _writer) = Observed::open(directory.path()).await.unwrap();
        let organization = Id::new(1, [1; 10]);
        let assign = async |digests: &[&str]| {
            let digests: Vec<_> = digests.iter().zip(1_u8..).map(|(digest, host)| (Id::new(1, [host; 10]), (*digest).to_owned())).collect();
            let generations = assign_generations(observed.writer(), organization, &digests).await.unwrap();
            for (host, digest) in &digests {
                let stored = policy(observed.reader(), HostKey { organization, host: *host }).await.unwrap().unwrap();
                assert_eq!((stored.generation, &stored.digest), (generations[host], digest));
            }
            digests.iter().map(|(host, _)| generations[host]).collect::<Vec<_>>()
        };
        assert_eq!(assign(&["a", "a", "b"]).await, [1, 1, 1]);
        assert_eq!(assign(&["c", "c", "b"]).await, [2, 2, 1]);
        // Apart, and two contents that change places.
        assert_eq!(assign(&["c", "d", "b"]).await, [2, 3, 1]);
        assert_eq!(assign(&["d", "c", "d"]).await, [3, 4, 2]);
    }

    #[tokio::test]
    async fn a_generation_counts_changes_of_content_alone() {
        let directory = tempfile::tempdir().unwrap();
        let (observed, _writer) = Observed::open(directory.path()).await.unwrap();
        let key = HostKey { organization: Id::new(1, [1; 10]), host: Id::new(2, [2; 10]) };
        let assign = async |digest: &str| assign_generations(observed.writer(), key.organization, &[(key.host, digest.to_owned())]).await.unwrap()[&key.host];
        assert_eq!([assign("a").await, assign("a").await, assign("b").await, assign("a").await], [1, 1, 2, 3]);
        assert_eq!(policy(observed.reader(), key).await.unwrap().unwrap().generation, 3);
    }
}
