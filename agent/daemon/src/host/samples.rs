//! The series and values of one look at the host. It keeps them within what the protocol carries: a series that would make the coordinator refuse the whole schema is left out here.

use loopback_protocol::limits::{NAME_MAX_BYTES, SERIES_MAX};
use loopback_protocol::metrics::Series;

#[derive(Default)]
pub(super) struct Samples {
    series: Vec<Series>,
    values: Vec<f64>,
    complaints: Vec<String>,
    unsendable: usize,
    surplus: usize,
}

impl Samples {
    /// Adds a sample. The name must be an identifier; labels may hold anything.
    pub(super) fn push(&mut self, name: &str, labels: &[(&str, &str)], value: f64) {
        if !labels.iter().all(|(_, value)| is_sendable(value)) {
            self.unsendable += 1;
        } else if self.series.len() >= SERIES_MAX {
            self.surplus += 1;
        } else {
            self.series.push(Series::new(name, labels));
            self.values.push(value);
        }
    }

    /// Says what is wrong without taking the source's samples away.
    pub(super) fn complain(&mut self, complaint: String) {
        self.complaints.push(complaint);
    }

    pub(super) fn len(&self) -> usize {
        self.series.len()
    }

    pub(super) fn series_from(&self, start: usize) -> &[Series] {
        self.series.get(start..).unwrap_or_default()
    }

    /// Takes back what was added since `start` and adds `series` without values.
    pub(super) fn replace_with_absent(&mut self, start: usize, series: &[Series]) {
        let room = SERIES_MAX.saturating_sub(start);
        self.series.truncate(start);
        self.series.extend(series.iter().take(room).cloned());
        self.values.truncate(start);
        self.values.resize(self.series.len(), f64::NAN);
    }

    pub(super) fn take_complaints(&mut self) -> impl Iterator<Item = String> {
        let surplus = std::mem::take(&mut self.surplus);
        if surplus > 0 {
            self.complaints.push(format!("{surplus} series left out: a host may have {SERIES_MAX}"));
        }
        let unsendable = std::mem::take(&mut self.unsendable);
        if unsendable > 0 {
            self.complaints.push(format!("{unsendable} series left out: a label is longer than {NAME_MAX_BYTES} bytes or holds control characters"));
        }
        std::mem::take(&mut self.complaints).into_iter()
    }

    pub(super) fn into_parts(self) -> (Vec<Series>, Vec<f64>) {
        (self.series, self.values)
    }

    /// Prometheus' text form, without quoting: for tests to read.
    #[cfg(test)]
    pub(super) fn text(&self) -> String {
        self.series.iter().zip(&self.values).map(|(series, value)| format!("{} {value}\n", super::tests::name_of(series))).collect()
    }
}

/// The protocol's rule for texts.
fn is_sendable(value: &str) -> bool {
    value.len() <= NAME_MAX_BYTES && !value.chars().any(|c| c.is_control() && c != '\n' && c != '\t')
}

#[cfg(test)]
mod tests {
    use loopback_protocol::control::AgentMessage;
    use loopback_protocol::limits::SERIES_MAX;
    use loopback_protocol::metrics::Schema;

    use super::Samples;

    #[test]
    fn series_over_the_bound_or_with_labels_the_peer_would_refuse_are_left_out_and_told() {
        let mut samples = Samples::default();
        for label in ["\u{1b}[2J", &"x".repeat(256), "fine \t\n ü"] {
            samples.push("node_time_seconds", &[("device", label)], 1.0);
        }
        assert_eq!(samples.len(), 1);
        for index in 0..SERIES_MAX + 6 {
            samples.push("node_time_seconds", &[("device", &index.to_string())], 1.0);
        }
        assert_eq!(samples.len(), SERIES_MAX);
        assert_eq!(
            samples.take_complaints().collect::<Vec<_>>(),
            ["7 series left out: a host may have 4096", "2 series left out: a label is longer than 255 bytes or holds control characters"]
        );
        assert_eq!(samples.take_complaints().count(), 0);
        let schema = AgentMessage::MetricsSchema(Schema { id: 1, series: samples.into_parts().0 });
        assert_eq!(AgentMessage::decode(&schema.encode()), Ok(schema));
    }
}
