//! A host's metrics: the newest values, and a range of them. The tenant and the host are part of the key, and both come from the grant.

use std::collections::HashMap;

use loopback_api::metrics::{LatestMetrics, MetricsRange, RangeQuery, Sample};
use loopback_api::{Problem, ProblemKind, Time};
use loopback_core::access::Grant;

use crate::observed::{HostKey, Observed};
use crate::series::{PointsExceeded, Range, Span};
use crate::storage::StorageError;
use crate::storage::observed::{self, StoredFrame};

/// The newest sample of every series of the grant's host.
///
/// # Errors
/// The database fails, or what it holds cannot be read.
pub(crate) async fn latest(observed: &Observed, grant: &Grant) -> Result<LatestMetrics, StorageError> {
    let key = key(grant)?;
    let frames = observed::frames(observed.reader(), key, 0, u64::MAX, 1).await?;
    let Some(frame) = frames.first() else { return Ok(LatestMetrics { time: None, samples: Vec::new() }) };
    let names = observed::schema(observed.reader(), key, &frame.digest).await?;
    let values = observed::unpack(&frame.samples)?;
    let sample = |((name, labels), value): ((String, Vec<(String, String)>), f64)| Sample { name, labels: labels.into_iter().collect(), value };
    let samples = names.into_iter().zip(values).filter(|(_, value)| value.is_finite()).map(sample).collect();
    Ok(LatestMetrics { time: Some(Time(frame.time_ms)), samples })
}

/// The series of one name over a range of time.
///
/// # Errors
/// The query is out of bounds, or the database fails.
pub(crate) async fn range(observed: &Observed, grant: &Grant, query: &RangeQuery, now_ms: u64) -> Result<MetricsRange, Problem> {
    let span = Span::of(query, now_ms).map_err(|error| Problem::new(ProblemKind::Validation, error.to_string()))?;
    let key = key(grant)?;
    let frames = observed::frames_by_step(observed.reader(), key, span.start_ms, span.end_ms, span.step_ms).await?;
    let mut range = Range::new(&query.name);
    let mut schemas = HashMap::new();
    for StoredFrame { time_ms, digest, samples } in frames {
        if !schemas.contains_key(&digest) {
            schemas.insert(digest.clone(), observed::schema(observed.reader(), key, &digest).await?);
        }
        let names = schemas.get(&digest).map(Vec::as_slice).unwrap_or_default();
        let values = observed::unpack(&samples)?;
        range.add(time_ms, names, &values).map_err(|error: PointsExceeded| Problem::new(ProblemKind::Validation, error.to_string()))?;
    }
    Ok(MetricsRange { step_ms: span.step_ms, series: range.into_series() })
}

fn key(grant: &Grant) -> Result<HostKey, StorageError> {
    let host = grant.scope().host().ok_or(StorageError::Corrupt("scope of a host"))?;
    Ok(HostKey { organization: grant.scope().organization(), host })
}
