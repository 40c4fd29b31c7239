//! Firewalls of organizations and workspaces, and what they make of a host.

mod applied;
mod packet;
mod scoped;

use std::fs::File;
use std::io::{self, Read};

use clap::{Args, Subcommand};
use loopback_api::Nothing;
use loopback_api::firewall::{ApplyStatus, EffectiveRule, ExplainHostFirewall, Explanation, Firewall, HostFirewall, NewFirewall, Rule};
use loopback_core::firewall::rule::{DefaultVerdict, RuleSpec, Stage};

use self::packet::PacketArgs;
use crate::client::Client;
use crate::failure::Failure;
use crate::firewall_rules;
use crate::limits::FILE_MAX_BYTES;
use crate::listing::ListArgs;
use crate::output::{Field, Output, note, word};
use crate::scope::{ScopeArg, item};
use crate::when;

const RULES_HELP: &str = r#"The file holds all rules of the firewall, in TOML or JSON (a bare list, or {"rules": […]}):

  [[rules]]
  priority = 10              # lower is asked first
  action = "allow"           # allow, deny, reject, next
  direction = "inbound"      # inbound, outbound
  protocol = "tcp"           # any, tcp, udp, icmp, icmpv6 or a number
  source = ["192.0.2.0/24"]  # networks, ranges, host:PATH, workspace:PATH; left out: any
  ports = ["443", "8000-8099"]

After the change the scope's hosts are watched for up to 10 seconds.

Examples:
  loopback firewall rules acme/prod/web edge rules.toml
  printf '[]' | loopback firewall rules acme/prod/web edge -"#;

const EXPLAIN_HELP: &str = "\
The packet is the first of a connection. What is left out is the host's own first address. An
arrow may stand between source and destination, but then quote it: '->'.

Examples:
  loopback firewall explain acme/prod/web/host-1 tcp 203.0.113.9 :443
  loopback firewall explain acme/prod/web/host-1 tcp 2001:db8::9 '->' [2001:db8::1]:22
  loopback firewall explain acme/prod/web/host-1 outbound udp 9.9.9.9:53
  loopback firewall explain acme/prod/web/host-1 icmp 203.0.113.9";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List the firewalls of an organization or a workspace
    List {
        /// ORGANIZATION or ORGANIZATION/PROJECT/WORKSPACE
        #[arg(value_parser = ScopeArg::organization_or_workspace)]
        scope: ScopeArg,
        #[command(flatten)]
        list: ListArgs,
    },
    /// Make a firewall, without rules yet; its defaults hold at once
    #[command(
        after_help = "Examples:\n  loopback firewall create acme/prod/web edge --default-inbound deny\n  loopback firewall create acme no-smtp --stage guardrail --default-inbound allow"
    )]
    Create {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        what: What,
    },
    /// Show a firewall and its rules
    Show {
        #[command(flatten)]
        which: Which,
    },
    /// Replace all rules of a firewall and wait for its hosts
    #[command(after_help = RULES_HELP)]
    Rules {
        #[command(flatten)]
        which: Which,
        /// The file with the rules, or - for standard input
        file: String,
    },
    /// Change what a firewall is, not its rules; what is left out stays
    Update {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        what: What,
        /// Another slug
        #[arg(long, value_name = "SLUG")]
        rename: Option<String>,
    },
    /// Remove a firewall
    Delete {
        #[command(flatten)]
        which: Which,
    },
    /// Show the policy meant for a host, and how far the host is with it
    Status {
        /// ORGANIZATION/PROJECT/WORKSPACE/HOST
        #[arg(value_parser = ScopeArg::host)]
        host: ScopeArg,
    },
    /// Tell which rule decides a packet
    #[command(after_help = EXPLAIN_HELP)]
    Explain {
        /// ORGANIZATION/PROJECT/WORKSPACE/HOST
        #[arg(value_parser = ScopeArg::host)]
        host: ScopeArg,
        /// [inbound|outbound] PROTOCOL SOURCE [DESTINATION]:PORT
        #[arg(required = true, num_args = 1.., trailing_var_arg = true, allow_hyphen_values = true, value_name = "PACKET")]
        packet: Vec<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Which {
    /// ORGANIZATION or ORGANIZATION/PROJECT/WORKSPACE
    #[arg(value_parser = ScopeArg::organization_or_workspace)]
    scope: ScopeArg,
    /// The firewall's slug or id
    #[arg(value_parser = item, value_name = "FIREWALL")]
    slug: String,
}

#[derive(Debug, Args)]
pub(crate) struct What {
    /// Before the workspaces' rules (guardrail) or after them (baseline, the default); for an organization's firewalls
    #[arg(long, value_parser = serde_word::<Stage>, value_name = "guardrail|baseline")]
    stage: Option<Stage>,
    /// What happens to inbound packets no rule decided [default: deny]
    #[arg(long, value_parser = serde_word::<DefaultVerdict>, value_name = "allow|deny|reject")]
    default_inbound: Option<DefaultVerdict>,
    /// What happens to outbound packets no rule decided [default: allow]
    #[arg(long, value_parser = serde_word::<DefaultVerdict>, value_name = "allow|deny|reject")]
    default_outbound: Option<DefaultVerdict>,
    /// For people
    #[arg(long)]
    description: Option<String>,
}

/// An enumeration of the API by its word there.
fn serde_word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(text.to_owned())).map_err(|error| error.to_string())
}

