//! Damages bodies.

use serde_json::Value;

/// The first two thirds.
pub(super) fn truncated(text: &str) -> String {
    let end = (0..=text.len() * 2 / 3).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default().to_owned()
}

/// A NUL byte behind every comma between members, and at both ends.
pub(super) fn with_nul_bytes(text: &str) -> String {
    format!("\0{}\0", text.replace(",\"", ",\0\""))
}

/// The same facts in other types: numbers as text, digits as numbers, blanks as null and null as a blank.
pub(super) fn drifted(value: &Value) -> Value {
    match value {
        Value::Array(list) => list.iter().map(drifted).collect(),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), drifted(value))).collect())
        }
        Value::Number(number) => Value::String(number.to_string()),
        Value::String(text) if text.trim().is_empty() => Value::Null,
        Value::String(text) => match text.parse::<i64>() {
            Ok(number) if number.to_string() == *text => number.into(),
            _ => value.clone(),
        },
        Value::Null => Value::String(" ".to_owned()),
        Value::Bool(_) => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_are_distorted_as_described() {
        assert_eq!(truncated("áéí"), "áé");
        assert_eq!(with_nul_bytes("{\"a\":1,\"b\":[1,2]}"), "\0{\"a\":1,\0\"b\":[1,2]}\0");
        assert_eq!(
            drifted(&json!({"a": 5, "b": "7", "c": "", "d": null, "e": ["007", 1.5]})),
            json!({"a": "5", "b": 7, "c": null, "d": " ", "e": ["007", "1.5"]})
        );
    }
}
