//! What `nft -j -n list table inet loopback` tells about our table: whether it is what was meant, and how often its rules have matched.
//!
//! Two spellings of the same count as equal: handles and counters aside, set elements in any order, prefixes as their ranges.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use loopback_protocol::id::RuleId;
use serde_json::{Map, Value};

use super::ruleset::Ruleset;

/// So much of a rule is shown when it differs.
const SHOWN_MAX_CHARS: usize = 600;

/// How often a rule has decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hits {
    /// The rule.
    pub rule: RuleId,
    /// Packets it decided since the table was put in place.
    pub packets: u64,
    /// Their bytes, headers included.
    pub bytes: u64,
}

/// The first difference between what was meant and what the kernel holds, in words; `listing` is `None` if it holds no table of ours.
///
/// # Errors
/// The listing is not JSON.
pub fn difference(meant: &Ruleset, listing: Option<&str>) -> Result<Option<String>, serde_json::Error> {
    let meant = meant.objects().into_iter().map(serde_json::to_value).collect::<Result<Vec<_>, _>>()?;
    let held = listing.map(objects).transpose()?.unwrap_or_default();
    Ok(Listing::of(meant).difference(&Listing::of(held)))
}

/// What the rules of a listing have counted, in the order of their identifiers. The agent's own rules are left out.
///
/// # Errors
/// The listing is not JSON.
pub fn hits(listing: &str) -> Result<Vec<Hits>, serde_json::Error> {
    let mut sums: BTreeMap<RuleId, (u64, u64)> = BTreeMap::new();
    for object in objects(listing)? {
        let Some(rule) = object.pointer("/rule/comment").and_then(Value::as_str).and_then(|comment| comment.parse().ok()) else { continue };
        let statements = object.pointer("/rule/expr").and_then(Value::as_array).into_iter().flatten();
        let counted = |counter: &Value, what: &str| counter.get(what).and_then(Value::as_u64).unwrap_or_default();
        for counter in statements.filter_map(|statement| statement.get("counter")) {
            let (packets, bytes) = sums.entry(rule).or_default();
            *packets += counted(counter, "packets");
            *bytes += counted(counter, "bytes");
        }
    }
    Ok(sums.into_iter().map(|(rule, (packets, bytes))| Hits { rule, packets, bytes }).collect())
}

fn objects(listing: &str) -> Result<Vec<Value>, serde_json::Error> {
    let mut document: Value = serde_json::from_str(listing)?;
    let objects = document.get_mut("nftables").map(Value::take);
    Ok(match objects {
        Some(Value::Array(objects)) => objects.into_iter().filter(|object| object.get("metainfo").is_none()).collect(),
        _ => Vec::new(),
    })
}

/// A table in the form in which it is compared.
#[derive(Debug, Default)]
struct Listing {
    /// The table itself, its chains, and whatever else is in it.
    frame: BTreeSet<String>,
    /// By chain, in order.
    rules: BTreeMap<String, Vec<Value>>,
}

impl Listing {
    fn of(objects: Vec<Value>) -> Self {
        let mut listing = Self::default();
        for object in objects {
            let object = canonical(object);
            match object.pointer("/rule/chain").and_then(Value::as_str) {
                Some(chain) => listing.rules.entry(chain.to_owned()).or_default().push(object),
                None => _ = listing.frame.insert(object.to_string()),
            }
        }
        listing
    }

    fn rules_of(&self, chain: &str) -> &[Value] {
        self.rules.get(chain).map_or(&[], Vec::as_slice)
    }

    fn difference(&self, held: &Self) -> Option<String> {
        if let Some(missing) = self.frame.difference(&held.frame).next() {
            return Some(format!("the kernel lacks {}", shown(missing)));
        }
        if let Some(foreign) = held.frame.difference(&self.frame).next() {
            return Some(format!("the kernel also holds {}", shown(foreign)));
        }
        let chains = self.rules.keys().chain(held.rules.keys());
        chains.into_iter().find_map(|chain| rules_difference(chain, self.rules_of(chain), held.rules_of(chain)))
    }
}

fn rules_difference(chain: &str, meant: &[Value], held: &[Value]) -> Option<String> {
    let count = meant.len().max(held.len());
    let position = (0..count).find(|&position| meant.get(position) != held.get(position))?;
    let rule = |rules: &[Value]| rules.get(position).map_or_else(|| "nothing".to_owned(), |rule| shown(&rule.to_string()));
    Some(format!("rule {} of chain {chain}: meant {}, the kernel holds {}", position + 1, rule(meant), rule(held)))
}

fn shown(text: &str) -> String {
    text.chars().take(SHOWN_MAX_CHARS).collect()
}

fn canonical(value: Value) -> Value {
    match value {
        // Two notations of one address; Rust's and the C library's differ for IPv6 addresses that embed one of IPv4.
        Value::String(text) => Value::String(text.parse::<IpAddr>().map_or(text, |address| address.to_string())),
        Value::Array(items) => Value::Array(items.into_iter().map(canonical).collect()),
        Value::Object(fields) => canonical_object(fields),
        other => other,
    }
}

