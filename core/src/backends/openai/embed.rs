//! Embeddings by OpenAI's protocol.

use super::OpenAi;
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace};
use crate::error::Result;
use crate::info::BackendInfo;

impl Embedder for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.embedding_space()
    }

    async fn embed(&self, _: &Context, _: EmbedRequest) -> Result<EmbedResponse> {
        Err(self.not_offered("embeddings"))
    }
}
