//! Bindings: a role on a scope, for an account.

use std::time::Duration;

use clap::Subcommand;
use loopback_api::binding::{Binding, CreateBinding, DeleteBinding, ListBindings, NewBinding};
use loopback_api::{Nothing, PageQuery, Time};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output};
use crate::scope::{ScopeArg, item};
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the bindings you may see
    List {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Give a member a role on a scope; only what you hold there yourself
    #[command(
        after_help = "Examples:\n  loopback binding create bob@example.org operator acme/prod/web\n  loopback binding create bob@example.org operator acme/prod/web/host-1 --for 8h"
    )]
    Create {
        /// The member's e-mail address
        email: String,
        /// The role's slug or id
        role: String,
        /// Where: an organization, a project, a workspace or a host
        #[arg(value_parser = ScopeArg::any)]
        scope: ScopeArg,
        /// For how long [default: for good]
        #[arg(long = "for", value_name = "DURATION", value_parser = when::duration)]
        life: Option<Duration>,
    },
    /// Take a role away; at once, also from open shells
    Delete {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// The binding's id
        #[arg(value_parser = item)]
        binding: String,
    },
}

const LIST: &[Field<Binding>] = &[
    Field::new("BINDING", |binding, _| binding.id.to_string()),
    Field::new("MEMBER", |binding, _| binding.email.clone()),
    Field::new("ROLE", |binding, _| binding.role.clone()),
    Field::new("SCOPE", |binding, _| binding.scope.clone()),
    Field::new("EXPIRES", |binding, now| binding.expires_at.map_or("never".to_owned(), |time| when::ago(time, now))),
    Field::new("SINCE", |binding, now| when::ago(binding.created_at, now)),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { organization, list } => {
                let page = client.list::<ListBindings, _>(&organization.segments(), PageQuery::default(), *list).await?;
                output.list(&page, LIST, &format!("no binding you may see; make one with `loopback binding create EMAIL ROLE {organization}`"))
            }
            Self::Create { email, role, scope, life } => {
                let expires_at = life.map(|life| Time(output.now().0.saturating_add(when::millis(life))));
                let new = NewBinding { email: email.clone(), role: role.clone(), scope: scope.to_string(), expires_at };
                let made = client.call::<CreateBinding>(&[scope.organization_name()], None, &Nothing {}, &new).await?;
                let until = made.expires_at.map(|time| format!(" until {time}")).unwrap_or_default();
                output.done(&made, &format!("{} holds {} on {}{until}.", made.email, made.role, made.scope))
            }
            Self::Delete { organization, binding } => {
                let answer = client.call::<DeleteBinding>(&organization.segments(), Some(binding), &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Removed {binding}."))
            }
        }
    }
}
