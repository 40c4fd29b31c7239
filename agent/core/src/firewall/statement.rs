//! The few nftables statements our rules are made of, each in the form in which `nft` lists it again.

use std::borrow::Cow;

use nftables::expr::{CT, Expression, Meta, MetaKey, NamedExpression, Payload, PayloadField, SetItem};
use nftables::stmt::{Accept, Counter, Drop, JumpTarget, Limit, Log, Match, Operator, Reject, RejectType, Return, Statement};
use nftables::types::RejectCode;

/// The bucket of log lines behind each logging rule: lines per second.
const LOG_LINES_PER_SECOND: u32 = 10;
/// Lines above the rate that are still written.
const LOG_BURST_LINES: u32 = 5;

pub(super) const ACCEPT: Statement<'static> = Statement::Accept(None::<Accept>);
pub(super) const DROP: Statement<'static> = Statement::Drop(None::<Drop>);
pub(super) const RETURN: Statement<'static> = Statement::Return(None::<Return>);
pub(super) const COUNT: Statement<'static> = Statement::Counter(Counter::Anonymous(None));

pub(super) fn jump(target: &str) -> Statement<'static> {
    Statement::Jump(JumpTarget { target: Cow::Owned(target.to_owned()) })
}

pub(super) fn goto(target: &str) -> Statement<'static> {
    Statement::Goto(JumpTarget { target: Cow::Owned(target.to_owned()) })
}

/// Answers TCP with a reset; the packet must be TCP.
pub(super) fn reset() -> Statement<'static> {
    Statement::Reject(Some(Reject::new(Some(RejectType::TCPReset), None)))
}

/// Answers with an ICMP or ICMPv6 error, whichever the packet's family has.
pub(super) fn prohibited() -> Statement<'static> {
    Statement::Reject(Some(Reject::new(Some(RejectType::ICMPX), Some(RejectCode::AdminProhibited))))
}

/// Goes on while the bucket has tokens, or with `over` once it is empty.
pub(super) fn limit(per_second: u32, burst: u32, over: bool) -> Statement<'static> {
    // The kernel reads a burst of 0 as its default of 5; one packet is the least it can mean.
    let burst = Some(burst.max(1));
    Statement::Limit(Limit { rate: per_second, rate_unit: None, per: Some("second".into()), burst, burst_unit: None, inv: over.then_some(true) })
}

/// At most so many log lines as the logging bucket allows; the packet goes on to the next rule.
pub(super) fn log(origin: &str) -> [Statement<'static>; 3] {
    let line = Log { prefix: Some(format!("loopback:{origin} ").into()), group: None, snaplen: None, queue_threshold: None, level: None, flags: None };
    [limit(LOG_LINES_PER_SECOND, LOG_BURST_LINES, false), COUNT, Statement::Log(Some(line))]
}

pub(super) fn equal(left: Expression<'static>, right: Expression<'static>) -> Statement<'static> {
    Statement::Match(Match { left, right, op: Operator::EQ })
}

/// A field of a packet's header.
pub(super) const fn field(protocol: &'static str, field: &'static str) -> Expression<'static> {
    Expression::Named(NamedExpression::Payload(Payload::PayloadField(PayloadField { protocol: Cow::Borrowed(protocol), field: Cow::Borrowed(field) })))
}

pub(super) const fn meta(key: MetaKey) -> Expression<'static> {
    Expression::Named(NamedExpression::Meta(Meta { key }))
}

pub(super) const fn connection_state() -> Expression<'static> {
    Expression::Named(NamedExpression::CT(CT { key: Cow::Borrowed("state"), family: None, dir: None }))
}

/// One value as itself, several as an anonymous set.
pub(super) fn any_of(mut values: Vec<Expression<'static>>) -> Expression<'static> {
    match values.pop() {
        Some(value) if values.is_empty() => value,
        last => Expression::Named(NamedExpression::Set(values.into_iter().chain(last).map(SetItem::Element).collect())),
    }
}

pub(super) fn numbers(values: impl IntoIterator<Item = u32>) -> Expression<'static> {
    any_of(values.into_iter().map(Expression::Number).collect())
}
