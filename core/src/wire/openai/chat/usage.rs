//! Tokens used and log-probabilities, as they are written and as vendors write them.

use serde::Serialize;
use serde_json::Value;

use crate::chat::TokenLogprob;
use crate::info::Usage;

/// The tokens of a response.
#[derive(Debug, Serialize)]
pub(super) struct UsageJson {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionTokensJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptTokensJson>,
}

#[derive(Debug, Serialize)]
struct CompletionTokensJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_tokens: Option<u64>,
}

#[derive(Debug, Serialize)]
struct PromptTokensJson {
    #[serde(skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio_tokens: Option<u64>,
}

impl UsageJson {
    /// Nothing where the backend does not say what it used.
    pub(super) fn write(usage: &Usage) -> Option<Self> {
        if usage.input_tokens.is_none() && usage.output_tokens.is_none() {
            return None;
        }
        let (input, output) = (usage.input_tokens.unwrap_or(0), usage.output_tokens.unwrap_or(0));
        Some(Self {
            prompt_tokens: input,
            completion_tokens: output,
            total_tokens: input.saturating_add(output),
            completion_tokens_details: usage.reasoning_tokens.or(usage.output_audio_tokens).map(|_| {
                CompletionTokensJson {
                    reasoning_tokens: usage.reasoning_tokens,
                    audio_tokens: usage.output_audio_tokens,
                }
            }),
            prompt_tokens_details: usage
                .cached_tokens
                .or(usage.cache_write_tokens)
                .or(usage.input_audio_tokens)
                .map(|_| PromptTokensJson {
                    cached_tokens: usage.cached_tokens,
                    cache_write_tokens: usage.cache_write_tokens,
                    audio_tokens: usage.input_audio_tokens,
                }),
        })
    }
}

/// Reads the usage under any of the names that vendors have for it.
///
/// The tokens of reasoning are a part of the output, as OpenAI counts. Where a vendor leaves them out (xAI, Google), its
/// total shows it, and they are added.
pub(crate) fn read_usage(usage: &Value) -> Usage {
    let count = |names: &[&str]| names.iter().find_map(|name| usage.pointer(name)?.as_u64());
    let input = count(&["/prompt_tokens", "/input_tokens"]);
    let output = count(&["/completion_tokens", "/output_tokens"]);
    let total = count(&["/total_tokens"]);
    // A call without an answer, such as one of embeddings, may have a total only.
    let mut read = Usage::new(input.or(total.filter(|_| output.is_none())), output);
    read.reasoning_tokens = count(&[
        "/completion_tokens_details/reasoning_tokens",
        "/output_tokens_details/reasoning_tokens",
        "/reasoning_tokens",
    ]);
    read.cached_tokens = count(&[
        "/prompt_tokens_details/cached_tokens",
        "/prompt_token_details/cached_tokens",
        "/input_tokens_details/cached_tokens",
        "/prompt_cache_hit_tokens",
        "/num_cached_tokens",
        "/cached_tokens",
        "/cache_read_input_tokens",
    ]);
    read.cache_write_tokens = count(&[
        "/prompt_tokens_details/cache_write_tokens",
        "/prompt_tokens_details/cache_creation_tokens",
        "/input_tokens_details/cache_write_tokens",
        "/cache_creation_input_tokens",
    ]);
    read.input_audio_tokens = count(&["/prompt_tokens_details/audio_tokens"]);
    read.output_audio_tokens = count(&["/completion_tokens_details/audio_tokens"]);
    if let (Some(input), Some(output), Some(reasoning)) = (input, output, read.reasoning_tokens) {
        let apart = input.saturating_add(output).saturating_add(reasoning);
        if reasoning > output || (reasoning > 0 && total == Some(apart)) {
            read.output_tokens = Some(output.saturating_add(reasoning));
        }
    }
    read
}

/// The log-probabilities of a choice.
#[derive(Debug, Serialize)]
pub(super) struct LogprobsJson<'a> {
    content: Vec<LogprobJson<'a>>,
    refusal: (),
}

#[derive(Debug, Serialize)]
struct LogprobJson<'a> {
    #[serde(flatten)]
    token: TokenJson<'a>,
    top_logprobs: Vec<TokenJson<'a>>,
}

#[derive(Debug, Serialize)]
struct TokenJson<'a> {
    token: &'a str,
    logprob: f64,
    bytes: &'a [u8],
}

impl<'a> LogprobsJson<'a> {
    /// Nothing where there are none.
    pub(super) fn write(tokens: &'a [TokenLogprob]) -> Option<Self> {
        let token = |token: &'a str, logprob: f64| TokenJson { token, logprob, bytes: token.as_bytes() };
        let entry = |entry: &'a TokenLogprob| LogprobJson {
            token: token(&entry.token, entry.logprob),
            top_logprobs: entry.top.iter().map(|(text, logprob)| token(text, *logprob)).collect(),
        };
        (!tokens.is_empty()).then(|| Self { content: tokens.iter().map(entry).collect(), refusal: () })
    }
}

/// Reads log-probabilities: OpenAI's list of tokens, or Together's parallel lists.
pub(crate) fn read_logprobs(logprobs: &Value) -> Vec<TokenLogprob> {
    if let Some(tokens) = logprobs.get("content").and_then(Value::as_array) {
        return tokens.iter().filter_map(token_logprob).collect();
    }
    let list = |name| logprobs.get(name).and_then(Value::as_array);
    let (Some(tokens), Some(logprobs)) = (list("tokens"), list("token_logprobs")) else {
        return Vec::new();
    };
    let pairs = tokens.iter().zip(logprobs);
    pairs.filter_map(|(token, logprob)| Some(TokenLogprob::new(token.as_str()?, logprob.as_f64()?))).collect()
}

fn token_logprob(entry: &Value) -> Option<TokenLogprob> {
    let pair =
        |entry: &Value| Some((entry.get("token")?.as_str()?.to_owned(), entry.get("logprob")?.as_f64()?));
    let (token, logprob) = pair(entry)?;
    let top = entry.get("top_logprobs").and_then(Value::as_array);
    Some(TokenLogprob::new(token, logprob).with_top(top.into_iter().flatten().filter_map(pair).collect()))
}
