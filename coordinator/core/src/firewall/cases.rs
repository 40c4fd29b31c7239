//! What the algebra promises, one sentence each: firewalls, packets, and what decides them.

use std::net::IpAddr;

use loopback_protocol::firewall::{Direction, Layer, Mode, Policy};
use loopback_protocol::id::Id;
use loopback_protocol::limits::{POLICY_RULES_MAX, RULE_RANGES_MAX};
use serde_json::{Value, json};

use super::rule::{DefaultVerdict, RuleSpec, Stage};
use super::{Addresses, CompileError, DecidedBy, Decision, Firewall, Packet, Placement, StoredRule, compile, evaluate, next_expiry, references};

const GUARDRAIL: Placement = Placement::Organization(Stage::Guardrail);
const BASELINE: Placement = Placement::Organization(Stage::Baseline);
const NOW_MS: u64 = 1_000;

/// A rule for inbound TCP with priority 10, unless the fields say something else.
fn rule(fields: Value) -> RuleSpec {
    let mut rule = json!({"priority": 10, "direction": "inbound", "protocol": "tcp"});
    rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    serde_json::from_value(rule).unwrap()
}

/// The firewall with this number, whose rules have the numbers that follow: rule 3 of firewall 2 is 23. By default it denies inbound and allows outbound.
fn firewall(number: u64, placement: Placement, rules: &[Value]) -> Firewall {
    let stored = |(position, fields): (usize, &Value)| StoredRule { id: Id::new(number * 10 + position as u64 + 1, [0; 10]), spec: rule(fields.clone()) };
    Firewall {
        id: Id::new(number, [0; 10]),
        slug: format!("firewall-{number}"),
        placement,
        default_inbound: DefaultVerdict::Deny,
        default_outbound: DefaultVerdict::Allow,
        rules: rules.iter().enumerate().map(stored).collect(),
    }
}

fn policy(firewalls: &[Firewall]) -> Policy {
    compile(firewalls, &Addresses::default(), Mode::Enforce, 1, NOW_MS).unwrap()
}

fn packet(source: &str, destination: &str, port: u16) -> Packet {
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    Packet {
        direction: Direction::Inbound,
        protocol: 6,
        source: address(source),
        destination: address(destination),
        source_port: None,
        port: Some(port),
        icmp: None,
    }
}

/// SSH from outside, over IPv4.
fn ssh() -> Packet {
    packet("198.51.100.1", "192.0.2.1", 22)
}

fn check(policy: &Policy, packet: &Packet, verdict: DefaultVerdict, decided_by: DecidedBy) {
    assert_eq!(evaluate(policy, &[], packet), Decision { verdict, decided_by }, "{packet:?}");
}

fn by(layer: Layer, number: u64) -> DecidedBy {
    DecidedBy::Rule { layer, rule: Id::new(number, [0; 10]) }
}

#[test]
fn a_guardrail_is_not_overridden() {
    let inner = [json!({"priority": 0, "action": "allow"})];
    let firewalls = [
        firewall(1, Placement::Workspace, &inner),
        firewall(2, Placement::Host, &inner),
        firewall(3, GUARDRAIL, &[json!({"action": "deny", "ports": ["22"]})]),
    ];
    check(&policy(&firewalls), &ssh(), DefaultVerdict::Deny, by(Layer::Guardrail, 31));
    check(&policy(&firewalls), &packet("198.51.100.1", "192.0.2.1", 80), DefaultVerdict::Allow, by(Layer::Workspace, 11));
}

#[test]
fn a_baseline_applies_unless_refined() {
    let baseline = firewall(1, BASELINE, &[json!({"priority": 0, "action": "reject"})]);
    check(&policy(std::slice::from_ref(&baseline)), &ssh(), DefaultVerdict::Reject, by(Layer::Baseline, 11));
    let refined = [baseline, firewall(2, Placement::Workspace, &[json!({"action": "allow", "ports": ["22"]})])];
    check(&policy(&refined), &ssh(), DefaultVerdict::Allow, by(Layer::Workspace, 21));
    check(&policy(&refined), &packet("198.51.100.1", "192.0.2.1", 23), DefaultVerdict::Reject, by(Layer::Baseline, 11));
}

#[test]
fn next_leaves_the_rest_of_its_layer_and_nothing_else() {
    let guardrail =
        firewall(1, GUARDRAIL, &[json!({"action": "next", "source": ["203.0.113.0/24"], "priority": 1}), json!({"action": "deny", "ports": ["22"]})]);
    let firewalls = [guardrail, firewall(2, Placement::Workspace, &[json!({"action": "allow", "ports": ["22"]})])];
    check(&policy(&firewalls), &packet("203.0.113.5", "192.0.2.1", 22), DefaultVerdict::Allow, by(Layer::Workspace, 21));
    check(&policy(&firewalls), &ssh(), DefaultVerdict::Deny, by(Layer::Guardrail, 12));
    check(&policy(&firewalls[..1]), &packet("203.0.113.5", "192.0.2.1", 22), DefaultVerdict::Deny, DecidedBy::Default);
}

