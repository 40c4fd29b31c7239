//! Organizations.

use clap::Subcommand;
use loopback_api::organization::{GetOrganization, ListOrganizations, Organization};
use loopback_api::{Nothing, PageQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output, word};
use crate::scope::ScopeArg;
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the organizations you belong to
    List {
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show an organization, its status and its limits
    #[command(after_help = "Examples:\n  loopback organization show acme")]
    Show {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
    },
}

const LIST: &[Field<Organization>] = &[
    Field::new("ORGANIZATION", |organization, _| organization.slug.clone()),
    Field::new("NAME", |organization, _| organization.name.clone()),
    Field::state("STATE", |organization, _| word(organization.state)),
    Field::state("VERIFICATION", |organization, _| word(organization.verification)),
    Field::new("CREATED", |organization, now| when::ago(organization.created_at, now)),
];
const SHOW: &[Field<Organization>] = &[
    Field::new("organization", |organization, _| organization.slug.clone()),
    Field::new("name", |organization, _| organization.name.clone()),
    Field::new("id", |organization, _| organization.id.to_string()),
    Field::state("state", |organization, _| word(organization.state)),
    Field::state("verification", |organization, _| word(organization.verification)),
    Field::new("created", |organization, now| when::full(organization.created_at, now)),
    Field::new("projects at most", |organization, _| organization.limits.projects.to_string()),
    Field::new("workspaces at most", |organization, _| organization.limits.workspaces.to_string()),
    Field::new("hosts at most", |organization, _| organization.limits.hosts.to_string()),
    Field::new("members at most", |organization, _| organization.limits.members.to_string()),
    Field::new("firewall rules at most", |organization, _| organization.limits.firewall_rules.to_string()),
    Field::new("shell sessions at most", |organization, _| organization.limits.shell_sessions.to_string()),
    Field::new("API keys at most", |organization, _| organization.limits.api_keys.to_string()),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { list } => {
                let page = client.list::<ListOrganizations, _>(&[], PageQuery::default(), *list).await?;
                output.list(&page, LIST, "you belong to no organization; ask somebody who may add members: `loopback member add ORG YOU`")
            }
            Self::Show { organization } => {
                let organization = client.call::<GetOrganization>(&organization.segments(), None, &Nothing {}, &Nothing {}).await?;
                output.object(&organization, SHOW)
            }
        }
    }
}
