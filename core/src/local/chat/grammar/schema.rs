//! JSON schemas, checked before they are compiled: the compiler's own limits don't see everything that makes it slow.

use serde_json::{Map, Value, json};

use crate::error::{Error, Result};

/// How deep a schema may be nested.
const MAX_DEPTH: usize = 64;

/// How many alternatives one place may have, all combinations counted: the compiler intersects each with each.
const MAX_ALTERNATIVES: u64 = 2_000;

/// How many schemas are looked at while alternatives are counted.
const MAX_VISITS: usize = 100_000;

/// How many references are followed one after the other.
const MAX_REFERENCES: usize = 8;

/// White space between the parts of JSON. Bounded: a model that can go on with spaces for ever does.
const SPACE: &str = r"[ \n\t]{0,40}";

/// The rule of a JSON value that follows a schema.
///
/// # Errors
/// `invalid_request` for what is no schema, or one that is nested too deep or branches too much.
pub(super) fn json_rule(schema: &Value) -> Result<String> {
    let mut fields = match schema {
        Value::Object(fields) => {
            check(schema, 0)?;
            count_alternatives(schema)?;
            fields.clone()
        }
        Value::Bool(true) | Value::Null => Map::new(),
        _ => return Err(Error::invalid_request("the JSON schema is no object")),
    };
    fields.insert("x-guidance".to_owned(), json!({ "whitespace_pattern": SPACE, "lenient": false }));
    Ok(format!("%json {}", Value::Object(fields)))
}

fn check(value: &Value, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid_request(format!("the JSON schema is nested more than {MAX_DEPTH} deep")));
    }
    match value {
        // It could make the compiler lenient.
        Value::Object(fields) if fields.contains_key("x-guidance") => {
            Err(Error::invalid_request("the JSON schema has `x-guidance`, which is not supported"))
        }
        Value::Object(fields) => fields.values().try_for_each(|value| check(value, depth + 1)),
        Value::Array(items) => items.iter().try_for_each(|value| check(value, depth + 1)),
        _ => Ok(()),
    }
}

fn count_alternatives(root: &Value) -> Result<()> {
    let mut counting = Counting { root, visits: 0 };
    let mut waiting = vec![root];
    while let Some(value) = waiting.pop() {
        if counting.alternatives(value, 0).is_none_or(|count| count > MAX_ALTERNATIVES) {
            return Err(Error::invalid_request(format!(
                "the JSON schema has more than {MAX_ALTERNATIVES} combinations of alternatives in one place"
            )));
        }
        match value {
            Value::Object(fields) => waiting.extend(fields.values()),
            Value::Array(items) => waiting.extend(items),
            _ => {}
        }
    }
    Ok(())
}

struct Counting<'a> {
    root: &'a Value,
    visits: usize,
}

impl Counting<'_> {
    /// In how many ways a value can follow a schema, as far as its alternatives say; nothing where that is too much.
    fn alternatives(&mut self, schema: &Value, references: usize) -> Option<u64> {
        self.visits += 1;
        if self.visits > MAX_VISITS {
            return None;
        }
        let mut count = 1_u64;
        for key in ["anyOf", "oneOf"] {
            if let Some(Value::Array(items)) = schema.get(key) {
                let mut sum = 0_u64;
                for item in items {
                    sum = sum.checked_add(self.alternatives(item, references)?)?;
                }
                count = count.checked_mul(sum.max(1))?;
            }
        }
        if let Some(Value::Array(items)) = schema.get("allOf") {
            for item in items {
                count = count.checked_mul(self.alternatives(item, references)?)?;
            }
        }
        let target = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|path| self.root.pointer(path.strip_prefix('#')?));
        if let Some(target) = target.filter(|_| references < MAX_REFERENCES) {
            count = count.checked_mul(self.alternatives(target, references + 1)?)?;
        }
        Some(count)
    }
}
