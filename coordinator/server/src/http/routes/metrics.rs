//! A host's metrics.

use loopback_api::Problem;
use loopback_api::metrics::{GetHostMetrics, LatestMetrics, MetricsRange, QueryHostMetrics};

use crate::clock::now_ms;
use crate::http::api::{Api, Call, with};
use crate::observed::Observed;
use crate::queries;

/// Registers this noun's operations.
pub fn register(api: &mut Api, observed: &Observed) {
    api.operation::<GetHostMetrics, _, _>(with(observed, latest));
    api.operation::<QueryHostMetrics, _, _>(with(observed, range));
}

async fn latest(observed: Observed, call: Call<GetHostMetrics>) -> Result<LatestMetrics, Problem> {
    Ok(queries::metrics::latest(&observed, &call.grant).await?)
}

async fn range(observed: Observed, call: Call<QueryHostMetrics>) -> Result<MetricsRange, Problem> {
    queries::metrics::range(&observed, &call.grant, &call.query, now_ms()).await
}