fn canonical_object(fields: Map<String, Value>) -> Value {
    let fields = fields.into_iter().filter(|(name, _)| name != "handle").map(|(name, value)| match (name.as_str(), canonical(value)) {
        ("counter", _) => (name, Value::Null),
        ("set", Value::Array(mut items)) => {
            items.sort_by_cached_key(Value::to_string);
            (name, Value::Array(items))
        }
        ("prefix", value) => match prefix_range(&value) {
            Some((first, last)) => ("range".to_owned(), Value::Array(vec![first.to_string().into(), last.to_string().into()])),
            None => (name, value),
        },
        // The one code we send, which a numeric listing gives as its number.
        ("expr", Value::String(text)) if text == "admin-prohibited" => (name, Value::from(3)),
        (_, value) => (name, value),
    });
    Value::Object(fields.collect())
}

fn prefix_range(prefix: &Value) -> Option<(IpAddr, IpAddr)> {
    let length = u32::try_from(prefix.get("len")?.as_u64()?).ok()?;
    match prefix.get("addr")?.as_str()?.parse().ok()? {
        IpAddr::V4(first) => {
            let host = u32::MAX.checked_shr(length).unwrap_or(0);
            Some((first.into(), Ipv4Addr::from_bits(first.to_bits() | host).into()))
        }
        IpAddr::V6(first) => {
            let host = u128::MAX.checked_shr(length).unwrap_or(0);
            Some((first.into(), Ipv6Addr::from_bits(first.to_bits() | host).into()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Hits, difference, hits};
    use crate::firewall::ruleset::{Chain, Ruleset};
    use crate::firewall::statement::{ACCEPT, COUNT, equal, field};
    use nftables::expr::{Expression, NamedExpression, Prefix};

    fn meant() -> Ruleset {
        let net = Expression::Named(NamedExpression::Prefix(Prefix { addr: Box::new(Expression::String("10.0.0.0".into())), len: 8 }));
        let mut chain = Chain::new("host_in".into(), None);
        chain.rule("one", [equal(field("ip", "saddr"), net), COUNT, ACCEPT]);
        Ruleset { chains: vec![chain] }
    }

    const TABLE: &str = r#"{"table":{"family":"inet","name":"loopback","handle":9}}"#;
    const CHAIN: &str = r#"{"chain":{"family":"inet","table":"loopback","name":"host_in","handle":1}}"#;
    const RULE: &str = r#"{"rule":{"family":"inet","table":"loopback","chain":"host_in","handle":4,"comment":"one","expr":[
        {"match":{"op":"==","left":{"payload":{"protocol":"ip","field":"saddr"}},"right":{"range":["10.0.0.0","10.255.255.255"]}}},
        {"counter":{"packets":3,"bytes":180}},{"accept":null}]}}"#;

    fn listing(objects: &[&str]) -> String {
        format!(r#"{{"nftables":[{{"metainfo":{{"version":"1.0.6"}}}},{}]}}"#, objects.join(","))
    }

    #[test]
    fn handles_counters_and_spellings_make_no_difference() {
        assert_eq!(difference(&meant(), Some(&listing(&[TABLE, CHAIN, RULE]))).unwrap(), None);
        assert_eq!(difference(&Ruleset::default(), None).unwrap(), None);
    }

    #[test]
    fn every_other_difference_is_named() {
        let check = |objects: &[&str], expected: &str| {
            let difference = difference(&meant(), Some(&listing(objects))).unwrap().unwrap();
            assert!(difference.contains(expected), "{difference}");
        };
        let dormant = TABLE.replace("\"handle\":9", r#""flags":"dormant""#);
        let set = r#"{"set":{"family":"inet","name":"x","table":"loopback","type":"ipv4_addr","handle":2}}"#;
        check(&[&dormant, CHAIN, RULE], r#"lacks {"table""#);
        check(&[TABLE, RULE], r#"lacks {"chain""#);
        check(&[TABLE, CHAIN, RULE, set], r#"also holds {"set""#);
        check(&[TABLE, CHAIN], "the kernel holds nothing");
        check(&[TABLE, CHAIN, RULE, RULE], "rule 2 of chain host_in: meant nothing");
        check(&[TABLE, CHAIN, &RULE.replace("accept", "drop")], "rule 1 of chain host_in");
        check(&[TABLE, CHAIN, &RULE.replace("10.255", "10.254")], "rule 1 of chain host_in");
        check(&[TABLE, CHAIN, &RULE.replace("host_in", "input")], "rule 1 of chain host_in");
        assert!(difference(&meant(), None).unwrap().unwrap().contains("lacks"));
        assert!(difference(&Ruleset::default(), Some(&listing(&[TABLE]))).unwrap().unwrap().contains("also holds"));
        assert!(difference(&meant(), Some("no JSON")).is_err());
    }

    #[test]
    fn hits_are_summed_by_rule_and_leave_out_what_is_the_agents() {
        let id = "rule_01h455vb4pex5vsknk084sn02q";
        let rule = RULE.replace("one", id);
        let log = RULE.replace("one", &format!("log:{id}"));
        assert_eq!(hits(&listing(&[TABLE, CHAIN, &rule, &log, RULE, &rule])).unwrap(), [Hits { rule: id.parse().unwrap(), packets: 6, bytes: 360 }]);
    }
}
