//! What wraps a backend.
use serde::{Deserialize, Serialize};

use crate::chat::AnyChat;
use crate::embed::AnyEmbedder;
use crate::error::Result;
use crate::image::AnyImageGenerator;
use crate::procure::AnyProcurement;

/// Stand-in until the policy is merged.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Policy {}

impl Policy {
    /// Stand-in.
    pub fn embedder(&self, primary: AnyEmbedder, _: Vec<AnyEmbedder>) -> Result<AnyEmbedder> {
        Ok(primary)
    }
    /// Stand-in.
    pub fn chat(&self, primary: AnyChat, _: Vec<AnyChat>) -> Result<AnyChat> {
        Ok(primary)
    }
    /// Stand-in.
    pub fn image_generator(
        &self,
        primary: AnyImageGenerator,
        _: Vec<AnyImageGenerator>,
    ) -> Result<AnyImageGenerator> {
        Ok(primary)
    }
    /// Stand-in.
    pub fn procurement(&self, primary: AnyProcurement, _: Vec<AnyProcurement>) -> Result<AnyProcurement> {
        Ok(primary)
    }
}
