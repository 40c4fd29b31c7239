//! A shell on a host.

use std::time::Duration;

use clap::Args;
use loopback_api::session::OpenRequest;

use crate::attach::{self, Attached};
use crate::client::Client;
use crate::failure::Failure;
use crate::quote;
use crate::scope::ScopeArg;
use crate::when;

const EXAMPLES: &str = "\
The shell is a terminal on the host; everything shown and typed there is recorded. It leaves
with the shell's own exit code. On a terminal, ~. at the beginning of a line closes the session
and ~~ types a tilde.

A COMMAND of several words reaches the host as these words; one quoted word is a line for the
shell there: -- 'ps aux | wc -l'. When standard input is no terminal, its bytes are typed as they are
and its end as Ctrl-D: control characters in it act as on a keyboard, so pipe text, not binaries.

Examples:
  loopback shell acme/prod/web/host-1
  loopback shell acme/prod/web/host-1 --user deploy --reason 'ticket 4711' --max 30m
  loopback shell acme/prod/web/host-1 -- systemctl status nginx";

/// Open a shell on a host
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Shell {
    /// ORGANIZATION/PROJECT/WORKSPACE/HOST
    #[arg(value_parser = ScopeArg::host)]
    host: ScopeArg,
    /// As which user of the host [default: the host's login user]
    #[arg(long)]
    user: Option<String>,
    /// Why, for those who read the audit trail
    #[arg(long, default_value = "", hide_default_value = true)]
    reason: String,
    /// End after this long; the policy's limit holds anyway
    #[arg(long, value_name = "DURATION", value_parser = when::duration)]
    max: Option<Duration>,
    /// A command instead of an interactive shell
    #[arg(last = true)]
    command: Vec<String>,
}

impl Shell {
    /// The exit code of the remote shell.
    pub(crate) async fn run(&self, client: &Client) -> Result<u8, Failure> {
        let command = quote::join(&self.command).map_err(|error| Failure::usage(error.to_string()))?;
        let variable = |name: &str| std::env::var(name).unwrap_or_default();
        let open = OpenRequest {
            size: attach::window_size(),
            term: Some(variable("TERM")).filter(|term| !term.is_empty()).unwrap_or_else(|| "dumb".to_owned()),
            lang: variable("LANG"),
            run_as: self.user.clone(),
            command: (!command.is_empty()).then_some(command),
            reason: self.reason.clone(),
            max_seconds: self.max.map(|max| max.as_secs()),
        };
        Attached::open(client, &self.host, open).await?.run().await
    }
}
