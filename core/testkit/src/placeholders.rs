//! Fills `{{name}}` in cases. Some of the values are canaries, which no log, error or debug output may show.

use std::sync::OnceLock;

use serde_json::Value;

use ayni::{Error, Result};

/// The credential that cases use: `{{key}}`.
pub const CANARY_KEY: &str = "canary-key-5f1d0c3b9a7e";
/// The credential for cases that need one in Hugging Face's form: `{{hf_key}}`.
pub const CANARY_HF_KEY: &str = "hf_canaryKeyQ7w2Zr81LmXc";
/// The prompt that cases use: `{{prompt}}`.
pub const CANARY_PROMPT: &str = "canary prompt: a lighthouse at 33 degrees south";
/// What no log, error or debug output may contain.
pub const CANARIES: [&str; 3] = [CANARY_KEY, CANARY_HF_KEY, CANARY_PROMPT];

/// A real PNG of 4×3 pixels in base64: `{{png}}`.
pub const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAQAAAADCAIAAAA7ljmRAAAALUlEQVR42g3HQREAQAgDMaSghKmIPhFQDahbaXf5pVCjQYuucOPBi3/SZMiSezreEI06EjUQAAAAAElFTkSuQmCC";
/// A real JPEG of 4×3 pixels in base64: `{{jpeg}}`.
pub const JPEG: &str = "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAj/wAALCAADAAQBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAABv/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AZP/Z";

/// Where the small models of the suite are: `{{models}}`.
const MODELS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../conformance/models");

/// The values of one run. Only the addresses differ between runs.
#[derive(Clone, Debug)]
pub(crate) struct Placeholders {
    values: Vec<(&'static str, String)>,
}

impl Placeholders {
    pub(crate) fn new(addresses: &crate::server::Addresses) -> Self {
        let fixed = [
            ("key", CANARY_KEY),
            ("hf_key", CANARY_HF_KEY),
            ("prompt", CANARY_PROMPT),
            ("png", PNG),
            ("jpeg", JPEG),
            ("models", MODELS),
        ];
        let mut values: Vec<_> = fixed.into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        values.push(("base_url", addresses.base_url()));
        values.push(("other_url", addresses.other_url()));
        values.push(("closed_url", addresses.closed_url()));
        values.push(("host", addresses.host()));
        Self { values }
    }

    /// Fills in the values and expands every `{"$repeat": item, "count": n}` to a list.
    pub(crate) fn fill(&self, value: &Value) -> Result<Value> {
        Ok(match value {
            Value::String(text) => Value::String(self.fill_text(text)?),
            Value::Array(items) => {
                Value::Array(items.iter().map(|item| self.fill(item)).collect::<Result<_>>()?)
            }
            Value::Object(fields) => {
                match (fields.get("$repeat"), fields.get("count").and_then(Value::as_u64)) {
                    (Some(item), Some(count)) if fields.len() == 2 => {
                        let item = self.fill(item)?;
                        Value::Array((0..count).map(|_| item.clone()).collect())
                    }
                    _ => {
                        let filled = fields.iter().map(|(name, value)| Ok((name.clone(), self.fill(value)?)));
                        Value::Object(filled.collect::<Result<_>>()?)
                    }
                }
            }
            other => other.clone(),
        })
    }

    fn fill_text(&self, text: &str) -> Result<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            filled.push_str(before);
            match after.split_once("}}").filter(|(name, _)| is_name(name)) {
                Some((name, behind)) => {
                    filled.push_str(self.value(name)?);
                    rest = behind;
                }
                None => {
                    filled.push_str("{{");
                    rest = after;
                }
            }
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn value(&self, name: &str) -> Result<&str> {
        if name == "tiny_images" {
            return tiny_images();
        }
        let found = self.values.iter().find(|(known, _)| *known == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| Error::config(format!("the placeholder {{{{{name}}}}} is unknown")))
    }
}

/// The folder of the tiny image models, which is written when a case first names it.
fn tiny_images() -> Result<&'static str> {
    static FOLDER: OnceLock<String> = OnceLock::new();
    if let Some(folder) = FOLDER.get() {
        return Ok(folder);
    }
    let folder = crate::tiny_images::shared()
        .map_err(|error| Error::config(format!("the tiny image models cannot be written: {error}")))?;
    Ok(FOLDER.get_or_init(|| folder.display().to_string()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::server::Addresses;

    fn placeholders() -> Placeholders {
        Placeholders::new(&Addresses { main: 8001, other: 8002, closed: 8003 })
    }

    #[test]
    fn placeholders_are_filled_at_any_depth_and_lists_are_made() {
        let filled = placeholders().fill(&json!({
            "a": ["Bearer {{key}}", "{{base_url}}/v1|{{other_url}}"],
            "b": {"$repeat": {"text": "{{host}}"}, "count": 2},
        }));
        let expected = json!({
            "a": [format!("Bearer {CANARY_KEY}"), "http://127.0.0.1:8001/v1|http://127.0.0.1:8002"],
            "b": [{"text": "127.0.0.1:8001"}, {"text": "127.0.0.1:8001"}],
        });
        assert_eq!(filled.expect("every name is known"), expected);
    }

    #[test]
    fn braces_that_hold_no_name_are_left_alone_and_unknown_names_are_refused() {
        let text = json!("{\"a\":{{\"b\":1}}} {{Not}} {{}}");
        assert_eq!(placeholders().fill(&text).expect("no name in it"), text);
        let error = placeholders().fill(&json!("{{nobody}}")).expect_err("unknown");
        assert!(error.message().contains("{{nobody}}"), "{error}");
    }

    #[test]
    fn the_images_are_images() {
        for (text, media_type) in [(PNG, "image/png"), (JPEG, "image/jpeg")] {
            let image = ayni::ImageData::from_base64(text).expect("an image");
            assert_eq!((image.media_type(), image.dimensions()), (media_type, Some((4, 3))));
        }
    }
}
