//! Whether rules may be kept: each fault named by the field it stands in, all of them at once.
//!
//! It knows no time, so a rule whose expiry lies in the past is kept: a list that was read, edited and written back must not be refused for what
//! expired meanwhile. Entries that repeat or overlap are fine.

use loopback_protocol::limits::{RULE_ICMP_TYPES_MAX, RULE_PORTS_MAX};

use super::rule::RuleSpec;
use super::selector::Selector;
use super::transport::{ICMP, ICMPV6, TCP, UDP, read_ports, read_protocol};
use crate::limits::{DESCRIPTION_MAX_CHARS, FIELD_FAULTS_MAX, FIREWALL_RULES_MAX, SELECTOR_ENTRIES_MAX};

/// A field and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// A JSON pointer into the list's document: `/rules/3/ports/0`.
    pub pointer: String,
    /// A sentence that says what to write instead.
    pub reason: String,
}

/// Checks all rules of a firewall. `known` tells whether a reference (`host:…`, `workspace:…`) names something the writer may see.
///
/// # Errors
/// Every fault, up to [`FIELD_FAULTS_MAX`]; nothing may be kept.
pub fn validate(rules: &[RuleSpec], known: &dyn Fn(&str) -> bool) -> Result<(), Vec<FieldFault>> {
    let mut faults = Faults::default();
    faults.limit("/rules", "rules", rules.len(), FIREWALL_RULES_MAX);
    for (position, rule) in rules.iter().enumerate().take(FIREWALL_RULES_MAX) {
        if faults.is_full() {
            break;
        }
        check_rule(&format!("/rules/{position}"), rule, known, &mut faults);
    }
    if faults.0.is_empty() { Ok(()) } else { Err(faults.0) }
}

#[derive(Default)]
struct Faults(Vec<FieldFault>);

impl Faults {
    fn is_full(&self) -> bool {
        self.0.len() >= FIELD_FAULTS_MAX
    }

    fn add(&mut self, pointer: impl Into<String>, reason: impl ToString) {
        if !self.is_full() {
            self.0.push(FieldFault { pointer: pointer.into(), reason: reason.to_string() });
        }
    }

    fn limit(&mut self, pointer: impl Into<String>, what: &str, count: usize, maximum: usize) {
        if count > maximum {
            self.add(pointer, format!("{count} {what} are more than the {maximum} allowed: split them up"));
        }
    }
}

fn check_rule(at: &str, rule: &RuleSpec, known: &dyn Fn(&str) -> bool, faults: &mut Faults) {
    check_transport(at, rule, faults);
    for (field, selector) in [("source", &rule.source), ("destination", &rule.destination)] {
        if let Some(entries) = selector {
            check_selector(&format!("{at}/{field}"), entries, known, faults);
        }
    }
    if rule.rate_limit.is_some_and(|rate| rate.per_second == 0) {
        faults.add(format!("{at}/rate_limit/per_second"), "a rate of 0 never matches: leave the rate limit out, or disable the rule");
    }
    faults.limit(format!("{at}/description"), "characters", rule.description.chars().count(), DESCRIPTION_MAX_CHARS);
}

fn check_transport(at: &str, rule: &RuleSpec, faults: &mut Faults) {
    match read_protocol(&rule.protocol) {
        Err(unknown) => faults.add(format!("{at}/protocol"), unknown),
        Ok(protocol) => {
            if !rule.ports.is_empty() && !matches!(protocol, Some(TCP | UDP)) {
                faults.add(format!("{at}/ports"), format!("protocol `{}` has no ports: say tcp or udp, or leave the ports out", rule.protocol));
            }
            if !rule.icmp_types.is_empty() && !matches!(protocol, Some(ICMP | ICMPV6)) {
                faults.add(format!("{at}/icmp_types"), format!("protocol `{}` has no ICMP types: say icmp or icmpv6, or leave them out", rule.protocol));
            }
        }
    }
    faults.limit(format!("{at}/ports"), "entries", rule.ports.len(), RULE_PORTS_MAX);
    faults.limit(format!("{at}/icmp_types"), "entries", rule.icmp_types.len(), RULE_ICMP_TYPES_MAX);
    for (position, ports) in rule.ports.iter().enumerate().take(RULE_PORTS_MAX) {
        if let Err(invalid) = read_ports(ports) {
            faults.add(format!("{at}/ports/{position}"), invalid);
        }
    }
}

