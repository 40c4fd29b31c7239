//! Firewalls: rules checked field by field, counted over the organization, and keeping their ids.

use serde_json::{Value, json};

use crate::harness::World;

const WORKSPACE: &str = "/v1/organizations/acme/projects/prod/workspaces/web/firewalls";
const RULES: &str = "/v1/organizations/acme/projects/prod/workspaces/web/firewalls/edge/rules";

fn rule(port: &str) -> Value {
    json!({ "priority": 10, "action": "allow", "direction": "inbound", "protocol": "tcp", "ports": [port] })
}

async fn world() -> World {
    let world = World::start().await;
    world.post(WORKSPACE, json!({ "slug": "edge" })).await.expect(200);
    world
}

#[tokio::test]
async fn faulty_rules_are_named_by_their_pointers_and_nothing_is_kept() {
    let world = world().await;
    let mut faulty = rule("99-1");
    faulty["source"] = json!(["192.0.2.1", "host:acme/prod/web/nobody", "workspace:acme/prod/web", "nonsense"]);
    let refused = world.put(RULES, json!({ "rules": [rule("22"), faulty] })).await.expect(422);
    let pointers: Vec<_> = refused.json()["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap().to_owned()).collect();
    assert_eq!(pointers, ["/rules/1/ports/0", "/rules/1/source/1", "/rules/1/source/3"]);
    assert_eq!(world.get(&format!("{WORKSPACE}/edge")).await.expect(200).json()["rules"], json!([]));
    let refused = world.put(RULES, json!({ "rules": [{ "priority": "high" }] })).await.expect(422);
    assert_eq!(refused.at("/errors/0/pointer"), "/rules/0/priority");
    let stage = world.post(WORKSPACE, json!({ "slug": "other", "stage": "guardrail" })).await.expect(422);
    assert_eq!(stage.at("/errors/0/pointer"), "/stage");
    world.end().await;
}

#[tokio::test]
async fn a_rule_that_stays_keeps_its_id() {
    let world = world().await;
    let before = world.put(RULES, json!({ "rules": [rule("22"), rule("80")] })).await.expect(200);
    let after = world.put(RULES, json!({ "rules": [rule("443"), rule("22")] })).await.expect(200);
    assert_eq!(before.at("/rules/0/id"), after.at("/rules/1/id"));
    assert_ne!(before.at("/rules/1/id"), after.at("/rules/0/id"));
    assert_eq!(after.json()["rule_count"], json!(2));
    let event = world.get("/v1/organizations/acme/audit/events?action=firewall.rules.set&limit=1").await.json();
    let ports = |which: &str| event["items"][0]["details"][which].as_array().unwrap().iter().map(|rule| rule["ports"][0].clone()).collect::<Vec<_>>();
    assert_eq!((ports("added"), ports("removed")), (vec![json!("443")], vec![json!("80")]));
    let listed = world.get(WORKSPACE).await.expect(200).json();
    assert_eq!((&listed["items"][0]["rules"], &listed["items"][0]["rule_count"]), (&json!([]), &json!(2)));
    world.end().await;
}

#[tokio::test]
async fn rules_are_counted_over_the_whole_organization() {
    let world = world().await;
    world.post("/v1/organizations/acme/firewalls", json!({ "slug": "base" })).await.expect(200);
    world.put("/v1/organizations/acme/firewalls/base/rules", json!({ "rules": [rule("1"), rule("2")] })).await.expect(200);
    world.sql("UPDATE organization SET limits = replace(limits, '\"firewall_rules\":50000', '\"firewall_rules\":3') WHERE slug = 'acme'").await;
    assert_eq!(world.put(RULES, json!({ "rules": [rule("1"), rule("2")] })).await.expect(409).at("/type"), "limit-reached");
    world.put(RULES, json!({ "rules": [rule("1")] })).await.expect(200);
    world.put("/v1/organizations/acme/firewalls/base/rules", json!({ "rules": [rule("3"), rule("4")] })).await.expect(200);
    world.end().await;
}

#[tokio::test]
async fn firewalls_of_an_organization_and_of_a_workspace_do_not_meet() {
    let world = world().await;
    let organization = world.post("/v1/organizations/acme/firewalls", json!({ "slug": "edge" })).await.expect(200);
    assert_eq!((organization.at("/stage").as_str(), organization.at("/scope").as_str()), ("baseline", "acme"));
    let workspace = world.get(&format!("{WORKSPACE}/edge")).await.expect(200);
    assert_eq!((workspace.at("/scope").as_str(), workspace.json().get("stage").is_none()), ("acme/prod/web", true));
    world.get(&format!("{WORKSPACE}/{}", organization.at("/id"))).await.expect(404);
    world.get(&format!("/v1/organizations/acme/firewalls/{}", workspace.at("/id"))).await.expect(404);
    world.post(WORKSPACE, json!({ "slug": "edge" })).await.expect(409);
    world.post(WORKSPACE, json!({ "slug": "second" })).await.expect(200);
    world.put(&format!("{WORKSPACE}/second"), json!({ "slug": "edge" })).await.expect(409);
    world.put(&format!("{WORKSPACE}/second"), json!({ "slug": "third", "default_outbound": "reject" })).await.expect(200);
    world.get(&format!("{WORKSPACE}/second")).await.expect(404);
    world.end().await;
}

#[tokio::test]
async fn who_sees_one_workspace_learns_nothing_of_others_by_referring_to_them() {
    let world = world().await;
    world.post("/v1/organizations/acme/projects/prod/workspaces", json!({ "slug": "db" })).await.expect(200);
    let narrow = world.person("narrow@acme.example", None).await;
    world.post("/v1/organizations/acme/members", json!({ "email": "narrow@acme.example" })).await.expect(200);
    let bind = |scope: &'static str, role: &'static str| {
        world.post("/v1/organizations/acme/bindings", json!({ "email": "narrow@acme.example", "role": role, "scope": scope }))
    };
    bind("acme/prod/web", "project-administrator").await.expect(200);
    let set = |reference: &'static str| {
        let mut rule = rule("22");
        rule["source"] = json!([reference]);
        world.call(Some(&narrow), "PUT", RULES, Some(json!({ "rules": [rule] }).to_string()))
    };
    set("workspace:acme/prod/web").await.expect(200);
    let hidden = set("workspace:acme/prod/db").await.expect(422);
    assert!(hidden.at("/detail").contains("there is no such workspace"));
    bind("acme/prod/db", "read-only").await.expect(200);
    set("workspace:acme/prod/db").await.expect(200);
    world.end().await;
}
