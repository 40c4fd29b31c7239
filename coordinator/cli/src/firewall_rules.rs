//! Files of firewall rules: JSON or TOML, as people write them. What the rules mean is the coordinator's to check.

use loopback_api::firewall::Rules;

/// A text that is no list of rules.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidRules {
    #[error("it is empty; write `[]` for no rules")]
    Empty,
    #[error("it is not a list of rules in JSON: {0}")]
    Json(String),
    #[error("it is not a list of rules in TOML ([[rules]] …): {0}")]
    Toml(String),
}

/// The rules of a file: in JSON a bare list or `{"rules": […]}`, in TOML `[[rules]]`.
pub(crate) fn parse(text: &str) -> Result<Rules, InvalidRules> {
    let start = text.trim_start();
    if start.is_empty() {
        return Err(InvalidRules::Empty);
    }
    if start.starts_with('{') {
        return serde_json::from_str(text).map_err(|error| InvalidRules::Json(error.to_string()));
    }
    // A list in JSON never begins with two brackets: rules are objects.
    if start.starts_with('[') && !start.starts_with("[[") {
        return serde_json::from_str(text).map(|rules| Rules { rules }).map_err(|error| InvalidRules::Json(error.to_string()));
    }
    toml::from_str(text).map_err(|error| InvalidRules::Toml(error.to_string().trim_end().to_owned()))
}

#[cfg(test)]
mod tests {
    use loopback_core::firewall::rule::{RuleAction, RuleDirection};

    use super::{InvalidRules, parse};

    #[test]
    fn json_and_toml_say_the_same() {
        let rule = r#"{"priority": 10, "action": "allow", "direction": "inbound", "protocol": "tcp", "ports": ["443"]}"#;
        let list = parse(&format!("[{rule}]")).unwrap();
        let object = parse(&format!("\n{{\"rules\": [{rule}]}}")).unwrap();
        let toml = parse("# web\n[[rules]]\npriority = 10\naction = \"allow\"\ndirection = \"inbound\"\nprotocol = \"tcp\"\nports = [\"443\"]\n").unwrap();
        assert_eq!((&list, &list), (&object, &toml));
        let only = list.rules.first().unwrap();
        assert_eq!((only.priority, only.action, only.direction), (10, RuleAction::Allow, RuleDirection::Inbound));
        assert_eq!(parse("[]").unwrap().rules, []);
    }

    #[test]
    fn a_fault_is_named_with_its_place() {
        let json = parse("[{\"priority\": 10, \"action\": \"permit\"}]").unwrap_err();
        assert!(matches!(&json, InvalidRules::Json(reason) if reason.contains("permit") && reason.contains("line 1")), "{json}");
        let toml = parse("[[rules]]\npriority = 10\naction = \"allow\"\ndirection = \"inbound\"\nport = 1\n").unwrap_err();
        assert!(matches!(&toml, InvalidRules::Toml(reason) if reason.contains("unknown field `port`") && reason.contains("line 5")), "{toml}");
        assert_eq!(parse("\n").unwrap_err(), InvalidRules::Empty);
    }
}
