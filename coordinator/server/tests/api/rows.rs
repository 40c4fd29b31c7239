//! One row for each scoped operation: a path that exists, and a body that the owner's call succeeds with. An operation without a row fails the tests.

use loopback_api::session::ServerMessage;
use loopback_api::{Method, Spec};
use loopback_protocol::id::{Id, SessionId};
use loopback_protocol::shell::{Exit, ShellEvent, ShellRequest};
use serde_json::{Value, json};

use crate::harness::World;
use crate::machine::Machine;
use crate::operator::Operator;

/// What to call an operation with.
pub struct Row {
    /// The operation's name.
    pub name: &'static str,
    /// The scope, wide to narrow.
    pub scope: Vec<String>,
    /// The item in it.
    pub item: Option<String>,
    /// The query, with its question mark.
    pub query: &'static str,
    /// The body.
    pub body: Option<Value>,
    /// What somebody who may is answered with.
    pub status: u16,
}

impl Row {
    fn new(name: &'static str, scope: &str) -> Self {
        Self { name, scope: scope.split('/').map(str::to_owned).collect(), item: None, query: "", body: None, status: 200 }
    }

    fn item(self, item: impl Into<String>) -> Self {
        Self { item: Some(item.into()), ..self }
    }

    fn body(self, body: Value) -> Self {
        Self { body: Some(body), ..self }
    }

    fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The row's path.
    pub fn path(&self, spec: &Spec) -> String {
        let scope: Vec<&str> = self.scope.iter().map(String::as_str).collect();
        spec.url(&scope, self.item.as_deref()) + self.query
    }

    /// The row's path in another organization.
    pub fn path_in(&self, spec: &Spec, organization: &str) -> String {
        let scope: Vec<&str> = std::iter::once(organization).chain(self.scope.iter().skip(1).map(String::as_str)).collect();
        spec.url(&scope, self.item.as_deref()) + self.query
    }
}

