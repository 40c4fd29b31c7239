//! A policy as our table: what is fixed first, then established connections, the layers in order, the default last. First match decides.
//!
//! The fixed part comes before everything a policy says, so that no policy cuts the agent from its coordinators. It keeps no state: the link
//! holds even when connection tracking forgets it.

use std::net::{IpAddr, SocketAddr};

use loopback_protocol::firewall::{Action, DefaultAction, Direction, Layer, Mode, Policy, PolicyRule};
use nftables::expr::{Expression, MetaKey, NamedExpression, Prefix};
use nftables::stmt::Statement;
use nftables::types::NfHook;

use super::ruleset::{Chain, Ruleset};
use super::selector::variants;
use super::statement::{ACCEPT, COUNT, DROP, RETURN, connection_state, equal, field, goto, jump, limit, log, meta, numbers, prohibited, reset};

/// Answers and drops; every rejecting rule goes here.
const REFUSE_CHAIN: &str = "refuse";
/// No hook leads here; its one rule's comment says whose policy the table is.
const ABOUT_CHAIN: &str = "about";

const CONNECTION_ESTABLISHED: u32 = 2;
const CONNECTION_RELATED: u32 = 4;
/// Multicast listener messages (without them snooping switches lose the neighbours' groups), router and neighbour discovery.
const NEIGHBOUR_DISCOVERY_TYPES: [u32; 8] = [130, 131, 132, 133, 134, 135, 136, 143];

/// What the kernel shall hold for a policy, with the link to these coordinators kept open. Nothing at all in mode off.
#[must_use]
pub fn render(policy: &Policy, coordinators: &[SocketAddr]) -> Ruleset {
    let mut ruleset = Ruleset::default();
    if policy.mode == Mode::Off {
        return ruleset;
    }
    ruleset.chains.extend([about_chain(policy), refuse_chain()]);
    for direction in [Direction::Inbound, Direction::Outbound] {
        let mut base = base_chain(direction, coordinators);
        for layer in &policy.layers {
            let rules: Vec<_> = layer.rules.iter().filter(|rule| rule.direction == direction).collect();
            if !rules.is_empty() {
                let chains = layer_chains(layer.layer, direction, &rules, policy.mode);
                let name = layer_chain_name(layer.layer, direction);
                base.rule(format!("layer:{}", layer.layer.name()), [COUNT, jump(&name)]);
                ruleset.chains.extend(chains);
            }
        }
        default_rules(&mut base, direction, policy);
        ruleset.chains.push(base);
    }
    ruleset
}

fn about_chain(policy: &Policy) -> Chain {
    let digest = policy.digest().0.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let mut chain = Chain::new(ABOUT_CHAIN.to_owned(), None);
    chain.rule(format!("generation {} digest {digest}", policy.generation), [RETURN]);
    chain
}

fn refuse_chain() -> Chain {
    let mut chain = Chain::new(REFUSE_CHAIN.to_owned(), None);
    chain.rule("system:refuse-tcp", [equal(meta(MetaKey::L4proto), Expression::Number(6)), COUNT, reset()]);
    chain.rule("system:refuse", [COUNT, prohibited()]);
    chain
}

fn base_chain(direction: Direction, coordinators: &[SocketAddr]) -> Chain {
    let (name, hook, interface) = match direction {
        Direction::Inbound => ("input", NfHook::Input, MetaKey::Iifname),
        Direction::Outbound => ("output", NfHook::Output, MetaKey::Oifname),
    };
    let mut chain = Chain::new(name.to_owned(), Some(hook));
    let mut system = |what: &str, matches: Vec<Statement<'static>>| chain.rule(format!("system:{what}"), matches.into_iter().chain([COUNT, ACCEPT]));
    system("loopback", vec![equal(meta(interface), Expression::String("lo".into()))]);
    for matches in link(direction, coordinators) {
        system("link", matches);
    }
    system("neighbour-discovery", vec![equal(field("icmpv6", "type"), numbers(NEIGHBOUR_DISCOVERY_TYPES))]);
    system("path-mtu", vec![equal(field("icmp", "type"), Expression::Number(3)), equal(field("icmp", "code"), Expression::Number(4))]);
    system("path-mtu", vec![equal(field("icmpv6", "type"), Expression::Number(2))]);
    for matches in dhcp(direction) {
        system("dhcp", matches);
    }
    // Packets that tracking calls invalid or has no entry for are judged by the rules like new ones: what is not tracked is not therefore forbidden.
    system("established", vec![equal(connection_state(), numbers([CONNECTION_ESTABLISHED, CONNECTION_RELATED]))]);
    chain
}

