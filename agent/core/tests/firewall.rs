//! What policies become, against golden files in `nft`'s own syntax. That the kernel takes the text as the same rules is the daemon's test.

#![expect(clippy::unwrap_used, reason = "a test may panic, also in the functions its cases share")]

use std::net::SocketAddr;

use loopback_agent_core::firewall::render;
use loopback_protocol::firewall::{Action, AddressRange, DefaultAction, Direction, Layer, Mode, Policy, PolicyLayer, PolicyRule, PortRange, RateLimit};
use loopback_protocol::id::Id;

fn rule(number: u8, direction: Direction, action: Action) -> PolicyRule {
    PolicyRule {
        rule: Id::new(0, [number; 10]),
        direction,
        action,
        protocol: None,
        source: None,
        destination: None,
        ports: Vec::new(),
        icmp_types: Vec::new(),
        log: false,
        rate_limit: None,
    }
}

fn ranges(ranges: &[(&str, &str)]) -> Option<Vec<AddressRange>> {
    Some(ranges.iter().map(|(first, last)| AddressRange::new(first.parse().unwrap(), last.parse().unwrap()).unwrap()).collect())
}

fn ports(ports: &[(u16, u16)]) -> Vec<PortRange> {
    ports.iter().map(|(first, last)| PortRange::new(*first, *last).unwrap()).collect()
}

fn guardrail() -> Vec<PolicyRule> {
    use Direction::{Inbound, Outbound};
    let lan =
        ranges(&[("10.1.0.0", "10.1.255.255"), ("10.0.0.0", "10.0.255.255"), ("10.0.3.0", "10.0.4.0"), ("fd00::1", "fd00::1"), ("192.0.2.5", "192.0.2.9")]);
    vec![
        PolicyRule { source: lan.clone(), protocol: Some(6), ports: ports(&[(22, 22)]), ..rule(1, Inbound, Action::Next) },
        PolicyRule { protocol: Some(6), ports: ports(&[(22, 22)]), log: true, ..rule(2, Inbound, Action::Reject) },
        PolicyRule { ports: ports(&[(8080, 8090), (80, 80), (81, 81), (443, 443)]), source: ranges(&[]), ..rule(3, Inbound, Action::Allow) },
        PolicyRule { ports: ports(&[(8080, 8090), (80, 80), (81, 81), (443, 443)]), ..rule(4, Inbound, Action::Allow) },
        PolicyRule { icmp_types: vec![13, 8, 8], source: lan.clone(), ..rule(5, Inbound, Action::Allow) },
        PolicyRule { icmp_types: vec![128], protocol: Some(58), ..rule(6, Inbound, Action::Allow) },
        PolicyRule { source: lan, rate_limit: Some(RateLimit { per_second: 5, burst: 0 }), log: true, ..rule(7, Inbound, Action::Deny) },
        PolicyRule { destination: ranges(&[("0.0.0.0", "255.255.255.255")]), protocol: Some(17), ports: ports(&[(53, 53)]), ..rule(8, Outbound, Action::Deny) },
        PolicyRule { source: ranges(&[("10.0.0.1", "10.0.0.1")]), destination: ranges(&[("fd00::1", "fd00::1")]), ..rule(9, Outbound, Action::Deny) },
        PolicyRule { protocol: Some(132), ports: ports(&[(1, 1)]), ..rule(10, Outbound, Action::Deny) },
        PolicyRule { protocol: Some(47), rate_limit: Some(RateLimit { per_second: 9, burst: 3 }), ..rule(11, Outbound, Action::Next) },
    ]
}

fn policy(mode: Mode) -> Policy {
    let baseline = PolicyLayer { layer: Layer::Baseline, rules: vec![rule(12, Direction::Outbound, Action::Allow)] };
    Policy {
        generation: 7,
        mode,
        layers: vec![PolicyLayer { layer: Layer::Guardrail, rules: guardrail() }, PolicyLayer { layer: Layer::Host, rules: Vec::new() }, baseline],
        default_inbound: DefaultAction::Deny,
        default_outbound: DefaultAction::Reject,
    }
}

fn check(policy: &Policy, expected: &str) {
    let coordinators: [SocketAddr; 4] =
        ["[2001:db8::1]:8443", "192.0.2.1:8443", "[::ffff:192.0.2.1]:8443", "192.0.2.2:443"].map(|address| address.parse().unwrap());
    let text = render(policy, &coordinators).to_text();
    assert!(text == expected, "not the golden text, but:\n{text}");
}

#[test]
fn an_enforced_policy_is_its_golden_text() {
    check(&policy(Mode::Enforce), include_str!("firewall/enforce.nft"));
}

#[test]
fn an_observed_policy_accepts_and_logs_what_it_would_deny() {
    check(&policy(Mode::Observe), include_str!("firewall/observe.nft"));
}

#[test]
fn a_policy_that_is_off_is_nothing() {
    check(&policy(Mode::Off), "");
}

#[test]
fn every_transaction_begins_by_removing_our_table_and_names_no_other() {
    for mode in [Mode::Off, Mode::Observe, Mode::Enforce] {
        let transaction = serde_json::to_value(render(&policy(mode), &[]).transaction()).unwrap();
        let commands = transaction["nftables"].as_array().unwrap();
        let table = serde_json::json!({"table": {"family": "inet", "name": "loopback"}});
        assert_eq!((&commands[0]["add"], &commands[1]["delete"]), (&table, &table));
        let objects = commands[2..].iter().map(|command| command["add"].as_object().unwrap());
        for (kind, object) in objects.flatten() {
            let table = if kind == "table" { &object["name"] } else { &object["table"] };
            assert_eq!((table, &object["family"]), (&"loopback".into(), &"inet".into()));
        }
        assert_eq!(commands.len() == 2, mode == Mode::Off);
    }
}
