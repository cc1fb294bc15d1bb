//! Calls that are written as tags instead of JSON.

use serde_json::{Map, Value};

use crate::chat::Tool;

/// Name and arguments of a call between `<tool_call>` and `</tool_call>`: Qwen's
/// `<function=NAME><parameter=KEY>VALUE</parameter></function>`, or GLM's
/// `NAME<arg_key>KEY</arg_key><arg_value>VALUE</arg_value>`.
pub(super) fn read(written: &str, tools: &[Tool]) -> Option<(String, String)> {
    let written = written.trim();
    let (name, pairs) = match written.strip_prefix("<function=") {
        Some(rest) => {
            let (name, rest) = rest.split_once('>')?;
            (name, pairs(rest, "<parameter=", ">", "</parameter>"))
        }
        None => {
            let name = written.split("<arg_key>").next()?;
            (name, pairs(written, "<arg_key>", "</arg_key>", "</arg_value>"))
        }
    };
    let name = name.trim();
    if name.is_empty() || name.contains(char::is_whitespace) {
        return None;
    }
    let tool = tools.iter().find(|tool| tool.name == name);
    let mut arguments = Map::new();
    for (key, value) in pairs {
        let schema = tool.and_then(|tool| tool.parameters.get("properties")?.get(key));
        arguments.insert(key.to_owned(), typed(value, schema));
    }
    Some((name.to_owned(), Value::Object(arguments).to_string()))
}

fn pairs<'a>(mut rest: &'a str, open: &str, middle: &str, close: &str) -> Vec<(&'a str, &'a str)> {
    let mut pairs = Vec::new();
    while let Some((_, after)) = rest.split_once(open) {
        let Some((key, after)) = after.split_once(middle) else { break };
        // The last value may lack its closing tag.
        let (value, after) = after.split_once(close).unwrap_or((after, ""));
        let value = value.trim_start().strip_prefix("<arg_value>").unwrap_or(value);
        let value = value.strip_prefix('\n').unwrap_or(value);
        pairs.push((key.trim(), value.strip_suffix('\n').unwrap_or(value)));
        rest = after;
    }
    pairs
}

/// A value as its schema has it: text, unless that is something else and the value reads as it.
fn typed(value: &str, schema: Option<&Value>) -> Value {
    let is_text = match schema.and_then(|schema| schema.get("type")) {
        Some(Value::String(kind)) => kind == "string",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "string"),
        _ => false,
    };
    match is_text {
        true => value.into(),
        false => serde_json::from_str(value.trim()).unwrap_or_else(|_| value.into()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn both_kinds_of_tags_are_read_with_the_types_of_the_schema() {
        let parameters = json!({"properties": {"city": {"type": "string"}, "days": {"type": "integer"}}});
        let tools = [Tool::new("weather", "", parameters)];
        let expected = Some(("weather".to_owned(), r#"{"city":"12","days":3,"x":[1]}"#.to_owned()));
        let qwen = "\n<function=weather>\n<parameter=city>\n12\n</parameter>\n<parameter=days>\n3\n</parameter>\n\
                    <parameter=x>\n[1]\n</parameter>\n</function>\n";
        assert_eq!(read(qwen, &tools), expected);
        let glm = "weather\n<arg_key>city</arg_key>\n<arg_value>12</arg_value>\n<arg_key>days</arg_key>\n\
                   <arg_value>3</arg_value>\n<arg_key>x</arg_key>\n<arg_value>[1]</arg_value>\n";
        assert_eq!(read(glm, &tools), expected);
        assert_eq!(read("weather", &tools), Some(("weather".to_owned(), "{}".to_owned())));
        assert_eq!(read("", &tools), None);
        assert_eq!(read("no call at all", &tools), None);
    }
}
