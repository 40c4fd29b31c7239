//! What the kernel holds after the calls.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Instant;

use loopback_agent::nft::{self, NftError};
use loopback_protocol::firewall::{Action, Direction, Layer, Mode, Policy, PolicyRule};
use loopback_protocol::id::Id;
use tempfile::tempdir;

use crate::net::{HOST_V4, Namespace, Pair, eventually};
use crate::policy::{TCP, addresses, denies_everything, policy, random, to_port};
use crate::{apply, intact};

fn coordinators() -> [SocketAddr; 2] {
    ["192.0.2.1:8443".parse().unwrap(), "[2001:db8::1]:8443".parse().unwrap()]
}

#[test]
fn hundreds_of_random_policies_read_back_as_they_were_meant() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    for seed in 0..300 {
        let policy = random(seed, 8);
        apply(&host, &policy, &coordinators(), state.path()).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{}", nft::show(&policy, &coordinators())));
        assert_eq!(nft::stored(state.path()).unwrap(), Some((policy, coordinators().to_vec())), "seed {seed}");
    }
}

#[test]
fn what_is_shown_means_to_nft_what_is_in_force() {
    let host = Namespace::new();
    let directory = tempdir().unwrap();
    let file = directory.path().join("shown.nft");
    for seed in 1_000..1_050 {
        let policy = random(seed, 8);
        let text = nft::show(&policy, &coordinators());
        fs::write(&file, &text).unwrap();
        host.run("nft", &["flush", "ruleset"]);
        host.run("nft", &["-f", file.to_str().unwrap()]);
        assert!(intact(&host, &policy, &coordinators()), "seed {seed}\n{text}");
    }
}

#[test]
fn tables_of_others_are_not_touched() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    host.run("nft", &["-f", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nft/others.nft")]);
    let tables = [["ip", "nat"], ["ip", "filter"], ["inet", "firewalld"]];
    let listed = || tables.map(|[family, table]| host.run("nft", &["-a", "list", "table", family, table]));
    let before = listed();
    for policy in [denies_everything(), random(1, 20), Policy { mode: Mode::Observe, ..random(2, 20) }, Policy::unfiltered(3)] {
        apply(&host, &policy, &coordinators(), state.path()).unwrap();
        assert_eq!(listed(), before);
    }
    assert_eq!(host.run("nft", &["list", "tables"]).lines().count(), tables.len());
}

#[test]
fn a_foreign_edit_of_our_table_is_noticed_and_a_restore_mends_it() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    let policy = policy(vec![(Layer::Workspace, vec![to_port(1, Direction::Inbound, Action::Deny, TCP, 80)])]);
    apply(&host, &policy, &coordinators(), state.path()).unwrap();
    assert!(intact(&host, &policy, &coordinators()));
    assert!(!intact(&host, &policy, &[]));
    let edits = [
        "insert rule inet loopback input accept",
        "flush chain inet loopback workspace_in",
        "add chain inet loopback theirs",
        "add set inet loopback theirs { type ipv4_addr; }",
        "add table inet loopback { flags dormant; }",
        "delete table inet loopback",
        "flush ruleset",
    ];
    for edit in edits {
        host.run("nft", &[edit]);
        assert!(!intact(&host, &policy, &coordinators()), "{edit}");
        assert_eq!(host.run_async(async || nft::restore(state.path()).await).unwrap(), Some(policy.clone()));
        assert!(intact(&host, &policy, &coordinators()), "{edit}");
    }
}

#[test]
fn restoring_what_is_still_there_keeps_its_counters_and_without_a_stored_policy_does_nothing() {
    let (pair, state) = (Pair::new(), tempdir().unwrap());
    let restore = || pair.host.run_async(async || nft::restore(state.path()).await).unwrap();
    assert_eq!(restore(), None);
    assert_eq!(pair.host.run("nft", &["list", "tables"]), "");
    let policy = policy(vec![(Layer::Workspace, vec![to_port(1, Direction::Inbound, Action::Allow, TCP, 80)])]);
    apply(&pair.host, &policy, &[], state.path()).unwrap();
    let _listener = pair.host.listen(80);
    pair.peer.connect(HOST_V4, 80).unwrap();
    assert_eq!(restore(), Some(policy));
    assert_eq!(pair.host.run_async(nft::hits).unwrap()[0].packets, 1);
}

