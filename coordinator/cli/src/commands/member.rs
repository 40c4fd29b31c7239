//! Members of an organization.

use clap::Subcommand;
use loopback_api::member::{AddMember, ListMembers, Member, NewMember, RemoveMember};
use loopback_api::{Nothing, PageQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output};
use crate::scope::{ScopeArg, item};
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the members
    List {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Make an existing account a member, without any role yet
    #[command(after_help = "Examples:\n  loopback member add acme bob@example.org\n  loopback binding create bob@example.org operator acme/prod --for 8h")]
    Add {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// The account's e-mail address
        email: String,
    },
    /// Remove a member and every role they hold, at once
    Remove {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// The member's e-mail address or id
        #[arg(value_parser = item)]
        email: String,
    },
}

const LIST: &[Field<Member>] = &[
    Field::new("MEMBER", |member, _| member.email.clone()),
    Field::new("NAME", |member, _| member.name.clone()),
    Field::new("SINCE", |member, now| when::ago(member.created_at, now)),
    Field::new("ID", |member, _| member.id.to_string()),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { organization, list } => {
                let page = client.list::<ListMembers, _>(&organization.segments(), PageQuery::default(), *list).await?;
                output.list(&page, LIST, &format!("no member; add one with `loopback member add {organization} EMAIL`"))
            }
            Self::Add { organization, email } => {
                let added = client.call::<AddMember>(&organization.segments(), None, &Nothing {}, &NewMember { email: email.clone() }).await?;
                let next = format!("Added {}. Give them a role with `loopback binding create {} ROLE {organization}`.", added.email, added.email);
                output.done(&added, &next)
            }
            Self::Remove { organization, email } => {
                let answer = client.call::<RemoveMember>(&organization.segments(), Some(email), &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Removed {email} from {organization}."))
            }
        }
    }
}
