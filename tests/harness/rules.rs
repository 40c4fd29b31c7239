//! Firewall rules as `loopback firewall rules` takes them.

use serde_json::{Value, json};

/// Inbound rules in the order of the list; what a rule says itself stands.
#[must_use]
pub fn inbound(rules: &[Value]) -> Value {
    let rule = |(index, rule): (usize, &Value)| {
        let mut fields = json!({ "priority": (index + 1) * 10, "direction": "inbound" });
        if let (Some(fields), Some(rule)) = (fields.as_object_mut(), rule.as_object()) {
            fields.extend(rule.clone());
        }
        fields
    };
    rules.iter().enumerate().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::inbound;

    #[test]
    fn rules_keep_their_order_and_what_they_say() {
        let rules = inbound(&[json!({ "action": "deny" }), json!({ "action": "allow", "direction": "outbound" })]);
        assert_eq!(
            rules,
            json!([{ "priority": 10, "direction": "inbound", "action": "deny" }, { "priority": 20, "direction": "outbound", "action": "allow" }])
        );
    }
}
