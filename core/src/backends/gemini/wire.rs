//! What `:generateContent` answers, as Google sends it: every field may be missing.

use serde::Deserialize;
use serde_json::Value;

use crate::chat::{FinishReason, TokenLogprob};
use crate::info::Usage;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Reply {
    pub(super) candidates: Option<Vec<Candidate>>,
    pub(super) prompt_feedback: Option<PromptFeedback>,
    pub(super) usage_metadata: Option<UsageMetadata>,
    pub(super) model_version: Option<String>,
    pub(super) response_id: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PromptFeedback {
    pub(super) block_reason: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Candidate {
    pub(super) content: Option<Content>,
    pub(super) finish_reason: Option<String>,
    pub(super) logprobs_result: Option<LogprobsResult>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Content {
    pub(super) parts: Option<Vec<Part>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Part {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    pub(super) thought_signature: Option<String>,
    pub(super) function_call: Option<FunctionCall>,
    pub(super) inline_data: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct FunctionCall {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) args: Option<Value>,
}

/// Token counts; in a stream each one is the count so far.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct UsageMetadata {
    prompt_token_count: Option<u64>,
    tool_use_prompt_token_count: Option<u64>,
    candidates_token_count: Option<u64>,
    thoughts_token_count: Option<u64>,
    cached_content_token_count: Option<u64>,
}

impl UsageMetadata {
    /// Google counts thoughts beside the answer, not inside it.
    pub(super) fn into_usage(self) -> Usage {
        let prompt = Usage::new(self.prompt_token_count, self.candidates_token_count);
        let mut usage = prompt.plus(Usage::new(self.tool_use_prompt_token_count, None));
        usage.reasoning_tokens = self.thoughts_token_count;
        usage.cached_tokens = self.cached_content_token_count;
        usage
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct LogprobsResult {
    chosen_candidates: Option<Vec<Token>>,
    top_candidates: Option<Vec<TopCandidates>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct TopCandidates {
    candidates: Option<Vec<Token>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Token {
    token: Option<String>,
    log_probability: Option<f64>,
}

impl Token {
    fn into_pair(self) -> (String, f64) {
        // Google leaves a probability of one, whose logarithm is zero, out.
        (self.token.unwrap_or_default(), self.log_probability.unwrap_or_default())
    }
}

impl LogprobsResult {
    pub(super) fn into_tokens(self) -> Vec<TokenLogprob> {
        let mut tops = self.top_candidates.unwrap_or_default().into_iter();
        let chosen = self.chosen_candidates.unwrap_or_default().into_iter();
        chosen
            .map(|token| {
                let top = tops.next().and_then(|top| top.candidates).unwrap_or_default();
                let (text, logprob) = token.into_pair();
                TokenLogprob::new(text, logprob).with_top(top.into_iter().map(Token::into_pair).collect())
            })
            .collect()
    }
}

/// The reason that `finishReason` names.
pub(super) fn finish_reason(text: &str, calls_tools: bool) -> FinishReason {
    match text {
        "STOP" if calls_tools => FinishReason::ToolCalls,
        "STOP" => FinishReason::Stop,
        "MAX_TOKENS" => FinishReason::Length,
        "SAFETY"
        | "RECITATION"
        | "BLOCKLIST"
        | "PROHIBITED_CONTENT"
        | "SPII"
        | "MODEL_ARMOR"
        | "IMAGE_SAFETY"
        | "IMAGE_PROHIBITED_CONTENT"
        | "IMAGE_RECITATION" => FinishReason::ContentFilter,
        other => FinishReason::Other(other.to_owned()),
    }
}
