//! Hosts.

use clap::Subcommand;
use loopback_api::account::WhoAmI;
use loopback_api::host::{GetHost, Host, ListHosts, ListOrganizationHosts, RemoveHost};
use loopback_api::{Nothing, Page, PageQuery};

use crate::client::{CallError, Client};
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output, word};
use crate::scope::ScopeArg;
use crate::{question, when};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the hosts you may see, in all your organizations when none is named
    #[command(after_help = "Examples:\n  loopback host list\n  loopback host list acme/prod/web --output json")]
    List {
        /// ORGANIZATION or ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::organization_or_workspace)]
        scope: Option<ScopeArg>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a host
    Show {
        /// ORGANIZATION/PROJECT/WORKSPACE/HOST
        #[arg(value_parser = ScopeArg::host)]
        host: ScopeArg,
    },
    /// Remove a host: its certificate is revoked and its link closed at once
    #[command(
        after_help = "The machine keeps the firewall it has; `loopback-agent leave` on it takes everything away.\n\nExamples:\n  loopback host remove acme/prod/web/host-1"
    )]
    Remove {
        /// ORGANIZATION/PROJECT/WORKSPACE/HOST
        #[arg(value_parser = ScopeArg::host)]
        host: ScopeArg,
        /// Do not ask
        #[arg(long, short)]
        yes: bool,
    },
}

const LIST: &[Field<Host>] = &[
    Field::new("HOST", |host, _| host.path.clone()),
    Field::state("STATE", |host, _| word(host.state)),
    Field::new("SEEN", |host, now| host.last_seen_at.map_or("never".to_owned(), |time| when::ago(time, now))),
    Field::new("SYSTEM", |host, _| host.os.clone()),
    Field::new("ARCHITECTURE", |host, _| host.architecture.clone()),
    Field::new("ADDRESS", |host, _| host.addresses.first().map(ToString::to_string).unwrap_or_default()),
    Field::new("AGENT", |host, _| host.agent_version.clone()),
    Field::new("PROBLEMS", |host, _| host.problems.join("; ")),
];
const SHOW: &[Field<Host>] = &[
    Field::new("host", |host, _| host.path.clone()),
    Field::new("id", |host, _| host.id.to_string()),
    Field::state("state", |host, _| word(host.state)),
    Field::new("problems", |host, _| host.problems.join("; ")),
    Field::new("seen", |host, now| host.last_seen_at.map_or("never".to_owned(), |time| when::full(time, now))),
    Field::new("hostname", |host, _| host.hostname.clone()),
    Field::new("system", |host, _| host.os.clone()),
    Field::new("kernel", |host, _| host.kernel.clone()),
    Field::new("architecture", |host, _| host.architecture.clone()),
    Field::new("addresses", |host, _| host.addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
    Field::new("agent", |host, _| host.agent_version.clone()),
    Field::new("created", |host, now| when::full(host.created_at, now)),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { scope: Some(scope), list } => {
                let token = if scope.segments().len() == 3 { scope.to_string() } else { format!("{scope}/PROJECT/WORKSPACE") };
                output.list(&list_hosts(client, scope, *list).await?, LIST, &format!("no host you may see; let one join with `loopback token create {token}`"))
            }
            Self::List { scope: None, list } => output.list(
                &everywhere(client, *list).await?,
                LIST,
                "no host you may see; let one join with `loopback token create ORGANIZATION/PROJECT/WORKSPACE`",
            ),
            Self::Show { host } => output.object(&get(client, host).await?, SHOW),
            Self::Remove { host, yes } => {
                if !yes && !confirmed(host)? {
                    return Err(Failure::failed("not removed"));
                }
                let answer = client.call::<RemoveHost>(&host.segments(), None, &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Removed {host}."))
            }
        }
    }
}

/// The hosts of an organization or a workspace.
pub(crate) async fn list_hosts(client: &Client, scope: &ScopeArg, list: ListArgs) -> Result<Page<Host>, CallError> {
    let segments = scope.segments();
    let page = if segments.len() == 1 {
        client.list::<ListOrganizationHosts, _>(&segments, PageQuery::default(), list).await?
    } else {
        client.list::<ListHosts, _>(&segments, PageQuery::default(), list).await?
    };
    Ok(by_path(page))
}

/// Whoever looks for a host among all looks for its name. What is cut off stays newest first, as `--limit` says.
fn by_path(mut page: Page<Host>) -> Page<Host> {
    if page.next.is_none() {
        page.items.sort_by(|one, other| one.path.cmp(&other.path));
    }
    page
}

pub(crate) async fn get(client: &Client, host: &ScopeArg) -> Result<Host, CallError> {
    client.call::<GetHost>(&host.segments(), None, &Nothing {}, &Nothing {}).await
}

async fn everywhere(client: &Client, list: ListArgs) -> Result<Page<Host>, CallError> {
    let identity = client.call::<WhoAmI>(&[], None, &Nothing {}, &Nothing {}).await?;
    let mut all = Page { items: Vec::new(), next: None };
    for organization in &identity.organizations {
        let page = client.list::<ListOrganizationHosts, _>(&[&organization.slug], PageQuery::default(), list).await?;
        all.items.extend(page.items);
        all.next = all.next.or(page.next);
    }
    Ok(by_path(all))
}

fn confirmed(host: &ScopeArg) -> Result<bool, Failure> {
    question::ask(&format!("Remove {host}? Its certificate is revoked at once, and it must join anew to come back."))
        .ok_or_else(|| Failure::usage(format!("there is no terminal to ask on; pass --yes to remove {host}")))
}
