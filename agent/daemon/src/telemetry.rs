//! Where the agent's log goes: standard error, as text for people or JSON for machines. It holds no metrics.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;

use crate::config::{LogFormat, LogSettings};

/// A filter that is none.
#[derive(Debug, thiserror::Error)]
#[error("`log.filter` is no filter; write for example \"info\" or \"warn,loopback_agent=debug\"")]
pub struct BadFilter(#[from] tracing_subscriber::filter::ParseError);

/// Starts logging; once in a process.
///
/// # Errors
/// The filter cannot be read.
pub fn start(settings: &LogSettings) -> Result<(), BadFilter> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    match settings.format {
        LogFormat::Text => subscriber.init(),
        LogFormat::Json => subscriber.json().init(),
    }
    Ok(())
}
