//! Projects, workspaces and organizations: limits, status, names and pages.

use serde_json::json;

use crate::harness::World;

#[tokio::test]
async fn two_racing_creates_share_the_last_place_and_one_wins() {
    let world = World::start().await;
    // `prod` is there; one more fits.
    world.sql("UPDATE organization SET limits = replace(limits, '\"projects\":100', '\"projects\":2') WHERE slug = 'acme'").await;
    let create = |slug: &'static str| world.post("/v1/organizations/acme/projects", json!({ "slug": slug }));
    let (one, two) = tokio::join!(create("one"), create("two"));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{} {}", one.text, two.text);
    let refused = if one.status == 409 { one } else { two };
    assert_eq!(refused.at("/type"), "limit-reached");
    assert!(refused.at("/detail").contains("2 of at most 2 projects"), "{}", refused.text);
    world.end().await;
}

#[tokio::test]
async fn an_organization_that_is_not_verified_and_active_creates_nothing() {
    let world = World::start().await;
    world.sql("UPDATE organization SET verification = 'pending' WHERE slug = 'acme'").await;
    for (path, body) in [
        ("/v1/organizations/acme/projects", json!({ "slug": "a" })),
        ("/v1/organizations/acme/projects/prod/workspaces", json!({ "slug": "a" })),
        ("/v1/organizations/acme/projects/prod/workspaces/web/tokens", json!({})),
        ("/v1/organizations/acme/firewalls", json!({ "slug": "a" })),
    ] {
        let refused = world.post(path, body).await.expect(409);
        assert_eq!(refused.at("/type"), "entity-status");
        assert!(refused.at("/detail").contains("pending"), "{}", refused.text);
    }
    world.get("/v1/organizations/acme").await.expect(200);
    world.sql("UPDATE organization SET state = 'deleted' WHERE slug = 'acme'").await;
    world.get("/v1/organizations/acme").await.expect(404);
    assert_eq!(world.get("/v1/organizations").await.expect(200).json()["items"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn names_are_checked_and_taken_ones_refused() {
    let world = World::start().await;
    let refused = world.post("/v1/organizations/acme/projects", json!({ "slug": "Not A Slug" })).await.expect(422);
    assert_eq!((refused.at("/type").as_str(), refused.at("/errors/0/pointer").as_str()), ("validation", "/slug"));
    let refused = world.post("/v1/organizations/acme/projects", json!({ "slug": "a", "name": "\u{1b}[2J" })).await.expect(422);
    assert_eq!(refused.at("/errors/0/pointer"), "/name");
    assert_eq!(world.post("/v1/organizations/acme/projects", json!({ "slug": "prod" })).await.expect(409).at("/type"), "conflict");
    let refused = world.post("/v1/organizations/acme/roles", json!({ "slug": "a", "permissions": ["organization:read", "nonsense:read"] })).await.expect(422);
    assert_eq!(refused.at("/errors/0/pointer"), "/permissions/1");
    world.end().await;
}

#[tokio::test]
async fn what_holds_something_is_not_removed_and_ids_and_slugs_mix() {
    let world = World::start().await;
    let project = world.get("/v1/organizations/acme/projects/prod").await.expect(200).at("/id");
    world.delete("/v1/organizations/acme/projects/prod").await.expect(409);
    let workspace = world.get(&format!("/v1/organizations/acme/projects/{project}/workspaces/web")).await.expect(200);
    assert_eq!(workspace.at("/path"), "acme/prod/web");
    world.post("/v1/organizations/acme/projects/prod/workspaces/web/tokens", json!({})).await.expect(200);
    world.post("/v1/organizations/acme/projects/prod/workspaces/web/firewalls", json!({ "slug": "edge" })).await.expect(200);
    world.post("/v1/organizations/acme/roles", json!({ "slug": "held", "permissions": [] })).await.expect(200);
    world.post("/v1/organizations/acme/bindings", json!({ "email": "owner@acme.example", "role": "held", "scope": "acme/prod/web" })).await.expect(200);
    world.delete("/v1/organizations/acme/roles/held").await.expect(409);
    world.delete(&format!("/v1/organizations/acme/projects/prod/workspaces/{}", workspace.at("/id"))).await.expect(200);
    world.delete("/v1/organizations/acme/roles/held").await.expect(200);
    world.delete("/v1/organizations/acme/projects/prod").await.expect(200);
    world.get("/v1/organizations/acme/projects/prod").await.expect(404);
    world.end().await;
}

#[tokio::test]
async fn lists_go_page_by_page_newest_first() {
    let world = World::start().await;
    for n in 0..5 {
        world.post("/v1/organizations/acme/projects", json!({ "slug": format!("p{n}") })).await.expect(200);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = world.get(&format!("/v1/organizations/acme/projects?limit=2{cursor}")).await.expect(200).json();
        seen.extend(page["items"].as_array().unwrap().iter().map(|item| item["path"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, ["acme/p4", "acme/p3", "acme/p2", "acme/p1", "acme/p0", "acme/prod"]);
    world.get("/v1/organizations/acme/projects?cursor=%27%20OR%201").await.expect(422);
    world.get("/v1/organizations/acme/projects?nonsense=1").await.expect(422);
    world.end().await;
}
