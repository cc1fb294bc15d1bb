//! The body of a chat request, with the habits of each vendor.

use serde_json::{Map, Value, json};

use super::profiles::{ChatRules, SchemaDialect};
use crate::chat::{ChatRequest, OutputFormat};
use crate::error::{Error, Result};
use crate::wire::openai::chat::{CompletionBody, MessageStyle, StreamOptionsJson};

/// The body that says what `request` asks for, by the vendor's rules.
///
/// # Errors
/// `unsupported` naming an option that the vendor refuses.
pub(super) fn chat_body<'a>(
    rules: &ChatRules,
    model: &'a str,
    style: &MessageStyle<'_>,
    request: &'a ChatRequest,
    stream: bool,
) -> Result<CompletionBody<'a>> {
    let used = used_fields(request);
    refuse_unsupported(style.vendor, rules, request, &used)?;
    let mut body = CompletionBody::write(model, request, style)?;
    let renamed = rules.reasoning_models_rename_max_tokens && is_reasoning_model(model);
    if renamed || rules.max_completion_tokens {
        body.max_completion_tokens = body.max_tokens.take();
    }
    body.temperature = body.temperature.map(|temperature| temperature.max(rules.temperature_floor));
    if let Some(schema) = schema_format(request.output.as_ref(), rules.schema) {
        body.response_format = None;
        body.further.insert("response_format".to_owned(), schema);
    }
    if rules.seed_field != "seed"
        && let Some(seed) = body.seed.take()
    {
        body.further.insert(rules.seed_field.to_owned(), seed.into());
    }
    body.stream = stream.then_some(true);
    body.stream_options = (stream && rules.stream_options).then(StreamOptionsJson::with_usage);
    add_extra(&mut body.further, request, rules, &used);
    Ok(body)
}

/// The names of the options that the request sets, as the protocol spells them.
fn used_fields(request: &ChatRequest) -> Vec<&'static str> {
    let fields = [
        ("max_tokens", request.max_tokens.is_some()),
        ("max_completion_tokens", request.max_tokens.is_some()),
        ("temperature", request.temperature.is_some()),
        ("top_p", request.top_p.is_some()),
        ("top_k", request.top_k.is_some()),
        ("frequency_penalty", request.frequency_penalty.is_some()),
        ("presence_penalty", request.presence_penalty.is_some()),
        ("seed", request.seed.is_some()),
        ("stop", !request.stop.is_empty()),
        ("tools", !request.tools.is_empty()),
        ("tool_choice", request.tool_choice.is_some()),
        ("response_format", request.output.is_some()),
        ("reasoning_effort", request.reasoning.is_some()),
        ("logprobs", request.logprobs.is_some()),
        ("top_logprobs", request.logprobs.is_some()),
        ("n", request.choices.is_some_and(|choices| choices != 1)),
        ("name", request.messages.iter().any(|message| message.name.is_some())),
    ];
    fields.into_iter().filter(|(_, used)| *used).map(|(name, _)| name).collect()
}

fn refuse_unsupported(vendor: &str, rules: &ChatRules, request: &ChatRequest, used: &[&str]) -> Result<()> {
    let refuse = |option: &str| {
        Error::unsupported_option(option, format!("vendor '{vendor}' does not take `{option}`"))
    };
    if request.extra.get("n").is_some_and(|n| n != 1) {
        return Err(Error::unsupported("`n` above 1 is `choices` of the request, not a further field"));
    }
    if let Some(option) = used.iter().find(|option| rules.refused.contains(option)) {
        return Err(refuse(option));
    }
    match request.extra.keys().find(|option| *option != "n" && rules.refused.contains(&option.as_str())) {
        Some(option) => Err(refuse(option)),
        None => Ok(()),
    }
}

/// Adds the caller's further fields, except those that ayni sets itself.
fn add_extra(body: &mut Map<String, Value>, request: &ChatRequest, rules: &ChatRules, used: &[&str]) {
    const OWN: [&str; 4] = ["model", "messages", "stream", "stream_options"];
    for (name, value) in &request.extra {
        let refused_one = name == "n" && rules.refused.contains(&"n");
        let own = OWN.contains(&name.as_str()) || (name == "n" && request.choices.is_some());
        let taken = own || used.contains(&name.as_str()) || refused_one;
        if !taken && !body.contains_key(name) {
            body.insert(name.clone(), value.clone());
        }
    }
}

/// A schema for the answer, where the vendor has words of its own for it.
fn schema_format(output: Option<&OutputFormat>, dialect: SchemaDialect) -> Option<Value> {
    let Some(OutputFormat::JsonSchema { schema, .. }) = output else { return None };
    match dialect {
        SchemaDialect::Standard => None,
        SchemaDialect::Flattened => Some(json!({ "type": "json_schema", "schema": schema })),
        SchemaDialect::JsonObject => Some(json!({ "type": "json_object", "schema": schema })),
    }
}

/// OpenAI's reasoning models: `o1`, `o3-mini`, `gpt-5` and later.
fn is_reasoning_model(model: &str) -> bool {
    let name = model.rsplit('/').next().unwrap_or(model);
    let digit_after = |prefix: &str| {
        name.strip_prefix(prefix).and_then(|rest| rest.chars().next()).and_then(|digit| digit.to_digit(10))
    };
    digit_after("o").is_some() || digit_after("gpt-").is_some_and(|version| version >= 5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasoning_models_are_told_by_their_names() {
        for model in ["o1", "o3-mini", "o4-mini-2025-04-16", "gpt-5", "gpt-5.1-chat", "openai/gpt-6"] {
            assert!(is_reasoning_model(model), "{model}");
        }
        for model in ["gpt-4o-mini", "gpt-4.1", "gpt-oss-20b", "omni-moderation", "olmo-2", "chatgpt-4o"] {
            assert!(!is_reasoning_model(model), "{model}");
        }
    }
}
