//! Who is let in: the matrix of every registered operation and every kind of caller, and the trace each leaves.

use std::collections::BTreeSet;

use loopback_api::{Access, Operation, Spec, Visitor, visit};
use loopback_core::access::{Key, Permission, Verb, built_in_roles};
use loopback_protocol::id::{Id, Organization};
use serde_json::json;

use crate::harness::World;
use crate::rows::{Row, leaves_an_event, rows};

/// What anybody may ask for without a credential; a route that is not here has one of the tests below.
const PUBLIC: &[&str] = &["/agent/{architecture}/loopback-agent", "/healthz", "/install.sh", "/v1/login", "/v1/openapi.json"];

#[derive(Default)]
struct Names(BTreeSet<&'static str>);

impl Visitor for Names {
    fn operation<O: Operation>(&mut self) {
        self.0.insert(O::SPEC.name);
    }
}

fn permission(spec: &Spec) -> Option<Permission> {
    match spec.access {
        Access::Holds(permission) | Access::Reaches(permission) => Some(permission),
        Access::Public | Access::Account => None,
    }
}

async fn scoped(world: &World) -> Vec<(Spec, Row)> {
    let rows = rows(world).await;
    let spec = |name: &str| *world.coordinator.operations().iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("{name} is not registered"));
    rows.into_iter().map(|row| (spec(row.name), row)).collect()
}

#[tokio::test]
async fn every_operation_has_a_handler_and_every_scoped_one_a_row() {
    let world = World::start().await;
    let registered: BTreeSet<&str> = world.coordinator.operations().iter().map(|spec| spec.name).collect();
    let mut vocabulary = Names::default();
    visit(&mut vocabulary);
    assert_eq!(registered, vocabulary.0);
    let operations = world.coordinator.operations().iter();
    let public = operations.filter(|spec| spec.access == Access::Public).map(|spec| spec.path).chain(world.coordinator.pages().iter().copied());
    assert_eq!(public.collect::<BTreeSet<_>>(), PUBLIC.iter().copied().collect());
    let in_rows: BTreeSet<&str> = scoped(&world).await.iter().map(|(spec, _)| spec.name).collect();
    let without_row: Vec<_> = world.coordinator.operations().iter().filter(|spec| permission(spec).is_some() && !in_rows.contains(spec.name)).collect();
    assert!(without_row.is_empty(), "{without_row:?}");
    world.end().await;
}

#[tokio::test]
async fn nobody_gets_further_than_they_may_and_bodies_of_strangers_are_not_read() {
    let world = World::start().await;
    let operations = scoped(&world).await;
    let nobody = world.person("nobody@acme.example", None).await;
    world.post("/v1/organizations/acme/members", json!({ "email": "nobody@acme.example" })).await.expect(200);
    let reader = world.person("reader@acme.example", Some(("acme", "read-only"))).await;
    let agent_token = world.post("/v1/organizations/acme/projects/prod/workspaces/web/tokens", json!({})).await.at("/join");
    let agent_token = agent_token.split('.').next().unwrap().to_owned();
    let random: Id<Organization> = Id::new(1, [9; 10]);
    let read_only = built_in_roles().into_iter().find(|role| role.slug == "read-only").unwrap().permissions;
    let garbage = Some("{{{".to_owned());
    for (spec, row) in &operations {
        let (path, method, needed) = (row.path(spec), spec.method.name(), permission(spec).unwrap());
        for credential in [None, Some("lbk_nonsense"), Some(agent_token.as_str())] {
            world.call(credential, method, &path, garbage.clone()).await.expect(401);
        }
        let denied = || async { world.events().await.into_iter().filter(|(_, action, outcome)| action == spec.audit && outcome == "denied").count() };
        let before = denied().await;
        let here = world.call(Some(&world.outsider), method, &path, garbage.clone()).await.expect(404);
        assert_eq!(denied().await, before + 1, "{}", spec.name);
        let nowhere = world.call(Some(&world.outsider), method, &row.path_in(spec, &random.to_string()), garbage.clone()).await.expect(404);
        assert_eq!(here.without_request_id(), nowhere.without_request_id(), "{}", spec.name);
        assert_eq!(here.text.len(), nowhere.text.len());

        let refused = world.call(Some(&nobody), method, &path, garbage.clone()).await.expect(403);
        assert!(refused.at("/detail").contains(&needed.to_string()), "{}", refused.text);
        assert!(refused.at("/detail").contains(&row.scope.join("/")) && refused.at("/detail").contains("owner@acme.example"), "{}", refused.text);
        assert_eq!(denied().await, before + 3, "{}", spec.name);

        let answer = world.call(Some(&reader), method, &path, None).await;
        if read_only.contains(needed) {
            assert_eq!(answer.status, row.status, "{} {}", spec.name, answer.text);
        } else {
            assert_eq!(answer.status, 403, "{} {}", spec.name, answer.text);
            assert_eq!(denied().await, before + 4, "{}", spec.name);
        }
    }
    world.end().await;
}

