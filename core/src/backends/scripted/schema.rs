//! A value that satisfies a simple JSON Schema.

use serde_json::{Map, Value};

/// How deep references and nested objects are followed: enough for schemas written by hand or by pydantic, and
/// a bound for recursive ones.
const MAX_DEPTH: usize = 16;

/// A value that satisfies `schema`, with `text` wherever the schema leaves a string free. Understands `const`,
/// `enum`, `default`, `$ref` inside the schema, `anyOf`/`oneOf`/`allOf`, `type`, required `properties`,
/// `minItems`, `minLength`, `maxLength`, `minimum`.
pub(super) fn instance(schema: &Value, text: &str) -> Value {
    Instance { root: schema, text }.of(schema, 0)
}

struct Instance<'a> {
    root: &'a Value,
    text: &'a str,
}

impl Instance<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return Value::Null;
        }
        for fixed in ["const", "default"] {
            if let Some(value) = schema.get(fixed) {
                return value.clone();
            }
        }
        if let Some(first) = schema.get("enum").and_then(|values| values.get(0)) {
            return first.clone();
        }
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
            return target.map_or(Value::Null, |target| self.of(target, depth + 1));
        }
        for choice in ["anyOf", "oneOf"] {
            if let Some(first) = schema.get(choice).and_then(|choices| choices.get(0)) {
                return self.of(first, depth + 1);
            }
        }
        if let Some(parts) = schema.get("allOf").and_then(Value::as_array) {
            return self.of_all(parts, schema, depth);
        }
        self.of_type(schema, depth)
    }

    fn of_all(&self, parts: &[Value], schema: &Value, depth: usize) -> Value {
        let mut joined = Map::new();
        for part in parts.iter().map(|part| self.of(part, depth + 1)) {
            match part {
                Value::Object(fields) => joined.extend(fields),
                other => return other,
            }
        }
        if let Value::Object(fields) = self.object(schema, depth) {
            joined.extend(fields);
        }
        Value::Object(joined)
    }

    fn of_type(&self, schema: &Value, depth: usize) -> Value {
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            Some(kind) => kind.as_str(),
            None if schema.get("properties").is_some() => Some("object"),
            None => Some("string"),
        };
        match kind {
            Some("object") => self.object(schema, depth),
            Some("array") => {
                let item = schema.get("items").unwrap_or(&Value::Null);
                let count = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(64);
                (0..count).map(|_| self.of(item, depth + 1)).collect()
            }
            Some("integer" | "number") => match schema.get("minimum") {
                Some(least) => least.clone(),
                None => Value::from(0),
            },
            Some("boolean") => Value::Bool(false),
            Some("null") => Value::Null,
            _ => Value::String(self.string(schema)),
        }
    }

    fn object(&self, schema: &Value, depth: usize) -> Value {
        let properties = schema.get("properties");
        let required = schema.get("required").and_then(Value::as_array);
        let names = required.into_iter().flatten().filter_map(Value::as_str);
        let field = |name: &str| {
            let property = properties.and_then(|properties| properties.get(name)).unwrap_or(&Value::Null);
            (name.to_owned(), self.of(property, depth + 1))
        };
        Value::Object(names.map(field).collect())
    }

    fn string(&self, schema: &Value) -> String {
        let length =
            |name| schema.get(name).and_then(Value::as_u64).and_then(|length| usize::try_from(length).ok());
        let mut text: String = match length("maxLength") {
            Some(most) => self.text.chars().take(most).collect(),
            None => self.text.to_owned(),
        };
        let missing = length("minLength").unwrap_or(0).min(4096).saturating_sub(text.chars().count());
        text.extend(std::iter::repeat_n('.', missing));
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::instance;

    #[test]
    fn instances_satisfy_their_schema() {
        let schemas = [
            json!({"type": "object", "required": ["answer", "sure", "tags", "rank"], "properties": {
                "answer": {"type": "string", "minLength": 9}, "sure": {"type": "boolean"},
                "tags": {"type": "array", "items": {"type": "string", "maxLength": 2}, "minItems": 2},
                "rank": {"type": "integer", "minimum": 3}, "note": {"type": "string"}},
                "additionalProperties": false}),
            json!({"$ref": "#/$defs/Point", "$defs": {"Point": {"type": "object", "required": ["x"],
                "properties": {"x": {"anyOf": [{"type": "number"}, {"type": "null"}]}}}}}),
            json!({"enum": ["a", "b"]}),
            json!({"allOf": [{"type": "object", "required": ["a"], "properties": {"a": {"const": 1}}}]}),
            json!({"type": ["string", "null"]}),
        ];
        for schema in schemas {
            let value = instance(&schema, "hola");
            assert!(jsonschema::is_valid(&schema, &value), "{schema} does not take {value}");
        }
    }

    #[test]
    fn a_schema_that_contains_itself_comes_to_an_end() {
        let schema = json!({"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}});
        assert!(instance(&schema, "hola").is_object());
    }
}
