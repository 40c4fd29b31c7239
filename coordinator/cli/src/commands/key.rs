//! One's own API keys and sessions.

use std::time::Duration;

use clap::Subcommand;
use loopback_api::key::{ApiKey, CreateKey, ListKeys, NewKey, RevokeKey};
use loopback_api::{Nothing, PageQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output, note, word};
use crate::scope::item;
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List your API keys and sessions, without their secrets
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Make an API key and print its secret, once
    #[command(after_help = "\
The secret alone stands on standard output.

Examples:
  loopback key create 'deploy robot' --life 30d > key
  LOOPBACK_URL=https://coordinator.example:8443 LOOPBACK_KEY=$(cat key) LOOPBACK_CA=ca.pem loopback host list")]
    Create {
        /// For people: what it is for
        description: String,
        /// How long it holds [default: 90d]
        #[arg(long, value_parser = when::duration)]
        life: Option<Duration>,
    },
    /// Revoke a key or a session, at once
    Revoke {
        /// The key's id
        #[arg(value_parser = item)]
        key: String,
    },
}

const LIST: &[Field<ApiKey>] = &[
    Field::new("KEY", |key, _| key.id.to_string()),
    Field::new("KIND", |key, _| word(key.kind)),
    Field::new("DESCRIPTION", |key, _| key.description.clone()),
    Field::new("EXPIRES", |key, now| when::ago(key.expires_at, now)),
    Field::new("USED", |key, now| key.last_used_at.map_or("never".to_owned(), |time| when::ago(time, now))),
    Field::new("FROM", |key, _| key.last_used_from.clone().unwrap_or_default()),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { list } => {
                let page = client.list::<ListKeys, _>(&[], PageQuery::default(), *list).await?;
                output.list(&page, LIST, "no key; make one with `loopback key create DESCRIPTION`")
            }
            Self::Create { description, life } => {
                let new = NewKey { description: description.clone(), life_seconds: life.map(|life| life.as_secs()) };
                let minted = client.call::<CreateKey>(&[], None, &Nothing {}, &new).await?;
                if output.is_table() {
                    note(&format!("{} acts as you until {} and is not shown again.", minted.key.id, minted.key.expires_at));
                }
                output.done(&minted, &minted.secret)
            }
            Self::Revoke { key } => {
                let answer = client.call::<RevokeKey>(&[], Some(key), &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Revoked {key}."))
            }
        }
    }
}
