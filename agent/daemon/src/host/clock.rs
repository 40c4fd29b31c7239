//! The host's clock as a series, so that a skewed one shows.

use std::time::{SystemTime, UNIX_EPOCH};

use super::Failure;
use super::samples::Samples;

pub(super) fn read(samples: &mut Samples) -> Result<(), Failure> {
    // A clock before 1970 is a fact too.
    let seconds = match SystemTime::now().duration_since(UNIX_EPOCH) {
        Ok(after) => after.as_secs_f64(),
        Err(before) => -before.duration().as_secs_f64(),
    };
    samples.push("node_time_seconds", &[], seconds);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::tests::check;

    #[test]
    fn it_agrees_with_date() {
        check("clock", "date +'node_time_seconds %s.%N'");
    }
}
