//! Runs what the command line asks for: one noun per file, each with its words, its tables and its calls.

pub(crate) mod audit;
pub(crate) mod binding;
pub(crate) mod firewall;
pub(crate) mod host;
pub(crate) mod key;
pub(crate) mod login;
pub(crate) mod member;
pub(crate) mod metrics;
pub(crate) mod organization;
pub(crate) mod permission;
pub(crate) mod project;
pub(crate) mod recording;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod shell;
pub(crate) mod token;
pub(crate) mod workspace;

use clap::CommandFactory;

use crate::arguments::{Cli, Command};
use crate::client::Client;
use crate::credential::{Credential, Environment};
use crate::failure::Failure;
use crate::output::Output;
use crate::profile::Profiles;
use crate::{output, when};

/// Runs a command; its exit code is 0 but for a shell's.
pub(crate) async fn run(cli: Cli) -> Result<u8, Failure> {
    let Cli { globals, command } = cli;
    if let Command::Completions { shell } = command {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "loopback", &mut text);
        output::raw(&String::from_utf8_lossy(&text))?;
        return Ok(0);
    }
    let output = Output::new(globals.output, when::now());
    let profiles = Profiles::open(globals.config)?;
    let environment = Environment::read();
    match command {
        Command::Login(login) => login.run(&profiles, &globals.profile, &output).await?,
        Command::Logout => login::logout(&environment, &profiles, &globals.profile, &output).await?,
        Command::Shell(shell) => return shell.run(&Client::new(&Credential::find(environment, &profiles, &globals.profile)?)?).await,
        command => signed_in(command, &Client::new(&Credential::find(environment, &profiles, &globals.profile)?)?, &output).await?,
    }
    Ok(0)
}

async fn signed_in(command: Command, client: &Client, output: &Output) -> Result<(), Failure> {
    match command {
        Command::Whoami => login::whoami(client, output).await,
        Command::Organization(command) => command.run(client, output).await,
        Command::Project(command) => command.run(client, output).await,
        Command::Workspace(command) => command.run(client, output).await,
        Command::Host(command) => command.run(client, output).await,
        Command::Token(command) => command.run(client, output).await,
        Command::Member(command) => command.run(client, output).await,
        Command::Role(command) => command.run(client, output).await,
        Command::Binding(command) => command.run(client, output).await,
        Command::Key(command) => command.run(client, output).await,
        Command::Permissions(command) => command.run(client, output).await,
        Command::Firewall(command) => command.run(client, output).await,
        Command::Metrics(command) => command.run(client, output).await,
        Command::Sessions(command) => command.run(client, output).await,
        Command::Recordings(command) => command.run(client, output).await,
        Command::Audit(command) => command.run(client, output).await,
        // Handled in `run`, without a credential or with an exit code of their own.
        Command::Login(_) | Command::Logout | Command::Shell(_) | Command::Completions { .. } => Ok(()),
    }
}
