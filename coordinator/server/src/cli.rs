//! The coordinator's own command line: running it, and what only whoever runs it may do.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _, Parser, Subcommand};
use tokio::signal::unix::{SignalKind, signal};

use crate::commands::setup::{self, AccountMade, NewAccount};
use crate::config::{Config, DEFAULT_FILE, default_file};
use crate::coordinator::{Coordinator, claim_state_dir, open_ca, open_storage};
use crate::doctor::{self, Installation};
use crate::password::{Passwords, generate};
use crate::state_lock::StateLock;
use crate::telemetry;

/// Coordinates a fleet of Linux hosts: who may do what on which host, and what each host has to do.
#[derive(Debug, Parser)]
#[command(name = "loopback-coordinator", version)]
pub struct Cli {
    /// The configuration file; `config default` prints one to start from.
    #[arg(long, global = true, value_name = "FILE", help = format!("The configuration file [default: {DEFAULT_FILE}, or the defaults when it is absent]"))]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the coordinator until it is told to stop (SIGTERM, Ctrl-C).
    Run,
    /// Makes an organization with the built-in roles, and an account that owns it. Works also while the coordinator runs.
    Setup(Setup),
    /// Makes accounts for people. Works also while the coordinator runs.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Tells about the certificate authority.
    #[command(subcommand)]
    Ca(CaCommand),
    /// Looks for what is missing and tells how to mend it. Leaves with 1 when something fails.
    Doctor {
        /// How it is told.
        #[arg(long, value_enum, default_value_t = Output::Text)]
        output: Output,
    },
    /// Tells about the configuration.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Prints completions for a shell, to be sourced.
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
struct Setup {
    /// The organization's slug: lower-case letters, digits and hyphens.
    #[arg(long, value_name = "SLUG")]
    organization: String,
    #[command(flatten)]
    person: Person,
}

#[derive(Debug, Args)]
struct Person {
    /// The account's e-mail address; it signs in with it.
    #[arg(long, value_name = "EMAIL")]
    email: String,
    /// The account's name for people [default: the e-mail address].
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Reads the password from standard input; without it one is made and shown once.
    #[arg(long)]
    password_stdin: bool,
}

#[derive(Debug, Subcommand)]
enum AccountCommand {
    /// Makes an account, and a member of an organization with a role in all of it when both are named.
    Create {
        #[command(flatten)]
        person: Person,
        /// The organization to belong to.
        #[arg(long, value_name = "ORG", requires = "role")]
        organization: Option<String>,
        /// The role to hold in all of it.
        #[arg(long, value_name = "ROLE", requires = "organization")]
        role: Option<String>,
    },
}

/// How a report is told.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Debug, Subcommand)]
enum CaCommand {
    /// Prints the fingerprint that operators compare at their first contact.
    Fingerprint,
}

#[derive(Debug, Subcommand)]
enum ConfigCommand {
    /// Prints a configuration file with every default and what it means.
    Default,
}

impl Cli {
    /// Does what it says.
    ///
    /// # Errors
    /// What went wrong, and how to mend it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self.command {
            Command::Config(ConfigCommand::Default) => print!("{}", default_file()),
            Command::Completions { shell } => {
                let mut command = Self::command();
                let name = command.get_name().to_owned();
                clap_complete::generate(shell, &mut command, name, &mut std::io::stdout());
            }
            command => return with_config(command, Config::load(self.config.as_deref())?).await,
        }
        Ok(())
    }
}

async fn with_config(command: Command, config: Config) -> anyhow::Result<()> {
    match command {
        Command::Run => run(config).await,
        Command::Setup(asked) => set_up(&config, asked).await,
        Command::Account(AccountCommand::Create { person, organization, role }) => {
            let place = organization.as_deref().zip(role.as_deref());
            make_account(&config, person, place).await
        }
        Command::Ca(CaCommand::Fingerprint) => {
            println!("{}", fingerprint(&config)?);
            Ok(())
        }
        Command::Doctor { output } => examine(&config, output).await,
        Command::Config(_) | Command::Completions { .. } => Ok(()),
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    telemetry::start(&config.log)?;
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    claim_state_dir(&config.state_dir)?;
    let _lock = StateLock::take(&config.state_dir)?;
    let mut coordinator = Coordinator::start(config).await?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = coordinator.failed() => return Err(ended.into()),
    }
    tracing::info!("the coordinator stops");
    Ok(coordinator.shutdown().await?)
}

async fn examine(config: &Config, output: Output) -> anyhow::Result<()> {
    let installation = Installation { state_dir: config.state_dir.clone(), listen: config.listen_address()?, agent_binary: config.agent_binary() };
    let report = doctor::run(&installation).await;
    match output {
        Output::Text => print!("{report}"),
        Output::Json => println!("{}", serde_json::to_string(&report)?),
    }
    anyhow::ensure!(!report.has_failed(), "something does not work; below the lines marked FAIL stands how to mend it");
    Ok(())
}

async fn set_up(config: &Config, asked: Setup) -> anyhow::Result<()> {
    let storage = open_storage(&config.state_dir).await?;
    let (owner, generated) = new_account(asked.person)?;
    let email = owner.email.clone();
    let made = setup::organization(&storage, &Passwords::new()?, &asked.organization, owner).await?;
    say_account(&email, made, generated.as_deref());
    println!("Organization {} is ready; {email} owns it.", asked.organization);
    println!("URL:            https://{}\nCA fingerprint: {}", public_address(config)?, fingerprint(config)?);
    say_sign_in(config, &email)
}

fn say_sign_in(config: &Config, email: &str) -> anyhow::Result<()> {
    println!("\nSign in with:\n  loopback login https://{} --email {email} --ca-fingerprint {}", public_address(config)?, fingerprint(config)?);
    Ok(())
}

async fn make_account(config: &Config, person: Person, place: Option<(&str, &str)>) -> anyhow::Result<()> {
    let storage = open_storage(&config.state_dir).await?;
    let (new, generated) = new_account(person)?;
    let email = new.email.clone();
    let made = setup::person(&storage, &Passwords::new()?, new, place).await?;
    say_account(&email, made, generated.as_deref());
    if let Some((organization, role)) = place {
        println!("{email} holds the role {role} in {organization}.");
    }
    say_sign_in(config, &email)
}

/// The account to make, and its password if nobody chose it.
fn new_account(person: Person) -> anyhow::Result<(NewAccount, Option<String>)> {
    let (password, generated) = if person.password_stdin {
        let mut text = String::new();
        std::io::stdin().take(4_096).read_to_string(&mut text).context("no password on standard input, or not as UTF-8 text; pipe it in")?;
        (text.trim_end_matches(['\r', '\n']).to_owned(), None)
    } else {
        let password = generate();
        (password.clone(), Some(password))
    };
    Ok((NewAccount { email: person.email, name: person.name, password }, generated))
}

fn say_account(email: &str, made: AccountMade, generated: Option<&str>) {
    match (made, generated) {
        (AccountMade::New, Some(password)) => println!("Account {email} is made. Its password is shown only now: {password}"),
        (AccountMade::New, None) => println!("Account {email} is made."),
        (AccountMade::Known, _) => println!("Account {email} was there already; its password stays."),
    }
}

fn public_address(config: &Config) -> anyhow::Result<String> {
    Ok(config.public_address(config.listen_address()?.port()))
}

fn fingerprint(config: &Config) -> anyhow::Result<String> {
    let address: SocketAddr = config.listen_address()?;
    Ok(open_ca(&config.state_dir, &public_address(config)?, address)?.fingerprint().to_string())
}
