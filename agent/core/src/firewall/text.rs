//! A ruleset in `nft`'s own syntax, for people; `nft -f` reads it too. The kernel gets its rules another way.

use nftables::expr::{Expression, NamedExpression, Payload, SetItem};
use nftables::stmt::{Limit, Match, RejectType, Statement};
use serde::Serialize;

use super::ruleset::{Chain, PRIORITY, Rule, Ruleset, TABLE};

/// The table with one line per rule; empty if there is to be none.
pub(super) fn write(ruleset: &Ruleset) -> String {
    if ruleset.chains.is_empty() {
        return String::new();
    }
    let chains: Vec<_> = ruleset.chains.iter().map(chain).collect();
    format!("table inet {TABLE} {{\n{}}}\n", chains.join("\n"))
}

fn chain(chain: &Chain) -> String {
    let hook = chain.hook.map(|hook| format!("\t\ttype filter hook {} priority {PRIORITY}; policy accept;\n", name(&hook)));
    let rules = chain.rules.iter().map(|rule| format!("\t\t{}\n", line(rule)));
    let body: String = hook.into_iter().chain(rules).collect();
    format!("\tchain {} {{\n{body}\t}}\n", chain.name)
}

fn line(rule: &Rule) -> String {
    let mut words: Vec<_> = rule.statements.iter().map(statement).collect();
    words.push(format!("comment \"{}\"", rule.comment));
    words.join(" ")
}

fn statement(statement: &Statement<'_>) -> String {
    match statement {
        Statement::Match(Match { left, right, .. }) => {
            let left = expression("", left);
            format!("{left} {}", expression(&left, right))
        }
        Statement::Counter(_) => "counter".to_owned(),
        Statement::Limit(Limit { rate, burst, inv, .. }) => {
            let over = if inv == &Some(true) { "over " } else { "" };
            format!("limit rate {over}{rate}/second burst {} packets", burst.unwrap_or_default())
        }
        Statement::Log(Some(log)) => format!("log prefix \"{}\"", log.prefix.as_deref().unwrap_or_default()),
        Statement::Jump(jump) => format!("jump {}", jump.target),
        Statement::Goto(goto) => format!("goto {}", goto.target),
        Statement::Accept(_) => "accept".to_owned(),
        Statement::Drop(_) => "drop".to_owned(),
        Statement::Return(_) => "return".to_owned(),
        Statement::Reject(Some(reject)) if reject._type == Some(RejectType::TCPReset) => "reject with tcp reset".to_owned(),
        Statement::Reject(_) => "reject with icmpx admin-prohibited".to_owned(),
        other => raw(other),
    }
}

/// An expression that is compared with `left`.
fn expression(left: &str, value: &Expression<'_>) -> String {
    match value {
        Expression::String(text) => text.to_string(),
        Expression::Number(number) => symbol(left, *number).map_or_else(|| number.to_string(), str::to_owned),
        Expression::Range(range) => range.range.each_ref().map(|end| expression(left, end)).join("-"),
        Expression::Named(NamedExpression::Set(items)) => {
            let items = items.iter().map(|item| if let SetItem::Element(element) = item { expression(left, element) } else { raw(item) });
            format!("{{ {} }}", items.collect::<Vec<_>>().join(", "))
        }
        Expression::Named(NamedExpression::Prefix(prefix)) => format!("{}/{}", expression(left, &prefix.addr), prefix.len),
        Expression::Named(NamedExpression::Payload(Payload::PayloadField(field))) => format!("{} {}", field.protocol, field.field),
        Expression::Named(NamedExpression::Meta(meta)) => format!("meta {}", name(&meta.key)),
        Expression::Named(NamedExpression::CT(ct)) => format!("ct {}", ct.key),
        other => raw(other),
    }
}

/// The names of the numbers people would have to look up.
fn symbol(left: &str, number: u32) -> Option<&'static str> {
    match (left, number) {
        ("ct state", 2) => Some("established"),
        ("ct state", 4) => Some("related"),
        ("meta nfproto", 2) => Some("ipv4"),
        ("meta l4proto", 1) => Some("icmp"),
        ("meta l4proto", 6) => Some("tcp"),
        ("meta l4proto", 17) => Some("udp"),
        ("meta l4proto", 58) => Some("ipv6-icmp"),
        _ => None,
    }
}

/// The word a value is in `nft`'s JSON.
fn name(value: &impl Serialize) -> String {
    raw(value).trim_matches('"').to_owned()
}

fn raw(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
