//! A client of the image engine.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::ImageEngineConfig;
use super::service::{Address, Service};
use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::http::client::ApiReply;
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest, Resolution};
use crate::info::{BackendInfo, Limits, Route};
use crate::media::ImageData;

/// An image engine: `/generate` and `/refine`.
#[derive(Clone, Debug)]
pub struct ImageEngine {
    service: Service,
    info: BackendInfo,
    resolution: Resolution,
    temperature: f32,
}

/// One line of an engine status panel.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EngineStatus {
    /// The backend's name.
    pub backend: String,
    /// Where the engine is.
    pub host: String,
    /// Whether it answered.
    pub reachable: bool,
    /// What it says about itself: device, model, scheduler, optimisations in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub diagnostics: Option<Value>,
    /// Why it did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ErrorKind>,
    /// The same as a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerateBody<'a> {
    prompt: &'a str,
    aspect_ratio: String,
    temperature: f32,
    resolution: Resolution,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefineBody<'a> {
    refine_prompt: &'a str,
    images: Vec<String>,
    #[serde(skip_serializing_if = "RefineConfig::is_empty")]
    config: RefineConfig,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RefineConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guidance_scale: Option<f32>,
}

impl RefineConfig {
    fn is_empty(&self) -> bool {
        self.steps.is_none() && self.guidance_scale.is_none()
    }
}

/// The contract promises `images`; engines may say more about them.
#[derive(Debug, Deserialize)]
struct Answer {
    images: Vec<String>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default)]
    scheduler: Option<String>,
    #[serde(default)]
    steps: Option<u32>,
}

impl ImageEngine {
    pub(super) fn open(config: &ImageEngineConfig, env: &Environment) -> Result<Self> {
        if !config.temperature.is_finite() {
            return Err(Error::config("`temperature` is not a number"));
        }
        let address = Address {
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
        let service = Service::open(address, env)?;
        let info = service.info(&config.model).with_limits(Limits::default().with_max_images(1));
        Ok(Self { service, info, resolution: config.resolution, temperature: config.temperature })
    }

    /// Whether the engine answers, and what it says about itself. Never fails: what keeps it from answering is
    /// data too.
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

    /// What the engine says about itself: device, model, scheduler, optimisations in force.
    ///
    /// # Errors
    /// `cold_start` while it wakes up; otherwise whatever keeps it from answering.
    pub async fn diagnostics(&self, cx: &Context) -> Result<Value> {
        Ok(self.service.get(cx, "/health").await?.value)
    }

    async fn make(&self, cx: &Context, request: &GenerateRequest) -> Result<ImageResponse> {
        request.check(self.info.limits.max_images)?;
        refuse(&[
            ("size", request.size.is_some()),
            ("negative_prompt", request.negative_prompt.is_some()),
            ("steps", request.steps.is_some()),
            ("guidance", request.guidance.is_some()),
            ("scheduler", request.scheduler.is_some()),
            ("seed", request.seed.is_some()),
        ])?;
        let body = GenerateBody {
            prompt: &request.prompt,
            aspect_ratio: request.aspect_ratio.map_or_else(|| "1:1".to_owned(), |ratio| ratio.to_string()),
            temperature: request.temperature.unwrap_or(self.temperature),
            resolution: request.resolution.unwrap_or(self.resolution),
            extra: without(&request.extra, &["prompt", "aspectRatio", "temperature", "resolution"]),
        };
        let reply = self.service.post(cx, "/generate", &body).await?;
        self.read(reply)?.check(1)
    }

    async fn change(&self, cx: &Context, request: &RefineRequest) -> Result<ImageResponse> {
        request.check()?;
        refuse(&[
            ("mask", request.mask.is_some()),
            ("negative_prompt", request.negative_prompt.is_some()),
            ("strength", request.strength.is_some()),
            ("seed", request.seed.is_some()),
            ("size", request.size.is_some()),
        ])?;
        let body = RefineBody {
            refine_prompt: &request.prompt,
            images: request.images.iter().map(ImageData::to_base64).collect(),
            config: RefineConfig { steps: request.steps, guidance_scale: request.guidance },
            extra: without(&request.extra, &["refinePrompt", "images", "config"]),
        };
        let reply = self.service.post(cx, "/refine", &body).await?;
        self.read(reply)?.check(request.images.len())
    }

    fn read(&self, reply: ApiReply<Answer>) -> Result<ImageResponse> {
        let Answer { images, seed, model, scheduler, steps } = reply.value;
        let images = images.iter().map(|image| ImageData::from_base64(image)).collect::<Result<Vec<_>>>();
        let images = images
            .map_err(|_| Error::response_invalid("the image engine's answer holds an image that is none"))?;
        let route = Route::new(&self.info).with_model(model.as_deref()).with_request_id(reply.request_id);
        Ok(ImageResponse::new(images, route).with_seed(seed).with_schedule(scheduler, steps))
    }
}

impl ImageGenerator for ImageEngine {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.make(cx, &request).await
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.change(cx, &request).await
    }
}

/// Fails naming the options that are set and that the engine does not take.
fn refuse(options: &[(&str, bool)]) -> Result<()> {
    let set: Vec<&str> = options.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    match set.as_slice() {
        [] => Ok(()),
        names => Err(Error::unsupported(format!("the image engine does not take `{}`", names.join("`, `")))),
    }
}

fn without(extra: &Map<String, Value>, own: &[&str]) -> Map<String, Value> {
    extra
        .iter()
        .filter(|(name, _)| !own.contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}