#[test]
fn a_reference_without_addresses_matches_nothing() {
    for reference in ["host:acme/prod/web/silent", "host:acme/prod/web/gone", "host:acme/prod/web/odd"] {
        let mut addresses = Addresses::default();
        addresses.insert("host:acme/prod/web/silent".to_owned(), []);
        addresses.insert("host:acme/prod/web/odd".to_owned(), ["0.0.0.0", "::", "127.0.0.1", "224.0.0.1"].map(|address| address.parse().unwrap()));
        let firewalls = [firewall(1, Placement::Workspace, &[json!({"action": "allow", "source": [reference]})])];
        let policy = compile(&firewalls, &addresses, Mode::Enforce, 1, NOW_MS).unwrap();
        assert_eq!(policy.layers[0].rules[0].source, Some(Vec::new()));
        check(&policy, &ssh(), DefaultVerdict::Deny, DecidedBy::Default);
    }
}

#[test]
fn a_reference_follows_the_addresses_in_any_order() {
    let firewalls = [firewall(1, Placement::Workspace, &[json!({"action": "allow", "source": ["workspace:acme/prod/web", "198.51.100.1"]})])];
    let compiled = |reported: [&str; 3]| {
        let mut addresses = Addresses::default();
        addresses.insert("workspace:acme/prod/web".to_owned(), reported.map(|address| address.parse().unwrap()));
        compile(&firewalls, &addresses, Mode::Enforce, 1, NOW_MS).unwrap()
    };
    let one = compiled(["198.51.100.1", "2001:db8::1", "203.0.113.1"]);
    assert_eq!(one.digest(), compiled(["203.0.113.1", "::ffff:198.51.100.1", "2001:db8::1"]).digest());
    check(&one, &packet("2001:db8::1", "2001:db8::2", 1), DefaultVerdict::Allow, by(Layer::Workspace, 11));
    let rules: Vec<_> = firewalls[0].rules.iter().map(|rule| &rule.spec).collect();
    assert_eq!(references(rules).collect::<Vec<_>>(), ["workspace:acme/prod/web"]);
}

#[test]
fn the_default_is_the_strictest_of_all_firewalls() {
    let all = [DefaultVerdict::Allow, DefaultVerdict::Reject, DefaultVerdict::Deny];
    for (one, default_inbound) in all.into_iter().enumerate() {
        for (other, default_outbound) in all.into_iter().enumerate() {
            let first = Firewall { default_inbound, default_outbound, ..firewall(1, GUARDRAIL, &[]) };
            let second = Firewall { default_inbound: default_outbound, default_outbound: default_inbound, ..firewall(2, Placement::Host, &[]) };
            let policy = policy(&[first, second]);
            check(&policy, &ssh(), all[one.max(other)], DecidedBy::Default);
            check(&policy, &Packet { direction: Direction::Outbound, ..ssh() }, all[one.max(other)], DecidedBy::Default);
        }
    }
}

#[test]
fn a_rule_added_never_flips_the_default() {
    let empty = Firewall { default_inbound: DefaultVerdict::Allow, ..firewall(1, Placement::Workspace, &[]) };
    for action in ["allow", "deny", "reject", "next"] {
        let ruled = Firewall { default_inbound: DefaultVerdict::Allow, ..firewall(1, Placement::Workspace, &[json!({"action": action, "ports": ["443"]})]) };
        for policy in [policy(std::slice::from_ref(&empty)), policy(&[ruled])] {
            check(&policy, &ssh(), DefaultVerdict::Allow, DecidedBy::Default);
        }
    }
}

#[test]
fn a_selector_of_one_family_leaves_the_other_alone() {
    let everything = firewall(1, Placement::Workspace, &[json!({"action": "allow", "source": ["0.0.0.0/0"]})]);
    check(&policy(std::slice::from_ref(&everything)), &ssh(), DefaultVerdict::Allow, by(Layer::Workspace, 11));
    check(&policy(&[everything]), &packet("2001:db8::1", "2001:db8::2", 22), DefaultVerdict::Deny, DecidedBy::Default);
    let both = firewall(1, Placement::Workspace, &[json!({"action": "allow"})]);
    check(&policy(&[both]), &packet("2001:db8::1", "2001:db8::2", 22), DefaultVerdict::Allow, by(Layer::Workspace, 11));
}

#[test]
fn a_tie_goes_to_the_stricter_then_to_the_older() {
    let ranked = |actions: [&str; 4]| firewall(1, Placement::Workspace, &actions.map(|action| json!({"action": action})));
    let order = |firewalls: &[Firewall]| {
        let rules = policy(firewalls).layers.remove(0).rules;
        rules.into_iter().map(|rule| rule.rule.unix_ms()).collect::<Vec<_>>()
    };
    assert_eq!(order(&[ranked(["allow", "next", "reject", "deny"])]), [14, 13, 12, 11]);
    let older = firewall(1, Placement::Workspace, &[json!({"action": "deny"}), json!({"action": "deny", "priority": 11}), json!({"action": "allow"})]);
    let newer = firewall(2, Placement::Workspace, &[json!({"action": "deny", "priority": 9}), json!({"action": "deny"}), json!({"action": "allow"})]);
    assert_eq!(order(&[newer.clone(), older.clone()]), [21, 11, 22, 13, 23, 12]);
    assert_eq!(order(&[older, newer]), [21, 11, 22, 13, 23, 12]);
}

