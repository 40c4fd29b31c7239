//! The command line of `loopback-agent`. Exit codes: 0 done, 1 refused or failed, 2 usage, 3 cannot reach the coordinator.

use std::fs::File;
use std::io::{Read, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::{CommandFactory as _, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use loopback_agent_core::modules::Module;
use loopback_protocol::firewall::Policy;
use loopback_protocol::secret::JoinString;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::Settings;
use crate::doctor::Diagnosis;
use crate::enroll::{self, Joined};
use crate::eventloop;
use crate::host;
use crate::keystore::{Keystore, KeystoreError};
use crate::limits::TOKEN_FILE_MAX_BYTES;
use crate::nft;
use crate::status::Status;
use crate::telemetry;

const NAME: &str = "loopback-agent";
/// The link and the loop; everything else is rare.
const WORKER_THREADS: usize = 2;

/// The Loopback host agent.
#[derive(Parser)]
#[command(name = NAME, version, about, max_term_width = 100)]
struct Cli {
    /// The configuration; absent it may be only at its default place, /etc/loopback/agent.toml.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where the host's key and state are kept, whatever the configuration says.
    #[arg(long, global = true, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes this machine a host of a coordinator.
    Join(Join),
    /// Runs the agent.
    Run,
    /// Tells who this host is.
    Status {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Looks for what is missing and tells how to mend it.
    Doctor {
        #[arg(long, value_enum, default_value_t)]
        output: Output,
    },
    /// Forgets this host's identity and takes its policy out of the kernel.
    Leave {
        /// Confirms it: the identity cannot be brought back.
        #[arg(long)]
        yes: bool,
    },
    /// The host's firewall.
    #[command(subcommand)]
    Firewall(Firewall),
    /// The agent's configuration.
    #[command(subcommand)]
    Config(Config),
    /// Prints a shell's completions.
    Completions {
        /// For which shell.
        shell: Shell,
    },
}

/// It shows itself to nobody: it holds a token.
#[derive(clap::Args)]
struct Join {
    /// Where the coordinator is.
    #[arg(long, value_name = "HOST:PORT")]
    coordinator: String,
    /// The token as it was printed. Others can see a command line: better is the environment or a file.
    #[arg(long, env = "LOOPBACK_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file that holds the token; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Firewall {
    /// Puts the last applied policy into the kernel; at boot, before the network is up.
    Restore,
    /// Prints the ruleset of the last applied policy.
    Show,
}

#[derive(Debug, Subcommand)]
enum Config {
    /// Prints the documented default configuration.
    Default,
    /// Prints a systemd unit; the install script puts it in place.
    Unit {
        /// Which.
        unit: Unit,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Unit {
    /// `loopback-agent.service`
    Agent,
    /// `loopback-firewall.service`
    Firewall,
}

impl Unit {
    const fn text(self) -> &'static str {
        match self {
            Self::Agent => include_str!("../../../packaging/systemd/loopback-agent.service"),
            Self::Firewall => include_str!("../../../packaging/systemd/loopback-firewall.service"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    #[default]
    Text,
    Json,
}

/// What went wrong, by its exit code.
#[derive(Debug)]
enum Failure {
    Failed(anyhow::Error),
    Usage(anyhow::Error),
    Unreachable(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let (code, error) = match Cli::parse().run() {
        Ok(code) => return code,
        Err(Failure::Failed(error)) => (1, error),
        Err(Failure::Usage(error)) => (2, error),
        Err(Failure::Unreachable(error)) => (3, error),
    };
    eprintln!("{NAME}: {error:#}");
    ExitCode::from(code)
}

impl Cli {
    fn run(self) -> Result<ExitCode, Failure> {
        match self.command {
            Command::Config(Config::Default) => return print(&Settings::default_file()),
            Command::Config(Config::Unit { unit }) => return print(unit.text()),
            Command::Completions { shell } => return completions(shell),
            _ => {}
        }
        let mut settings = Settings::load(self.config.as_deref())?;
        if let Some(state_dir) = self.state_dir {
            settings.state_dir = state_dir;
        }
        telemetry::start(&settings.log)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build().context("cannot start")?;
        runtime.block_on(self.command.run(&settings))
    }
}

impl Command {
    async fn run(self, settings: &Settings) -> Result<ExitCode, Failure> {
        match self {
            Self::Join(join) => join.run(settings).await,
            Self::Run => run(settings).await,
            Self::Status { output } => {
                let status = Status::read(&Keystore::peek(&settings.state_dir))?;
                output.print(&status)
            }
            Self::Doctor { output } => {
                let diagnosis = Diagnosis::make(settings).await;
                output.print(&diagnosis)?;
                Ok(if diagnosis.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
            }
            Self::Leave { yes: true } => leave(settings).await,
            Self::Leave { yes: false } => Err(Failure::Usage(anyhow!(
                "leaving forgets this host's identity for good and takes its firewall out of the kernel; if you mean it: loopback-agent leave --yes"
            ))),
            Self::Firewall(Firewall::Restore) if !settings.allow.contains(&Module::Firewall) => print("the firewall is forbidden by this host's configuration"),
            Self::Firewall(Firewall::Restore) => match nft::restore(&settings.state_dir).await? {
                Some(policy) => print(&format!("generation {} is in the kernel", policy.generation)),
                None => print("no policy was ever applied"),
            },
            Self::Firewall(Firewall::Show) => match nft::stored(&settings.state_dir)? {
                Some((policy, coordinators)) => print(&nft::show(&policy, &coordinators)),
                None => print("no policy was ever applied"),
            },
            // Done before a runtime was needed.
            Self::Config(_) | Self::Completions { .. } => Ok(ExitCode::SUCCESS),
        }
    }
}

impl Join {
    async fn run(self, settings: &Settings) -> Result<ExitCode, Failure> {
        let token = self.token()?;
        let join: JoinString = token.parse().context("the token is malformed")?;
        let keystore = Keystore::open(&settings.state_dir)?;
        match enroll::join(&keystore, &self.coordinator, &join, host::facts()).await {
            Ok(Joined::New(identity)) => print(&format!("host {} joined as {}", identity.path, identity.host)),
            Ok(Joined::Kept(identity)) => print(&format!("host {} keeps its identity {}", identity.path, identity.host)),
            Err(error) if error.is_unreachable() => Err(Failure::Unreachable(error.into())),
            Err(error) => Err(Failure::Failed(error.into())),
        }
    }

    fn token(&self) -> Result<String, Failure> {
        let source: Box<dyn Read> = match (&self.token_file, &self.token) {
            (Some(path), _) if path.as_os_str() == "-" => Box::new(std::io::stdin()),
            (Some(path), _) => Box::new(File::open(path).with_context(|| format!("cannot open {}", path.display()))?),
            (None, Some(token)) => return Ok(token.clone()),
            (None, None) => return Err(Failure::Usage(anyhow!("no token; give one in LOOPBACK_TOKEN, with --token-file or --token"))),
        };
        let mut token = String::new();
        source.take(TOKEN_FILE_MAX_BYTES).read_to_string(&mut token).context("cannot read the token")?;
        Ok(token)
    }
}

async fn run(settings: &Settings) -> Result<ExitCode, Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let stop = CancellationToken::new();
    let running = eventloop::run(settings, stop.clone());
    tokio::pin!(running);
    tokio::select! {
        ended = &mut running => ended?,
        _ = terminate.recv() => { stop.cancel(); running.await? }
        _ = interrupt.recv() => { stop.cancel(); running.await? }
    }
    Ok(ExitCode::SUCCESS)
}

async fn leave(settings: &Settings) -> Result<ExitCode, Failure> {
    let keystore = Keystore::peek(&settings.state_dir);
    // Who is damaged must be able to leave: it is the way to join again.
    let path = match keystore.identity() {
        Ok(identity) => identity.path,
        Err(KeystoreError::Damaged { .. }) => "ORGANIZATION/PROJECT/WORKSPACE/HOST".to_owned(),
        Err(error) => return Err(error.into()),
    };
    let _lock = keystore.lock()?;
    if nft::stored(&settings.state_dir).is_ok_and(|stored| stored.is_some()) {
        nft::apply(&Policy::unfiltered(0), &[], &settings.state_dir).await.context("cannot take the policy out of the kernel; nothing was forgotten")?;
    }
    keystore.erase()?;
    print(&format!("this host has left; remove it at the coordinator too: loopback host remove {path}"))
}

fn completions(shell: Shell) -> Result<ExitCode, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), NAME, &mut script);
    std::io::stdout().write_all(&script)?;
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<ExitCode, Failure> {
    writeln!(std::io::stdout(), "{}", text.trim_end())?;
    Ok(ExitCode::SUCCESS)
}

impl Output {
    fn print<T: Serialize + std::fmt::Display>(self, value: &T) -> Result<ExitCode, Failure> {
        match self {
            Self::Text => print(&value.to_string()),
            Self::Json => print(&serde_json::to_string_pretty(value)?),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{Cli, Command, Failure};
    use crate::config::Settings;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[tokio::test]
    async fn leaving_must_be_confirmed_and_a_damaged_identity_does_not_keep_its_host() {
        let (state, file) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let identity = state.path().join("identity.json");
        std::fs::write(&file, format!("state_dir = {:?}", state.path())).unwrap();
        let settings = Settings::load(Some(file.path())).unwrap();
        let leave = async |yes: bool| Command::Leave { yes }.run(&settings).await;
        assert!(matches!(leave(true).await, Err(Failure::Failed(error)) if error.to_string().contains("has not joined")));
        std::fs::write(&identity, "{").unwrap();
        assert!(matches!(leave(false).await, Err(Failure::Usage(_))) && identity.exists());
        assert!(leave(true).await.is_ok() && !identity.exists());
    }
}
