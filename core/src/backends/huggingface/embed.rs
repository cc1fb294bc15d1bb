//! `Embedder`: hf-inference's feature extraction, and OpenAI-shaped embeddings of the providers.

use std::borrow::Cow;

use serde_json::Value;

use super::client::{HuggingFace, ResolvedProvider};
use super::mapping::Task;
use super::providers::{self, HF_INFERENCE};
use super::wire::FeatureExtraction;
use crate::backends::vectors::with_extra;
use crate::context::Context;
use crate::embed::{
    EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace, Pooling, Truncation, Vectors,
};
use crate::error::{Error, Result};
use crate::info::BackendInfo;
use crate::wire::openai::embeddings::{EmbeddingsBody, EncodingFormat, RawEmbeddings};

impl Embedder for HuggingFace {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.0.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        request.check_inputs(self.0.info.limits.max_batch)?;
        let texts = request.text_inputs()?;
        let served = self.resolve(cx, Task::FeatureExtraction).await?;
        let outcome = match served.provider() {
            HF_INFERENCE => self.extract_features(cx, &served, &request, &texts).await,
            _ => self.embed_openai(cx, &served, &request, &texts).await,
        };
        let width = request.dimensions.or(self.0.space.dimensions);
        self.finish(outcome.and_then(|response| response.check(texts.len(), width)), &served).await
    }
}

impl HuggingFace {
    async fn extract_features(
        &self,
        cx: &Context,
        served: &ResolvedProvider,
        request: &EmbedRequest,
        texts: &[&str],
    ) -> Result<EmbedResponse> {
        let config = &self.0.config;
        let body = FeatureExtraction {
            inputs: texts,
            // Vectors are normalised here; only raw ones have to be asked for.
            normalize: (!self.0.space.normalised).then_some(false),
            prompt_name: self.prompt_name(request.role),
            truncate: request.truncation == Truncation::End,
            dimensions: request.dimensions.or(config.dimensions),
        };
        let path = format!("/models/{}/pipeline/feature-extraction", served.model_path());
        let body = with_extra(&body, &request.extra)?;
        let reply = self.post(served, &path).json(&body).json_reply::<Value>(cx).await?;
        let vectors = self.finished(vectors_of(&reply.value, texts.len(), config.pooling)?)?;
        Ok(EmbedResponse::new(vectors, self.route(served, reply.request_id)))
    }

    async fn embed_openai(
        &self,
        cx: &Context,
        served: &ResolvedProvider,
        request: &EmbedRequest,
        texts: &[&str],
    ) -> Result<EmbedResponse> {
        let provider = served.provider();
        let unsupported = |what: &str| Err(Error::unsupported(format!("provider '{provider}' {what}")));
        if self.prompt_name(request.role).is_some() {
            return unsupported("takes no prompt names; put the prompt before the texts");
        }
        if request.truncation == Truncation::Refuse {
            return unsupported("cannot be told to refuse long inputs");
        }
        let route = providers::profile(provider).and_then(|profile| profile.embeddings);
        let route = route.ok_or_else(|| providers::no_route(provider, Task::FeatureExtraction))?;
        let mut body = EmbeddingsBody::write(
            &served.entry.model,
            texts.iter().map(|text| Cow::Borrowed(*text)).collect(),
            request.dimensions.or(self.0.config.dimensions),
            Some(EncodingFormat::Float),
        );
        body.add_extra(&request.extra);
        let reply = self.post(served, route).json(&body).json_reply::<RawEmbeddings>(cx).await?;
        let route = self.route(served, reply.request_id).with_model(reply.value.model.as_deref());
        let usage = reply.value.usage();
        let vectors = self.finished(reply.value.into_rows()?)?;
        Ok(EmbedResponse::new(vectors, route).with_usage(usage))
    }

    /// A role without a configured prompt changes nothing: most models treat both sides alike.
    fn prompt_name(&self, role: Option<EmbedRole>) -> Option<&str> {
        match role? {
            EmbedRole::Query => self.0.config.query_prompt.as_deref(),
            EmbedRole::Document => self.0.config.document_prompt.as_deref(),
        }
    }

    fn finished(&self, rows: Vec<Vec<f32>>) -> Result<Vectors> {
        let vectors = Vectors::from_rows(rows)?;
        Ok(if self.0.space.normalised { vectors.normalised() } else { vectors })
    }
}

/// One vector per input from a nested array of numbers: rank 1 is the vector of one input; rank 2 one row per
/// input; rank 3 one row per token; rank 4 the same with an extra level, as old pipelines send it. Rows that are
/// not one per input are the tokens of a single input.
fn vectors_of(value: &Value, inputs: usize, pooling: Option<Pooling>) -> Result<Vec<Vec<f32>>> {
    match rank(value) {
        1 if inputs == 1 => Ok(vec![row_of(value)?]),
        2 => {
            let rows = rows_of(value)?;
            match (rows.len() == inputs, inputs) {
                (true, _) => Ok(rows),
                (false, 1) => Ok(vec![pool(&rows, pooling)?]),
                (false, _) => Err(invalid(format!("{} rows came back for {inputs} inputs", rows.len()))),
            }
        }
        3 => pooled(list(value)?, inputs, pooling),
        4 => {
            let inner: Vec<&Value> =
                list(value)?.iter().flat_map(|outer| outer.as_array().into_iter().flatten()).collect();
            if inner.len() != inputs {
                return Err(invalid(format!("{} blocks came back for {inputs} inputs", inner.len())));
            }
            inner.into_iter().map(|block| pool(&rows_of(block)?, pooling)).collect()
        }
        rank => Err(invalid(format!("an array of rank {rank} came back for {inputs} inputs"))),
    }
}

