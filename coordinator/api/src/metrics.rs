//! A host's metrics.

use std::collections::BTreeMap;

use loopback_core::access::{Key, Verb};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::operation::{Access, Nothing, operations};
use crate::time::Time;

operations! {
    /// Shows the newest sample of every series of a host.
    GetHostMetrics "get_host_metrics" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts/{host}/metrics", Access::Holds(Key::ProjectWorkspaceHostMetrics.may(Verb::Read)), "host.metrics.read", Nothing, Nothing => LatestMetrics;
    /// Shows the samples of a host's series over a range of time.
    QueryHostMetrics "query_host_metrics" Get "/v1/organizations/{organization}/projects/{project}/workspaces/{workspace}/hosts/{host}/metrics/range", Access::Holds(Key::ProjectWorkspaceHostMetrics.may(Verb::Read)), "host.metrics.query", RangeQuery, Nothing => MetricsRange;
}

/// The newest samples.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct LatestMetrics {
    /// When they were taken; absent when there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// By series.
    pub samples: Vec<Sample>,
}

/// A series and its newest value.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// Such as `node_load1`.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// A range of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RangeQuery {
    /// The series' name, such as `node_load1`.
    pub name: String,
    /// From when: an hour before `end` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Time>,
    /// Until when: now when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Time>,
    /// Seconds between points: chosen for at most 500 points when left out. A point is the newest sample of its step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_seconds: Option<u32>,
}

/// The series of one name over a range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MetricsRange {
    /// Milliseconds between points.
    pub step_ms: u64,
    /// One for each set of labels.
    pub series: Vec<RangeSeries>,
}

/// One series over a range.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RangeSeries {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Time and value, oldest first; steps without a sample are left out.
    pub points: Vec<(Time, f64)>,
}
