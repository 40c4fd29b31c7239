//! Times and durations as operators write and read them.
//!
//! No clock is read here but in [`now`]; everything else takes the time as an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::{Span, SpanRelativeTo};
use loopback_api::Time;

/// A text that is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a duration; write it as 90s, 30m, 8h, 1h30m or 90d")]
pub(crate) struct InvalidDuration;

/// A text that is no point in time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time; write how long ago (30m, 8h, 2d) or the time itself (2026-11-21T02:40:36Z)")]
pub(crate) struct InvalidMoment;

/// A point in time: itself, or so long ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    At(Time),
    Ago(Duration),
}

/// The time by this machine's clock.
pub(crate) fn now() -> Time {
    Time(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis))
}

/// Milliseconds, as far as they go.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `90s`, `30m`, `8h`, `1h30m`, `90d`: longer than nothing. A day is 24 hours; months and years have no length and are refused.
pub(crate) fn duration(text: &str) -> Result<Duration, InvalidDuration> {
    let span: Span = text.parse().map_err(|_| InvalidDuration)?;
    let signed = span.to_duration(SpanRelativeTo::days_are_24_hours()).map_err(|_| InvalidDuration)?;
    let duration = Duration::try_from(signed).map_err(|_| InvalidDuration)?;
    if duration.is_zero() { Err(InvalidDuration) } else { Ok(duration) }
}

/// A time, or a duration for so long ago.
pub(crate) fn moment(text: &str) -> Result<Moment, InvalidMoment> {
    text.parse().map(Moment::At).or_else(|_| duration(text).map(Moment::Ago)).map_err(|_| InvalidMoment)
}

impl Moment {
    pub(crate) fn before(self, now: Time) -> Time {
        match self {
            Self::At(time) => time,
            Self::Ago(duration) => Time(now.0.saturating_sub(millis(duration))),
        }
    }
}

/// `3 min ago`, `in 2 h`; the date when it is far away.
pub(crate) fn ago(time: Time, now: Time) -> String {
    let distance = Duration::from_millis(now.0.abs_diff(time.0));
    if distance.as_secs() < 1 {
        return "now".to_owned();
    }
    let Some(length) = short(distance) else {
        return time.to_string().chars().take(10).collect();
    };
    if time <= now { format!("{length} ago") } else { format!("in {length}") }
}

/// The time in full, and how far away it is.
pub(crate) fn full(time: Time, now: Time) -> String {
    format!("{time} ({})", ago(time, now))
}

/// The nearest whole number of its unit, up to ninety days: a token that was made for an hour expires "in 1 h" a moment later.
fn short(distance: Duration) -> Option<String> {
    let seconds = distance.as_secs();
    let rounded = |unit: u64| seconds.saturating_add(unit / 2) / unit;
    let (minutes, hours, days) = (rounded(60), rounded(60 * 60), rounded(24 * 60 * 60));
    match seconds {
        0..60 => Some(format!("{seconds} s")),
        _ if minutes < 60 => Some(format!("{minutes} min")),
        _ if hours < 48 => Some(format!("{hours} h")),
        _ if days <= 90 => Some(format!("{days} d")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use loopback_api::Time;

    use super::{Moment, ago, duration, moment};

    #[test]
    fn a_duration_is_written_as_people_write_it() {
        let hours = |hours: u64| Duration::from_secs(hours * 3_600);
        for (text, expected) in [
            ("1h", hours(1)),
            ("90d", hours(90 * 24)),
            ("30m", Duration::from_secs(1_800)),
            ("1h30m", Duration::from_secs(5_400)),
            ("2s", Duration::from_secs(2)),
            ("1w", hours(168)),
            ("500ms", Duration::from_millis(500)),
        ] {
            assert_eq!(duration(text), Ok(expected), "{text}");
        }
        for text in ["", "5", "soon", "-1h", "1h ago", "0s", "1mo", "1y"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_so_long_ago() {
        let now = Time(1_700_000_000_123);
        assert_eq!(moment("1h").unwrap().before(now), Time(1_699_996_400_123));
        assert_eq!(moment("2023-11-14T22:13:20.123Z").unwrap(), Moment::At(now));
        assert!(moment("yesterday").is_err());
    }

    #[test]
    fn a_distance_is_told_in_its_largest_unit() {
        let now = Time(1_700_000_000_123);
        let second = 1_000;
        for (back, expected) in [
            (0, "now"),
            (12 * second, "12 s ago"),
            (185 * second, "3 min ago"),
            (30 * 3_600 * second, "30 h ago"),
            (5 * 86_400 * second, "5 d ago"),
            (200 * 86_400 * second, "2023-04-28"),
        ] {
            assert_eq!(ago(Time(now.0 - back), now), expected);
        }
        for (ahead, expected) in
            [(7_200 * second, "in 2 h"), (3_599_900, "in 1 h"), (12 * 3_600 * second - 1, "in 12 h"), (90 * 86_400 * second - 1, "in 90 d")]
        {
            assert_eq!(ago(Time(now.0 + ahead), now), expected);
        }
    }
}
