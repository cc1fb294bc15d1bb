//! Every template with every conversation, as transformers renders them.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{RenderOptions, Template};
use crate::chat::ChatRequest;
use crate::error::ErrorKind;
use crate::local::tokenizer::testing::{byte_level, golden, golden_json};

/// 2026-01-02 03:04:05 UTC.
const NOW: Duration = Duration::from_secs(1_767_323_045);

#[test]
fn templates_are_rendered_as_transformers_renders_them() {
    let tokenizer =
        byte_level(&["<s>", "</s>", "<|eot_id|>", "<|end|>", "[INST]", "[/INST]", "<|user|>"], "");
    let conversations = golden_json("conversations.json");
    let rendered = golden_json("rendered.json");
    let rendered = rendered.as_object().unwrap();
    assert!(rendered.len() >= 41, "{} templates", rendered.len());
    let options = RenderOptions { now: Some(SystemTime::UNIX_EPOCH + NOW), ..RenderOptions::default() };
    let mut wrong = Vec::new();
    for (name, expected) in rendered {
        let source = match super::builtin::source(name) {
            Some(source) => source.to_owned(),
            None => std::fs::read_to_string(golden("templates").join(format!("{name}.jinja"))).unwrap(),
        };
        let mut template = Template::new(&tokenizer, &source, None).unwrap();
        (template.bos, template.eos) = (Some("<s>".to_owned()), Some("</s>".to_owned()));
        for (conversation, expected) in expected.as_object().unwrap() {
            let request: ChatRequest = serde_json::from_value(conversations[conversation].clone()).unwrap();
            let found = template.render(&request, &options);
            let is_right = match (expected, &found) {
                // Where a template thinks whatever it is asked, ayni closes the thought.
                (Value::String(expected), Ok(found)) if conversation == "no thinking" => {
                    let closed = format!("{}\n</think>\n\n", expected);
                    [expected, &closed].contains(&&found.to_text())
                }
                (Value::String(expected), Ok(found)) => found.to_text() == *expected,
                (_, Err(error)) if error.kind() == ErrorKind::Unsupported => {
                    !template.has_tools() && conversation != "question"
                }
                (Value::Null, Err(error)) => error.kind() == ErrorKind::InvalidRequest,
                _ => false,
            };
            if !is_right {
                let found = found.map(|prompt| prompt.to_text()).unwrap_or_else(|error| error.to_string());
                let expected = expected.as_str().unwrap_or("an error");
                let same = found.bytes().zip(expected.bytes()).take_while(|(a, b)| a == b).count();
                let around = |text: &str| {
                    String::from_utf8_lossy(
                        &text.as_bytes()
                            [same.saturating_sub(30).min(text.len())..(same + 60).min(text.len())],
                    )
                    .into_owned()
                };
                wrong.push(format!(
                    "{name}, {conversation}:\n  {:?}\n  {:?}",
                    around(&found),
                    around(expected)
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
