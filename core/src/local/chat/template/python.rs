//! Values as Python writes them: `str`, `repr`, and `json.dumps`.

use std::fmt::Write as _;

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

use crate::local::tokenizer::Prompt;

/// How deep values may lie in values.
const MAX_DEPTH: usize = 128;

fn too_deep() -> Error {
    Error::new(ErrorKind::InvalidOperation, "a value is nested too deep")
}

/// `str(value)`; nothing for what is not defined.
pub(super) fn text(value: &Value) -> Result<String, Error> {
    let mut text = String::new();
    match (value.kind(), value.as_str()) {
        (ValueKind::Undefined, _) => {}
        (_, Some(string)) => text.push_str(string),
        _ => repr(value, &mut text, 0)?,
    }
    Ok(text)
}

/// `repr(value)`.
fn repr(value: &Value, text: &mut String, depth: usize) -> Result<(), Error> {
    if depth > MAX_DEPTH {
        return Err(too_deep());
    }
    match value.kind() {
        ValueKind::Undefined | ValueKind::None => text.push_str("None"),
        ValueKind::Bool => text.push_str(if value.is_true() { "True" } else { "False" }),
        ValueKind::Number => text.push_str(&number(value)),
        ValueKind::String => quote(value.as_str().unwrap_or_default(), text),
        ValueKind::Seq | ValueKind::Iterable => {
            text.push('[');
            for (at, item) in value.try_iter()?.enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                repr(&item, text, depth + 1)?;
            }
            text.push(']');
        }
        ValueKind::Map => {
            text.push('{');
            for (at, key) in value.try_iter()?.enumerate() {
                text.push_str(if at > 0 { ", " } else { "" });
                repr(&key, text, depth + 1)?;
                text.push_str(": ");
                repr(&value.get_item(&key)?, text, depth + 1)?;
            }
            text.push('}');
        }
        _ => write!(text, "{value}").map_err(Error::from)?,
    }
    Ok(())
}

fn quote(string: &str, text: &mut String) {
    let mark = if string.contains('\'') && !string.contains('"') { '"' } else { '\'' };
    text.push(mark);
    for character in string.chars() {
        match character {
            '\n' => text.push_str("\\n"),
            '\r' => text.push_str("\\r"),
            '\t' => text.push_str("\\t"),
            '\\' => text.push_str("\\\\"),
            character if character == mark => {
                text.push('\\');
                text.push(mark);
            }
            character if u32::from(character) < 0x20 || character == '\u{7f}' => {
                text.push_str(&format!("\\x{:02x}", u32::from(character)));
            }
            character => text.push(character),
        }
    }
    text.push(mark);
}

