//! Signing in: whom the command line believes, and when it sends the password.

use std::os::unix::fs::PermissionsExt;

use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use loopback_api::account::{Identity, IdentityOrganization, LoginAnswer, LoginRequest};
use loopback_api::{Nothing, Problem, ProblemKind, Time};
use loopback_protocol::id::{AccountId, KeyId, OrganizationId};

use crate::coordinator::{Authority, Coordinator, problem};
use crate::operator::Operator;

const PASSWORD: &str = "correct horse battery staple";
const NAMES: [&str; 2] = ["127.0.0.1", "loopback-coordinator"];

fn identity() -> Identity {
    let organization = IdentityOrganization { id: OrganizationId::new(1, [1; 10]), slug: "acme".to_owned(), roles: vec!["owner".to_owned()] };
    Identity { account: AccountId::new(1, [1; 10]), email: "ada@example.org".to_owned(), name: "Ada".to_owned(), organizations: vec![organization] }
}

async fn login(Json(request): Json<LoginRequest>) -> Response {
    if request.password != PASSWORD {
        return problem(Problem::new(ProblemKind::Unauthenticated, "The e-mail address or the password is wrong."));
    }
    let answer = LoginAnswer { secret: "lbk_session".to_owned(), key: KeyId::new(1, [1; 10]), expires_at: Time(4_102_444_800_000), identity: identity() };
    Json(answer).into_response()
}

fn routes() -> Router {
    Router::new().route("/v1/login", post(login)).route("/v1/logout", post(async || Json(Nothing {}))).route("/v1/account", get(async || Json(identity())))
}

async fn sign_in(operator: &Operator, coordinator: &Coordinator, more: &[&str], password: &str) -> crate::operator::Ran {
    let arguments = [&["login", &coordinator.url, "--email", "ada@example.org", "--password-stdin"], more].concat();
    operator.pipe(&arguments, format!("{password}\n").as_bytes()).await
}

#[tokio::test]
async fn a_wrong_fingerprint_stops_before_anything_is_sent() {
    let (authority, operator) = (Authority::new(), Operator::new());
    let coordinator = Coordinator::start(&authority, &NAMES, routes()).await;
    let ran = sign_in(&operator, &coordinator, &["--ca-fingerprint", &Authority::new().fingerprint()], PASSWORD).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains(&authority.fingerprint()) && ran.stderr.contains("nothing was sent"), "{}", ran.stderr);
    assert_eq!(coordinator.paths(), [""; 0]);
}

#[tokio::test]
async fn an_unknown_ca_needs_a_fingerprint_or_a_person() {
    let (authority, operator) = (Authority::new(), Operator::new());
    let coordinator = Coordinator::start(&authority, &NAMES, routes()).await;
    let ran = sign_in(&operator, &coordinator, &[], PASSWORD).await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("pass --ca-fingerprint") && ran.stderr.contains(&authority.fingerprint()), "{}", ran.stderr);
    assert_eq!(coordinator.paths(), [""; 0]);
}

