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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use loopback_api::Time;
    use loopback_api::metrics::RangeQuery;
    use loopback_core::access::{Grant, Key, ScopePath, Verb};
    use loopback_protocol::id::Id;
    use loopback_protocol::metrics::Series;
    use tokio::sync::mpsc;

    use super::{key, latest, range};
    use crate::observed::{Observation, Observed, StoredSchema};
    use crate::storage::observed::write;

    fn grant(host: u8) -> Grant {
        let scope = ScopePath::Host(Id::new(1, [1; 10]), Id::new(1, [2; 10]), Id::new(1, [3; 10]), Id::new(1, [host; 10]));
        Grant::of_system(Key::ProjectWorkspaceHostMetrics.may(Verb::Read), scope)
    }

    /// Every ten seconds up to 600 s: the load, which is the second, and a disk that is only there from 300 s on.
    async fn filled(host: u8) -> (tempfile::TempDir, Observed) {
        let directory = tempfile::tempdir().unwrap();
        let (observed, _writer) = Observed::open(directory.path()).await.unwrap();
        let series = |name: &str, labels: Vec<(String, String)>| Series { name: name.into(), labels };
        let load = series("node_load1", Vec::new());
        let disk = series("node_disk_io_now", vec![("device".into(), "sda".into())]);
        let before = Arc::new(StoredSchema::new(std::slice::from_ref(&load)).unwrap());
        let after = Arc::new(StoredSchema::new(&[disk, load]).unwrap());
        let frame = |second: u32| {
            let (schema, values) = if second < 300 { (&before, vec![f64::from(second)]) } else { (&after, vec![1.0, f64::from(second)]) };
            let (time_ms, acknowledge) = (u64::from(second) * 1_000, (mpsc::channel(1).0, 0));
            Observation::Frame { key: key(&grant(host)).unwrap(), schema: Arc::clone(schema), time_ms, values, acknowledge }
        };
        let batch: Vec<_> = (0..=600).step_by(10).map(frame).collect();
        write(observed.writer(), &batch, 0).await.unwrap();
        (directory, observed)
    }

    fn query(name: &str, step_seconds: u32) -> RangeQuery {
        RangeQuery { name: name.into(), start: Some(Time(0)), end: Some(Time(600_000)), step_seconds: Some(step_seconds) }
    }

    #[tokio::test]
    async fn a_point_is_the_newest_sample_of_its_step_also_over_a_change_of_the_series() {
        let (_directory, observed) = filled(4).await;
        let found = range(&observed, &grant(4), &query("node_load1", 120), 0).await.unwrap();
        assert_eq!(found.step_ms, 120_000);
        let points: Vec<_> = [110_u32, 230, 350, 470, 590, 600].map(|second| (Time(u64::from(second) * 1_000), f64::from(second))).to_vec();
        assert_eq!(found.series.iter().map(|series| series.points.clone()).collect::<Vec<_>>(), [points]);
        let disk = range(&observed, &grant(4), &query("node_disk_io_now", 120), 0).await.unwrap();
        assert_eq!(disk.series[0].labels, BTreeMap::from([("device".to_owned(), "sda".to_owned())]));
        assert_eq!(disk.series[0].points[0].0, Time(350_000));
    }

    #[tokio::test]
    async fn the_newest_samples_are_those_of_the_last_frame() {
        let (_directory, observed) = filled(4).await;
        let found = latest(&observed, &grant(4)).await.unwrap();
        assert_eq!(found.time, Some(Time(600_000)));
        let values: Vec<_> = found.samples.iter().map(|sample| (sample.name.as_str(), sample.value)).collect();
        assert_eq!(values, [("node_disk_io_now", 1.0), ("node_load1", 600.0)]);
    }

    #[tokio::test]
    async fn another_hosts_metrics_are_out_of_reach() {
        let (_directory, observed) = filled(4).await;
        assert_eq!(latest(&observed, &grant(5)).await.unwrap().time, None);
        assert_eq!(range(&observed, &grant(5), &query("node_load1", 120), 0).await.unwrap().series, []);
    }
}
