//! `ImageGenerator` over the providers.

use super::client::HuggingFace;
use super::mapping::Task;
use super::providers::{
    HF_INFERENCE, ImageCall, ImageOutput, check_generate, check_refine, fal_ai, hf_inference, no_route,
    nscale, replicate, together, wavespeed,
};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::BackendInfo;
use crate::media::ImageData;

impl ImageGenerator for HuggingFace {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        request.check(None)?;
        // Before any provider is called, and again once `auto` has become one.
        check_generate(&self.0.config.provider, &request)?;
        let served = self.resolve(cx, Task::TextToImage).await?;
        check_generate(served.provider(), &request)?;
        let call = ImageCall { cx, backend: self, served: &served };
        let outcome = match served.provider() {
            HF_INFERENCE => hf_inference::generate(&call, &request).await,
            "fal-ai" => fal_ai::generate(&call, &request).await,
            "replicate" => replicate::generate(&call, &request).await,
            "together" => together::generate(&call, &request).await,
            "nscale" | "deepinfra" => nscale::generate(&call, &request).await,
            "wavespeed" => wavespeed::generate(&call, &request).await,
            other => Err(no_route(other, Task::TextToImage)),
        };
        let outcome = outcome.and_then(|made| check_count(made, request.count as usize));
        let made = self.finish(outcome, &served).await?;
        let route = self.route(&served, made.request_id);
        Ok(ImageResponse::new(made.images, route).with_seed(made.seed))
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        check_inputs(&request, &self.0.config.provider)?;
        check_refine(&self.0.config.provider, &request)?;
        let served = self.resolve(cx, Task::ImageToImage).await?;
        check_refine(served.provider(), &request)?;
        let call = ImageCall { cx, backend: self, served: &served };
        let mut all = ImageOutput::default();
        // One call per image: to these APIs several images are references for one result.
        for image in request.images.iter() {
            let made = self.finish(refine_one(&call, &request, image).await, &served).await?;
            all.images.extend(made.images);
            all.seed = made.seed;
            all.request_id = made.request_id;
        }
        let route = self.route(&served, all.request_id);
        Ok(ImageResponse::new(all.images, route).with_seed(all.seed))
    }
}

async fn refine_one(call: &ImageCall<'_>, request: &RefineRequest, image: &ImageData) -> Result<ImageOutput> {
    let made = match call.served.provider() {
        HF_INFERENCE => hf_inference::refine(call, request, image).await,
        "fal-ai" => fal_ai::refine(call, request, image).await,
        "replicate" => replicate::refine(call, request, image).await,
        "together" => together::refine(call, request, image).await,
        "wavespeed" => wavespeed::refine(call, request, image).await,
        other => Err(no_route(other, Task::ImageToImage)),
    };
    check_count(made?, 1)
}

/// hf-inference has models that change an image without a prompt.
fn check_inputs(request: &RefineRequest, provider: &str) -> Result<()> {
    match provider {
        HF_INFERENCE if !request.images.is_empty() => Ok(()),
        _ => request.check(),
    }
}

fn check_count(made: ImageOutput, asked: usize) -> Result<ImageOutput> {
    if made.images.len() == asked {
        return Ok(made);
    }
    Err(Error::response_invalid(format!(
        "{} images came back where {asked} were asked for",
        made.images.len()
    )))
}
