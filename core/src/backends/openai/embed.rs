//! Embeddings by OpenAI's protocol.

use std::borrow::Cow;

use base64::Engine as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::OpenAi;
use super::profiles::EmbedRules;
use crate::backends::vectors::{numbers, prompt_for, side_by_side, unit_length};
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, Truncation};
use crate::error::Operation;
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route, Usage};
use crate::media::BASE64;

#[deny(clippy::missing_trait_methods)]
impl Embedder for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.embedding_space()
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.embed_checked(cx, &request).await.map_err(|error| self.named(error, Operation::Embed))
    }
}

/// The body of `POST /embeddings`.
#[derive(Debug, Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    model: &'a str,
    input: Vec<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding_format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dimensions: Option<usize>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    data: Option<Vec<Item>>,
    model: Option<String>,
    usage: Option<AnswerUsage>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    index: Option<u64>,
    embedding: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct AnswerUsage {
    prompt_tokens: Option<u64>,
}

impl OpenAi {
    async fn embed_checked(&self, cx: &Context, request: &EmbedRequest) -> Result<EmbedResponse> {
        let rules = self.profile().embeddings.ok_or_else(|| self.not_offered("embeddings"))?;
        request.check(self.backend_info().limits.max_batch)?;
        let body = self.embed_body(request, rules)?;
        let call = self.api().post("/embeddings").json(&body);
        let reply = call.json_reply::<Answer>(cx, Operation::Embed).await?;
        let answer = reply.value;
        let Some(items) = answer.data else {
            return Err(Error::response_invalid("the answer holds no `data`"));
        };
        let dimensions = request.dimensions.or(self.embedding_space().dimensions);
        let vectors = side_by_side(in_order(items)?, request.inputs.len(), dimensions)?;
        let vectors = if self.embedding_space().normalised { unit_length(vectors) } else { vectors };
        let route = Route::new(self.backend_info())
            .with_model(answer.model.as_deref())
            .with_request_id(reply.request_id);
        let tokens = answer.usage.and_then(|usage| usage.prompt_tokens);
        Ok(EmbedResponse::new(vectors, route).with_usage(Usage::new(tokens, None)))
    }

    fn embed_body<'a>(&'a self, request: &'a EmbedRequest, rules: EmbedRules) -> Result<Body<'a>> {
        let vendor = self.profile().name;
        let dimensions = request.dimensions.or(self.config().dimensions);
        if dimensions.is_some() && !rules.dimensions {
            return Err(Error::unsupported(format!(
                "vendor '{vendor}' does not shorten vectors (`dimensions`)"
            )));
        }
        if rules.cuts_inputs && matches!(request.truncation, Truncation::Refuse) {
            return Err(Error::unsupported(format!(
                "this route of vendor '{vendor}' cuts long inputs in silence; the backend '{vendor}' can refuse them"
            )));
        }
        let prompt = self.prompt(request, rules)?;
        let with_prompt = |text: &'a str| match prompt {
            Some(prompt) => Cow::Owned(format!("{prompt}{text}")),
            None => Cow::Borrowed(text),
        };
        Ok(Body {
            model: self.config().model.trim(),
            input: request.text_inputs()?.into_iter().map(with_prompt).collect(),
            // A third of the size of a list of numbers, and no digit is lost.
            encoding_format: rules.base64.then_some("base64"),
            dimensions,
        })
    }

    /// The text before every input. The protocol has no roles: what a role means is the configuration's to
    /// say, except where none of the vendor's models knows a difference.
    fn prompt(&self, request: &EmbedRequest, rules: EmbedRules) -> Result<Option<&str>> {
        let config = self.config();
        let (query, document) = (config.query_prompt.as_deref(), config.document_prompt.as_deref());
        if rules.symmetric && query.is_none() && document.is_none() {
            return Ok(None);
        }
        prompt_for(request.role, query, document, ["query_prompt", "document_prompt"])
    }
}

/// The vectors in the order of the inputs: by `index` where the items have one, else as they came.
fn in_order(items: Vec<Item>) -> Result<Vec<Vec<f32>>> {
    let of = items.len();
    let mut rows: Vec<Option<Vec<f32>>> = Vec::new();
    rows.resize_with(of, || None);
    let indexed = items.iter().any(|item| item.index.is_some());
    for (place, item) in items.into_iter().enumerate() {
        // Servers that write only what is not zero leave the first index out.
        let index = if indexed { item.index.unwrap_or(0) } else { place as u64 };
        let vector = vector(&item.embedding, place)?;
        let slot = usize::try_from(index).ok().and_then(|index| rows.get_mut(index));
        match slot {
            Some(slot @ None) => *slot = Some(vector),
            Some(Some(_)) => {
                return Err(Error::response_invalid(format!("two vectors came back with index {index}")));
            }
            None => {
                return Err(Error::response_invalid(format!("index {index} came back among {of} vectors")));
            }
        }
    }
    Ok(rows.into_iter().flatten().collect())
}

/// A list of numbers, or the base64 of little-endian 32-bit floats.
fn vector(embedding: &Value, place: usize) -> Result<Vec<f32>> {
    let Value::String(text) = embedding else { return numbers(embedding, place) };
    let refuse = |why: &str| Error::response_invalid(format!("vector {place} {why}"));
    let bytes = BASE64.decode(text.trim()).map_err(|_| refuse("is neither a list of numbers nor base64"))?;
    let (floats, rest) = bytes.as_chunks::<4>();
    if !rest.is_empty() {
        return Err(refuse(&format!("has {} bytes of base64, which is no number of floats", bytes.len())));
    }
    let floats: Vec<f32> = floats.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
    match floats.iter().all(|number| number.is_finite()) {
        true => Ok(floats),
        false => Err(refuse("holds something that is no number")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn items(list: Value) -> Vec<Item> {
        serde_json::from_value(list).expect("items")
    }

    #[test]
    fn items_are_sorted_by_index_and_kept_as_they_came_without_one() {
        let sorted = items(json!([{ "index": 1, "embedding": [1] }, { "embedding": [0] }]));
        assert_eq!(in_order(sorted).expect("in order"), [[0.0], [1.0]], "the first index may be left out");
        let unsorted = items(json!([{ "embedding": [5] }, { "embedding": [4] }]));
        assert_eq!(in_order(unsorted).expect("as they came"), [[5.0], [4.0]]);
        for list in [
            json!([{ "index": 0, "embedding": [1] }, { "index": 0, "embedding": [2] }]),
            json!([{ "index": 0, "embedding": [1] }, { "index": 2, "embedding": [2] }]),
        ] {
            let error = in_order(items(list)).expect_err("no order");
            assert_eq!(error.kind(), crate::ErrorKind::ResponseInvalid);
        }
    }

    #[test]
    fn base64_is_little_endian_floats_and_nothing_else() {
        let encoded = |floats: &[f32]| {
            let bytes: Vec<u8> = floats.iter().flat_map(|number| number.to_le_bytes()).collect();
            json!(BASE64.encode(bytes))
        };
        assert_eq!(vector(&encoded(&[1.5, -2.0]), 0).expect("floats"), [1.5, -2.0]);
        for wrong in
            [encoded(&[f32::NAN]), encoded(&[f32::INFINITY]), json!("AAAA"), json!("no base64!"), json!(null)]
        {
            assert!(vector(&wrong, 0).is_err(), "{wrong}");
        }
    }
}
