//! The JSON of an image engine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::image::Resolution;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct GenerateBody<'a> {
    pub(super) prompt: &'a str,
    pub(super) aspect_ratio: String,
    pub(super) temperature: f32,
    pub(super) resolution: Resolution,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefineBody<'a> {
    pub(super) refine_prompt: &'a str,
    pub(super) images: Vec<String>,
    #[serde(skip_serializing_if = "RefineConfig::is_empty")]
    pub(super) config: RefineConfig,
    #[serde(flatten)]
    pub(super) extra: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RefineConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) guidance_scale: Option<f32>,
}

impl RefineConfig {
    fn is_empty(&self) -> bool {
        self.steps.is_none() && self.guidance_scale.is_none()
    }
}

/// An answer. Only `images` is required.
#[derive(Debug, Deserialize)]
pub(super) struct EngineAnswer {
    pub(super) images: Vec<String>,
    #[serde(default)]
    pub(super) seed: Option<u64>,
    #[serde(default)]
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) scheduler: Option<String>,
    #[serde(default)]
    pub(super) steps: Option<u32>,
}

/// The extra members of a request, without those that the backend sets itself.
pub(super) fn without_members(extra: &Map<String, Value>, own: &[&str]) -> Map<String, Value> {
    extra
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