#[tokio::test]
async fn the_owner_may_do_everything_and_every_write_leaves_exactly_one_event() {
    let world = World::start().await;
    for (spec, row) in scoped(&world).await {
        let before = world.events().await;
        let answer = world.call(Some(&world.owner), spec.method.name(), &row.path(&spec), row.body.as_ref().map(ToString::to_string)).await;
        assert_eq!(answer.status, row.status, "{} {}", spec.name, answer.text);
        let after = world.events().await;
        let new: Vec<_> = after.iter().filter(|event| !before.contains(event) || count(&after, event) > count(&before, event)).collect();
        assert_eq!(after.len() - before.len(), usize::from(leaves_an_event(&spec)), "{}: {new:?}", spec.name);
        if leaves_an_event(&spec) {
            assert_eq!((new[0].1.as_str(), new[0].2.as_str()), (spec.audit, "allowed"), "{}", spec.name);
            assert!(new[0].0.starts_with("org_"), "{}", spec.name);
        }
    }
    world.end().await;
}

fn count<T: PartialEq>(all: &[T], one: &T) -> usize {
    all.iter().filter(|other| *other == one).count()
}

#[tokio::test]
async fn what_an_account_does_about_itself_needs_only_its_credential_and_is_audited_too() {
    let world = World::start().await;
    let key = world.post("/v1/account/keys", json!({ "description": "ci" })).await.expect(200).at("/key/id");
    let second = world.login("owner@acme.example").await;
    let operations = world.coordinator.operations().iter().copied().filter(|spec| spec.access == Access::Account);
    let (last, others): (Vec<Spec>, Vec<Spec>) = operations.partition(|spec| spec.name == "logout");
    for spec in others.into_iter().chain(last) {
        let path = spec.url(&[], Some(&key));
        world.call(None, spec.method.name(), &path, Some("{{{".to_owned())).await.expect(401);
        let body = (spec.name == "create_key").then(|| json!({ "description": "more" }).to_string());
        let before = world.events().await.len();
        let answer = world.call(Some(&second), spec.method.name(), &path, body).await;
        assert_eq!(answer.status, 200, "{} {}", spec.name, answer.text);
        let after = world.events().await;
        assert_eq!(after.len() - before, usize::from(spec.method.writes()), "{}", spec.name);
        assert!(!spec.method.writes() || after.iter().any(|(trail, action, _)| trail == "platform" && action == spec.audit), "{}", spec.name);
    }
    world.call(Some(&second), "GET", "/v1/account", None).await.expect(401);
    world.get("/v1/account").await.expect(200);
    world.end().await;
}

