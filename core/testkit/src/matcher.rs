//! Compares values with the matchers of a case.

use serde_json::Value;

const TOLERANCE: f64 = 1e-5;

/// The differences between `actual` and the matcher `expected`; empty if it matches.
///
/// ```
/// # use ayni_testkit::differences;
/// # use serde_json::json;
/// let expected = json!({"text": {"$contains": "hola"}, "tokens": {"$absent": true}});
/// assert!(differences(&expected, &json!({"text": "¡hola!", "more": 1})).is_empty());
/// assert_eq!(
///     differences(&expected, &json!({"text": "adiós"})),
///     ["text: expected a text that contains \"hola\", got \"adiós\""]
/// );
/// ```
pub fn differences(expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare(expected, Some(actual), "", &mut found);
    found
}

/// As [`differences`], for a value that may not be there at all.
pub(crate) fn differences_at(path: &str, expected: &Value, actual: Option<&Value>) -> Vec<String> {
    let mut found = Vec::new();
    compare(expected, actual, path, &mut found);
    found
}

/// The differences between two values that must have the same fields.
pub(crate) fn exact_differences(path: &str, expected: &Value, actual: &Value) -> Vec<String> {
    let mut found = Vec::new();
    compare_exactly(expected, actual, path, &mut found);
    found
}

fn compare(expected: &Value, actual: Option<&Value>, path: &str, found: &mut Vec<String>) {
    let missing = actual.is_none_or(Value::is_null);
    if let Some(matcher) = Matcher::read(expected) {
        if !matcher.allows(actual) {
            found.push(report(path, &matcher.wording(), actual));
        }
        return;
    }
    match (expected, actual) {
        (Value::Null, _) if missing => {}
        (Value::Object(fields), Some(Value::Object(got))) => {
            for (name, expected) in fields {
                compare(expected, got.get(name), &join(path, name), found);
            }
        }
        (Value::Array(items), Some(Value::Array(got))) => {
            if items.len() != got.len() {
                found.push(format!("{}: expected {} items, got {}", at(path), items.len(), got.len()));
            }
            for (index, (expected, got)) in items.iter().zip(got).enumerate() {
                compare(expected, Some(got), &join(path, &index.to_string()), found);
            }
        }
        (_, Some(actual)) if scalars_equal(expected, actual) => {}
        _ => found.push(report(path, &short(expected), actual)),
    }
}

fn compare_exactly(expected: &Value, actual: &Value, path: &str, found: &mut Vec<String>) {
    match (expected, actual) {
        (Value::Object(fields), Value::Object(got)) => {
            for (name, expected) in fields {
                match got.get(name) {
                    Some(got) => compare_exactly(expected, got, &join(path, name), found),
                    None => found.push(report(&join(path, name), &short(expected), None)),
                }
            }
            for name in got.keys().filter(|name| !fields.contains_key(*name)) {
                found.push(format!("{}: is not expected", join(path, name)));
            }
        }
        (Value::Array(items), Value::Array(got)) if items.len() == got.len() => {
            for (index, (expected, got)) in items.iter().zip(got).enumerate() {
                compare_exactly(expected, got, &join(path, &index.to_string()), found);
            }
        }
        _ if scalars_equal(expected, actual) => {}
        _ => found.push(report(path, &short(expected), Some(actual))),
    }
}

/// Equality for which `1` is `1.0`.
fn scalars_equal(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Object(_) | Value::Array(_), _) => false,
        _ => expected == actual,
    }
}

