//! Embeddings by OpenAI's protocol.

use std::borrow::Cow;

use serde_json::Value;

use super::OpenAi;
use super::profiles::EmbedRules;
use crate::backends::vectors::{prompt_for, side_by_side, unit_length};
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, Truncation};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route};
use crate::wire::openai::embeddings::{EmbeddingsBody, EncodingFormat, RawEmbeddings};

impl Embedder for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.embedding_space()
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.embed_checked(cx, &request).await
    }
}

impl OpenAi {
    async fn embed_checked(&self, cx: &Context, request: &EmbedRequest) -> Result<EmbedResponse> {
        let rules = self.profile().embeddings.ok_or_else(|| self.not_offered("embeddings"))?;
        request.check_inputs(self.backend_info().limits.max_batch)?;
        let body = self.embed_body(request, rules)?;
        let call = self.api().post("/embeddings").json(&body);
        let reply = call.json_reply::<RawEmbeddings>(cx).await?;
        let route = Route::new(self.backend_info())
            .with_model(reply.value.model.as_deref())
            .with_request_id(reply.request_id);
        let usage = reply.value.usage();
        let dimensions = request.dimensions.or(self.embedding_space().dimensions);
        let vectors = side_by_side(reply.value.into_rows()?, request.inputs.len(), dimensions)?;
        let vectors = if self.embedding_space().normalised { unit_length(vectors) } else { vectors };
        Ok(EmbedResponse::new(vectors, route).with_usage(usage))
    }

    fn embed_body<'a>(&'a self, request: &'a EmbedRequest, rules: EmbedRules) -> Result<EmbeddingsBody<'a>> {
        let vendor = self.profile().name;
        let dimensions = request.dimensions.or(self.config().dimensions);
        if dimensions.is_some() && !rules.dimensions {
            return Err(Error::unsupported(format!(
                "vendor '{vendor}' does not shorten vectors (`dimensions`)"
            )));
        }
        if rules.cuts_inputs && matches!(request.truncation, Truncation::Refuse) {
            return Err(Error::unsupported(format!(
                "this route of vendor '{vendor}' cuts long inputs silently; the backend '{vendor}' can refuse them"
            )));
        }
        let prompt = self.prompt(request, rules)?;
        let with_prompt = |text: &'a str| match prompt {
            Some(prompt) => Cow::Owned(format!("{prompt}{text}")),
            None => Cow::Borrowed(text),
        };
        let texts = request.text_inputs()?.into_iter().map(with_prompt).collect();
        let format = rules.base64.then_some(EncodingFormat::Base64);
        let standard = rules.dimensions_field == "dimensions";
        let width = dimensions.filter(|_| standard);
        let mut body = EmbeddingsBody::write(self.config().model.trim(), texts, width, format);
        let mut set = |name: &str, value: Value| body.further.insert(name.to_owned(), value);
        if let Some(width) = dimensions.filter(|_| !standard) {
            set(rules.dimensions_field, width.into());
        }
        if let (Some(field), Some(role)) = (rules.role_field, request.role) {
            set(field, role.as_str().into());
        }
        if let (Some(field), Truncation::Refuse) = (rules.truncation_field, request.truncation) {
            set(field, false.into());
        }
        body.add_extra(&request.extra);
        Ok(body)
    }

    /// The text before every input. The protocol has no roles: the configuration says what a role means, unless
    /// all of the vendor's models treat roles alike.
    fn prompt(&self, request: &EmbedRequest, rules: EmbedRules) -> Result<Option<&str>> {
        let config = self.config();
        let (query, document) = (config.query_prompt.as_deref(), config.document_prompt.as_deref());
        if rules.role_field.is_some() && query.is_none() && document.is_none() {
            return Ok(None);
        }
        if rules.symmetric && query.is_none() && document.is_none() {
            return Ok(None);
        }
        prompt_for(request.role, query, document, ["query_prompt", "document_prompt"])
    }
}
