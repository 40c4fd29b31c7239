//! The command line: what can be asked, in the words of `--help`. What each command does lives beside its noun in `commands`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::{
    audit, binding, firewall, host, key, login, member, metrics, organization, permission, project, recording, role, session, shell, token, workspace,
};
use crate::output::Format;

const EXAMPLES: &str = "\
Examples:
  loopback login https://coordinator.example:8443 --email ada@example.org
  loopback token create acme/prod/web        # prints the line that installs a host
  loopback host list acme
  loopback shell acme/prod/web/host-1
  loopback audit list acme --since 1h --output json

A HOST or any other PATH is written wide to narrow, acme/prod/web/host-1; slugs and ids
may be mixed.

Environment: LOOPBACK_URL, LOOPBACK_KEY (an API key) and LOOPBACK_CA (a PEM file) together
take the place of a profile; LOOPBACK_KEY alone is used at the profile's coordinator.
LOOPBACK_OUTPUT, LOOPBACK_PROFILE and LOOPBACK_CONFIG stand for the options of these names.
Exit codes: 0 done, 1 refused or failed, 2 usage, 3 cannot reach the coordinator; `shell`
leaves with the remote exit code.";

/// Operates a fleet of hosts through its Loopback coordinator.
#[derive(Debug, Parser)]
#[command(name = "loopback", version, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Args)]
#[command(next_display_order = 900)]
pub(crate) struct Globals {
    /// A table for people, or the API's own objects for programs
    #[arg(
        long,
        short,
        global = true,
        value_enum,
        value_name = "table|json",
        default_value = "table",
        hide_possible_values = true,
        env = "LOOPBACK_OUTPUT",
        hide_env = true
    )]
    pub(crate) output: Format,
    /// Which of the coordinators you signed in to
    #[arg(long, global = true, value_name = "NAME", default_value = "default", env = "LOOPBACK_PROFILE", hide_env = true)]
    pub(crate) profile: String,
    /// Where the profiles are kept [default: ~/.config/loopback]
    #[arg(long, global = true, value_name = "DIR", env = "LOOPBACK_CONFIG", hide_env = true)]
    pub(crate) config: Option<PathBuf>,
    /// With an error, name the request for the one who looks into the coordinator's logs
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Login(login::Login),
    /// Sign out: the session ends on the coordinator and its credential is removed here
    Logout,
    /// Show who is signed in, and where they may go
    Whoami,
    /// The tenants you belong to
    #[command(subcommand)]
    Organization(organization::Command),
    /// Governance boundaries inside an organization
    #[command(subcommand)]
    Project(project::Command),
    /// The environments hosts live in
    #[command(subcommand)]
    Workspace(workspace::Command),
    /// Linux machines with an agent
    #[command(subcommand)]
    Host(host::Command),
    /// Agent tokens: what lets machines join a workspace
    #[command(subcommand)]
    Token(token::Command),
    /// Accounts that belong to an organization
    #[command(subcommand)]
    Member(member::Command),
    /// Named sets of permissions
    #[command(subcommand)]
    Role(role::Command),
    /// Who holds which role where
    #[command(subcommand)]
    Binding(binding::Command),
    /// Your API keys and sessions
    #[command(subcommand)]
    Key(key::Command),
    Permissions(permission::Permissions),
    /// Firewalls of organizations and workspaces, and what they make of a host
    #[command(subcommand)]
    Firewall(firewall::Command),
    Metrics(metrics::Metrics),
    Shell(shell::Shell),
    /// Shell sessions, open and past
    #[command(subcommand, alias = "session")]
    Sessions(session::Command),
    /// What happened in shell sessions
    #[command(subcommand, alias = "recording")]
    Recordings(recording::Command),
    /// The audit trail
    #[command(subcommand)]
    Audit(audit::Command),
    /// Print the completions of a shell
    #[command(
        after_help = "Examples:\n  loopback completions bash > /usr/share/bash-completion/completions/loopback\n  loopback completions zsh > ~/.zfunc/_loopback"
    )]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
