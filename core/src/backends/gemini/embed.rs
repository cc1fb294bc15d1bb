//! `:embedContent` and `:batchEmbedContents`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::client::Gemini;
use super::wire::UsageMetadata;
use crate::backends::vectors::with_extra;
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace, Truncation, Vectors};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route, Usage};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct OneRequest<'a> {
    model: &'a str,
    content: Content<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_dimensionality: Option<usize>,
}

#[derive(Serialize)]
struct Content<'a> {
    parts: [TextPart<'a>; 1],
}

#[derive(Serialize)]
struct TextPart<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct BatchRequest {
    requests: Vec<Value>,
}

/// The response of either method: the first fills `embedding`, the second `embeddings`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Reply {
    embedding: Option<Values>,
    embeddings: Option<Vec<Values>>,
    usage_metadata: Option<UsageMetadata>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Values {
    values: Vec<f32>,
}

impl Embedder for Gemini {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.embed_texts(cx, &request).await
    }
}

impl Gemini {
    async fn embed_texts(&self, cx: &Context, request: &EmbedRequest) -> Result<EmbedResponse> {
        request.check_inputs(self.info.limits.max_batch)?;
        if request.truncation == Truncation::Refuse {
            return Err(Error::unsupported(
                "Gemini cuts long inputs without a word; `truncation: refuse` cannot be promised",
            ));
        }
        let texts = request.text_inputs()?;
        let shortened = request.dimensions.or(self.dimensions);
        let one = |text| {
            let one = OneRequest {
                model: &self.resource,
                content: Content { parts: [TextPart { text }] },
                task_type: request.role.map(task_type),
                output_dimensionality: shortened,
            };
            with_extra(&one, &request.extra)
        };
        let call = match texts.as_slice() {
            [text] => self.api.post(&self.method("embedContent")).json(&one(text)?),
            _ => {
                let requests = texts.iter().copied().map(one).collect::<Result<_>>()?;
                self.api.post(&self.method("batchEmbedContents")).json(&BatchRequest { requests })
            }
        };
        let reply = call.json_reply::<Reply>(cx).await?;
        let (body, request_id) = (reply.value, reply.request_id);
        let rows = body.embeddings.unwrap_or_else(|| body.embedding.into_iter().collect());
        let vectors = Vectors::from_rows(rows.into_iter().map(|row| row.values).collect())?;
        // Only the full width has unit length.
        let vectors = if shortened.is_some() { vectors.normalised() } else { vectors };
        let usage = body.usage_metadata.map_or_else(Usage::default, |usage| usage.to_usage());
        EmbedResponse::new(vectors, Route::new(&self.info).with_request_id(request_id))
            .with_usage(usage)
            .check(texts.len(), shortened.or(self.space.dimensions))
    }
}

fn task_type(role: EmbedRole) -> &'static str {
    match role {
        EmbedRole::Query => "RETRIEVAL_QUERY",
        EmbedRole::Document => "RETRIEVAL_DOCUMENT",
    }
}