#[tokio::test]
async fn a_list_shows_what_a_binding_reaches_and_names_nothing_beside_it() {
    let world = World::start().await;
    world.post("/v1/organizations/acme/projects", json!({ "slug": "secret" })).await.expect(200);
    let narrow = world.person("narrow@acme.example", None).await;
    world.post("/v1/organizations/acme/members", json!({ "email": "narrow@acme.example" })).await.expect(200);
    let list = |path: &'static str| {
        let (world, narrow) = (&world, narrow.clone());
        async move { world.call(Some(&narrow), "GET", path, None).await }
    };
    list("/v1/organizations/acme/projects").await.expect(403);
    world.post("/v1/organizations/acme/bindings", json!({ "email": "narrow@acme.example", "role": "read-only", "scope": "acme/prod" })).await.expect(200);
    // At once, with the same session.
    let seen = list("/v1/organizations/acme/projects").await.expect(200).json();
    assert_eq!(seen["items"].as_array().unwrap().len(), 1);
    assert_eq!(seen["items"][0]["path"], "acme/prod");
    let hidden = list("/v1/organizations/acme/projects/secret").await.expect(404);
    let missing = list("/v1/organizations/acme/projects/nothing").await.expect(404);
    assert_eq!(hidden.without_request_id(), missing.without_request_id());
    list("/v1/organizations/acme/projects/prod/workspaces/web").await.expect(200);
    world.end().await;
}

#[tokio::test]
async fn nobody_gives_what_they_do_not_hold() {
    let world = World::start().await;
    let admin = world.person("admin@acme.example", Some(("acme", "admin"))).await;
    world.person("friend@acme.example", Some(("acme", "read-only"))).await;
    let post = |path: &'static str, body: serde_json::Value| {
        let (world, admin) = (&world, admin.clone());
        async move { world.call(Some(&admin), "POST", path, Some(body.to_string())).await }
    };
    let role = json!({ "slug": "money", "permissions": ["organization:read", "organization.billing:read"] });
    let refused = post("/v1/organizations/acme/roles", role.clone()).await.expect(403);
    assert!(refused.at("/detail").contains("organization.billing:read") && !refused.at("/detail").contains("organization:read"), "{}", refused.text);
    let denied = world.events().await;
    assert!(denied.iter().any(|(_, action, outcome)| action == "role.create" && outcome == "denied"));
    post("/v1/organizations/acme/bindings", json!({ "email": "friend@acme.example", "role": "owner", "scope": "acme" })).await.expect(403);
    post("/v1/organizations/acme/bindings", json!({ "email": "friend@acme.example", "role": "operator", "scope": "acme/prod" })).await.expect(200);
    // A role that carries what one lacks can be neither emptied nor filled.
    world.post("/v1/organizations/acme/roles", role).await.expect(200);
    let emptied = json!({ "slug": "money", "permissions": [] }).to_string();
    world.call(Some(&admin), "PUT", "/v1/organizations/acme/roles/money", Some(emptied)).await.expect(403);
    world.end().await;
}

#[tokio::test]
async fn who_holds_something_for_a_while_can_keep_it_neither_by_a_binding_nor_by_a_role() {
    let world = World::start().await;
    let guest = world.person("guest@acme.example", Some(("acme", "read-only"))).await;
    let until = |hours: u64| loopback_api::Time(loopback_coordinator::clock::now_ms() + hours * 3_600_000);
    let bind = |role: &str, expires_at| json!({ "email": "guest@acme.example", "role": role, "scope": "acme", "expires_at": expires_at });
    world.post("/v1/organizations/acme/bindings", bind("admin", Some(until(2)))).await.expect(200);
    let give = |body: serde_json::Value| {
        let (world, guest) = (&world, guest.clone());
        async move { world.call(Some(&guest), "POST", "/v1/organizations/acme/bindings", Some(body.to_string())).await }
    };
    for expires_at in [None, Some(until(3))] {
        let refused = give(bind("operator", expires_at)).await.expect(403);
        assert!(refused.at("/detail").contains("nor for longer than you hold it: "), "{}", refused.text);
    }
    give(bind("operator", Some(until(1)))).await.expect(200);
    let role = json!({ "slug": "read-only", "permissions": ["organization.role:update"] }).to_string();
    world.call(Some(&guest), "PUT", "/v1/organizations/acme/roles/read-only", Some(role)).await.expect(403);
    world.end().await;
}

