//! A request as chat templates read it: OpenAI's messages and tools, with what texts may not smuggle in made harmless.

use serde_json::{Map, Value, json};

use crate::chat::{ChatRequest, Message, Part, ReasoningEffort, Role, ToolCall};
use crate::error::{Error, Result};
use crate::local::tokenizer::{Guarding, Prompt};

/// The field of a request whose entries become variables of the template.
const VARIABLES: &str = "chat_template_kwargs";

/// What variables may not replace.
const RESERVED: [&str; 5] = ["messages", "tools", "add_generation_prompt", "bos_token", "eos_token"];

/// Guards against control tokens in the texts of one conversation.
pub(super) struct Guards<'a> {
    words: &'a Guarding,
    control_words: &'a Guarding,
    guard: char,
}

impl<'a> Guards<'a> {
    /// # Errors
    /// `invalid_request` if the conversation uses every character that could be a guard: all of them are reserved.
    pub(super) fn for_request(
        request: &ChatRequest,
        words: &'a Guarding,
        control_words: &'a Guarding,
    ) -> Result<Self> {
        let all =
            serde_json::to_string(request).map_err(|_| Error::invalid_request("the request is not JSON"))?;
        let guard = Prompt::free_guard([all.as_str()].into_iter())
            .ok_or_else(|| Error::invalid_request("the conversation holds every noncharacter of Unicode"))?;
        Ok(Self { words, control_words, guard })
    }

    /// The character that marks what is no control token.
    pub(super) fn guard(&self) -> Option<char> {
        Some(self.guard)
    }

    /// Text from outside: neither control tokens nor the template's own tags.
    fn text(&self, text: &str) -> String {
        self.words.guard(text, self.guard)
    }

    /// Text that the model wrote: it may hold the template's tags, as around thoughts.
    fn own_text(&self, text: &str) -> String {
        self.control_words.guard(text, self.guard)
    }

    /// A text after which the template may write another one at once: no control token may come of the two.
    fn parted(&self, text: &str) -> String {
        let end = text.trim_end().len();
        format!("{}{}{}", &text[..end], self.guard, &text[end..])
    }

    /// A value with every text in it guarded.
    fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.text(text).into(),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => {
                fields.iter().map(|(name, value)| (self.text(name), self.value(value))).collect()
            }
            other => other.clone(),
        }
    }
}

/// The variables of the template.
///
/// # Errors
/// `invalid_request` for variables that are none, or would replace the conversation.
pub(super) fn values(
    request: &ChatRequest,
    guards: &Guards<'_>,
    has_short_ids: bool,
) -> Result<Map<String, Value>> {
    let mut values = Map::new();
    if let Some(effort) = request.reasoning {
        let thinks = effort != ReasoningEffort::None;
        values.insert("enable_thinking".to_owned(), thinks.into());
        values.insert("thinking".to_owned(), thinks.into());
        if thinks {
            values.insert("reasoning_effort".to_owned(), effort.as_str().into());
        }
    }
    match request.extra.get(VARIABLES) {
        None => {}
        Some(Value::Object(variables)) => {
            if let Some(name) = RESERVED.iter().find(|name| variables.contains_key(**name)) {
                return Err(Error::invalid_request(format!("`{VARIABLES}` may not set `{name}`")));
            }
            values.extend(variables.iter().map(|(name, value)| (name.clone(), guards.value(value))));
        }
        Some(_) => return Err(Error::invalid_request(format!("`{VARIABLES}` is no object"))),
    }
    let id = |id: &str| if has_short_ids { short_id(id) } else { guards.text(id) };
    let messages = request.messages.iter().map(|one| message(one, request, guards, &id));
    values.insert("messages".to_owned(), messages.collect());
    let tools: Vec<Value> = request
        .tools
        .iter()
        .map(|tool| {
            guards.value(&json!({ "type": "function", "function": {
                "name": tool.name, "description": tool.description, "parameters": tool.parameters,
            } }))
        })
        .collect();
    values.insert("tools".to_owned(), if tools.is_empty() { Value::Null } else { tools.into() });
    values.insert("documents".to_owned(), Value::Null);
    Ok(values)
}

fn message(
    message: &Message,
    request: &ChatRequest,
    guards: &Guards<'_>,
    id: &impl Fn(&str) -> String,
) -> Value {
    let is_own = message.role == Role::Assistant;
    let text = |text: &str| if is_own { guards.own_text(text) } else { guards.text(text) };
    let mut fields = Map::new();
    // Templates know one role for the application.
    let role = if message.role.instructs() { Role::System } else { message.role };
    fields.insert("role".to_owned(), role.as_str().into());
    let parts: Vec<&Part> = message.content.parts().iter().filter(|part| part.is_for_any_model()).collect();
    let content = match parts.iter().all(|part| matches!(part, Part::Text { .. })) {
        true => text(&message.content.to_text()).into(),
        false => {
            let next = parts.iter().skip(1).map(Some).chain([None]);
            let pieces = parts.iter().zip(next).map(|(part, next)| match part {
                Part::Text { text: piece } => {
                    let is_followed = matches!(next, Some(Part::Text { .. }));
                    let piece = if is_followed { guards.parted(&text(piece)) } else { text(piece) };
                    json!({ "type": "text", "text": piece })
                }
                _ => json!({ "type": "image" }),
            });
            pieces.collect()
        }
    };
    fields.insert("content".to_owned(), content);
    if let Some(reasoning) = &message.reasoning {
        // Each family has its own name for it.
        for name in ["reasoning_content", "reasoning", "thinking"] {
            fields.insert(name.to_owned(), guards.own_text(reasoning).into());
        }
    }
    if !message.tool_calls.is_empty() {
        let calls = message.tool_calls.iter().map(|call| tool_call(call, guards, id));
        fields.insert("tool_calls".to_owned(), calls.collect());
    }
    if let Some(answered) = &message.tool_call_id {
        fields.insert("tool_call_id".to_owned(), id(answered).into());
    }
    let called = || {
        let answered = message.tool_call_id.as_ref()?;
        let calls = request.messages.iter().flat_map(|message| &message.tool_calls);
        calls.filter(|call| call.id == *answered).map(|call| call.name.as_str()).next_back()
    };
    if let Some(name) = message.name.as_deref().or_else(called) {
        fields.insert("name".to_owned(), guards.text(name).into());
    }
    fields.into()
}

fn tool_call(call: &ToolCall, guards: &Guards<'_>, id: &impl Fn(&str) -> String) -> Value {
    // Templates take an object; what the model wrote instead of one is shown as it is.
    let arguments = match call.parse_arguments() {
        Ok(arguments) => guards.value(&arguments),
        Err(_) => guards.text(&call.arguments).into(),
    };
    json!({
        "type": "function", "id": id(&call.id),
        "function": { "name": guards.text(&call.name), "arguments": arguments },
    })
}

/// Nine letters and digits that stand for an id: the same ones always.
fn short_id(id: &str) -> String {
    const CHARACTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    // FNV-1a: no secret, only the same result everywhere.
    let mut hash = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut short = String::new();
    for _ in 0..9 {
        short.push(char::from(CHARACTERS[usize::try_from(hash % 62).unwrap_or_default()]));
        hash /= 62;
    }
    short
}
