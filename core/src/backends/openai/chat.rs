//! Chat by OpenAI's protocol.

use super::OpenAi;
use crate::chat::{ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::error::Result;
use crate::info::BackendInfo;

impl ChatBackend for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    async fn chat(&self, _: &Context, _: ChatRequest) -> Result<ChatResponse> {
        Err(self.not_offered("chat"))
    }

    async fn stream(&self, _: &Context, _: ChatRequest) -> Result<ChatStream> {
        Err(self.not_offered("chat"))
    }
}