#[tokio::test]
async fn who_manages_one_workspace_gives_roles_there_and_nowhere_else() {
    let world = World::start().await;
    world.post("/v1/organizations/acme/projects/prod/workspaces", json!({ "slug": "db" })).await.expect(200);
    world
        .post(
            "/v1/organizations/acme/roles",
            json!({ "slug": "lead", "permissions": ["organization.membership:read", "organization.membership:update", "project.workspace:read"] }),
        )
        .await
        .expect(200);
    world.post("/v1/organizations/acme/roles", json!({ "slug": "looker", "permissions": ["project.workspace:read"] })).await.expect(200);
    let lead = world.person("lead@acme.example", None).await;
    for email in ["lead@acme.example", "outsider@other.example"] {
        world.post("/v1/organizations/acme/members", json!({ "email": email })).await.expect(200);
    }
    world.post("/v1/organizations/acme/bindings", json!({ "email": "lead@acme.example", "role": "lead", "scope": "acme/prod/web" })).await.expect(200);
    let elsewhere =
        world.post("/v1/organizations/acme/bindings", json!({ "email": "outsider@other.example", "role": "looker", "scope": "acme/prod/db" })).await.at("/id");
    let bind = |scope: &'static str| {
        let (world, lead) = (&world, lead.clone());
        let body = json!({ "email": "outsider@other.example", "role": "looker", "scope": scope }).to_string();
        async move { world.call(Some(&lead), "POST", "/v1/organizations/acme/bindings", Some(body)).await }
    };
    bind("acme/prod/web").await.expect(200);
    let hidden = bind("acme/prod/db").await.expect(422);
    let missing = bind("acme/prod/nothing").await.expect(422);
    assert_eq!(hidden.without_request_id(), missing.without_request_id());
    bind("acme").await.expect(422);
    bind("other").await.expect(422);
    assert_eq!(bind("acme/prod/web").await.expect(409).at("/type"), "conflict");
    let seen = world.call(Some(&lead), "GET", "/v1/organizations/acme/bindings", None).await.expect(200).json();
    assert!(seen["items"].as_array().unwrap().iter().all(|binding| binding["scope"] == "acme/prod/web"), "{seen}");
    world.call(Some(&lead), "DELETE", &format!("/v1/organizations/acme/bindings/{elsewhere}"), None).await.expect(404);
    world.end().await;
}

#[tokio::test]
async fn the_last_owner_stays_owner() {
    let world = World::start().await;
    let bindings = world.get("/v1/organizations/acme/bindings").await.expect(200);
    let binding = bindings.at("/items/0/id");
    world.delete(&format!("/v1/organizations/acme/bindings/{binding}")).await.expect(409);
    world.delete("/v1/organizations/acme/members/owner@acme.example").await.expect(409);
    world.put("/v1/organizations/acme/roles/owner", json!({ "slug": "owner", "permissions": [] })).await.expect(409);
    world.delete("/v1/organizations/acme/roles/owner").await.expect(409);
    world.person("second@acme.example", None).await;
    world.post("/v1/organizations/acme/members", json!({ "email": "second@acme.example" })).await.expect(200);
    // An owner for a while does not count: when the while is over nobody would be left.
    let soon = loopback_api::Time(loopback_coordinator::clock::now_ms() + 3_600_000);
    world
        .post("/v1/organizations/acme/bindings", json!({ "email": "second@acme.example", "role": "owner", "scope": "acme", "expires_at": soon }))
        .await
        .expect(200);
    world.delete(&format!("/v1/organizations/acme/bindings/{binding}")).await.expect(409);
    world.post("/v1/organizations/acme/bindings", json!({ "email": "second@acme.example", "role": "owner", "scope": "acme" })).await.expect(200);
    world.delete(&format!("/v1/organizations/acme/bindings/{binding}")).await.expect(200);
    world.get("/v1/organizations/acme").await.expect(403);
    world.end().await;
}

