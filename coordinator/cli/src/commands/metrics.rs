//! A host's metrics: an overview, or the points of one series.

mod overview;

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use loopback_api::metrics::{GetHostMetrics, MetricsRange, QueryHostMetrics, RangeQuery};
use loopback_api::{Nothing, Time};

use self::overview::Overview;
use crate::client::{CallError, Client};
use crate::failure::Failure;
use crate::limits::{SPARKLINE_COLUMNS, SPARKLINE_STEP_MIN_SECONDS};
use crate::output::{Field, Output, note};
use crate::scope::ScopeArg;
use crate::when;

const EXAMPLES: &str = "\
Without --name the newest values are shown, with their course over --last. Rates are computed here from the counters.

Examples:
  loopback metrics acme/prod/web/host-1
  loopback metrics acme/prod/web/host-1 --last 1d
  loopback metrics acme/prod/web/host-1 --name node_load1 --last 15m --output json";

/// Show a host's metrics
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Metrics {
    /// ORGANIZATION/PROJECT/WORKSPACE/HOST
    #[arg(value_parser = ScopeArg::host)]
    host: ScopeArg,
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "1h", value_parser = when::duration)]
    last: Duration,
    /// Every point of the series of this name, such as node_load1
    #[arg(long)]
    name: Option<String>,
}

/// A point of a series.
struct Point {
    labels: String,
    time: Time,
    value: f64,
}

const POINTS: &[Field<Point>] = &[
    Field::new("TIME", |point, _| point.time.to_string()),
    Field::new("LABELS", |point, _| point.labels.clone()),
    Field::new("VALUE", |point, _| point.value.to_string()),
];

impl Metrics {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match &self.name {
            Some(name) => self.series(client, name, output).await,
            None => self.overview(client, output).await,
        }
    }

    async fn series(&self, client: &Client, name: &str, output: &Output) -> Result<(), Failure> {
        let start = Time(output.now().0.saturating_sub(when::millis(self.last)));
        let query = RangeQuery { name: name.to_owned(), start: Some(start), end: Some(output.now()), step_seconds: None };
        let range = client.call::<QueryHostMetrics>(&self.host.segments(), None, &query, &Nothing {}).await?;
        if range.series.is_empty() {
            note(&format!("no samples of {name} in this time; `loopback metrics {} --output json` names every series", self.host));
        }
        if !output.is_table() {
            return output.json(&range);
        }
        let points: Vec<Point> = range
            .series
            .iter()
            .flat_map(|series| series.points.iter().map(|(time, value)| Point { labels: labels(&series.labels), time: *time, value: *value }))
            .collect();
        output.rows(&points, POINTS)
    }

    async fn overview(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        let latest = client.call::<GetHostMetrics>(&self.host.segments(), None, &Nothing {}, &Nothing {}).await?;
        let Some(time) = latest.time.filter(|_| !latest.samples.is_empty()) else {
            note(&format!("no samples yet; see how the host is with `loopback host show {}`", self.host));
            return if output.is_table() { Ok(()) } else { output.json(&latest) };
        };
        if !output.is_table() {
            return output.json(&latest);
        }
        let span = self.span_seconds(client, time).await?;
        let step = (span / u64::from(SPARKLINE_COLUMNS)).max(SPARKLINE_STEP_MIN_SECONDS);
        let asked = overview::NAMES.iter().map(|name| self.range(client, name, time, step));
        let ranges: Vec<(&str, MetricsRange)> = futures_util::future::try_join_all(asked).await?;
        let overview = Overview::new(&latest, ranges.into_iter().collect(), time, step);
        output.line(&format!("{}, as of {}", self.host, when::full(time, output.now())))?;
        output.rows(&overview.lines(), overview::LINES)
    }

    /// The time asked for, or what there is of it: the course of a host that joined a minute ago fills its columns too.
    async fn span_seconds(&self, client: &Client, end: Time) -> Result<u64, CallError> {
        let asked = self.last.as_secs();
        let start = Time(end.0.saturating_sub(asked.saturating_mul(1_000)));
        let query = RangeQuery { name: overview::LOAD.to_owned(), start: Some(start), end: Some(end), step_seconds: None };
        let load = client.call::<QueryHostMetrics>(&self.host.segments(), None, &query, &Nothing {}).await?;
        let oldest = load.series.iter().filter_map(|series| series.points.first()).map(|(time, _)| time.0).min();
        Ok(oldest.map_or(asked, |oldest| asked.min(end.0.saturating_sub(oldest) / 1_000)))
    }

    async fn range<'a>(&self, client: &Client, name: &'a str, end: Time, step: u64) -> Result<(&'a str, MetricsRange), CallError> {
        // One point more than columns: a rate needs the point before.
        let start = Time(end.0.saturating_sub((u64::from(SPARKLINE_COLUMNS) + 1) * step * 1_000));
        let query = RangeQuery { name: name.to_owned(), start: Some(start), end: Some(end), step_seconds: u32::try_from(step).ok() };
        Ok((name, client.call::<QueryHostMetrics>(&self.host.segments(), None, &query, &Nothing {}).await?))
    }
}

/// `cpu=0 mode=idle`.
fn labels(labels: &BTreeMap<String, String>) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(" ")
}
