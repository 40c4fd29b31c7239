//! Waiting for a state with a deadline, which SIGINT and SIGTERM cut short so that every guard still cleans up. It never waits for time to pass.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

const POLL: Duration = Duration::from_millis(20);

/// Signals belong to the process, and so does this.
static INTERRUPTED: OnceLock<Arc<AtomicBool>> = OnceLock::new();

/// From now on SIGINT, SIGTERM and SIGHUP end waits instead of the process.
///
/// # Errors
/// The kernel refuses the handlers.
pub fn watch_interrupts() -> Result<()> {
    if INTERRUPTED.get().is_some() {
        return Ok(());
    }
    let flag = INTERRUPTED.get_or_init(Arc::default);
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("cannot watch for interrupts")?;
    }
    Ok(())
}

/// Whether somebody wants this process to end.
#[must_use]
pub fn interrupted() -> bool {
    INTERRUPTED.get().is_some_and(|flag| flag.load(Ordering::Relaxed))
}

/// Asks until the answer is something. `what` completes the sentence "waited 5 s for …"; the last error of `probe` is told too.
///
/// # Errors
/// The deadline passed, or somebody interrupted.
pub fn wait_until<T>(within: Duration, what: impl Display, mut probe: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + within;
    loop {
        let answer = probe();
        match answer {
            Ok(Some(found)) => return Ok(found),
            Ok(None) if Instant::now() >= deadline => bail!("waited {} s for {what}", within.as_secs_f32()),
            Err(error) if Instant::now() >= deadline => return Err(error.context(format!("waited {} s for {what}", within.as_secs_f32()))),
            Ok(None) | Err(_) => pause()?,
        }
    }
}

/// As [`wait_until`], for a condition.
///
/// # Errors
/// The deadline passed, or somebody interrupted.
pub fn wait_for(within: Duration, what: impl Display, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    wait_until(within, what, || Ok(condition()?.then_some(())))
}

/// Watches for a while that something stays so: the only way to see that nothing happens.
///
/// # Errors
/// It did not stay so, or somebody interrupted.
pub fn stays(during: Duration, what: impl Display, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + during;
    while Instant::now() < deadline {
        ensure!(condition()?, "{what} did not hold for {} s", during.as_secs_f32());
        pause()?;
    }
    Ok(())
}

/// Between two looks.
pub(crate) fn pause() -> Result<()> {
    ensure!(!interrupted(), "interrupted");
    thread::sleep(POLL);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{stays, wait_until};

    #[test]
    fn a_wait_ends_with_the_answer_or_tells_what_it_waited_for() {
        let mut left = 3;
        let answer = wait_until(Duration::from_secs(5), "three looks", || {
            left -= 1;
            Ok((left == 0).then_some("done"))
        });
        assert_eq!(answer.unwrap(), "done");
        let late = wait_until::<()>(Duration::ZERO, "nothing", || anyhow::bail!("not there")).unwrap_err();
        assert_eq!(format!("{late:#}"), "waited 0 s for nothing: not there");
    }

    #[test]
    fn what_stays_so_is_looked_at_more_than_once() {
        let mut looks = 0;
        let ended = stays(Duration::from_secs(5), "two looks", || {
            looks += 1;
            Ok(looks < 2)
        });
        assert!(ended.is_err());
        assert_eq!(looks, 2);
    }
}
