//! Reading a request's body: bounded, as JSON, and with each fault named by its pointer. It never repeats a value it was sent.

use axum::body::Body;
use loopback_api::{FieldError, Problem, ProblemKind};
use serde::de::DeserializeOwned;

/// Reads a whole body as JSON; an empty one is an empty object.
///
/// # Errors
/// It is larger than `limit` bytes, is no JSON, or says what it may not say.
pub(crate) async fn read<T: DeserializeOwned>(body: Body, limit: usize) -> Result<T, Problem> {
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|_| Problem {
        status: 413,
        ..Problem::new(ProblemKind::Validation, format!("the request's body was cut off or is larger than {limit} bytes"))
    })?;
    parse(if bytes.is_empty() { b"{}" } else { &bytes })
}

/// Reads JSON, and names the faulty field by its pointer.
fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    use serde_path_to_error::Segment;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let segments = error.path().iter().filter_map(|segment| match segment {
            Segment::Seq { index } => Some(format!("/{index}")),
            Segment::Map { key } => Some(format!("/{}", key.replace('~', "~0").replace('/', "~1"))),
            Segment::Enum { .. } | Segment::Unknown => None,
        });
        // Never the value itself: a password may stand in the wrong field.
        let reason = match error.inner().classify() {
            serde_json::error::Category::Data => without_values(&error.inner().to_string()),
            _ => "this is not JSON".to_owned(),
        };
        Problem::validation(vec![FieldError { pointer: segments.collect(), reason }])
    })?;
    deserializer.end().map_err(|_| Problem::field("", "there is more after the JSON value"))?;
    Ok(value)
}

/// serde quotes a value of the wrong type (`invalid type: string "…", expected …`); keep what was expected.
fn without_values(message: &str) -> String {
    let quotes_a_value = ["invalid type: ", "invalid value: ", "unknown variant "].iter().any(|prefix| message.starts_with(prefix));
    match message.rsplit_once("expected ") {
        Some((_, expected)) if quotes_a_value => format!("expected {}", expected.split(" at line").next().unwrap_or_default()),
        _ => message.split(" at line").next().unwrap_or_default().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use loopback_api::firewall::Rules;
    use loopback_api::token::NewToken;

    use super::parse;

    fn check<T: serde::de::DeserializeOwned>(body: &str, pointer: &str, reason: &str) {
        let problem = parse::<T>(body.as_bytes()).err().unwrap();
        assert_eq!(problem.errors[0].pointer, pointer, "{problem:?}");
        assert!(problem.errors[0].reason.contains(reason), "{problem:?}");
    }

    #[test]
    fn a_fault_is_named_by_its_pointer_and_never_quotes_the_value() {
        check::<NewToken>(r#"{"max_uses":"hunter2"}"#, "/max_uses", "expected u32");
        check::<NewToken>(r#"{"nope":1}"#, "/nope", "unknown field");
        check::<NewToken>("{", "", "not JSON");
        check::<NewToken>("{} {}", "", "more after");
        check::<Rules>(r#"{"rules":[{"priority":1,"action":"allow","direction":"sideways"}]}"#, "/rules/0/direction", "expected `inbound` or `outbound`");
        assert!(!parse::<NewToken>(br#"{"max_uses":"hunter2"}"#).err().unwrap().detail.contains("hunter2"));
    }
}