const LIST: &[Field<Firewall>] = &[
    Field::new("FIREWALL", |firewall, _| firewall.slug.clone()),
    Field::new("SCOPE", |firewall, _| firewall.scope.clone()),
    Field::new("STAGE", |firewall, _| firewall.stage.map(word).unwrap_or_default()),
    Field::state("INBOUND", |firewall, _| word(firewall.default_inbound)),
    Field::state("OUTBOUND", |firewall, _| word(firewall.default_outbound)),
    Field::new("RULES", |firewall, _| firewall.rule_count.to_string()),
    Field::new("CHANGED", |firewall, now| when::ago(firewall.updated_at, now)),
    Field::new("DESCRIPTION", |firewall, _| firewall.description.clone()),
];
const SHOW: &[Field<Firewall>] = &[
    Field::new("firewall", |firewall, _| firewall.slug.clone()),
    Field::new("scope", |firewall, _| firewall.scope.clone()),
    Field::new("id", |firewall, _| firewall.id.to_string()),
    Field::new("stage", |firewall, _| firewall.stage.map(word).unwrap_or_default()),
    Field::state("default inbound", |firewall, _| word(firewall.default_inbound)),
    Field::state("default outbound", |firewall, _| word(firewall.default_outbound)),
    Field::new("description", |firewall, _| firewall.description.clone()),
    Field::new("changed", |firewall, now| when::full(firewall.updated_at, now)),
];
const RULES: &[Field<Rule>] = &[
    Field::new("PRIORITY", |rule, _| rule.spec.priority.to_string()),
    Field::state("ACTION", |rule, _| word(rule.spec.action)),
    Field::new("DIRECTION", |rule, _| word(rule.spec.direction)),
    Field::new("PROTOCOL", |rule, _| rule.spec.protocol.clone()),
    Field::new("SOURCE", |rule, _| selector(rule.spec.source.as_deref())),
    Field::new("DESTINATION", |rule, _| selector(rule.spec.destination.as_deref())),
    Field::new("PORTS", |rule, _| ports(&rule.spec)),
    Field::new("NOTES", |rule, _| notes(&rule.spec)),
];
const STATUS: &[Field<HostFirewall>] = &[
    Field::state("status", |host, _| state(&host.status).to_owned()),
    Field::new("generation", |host, _| host.generation.to_string()),
    Field::new("details", |host, now| applied::details(&host.status, now)),
    Field::new("filtered", |host, _| if host.filtered { "yes".to_owned() } else { "no: no firewall is in force".to_owned() }),
    Field::state("default inbound", |host, _| word(host.default_inbound)),
    Field::state("default outbound", |host, _| word(host.default_outbound)),
];
const EFFECTIVE: &[Field<EffectiveRule>] = &[
    Field::new("LAYER", |rule, _| rule.layer.clone()),
    Field::new("FIREWALL", |rule, _| rule.firewall.clone()),
    Field::new("PRIORITY", |rule, _| rule.rule.spec.priority.to_string()),
    Field::state("ACTION", |rule, _| word(rule.rule.spec.action)),
    Field::new("DIRECTION", |rule, _| word(rule.rule.spec.direction)),
    Field::new("PROTOCOL", |rule, _| rule.rule.spec.protocol.clone()),
    Field::new("SOURCE", |rule, _| selector(rule.rule.spec.source.as_deref())),
    Field::new("DESTINATION", |rule, _| selector(rule.rule.spec.destination.as_deref())),
    Field::new("PORTS", |rule, _| ports(&rule.rule.spec)),
    Field::new("NOTES", |rule, _| notes(&rule.rule.spec)),
];
const EXPLANATION: &[Field<Explanation>] = &[
    Field::state("verdict", |explanation, _| word(explanation.verdict)),
    Field::new("layer", |explanation, _| explanation.layer.clone()),
    Field::new("firewall", |explanation, _| explanation.firewall.clone().unwrap_or_default()),
    Field::new("rule", |explanation, _| explanation.rule.as_ref().map(|rule| format!("{} (priority {})", rule.id, rule.spec.priority)).unwrap_or_default()),
    Field::new("because", |explanation, _| explanation.reason.clone()),
];

