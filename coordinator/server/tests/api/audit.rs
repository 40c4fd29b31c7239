//! The trail: searched, paged, proven whole, and found broken when it was tampered with.

use serde_json::json;

use crate::harness::World;

async fn verification(world: &World) -> serde_json::Value {
    world.get("/v1/organizations/acme/audit/verification").await.expect(200).json()
}

#[tokio::test]
async fn a_trail_verifies_until_somebody_changes_or_drops_an_event() {
    let world = World::start().await;
    for n in 0..5 {
        world.post("/v1/organizations/acme/projects", json!({ "slug": format!("p{n}") })).await.expect(200);
    }
    let whole = verification(&world).await;
    assert_eq!((&whole["whole"], whole["events"].as_u64().unwrap()), (&json!(true), 8), "{whole}");
    world.sql("UPDATE audit_event SET event = replace(event, 'acme/p1', 'acme/p9') WHERE target = 'acme/p1'").await;
    let broken = verification(&world).await;
    assert_eq!((&broken["whole"], broken["events"].as_u64().unwrap()), (&json!(false), 4), "{broken}");
    assert!(broken["broken"].as_str().unwrap().starts_with("event 5 "), "{broken}");
    world.sql("UPDATE audit_event SET event = replace(event, 'acme/p9', 'acme/p1') WHERE target = 'acme/p1'").await;
    assert_eq!(verification(&world).await["whole"], json!(true));
    // Hidden from searches, though its text is whole.
    world.sql("UPDATE audit_event SET target = 'elsewhere' WHERE target = 'acme/p1'").await;
    assert_eq!(verification(&world).await["whole"], json!(false));
    world.sql("UPDATE audit_event SET target = 'acme/p1' WHERE target = 'elsewhere'").await;
    world.sql("DELETE FROM audit_event WHERE target = 'acme/p2'").await;
    let broken = verification(&world).await;
    assert!(broken["broken"].as_str().unwrap().contains("event 6 is missing"), "{broken}");
    world.end().await;
}

#[tokio::test]
async fn events_are_found_by_action_target_actor_and_time_page_by_page() {
    let world = World::start().await;
    world.post("/v1/organizations/acme/projects", json!({ "slug": "production" })).await.expect(200);
    world.post("/v1/organizations/acme/projects/prod/workspaces/web/firewalls", json!({ "slug": "edge" })).await.expect(200);
    world.call(Some(&world.outsider), "GET", "/v1/organizations/acme/projects/prod", None).await.expect(404);
    let actions = |query: String| {
        let world = &world;
        async move {
            let page = world.get(&format!("/v1/organizations/acme/audit/events?{query}")).await.expect(200).json();
            let actions: Vec<_> = page["items"].as_array().unwrap().iter().map(|event| event["action"].as_str().unwrap().to_owned()).collect();
            (actions, page["next"].as_str().map(str::to_owned))
        }
    };
    assert_eq!(actions("action=firewall".to_owned()).await.0, ["firewall.create"]);
    assert_eq!(actions("action=fire".to_owned()).await.0, Vec::<String>::new());
    assert_eq!(actions("target=acme/prod".to_owned()).await.0, ["project.read", "firewall.create", "workspace.create", "project.create"]);
    assert_eq!(actions("actor=outsider@other.example".to_owned()).await.0, ["project.read"]);
    assert_eq!(actions("since=2999-01-01T00:00:00Z".to_owned()).await.0, Vec::<String>::new());
    let (first, next) = actions("limit=4".to_owned()).await;
    let (rest, end) = actions(format!("limit=4&cursor={}", next.unwrap())).await;
    assert_eq!((first.len(), rest, end), (4, vec!["project.create".to_owned(), "organization.create".to_owned()], None));
    world.get("/v1/organizations/acme/audit/events?cursor=x").await.expect(422);
    let event = world.get("/v1/organizations/acme/audit/events?action=project.create&limit=1").await.expect(200);
    assert_eq!(event.at("/items/0/address"), "127.0.0.1");
    assert_eq!(
        (event.at("/items/0/actor").as_str(), event.at("/items/0/actor_kind").as_str(), event.at("/items/0/outcome").as_str()),
        ("owner@acme.example", "account", "allowed")
    );
    world.end().await;
}
