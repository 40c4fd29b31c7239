//! What becomes of real packets.

use std::net::{TcpStream, UdpSocket};
use std::time::Instant;

use loopback_agent::nft;
use loopback_protocol::firewall::{Action, DefaultAction, Direction, Layer, Mode, Policy, PolicyRule, RateLimit};
use tempfile::tempdir;

use crate::apply;
use crate::net::{Fate, HOST_V4, HOST_V6, PEER_V4, PEER_V6, Pair, carries, udp};
use crate::policy::{TCP, UDP, addresses, denies_everything, policy, rule, to_port};

fn filtered(policy: &Policy) -> Pair {
    let pair = Pair::new();
    apply(&pair.host, policy, &[], tempdir().unwrap().path()).unwrap();
    pair
}

#[test]
fn inbound_packets_pass_are_dropped_or_are_answered_as_their_rule_says() {
    use Direction::Inbound;
    let rules = |protocol: u8, number: u8| {
        let at = |offset: u8, action, port| to_port(number + offset, Inbound, action, protocol, port);
        [at(0, Action::Allow, 80), at(1, Action::Deny, 81), at(2, Action::Reject, 82), at(3, Action::Deny, 80)]
    };
    let pair = filtered(&policy(vec![(Layer::Workspace, [rules(TCP, 10), rules(UDP, 20)].concat())]));
    let fates = [(80, Fate::Passed), (81, Fate::Dropped), (82, Fate::Rejected), (83, Fate::Dropped)];
    for (port, fate) in fates {
        let _listener = pair.host.listen(port);
        for (host, peer) in [(HOST_V4, PEER_V4), (HOST_V6, PEER_V6)] {
            assert_eq!(pair.peer.tcp(host, port), fate, "TCP to {host} {port}");
            assert_eq!(udp(&pair.peer.udp(peer, 0), &pair.host.udp(host, port)), fate, "UDP to {host} {port}");
        }
    }
}

#[test]
fn outbound_packets_pass_are_dropped_or_are_answered_as_their_rule_says() {
    use Direction::Outbound;
    let rules = [to_port(1, Outbound, Action::Allow, TCP, 80), to_port(2, Outbound, Action::Deny, TCP, 81), to_port(3, Outbound, Action::Reject, TCP, 82)];
    let pair = filtered(&Policy { default_outbound: DefaultAction::Reject, ..policy(vec![(Layer::Host, rules.to_vec())]) });
    for (port, fate) in [(80, Fate::Passed), (81, Fate::Dropped), (82, Fate::Rejected), (83, Fate::Rejected)] {
        let _listener = pair.peer.listen(port);
        for peer in [PEER_V4, PEER_V6] {
            assert_eq!(pair.host.tcp(peer, port), fate, "TCP to {peer} {port}");
        }
    }
}

#[test]
fn next_leaves_its_layer_and_only_its_layer() {
    let from = |source, rule| PolicyRule { source: addresses(source), ..rule };
    let ssh = |number, action| to_port(number, Direction::Inbound, action, TCP, 22);
    let guardrail = vec![from(&[PEER_V4], ssh(1, Action::Next)), ssh(2, Action::Deny)];
    let baseline = vec![ssh(4, Action::Deny)];
    let pair = filtered(&policy(vec![(Layer::Guardrail, guardrail), (Layer::Workspace, vec![ssh(3, Action::Allow)]), (Layer::Baseline, baseline)]));
    let _listener = pair.host.listen(22);
    assert_eq!(pair.peer.tcp(HOST_V4, 22), Fate::Passed);
    assert_eq!(pair.peer.tcp(HOST_V6, 22), Fate::Dropped);
}

#[test]
fn a_selector_without_addresses_matches_nothing_and_one_of_a_family_leaves_the_other_alone() {
    let from = |number, action, port, source: &[&str]| PolicyRule { source: addresses(source), ..to_port(number, Direction::Inbound, action, TCP, port) };
    let rules = vec![
        from(1, Action::Allow, 80, &[]),
        from(2, Action::Deny, 81, &[]),
        to_port(3, Direction::Inbound, Action::Allow, TCP, 81),
        from(4, Action::Deny, 82, &[PEER_V4]),
        to_port(5, Direction::Inbound, Action::Allow, TCP, 82),
        from(6, Action::Allow, 83, &[PEER_V4, PEER_V6]),
        // No packet has addresses of both families.
        PolicyRule { destination: addresses(&[HOST_V6]), ..from(7, Action::Allow, 84, &[PEER_V4]) },
    ];
    let pair = filtered(&policy(vec![(Layer::Workspace, rules)]));
    use Fate::{Dropped, Passed};
    for (port, v4, v6) in [(80, Dropped, Dropped), (81, Passed, Passed), (82, Dropped, Passed), (83, Passed, Passed), (84, Dropped, Dropped)] {
        let _listener = pair.host.listen(port);
        assert_eq!((pair.peer.tcp(HOST_V4, port), pair.peer.tcp(HOST_V6, port)), (v4, v6), "{port}");
    }
}