/// Makes what the rows are about, and the rows. Writes stand in the order in which they can be done, each once.
pub async fn rows(world: &World) -> Vec<Row> {
    world.post("/v1/organizations/acme/projects", json!({ "slug": "spare" })).await.expect(200);
    world.post("/v1/organizations/acme/projects/prod/workspaces", json!({ "slug": "spare" })).await.expect(200);
    world.post("/v1/organizations/acme/roles", json!({ "slug": "spare", "permissions": [] })).await.expect(200);
    let token = world.post("/v1/organizations/acme/projects/prod/workspaces/web/tokens", json!({})).await.expect(200).at("/token/id");
    for scope in ["/v1/organizations/acme", "/v1/organizations/acme/projects/prod/workspaces/web"] {
        world.post(&format!("{scope}/firewalls"), json!({ "slug": "edge" })).await.expect(200);
    }
    for email in ["spare@acme.example", "new@acme.example"] {
        world.person(email, None).await;
    }
    world.post("/v1/organizations/acme/members", json!({ "email": "spare@acme.example" })).await.expect(200);
    let bound = json!({ "email": "spare@acme.example", "role": "operator", "scope": "acme/prod" });
    let binding = world.post("/v1/organizations/acme/bindings", bound).await.expect(200).at("/id");
    let rule = json!({ "priority": 10, "action": "allow", "direction": "inbound", "protocol": "tcp", "ports": ["22"], "source": ["192.0.2.0/24"] });
    let rules = json!({ "rules": [rule] });
    let recorded = recorded_session(world).await.to_string();
    Machine::joined(world, "spare").await;
    vec![
        Row::new("get_organization", "acme"),
        Row::new("update_organization", "acme").body(json!({ "name": "Acme" })),
        Row::new("list_projects", "acme"),
        Row::new("get_project", "acme/prod"),
        Row::new("create_project", "acme").body(json!({ "slug": "fresh" })),
        Row::new("delete_project", "acme/spare"),
        Row::new("list_workspaces", "acme/prod"),
        Row::new("get_workspace", "acme/prod/web"),
        Row::new("create_workspace", "acme/prod").body(json!({ "slug": "fresh" })),
        Row::new("delete_workspace", "acme/prod/spare"),
        Row::new("list_members", "acme"),
        Row::new("add_member", "acme").body(json!({ "email": "new@acme.example" })),
        Row::new("list_bindings", "acme"),
        Row::new("create_binding", "acme").body(json!({ "email": "new@acme.example", "role": "read-only", "scope": "acme/prod/web" })),
        Row::new("delete_binding", "acme").item(binding),
        Row::new("remove_member", "acme").item("spare@acme.example"),
        Row::new("list_roles", "acme"),
        Row::new("create_role", "acme").body(json!({ "slug": "fresh", "permissions": ["organization:read"] })),
        Row::new("update_role", "acme").item("spare").body(json!({ "slug": "spare", "permissions": ["organization:read"] })),
        Row::new("delete_role", "acme").item("spare"),
        Row::new("list_tokens", "acme/prod/web"),
        Row::new("create_token", "acme/prod/web").body(json!({})),
        Row::new("revoke_token", "acme/prod/web").item(token),
        Row::new("list_organization_firewalls", "acme"),
        Row::new("get_organization_firewall", "acme").item("edge"),
        Row::new("create_organization_firewall", "acme").body(json!({ "slug": "fresh" })),
        Row::new("update_organization_firewall", "acme").item("fresh").body(json!({ "slug": "fresh", "stage": "guardrail" })),
        Row::new("set_organization_firewall_rules", "acme").item("fresh").body(rules.clone()),
        Row::new("delete_organization_firewall", "acme").item("fresh"),
        Row::new("list_workspace_firewalls", "acme/prod/web"),
        Row::new("get_workspace_firewall", "acme/prod/web").item("edge"),
        Row::new("create_workspace_firewall", "acme/prod/web").body(json!({ "slug": "fresh" })),
        Row::new("update_workspace_firewall", "acme/prod/web").item("fresh").body(json!({ "slug": "fresh", "default_inbound": "reject" })),
        Row::new("set_workspace_firewall_rules", "acme/prod/web").item("fresh").body(rules),
        Row::new("delete_workspace_firewall", "acme/prod/web").item("fresh"),
        Row::new("list_organization_hosts", "acme"),
        Row::new("list_hosts", "acme/prod/web"),
        Row::new("get_host", "acme/prod/web/web-1"),
        Row::new("get_host_firewall", "acme/prod/web/web-1"),
        Row::new("explain_host_firewall", "acme/prod/web/web-1").query("?direction=inbound&protocol=tcp&source=192.0.2.1&destination=192.0.2.2&port=22"),
        Row::new("get_host_metrics", "acme/prod/web/web-1"),
        Row::new("query_host_metrics", "acme/prod/web/web-1").query("?name=node_load1"),
        // Whoever may is told to come with a WebSocket; with one it is opened for the rows' own session.
        Row::new("open_shell", "acme/prod/web/web-1").status(422),
        Row::new("list_sessions", "acme"),
        Row::new("get_session", "acme").item(recorded.clone()),
        Row::new("get_recording", "acme").item(recorded),
        Row::new("terminate_session", "acme").item(open_session(world).await.to_string()),
        Row::new("remove_host", "acme/prod/web/spare"),
        Row::new("list_audit_events", "acme"),
        Row::new("verify_audit", "acme"),
    ]
}

/// Whether a call of the operation by the owner must leave exactly one event: it writes, or it is a read that is audited.
pub fn leaves_an_event(spec: &Spec) -> bool {
    spec.method != Method::Get || spec.name == "get_recording"
}

/// A session on the new host `web-1` that ended by itself.
async fn recorded_session(world: &World) -> SessionId {
    let link = Machine::joined(world, "web-1").await.link().await;
    let mut operator = Operator::ask(world, "web-1").await;
    let mut shell = link.shell().await;
    let ShellRequest::Open(open) = shell.hear().await else { panic!("no opening") };
    for event in [ShellEvent::Opened(1), ShellEvent::Output(b"$ exit".to_vec()), ShellEvent::Exited(Exit::Code(0))] {
        shell.say(&event).await;
    }
    assert_eq!(operator.hear().await, ServerMessage::Opened { session: open.session });
    assert_eq!(operator.hear().await, ServerMessage::Ended { reason: "exit(0)".into(), exit_code: 0 });
    open.session
}

/// A session that is open in the books alone, so that to end it leaves the order's event and no other.
async fn open_session(world: &World) -> SessionId {
    let id = Id::new(1, [8; 10]);
    let columns = "organization, project, workspace, host, account, email, host_path, run_as, reason, started_at_ms";
    let open = format!("INSERT INTO shell_session ({columns}, id, state) SELECT {columns}, '{id}', 'active' FROM shell_session");
    assert_eq!(world.sql(&open).await, 1);
    id
}
