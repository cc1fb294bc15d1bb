//! Images by OpenAI's protocol.

use super::OpenAi;
use crate::context::Context;
use crate::error::Result;
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::BackendInfo;

impl ImageGenerator for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    async fn generate(&self, _: &Context, _: GenerateRequest) -> Result<ImageResponse> {
        Err(self.not_offered("images"))
    }

    async fn refine(&self, _: &Context, _: RefineRequest) -> Result<ImageResponse> {
        Err(self.not_offered("image edits"))
    }
}
