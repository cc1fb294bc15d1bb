//! The schemas of answers, as strict as they can be: an answer has no field that its schema does not name.

use std::collections::BTreeMap;

use jsonschema::Validator;
use serde_json::{Value, json};

/// A validator for each definition of `docs/reference/answers.schema.json`.
pub struct Schemas(BTreeMap<String, Validator>);

impl Schemas {
    pub fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/reference/answers.schema.json");
        let text = std::fs::read_to_string(path).expect("`make gen` has written the schema");
        let mut schema: Value = serde_json::from_str(&text).expect("JSON");
        strict(&mut schema["$defs"]);
        let names: Vec<String> = schema["$defs"].as_object().expect("definitions").keys().cloned().collect();
        let validators = names.into_iter().map(|name| {
            schema["$ref"] = json!(format!("#/$defs/{name}"));
            let validator = jsonschema::draft202012::new(&schema).expect("a schema of the draft 2020-12");
            (name, validator)
        });
        Self(validators.collect())
    }

    /// What speaks against `data` as a value of the definition.
    pub fn faults(&self, definition: &str, data: &Value) -> Vec<String> {
        let errors = self.0[definition].iter_errors(data);
        errors.map(|error| format!("{definition}{}: {error}", error.instance_path())).collect()
    }
}

/// Forbids further fields wherever some are named.
fn strict(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if fields.contains_key("properties") && fields.get("type") == Some(&json!("object")) {
                fields.insert("additionalProperties".to_owned(), json!(false));
            }
            fields.values_mut().for_each(strict);
        }
        Value::Array(items) => items.iter_mut().for_each(strict),
        _ => {}
    }
}
