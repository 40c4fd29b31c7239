//! Agent tokens.

use std::time::Duration;

use clap::Subcommand;
use loopback_api::token::{CreateToken, ListTokens, NewToken, RevokeToken, Token};
use loopback_api::{Nothing, PageQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output, note, word};
use crate::scope::{ScopeArg, item};
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Mint a token and print the line that installs the agent and joins
    #[command(after_help = "\
The line is all a machine needs; it is shown once, and only it stands on standard output.

Examples:
  loopback token create acme/prod/web
  loopback token create acme/prod/web --life 1d --uses 20 --description 'rack 4'
  ssh root@10.0.0.5 \"$(loopback token create acme/prod/web)\"")]
    Create {
        /// ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::workspace)]
        workspace: ScopeArg,
        /// How long it admits hosts [default: 1h]
        #[arg(long, value_parser = when::duration)]
        life: Option<Duration>,
        /// How many hosts it admits [default: 1]
        #[arg(long, value_name = "N")]
        uses: Option<u32>,
        /// For people
        #[arg(long, default_value = "", hide_default_value = true)]
        description: String,
    },
    /// List a workspace's tokens, without their secrets
    List {
        /// ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::workspace)]
        workspace: ScopeArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Revoke a token; hosts that joined with it stay
    Revoke {
        /// ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::workspace)]
        workspace: ScopeArg,
        /// The token's id
        #[arg(value_parser = item)]
        token: String,
    },
}

const LIST: &[Field<Token>] = &[
    Field::new("TOKEN", |token, _| token.id.to_string()),
    Field::state("STATE", |token, _| word(token.state)),
    Field::new("USES", |token, _| format!("{} of {}", token.uses, token.max_uses)),
    Field::new("EXPIRES", |token, now| when::ago(token.expires_at, now)),
    Field::new("CREATED", |token, now| when::ago(token.created_at, now)),
    Field::new("BY", |token, _| token.created_by.clone()),
    Field::new("DESCRIPTION", |token, _| token.description.clone()),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::Create { workspace, life, uses, description } => {
                let new = NewToken { description: description.clone(), life_seconds: life.map(|life| life.as_secs()), max_uses: *uses };
                let minted = client.call::<CreateToken>(&workspace.segments(), None, &Nothing {}, &new).await?;
                if output.is_table() {
                    let hosts = if minted.token.max_uses == 1 { "one host".to_owned() } else { format!("{} hosts", minted.token.max_uses) };
                    note(&format!(
                        "Run this on the machine, as a user who may use sudo; root leaves `sudo` out. It admits {hosts} until {} and is not shown again.",
                        minted.token.expires_at
                    ));
                }
                output.done(&minted, &minted.install)
            }
            Self::List { workspace, list } => {
                let page = client.list::<ListTokens, _>(&workspace.segments(), PageQuery::default(), *list).await?;
                output.list(&page, LIST, &format!("no token; mint one with `loopback token create {workspace}`"))
            }
            Self::Revoke { workspace, token } => {
                let answer = client.call::<RevokeToken>(&workspace.segments(), Some(token), &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Revoked {token}."))
            }
        }
    }
}
