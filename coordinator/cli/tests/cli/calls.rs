//! Calls: lists over pages, refusals, and what programs read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{delete, get, put};
use axum::{Json, Router};
use loopback_api::firewall::{ApplyStatus, Firewall, HostFirewall, PacketQuery, Rules};
use loopback_api::host::{Host, HostState};
use loopback_api::{FieldError, Nothing, Page, PageQuery, Problem, ProblemKind, Time};
use loopback_core::firewall::rule::{DefaultVerdict, RuleSpec};
use loopback_protocol::id::{FirewallId, HostId, RuleId};

use crate::coordinator::{Authority, Coordinator, problem};
use crate::operator::Operator;

const NAMES: [&str; 1] = ["loopback-coordinator"];
const RULE: &str = r#"[{"priority": 10, "action": "allow", "direction": "inbound", "protocol": "tcp", "ports": ["443"]}]"#;

async fn start(routes: Router) -> (Coordinator, Operator) {
    let authority = Authority::new();
    let coordinator = Coordinator::start(&authority, &NAMES, routes).await;
    let operator = Operator::with_key(&coordinator, &authority);
    (coordinator, operator)
}

fn host(number: u32) -> Host {
    Host {
        id: HostId::new(u64::from(number), [1; 10]),
        path: format!("acme/prod/web/host-{number}"),
        state: HostState::Online,
        problems: Vec::new(),
        last_seen_at: None,
        hostname: "host\u{1b}[2J".to_owned(),
        os: "Debian 12".to_owned(),
        kernel: "6.1".to_owned(),
        architecture: "x86_64".to_owned(),
        addresses: vec!["2001:db8::1".parse().unwrap(), "192.0.2.1".parse().unwrap()],
        agent_version: "0.1.0".to_owned(),
        created_at: Time(0),
    }
}

/// 450 hosts; the cursor is the number of the next.
async fn hosts(Query(query): Query<PageQuery>) -> Json<Page<Host>> {
    let from: u32 = query.cursor.as_deref().map_or(0, |cursor| cursor.parse().unwrap());
    let until = 450.min(from + query.size());
    Json(Page { items: (from..until).map(host).collect(), next: (until < 450).then(|| until.to_string()) })
}

#[tokio::test]
async fn a_list_follows_its_pages_to_the_end_or_to_the_limit() {
    let (coordinator, operator) = start(Router::new().route("/v1/organizations/{organization}/hosts", get(hosts))).await;
    let all = operator.run(&["host", "list", "acme"]).await;
    assert_eq!((all.code, all.stdout.lines().count(), all.stderr.as_str()), (0, 451, ""));
    assert_eq!(
        coordinator.paths(),
        ["?limit=200", "?limit=200&cursor=200", "?limit=200&cursor=400"].map(|query| format!("GET /v1/organizations/acme/hosts{query}"))
    );
    assert!(!all.stdout.contains('\u{1b}'));

    let some = operator.run(&["host", "list", "acme", "--limit", "250", "--output", "json"]).await;
    let page: Page<Host> = serde_json::from_str(&some.stdout).unwrap();
    assert_eq!((page.items.len(), page.next.as_deref()), (250, Some("250")));
    assert!(some.stderr.contains("only the first 250 are shown"), "{}", some.stderr);
    assert_eq!(coordinator.paths(), ["?limit=200", "?limit=50&cursor=200"].map(|query| format!("GET /v1/organizations/acme/hosts{query}")));
}

#[tokio::test]
async fn an_empty_list_says_so_beside_the_result_and_what_to_do() {
    let routes = Router::new().route("/v1/organizations/acme/projects", get(async || Json(Page::<Host> { items: Vec::new(), next: None })));
    let (_coordinator, operator) = start(routes).await;
    let table = operator.run(&["project", "list", "acme"]).await;
    assert_eq!((table.code, table.stdout.as_str()), (0, ""));
    assert_eq!(table.stderr, "no project you may see; make one with `loopback project create acme/NAME`\n");
    assert_eq!(operator.run(&["project", "list", "acme", "--output", "json"]).await.stdout, "{\"items\":[]}\n");
}