#[test]
fn off_takes_the_table_away() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    apply(&host, &denies_everything(), &[], state.path()).unwrap();
    apply(&host, &Policy::unfiltered(2), &[], state.path()).unwrap();
    assert_eq!(host.run("nft", &["list", "ruleset"]), "");
    assert!(intact(&host, &Policy::unfiltered(2), &[]));
    assert_eq!(host.run_async(nft::hits).unwrap(), []);
}

#[test]
fn a_policy_that_cannot_be_kept_goes_back_to_the_one_before() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    let before = policy(Vec::new());
    let check = |expected: &Policy| {
        let failed = apply(&host, &denies_everything(), &[], state.path());
        assert!(matches!(failed, Err(NftError::Store { .. })), "{failed:?}");
        assert!(intact(&host, expected, &[]));
    };
    let obstacle = state.path().join("firewall.policy.new");
    fs::create_dir(&obstacle).unwrap();
    check(&Policy::unfiltered(0));
    fs::remove_dir(&obstacle).unwrap();
    apply(&host, &before, &[], state.path()).unwrap();
    fs::create_dir(&obstacle).unwrap();
    check(&before);
    assert_eq!(nft::stored(state.path()).unwrap(), Some((before, Vec::new())));
}

#[test]
fn the_kernels_refusal_is_told_in_its_own_words_and_changes_nothing() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    // A table of our name that belongs to a process which still runs.
    let mut owner = std::process::Command::new("nft");
    owner.arg("-i").stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::null());
    let mut owner = host.enter(|| owner.spawn().unwrap());
    let mut stdin = owner.stdin.take().unwrap();
    std::io::Write::write_all(&mut stdin, b"add table inet loopback { flags owner; }\n").unwrap();
    let listed = || host.run("nft", &["list", "ruleset"]);
    eventually("the table is there", || listed().contains("owner"));
    let before = listed();
    let failed = apply(&host, &denies_everything(), &[], state.path()).unwrap_err();
    assert!(matches!(&failed, NftError::Refused(message) if message.contains("Operation not permitted")), "{failed:?}");
    assert_eq!(listed(), before);
    assert_eq!(nft::stored(state.path()).unwrap(), None);
    drop(stdin);
    owner.wait().unwrap();
}

#[test]
fn a_damaged_store_is_named_and_the_next_policy_replaces_it() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    fs::write(state.path().join("firewall.policy"), "nonsense").unwrap();
    assert!(matches!(nft::stored(state.path()), Err(NftError::Damaged(_))));
    assert!(matches!(host.run_async(async || nft::restore(state.path()).await), Err(NftError::Damaged(_))));
    apply(&host, &denies_everything(), &[], state.path()).unwrap();
    assert_eq!(nft::stored(state.path()).unwrap(), Some((denies_everything(), Vec::new())));
}

#[test]
fn a_check_finds_the_kernel_able_and_changes_nothing() {
    let host = Namespace::new();
    host.run_async(nft::check).unwrap();
    assert_eq!(host.run("nft", &["list", "ruleset"]), "");
}

#[test]
fn ten_thousand_rules_apply() {
    let (host, state) = (Namespace::new(), tempdir().unwrap());
    let rules = (0..10_000).map(|number: u16| {
        let source = Ipv4Addr::from_bits(u32::from(number) << 8).to_string();
        let rule = to_port(1, Direction::Inbound, Action::Allow, TCP, number + 1);
        PolicyRule { rule: Id::new(number.into(), [1; 10]), source: addresses(&[&source]), ..rule }
    });
    let policy = policy(vec![(Layer::Workspace, rules.collect())]);
    let start = Instant::now();
    apply(&host, &policy, &coordinators(), state.path()).unwrap();
    println!("10,000 rules applied, read back and stored in {} ms", start.elapsed().as_millis());
    assert!(intact(&host, &policy, &coordinators()));
    assert_eq!(host.run_async(nft::hits).unwrap().len(), 10_000);
}
