//! For scripts: every command speaks JSON, and the exit codes mean what they say.

use anyhow::{Context as _, Result, ensure};
use loopback_tests::cli::Cli;
use loopback_tests::fleet::{Fleet, ORGANIZATION, OWNER, WORKSPACE};
use loopback_tests::wait::wait_for;
use serde_json::Value;

use crate::sessions::text;

/// In an order in which each finds what it needs; `{…}` stands for an id that an earlier answer gave.
const COMMANDS: &[&str] = &[
    "whoami",
    "permissions",
    "organization list",
    "organization show acme",
    "project list acme",
    "project create acme/other --name Other",
    "project show acme/other",
    "project delete acme/other",
    "workspace list acme/prod",
    "workspace create acme/prod/db",
    "workspace show acme/prod/db",
    "workspace delete acme/prod/db",
    "host list",
    "host list acme",
    "host list acme/prod/web",
    "host show acme/prod/web/host-1",
    "token create acme/prod/web --life 10m --uses 3 --description spare",
    "token list acme/prod/web",
    "token revoke acme/prod/web {tok}",
    "member list acme",
    "member add acme dave@example.com",
    "role list acme",
    "role create acme watcher --permission project.workspace.host:read",
    "role update acme watcher --permission project.workspace.host:read --permission project.workspace.host.metrics:read",
    "binding create dave@example.com watcher acme/prod/web --for 8h",
    "binding list acme",
    "binding delete acme {bind}",
    "role delete acme watcher",
    "member remove acme dave@example.com",
    "key create script --life 1d",
    "key list",
    "key revoke {key}",
    "firewall create acme/prod/web web --default-inbound allow --description web",
    "firewall list acme/prod/web",
    "firewall show acme/prod/web web",
    "firewall rules acme/prod/web web -",
    "firewall status acme/prod/web/host-1",
    "firewall explain acme/prod/web/host-1 inbound tcp 10.77.0.12 -> 10.77.0.11:22",
    "firewall update acme/prod/web web --description other",
    "firewall delete acme/prod/web web",
    "metrics acme/prod/web/host-1 --last 5m",
    "metrics acme/prod/web/host-1 --last 5m --name node_load1",
    "sessions list acme",
    "sessions show acme {ses}",
    "audit list acme --action project --since 1h --limit 5",
    "audit verify acme",
    "host remove acme/prod/web/host-1 --yes",
    "logout",
];

#[test]
fn every_command_answers_in_json() -> Result<()> {
    let fleet = Fleet::start(1)?;
    fleet.coordinator.command(&["account", "create", "--email", "dave@example.com", "--password-stdin"], "long enough a password\n")?.ok()?;
    fleet.owner.ok(&["shell", "acme/prod/web/host-1", "--", "true"])?;
    wait_for(std::time::Duration::from_secs(20), "metrics", || Ok(fleet.owner.run(&["metrics", "acme/prod/web/host-1", "--name", "node_load1"])?.code == 0))?;
    let mut ids: Vec<String> = Vec::new();
    for command in COMMANDS {
        let words: Vec<String> = command.split(' ').map(|word| fill(word, &ids)).collect::<Result<_>>()?;
        let words: Vec<&str> = ["--output", "json"].into_iter().chain(words.iter().map(String::as_str)).collect();
        let input = if command.ends_with(" -") { r#"[{ "priority": 1, "action": "allow", "direction": "inbound" }]"# } else { "" };
        let answer = fleet.owner.run_with(&words, input, &[])?.ok()?;
        // What says nothing says it by an empty answer.
        if !answer.trim().is_empty() {
            let value: Value = serde_json::from_str(&answer).with_context(|| format!("`{command}` wrote no JSON: {answer}"))?;
            collect_ids(&value, &mut ids);
        }
    }
    fleet.owner.run(&["whoami"])?.refused(1)?;
    Ok(())
}

/// `{tok}` is the newest `tok_…` seen.
fn fill(word: &str, ids: &[String]) -> Result<String> {
    let Some(kind) = word.strip_prefix('{').and_then(|word| word.strip_suffix('}')) else { return Ok(word.to_owned()) };
    let found = ids.iter().rev().find(|id| id.strip_prefix(kind).is_some_and(|rest| rest.starts_with('_')));
    found.cloned().with_context(|| format!("no answer held a {kind}_…"))
}

fn collect_ids(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().rev().for_each(|item| collect_ids(item, ids)),
        Value::Object(fields) => {
            ids.extend(fields.get("id").and_then(Value::as_str).map(ToOwned::to_owned));
            fields.values().for_each(|field| collect_ids(field, ids));
        }
        _ => {}
    }
}

#[test]
fn the_exit_codes_say_who_is_at_fault() -> Result<()> {
    let mut fleet = Fleet::start(0)?;
    let owner = fleet.owner.clone();
    ensure!(owner.run(&["host", "list", ORGANIZATION])?.code == 0, "done is 0");
    for refused in [&["organization", "show", "nobody"][..], &["workspace", "create", WORKSPACE], &["host", "show", "acme/prod/web/nobody"]] {
        owner.run(refused)?.refused(1)?;
    }
    for misused in [&["frobnicate"][..], &["host"], &["host", "show"], &["--output", "xml", "whoami"], &["project", "create", "acme/Not A Slug"]] {
        owner.run(misused)?.refused(2)?;
    }
    let stranger = Cli::new(fleet.lab.hub(), "stranger")?;
    let told = stranger.run(&["whoami"])?.refused(1)?;
    ensure!(told.contains("loopback login"), "it does not say what to do: {told}");
    let wrong = stranger.login(&fleet.coordinator.url(), &fleet.coordinator.fingerprint()?, OWNER, "wrong");
    ensure!(wrong.is_err(), "a wrong password was taken");
    let other_ca = stranger.login(&fleet.coordinator.url(), &"0".repeat(64), OWNER, loopback_tests::fleet::PASSWORD);
    ensure!(other_ca.is_err(), "a wrong certificate authority was taken");

    let key = owner.json(&["key", "create", "script"])?;
    let ca = owner.config.join("ca.pem");
    std::fs::write(&ca, certificate_authority(&owner)?)?;
    let environment = [("LOOPBACK_URL", fleet.coordinator.url()), ("LOOPBACK_KEY", text(&key, "secret").to_owned()), ("LOOPBACK_CA", ca.display().to_string())];
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let told = stranger.run_with(&["whoami"], "", &environment)?.ok()?;
    ensure!(told.contains(OWNER), "an API key acts as its account: {told}");

    fleet.coordinator.stop()?;
    let told = owner.run(&["host", "list", ORGANIZATION])?.refused(3)?;
    ensure!(told.contains("10.77.0.1:8443"), "it does not say whom it cannot reach: {told}");
    fleet.coordinator.restart()?;
    fleet.end()
}

/// The PEM block in the operator's profile.
fn certificate_authority(cli: &Cli) -> Result<String> {
    let profile = std::fs::read_to_string(cli.config.join("profiles.toml"))?.replace("\\n", "\n");
    let from = profile.find("-----BEGIN CERTIFICATE-----").context("the profile holds no certificate")?;
    let end = "-----END CERTIFICATE-----";
    let to = profile.find(end).context("the profile holds half a certificate")? + end.len();
    Ok(format!("{}\n", profile.get(from..to).unwrap_or_default()))
}
