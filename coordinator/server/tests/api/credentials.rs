//! Logins, API keys and agent tokens: guessed, limited, revoked, and never written down.

use loopback_coordinator::limits::LOGIN_FAILURES_PER_ACCOUNT_MAX;
use loopback_protocol::secret::JoinString;
use serde_json::json;
use sqlx::Row as _;

use crate::harness::{OUTSIDER, OWNER, PASSWORD, World};

#[tokio::test]
async fn guessing_a_password_is_told_nothing_audited_and_slowed_down() {
    let world = World::start().await;
    let wrong = world.try_login(OWNER, "wrong password here").await.expect(401);
    let unknown = world.try_login("nobody@nowhere.example", "wrong password here").await.expect(401);
    assert_eq!(wrong.without_request_id(), unknown.without_request_id());
    for _ in 1..LOGIN_FAILURES_PER_ACCOUNT_MAX {
        world.try_login(OWNER, "wrong password here").await.expect(401);
    }
    assert_eq!(world.try_login(OWNER, PASSWORD).await.expect(429).at("/type"), "rate-limited");
    world.try_login(OUTSIDER, PASSWORD).await.expect(200);
    let logins: Vec<_> = world.events().await.into_iter().filter(|(_, action, _)| action == "account.login").collect();
    assert!(logins.iter().all(|(trail, ..)| trail == "platform"));
    let denied = logins.iter().filter(|(.., outcome)| outcome == "denied").count();
    assert_eq!(denied, usize::try_from(LOGIN_FAILURES_PER_ACCOUNT_MAX).unwrap() + 1);
    world.end().await;
}

#[tokio::test]
async fn one_session_more_than_the_bound_ends_the_oldest() {
    let world = World::start().await;
    let second = world.login(OWNER).await;
    let sql = "INSERT INTO account_key (account, id, kind, description, secret_hash, created_at_ms, expires_at_ms) \
        WITH RECURSIVE n (i) AS (SELECT 10 UNION ALL SELECT i + 1 FROM n WHERE i < 57) \
        SELECT k.account, 'key_7' || i, k.kind, k.description, k.secret_hash, k.created_at_ms, k.expires_at_ms FROM n, account_key k \
        JOIN account a ON a.id = k.account WHERE a.email = 'owner@acme.example' AND k.id = (SELECT MAX(id) FROM account_key WHERE account = a.id)";
    assert_eq!(world.sql(sql).await, 48);
    // Fifty there are: two that were opened, and these, which count as newer. One more ends the first.
    world.login(OWNER).await;
    world.get("/v1/account").await.expect(401);
    world.call(Some(&second), "GET", "/v1/account", None).await.expect(200);
    world.end().await;
}

#[tokio::test]
async fn a_key_acts_as_its_person_until_it_is_revoked() {
    let world = World::start().await;
    let minted = world.post("/v1/account/keys", json!({ "description": "ci", "life_seconds": 3600 })).await.expect(200);
    let (secret, id) = (minted.at("/secret"), minted.at("/key/id"));
    world.call(Some(&secret), "GET", "/v1/organizations/acme", None).await.expect(200);
    let keys = world.get("/v1/account/keys").await.expect(200);
    assert!(keys.text.contains(&id) && !keys.text.contains(&secret));
    world.call(Some(&world.outsider), "DELETE", &format!("/v1/account/keys/{id}"), None).await.expect(404);
    for _ in 0..2 {
        world.delete(&format!("/v1/account/keys/{id}")).await.expect(200);
    }
    world.call(Some(&secret), "GET", "/v1/organizations/acme", None).await.expect(401);
    for (life, status) in [(0, 422), (366 * 24 * 3600, 422), (365 * 24 * 3600, 200)] {
        world.post("/v1/account/keys", json!({ "description": "ci", "life_seconds": life })).await.expect(status);
    }
    world.sql("UPDATE account_key SET expires_at_ms = 1").await;
    world.get("/v1/account").await.expect(401);
    world.end().await;
}

