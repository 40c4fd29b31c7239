//! Samples as they cross the link: a schema names the series once, frames carry one value for each.

use crate::error::{Malformed, bounded, text};
use crate::limits::{NAME_MAX_BYTES, SERIES_LABELS_MAX, SERIES_MAX};
use crate::wire;

/// Names the series of the frames that follow it, by position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Chosen by the agent; frames refer to it.
    pub id: u32,
    /// Position here is position in a frame's values.
    pub series: Vec<Series>,
}

/// A series in node_exporter's naming. Tenant labels are the coordinator's to add.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Series {
    /// Such as `node_memory_MemAvailable_bytes`.
    pub name: String,
    /// Name and value, sorted by name.
    pub labels: Vec<(String, String)>,
}

/// One observation of every series of a schema. `NaN` is an absent sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    /// The schema that names the values.
    pub schema: u32,
    /// Counts an agent's frames; acknowledged when stored.
    pub sequence: u64,
    /// When it was observed, by the host's clock, in milliseconds since 1970.
    pub time_ms: u64,
    /// One value for each series.
    pub values: Vec<f64>,
}

impl Series {
    /// A series; its labels are put in order.
    #[must_use]
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Self {
        let mut labels: Vec<_> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        labels.sort();
        Self { name: name.to_owned(), labels }
    }
}

impl Schema {
    pub(crate) fn to_wire(&self) -> wire::MetricsSchema {
        let label = |(name, value): &(String, String)| wire::Label { name: name.clone(), value: value.clone() };
        let series = self.series.iter().map(|series| wire::Series { name: series.name.clone(), labels: series.labels.iter().map(label).collect() });
        wire::MetricsSchema { id: self.id, series: series.collect() }
    }
}

impl TryFrom<wire::MetricsSchema> for Schema {
    type Error = Malformed;

    fn try_from(message: wire::MetricsSchema) -> Result<Self, Malformed> {
        bounded("metrics_schema.series", message.series.len(), SERIES_MAX)?;
        Ok(Self { id: message.id, series: message.series.into_iter().map(Series::try_from).collect::<Result<_, _>>()? })
    }
}

impl TryFrom<wire::Series> for Series {
    type Error = Malformed;

    fn try_from(message: wire::Series) -> Result<Self, Malformed> {
        bounded("series.labels", message.labels.len(), SERIES_LABELS_MAX)?;
        let labels = message
            .labels
            .into_iter()
            .map(|label| Ok((identifier("label.name", label.name)?, text("label.value", label.value, NAME_MAX_BYTES)?)))
            .collect::<Result<Vec<_>, Malformed>>()?;
        if !labels.is_sorted_by(|one, other| one.0 < other.0) {
            return Err(Malformed::Invalid("series.labels"));
        }
        Ok(Self { name: identifier("series.name", message.name)?, labels })
    }
}

/// Prometheus' rule for names: `[a-zA-Z_][a-zA-Z0-9_]*`.
fn identifier(field: &'static str, value: String) -> Result<String, Malformed> {
    bounded(field, value.len(), NAME_MAX_BYTES)?;
    let starts_well = value.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if starts_well && value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') { Ok(value) } else { Err(Malformed::Invalid(field)) }
}

impl Frame {
    pub(crate) fn to_wire(&self) -> wire::MetricsFrame {
        wire::MetricsFrame { schema: self.schema, sequence: self.sequence, time_ms: self.time_ms, values: self.values.clone() }
    }
}

impl TryFrom<wire::MetricsFrame> for Frame {
    type Error = Malformed;

    fn try_from(message: wire::MetricsFrame) -> Result<Self, Malformed> {
        bounded("metrics_frame.values", message.values.len(), SERIES_MAX)?;
        Ok(Self { schema: message.schema, sequence: message.sequence, time_ms: message.time_ms, values: message.values })
    }
}
