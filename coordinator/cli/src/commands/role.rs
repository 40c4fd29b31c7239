//! Roles.

use clap::Subcommand;
use loopback_api::role::{CreateRole, DeleteRole, ListRoles, NewRole, Role, UpdateRole};
use loopback_api::{Nothing, PageQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output};
use crate::scope::{ScopeArg, item};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the roles
    List {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Make a role of permissions you hold yourself
    #[command(
        after_help = "Examples:\n  loopback role create acme watcher --permission project.workspace.host:read --permission project.workspace.host.metrics:read\n  loopback permissions        # every permission there is"
    )]
    Create {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// Unique in the organization
        slug: String,
        #[command(flatten)]
        what: What,
    },
    /// Replace a role's name and permissions; at once for all who hold it
    Update {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// The role's slug
        #[arg(value_parser = item)]
        slug: String,
        #[command(flatten)]
        what: What,
    },
    /// Remove a role nobody holds
    Delete {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// The role's slug or id
        #[arg(value_parser = item)]
        slug: String,
    },
}

#[derive(Debug, clap::Args)]
pub(crate) struct What {
    /// What it allows; repeat it for each
    #[arg(long = "permission", value_name = "KEY:VERB", required = true)]
    permissions: Vec<String>,
    /// A name for people
    #[arg(long)]
    name: Option<String>,
}

const LIST: &[Field<Role>] = &[
    Field::new("ROLE", |role, _| role.slug.clone()),
    Field::new("NAME", |role, _| role.name.clone()),
    Field::new("PERMISSIONS", |role, _| shortened(&role.permissions)),
    Field::new("ID", |role, _| role.id.to_string()),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { organization, list } => {
                let page = client.list::<ListRoles, _>(&organization.segments(), PageQuery::default(), *list).await?;
                output.list(&page, LIST, &format!("no role; make one with `loopback role create {organization} SLUG --permission KEY:VERB`"))
            }
            Self::Create { organization, slug, what } => {
                let made = client.call::<CreateRole>(&organization.segments(), None, &Nothing {}, &what.role(slug)).await?;
                output.done(&made, &format!("Made {}. Give it to somebody with `loopback binding create EMAIL {} {organization}`.", made.slug, made.slug))
            }
            Self::Update { organization, slug, what } => {
                let role = client.call::<UpdateRole>(&organization.segments(), Some(slug), &Nothing {}, &what.role(slug)).await?;
                output.done(&role, &format!("{} now allows {}.", role.slug, shortened(&role.permissions)))
            }
            Self::Delete { organization, slug } => {
                let answer = client.call::<DeleteRole>(&organization.segments(), Some(slug), &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Removed {slug}."))
            }
        }
    }
}

impl What {
    fn role(&self, slug: &str) -> NewRole {
        NewRole { slug: slug.to_owned(), name: self.name.clone(), permissions: self.permissions.clone() }
    }
}

/// A few of them and how many more; JSON has them all.
fn shortened(permissions: &[String]) -> String {
    const SHOWN: usize = 3;
    let few = permissions.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match permissions.len().saturating_sub(SHOWN) {
        0 => few,
        more => format!("{few} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::shortened;

    #[test]
    fn a_long_set_of_permissions_is_shortened() {
        let permissions: Vec<String> = ["a:read", "b:read", "c:read", "d:read", "e:read"].map(str::to_owned).to_vec();
        assert_eq!(shortened(&permissions), "a:read, b:read, c:read and 2 more");
        assert_eq!(shortened(&permissions[..3]), "a:read, b:read, c:read");
        assert_eq!(shortened(&[]), "");
    }
}