fn pooled(blocks: &[Value], inputs: usize, pooling: Option<Pooling>) -> Result<Vec<Vec<f32>>> {
    if blocks.len() != inputs {
        return Err(invalid(format!("{} blocks came back for {inputs} inputs", blocks.len())));
    }
    blocks.iter().map(|block| pool(&rows_of(block)?, pooling)).collect()
}

/// How deep the arrays are nested; 0 if it is not an array. An empty array counts as one level.
fn rank(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.first().map_or(0, rank),
        _ => 0,
    }
}

fn list(value: &Value) -> Result<&[Value]> {
    value.as_array().map(Vec::as_slice).ok_or_else(|| invalid("expected a list, found something else"))
}

fn rows_of(value: &Value) -> Result<Vec<Vec<f32>>> {
    list(value)?.iter().map(row_of).collect()
}

fn row_of(value: &Value) -> Result<Vec<f32>> {
    #[allow(clippy::cast_possible_truncation)]
    let number =
        |value: &Value| value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
    let numbers: Option<Vec<f32>> = list(value)?.iter().map(number).collect();
    let numbers = numbers.filter(|numbers| !numbers.is_empty());
    numbers.ok_or_else(|| invalid("a vector is empty or holds something that is not a number"))
}

/// Pools the vectors of tokens to one vector.
fn pool(tokens: &[Vec<f32>], pooling: Option<Pooling>) -> Result<Vec<f32>> {
    let Some(pooling) = pooling else {
        return Err(invalid(
            "the model returns one vector per token, not one per input: set `pooling` to what its card says (`mean` or `cls`)",
        ));
    };
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Err(invalid("the model returned no tokens"));
    };
    if tokens.iter().any(|token| token.len() != first.len()) {
        return Err(invalid("the vectors of tokens differ in width"));
    }
    Ok(match pooling {
        Pooling::Cls => first.clone(),
        Pooling::LastToken => last.clone(),
        Pooling::Max => tokens.iter().skip(1).fold(first.clone(), |mut most, token| {
            most.iter_mut().zip(token).for_each(|(most, x)| *most = most.max(*x));
            most
        }),
        Pooling::Mean => weighted_mean(tokens, first.len(), |_| 1.0),
        #[allow(clippy::cast_precision_loss)]
        Pooling::WeightedMean => weighted_mean(tokens, first.len(), |position| (position + 1) as f64),
    })
}

fn weighted_mean(tokens: &[Vec<f32>], width: usize, weight: impl Fn(usize) -> f64) -> Vec<f32> {
    let mut sums = vec![0.0f64; width];
    let mut total = 0.0;
    for (position, token) in tokens.iter().enumerate() {
        let weight = weight(position);
        total += weight;
        sums.iter_mut().zip(token).for_each(|(sum, x)| *sum += weight * f64::from(*x));
    }
    #[allow(clippy::cast_possible_truncation)]
    sums.into_iter().map(|sum| (sum / total) as f32).collect()
}

fn invalid(message: impl Into<String>) -> Error {
    Error::response_invalid(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_pooling_makes_one_vector_of_the_tokens() {
        let tokens = json!([[[1.0, 4.0], [3.0, 0.0]]]);
        for (pooling, expected) in [
            (Pooling::Mean, [2.0, 2.0]),
            (Pooling::Cls, [1.0, 4.0]),
            (Pooling::LastToken, [3.0, 0.0]),
            (Pooling::Max, [3.0, 4.0]),
            (Pooling::WeightedMean, [7.0 / 3.0, 4.0 / 3.0]),
        ] {
            let vectors = vectors_of(&tokens, 1, Some(pooling)).expect("one vector");
            assert_eq!(vectors, [expected.to_vec()], "{pooling:?}");
        }
    }

    #[test]
    fn ragged_and_empty_answers_are_refused() {
        for (answer, inputs) in [
            (json!([]), 2),
            (json!([[]]), 2),
            (json!([[[]]]), 1),
            (json!([[[1.0], [1.0, 2.0]]]), 1),
            (json!([1.0, 2.0]), 2),
            (json!(1.0), 1),
            (json!([[[[[1.0]]]]]), 1),
            (json!([[[1.0]], [[1.0]]]), 3),
        ] {
            let error = vectors_of(&answer, inputs, Some(Pooling::Mean)).expect_err("no vectors");
            assert_eq!(error.kind(), crate::ErrorKind::ResponseInvalid, "{answer}");
        }
    }
}
