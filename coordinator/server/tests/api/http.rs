//! The door itself: methods, sizes, documents, and what the coordinator says of itself when it starts and stops.

use serde_json::json;

use crate::harness::{OWNER, World};

#[tokio::test]
async fn nothing_and_wrong_methods_and_oversized_bodies_are_problems_with_a_request_id() {
    let world = World::start().await;
    let nothing = world.get("/v1/nothing").await.expect(404);
    let hidden = world.call(Some(&world.outsider), "GET", "/v1/organizations/acme", None).await.expect(404);
    assert_eq!(nothing.without_request_id(), hidden.without_request_id());
    assert_eq!(world.call(None, "PATCH", "/v1/login", None).await.expect(405).headers["allow"], "POST");
    let large = json!({ "slug": "a", "name": "x".repeat(2 * 1024 * 1024) }).to_string();
    world.call(Some(&world.owner), "POST", "/v1/organizations/acme/projects", Some(large.clone())).await.expect(413);
    world.call(Some(&world.outsider), "POST", "/v1/organizations/acme/projects", Some(large.clone())).await.expect(404);
    world.call(None, "POST", "/v1/organizations/acme/projects", Some(large)).await.expect(401);
    // A whole list of rules may be larger.
    world.post("/v1/organizations/acme/firewalls", json!({ "slug": "edge" })).await.expect(200);
    let rule = json!({ "priority": 1, "action": "allow", "direction": "inbound", "description": "x".repeat(900) });
    let rules = json!({ "rules": vec![rule; 2_000] });
    assert!(rules.to_string().len() > 1024 * 1024);
    world.put("/v1/organizations/acme/firewalls/edge/rules", rules).await.expect(200);
    let answer = world.get("/v1/account").await.expect(200);
    assert_eq!((answer.headers["cache-control"].to_str().unwrap(), answer.headers["x-request-id"].len()), ("no-store", 32));
    for page in ["/healthz", "/install.sh", "/v1/openapi.json"] {
        let answer = world.call(None, "GET", page, None).await.expect(200);
        assert_eq!((answer.headers["x-content-type-options"].to_str().unwrap(), answer.headers["x-request-id"].len()), ("nosniff", 32), "{page}");
    }
    world.call(None, "POST", "/install.sh", None).await.expect(405);
    world.end().await;
}

#[tokio::test]
async fn the_document_names_every_operation_it_answers() {
    let world = World::start().await;
    let document = world.call(None, "GET", "/v1/openapi.json", None).await.expect(200).json();
    assert_eq!(document["openapi"], "3.1.0");
    for spec in world.coordinator.operations() {
        assert_eq!(document["paths"][spec.path][spec.method.name().to_lowercase()]["operationId"], spec.name);
    }
    world.end().await;
}

#[tokio::test]
async fn the_state_is_its_owners_alone_and_a_restart_keeps_everything() {
    use loopback_coordinator::Coordinator;
    use loopback_coordinator::config::Config;
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("passwd"), "root").unwrap();
    std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let foreign = Coordinator::start(Config::at(directory.path(), "[::1]:0".parse().unwrap()).unwrap()).await.unwrap_err().to_string();
    assert!(foreign.contains("it holds other things than a coordinator's state"), "{foreign}");
    assert_eq!(std::fs::metadata(directory.path()).unwrap().permissions().mode() & 0o777, 0o755);
    let state = directory.path().join("state");
    let config = || Config::at(&state, "[::1]:0".parse().unwrap()).unwrap();
    let first = Coordinator::start(config()).await.unwrap();
    let (fingerprint, pin) = (first.ca().fingerprint(), first.ca().pin());
    assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
    let taken = Config::at(&state, first.address()).unwrap();
    assert!(Coordinator::start(taken).await.unwrap_err().to_string().contains("set `listen`"));
    first.shutdown().await.unwrap();
    let second = Coordinator::start(config()).await.unwrap();
    assert_eq!((second.ca().fingerprint(), second.ca().pin()), (fingerprint, pin));
    second.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_second_organization_keeps_its_owners_password_and_a_taken_slug_is_refused() {
    use loopback_coordinator::commands::setup::{self, AccountMade, NewAccount};
    use loopback_coordinator::password::Passwords;
    let world = World::start().await;
    let passwords = Passwords::new().unwrap();
    let owner = || NewAccount { email: OWNER.to_owned(), name: None, password: "another password".to_owned() };
    let again = setup::organization(world.coordinator.storage(), &passwords, "acme", owner()).await;
    assert!(again.unwrap_err().to_string().contains("there is an organization acme already"));
    assert_eq!(setup::organization(world.coordinator.storage(), &passwords, "second", owner()).await.unwrap(), AccountMade::Known);
    world.login(OWNER).await;
    assert_eq!(world.get("/v1/organizations").await.json()["items"].as_array().unwrap().len(), 2);
    let short = NewAccount { email: "new@acme.example".to_owned(), name: None, password: "short".to_owned() };
    assert!(setup::person(world.coordinator.storage(), &passwords, short, None).await.unwrap_err().to_string().contains("/password"));
    let created: Vec<_> = world.events().await.into_iter().filter(|(_, action, _)| action == "account.create").collect();
    assert_eq!(created.len(), 2);
    world.end().await;
}