#[tokio::test]
async fn a_refusal_names_the_fields_and_on_demand_the_request() {
    let faults = vec![FieldError { pointer: "/rules/0/ports/0".to_owned(), reason: "is not a port".to_owned() }];
    let refuse = async move || problem(Problem::validation(faults));
    let (_coordinator, operator) = start(Router::new().route("/v1/organizations/acme/firewalls/edge/rules", put(refuse))).await;
    let ran = operator.pipe(&["firewall", "rules", "acme", "edge", "-", "--verbose"], RULE.as_bytes()).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (1, ""));
    assert_eq!(ran.stderr, "error: The request is not valid\n  /rules/0/ports/0: is not a port\nrequest: req-4711\n");
}

#[tokio::test]
async fn every_kind_of_refusal_leaves_with_1() {
    let refuse = async |Path(slug): Path<String>| match slug.as_str() {
        "forbidden" => problem(Problem::new(ProblemKind::Forbidden, "You lack organization.project:read on acme.")),
        "unavailable" => problem(Problem::new(ProblemKind::Unavailable, "Try again later.")),
        "gateway" => (StatusCode::BAD_GATEWAY, "<html>").into_response(),
        _ => "not what was promised".into_response(),
    };
    let (_coordinator, operator) = start(Router::new().route("/v1/organizations/{organization}", get(refuse))).await;
    for (organization, reason) in [
        ("forbidden", "error: You lack organization.project:read on acme.\nhint: "),
        ("unavailable", "error: Try again later.\n"),
        ("gateway", "status 502 without a reason"),
        ("other", "gave an answer this program does not understand"),
    ] {
        let ran = operator.run(&["organization", "show", organization]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (1, ""), "{organization}");
        assert!(ran.stderr.contains(reason), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn an_item_keeps_its_name_on_the_way() {
    let remove = async |Path(member): Path<String>| {
        if member == "a+b%@example.org" { Json(Nothing {}).into_response() } else { StatusCode::IM_A_TEAPOT.into_response() }
    };
    let (_coordinator, operator) = start(Router::new().route("/v1/organizations/acme/members/{member}", delete(remove))).await;
    let ran = operator.run(&["member", "remove", "acme", "a+b%@example.org"]).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "Removed a+b%@example.org from acme.\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_closed_pipe_is_no_failure() {
    let (_coordinator, operator) = start(Router::new().route("/v1/organizations/{organization}/hosts", get(hosts))).await;
    // As in `loopback host list acme | true`: the reader is gone before anything is written.
    let ran = operator.run_unread(&["host", "list", "acme"]).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
}

fn firewall(specs: &[RuleSpec]) -> Firewall {
    let rule = |spec: &RuleSpec| loopback_api::firewall::Rule { id: RuleId::new(1, [1; 10]), spec: spec.clone() };
    Firewall {
        id: FirewallId::new(1, [1; 10]),
        slug: "edge".to_owned(),
        scope: "acme/prod/web".to_owned(),
        description: String::new(),
        stage: None,
        default_inbound: DefaultVerdict::Deny,
        default_outbound: DefaultVerdict::Allow,
        rule_count: specs.len() as u64,
        rules: specs.iter().map(rule).collect(),
        created_at: Time(0),
        updated_at: Time(0),
    }
}

/// A workspace of two hosts. After the change host-1 is asked about twice before it has applied it; host-2 ends as `last` says.
fn workspace(last: ApplyStatus) -> Router {
    let base = "/v1/organizations/acme/projects/prod/workspaces/web";
    let (changed, asked) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let change = changed.clone();
    let set = async move |Json(rules): Json<Rules>| {
        change.store(1, Ordering::SeqCst);
        Json(firewall(&rules.rules))
    };
    let of_host = move |Path(host): Path<String>| {
        let generation = 1 + changed.load(Ordering::SeqCst);
        let status = match (generation, host.as_str()) {
            (1, _) => ApplyStatus::Applied { generation, at: Time(0) },
            (_, "host-1") if asked.fetch_add(1, Ordering::SeqCst) < 2 => ApplyStatus::Pending,
            (_, "host-1") => ApplyStatus::Applied { generation, at: Time(0) },
            _ => last.clone(),
        };
        let (default_inbound, default_outbound) = (DefaultVerdict::Deny, DefaultVerdict::Allow);
        std::future::ready(Json(HostFirewall { generation, status, filtered: true, default_inbound, default_outbound, rules: Vec::new() }))
    };
    Router::new()
        .route(&format!("{base}/firewalls/edge/rules"), put(set))
        .route(&format!("{base}/hosts"), get(async || Json(Page { items: vec![host(1), host(2)], next: None })))
        .route(&format!("{base}/hosts/{{host}}/firewall"), get(of_host))
}

#[tokio::test]
async fn a_change_of_rules_waits_for_the_hosts_and_names_the_one_that_failed() {
    let arguments = ["firewall", "rules", "acme/prod/web", "edge", "-"];
    let (_coordinator, operator) = start(workspace(ApplyStatus::Applied { generation: 2, at: Time(0) })).await;
    let ran = operator.pipe(&arguments, RULE.as_bytes()).await;
    assert_eq!((ran.code, ran.stdout.as_str()), (0, "edge has one rule.\napplied on 2 of 2 hosts\n"), "{}", ran.stderr);

    let (_coordinator, operator) = start(workspace(ApplyStatus::Failed { generation: 2, error: "Error: Could not process rule".to_owned() })).await;
    let ran = operator.pipe(&[&arguments[..], &["--output", "json"]].concat(), RULE.as_bytes()).await;
    assert_eq!(ran.code, 1);
    assert_eq!(serde_json::from_str::<Firewall>(&ran.stdout).unwrap().rule_count, 1);
    assert!(ran.stderr.starts_with("applied on 1 of 2 hosts, 1 failed\nacme/prod/web/host-2: Error: Could not process rule\n"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_packet_is_asked_about_with_the_hosts_own_address() {
    let base = "/v1/organizations/acme/projects/prod/workspaces/web/hosts/host-1";
    let explain = async |Query(packet): Query<PacketQuery>| {
        problem(Problem::new(ProblemKind::Unavailable, format!("{} {} {:?}", packet.source, packet.destination, packet.port)))
    };
    let routes = Router::new().route(base, get(async || Json(host(1)))).route(&format!("{base}/firewall/explain"), get(explain));
    let (_coordinator, operator) = start(routes).await;
    for (packet, told) in [
        (&["tcp", "203.0.113.9", "->", ":443"][..], "203.0.113.9 192.0.2.1 Some(443)"),
        (&["tcp", "2001:db8::9", ":22"], "2001:db8::9 2001:db8::1 Some(22)"),
        (&["outbound", "icmp", "9.9.9.9"], "192.0.2.1 9.9.9.9 None"),
    ] {
        let ran = operator.run(&[&["firewall", "explain", "acme/prod/web/host-1"], packet].concat()).await;
        assert_eq!(ran.stderr, format!("error: {told}\n"), "{packet:?}");
    }
    let redirected = operator.run(&["firewall", "explain", "acme/prod/web/host-1", "tcp", "203.0.113.9", "-"]).await;
    assert!(redirected.code == 2 && redirected.stderr.contains("redirection"), "{}", redirected.stderr);
}

#[tokio::test]
async fn a_recording_is_played_or_printed_as_it_is_and_that_it_was_altered_is_said() {
    const CAST: &str = "{\"version\": 2, \"width\": 80, \"height\": 24}\n[0.5, \"o\", \"$ \"]\n[9.5, \"i\", \"ls\\r\"]\n[60.0, \"o\", \"ls\\r\\n\"]\n";
    let routes = Router::new().route(
        "/v1/organizations/acme/sessions/ses_1/recording",
        get(async || ([("content-type", "application/x-asciicast"), ("x-loopback-recording", "altered")], CAST)),
    );
    let (_coordinator, operator) = start(routes).await;
    assert_eq!(operator.run(&["recordings", "show", "acme", "ses_1"]).await.stdout, CAST);
    let played = operator.run(&["recordings", "play", "acme", "ses_1"]).await;
    assert_eq!((played.stdout.as_str(), played.stderr.as_str()), ("$ ls\r\n", "the recording is ALTERED: it is not what was recorded\n"));
}
