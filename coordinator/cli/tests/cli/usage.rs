//! Help, usage and reach: what needs no coordinator.

use std::collections::BTreeSet;

use crate::coordinator::Authority;
use crate::operator::Operator;

/// The subcommands a help text lists.
fn listed(help: &str) -> Vec<String> {
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    // A name stands two columns in; what stands further in goes on explaining.
    let names = commands.filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).filter(|name| *name != "help").map(str::to_owned).collect()
}

#[tokio::test]
async fn every_command_explains_itself() {
    let operator = Operator::new();
    let mut waiting: Vec<Vec<String>> = vec![Vec::new()];
    let mut leaves = BTreeSet::new();
    while let Some(command) = waiting.pop() {
        let arguments: Vec<&str> = command.iter().map(String::as_str).chain(["--help"]).collect();
        let help = operator.run(&arguments).await;
        assert_eq!(help.code, 0, "{command:?}: {}", help.stderr);
        assert!(help.stdout.contains("Usage: loopback"), "{command:?}");
        let below = listed(&help.stdout);
        if below.is_empty() {
            leaves.insert(command.join(" "));
        }
        waiting.extend(below.into_iter().map(|name| command.iter().cloned().chain([name]).collect()));
    }
    let every = "login logout whoami/organization list show/project list create show delete/workspace list create show delete/host list show remove/token create list revoke/\
        member list add remove/role list create update delete/binding list create delete/key list create revoke/permissions metrics shell completions/\
        firewall list create show rules update delete status explain/sessions list show terminate/recordings play show/audit list verify";
    let single = ["login", "permissions"];
    let expected: BTreeSet<String> = every
        .split('/')
        .flat_map(|group| {
            let mut words = group.split_whitespace();
            let noun = words.next().unwrap();
            let alone = single.contains(&noun);
            let names: Vec<String> = words.map(|word| if alone { word.to_owned() } else { format!("{noun} {word}") }).collect();
            names.into_iter().chain(alone.then(|| noun.to_owned()))
        })
        .collect();
    assert_eq!(leaves, expected);
}

#[tokio::test]
async fn a_command_that_is_not_understood_leaves_with_2_and_says_why() {
    let operator = Operator::new();
    for (arguments, reason) in [
        (&["host", "show", "acme/prod"][..], "ORGANIZATION/PROJECT/WORKSPACE/HOST, such as acme/prod/web/host-1"),
        (&["token", "create", "acme/prod/web", "--life", "soon"], "write it as 90s, 30m, 8h"),
        (&["audit", "list", "acme", "--since", "yesterday"], "not a time"),
        (&["host", "list", "--output", "yaml"], "possible values: table, json"),
        (&["audit", "list", "acme", "--limit", "0"], "0 is not in 1..=100000"),
        (&["login", "https://c:8443", "--email", "a@b", "--ca-fingerprint", "abcd"], "64 hexadecimal digits"),
        (&["frobnicate"], "unrecognized subcommand"),
        (&[], "Usage: loopback"),
    ] {
        let ran = operator.run(arguments).await;
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.contains(reason), "{arguments:?}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn a_group_without_a_command_shows_what_it_has_also_when_the_environment_sets_options() {
    let mut operator = Operator::new();
    for _ in 0..2 {
        let ran = operator.run(&["firewall"]).await;
        assert_eq!((ran.code, ran.stdout.as_str()), (2, ""));
        assert!(ran.stderr.contains("Usage: loopback firewall") && ran.stderr.contains("Tell which rule decides a packet"), "{}", ran.stderr);
        operator.set("LOOPBACK_OUTPUT", "json");
    }
}

#[tokio::test]
async fn who_is_not_signed_in_is_told_how_to() {
    let ran = Operator::new().run(&["host", "list", "acme"]).await;
    assert_eq!(ran.code, 1);
    assert_eq!(ran.stderr, "error: not signed in: there is no profile `default`\nhint: sign in with `loopback login https://HOST:8443 --email YOU`\n");
}

#[tokio::test]
async fn a_coordinator_that_is_not_there_leaves_with_3() {
    let mut operator = Operator::new();
    let login = operator.pipe(&["login", "https://127.0.0.1:1", "--email", "ada@example.org", "--password-stdin"], b"password\n").await;
    assert_eq!(login.code, 3, "{}", login.stderr);
    let ca = operator.home.path().join("ca.pem");
    std::fs::write(&ca, Authority::new().pem()).unwrap();
    for (name, value) in [("LOOPBACK_URL", "https://127.0.0.1:1"), ("LOOPBACK_KEY", "lbk_secret"), ("LOOPBACK_CA", ca.to_str().unwrap())] {
        operator.set(name, value);
    }
    for arguments in [&["host", "list", "acme"][..], &["shell", "acme/prod/web/host-1"], &["recordings", "show", "acme", "ses_1"]] {
        let ran = operator.run(arguments).await;
        assert_eq!(ran.code, 3, "{arguments:?}: {}", ran.stderr);
        assert!(ran.stderr.starts_with("error: cannot reach https://127.0.0.1:1/: ") && ran.stderr.contains("refused"), "{}", ran.stderr);
        assert!(ran.stderr.contains("\nhint: ") && !ran.stderr.contains("lbk_"), "{}", ran.stderr);
    }
}

#[tokio::test]
async fn completions_need_nothing() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Operator::new().run(&["completions", shell]).await;
        assert!(ran.code == 0 && ran.stdout.contains("recordings"), "{shell}");
    }
}