/// The agent's own datagrams to its coordinators, and theirs back.
fn link(direction: Direction, coordinators: &[SocketAddr]) -> Vec<Vec<Statement<'static>>> {
    let (address_field, port_field) = match direction {
        Direction::Inbound => ("saddr", "sport"),
        Direction::Outbound => ("daddr", "dport"),
    };
    let mut coordinators: Vec<_> = coordinators.iter().map(|coordinator| (coordinator.ip().to_canonical(), coordinator.port())).collect();
    coordinators.sort_unstable();
    coordinators.dedup();
    let matches = |(address, port): (IpAddr, u16)| {
        let header = if address.is_ipv4() { "ip" } else { "ip6" };
        let address = Expression::String(address.to_string().into());
        vec![equal(field(header, address_field), address), equal(field("udp", port_field), Expression::Number(port.into()))]
    };
    coordinators.into_iter().map(matches).collect()
}

/// The host as a client: DHCPv4 by its two ports, DHCPv6 by its port on the link (servers answer from any).
fn dhcp(direction: Direction) -> [Vec<Statement<'static>>; 2] {
    let port = |name, number| equal(field("udp", name), Expression::Number(number));
    let ipv4 = equal(meta(MetaKey::Nfproto), Expression::Number(2));
    let link_local = Expression::Named(NamedExpression::Prefix(Prefix { addr: Box::new(Expression::String("fe80::".into())), len: 10 }));
    let link_local = equal(field("ip6", "saddr"), link_local);
    match direction {
        Direction::Inbound => [vec![ipv4, port("sport", 67), port("dport", 68)], vec![link_local, port("dport", 546)]],
        Direction::Outbound => [vec![ipv4, port("sport", 68), port("dport", 67)], vec![link_local, port("dport", 547)]],
    }
}

fn layer_chain_name(layer: Layer, direction: Direction) -> String {
    let suffix = match direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
    };
    format!("{}_{suffix}", layer.name())
}

/// The chain of a layer, after the chains of its rate-limited rules.
fn layer_chains(layer: Layer, direction: Direction, rules: &[&PolicyRule], mode: Mode) -> Vec<Chain> {
    let mut chains = Vec::new();
    let mut chain = Chain::new(layer_chain_name(layer, direction), None);
    for (position, rule) in rules.iter().enumerate() {
        let steps = steps(&format!("{}:{}", layer.name(), rule.rule), rule.rule.to_string(), rule.log, verdict(rule.action, mode));
        let variants = variants(rule);
        match rule.rate_limit {
            // One bucket for all variants, in a chain of the rule's own. A `next` has to leave the layer's chain itself: one bucket per variant.
            Some(rate) if rule.action != Action::Next && !variants.is_empty() => {
                let mut own = Chain::new(format!("{}_{position}", chain.name), None);
                own.rule(format!("over:{}", rule.rule), [limit(rate.per_second, rate.burst, true), COUNT, RETURN]);
                steps.into_iter().for_each(|(comment, statements)| own.rule(comment, statements));
                for matches in variants {
                    chain.rule(format!("limit:{}", rule.rule), matches.into_iter().chain([COUNT, jump(&own.name)]));
                }
                chains.push(own);
            }
            rate => {
                let rate = rate.map(|rate| limit(rate.per_second, rate.burst, false));
                for matches in variants {
                    for (comment, statements) in &steps {
                        chain.rule(comment.clone(), matches.iter().chain(&rate).chain(statements).cloned());
                    }
                }
            }
        }
    }
    chains.push(chain);
    chains
}

/// What the mode makes of an action: the final statement, and whether the packet would have been denied but only is observed.
fn verdict(action: Action, mode: Mode) -> (Statement<'static>, bool) {
    match (action, mode) {
        (Action::Next, _) => (RETURN, false),
        (Action::Allow, _) => (ACCEPT, false),
        (Action::Deny | Action::Reject, Mode::Observe) => (ACCEPT, true),
        (Action::Deny, _) => (DROP, false),
        (Action::Reject, _) => (goto(REFUSE_CHAIN), false),
    }
}

/// What happens to a matching packet, a rule each with its comment: the log line first, apart, so that its limit never changes the verdict.
fn steps(origin: &str, comment: String, logged: bool, (last, observed): (Statement<'static>, bool)) -> Vec<(String, Vec<Statement<'static>>)> {
    let line = (logged || observed).then(|| (format!("log:{comment}"), log(origin).to_vec()));
    line.into_iter().chain([(comment, vec![COUNT, last])]).collect()
}

fn default_rules(chain: &mut Chain, direction: Direction, policy: &Policy) {
    let (name, action) = match direction {
        Direction::Inbound => ("inbound", policy.default_inbound),
        Direction::Outbound => ("outbound", policy.default_outbound),
    };
    let action = match action {
        DefaultAction::Allow => Action::Allow,
        DefaultAction::Deny => Action::Deny,
        DefaultAction::Reject => Action::Reject,
    };
    let origin = format!("default:{name}");
    for (comment, statements) in steps(&origin, origin.clone(), false, verdict(action, policy.mode)) {
        chain.rule(comment, statements);
    }
}