#[tokio::test]
async fn a_token_is_shown_once_with_its_install_line() {
    let world = World::start().await;
    let path = "/v1/organizations/acme/projects/prod/workspaces/web/tokens";
    let minted = world.post(path, json!({ "description": "rack 7", "max_uses": 3 })).await.expect(200);
    let join: JoinString = minted.at("/join").parse().unwrap();
    assert_eq!(join.ca, world.coordinator.ca().fingerprint());
    let line = minted.at("/install");
    let (pin, address) = (world.coordinator.ca().pin(), world.coordinator.public_address());
    let (fetch, run) = line.split_once(" | ").unwrap();
    assert_eq!(fetch, format!("curl -fsSk --pinnedpubkey 'sha256//{pin}' https://{address}/install.sh"));
    // An assignment before the command is in its environment; after the command it would be an argument.
    assert_eq!(run, format!("LOOPBACK_TOKEN='{}' sudo --preserve-env=LOOPBACK_TOKEN sh", minted.at("/join")));
    let listed = world.get(path).await.expect(200);
    assert_eq!((listed.at("/items/0/state").as_str(), listed.at("/items/0/created_by").as_str()), ("active", OWNER));
    assert!(!listed.text.contains(&minted.at("/join")));
    for (terms, pointer) in
        [(json!({ "life_seconds": 0 }), "/life_seconds"), (json!({ "max_uses": 0 }), "/max_uses"), (json!({ "max_uses": 10_001 }), "/max_uses")]
    {
        assert_eq!(world.post(path, terms).await.expect(422).at("/errors/0/pointer"), pointer);
    }
    let one = format!("{path}/{}", minted.at("/token/id"));
    for _ in 0..2 {
        world.delete(&one).await.expect(200);
    }
    assert_eq!(world.get(path).await.at("/items/0/state"), "revoked");
    world.delete(&format!("{path}/tok_01h455vb4pex5vsknk084sn02q")).await.expect(404);
    world.delete(&format!("{path}/nonsense")).await.expect(404);
    world.end().await;
}

#[tokio::test]
async fn no_secret_is_logged_stored_or_sent_back_in_a_problem() {
    let world = World::start().await;
    let key = world.post("/v1/account/keys", json!({ "description": "ci" })).await.at("/secret");
    let token = world.post("/v1/organizations/acme/projects/prod/workspaces/web/tokens", json!({})).await.at("/join");
    world.call(Some(&key), "GET", "/v1/organizations/acme", None).await.expect(200);
    let misplaced = [
        world.call(None, "POST", "/v1/login", Some(json!({ "email": OWNER, "password": [PASSWORD] }).to_string())).await.expect(422),
        world.call(None, "POST", "/v1/login", Some(json!({ "email": OWNER, "password": { "is": PASSWORD } }).to_string())).await.expect(422),
        world.try_login(PASSWORD, PASSWORD).await.expect(401),
        world.try_login(OWNER, &format!("{PASSWORD}!")).await.expect(401),
        world.call(Some(&format!("{key}0")), "GET", "/v1/account", None).await.expect(401),
    ];
    let rows = sqlx::query("SELECT event AS text FROM audit_event UNION ALL SELECT secret_hash FROM account_key UNION ALL SELECT secret_hash FROM agent_token");
    let stored: Vec<String> = rows.fetch_all(world.coordinator.storage().reader()).await.unwrap().iter().map(|row| row.get("text")).collect();
    // A person who types the password where the e-mail belongs is on their own in the trail; the log still does not show it.
    let secret_part = |text: &str| text.split('.').next().unwrap()[30..62].to_owned();
    for secret in [secret_part(&key), secret_part(&token), secret_part(&world.owner)] {
        assert!(!world.logged().contains(&secret));
        assert!(!stored.iter().any(|text| text.contains(&secret)));
        assert!(!misplaced.iter().any(|answer| answer.text.contains(&secret)));
    }
    assert!(world.logged().contains("the coordinator runs") && world.logged().contains("SELECT"));
    assert!(!world.logged().contains(PASSWORD));
    assert!(!misplaced.iter().any(|answer| answer.text.contains(PASSWORD)));
    world.end().await;
}