/// A number as Python's `repr` has it: the shortest digits, with an exponent below 1e-4 and from 1e16 on.
fn number(value: &Value) -> String {
    if value.is_integer() {
        return value.to_string();
    }
    let Ok(float) = f64::try_from(value.clone()) else { return value.to_string() };
    if float.is_nan() || float.is_infinite() {
        return match float {
            f64::INFINITY => "inf".to_owned(),
            f64::NEG_INFINITY => "-inf".to_owned(),
            _ => "nan".to_owned(),
        };
    }
    let size = float.abs();
    if size != 0.0 && !(1e-4..1e16).contains(&size) {
        let scientific = format!("{float:e}");
        let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{float:?}")
}

/// `json.dumps` and its options.
#[derive(Debug)]
pub(super) struct Json {
    pub(super) indent: Option<usize>,
    pub(super) item_separator: String,
    pub(super) key_separator: String,
    pub(super) ascii: bool,
    pub(super) sorted: bool,
}

impl Default for Json {
    fn default() -> Self {
        let (item_separator, key_separator) = (", ".to_owned(), ": ".to_owned());
        Self { indent: None, item_separator, key_separator, ascii: false, sorted: false }
    }
}

impl Json {
    pub(super) fn write(&self, value: &Value) -> Result<String, Error> {
        let mut text = String::new();
        self.value(value, &mut text, 0)?;
        Ok(text)
    }

    fn value(&self, value: &Value, text: &mut String, depth: usize) -> Result<(), Error> {
        if depth > MAX_DEPTH {
            return Err(too_deep());
        }
        match value.kind() {
            ValueKind::None => text.push_str("null"),
            ValueKind::Bool => text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => text.push_str(match number(value).as_str() {
                "inf" => "Infinity",
                "-inf" => "-Infinity",
                "nan" => "NaN",
                number => number,
            }),
            ValueKind::String => self.string(value.as_str().unwrap_or_default(), text),
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?.collect::<Vec<_>>();
                self.list('[', ']', items.len(), text, depth, |at, text| {
                    self.value(&items[at], text, depth + 1)
                })?;
            }
            ValueKind::Map => {
                let mut keys = value.try_iter()?.collect::<Vec<_>>();
                if self.sorted {
                    keys.sort();
                }
                self.list('{', '}', keys.len(), text, depth, |at, text| {
                    match keys[at].as_str() {
                        Some(key) => self.string(key, text),
                        None => self.string(&Self::default().write(&keys[at])?, text),
                    }
                    text.push_str(&self.key_separator);
                    self.value(&value.get_item(&keys[at])?, text, depth + 1)
                })?;
            }
            kind => {
                return Err(Error::new(
                    ErrorKind::BadSerialization,
                    format!("{kind} is not JSON serializable"),
                ));
            }
        }
        Ok(())
    }

    fn list(
        &self,
        open: char,
        close: char,
        count: usize,
        text: &mut String,
        depth: usize,
        mut item: impl FnMut(usize, &mut String) -> Result<(), Error>,
    ) -> Result<(), Error> {
        text.push(open);
        for at in 0..count {
            if at > 0 {
                text.push_str(&self.item_separator);
            }
            self.line(text, depth + 1);
            item(at, text)?;
        }
        if count > 0 {
            self.line(text, depth);
        }
        text.push(close);
        Ok(())
    }

    fn line(&self, text: &mut String, depth: usize) {
        if let Some(indent) = self.indent {
            text.push('\n');
            text.push_str(&" ".repeat(indent * depth));
        }
    }

    fn string(&self, string: &str, text: &mut String) {
        text.push('"');
        for character in string.chars() {
            match character {
                '"' => text.push_str("\\\""),
                '\\' => text.push_str("\\\\"),
                '\n' => text.push_str("\\n"),
                '\r' => text.push_str("\\r"),
                '\t' => text.push_str("\\t"),
                '\u{8}' => text.push_str("\\b"),
                '\u{c}' => text.push_str("\\f"),
                character if character < ' ' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
                // A guard is no part of what anybody wrote.
                character if self.ascii && !character.is_ascii() && !Prompt::may_guard(character) => {
                    for unit in character.encode_utf16(&mut [0; 2]) {
                        text.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                character => text.push(character),
            }
        }
        text.push('"');
    }
}

#[cfg(test)]
mod tests {
    use minijinja::value::Serde;
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_python_writes_them() {
        let value = Value::from(Serde(json!({
            "none": null, "yes": true, "list": [1, 2.0, -0.5, 1e16, 1e-5, 123456789.125], "it's": "a\"b'\n", "é": {},
        })));
        let expected = "{'none': None, 'yes': True, 'list': [1, 2.0, -0.5, 1e+16, 1e-05, 123456789.125], \
                        \"it's\": 'a\"b\\'\\n', 'é': {}}";
        assert_eq!(text(&value).unwrap(), expected);
        let json = Json::default().write(&value).unwrap();
        let expected = "{\"none\": null, \"yes\": true, \"list\": [1, 2.0, -0.5, 1e+16, 1e-05, 123456789.125], \
                        \"it's\": \"a\\\"b'\\n\", \"é\": {}}";
        assert_eq!(json, expected);
        let options =
            Json { indent: Some(2), item_separator: ",".to_owned(), ascii: true, ..Json::default() };
        let json = options.write(&Value::from(Serde(json!({"é😀": [1, []]})))).unwrap();
        assert_eq!(json, "{\n  \"\\u00e9\\ud83d\\ude00\": [\n    1,\n    []\n  ]\n}");
    }

    #[test]
    fn deep_values_are_an_error() {
        let mut value = Value::from(1);
        for _ in 0..1000 {
            value = Value::from(vec![value]);
        }
        assert!(text(&value).is_err());
        assert!(Json::default().write(&value).is_err());
    }
}