#[test]
fn ports_without_a_protocol_are_those_of_tcp_and_udp_and_icmp_types_are_their_familys() {
    let ports = PolicyRule { protocol: None, ..to_port(1, Direction::Inbound, Action::Allow, TCP, 80) };
    let echo_v4 = PolicyRule { icmp_types: vec![8], ..rule(2, Direction::Inbound, Action::Allow) };
    let pair = filtered(&policy(vec![(Layer::Workspace, vec![ports, echo_v4])]));
    let _listener = pair.host.listen(80);
    assert_eq!(pair.peer.tcp(HOST_V4, 80), Fate::Passed);
    assert_eq!(udp(&pair.peer.udp(PEER_V6, 0), &pair.host.udp(HOST_V6, 80)), Fate::Passed);
    assert!(pair.peer.ping(HOST_V4));
    assert!(!pair.peer.ping(HOST_V6));
}

#[test]
fn an_established_connection_survives_an_edit_that_forbids_new_ones() {
    let state = tempdir().unwrap();
    let pair = Pair::new();
    let allow = policy(vec![(Layer::Workspace, vec![to_port(1, Direction::Inbound, Action::Allow, TCP, 80)])]);
    apply(&pair.host, &allow, &[], state.path()).unwrap();
    let listener = pair.host.listen(80);
    let connections: Vec<(TcpStream, TcpStream)> =
        [HOST_V4, HOST_V6].map(|host| (pair.peer.connect(host, 80).unwrap(), listener.accept().unwrap().0)).into_iter().collect();
    apply(&pair.host, &policy(Vec::new()), &[], state.path()).unwrap();
    for (peer, host) in &connections {
        assert!(carries(peer, host) && carries(host, peer));
    }
    assert_eq!(pair.peer.tcp(HOST_V4, 80), Fate::Dropped);
}

/// Round trips, and words the coordinator says first.
fn link_holds(host: &UdpSocket, coordinator: &UdpSocket) {
    assert_eq!(udp(coordinator, host), Fate::Passed);
    for _ in 0..3 {
        assert_eq!(udp(host, coordinator), Fate::Passed);
        assert_eq!(udp(coordinator, host), Fate::Passed);
    }
}

#[test]
fn no_policy_cuts_the_agents_link_even_when_nothing_is_tracked() {
    let pair = Pair::new();
    let links = [(HOST_V4, PEER_V4), (HOST_V6, PEER_V6)].map(|(host, peer)| (pair.host.udp(host, 40_000), pair.peer.udp(peer, 8443)));
    let coordinators = links.each_ref().map(|(_, coordinator)| coordinator.local_addr().unwrap());
    let state = tempdir().unwrap();
    apply(&pair.host, &denies_everything(), &coordinators, state.path()).unwrap();
    links.iter().for_each(|(host, coordinator)| link_holds(host, coordinator));
    pair.host.run(
        "nft",
        &["add table inet untracked; add chain inet untracked in { type filter hook prerouting priority raw; }; add rule inet untracked in notrack"],
    );
    pair.host.run("nft", &["add chain inet untracked out { type filter hook output priority raw; }; add rule inet untracked out notrack"]);
    links.iter().for_each(|(host, coordinator)| link_holds(host, coordinator));
    // Nothing but the link is open.
    assert_eq!(udp(&pair.peer.udp(PEER_V4, 8444), &links[0].0), Fate::Dropped);
    let _listener = pair.host.listen(8443);
    assert_eq!(pair.peer.tcp(HOST_V4, 8443), Fate::Dropped);
}

#[test]
fn observing_counts_what_would_be_denied_and_denies_nothing() {
    let rules = vec![to_port(1, Direction::Inbound, Action::Deny, TCP, 81), to_port(2, Direction::Inbound, Action::Reject, TCP, 82)];
    let pair = filtered(&Policy { mode: Mode::Observe, ..policy(vec![(Layer::Guardrail, rules.clone())]) });
    for port in [81, 82, 83] {
        let _listener = pair.host.listen(port);
        assert_eq!(pair.peer.tcp(HOST_V4, port), Fate::Passed);
    }
    let hits = pair.host.run_async(nft::hits).unwrap();
    let counted: Vec<_> = hits.iter().map(|hits| (hits.rule, hits.packets)).collect();
    assert_eq!(counted, [(rules[0].rule, 1), (rules[1].rule, 1)]);
    assert!(hits.iter().all(|hits| hits.bytes >= 40));
}

#[test]
fn a_rate_limit_is_one_bucket_for_both_families() {
    let burst = 5;
    let limited = PolicyRule {
        source: addresses(&[PEER_V4, PEER_V6]),
        rate_limit: Some(RateLimit { per_second: 1, burst }),
        log: true,
        ..rule(1, Direction::Inbound, Action::Allow)
    };
    // Connections would be established after their first packet.
    let pair = Pair::new();
    pair.host.run(
        "nft",
        &["add table inet untracked; add chain inet untracked in { type filter hook prerouting priority raw; }; add rule inet untracked in notrack"],
    );
    let start = Instant::now();
    apply(&pair.host, &policy(vec![(Layer::Workspace, vec![limited])]), &[], tempdir().unwrap().path()).unwrap();
    for (host, peer) in [(HOST_V4, PEER_V4), (HOST_V6, PEER_V6)] {
        let (from, to) = (pair.peer.udp(peer, 0), pair.host.udp(host, 53));
        (0..100).for_each(|_| _ = from.send_to(b"x", to.local_addr().unwrap()).unwrap());
    }
    let hits = pair.host.run_async(nft::hits).unwrap();
    let refilled = start.elapsed().as_secs() + 1;
    let packets = hits[0].packets;
    assert!(packets >= burst.into() && packets <= u64::from(burst) + refilled, "{packets} packets in {refilled} s");
}
