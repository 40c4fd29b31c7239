//! Making, changing and removing firewalls, of an organization or of a workspace: whichever the grant is for.

use std::collections::{HashMap, HashSet};

use loopback_api::FieldError;
use loopback_api::firewall::{Firewall, NewFirewall, Rule};
use loopback_core::access::{Grant, Key, Permission, ScopeKind, ScopePath, Target, Verb};
use loopback_core::firewall::rule::{RuleSpec, Stage};
use loopback_core::firewall::{references, validate};
use loopback_core::tenancy::LimitKind;
use loopback_protocol::id::RuleId;

use super::{Refused, admit_creation, description, present, slug};
use crate::clock::now_ms;
use crate::ids;
use crate::storage::organization::charter;
use crate::storage::{Entry, Storage, StorageError, Tx, firewall, resolve};

/// Makes a firewall without rules.
///
/// # Errors
/// Fields, status, or a slug that is taken.
pub async fn create(storage: &Storage, grant: &Grant, new: &NewFirewall, entry: Entry) -> Result<Firewall, Refused> {
    let new = read(grant, new)?;
    let mut tx = storage.begin().await?;
    charter(tx.connection(), grant.scope().organization()).await?.standing.admits_creation()?;
    if !firewall::insert(&mut tx, grant, ids::fresh(), &new, now_ms()).await? {
        return Err(taken(&new.slug));
    }
    let made = find(&mut tx, grant, &new.slug).await?;
    tx.commit(entry.with_details(serde_json::json!({ "id": made.id, "firewall": new }))).await?;
    Ok(made)
}

/// Replaces what a firewall is, not its rules.
///
/// # Errors
/// Fields, no such firewall, or a slug that is taken.
pub async fn update(storage: &Storage, grant: &Grant, named: &str, new: &NewFirewall, entry: Entry) -> Result<Firewall, Refused> {
    let new = read(grant, new)?;
    let mut tx = storage.begin().await?;
    let before = find(&mut tx, grant, named).await?;
    if firewall::slug_is_taken(&mut tx, grant, &new.slug, before.id).await? {
        return Err(taken(&new.slug));
    }
    firewall::update(&mut tx, grant, before.id, &new, now_ms()).await?;
    let after = find(&mut tx, grant, &new.slug).await?;
    let without_rules = |firewall: &Firewall| Firewall { rules: Vec::new(), ..firewall.clone() };
    tx.commit(entry.with_details(serde_json::json!({ "before": without_rules(&before), "after": without_rules(&after) }))).await?;
    Ok(after)
}

/// Replaces all rules of a firewall. A rule that stays as it was keeps its id, and with it its hits and its name in explanations.
///
/// # Errors
/// Faults of rules by their pointers, no such firewall, status, or limit.
pub async fn set_rules(storage: &Storage, grant: &Grant, named: &str, rules: Vec<RuleSpec>, entry: Entry) -> Result<Firewall, Refused> {
    let mut tx = storage.begin().await?;
    let before = find(&mut tx, grant, named).await?;
    let known = known_references(&mut tx, grant, &rules, &before.rules).await?;
    validate(&rules, &|reference| known.contains(reference))
        .map_err(|faults| Refused::Invalid(faults.into_iter().map(|fault| FieldError { pointer: fault.pointer, reason: fault.reason }).collect()))?;
    let added = u64::try_from(rules.len()).unwrap_or(u64::MAX).saturating_sub(before.rule_count);
    if added > 0 {
        admit_creation(&mut tx, grant, LimitKind::FirewallRules, added).await?;
    }
    let rules = with_stable_ids(&before.rules, rules);
    firewall::set_rules(&mut tx, grant, before.id, &rules, now_ms()).await?;
    let after = find(&mut tx, grant, named).await?;
    tx.commit(entry.with_details(difference(&before.rules, &after.rules))).await?;
    Ok(after)
}

/// Removes a firewall with its rules.
///
/// # Errors
/// There is no such firewall.
pub async fn delete(storage: &Storage, grant: &Grant, named: &str, entry: Entry) -> Result<(), Refused> {
    let mut tx = storage.begin().await?;
    let before = find(&mut tx, grant, named).await?;
    firewall::delete(&mut tx, grant, before.id).await?;
    Ok(tx.commit(entry.with_details(serde_json::json!({ "before": before }))).await?)
}

fn read(grant: &Grant, new: &NewFirewall) -> Result<NewFirewall, Refused> {
    let slug = slug(&new.slug)?.as_str().to_owned();
    let stage = match (grant.scope().kind(), new.stage) {
        (ScopeKind::Organization, stage) => Some(stage.unwrap_or(Stage::Baseline)),
        (_, None) => None,
        (_, Some(_)) => return Err(Refused::field("/stage", "only organization firewalls have a stage; leave it out")),
    };
    Ok(NewFirewall { slug, stage, description: description(&new.description)?, ..new.clone() })
}

