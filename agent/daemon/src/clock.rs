//! The only clock of the agent: the core gets the time from here, as a value.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use loopback_agent_core::Now;

use crate::limits::SLEEP_MAX;

/// Counts from when it was made.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// A clock that starts at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// What time it is.
    #[must_use]
    pub fn now(&self) -> Now {
        Now { monotonic_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX), unix_ms: unix_ms() }
    }

    /// The instant of a monotonic time, within [`SLEEP_MAX`] from now.
    #[must_use]
    pub fn instant(&self, monotonic_ms: u64) -> Instant {
        let latest = Instant::now() + SLEEP_MAX;
        self.started.checked_add(Duration::from_millis(monotonic_ms)).unwrap_or(latest).min(latest)
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A time for people, as RFC 3339 writes it, in UTC and whole seconds.
#[must_use]
pub fn rfc3339(unix_ms: u64) -> String {
    let seconds = unix_ms / 1_000;
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // Howard Hinnant's civil_from_days, for days since 1970: years begin in March, eras of 400 years hold 146,097 days.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60)
}

#[cfg(test)]
mod tests {
    use super::rfc3339;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        for (unix_ms, expected) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59Z"),
            (1_795_222_800_000, "2026-11-21T01:00:00Z"),
        ] {
            assert_eq!(rfc3339(unix_ms), expected);
        }
    }
}
