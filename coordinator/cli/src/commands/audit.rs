//! The audit trail.

use clap::Subcommand;
use loopback_api::Nothing;
use loopback_api::audit::{AuditEvent, AuditQuery, AuditVerification, ListAuditEvents, VerifyAudit};
use serde_json::Value;

use crate::client::Client;
use crate::failure::Failure;
use crate::limits::DETAILS_MAX_CHARS;
use crate::listing::ListArgs;
use crate::output::{Field, Output, word};
use crate::scope::ScopeArg;
use crate::when::{self, Moment};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List events, newest first
    #[command(after_help = "\
Examples:
  loopback audit list acme --since 1h
  loopback audit list acme --action shell_session --target acme/prod/web
  loopback audit list acme --actor ada@example.org --limit 20 --output json")]
    List {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
        /// Only this action, or those under it: `firewall` finds `firewall.create`
        #[arg(long)]
        action: Option<String>,
        /// Only on targets that begin with this path
        #[arg(long)]
        target: Option<String>,
        /// Only of actors with this name
        #[arg(long)]
        actor: Option<String>,
        /// Only from this time on: 1h, 2d or 2026-11-21T02:40:36Z
        #[arg(long, value_name = "TIME", value_parser = when::moment)]
        since: Option<Moment>,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Prove that no event was changed, dropped or moved, or name the first that was
    #[command(after_help = "Leaves with 1 when the trail is not whole.")]
    Verify {
        /// ORGANIZATION
        #[arg(value_parser = ScopeArg::organization)]
        organization: ScopeArg,
    },
}

const LIST: &[Field<AuditEvent>] = &[
    Field::new("TIME", |event, _| event.time.to_string()),
    Field::new("ACTOR", |event, _| event.actor.clone()),
    Field::new("ACTION", |event, _| event.action.clone()),
    Field::new("TARGET", |event, _| event.target.clone()),
    Field::state("OUTCOME", |event, _| word(event.outcome)),
    Field::new("FROM", |event, _| event.address.clone()),
    Field::new("DETAILS", |event, _| details(&event.details)),
];
const WHOLE: &[Field<AuditVerification>] = &[
    Field::state("trail", |_, _| "whole".to_owned()),
    Field::new("events", |found, _| found.events.to_string()),
    Field::new("head", |found, _| found.head.clone()),
];
const BROKEN: &[Field<AuditVerification>] = &[
    Field::state("trail", |_, _| "broken".to_owned()),
    Field::new("first broken event", |found, _| found.broken.clone().unwrap_or_default()),
    Field::new("whole events before it", |found, _| found.events.to_string()),
    Field::new("last whole head", |found, _| found.head.clone()),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { organization, action, target, actor, since, list } => {
                let since = since.map(|moment| moment.before(output.now()));
                let query = AuditQuery { action: action.clone(), target: target.clone(), actor: actor.clone(), since, limit: None, cursor: None };
                let page = client.list::<ListAuditEvents, _>(&organization.segments(), query, *list).await?;
                output.list(&page, LIST, "no such event; leave a filter out to see more")
            }
            Self::Verify { organization } => {
                let found = client.call::<VerifyAudit>(&organization.segments(), None, &Nothing {}, &Nothing {}).await?;
                output.object(&found, if found.whole { WHOLE } else { BROKEN })?;
                let broken =
                    || Failure::failed("the audit trail is not as it was written; keep the coordinator's database as it is and compare it with a backup");
                if found.whole { Ok(()) } else { Err(broken()) }
            }
        }
    }
}

/// The details on one line, and no more of them than a line takes; JSON has them all.
fn details(details: &Value) -> String {
    let mut told = Vec::new();
    tell(&mut told, "", details);
    let line = told.join(" ");
    match line.char_indices().nth(DETAILS_MAX_CHARS) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
        None => line,
    }
}

/// `name=value` for what says something; fields of a field by its name, and lists of things by their number.
fn tell(told: &mut Vec<String>, name: &str, value: &Value) {
    let text = match value {
        Value::Null => return,
        Value::Object(fields) => {
            let inner = |field: &str| if name.is_empty() { field.to_owned() } else { format!("{name}.{field}") };
            return fields.iter().for_each(|(field, value)| tell(told, &inner(field), value));
        }
        Value::Array(things) if things.iter().any(|thing| thing.is_object() || thing.is_array()) => things.len().to_string(),
        Value::Array(words) => words.iter().map(word).collect::<Vec<_>>().join(","),
        other => word(other),
    };
    match (name, text.as_str()) {
        (_, "") => {}
        ("", _) => told.push(text),
        _ => told.push(format!("{name}={text}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{DETAILS_MAX_CHARS, details};

    #[test]
    fn details_are_told_on_one_line() {
        assert_eq!(details(&json!({ "after": { "slug": "web" }, "reason": "no permission" })), "after.slug=web reason=no permission");
        assert_eq!(
            details(&json!({ "added": [{ "priority": 1 }, { "priority": 2 }], "removed": [], "description": "", "verbs": ["read", "update"] })),
            "added=2 verbs=read,update"
        );
        assert_eq!(details(&json!({})), "");
        assert_eq!(details(&json!(null)), "");
        assert_eq!(details(&json!("ä".repeat(DETAILS_MAX_CHARS))), "ä".repeat(DETAILS_MAX_CHARS));
        assert_eq!(details(&json!("ä".repeat(DETAILS_MAX_CHARS + 1))), format!("{}…", "ä".repeat(DETAILS_MAX_CHARS)));
    }
}
