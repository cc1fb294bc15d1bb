//! Responses, events, progress and errors as JSON, the form in which cases expect them.

use serde_json::{Map, Value, json};

use ayni::EmbedResponse;
use ayni::Error;
use ayni::ImageData;
use ayni::ImageResponse;
use ayni::chat::TokenLogprob;
use ayni::context::Progress;
use ayni::{ChatEvent, ChatResponse};

use base64::prelude::{BASE64_STANDARD as BASE64, Engine as _};

pub(crate) fn embedding(response: &EmbedResponse) -> Value {
    let vectors = response.vectors.iter().map(|vector| vector.iter().map(|x| number(*x)).collect::<Value>());
    json!({
        "vectors": vectors.collect::<Value>(),
        "count": response.vectors.len(),
        "width": response.vectors.width(),
        "truncated": response.truncated,
        "usage": response.usage,
        "route": response.route,
    })
}

/// The number with the fewest digits that identify it, so that a case may say 0.1.
fn number(x: f32) -> Value {
    x.to_string().parse::<f64>().map_or(Value::Null, Value::from)
}

pub(crate) fn chat(response: &ChatResponse) -> Value {
    json!({
        "text": response.text,
        "reasoning": response.reasoning,
        "tool_calls": response.tool_calls,
        "finish": response.finish.as_str(),
        "usage": response.usage,
        "logprobs": logprobs(&response.logprobs),
        "provider_data": response.provider_data,
        "route": response.route,
    })
}

fn logprobs(tokens: &[TokenLogprob]) -> Value {
    let one =
        |token: &TokenLogprob| json!({ "token": token.token, "logprob": token.logprob, "top": token.top });
    tokens.iter().map(one).collect()
}

pub(crate) fn event(event: &ChatEvent) -> Value {
    match event {
        ChatEvent::Started { route } => json!({ "type": "started", "route": route }),
        ChatEvent::Text(text) => json!({ "type": "text", "text": text }),
        ChatEvent::Reasoning(text) => json!({ "type": "reasoning", "text": text }),
        ChatEvent::ToolCallStarted { index, id, name } => {
            json!({ "type": "tool_call_started", "index": index, "id": id, "name": name })
        }
        ChatEvent::ToolCallArguments { index, piece } => {
            json!({ "type": "tool_call_arguments", "index": index, "piece": piece })
        }
        ChatEvent::ToolCall { index, call } => json!({ "type": "tool_call", "index": index, "call": call }),
        ChatEvent::Logprobs(tokens) => json!({ "type": "logprobs", "logprobs": logprobs(tokens) }),
        ChatEvent::Finish { reason, usage, provider_data } => json!({
            "type": "finish",
            "reason": reason.as_str(),
            "usage": usage,
            "provider_data": provider_data,
        }),
        other => unknown(other),
    }
}

/// An event that is newer than this file. No case expects it.
fn unknown(event: &dyn std::fmt::Debug) -> Value {
    json!({ "type": "unknown", "debug": format!("{event:?}") })
}

pub(crate) fn images(response: &ImageResponse) -> Value {
    json!({
        "count": response.images.len(),
        "images": response.images.iter().map(ImageData::to_base64).collect::<Vec<_>>(),
        "media_types": response.images.iter().map(ImageData::media_type).collect::<Vec<_>>(),
        "seed": response.seed,
        "size": response.size,
        "steps": response.steps,
        "scheduler": response.scheduler,
        "revised_prompt": response.revised_prompt,
        "usage": response.usage,
        "route": response.route,
    })
}

pub(crate) fn progress(event: &Progress) -> Value {
    match event {
        Progress::Waiting { reason, elapsed } => {
            json!({ "type": "waiting", "reason": reason, "elapsed_ms": milliseconds(*elapsed) })
        }
        Progress::Retrying { attempt, kind, wait } => {
            json!({ "type": "retrying", "attempt": attempt, "kind": kind, "wait_ms": milliseconds(*wait) })
        }
        Progress::FallingBack { from, to, kind } => {
            json!({ "type": "falling_back", "from": from, "to": to, "kind": kind })
        }
        Progress::Inputs { done, of } => json!({ "type": "inputs", "done": done, "of": of }),
        Progress::ImageStep { step, of, preview } => {
            let preview = preview.as_ref().map(|bytes| BASE64.encode(bytes));
            json!({ "type": "image_step", "step": step, "of": of, "preview": preview })
        }
        Progress::Reading { file, rows, done, of } => {
            json!({ "type": "reading", "file": file, "rows": rows, "done": done, "of": of })
        }
        Progress::Download { file, done, of } => {
            json!({ "type": "download", "file": file, "done": done, "of": of })
        }
        other => unknown(other),
    }
}

/// An error, with its one-line and its debug form.
pub(crate) fn error(error: &Error) -> Value {
    let mut context = Map::new();
    for (name, value) in error.context() {
        context.entry(*name).or_insert_with(|| Value::from(value.as_str()));
    }
    json!({
        "kind": error.kind(),
        "persistence": error.persistence().as_str(),
        "http_status": error.http_status(),
        "retry_after_ms": error.retry_after().map(milliseconds),
        "request_id": error.request_id(),
        "sent": error.sent().as_str(),
        "operation": error.operation().map(ayni::Operation::as_str),
        "backend": error.backend(),
        "message": error.message(),
        "context": context,
        "partial_text": error.partial_text(),
        "display": error.to_string(),
        "debug": format!("{error:?}"),
    })
}

fn milliseconds(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ayni::ErrorKind;

    #[test]
    fn numbers_keep_the_digits_that_a_case_writes() {
        assert_eq!(number(0.1), json!(0.1));
        assert_eq!(number(-1.0), json!(-1.0));
        assert_eq!(number(f32::NAN), Value::Null);
    }

    #[test]
    fn an_error_carries_every_field_that_a_case_may_expect() {
        let failed = Error::new(ErrorKind::RateLimited, "slow")
            .with_http_status(429)
            .with_retry_after(std::time::Duration::from_millis(1500))
            .with_context("limit", "tokens")
            .with_context("limit", "later");
        let json = error(&failed);
        assert_eq!(json["retry_after_ms"], 1500);
        assert_eq!(json["sent"], "yes");
        assert_eq!(json["context"], json!({"limit": "tokens"}), "the first of a name counts");
    }
}
