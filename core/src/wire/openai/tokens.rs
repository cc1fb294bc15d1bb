//! How many tokens a text or a conversation has, as servers of OpenAI's protocol answer `/tokenize`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::MAX_MODEL_CHARS;
use super::body::{self, malformed};
use super::chat::read_messages;
use super::fields;
use super::served::ServedHandle;
use crate::chat::{ChatRequest, Message};
use crate::error::{Error, Result};

/// A text or a conversation to count.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TokensRequest {
    /// The model, by the name that the server gave it.
    pub model: String,
    input: Input,
}

#[derive(Clone, Debug, PartialEq)]
enum Input {
    Text(String),
    Conversation(Vec<Message>),
}

/// The body of `POST /tokenize`.
#[derive(Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(serde::Serialize, schemars::JsonSchema))]
#[serde(expecting = "an object")]
pub(crate) struct TokensBody<'a> {
    /// The model whose tokens count.
    #[serde(deserialize_with = "fields::text::<_, MAX_MODEL_CHARS>")]
    #[cfg_attr(feature = "schema", schemars(length(min = 1, max = MAX_MODEL_CHARS)))]
    model: Cow<'a, str>,
    /// A text; llama.cpp calls it `content`, OpenAI's other routes `input`.
    #[serde(default, alias = "content", alias = "input")]
    prompt: Option<String>,
    /// A conversation, as in `/v1/chat/completions`.
    #[serde(default)]
    messages: Option<serde_json::Value>,
}

impl TokensRequest {
    /// Reads the body of `POST /tokenize`.
    ///
    /// # Errors
    /// `invalid_request` naming the field that is wrong.
    pub fn read(body: &[u8]) -> Result<Self> {
        let body: TokensBody<'_> = body::read(body)?;
        let input = match (body.prompt, body.messages) {
            (Some(text), None) => Input::Text(text),
            (None, Some(messages)) => Input::Conversation(read_messages(&messages)?),
            _ => return Err(malformed("prompt", "give `prompt` or `messages`")),
        };
        Ok(Self { model: body.model.into_owned(), input })
    }
}

/// The body that answers `POST /tokenize`.
#[derive(Debug, Serialize)]
pub(super) struct TokenCount {
    count: usize,
    max_model_len: Option<usize>,
    /// Of a text for an embedder.
    tokens: Option<Vec<u32>>,
}

impl TokenCount {
    /// Counts with the model's own tokenizer.
    ///
    /// # Errors
    /// `unsupported` where it is not known here; `conflict` while the model is still loading.
    pub(super) fn of(asked: &TokensRequest, handle: &ServedHandle) -> Result<Self> {
        match (handle, &asked.input) {
            (ServedHandle::Embedder(embedder), Input::Text(text)) => {
                let tokens = embedder.tokens(text)?;
                Ok(Self { count: tokens.len(), max_model_len: embedder.window(), tokens: Some(tokens) })
            }
            (ServedHandle::Chat(chat), input) => {
                let request = match input {
                    Input::Text(text) => ChatRequest::user(text.as_str()),
                    Input::Conversation(messages) => ChatRequest::new(messages.clone()),
                };
                let count = chat.count_tokens(&request)?;
                Ok(Self { count, max_model_len: chat.window(), tokens: None })
            }
            _ => Err(Error::unsupported(
                "only texts and conversations have tokens, each with a model for them",
            )),
        }
    }
}