impl Command {
    pub(crate) async fn run(&self, client: &Client, output: &Output) -> Result<(), Failure> {
        match self {
            Self::List { scope, list } => {
                let page = scoped::list(client, scope, *list).await?;
                output.list(&page, LIST, &format!("no firewall here, so nothing is filtered by {scope}; make one with `loopback firewall create {scope} SLUG`"))
            }
            Self::Create { which, what } => {
                let made = scoped::create(client, &which.scope, &what.firewall(&which.slug)).await?;
                let defaults = format!("inbound {}, outbound {}", word(made.default_inbound), word(made.default_outbound));
                output.done(
                    &made,
                    &format!(
                        "Made {}, in force at once: {defaults}. Give it rules with `loopback firewall rules {} {} FILE`.",
                        made.slug, which.scope, made.slug
                    ),
                )
            }
            Self::Show { which } => show(&scoped::get(client, &which.scope, &which.slug).await?, output),
            Self::Rules { which, file } => set_rules(client, which, file, output).await,
            Self::Update { which, what, rename } => {
                if rename.is_none() && what.is_nothing() {
                    return Err(Failure::usage(
                        "nothing to change; `loopback firewall update --help` shows what can be, and `loopback firewall rules` sets rules",
                    ));
                }
                let old = scoped::get(client, &which.scope, &which.slug).await?;
                let changed = scoped::update(client, &which.scope, &which.slug, &what.changed(old, rename.as_deref())).await?;
                output.done(&changed, &format!("Changed {}.", changed.slug))
            }
            Self::Delete { which } => {
                let answer = scoped::delete(client, &which.scope, &which.slug).await?;
                output.done(&answer, &format!("Removed {} from {}.", which.slug, which.scope))
            }
            Self::Status { host } => status(&applied::of_host(client, &host.segments()).await?, output),
            Self::Explain { host, packet } => {
                let query = packet.join(" ").parse::<PacketArgs>().map_err(|error| Failure::usage(error.to_string()))?.query(client, host).await?;
                let explanation = client.call::<ExplainHostFirewall>(&host.segments(), None, &query, &Nothing {}).await?;
                output.object(&explanation, EXPLANATION)
            }
        }
    }
}

impl What {
    const fn is_nothing(&self) -> bool {
        self.stage.is_none() && self.default_inbound.is_none() && self.default_outbound.is_none() && self.description.is_none()
    }

    fn firewall(&self, slug: &str) -> NewFirewall {
        NewFirewall {
            slug: slug.to_owned(),
            description: self.description.clone().unwrap_or_default(),
            stage: self.stage,
            default_inbound: self.default_inbound.unwrap_or(DefaultVerdict::Deny),
            default_outbound: self.default_outbound.unwrap_or(DefaultVerdict::Allow),
        }
    }

    fn changed(&self, old: Firewall, slug: Option<&str>) -> NewFirewall {
        NewFirewall {
            slug: slug.map_or(old.slug, str::to_owned),
            description: self.description.clone().unwrap_or(old.description),
            stage: self.stage.or(old.stage),
            default_inbound: self.default_inbound.unwrap_or(old.default_inbound),
            default_outbound: self.default_outbound.unwrap_or(old.default_outbound),
        }
    }
}

fn show(firewall: &Firewall, output: &Output) -> Result<(), Failure> {
    output.object(firewall, SHOW)?;
    if !output.is_table() {
        return Ok(());
    }
    if firewall.rules.is_empty() {
        note("no rules; its defaults decide everything");
        return Ok(());
    }
    output.line("")?;
    output.rows(&firewall.rules, RULES)
}