fn check_selector(at: &str, entries: &[String], known: &dyn Fn(&str) -> bool, faults: &mut Faults) {
    if entries.is_empty() {
        faults.add(at, "an empty list would match nothing: leave the field out for any");
    }
    faults.limit(at, "entries", entries.len(), SELECTOR_ENTRIES_MAX);
    for (position, entry) in entries.iter().enumerate().take(SELECTOR_ENTRIES_MAX) {
        match entry.parse::<Selector>() {
            Err(invalid) => faults.add(format!("{at}/{position}"), invalid),
            Ok(Selector::Range(_)) => {}
            Ok(Selector::Host(_) | Selector::Workspace(_)) if known(entry) => {}
            Ok(Selector::Host(_)) => faults.add(format!("{at}/{position}"), format!("there is no such host: `{entry}`")),
            Ok(Selector::Workspace(_)) => faults.add(format!("{at}/{position}"), format!("there is no such workspace: `{entry}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{FieldFault, validate};
    use crate::firewall::rule::RuleSpec;
    use crate::limits::{DESCRIPTION_MAX_CHARS, FIELD_FAULTS_MAX, FIREWALL_RULES_MAX, SELECTOR_ENTRIES_MAX};

    fn rule(fields: Value) -> RuleSpec {
        let mut rule = json!({"priority": 10, "action": "allow", "direction": "inbound"});
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(rule).unwrap()
    }

    fn faults(rules: &[RuleSpec]) -> Vec<FieldFault> {
        validate(rules, &|reference| reference == "host:acme/prod/web/host-1").err().unwrap_or_default()
    }

    #[test]
    fn a_rule_that_says_everything_is_kept() {
        let full = json!({
            "protocol": "tcp",
            "source": ["192.0.2.1", "192.0.2.1", "2001:db8::/32", "192.0.2.1-192.0.2.9", "host:acme/prod/web/host-1"],
            "destination": ["0.0.0.0/0", "::/0"],
            "ports": ["443", "8000-8099", "443"],
            "rate_limit": {"per_second": 1, "burst": 0},
            "expires_at_ms": 1,
        });
        assert_eq!(faults(&[rule(json!({})), rule(full), rule(json!({"protocol": "icmpv6", "icmp_types": [128]}))]), Vec::new());
    }

    #[test]
    fn each_fault_is_named_by_its_field() {
        let check = |fields: Value, pointer: &str, reason: &str| {
            let found = faults(&[rule(json!({})), rule(fields)]);
            assert!(matches!(found.as_slice(), [fault] if fault.pointer == pointer && fault.reason.contains(reason)), "{pointer}: {found:?}");
        };
        check(json!({"protocol": "icmp", "ports": ["80"]}), "/rules/1/ports", "has no ports");
        check(json!({"protocol": "any", "ports": ["80"]}), "/rules/1/ports", "say tcp or udp");
        check(json!({"protocol": "47", "ports": ["80"]}), "/rules/1/ports", "`47` has no ports");
        check(json!({"protocol": "tcp", "ports": ["80", "90-80"]}), "/rules/1/ports/1", "write `80-90`");
        check(json!({"protocol": "udp", "ports": ["dns"]}), "/rules/1/ports/0", "no port");
        check(json!({"protocol": "tcp", "ports": vec!["1"; 257]}), "/rules/1/ports", "257 entries");
        check(json!({"protocol": "tcp", "icmp_types": [8]}), "/rules/1/icmp_types", "no ICMP types");
        check(json!({"protocol": "icmp", "icmp_types": vec![8; 65]}), "/rules/1/icmp_types", "65 entries");
        check(json!({"protocol": "sctp"}), "/rules/1/protocol", "no protocol");
        check(json!({"source": []}), "/rules/1/source", "leave the field out for any");
        check(json!({"destination": ["192.0.2.77/24"]}), "/rules/1/destination/0", "`192.0.2.0/24`");
        check(json!({"source": ["192.0.2.1", "192.0.2.9-192.0.2.1"]}), "/rules/1/source/1", "before it begins");
        check(json!({"source": ["192.0.2.1-2001:db8::1"]}), "/rules/1/source/0", "one family");
        check(json!({"source": ["host:acme/prod/web/other"]}), "/rules/1/source/0", "no such host");
        check(json!({"source": ["workspace:acme/prod/other"]}), "/rules/1/source/0", "no such workspace");
        check(json!({"source": vec!["192.0.2.1"; SELECTOR_ENTRIES_MAX + 1]}), "/rules/1/source", "1001 entries");
        check(json!({"rate_limit": {"per_second": 0, "burst": 5}}), "/rules/1/rate_limit/per_second", "never matches");
        check(json!({"description": "x".repeat(DESCRIPTION_MAX_CHARS + 1)}), "/rules/1/description", "1001 characters");
    }

    #[test]
    fn all_faults_are_told_at_once_up_to_the_bound() {
        let bad = rule(json!({"protocol": "icmp", "ports": ["x"], "source": [], "rate_limit": {"per_second": 0, "burst": 0}}));
        assert_eq!(faults(std::slice::from_ref(&bad)).len(), 4);
        assert_eq!(faults(&vec![bad; 500]).len(), FIELD_FAULTS_MAX);
    }

    #[test]
    fn a_list_over_the_limit_is_refused_as_a_whole() {
        let found = faults(&vec![rule(json!({})); FIREWALL_RULES_MAX + 1]);
        assert_eq!(found.iter().map(|fault| fault.pointer.as_str()).collect::<Vec<_>>(), ["/rules"]);
    }
}