#[tokio::test]
async fn what_is_taken_away_is_gone_at_once_also_for_leases() {
    use loopback_core::access::{Actor, Grant, Target};
    let world = World::start().await;
    let secret = world.person("operator@acme.example", Some(("acme", "operator"))).await;
    let key = loopback_protocol::secret::Secret::<loopback_protocol::id::Key>::parse(&secret).unwrap().id();
    let identity = world.call(Some(&secret), "GET", "/v1/account", None).await.expect(200);
    assert_eq!(identity.json()["organizations"][0]["roles"], json!(["operator"]));
    let actor = Actor::Account { account: identity.at("/account").parse().unwrap(), key };
    let organization = identity.at("/organizations/0/id").parse().unwrap();
    let scope = loopback_core::access::ScopePath::Organization(organization);
    let (authority, now) = (world.coordinator.authority(), loopback_coordinator::clock::now_ms());
    let shell = Key::ProjectWorkspaceHostShellSession.may(Verb::Execute);
    let grant = Grant::authorize(&authority.snapshot(organization).await.unwrap(), actor, shell, Target::Found(scope), now).unwrap();
    assert!(authority.still_holds(&grant, now).await.unwrap());
    let mut changes = world.coordinator.storage().subscribe();
    world.delete("/v1/organizations/acme/members/operator@acme.example").await.expect(200);
    assert_eq!(changes.recv().await.unwrap(), organization);
    assert!(!authority.still_holds(&grant, now).await.unwrap());
    world.post("/v1/organizations/acme/members", json!({ "email": "operator@acme.example" })).await.expect(200);
    world.post("/v1/organizations/acme/bindings", json!({ "email": "operator@acme.example", "role": "operator", "scope": "acme" })).await.expect(200);
    assert!(authority.still_holds(&grant, now).await.unwrap());
    world.call(Some(&secret), "POST", "/v1/logout", None).await.expect(200);
    assert!(!authority.still_holds(&grant, now).await.unwrap());
    world.end().await;
}

#[tokio::test]
async fn a_body_that_takes_its_time_is_decided_on_by_what_holds_when_it_is_there() {
    let world = World::start().await;
    let (thief, admin) = (world.login("owner@acme.example").await, world.person("admin@acme.example", Some(("acme", "admin"))).await);
    let project = Late::begin(&world, &admin, "/v1/organizations/acme/projects").await;
    let stolen = Late::begin(&world, &thief, "/v1/account/keys").await;
    world.delete("/v1/organizations/acme/members/admin@acme.example").await.expect(200);
    let key = loopback_protocol::secret::Secret::<loopback_protocol::id::Key>::parse(&thief).unwrap().id();
    world.delete(&format!("/v1/account/keys/{key}")).await.expect(200);
    assert_eq!(project.end(r#"{"slug":"late"}"#).await, 404);
    assert_eq!(stolen.end(r#"{"description":"for later"}"#).await, 401);
    world.get("/v1/organizations/acme/projects/late").await.expect(404);
    let events = world.events().await;
    assert!(events.iter().any(|(_, action, outcome)| action == "project.create" && outcome == "denied"));
    assert!(!events.iter().any(|(_, action, _)| action == "key.create"));
    world.end().await;
}

/// A request that was let in and whose body has not come.
struct Late(tokio_rustls::client::TlsStream<tokio::net::TcpStream>);

/// The length all late bodies are padded to.
const LATE_BODY_BYTES: usize = 64;

impl Late {
    async fn begin(world: &World, secret: &str, path: &str) -> Self {
        use tokio::io::AsyncWriteExt as _;
        let mut roots = rustls::RootCertStore::empty();
        roots.add(world.coordinator.ca().certificate().clone()).unwrap();
        let tls = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let tcp = tokio::net::TcpStream::connect(world.coordinator.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
        let mut late = Self(connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap());
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: c\r\nAuthorization: Bearer {secret}\r\nContent-Length: {LATE_BODY_BYTES}\r\nExpect: 100-continue\r\n\r\n");
        late.0.write_all(head.as_bytes()).await.unwrap();
        // Said when the body is asked for, which is after the decision.
        assert_eq!(late.status().await, 100);
        late
    }

    /// Sends the body, and gives the answer's status.
    async fn end(mut self, body: &str) -> u16 {
        use tokio::io::AsyncWriteExt as _;
        self.0.write_all(format!("{body:LATE_BODY_BYTES$}").as_bytes()).await.unwrap();
        self.status().await
    }

    async fn status(&mut self) -> u16 {
        use tokio::io::AsyncReadExt as _;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(crate::machine::within(self.0.read_u8()).await.unwrap());
        }
        String::from_utf8(head).unwrap()["HTTP/1.1 ".len()..][..3].parse().unwrap()
    }
}
