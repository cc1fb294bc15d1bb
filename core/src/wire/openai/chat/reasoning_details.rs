//! `reasoning_details`: OpenRouter's list of reasoning, whose items come in pieces and go back whole.

use serde_json::{Map, Value};

/// The texts of the list.
pub(super) fn text_of(details: &Value) -> String {
    let items = details.as_array().into_iter().flatten();
    items.filter_map(|item| item.get("text").or_else(|| item.get("summary"))?.as_str()).collect()
}

/// Adds the pieces of `later`: each continues the item with its index and type, so that a signature reaches the text that
/// it signs. A piece without an index continues the last item of its type.
pub(super) fn merge(list: &mut Vec<Value>, later: Vec<Value>) {
    for piece in later {
        let found = list.iter_mut().rev().find(|item| continues(item, &piece));
        match (found, piece) {
            (Some(Value::Object(item)), Value::Object(piece)) => add(item, piece),
            (_, piece) => list.push(piece),
        }
    }
}

fn continues(item: &Value, piece: &Value) -> bool {
    let kind = |value: &Value| value.get("type").and_then(Value::as_str).map(str::to_owned);
    let same_kind = kind(piece).is_none_or(|name| kind(item) == Some(name));
    let index = |value: &Value| value.get("index").and_then(Value::as_u64);
    same_kind && index(item) == index(piece)
}

/// Texts are continued; what else a piece says replaces what was said before, unless it is null.
fn add(item: &mut Map<String, Value>, piece: Map<String, Value>) {
    for (name, value) in piece {
        match (item.get_mut(&name), value) {
            (_, Value::Null) => {}
            (Some(Value::String(old)), Value::String(new)) if matches!(name.as_str(), "text" | "summary") => {
                old.push_str(&new);
            }
            (Some(old), new) => *old = new,
            (None, new) => {
                item.insert(name, new);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_signature_reaches_the_text_that_it_signs() {
        let pieces = [
            json!([{ "type": "reasoning.text", "text": "one ", "index": 0, "signature": null }]),
            json!([{ "type": "reasoning.text", "text": "two", "index": 0 }]),
            json!([{ "type": "reasoning.text", "signature": "sig", "index": 0 },
                   { "type": "reasoning.encrypted", "data": "abc", "index": 1 }]),
        ];
        let mut list = Vec::new();
        let mut text = String::new();
        for piece in pieces {
            text += &text_of(&piece);
            let Value::Array(piece) = piece else { panic!("a list") };
            merge(&mut list, piece);
        }
        assert_eq!(text, "one two");
        let whole = json!([
            { "type": "reasoning.text", "text": "one two", "index": 0, "signature": "sig" },
            { "type": "reasoning.encrypted", "data": "abc", "index": 1 },
        ]);
        assert_eq!(Value::Array(list), whole);
    }
}
