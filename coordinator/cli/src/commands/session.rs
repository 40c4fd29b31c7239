//! Shell sessions.

use clap::Subcommand;
use loopback_api::Nothing;
use loopback_api::session::{GetSession, ListSessions, Session, SessionQuery, TerminateSession};

use crate::client::Client;
use crate::failure::Failure;
use crate::listing::ListArgs;
use crate::output::{Field, Output, word};
use crate::scope::{ScopeArg, item};
use crate::when;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the sessions you may see
    #[command(after_help = "Examples:\n  loopback sessions list acme --open")]
    List {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// Only those that are not over
        #[arg(long)]
        open: bool,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Show a session
    Show {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// The session's id
        #[arg(value_parser = item)]
        session: String,
    },
    /// End a session and every process in it
    Terminate {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// The session's id
        #[arg(value_parser = item)]
        session: String,
    },
}

const LIST: &[Field<Session>] = &[
    Field::new("SESSION", |session, _| session.id.to_string()),
    Field::state("STATE", |session, _| word(session.state)),
    Field::new("HOST", |session, _| session.host_path.clone()),
    Field::new("BY", |session, _| session.email.clone()),
    Field::new("AS", |session, _| session.run_as.clone()),
    Field::new("STARTED", |session, now| when::ago(session.started_at, now)),
    Field::new("ENDED", |session, now| session.ended_at.map(|time| when::ago(time, now)).unwrap_or_default()),
    Field::new("WHY", |session, _| session.ended.clone().unwrap_or_default()),
    Field::new("REASON", |session, _| session.reason.clone()),
];
const SHOW: &[Field<Session>] = &[
    Field::new("session", |session, _| session.id.to_string()),
    Field::state("state", |session, _| word(session.state)),
    Field::new("host", |session, _| session.host_path.clone()),
    Field::new("host id", |session, _| session.host.to_string()),
    Field::new("by", |session, _| session.email.clone()),
    Field::new("as", |session, _| session.run_as.clone()),
    Field::new("reason", |session, _| session.reason.clone()),
    Field::new("started", |session, now| when::full(session.started_at, now)),
    Field::new("ended", |session, now| session.ended_at.map(|time| when::full(time, now)).unwrap_or_default()),
    Field::new("why", |session, _| session.ended.clone().unwrap_or_default()),
    Field::new("recorded", |session, _| if session.recorded { "yes".to_owned() } else { "no".to_owned() }),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { organization, open, list } => {
                let query = SessionQuery { open: *open, ..SessionQuery::default() };
                let page = client.list::<ListSessions, _>(&organization.segments(), query, *list).await?;
                let empty = if *open { "no open session you may see" } else { "no session you may see" };
                output.list(&page, LIST, &format!("{empty}; open one with `loopback shell {organization}/PROJECT/WORKSPACE/HOST`"))
            }
            Self::Show { organization, session } => {
                output.object(&client.call::<GetSession>(&organization.segments(), Some(session), &Nothing {}, &Nothing {}).await?, SHOW)
            }
            Self::Terminate { organization, session } => {
                let answer = client.call::<TerminateSession>(&organization.segments(), Some(session), &Nothing {}, &Nothing {}).await?;
                output.done(&answer, &format!("Ended {session}."))
            }
        }
    }
}