/// A matcher that is written as an object with a `$` name.
enum Matcher<'a> {
    Approx {
        number: &'a Value,
        tolerance: f64,
    },
    Length(u64),
    Absent,
    Contains(&'a Value),
    StartsWith(&'a str),
    Any,
    OneOf(&'a [Value]),
    /// An unknown `$` name. It matches nothing, so that a misspelt matcher cannot pass.
    Unknown(&'a str),
}

impl<'a> Matcher<'a> {
    fn read(expected: &'a Value) -> Option<Self> {
        let fields = expected.as_object()?;
        let (name, value) = fields.iter().find(|(name, _)| name.starts_with('$'))?;
        let alone = fields.len() == 1;
        let matcher = match (name.as_str(), value) {
            ("$approx", number) => {
                let tolerance = fields.get("tolerance").and_then(Value::as_f64);
                Self::Approx { number, tolerance: tolerance.unwrap_or(TOLERANCE) }
            }
            ("$length", length) if alone => Self::Length(length.as_u64()?),
            ("$absent", Value::Bool(true)) if alone => Self::Absent,
            ("$contains", part) if alone => Self::Contains(part),
            ("$starts_with", Value::String(start)) if alone => Self::StartsWith(start),
            ("$any", Value::Bool(true)) if alone => Self::Any,
            ("$one_of", Value::Array(choices)) if alone => Self::OneOf(choices),
            // JSON Schemas travel in request bodies and have `$ref`, `$defs` and `$schema` of their own.
            ("$schema" | "$ref" | "$defs" | "$id", _) => return None,
            (unknown, _) => Self::Unknown(unknown),
        };
        Some(matcher)
    }

    fn allows(&self, actual: Option<&Value>) -> bool {
        let present = actual.filter(|actual| !actual.is_null());
        match (self, present) {
            (Self::Absent, present) => present.is_none(),
            (Self::OneOf(choices), _) => choices.iter().any(|choice| matches(choice, actual)),
            (Self::Unknown(_), _) | (_, None) => false,
            (Self::Any, Some(_)) => true,
            (Self::Approx { number, tolerance }, Some(actual)) => near(number, actual, *tolerance),
            (Self::Length(length), Some(actual)) => length_of(actual) == Some(*length),
            (Self::Contains(part), Some(Value::Array(items))) => {
                items.iter().any(|item| matches(part, Some(item)))
            }
            (Self::Contains(Value::String(part)), Some(Value::String(text))) => text.contains(part),
            (Self::StartsWith(start), Some(Value::String(text))) => text.starts_with(start),
            (Self::Contains(_) | Self::StartsWith(_), Some(_)) => false,
        }
    }

    fn wording(&self) -> String {
        match self {
            Self::Approx { number, tolerance } => format!("{} within {tolerance}", short(number)),
            Self::Length(length) => format!("a length of {length}"),
            Self::Absent => "nothing".to_owned(),
            Self::Contains(Value::String(part)) => format!("a text that contains {part:?}"),
            Self::Contains(part) => format!("a list that contains {}", short(part)),
            Self::StartsWith(start) => format!("a text that starts with {start:?}"),
            Self::Any => "anything".to_owned(),
            Self::OneOf(choices) => format!("one of {}", short(&Value::Array(choices.to_vec()))),
            Self::Unknown(name) => format!("a matcher; `{name}` is unknown or has the wrong value"),
        }
    }
}

fn matches(expected: &Value, actual: Option<&Value>) -> bool {
    differences_at("", expected, actual).is_empty()
}

fn near(expected: &Value, actual: &Value, tolerance: f64) -> bool {
    match (expected, actual) {
        (Value::Array(items), Value::Array(got)) => {
            items.len() == got.len() && items.iter().zip(got).all(|(a, b)| near(a, b, tolerance))
        }
        _ => match (expected.as_f64(), actual.as_f64()) {
            (Some(a), Some(b)) => (a - b).abs() <= tolerance,
            _ => false,
        },
    }
}

fn length_of(value: &Value) -> Option<u64> {
    let length = match value {
        Value::Array(items) => items.len(),
        Value::Object(fields) => fields.len(),
        Value::String(text) => text.chars().count(),
        _ => return None,
    };
    u64::try_from(length).ok()
}

fn report(path: &str, expected: &str, actual: Option<&Value>) -> String {
    let actual = actual.map_or_else(|| "nothing".to_owned(), short);
    format!("{}: expected {expected}, got {actual}", at(path))
}

fn at(path: &str) -> &str {
    if path.is_empty() { "value" } else { path }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// A value as JSON, truncated to fit on a screen.
pub(crate) fn short(value: &Value) -> String {
    const MAX_CHARACTERS: usize = 300;
    let text = value.to_string();
    match text.char_indices().nth(MAX_CHARACTERS) {
        Some((cut, _)) => format!("{}… ({} bytes)", text.get(..cut).unwrap_or_default(), text.len()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn fits(expected: &Value, actual: &Value) {
        assert_eq!(differences(expected, actual), Vec::<String>::new());
    }

    #[track_caller]
    fn differs(expected: &Value, actual: &Value, report: &str) {
        let found = differences(expected, actual).join("; ");
        assert!(found.contains(report), "{found}");
    }

    #[test]
    fn objects_are_subsets_and_lists_are_not() {
        fits(&json!({"a": {"b": 1}}), &json!({"a": {"b": 1.0, "c": 2}, "d": 3}));
        differs(&json!([1, 2]), &json!([1, 2, 3]), "expected 2 items, got 3");
        differs(&json!({"a": [{"b": 1}]}), &json!({"a": [{"b": 2}]}), "a.0.b: expected 1, got 2");
        differs(&json!({"a": 1}), &json!({}), "a: expected 1, got nothing");
    }

    #[test]
    fn null_matches_what_is_missing_and_nothing_else() {
        fits(&json!({"a": null}), &json!({}));
        fits(&json!({"a": null}), &json!({"a": null}));
        differs(&json!({"a": null}), &json!({"a": 0}), "a: expected null, got 0");
    }

    #[test]
    fn numbers_are_near_within_the_tolerance_at_any_depth() {
        fits(&json!({"$approx": [[0.1, 0.2]], "tolerance": 0.01}), &json!([[0.105, 0.195]]));
        differs(&json!({"$approx": 0.1}), &json!(0.1002), "within 0.00001");
        differs(&json!({"$approx": [0.1]}), &json!([0.1, 0.2]), "within");
        differs(&json!({"$approx": 0.1}), &json!("0.1"), "within");
    }

    #[test]
    fn every_matcher_accepts_and_refuses() {
        let cases = [
            (json!({"$length": 2}), json!(["a", "b"]), json!(["a"])),
            (json!({"$length": 2}), json!("ñu"), json!(2)),
            (json!({"$absent": true}), json!(null), json!(false)),
            (json!({"$contains": "b"}), json!("abc"), json!("ac")),
            (json!({"$contains": {"k": 1}}), json!([{"k": 0}, {"k": 1}]), json!([{"k": 0}])),
            (json!({"$starts_with": "a"}), json!("ab"), json!("ba")),
            (json!({"$any": true}), json!(0), json!(null)),
            (json!({"$one_of": [1, "x"]}), json!("x"), json!(2)),
        ];
        for (expected, good, bad) in cases {
            fits(&expected, &good);
            assert_eq!(differences(&expected, &bad).len(), 1, "{expected} and {bad}");
        }
    }

    #[test]
    fn a_misspelt_matcher_matches_nothing_and_a_schema_is_no_matcher() {
        differs(&json!({"$contain": "b"}), &json!("abc"), "$contain");
        differs(&json!({"$absent": false}), &json!(null), "$absent");
        let schema =
            json!({"$schema": "x", "$defs": {"a": {"type": "string"}}, "items": {"$ref": "#/$defs/a"}});
        fits(&schema, &schema);
    }

    #[test]
    fn exact_comparison_refuses_a_field_more() {
        let expected = json!({"a": [{"b": 1}]});
        assert!(exact_differences("body", &expected, &json!({"a": [{"b": 1.0}]})).is_empty());
        let more = exact_differences("body", &expected, &json!({"a": [{"b": 1, "c": 2}]}));
        assert_eq!(more, ["body.a.0.c: is not expected"]);
        let null = exact_differences("body", &json!({"a": null}), &json!({}));
        assert_eq!(null, ["body.a: expected null, got nothing"]);
    }
}