fn status(host: &HostFirewall, output: &Output) -> Result<(), Failure> {
    output.object(host, STATUS)?;
    if output.is_table() && !host.rules.is_empty() {
        output.line("")?;
        output.rows(&host.rules, EFFECTIVE)?;
    }
    Ok(())
}

async fn set_rules(client: &Client, which: &Which, file: &str, output: &Output) -> Result<(), Failure> {
    let text = read(file).map_err(|error| Failure::failed(format!("cannot read {file}: {error}")))?;
    let rules = firewall_rules::parse(&text).map_err(|error| Failure::failed(format!("{file}: {error}")))?;
    let firewall = scoped::set_rules(client, &which.scope, &which.slug, &rules).await?;
    let rules = match firewall.rule_count {
        0 => "no rules".to_owned(),
        1 => "one rule".to_owned(),
        count => format!("{count} rules"),
    };
    output.done(&firewall, &format!("{} has {rules}.", firewall.slug))?;
    let told = applied::watch(client, &which.scope).await?;
    // Programs read the firewall on standard output; how far its hosts are is said beside it.
    if output.is_table() {
        output.line(&told.sentence)?
    } else {
        note(&told.sentence)
    }
    if told.failed { Err(Failure::failed("the rules are stored, and the hosts named above keep the policy before them")) } else { Ok(()) }
}

fn read(file: &str) -> io::Result<String> {
    let reader: Box<dyn Read> = if file == "-" { Box::new(io::stdin().lock()) } else { Box::new(File::open(file)?) };
    let mut text = String::new();
    reader.take(FILE_MAX_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

fn selector(entries: Option<&[String]>) -> String {
    match entries {
        None => "any".to_owned(),
        Some([]) => "nothing".to_owned(),
        Some(entries) => entries.join(", "),
    }
}

fn ports(rule: &RuleSpec) -> String {
    match (&rule.ports[..], &rule.icmp_types[..]) {
        ([], []) => "any".to_owned(),
        ([], types) => format!("types {}", types.iter().map(u8::to_string).collect::<Vec<_>>().join(", ")),
        (ports, _) => ports.join(", "),
    }
}

fn notes(rule: &RuleSpec) -> String {
    let limit = rule.rate_limit.map(|limit| format!("at most {}/s", limit.per_second));
    let expires = rule.expires_at_ms.map(|time| format!("until {}", loopback_api::Time(time)));
    let described = Some(rule.description.clone()).filter(|description| !description.is_empty());
    [(!rule.enabled).then(|| "disabled".to_owned()), expires, limit, rule.log.then(|| "logged".to_owned()), described]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join("; ")
}

/// The state of a status by its word in JSON.
fn state(status: &ApplyStatus) -> &'static str {
    match status {
        ApplyStatus::Pending => "pending",
        ApplyStatus::Applied { .. } => "applied",
        ApplyStatus::Failed { .. } => "failed",
        ApplyStatus::RolledBack { .. } => "rolled_back",
    }
}

#[cfg(test)]
mod tests {
    use loopback_core::firewall::rule::{DefaultVerdict, Stage};

    use super::{notes, ports, selector, serde_word};
    use crate::firewall_rules::parse;

    #[test]
    fn a_rule_is_told_with_what_limits_it() {
        let text = r#"[{"priority":1,"action":"allow","direction":"inbound","protocol":"icmp","icmp_types":[8],"source":[],"enabled":false,"log":true,
            "expires_at_ms":1700000000123,"rate_limit":{"per_second":5,"burst":10},"description":"ping"}]"#;
        let rule = &parse(text).unwrap().rules[0];
        assert_eq!(notes(rule), "disabled; until 2023-11-14T22:13:20.123Z; at most 5/s; logged; ping");
        assert_eq!(
            (ports(rule).as_str(), selector(rule.source.as_deref()), selector(rule.destination.as_deref())),
            ("types 8", "nothing".to_owned(), "any".to_owned())
        );
    }

    #[test]
    fn words_are_those_of_the_api() {
        assert_eq!(serde_word::<Stage>("guardrail"), Ok(Stage::Guardrail));
        assert_eq!(serde_word::<DefaultVerdict>("reject"), Ok(DefaultVerdict::Reject));
        assert!(serde_word::<DefaultVerdict>("drop").unwrap_err().contains("`allow`, `deny`, `reject`"));
    }
}
