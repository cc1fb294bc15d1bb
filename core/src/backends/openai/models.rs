//! The list of models that a vendor offers.

use serde_json::Value;

use super::OpenAi;
use crate::context::Context;
use crate::error::{Operation, Result};
use crate::wire::openai::models::{self, ModelInfo};

impl OpenAi {
    /// Every model that the vendor lists. Entries without a name are left out.
    ///
    /// # Errors
    /// Those of the call, and `response_invalid` for an answer that is no list.
    pub async fn models(&self, cx: &Context) -> Result<Vec<ModelInfo>> {
        let listed = async { models::read(self.api().get("/models").json_reply::<Value>(cx).await?.value) };
        listed.await.map_err(self.backend_info().tag(Operation::ListModels))
    }
}
