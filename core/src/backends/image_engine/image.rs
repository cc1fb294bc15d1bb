//! Generating and refining images with an image engine.

use super::client::ImageEngine;
use super::wire::{EngineAnswer, GenerateBody, RefineBody, RefineConfig, without_members};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::http::client::ApiReply;
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::{BackendInfo, Route};
use crate::media::ImageData;

impl ImageEngine {
    async fn generate_image(&self, cx: &Context, request: &GenerateRequest) -> Result<ImageResponse> {
        request.check(self.info.limits.max_images)?;
        check_unset(&[
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
            extra: without_members(&request.extra, &["prompt", "aspectRatio", "temperature", "resolution"]),
        };
        let reply = self.service.post(cx, "/generate", &body).await?;
        self.read(reply)?.check(1)
    }

    async fn refine_images(&self, cx: &Context, request: &RefineRequest) -> Result<ImageResponse> {
        request.check()?;
        check_unset(&[
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
            extra: without_members(&request.extra, &["refinePrompt", "images", "config"]),
        };
        let reply = self.service.post(cx, "/refine", &body).await?;
        self.read(reply)?.check(request.images.len())
    }

    fn read(&self, reply: ApiReply<EngineAnswer>) -> Result<ImageResponse> {
        let EngineAnswer { images, seed, model, scheduler, steps } = reply.value;
        let images = images.iter().map(|image| ImageData::from_base64(image)).collect::<Result<Vec<_>>>();
        let images = images
            .map_err(|_| Error::response_invalid("the image engine's answer contains an invalid image"))?;
        let route = Route::new(&self.info).with_model(model.as_deref()).with_request_id(reply.request_id);
        Ok(ImageResponse::new(images, route).with_seed(seed).with_schedule(scheduler, steps))
    }
}

impl ImageGenerator for ImageEngine {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.generate_image(cx, &request).await
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.refine_images(cx, &request).await
    }
}

/// Checks that options are not set which the engine does not support.
fn check_unset(options: &[(&str, bool)]) -> Result<()> {
    let set: Vec<&str> = options.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    match set.as_slice() {
        [] => Ok(()),
        names => {
            let text = format!("the image engine does not support `{}`", names.join("`, `"));
            Err(Error::unsupported_option(&names.join(" "), text))
        }
    }
}
