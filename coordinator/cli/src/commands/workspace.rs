//! Workspaces.

use clap::Subcommand;
use loopback_api::workspace::{CreateWorkspace, DeleteWorkspace, GetWorkspace, ListWorkspaces, NewWorkspace, Workspace};
use loopback_api::{Nothing, PageQuery};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output};
use crate::scope::ScopeArg;
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the workspaces of a project that you may see
    List {
        /// ORGANIZATION/PROJECT
        #[arg(value_parser = ScopeArg::project)]
        project: ScopeArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Make a workspace
    #[command(after_help = "Examples:\n  loopback workspace create acme/prod/web --name 'Web servers'")]
    Create {
        /// ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::workspace)]
        workspace: ScopeArg,
        /// A name for people
        #[arg(long)]
        name: Option<String>,
    },
    /// Show a workspace
    Show {
        /// ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::workspace)]
        workspace: ScopeArg,
    },
    /// Remove a workspace that holds no host
    Delete {
        /// ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::workspace)]
        workspace: ScopeArg,
    },
}

const LIST: &[Field<Workspace>] = &[
    Field::new("WORKSPACE", |workspace, _| workspace.path.clone()),
    Field::new("NAME", |workspace, _| workspace.name.clone()),
    Field::new("CREATED", |workspace, now| when::ago(workspace.created_at, now)),
    Field::new("ID", |workspace, _| workspace.id.to_string()),
];
const SHOW: &[Field<Workspace>] = &[
    Field::new("workspace", |workspace, _| workspace.path.clone()),
    Field::new("name", |workspace, _| workspace.name.clone()),
    Field::new("id", |workspace, _| workspace.id.to_string()),
    Field::new("created", |workspace, now| when::full(workspace.created_at, now)),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { project, list } => {
                let page = client.list::<ListWorkspaces, _>(&project.segments(), PageQuery::default(), *list).await?;
                output.list(&page, LIST, &format!("no workspace you may see; make one with `loopback workspace create {project}/NAME`"))
            }
            Self::Create { workspace, name } => {
                let (project, slug) = workspace.parent_and_name();
                let new = NewWorkspace { slug: slug.to_owned(), name: name.clone() };
                let made = client.call::<CreateWorkspace>(&project, None, &Nothing {}, &new).await?;
                output.done(&made, &format!("Made {}. Let a host join with `loopback token create {}`.", made.path, made.path))
            }
            Self::Show { workspace } => output.object(&client.call::<GetWorkspace>(&workspace.segments(), None, &Nothing {}, &Nothing {}).await?, SHOW),
            Self::Delete { workspace } => {
                let answer = client.call::<DeleteWorkspace>(&workspace.segments(), None, &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Removed {workspace}."))
            }
        }
    }
}
