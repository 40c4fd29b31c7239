//! Projects.

use clap::Subcommand;
use loopback_api::project::{CreateProject, DeleteProject, GetProject, ListProjects, NewProject, Project};
use loopback_api::{Nothing, PageQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output};
use crate::scope::ScopeArg;
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the projects you may see
    List {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Make a project
    #[command(after_help = "Examples:\n  loopback project create acme/prod --name Production")]
    Create {
        /// ORGANIZATION/PROJECT
        #[arg(value_parser = ScopeArg::project)]
        project: ScopeArg,
        /// A name for people
        #[arg(long)]
        name: Option<String>,
    },
    /// Show a project
    Show {
        /// ORGANIZATION/PROJECT
        #[arg(value_parser = ScopeArg::project)]
        project: ScopeArg,
    },
    /// Remove a project that holds no workspace
    Delete {
        /// ORGANIZATION/PROJECT
        #[arg(value_parser = ScopeArg::project)]
        project: ScopeArg,
    },
}

const LIST: &[Field<Project>] = &[
    Field::new("PROJECT", |project, _| project.path.clone()),
    Field::new("NAME", |project, _| project.name.clone()),
    Field::new("CREATED", |project, now| when::ago(project.created_at, now)),
    Field::new("ID", |project, _| project.id.to_string()),
];
const SHOW: &[Field<Project>] = &[
    Field::new("project", |project, _| project.path.clone()),
    Field::new("name", |project, _| project.name.clone()),
    Field::new("id", |project, _| project.id.to_string()),
    Field::new("created", |project, now| when::full(project.created_at, now)),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { organization, list } => {
                let page = client.list::<ListProjects, _>(&organization.segments(), PageQuery::default(), *list).await?;
                output.list(&page, LIST, &format!("no project you may see; make one with `loopback project create {organization}/NAME`"))
            }
            Self::Create { project, name } => {
                let (organization, slug) = project.parent_and_name();
                let new = NewProject { slug: slug.to_owned(), name: name.clone() };
                let made = client.call::<CreateProject>(&organization, None, &Nothing {}, &new).await?;
                output.done(&made, &format!("Made {}.", made.path))
            }
            Self::Show { project } => output.object(&client.call::<GetProject>(&project.segments(), None, &Nothing {}, &Nothing {}).await?, SHOW),
            Self::Delete { project } => {
                let answer = client.call::<DeleteProject>(&project.segments(), None, &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Removed {project}."))
            }
        }
    }
}