#[test]
fn disabled_and_expired_rules_take_no_part_and_the_next_expiry_is_known() {
    let rules = [
        json!({"action": "allow", "enabled": false, "expires_at_ms": 1_001}),
        json!({"action": "allow", "expires_at_ms": 1_000}),
        json!({"action": "allow", "ports": ["80"], "expires_at_ms": 3_000}),
        json!({"action": "allow", "ports": ["80"], "expires_at_ms": 2_000}),
    ];
    let firewalls = [firewall(1, Placement::Workspace, &rules)];
    check(&policy(&firewalls), &ssh(), DefaultVerdict::Deny, DecidedBy::Default);
    assert_eq!(policy(&firewalls).rule_count(), 2);
    let expiries = [1_000, 2_000, 3_000].map(|now_ms| next_expiry(&firewalls, now_ms));
    assert_eq!(expiries, [Some(2_000), Some(3_000), None]);
}

#[test]
fn without_a_firewall_nothing_is_filtered_and_an_empty_one_filters() {
    check(&policy(&[]), &ssh(), DefaultVerdict::Allow, DecidedBy::Unfiltered);
    assert_eq!(policy(&[]), Policy::unfiltered(1));
    check(&policy(&[firewall(1, Placement::Host, &[])]), &ssh(), DefaultVerdict::Deny, DecidedBy::Default);
}

#[test]
fn no_policy_cuts_the_system_layer() {
    let sealed = Firewall { default_outbound: DefaultVerdict::Deny, ..firewall(1, GUARDRAIL, &[json!({"action": "deny", "protocol": "any", "priority": 0})]) };
    let policy = policy(&[sealed]);
    let decided = |packet: Packet| evaluate(&policy, &["192.0.2.9:8443".parse().unwrap()], &packet).decided_by;
    let link = Packet { direction: Direction::Outbound, protocol: 17, ..packet("192.0.2.1", "192.0.2.9", 8_443) };
    assert_eq!(decided(link), DecidedBy::System("link"));
    assert_eq!(decided(Packet { protocol: 6, ..link }), DecidedBy::Default);
    assert_eq!(decided(Packet { port: Some(53), ..link }), DecidedBy::Default);
    let answer = Packet { source_port: Some(8_443), ..packet("192.0.2.9", "192.0.2.1", 40_000) };
    assert_eq!(decided(Packet { protocol: 17, ..answer }), DecidedBy::System("link"));
    assert_eq!(decided(Packet { protocol: 17, source_port: None, ..answer }), by(Layer::Guardrail, 11));
    assert_eq!(decided(packet("127.0.0.1", "127.0.0.2", 80)), DecidedBy::System("loopback"));
    assert_eq!(decided(packet("192.0.2.1", "127.0.0.1", 80)), by(Layer::Guardrail, 11));
}

#[test]
fn what_a_host_cannot_take_is_an_error() {
    let compiled = |firewalls: &[Firewall], addresses: &Addresses| compile(firewalls, addresses, Mode::Enforce, 1, NOW_MS).unwrap_err();
    let many = firewall(1, Placement::Host, &vec![json!({"action": "allow"}); POLICY_RULES_MAX + 1]);
    assert_eq!(compiled(&[many], &Addresses::default()), CompileError::TooManyRules { count: POLICY_RULES_MAX + 1 });

    let mut addresses = Addresses::default();
    let reported = |count: usize| (1..=u128::try_from(count).unwrap()).map(|number| IpAddr::from(std::net::Ipv6Addr::from_bits(0x2001 << 112 | number)));
    let referring = json!({"action": "allow", "source": ["workspace:acme/prod/web"]});
    addresses.insert("workspace:acme/prod/web".to_owned(), reported(RULE_RANGES_MAX + 1));
    let wide = firewall(1, Placement::Host, std::slice::from_ref(&referring));
    assert_eq!(compiled(&[wide], &addresses), CompileError::TooManyAddresses { rule: Id::new(11, [0; 10]), count: RULE_RANGES_MAX + 1 });

    addresses.insert("workspace:acme/prod/web".to_owned(), reported(RULE_RANGES_MAX));
    let heavy = firewall(1, Placement::Host, &vec![referring; 20]);
    assert!(matches!(compiled(&[heavy], &addresses), CompileError::TooLarge { .. }));

    let broken = firewall(1, Placement::Host, &[json!({"action": "allow", "source": ["192.0.2.1/24"]})]);
    assert!(compiled(&[broken], &addresses).to_string().contains("the network is `192.0.2.0/24`"));
}