#[tokio::test]
async fn who_signed_in_is_remembered_in_private_and_the_ca_is_known_from_then_on() {
    let (authority, operator) = (Authority::new(), Operator::new());
    let coordinator = Coordinator::start(&authority, &NAMES, routes()).await;
    let ran = sign_in(&operator, &coordinator, &["--ca-fingerprint", &authority.fingerprint()], PASSWORD).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""));
    assert!(ran.stdout.starts_with("Signed in as ada@example.org until 2100-01-01") && ran.stdout.contains("acme"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("lbk_"));
    let file = operator.home.path().join("profiles.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(PASSWORD));

    let again = sign_in(&operator, &coordinator, &["--output", "json"], PASSWORD).await;
    assert_eq!(serde_json::from_str::<Identity>(&again.stdout).unwrap(), identity());
    let who = operator.run(&["whoami"]).await;
    assert!(who.stdout.contains("ada@example.org") && who.stdout.contains("acme          owner"), "{}", who.stdout);
    let asked = coordinator.asked();
    assert_eq!(serde_json::from_str::<LoginRequest>(&asked[0].body).unwrap().password, PASSWORD);
    let asked: Vec<_> = asked.into_iter().map(|asked| (asked.what, asked.authorization)).collect();
    let login = ("POST /v1/login".to_owned(), String::new());
    assert_eq!(asked, [login.clone(), login, ("GET /v1/account".to_owned(), "Bearer lbk_session".to_owned())]);
}

#[tokio::test]
async fn signing_out_forgets_the_credential_here_and_there() {
    let (authority, operator) = (Authority::new(), Operator::new());
    let coordinator = Coordinator::start(&authority, &NAMES, routes()).await;
    sign_in(&operator, &coordinator, &["--ca-fingerprint", &authority.fingerprint()], PASSWORD).await;
    coordinator.asked();
    assert_eq!(operator.run(&["logout"]).await.stdout, "Signed out.\n");
    assert_eq!(coordinator.paths(), ["POST /v1/logout"]);
    assert!(!std::fs::read_to_string(operator.home.path().join("profiles.toml")).unwrap().contains("lbk_"));
    let after = operator.run(&["whoami"]).await;
    assert!(after.code == 1 && after.stderr.contains("not signed in"), "{}", after.stderr);
    assert_eq!(operator.run(&["logout"]).await.stdout, "Not signed in.\n");
    assert_eq!(coordinator.paths(), [""; 0]);
}

#[tokio::test]
async fn a_key_alone_in_the_environment_is_used_at_the_profiles_coordinator() {
    let (authority, mut operator) = (Authority::new(), Operator::new());
    let coordinator = Coordinator::start(&authority, &NAMES, routes()).await;
    sign_in(&operator, &coordinator, &["--ca-fingerprint", &authority.fingerprint()], PASSWORD).await;
    coordinator.asked();
    operator.set("LOOPBACK_KEY", "lbk_robot");
    assert_eq!(operator.run(&["whoami"]).await.code, 0);
    assert_eq!(coordinator.asked().pop().unwrap().authorization, "Bearer lbk_robot");
}

#[tokio::test]
async fn a_wrong_password_keeps_nothing() {
    let (authority, operator) = (Authority::new(), Operator::new());
    let coordinator = Coordinator::start(&authority, &NAMES, routes()).await;
    let ran = sign_in(&operator, &coordinator, &["--ca-fingerprint", &authority.fingerprint()], "guess").await;
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.starts_with("error: The e-mail address or the password is wrong.\n") && !ran.stderr.contains("guess"), "{}", ran.stderr);
    assert!(!operator.home.path().join("profiles.toml").exists());
}

#[tokio::test]
async fn the_ca_is_believed_for_the_address_and_for_the_name_every_coordinator_bears() {
    for (names, believed) in
        [(&["127.0.0.1"][..], true), (&["loopback-coordinator"], true), (&["other.example", "loopback-coordinator"], true), (&["other.example"], false)]
    {
        let authority = Authority::new();
        let coordinator = Coordinator::start(&authority, names, routes()).await;
        let ran = Operator::with_key(&coordinator, &authority).run(&["whoami"]).await;
        assert_eq!(ran.code, if believed { 0 } else { 1 }, "{names:?}: {}", ran.stderr);
        assert_eq!(coordinator.asked().len(), usize::from(believed), "{names:?}");
    }
}

#[tokio::test]
async fn another_ca_is_sent_nothing() {
    let coordinator = Coordinator::start(&Authority::new(), &NAMES, routes()).await;
    let operator = Operator::with_key(&coordinator, &Authority::new());
    for arguments in [&["whoami"][..], &["shell", "acme/prod/web/host-1"]] {
        let ran = operator.run(arguments).await;
        assert_eq!(ran.code, 1, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains("its certificate comes from another CA") && ran.stderr.contains("hint: "), "{}", ran.stderr);
    }
    assert_eq!(coordinator.paths(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_a_terminal_a_person_compares_the_fingerprint_and_types_the_password_unseen() {
    let (authority, operator) = (Authority::new(), Operator::new());
    let coordinator = Coordinator::start(&authority, &NAMES, routes()).await;
    let arguments = ["login", &coordinator.url, "--email", "ada@example.org"];

    let mut terminal = operator.terminal(&arguments);
    terminal.expect(&authority.fingerprint());
    terminal.expect("[y/N] ");
    terminal.press("n\n");
    assert_eq!(terminal.code(), 1);
    assert_eq!(coordinator.paths(), [""; 0]);

    let mut terminal = operator.terminal(&arguments);
    let visible = terminal.modes();
    terminal.expect("[y/N] ");
    terminal.press("y\n");
    terminal.expect("Password of ada@example.org: ");
    terminal.expect_modes_other_than(&visible);
    assert_eq!(coordinator.paths(), [""; 0]);
    terminal.press(&format!("{PASSWORD}\n"));
    terminal.expect("Signed in as ada@example.org");
    assert_eq!(terminal.code(), 0);
    assert!(!terminal.shown().contains(PASSWORD));
    assert_eq!(coordinator.paths(), ["POST /v1/login"]);
}
