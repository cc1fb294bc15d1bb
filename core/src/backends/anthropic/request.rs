//! The body of a request.

use serde_json::{Map, Value, json};

use super::client::Anthropic;
use super::turns::{messages, system};
use super::wire::{Body, FormatOut, OutputConfig, ToolChoiceOut, ToolOut};
use crate::backends::vectors::with_extra;
use crate::chat::{ChatRequest, OutputFormat, ReasoningEffort, Tool, ToolChoice};
use crate::error::{Error, Result};
use crate::wire::numbers::decimal;
use crate::wire::openai::chat::cache_control;

/// The least budget of thinking that the API takes.
const LEAST_BUDGET: u32 = 1024;

/// The body that says what `request` asks for, its extra fields included.
///
/// # Errors
/// `unsupported` naming an option that the API does not have; `invalid_request` for what it cannot be told.
pub(super) fn body(backend: &Anthropic, request: &ChatRequest, stream: bool) -> Result<Value> {
    request.check()?;
    refuse_unsupported(request)?;
    let model = &*backend.info.model;
    let leading = request.messages.iter().take_while(|message| message.role.instructs()).count();
    let (instructions, turns) = request.messages.split_at(leading);
    let mut output_config = OutputConfig {
        effort: None,
        format: request
            .output
            .as_ref()
            .and_then(OutputFormat::described_schema)
            .map(|schema| FormatOut { r#type: "json_schema", schema }),
    };
    let mut max_tokens = request.max_tokens.unwrap_or(backend.max_tokens);
    let thinking = match request.reasoning {
        None => None,
        Some(ReasoningEffort::None) => Some(json!({ "type": "disabled" })),
        Some(effort) if takes_budget(model) => {
            let budget = budget(effort, request.max_tokens)?;
            if request.max_tokens.is_none() {
                max_tokens = max_tokens.saturating_add(budget);
            }
            Some(json!({ "type": "enabled", "budget_tokens": budget }))
        }
        Some(effort) => {
            output_config.effort = Some(effort.as_str());
            Some(json!({ "type": "adaptive", "display": "summarized" }))
        }
    };
    let body = Body {
        model,
        max_tokens,
        system: system(instructions, backend.citations)?,
        messages: messages(turns, backend.citations)?,
        temperature: request.temperature.map(decimal),
        top_p: request.top_p.map(decimal),
        top_k: request.top_k,
        stop_sequences: &request.stop,
        tools: request.tools.iter().map(tool).collect::<Result<_>>()?,
        tool_choice: request.tool_choice.as_ref().map(tool_choice),
        thinking,
        output_config,
        stream: stream.then_some(true),
    };
    let mut extra = request.extra.clone();
    let mut body = with_extra(&body, &Map::new())?;
    if let (Some(Value::Array(ours)), Some(Value::Array(theirs))) =
        (body.get_mut("tools"), extra.remove("tools"))
    {
        // The provider's own tools, beside the caller's.
        ours.extend(theirs);
    } else if let Some(theirs) = request.extra.get("tools") {
        extra.insert("tools".to_owned(), theirs.clone());
    }
    with_extra(&body, &extra)
}

fn refuse_unsupported(request: &ChatRequest) -> Result<()> {
    let options = [
        ("frequency_penalty", request.frequency_penalty.is_some()),
        ("presence_penalty", request.presence_penalty.is_some()),
        ("seed", request.seed.is_some()),
        ("logprobs", request.logprobs.is_some()),
        ("name", request.messages.iter().any(|message| message.name.is_some())),
    ];
    if let Some((option, _)) = options.into_iter().find(|(_, is_set)| *is_set) {
        return Err(Error::unsupported_option(option, format!("Anthropic does not take `{option}`")));
    }
    match request.output {
        Some(OutputFormat::Json) => Err(Error::unsupported(
            "Anthropic gives JSON by a schema only: use `json_schema` instead of `json` for `output`",
        )),
        _ => Ok(()),
    }
}

/// The tokens of thinking, which count into those of the answer.
fn budget(effort: ReasoningEffort, max_tokens: Option<u32>) -> Result<u32> {
    let wanted = match effort {
        ReasoningEffort::None | ReasoningEffort::Low => LEAST_BUDGET,
        ReasoningEffort::Medium => 8192,
        ReasoningEffort::High => 24_576,
    };
    match max_tokens {
        Some(most) if most <= LEAST_BUDGET => Err(Error::invalid_request(format!(
            "`max_tokens` is {most}, but thinking alone takes {LEAST_BUDGET}: raise it or leave `reasoning` out"
        ))),
        Some(most) => Ok(wanted.min(most - 1)),
        None => Ok(wanted),
    }
}

/// Models before 4.6 are told how many tokens to think; later ones decide, by an effort.
fn takes_budget(model: &str) -> bool {
    let name = model.rsplit(['/', '.']).next().unwrap_or(model);
    if name.starts_with("claude-2") || name.starts_with("claude-3") {
        return true;
    }
    let mut steps =
        name.split('-').skip(2).map(|step| step.split('@').next().unwrap_or(step).parse::<u32>().ok());
    match (steps.next().flatten(), steps.next().flatten()) {
        (Some(major), Some(minor)) if minor < 100 => (major, minor) < (4, 6),
        (Some(major), _) => major <= 4,
        _ => false,
    }
}

fn tool(tool: &Tool) -> Result<ToolOut<'_>> {
    let input_schema = match &tool.parameters {
        Value::Object(_) => std::borrow::Cow::Borrowed(&tool.parameters),
        Value::Null => std::borrow::Cow::Owned(json!({ "type": "object", "properties": {} })),
        _ => {
            return Err(Error::invalid_request(format!(
                "the parameters of tool '{}' are not a JSON Schema object",
                tool.name
            )));
        }
    };
    Ok(ToolOut {
        name: &tool.name,
        description: &tool.description,
        input_schema,
        strict: tool.strict.then_some(true),
        cache_control: tool.cache.map(cache_control),
    })
}

fn tool_choice(choice: &ToolChoice) -> ToolChoiceOut<'_> {
    let (r#type, name) = match choice {
        ToolChoice::Auto => ("auto", None),
        ToolChoice::None => ("none", None),
        ToolChoice::Required => ("any", None),
        ToolChoice::Tool(name) => ("tool", Some(name.as_str())),
    };
    ToolChoiceOut { r#type, name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_are_told_by_their_names_how_to_think() {
        for model in [
            "claude-3-7-sonnet-20250219",
            "claude-sonnet-4-20250514",
            "claude-opus-4-1",
            "claude-haiku-4-5-20251001",
            "anthropic/claude-sonnet-4-5",
        ] {
            assert!(takes_budget(model), "{model}");
        }
        for model in ["claude-sonnet-4-6", "claude-opus-5", "claude-opus-4-6-20260205", "claude-next"] {
            assert!(!takes_budget(model), "{model}");
        }
    }
}