fn taken(slug: &str) -> Refused {
    Refused::Conflict(format!("there is a firewall {slug} here already"))
}

async fn find(tx: &mut Tx, grant: &Grant, named: &str) -> Result<Firewall, Refused> {
    firewall::find(tx.connection(), grant, named).await?.ok_or_else(|| Refused::missing("firewall", named))
}

/// The references of these rules that stand for something: a host or workspace the actor sees, or one the firewall referred to before. A list that was
/// read, edited and written back is not refused for what somebody else wrote into it or what was removed meanwhile.
async fn known_references(tx: &mut Tx, grant: &Grant, rules: &[RuleSpec], before: &[Rule]) -> Result<HashSet<String>, StorageError> {
    let mut known: HashSet<String> = references(before.iter().map(|rule| &rule.spec)).map(str::to_owned).collect();
    let snapshot = present(tx, grant).await?;
    let asked: HashSet<&str> = references(rules).filter(|reference| !known.contains(*reference)).collect();
    let mut seen = Vec::new();
    for reference in asked {
        if let Some((scope, read)) = referred(tx, grant, reference).await?
            && grant.actor().account().is_none_or(|account| snapshot.allows(account, read, &scope, now_ms()))
        {
            seen.push(reference.to_owned());
        }
    }
    known.extend(seen);
    Ok(known)
}

/// What a reference names in the grant's organization, and the permission to see it.
async fn referred(tx: &mut Tx, grant: &Grant, reference: &str) -> Result<Option<(ScopePath, Permission)>, StorageError> {
    let Some((kind, path)) = reference.split_once(':') else { return Ok(None) };
    let (kind, read) = match kind {
        "host" => (ScopeKind::Host, Key::ProjectWorkspaceHost.may(Verb::Read)),
        _ => (ScopeKind::Workspace, Key::ProjectWorkspace.may(Verb::Read)),
    };
    let organization = grant.scope().organization();
    if !path.contains('/') {
        return Ok(resolve::by_id(tx.connection(), organization, kind, path).await?.map(|scope| (scope, read)));
    }
    let segments: Vec<&str> = path.split('/').collect();
    match resolve::resolve(tx.connection(), &segments).await?.target {
        Target::Found(scope) if scope.organization() == organization && scope.kind() == kind => Ok(Some((scope, read))),
        _ => Ok(None),
    }
}

/// Gives each rule the id of an old rule that says the same, once, or a fresh one.
fn with_stable_ids(old: &[Rule], rules: Vec<RuleSpec>) -> Vec<Rule> {
    let text = |spec: &RuleSpec| serde_json::to_string(spec).unwrap_or_default();
    let mut kept: HashMap<String, Vec<RuleId>> = HashMap::new();
    for rule in old.iter().rev() {
        kept.entry(text(&rule.spec)).or_default().push(rule.id);
    }
    let id = |spec: &RuleSpec, kept: &mut HashMap<String, Vec<RuleId>>| kept.get_mut(&text(spec)).and_then(Vec::pop).unwrap_or_else(ids::fresh);
    rules.into_iter().map(|spec| Rule { id: id(&spec, &mut kept), spec }).collect()
}

/// What the audit trail says of an edit: the rules that came and went, not those that stayed.
fn difference(before: &[Rule], after: &[Rule]) -> serde_json::Value {
    let only = |these: &[Rule], those: &[Rule]| {
        let those: HashSet<RuleId> = those.iter().map(|rule| rule.id).collect();
        these.iter().filter(|rule| !those.contains(&rule.id)).cloned().collect::<Vec<_>>()
    };
    serde_json::json!({ "removed": only(before, after), "added": only(after, before), "rules": after.len() })
}

#[cfg(test)]
mod tests {
    use loopback_core::firewall::rule::RuleSpec;

    use super::{difference, with_stable_ids};

    fn spec(port: &str) -> RuleSpec {
        serde_json::from_value(serde_json::json!({ "priority": 1, "action": "allow", "direction": "inbound", "protocol": "tcp", "ports": [port] })).unwrap()
    }

    #[test]
    fn a_rule_that_stays_keeps_its_id_also_when_it_is_there_twice_or_moves() {
        let old = with_stable_ids(&[], vec![spec("22"), spec("80"), spec("22")]);
        let new = with_stable_ids(&old, vec![spec("443"), spec("22"), spec("22"), spec("22")]);
        assert_eq!((new[1].id, new[2].id), (old[0].id, old[2].id));
        assert!(old.iter().all(|rule| rule.id != new[0].id && rule.id != new[3].id));
        let difference = difference(&old, &new);
        assert_eq!((difference["removed"].as_array().unwrap().len(), difference["added"].as_array().unwrap().len()), (1, 2));
    }
}
