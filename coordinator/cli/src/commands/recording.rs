//! Recordings of shell sessions.

use std::time::Duration;

use clap::Subcommand;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, note, raw};
use crate::player::{Cast, Pace};
use crate::scope::{ScopeArg, item};
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Play a session as it looked; Ctrl-C stops
    #[command(after_help = "\
When standard output is no terminal, everything is written at once.

Examples:
  loopback recordings play acme ses_01h455vb4pex5vsknk084sn02q --speed 2 --idle-limit 2s")]
    Play {
        #[command(flatten)]
        which: Which,
        /// How many times as fast
        #[arg(long, value_name = "FACTOR", default_value = "1", value_parser = speed)]
        speed: f64,
        /// No pause is longer than this
        #[arg(long, value_name = "DURATION", value_parser = when::duration)]
        idle_limit: Option<Duration>,
    },
    /// Print a recording as it is stored: asciicast v2, which asciinema plays too
    #[command(after_help = "Examples:\n  loopback recordings show acme ses_01h455vb4pex5vsknk084sn02q > session.cast")]
    Show {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct Which {
    /// ORGANIZATION
    #[arg(value_parser = ScopeArg::organization)]
    organization: ScopeArg,
    /// The session's id
    #[arg(value_parser = item)]
    session: String,
}

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Play { which, speed, idle_limit } => {
                let text = which.fetch(client).await?;
                let cast = Cast::parse(&text).map_err(|error| Failure::failed(error.to_string()))?;
                let pace = Pace { speed: *speed, idle_limit: *idle_limit };
                tokio::select! {
                    played = cast.play(pace, output) => played,
                    _ = tokio::signal::ctrl_c() => Ok(()),
                }
            }
            Self::Show { which } => raw(&which.fetch(client).await?),
        }
    }
}

impl Which {
    /// The recording. That it is not what was recorded is said before anything of it is shown.
    async fn fetch(&self, client: &Client) -> Result<String, Failure> {
        let recording = client.recording(&self.organization.segments(), &self.session).await?;
        match recording.verdict.as_deref() {
            Some("truncated") => note("the recording is truncated: its end is missing, or the session goes on"),
            Some("altered") => note("the recording is ALTERED: it is not what was recorded"),
            _ => {}
        }
        Ok(recording.text)
    }
}

fn speed(text: &str) -> Result<f64, &'static str> {
    text.parse().ok().filter(|speed: &f64| (0.01..=1_000.0).contains(speed)).ok_or("write a factor from 0.01 to 1000, such as 2 or 0.5")
}
