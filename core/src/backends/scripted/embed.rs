//! Vectors from a hash of the input.

use super::{NAME, Numbers, Scripted};
use crate::context::Context;
use crate::embed::{EmbedInput, EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, Vectors};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route, Usage};

impl Embedder for Scripted {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.0.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.begin(cx).await?;
        self.vectors(&request)
    }
}

impl Scripted {
    fn vectors(&self, request: &EmbedRequest) -> Result<EmbedResponse> {
        request.check(self.0.config.max_batch)?;
        let width = match request.dimensions {
            None => self.0.config.dimensions,
            Some(width) if (1..=self.0.config.dimensions).contains(&width) => width,
            Some(width) => {
                return Err(Error::invalid_request(format!(
                    "{width} dimensions were asked for; {NAME} gives 1 to {}",
                    self.0.config.dimensions
                )));
            }
        };
        let mut numbers = Vec::with_capacity(request.inputs.len() * width);
        let mut words = 0;
        for input in &*request.inputs {
            let mut source = match input {
                EmbedInput::Text(text) => {
                    words += text.split_whitespace().count() as u64;
                    Numbers::from_bytes([text.as_bytes()])
                }
                EmbedInput::Image(image) => Numbers::from_bytes([&b"image"[..], image.bytes()]),
            };
            numbers.extend(std::iter::repeat_with(|| source.next_signed()).take(width));
        }
        let vectors = Vectors::new(numbers, width)?.normalised();
        Ok(EmbedResponse::new(vectors, Route::new(&self.0.info)).with_usage(Usage::new(words, None)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ScriptedConfig;
    use super::*;
    use crate::{AnyEmbedder, ErrorKind, ImageData};

    fn embedder(config: ScriptedConfig) -> AnyEmbedder {
        AnyEmbedder::new(Scripted::new(config).expect("valid"))
    }

    #[tokio::test]
    async fn the_same_input_has_the_same_unit_vector_wherever_it_stands() {
        let embedder = embedder(ScriptedConfig::default().with_dimensions(24));
        let request = EmbedRequest::texts(["uno", "dos", "uno", ""]);
        let vectors = embedder.embed(&Context::new(), request).await.expect("vectors").vectors;
        assert_eq!((vectors.len(), vectors.width()), (4, 24));
        assert_eq!(vectors.get(0), vectors.get(2));
        assert_ne!(vectors.get(0), vectors.get(1));
        for vector in &vectors {
            let length = vector.iter().map(|x| x * x).sum::<f32>();
            assert!((length - 1.0).abs() < 1e-5, "{length}");
        }
        let alone = embedder.embed_text(&Context::new(), "dos").await.expect("a vector");
        assert_eq!(vectors.get(1), Some(alone.as_slice()));
    }

    #[tokio::test]
    async fn images_and_texts_of_the_same_bytes_differ() {
        let embedder = embedder(ScriptedConfig::default());
        let image = ImageData::with_media_type("uno", "image/png");
        let image = embedder.embed_image(&Context::new(), image).await.expect("a vector");
        assert_ne!(embedder.embed_text(&Context::new(), "uno").await.expect("a vector"), image);
    }

    #[tokio::test]
    async fn what_no_backend_accepts_is_refused() {
        let scripted = Scripted::new(ScriptedConfig::default().with_max_batch(2)).expect("valid");
        for request in [
            EmbedRequest::default(),
            EmbedRequest::texts(["a", "b", "c"]),
            EmbedRequest::texts(["a"]).with_dimensions(17),
            EmbedRequest::texts(["a"]).with_dimensions(0),
        ] {
            let error = scripted.embed(&Context::new(), request).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
    }

    #[tokio::test]
    async fn shorter_vectors_still_have_unit_length() {
        let embedder = embedder(ScriptedConfig::default());
        let request = EmbedRequest::texts(["a"]).with_dimensions(4);
        let vectors = embedder.embed(&Context::new(), request).await.expect("vectors").vectors;
        assert_eq!(vectors.width(), 4);
        assert!((vectors.as_flat().iter().map(|x| x * x).sum::<f32>() - 1.0).abs() < 1e-5);
    }
}
