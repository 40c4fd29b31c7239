//! From stored frames to series: which span a query asks for, and what the frames say of one name. It reads no row.

use std::collections::BTreeMap;

use loopback_api::Time;
use loopback_api::metrics::{RangeQuery, RangeSeries};

/// The longest range.
const SPAN_MAX_MS: u64 = 31 * 24 * 60 * 60 * 1_000;
/// The range when its start is left out.
const SPAN_DEFAULT_MS: u64 = 60 * 60 * 1_000;
/// Points of a series when the step is left out.
const STEPS_DEFAULT: u64 = 500;
/// Points of a series.
const STEPS_MAX: u64 = 5_000;
/// Points of one answer.
const POINTS_MAX: usize = 500_000;
const SECOND_MS: u64 = 1_000;

/// The span a query asks for. Steps are counted from 1970, so that the same step holds the same samples whenever it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// From here, included.
    pub start_ms: u64,
    /// Until here, included.
    pub end_ms: u64,
    /// The length of a step.
    pub step_ms: u64,
}

/// A query that is out of bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadSpan {
    /// Backwards.
    #[error("the range ends before it starts")]
    Backwards,
    /// Too long.
    #[error("a range is at most 31 days long")]
    TooLong,
    /// Nothing would ever be in it.
    #[error("a step has at least one second")]
    NoStep,
    /// Too fine.
    #[error("a range has at most {STEPS_MAX} steps: ask for a step of at least {0} seconds")]
    TooFine(u64),
}

/// Too much for one answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the range holds more than {POINTS_MAX} points: ask for a shorter range or a longer step")]
pub(crate) struct PointsExceeded;

/// The series of one name, gathered frame by frame.
#[derive(Debug)]
pub(crate) struct Range<'a> {
    name: &'a str,
    series: BTreeMap<BTreeMap<String, String>, Vec<(Time, f64)>>,
    points: usize,
}

impl Span {
    /// What a query asks for, now.
    pub(crate) fn of(query: &RangeQuery, now_ms: u64) -> Result<Self, BadSpan> {
        let end_ms = query.end.map_or(now_ms, |end| end.0);
        let start_ms = query.start.map_or(end_ms.saturating_sub(SPAN_DEFAULT_MS), |start| start.0);
        let length_ms = end_ms.checked_sub(start_ms).ok_or(BadSpan::Backwards)?;
        if length_ms > SPAN_MAX_MS {
            return Err(BadSpan::TooLong);
        }
        // One step less than the points wanted: a range that begins within a step touches one more.
        let step_of = |points: u64| length_ms.div_ceil(points - 1).div_ceil(SECOND_MS).max(1);
        let step_seconds = query.step_seconds.map_or_else(|| step_of(STEPS_DEFAULT), u64::from);
        match step_seconds {
            0 => Err(BadSpan::NoStep),
            _ if step_seconds < step_of(STEPS_MAX) => Err(BadSpan::TooFine(step_of(STEPS_MAX))),
            _ => Ok(Self { start_ms, end_ms, step_ms: step_seconds * SECOND_MS }),
        }
    }
}

impl<'a> Range<'a> {
    pub(crate) const fn new(name: &'a str) -> Self {
        Self { name, series: BTreeMap::new(), points: 0 }
    }

    /// Takes a frame's values of the name; frames come oldest first. What is no number says nothing.
    pub(crate) fn add(&mut self, time_ms: u64, names: &[(String, Vec<(String, String)>)], values: &[f64]) -> Result<(), PointsExceeded> {
        for ((name, labels), value) in names.iter().zip(values) {
            if name != self.name || !value.is_finite() {
                continue;
            }
            if self.points == POINTS_MAX {
                return Err(PointsExceeded);
            }
            self.points += 1;
            self.series.entry(labels.iter().cloned().collect()).or_default().push((Time(time_ms), *value));
        }
        Ok(())
    }

    /// One series for each set of labels.
    pub(crate) fn into_series(self) -> Vec<RangeSeries> {
        self.series.into_iter().map(|(labels, points)| RangeSeries { labels, points }).collect()
    }
}

#[cfg(test)]
mod tests {
    use loopback_api::Time;
    use loopback_api::metrics::RangeQuery;

    use super::{BadSpan, Range, Span};

    const NOW_MS: u64 = 1_700_000_000_000;

    fn check(start: Option<u64>, end: Option<u64>, step_seconds: Option<u32>, expected: Result<(u64, u64, u64), BadSpan>) {
        let query = RangeQuery { name: "node_load1".into(), start: start.map(Time), end: end.map(Time), step_seconds };
        let expected = expected.map(|(start_ms, end_ms, step_ms)| Span { start_ms, end_ms, step_ms });
        assert_eq!(Span::of(&query, NOW_MS), expected, "{query:?}");
    }

    #[test]
    fn a_range_is_the_last_hour_in_at_most_five_hundred_steps_if_nothing_is_said() {
        check(None, None, None, Ok((NOW_MS - 3_600_000, NOW_MS, 8_000)));
        check(Some(NOW_MS - 86_400_000), None, None, Ok((NOW_MS - 86_400_000, NOW_MS, 174_000)));
        check(Some(5), Some(5), None, Ok((5, 5, 1_000)));
        check(None, Some(10), Some(10), Ok((0, 10, 10_000)));
    }

    #[test]
    fn a_range_out_of_bounds_says_what_would_do() {
        check(Some(NOW_MS + 1), None, None, Err(BadSpan::Backwards));
        check(Some(NOW_MS - 32 * 86_400_000), None, None, Err(BadSpan::TooLong));
        check(None, None, Some(0), Err(BadSpan::NoStep));
        check(Some(NOW_MS - 86_400_000), None, Some(1), Err(BadSpan::TooFine(18)));
        check(Some(NOW_MS - 86_400_000), None, Some(18), Ok((NOW_MS - 86_400_000, NOW_MS, 18_000)));
    }

    #[test]
    fn series_are_told_apart_by_their_labels_and_what_is_no_number_is_left_out() {
        let series = |name: &str, cpu: &str| (name.to_owned(), vec![("cpu".to_owned(), cpu.to_owned())]);
        let names = [series("a", "0"), series("b", "0"), series("a", "1")];
        let mut range = Range::new("a");
        range.add(1, &names, &[1.0, 9.0, 2.0]).unwrap();
        range.add(2, &names, &[f64::NAN, 9.0, f64::INFINITY]).unwrap();
        range.add(3, &names[2..], &[3.0]).unwrap();
        let found: Vec<_> = range.into_series().into_iter().map(|series| (series.labels["cpu"].clone(), series.points)).collect();
        assert_eq!(found, [("0".to_owned(), vec![(Time(1), 1.0)]), ("1".to_owned(), vec![(Time(1), 2.0), (Time(3), 3.0)])]);
    }
}
