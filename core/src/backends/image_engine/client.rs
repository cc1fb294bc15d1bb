//! The client of an image engine.

use serde::Serialize;
use serde_json::Value;

use super::config::ImageEngineConfig;
use crate::backends::space_service::{ServiceAddress, SpaceService};
use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::image::Resolution;
use crate::info::{BackendInfo, Limits};

/// An image engine: `/generate` and `/refine`.
#[derive(Clone, Debug)]
pub struct ImageEngine {
    pub(super) service: SpaceService,
    pub(super) info: BackendInfo,
    pub(super) resolution: Resolution,
    pub(super) temperature: f32,
}

/// The status of an engine, for a status panel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EngineStatus {
    /// The backend's name.
    pub backend: String,
    /// The host of the engine.
    pub host: String,
    /// Whether it answered.
    pub reachable: bool,
    /// What it says about itself: device, model, scheduler, active optimisations.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Value>,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ErrorKind>,
    /// The message of that error.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

impl ImageEngine {
    pub(super) fn open(config: &ImageEngineConfig, env: &Environment) -> Result<Self> {
        if !config.temperature.is_finite() {
            return Err(Error::config("`temperature` is not a number"));
        }
        let address = ServiceAddress {
            backend: "image_engine",
            url: &config.url,
            url_variables: &["CLOUD_ENGINE_URL", "VITE_CLOUD_ENGINE_URL"],
            api_key: config.api_key.clone(),
            hf_token: config.hf_token.clone(),
            space: config.space.as_deref(),
            hub_url: config.hub_url.clone(),
            timeout_seconds: config.timeout_seconds,
            wake_seconds: config.wake_seconds,
        };
        let service = SpaceService::open(address, env)?;
        let info = service.info(&config.model).with_limits(Limits::default().with_max_images(1));
        Ok(Self { service, info, resolution: config.resolution, temperature: config.temperature })
    }

    /// Whether the engine answers, and what it says about itself. It never fails: an error is part of the status.
    pub async fn status(&self, cx: &Context) -> EngineStatus {
        let (diagnostics, problem) = match self.diagnostics(cx).await {
            Ok(diagnostics) => (Some(diagnostics), None),
            Err(error) => (None, Some(error)),
        };
        EngineStatus {
            backend: self.info.backend.to_string(),
            host: self.service.api.host(),
            reachable: diagnostics.is_some(),
            diagnostics,
            kind: problem.as_ref().map(Error::kind),
            problem: problem.map(|error| error.message().to_owned()),
        }
    }

    /// What the engine says about itself: device, model, scheduler, active optimisations.
    ///
    /// # Errors
    /// `cold_start` while the engine wakes up; otherwise the error that keeps it from answering.
    pub async fn diagnostics(&self, cx: &Context) -> Result<Value> {
        Ok(self.service.get(cx, "/health").await?.value)
    }
}
