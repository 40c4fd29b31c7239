//! The permission catalogue.

use clap::Args;
use loopback_api::Nothing;
use loopback_api::permission::{CatalogueEntry, ListPermissions};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Field, Output, word};

/// List every permission there is
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  loopback permissions\n  loopback role create acme watcher --permission project.workspace.host:read")]
pub(crate) struct Permissions {}

const LIST: &[Field<CatalogueEntry>] = &[
    Field::new("KEY", |entry, _| entry.key.clone()),
    Field::new("VERBS", |entry, _| entry.verbs.iter().map(word).collect::<Vec<_>>().join(",")),
    Field::new("NARROWEST", |entry, _| word(entry.narrowest_scope)),
    Field::new("SENSITIVE", |entry, _| if entry.sensitive { "yes".to_owned() } else { String::new() }),
    Field::new("ALLOWS", |entry, _| entry.description.clone()),
];

impl Permissions {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        let catalogue = client.call::<ListPermissions>(&[], None, &Nothing {}, &Nothing {}).await?;
        if output.is_table() { output.rows(&catalogue, LIST) } else { output.json(&catalogue) }
    }
}
