//! Images by hf-inference: raw bytes in both directions where nothing else is asked for.

use serde_json::Value;

use super::{Fields, ImageCall, ImageOutput, image_of, image_of_base64, invalid};
use crate::error::Result;
use crate::http::HeaderText;
use crate::http::client::ApiCall;
use crate::image::{GenerateRequest, RefineRequest};
use crate::media::ImageData;
use crate::wire::numbers::decimal;

pub(in super::super) async fn generate(
    call: &ImageCall<'_>,
    request: &GenerateRequest,
) -> Result<ImageOutput> {
    let mut parameters = Fields::default();
    parameters
        .set("negative_prompt", request.negative_prompt.clone())
        .set("height", request.size.map(|(_, height)| height))
        .set("width", request.size.map(|(width, _)| width))
        .set("num_inference_steps", request.steps)
        .set("guidance_scale", request.guidance.map(decimal))
        .set("scheduler", request.scheduler.clone())
        .set("seed", request.seed)
        .extend(&request.extra);
    let mut body = Fields::default();
    body.set("inputs", Some(request.prompt.as_str()));
    if !parameters.is_empty() {
        body.set("parameters", Some(parameters.finish()));
    }
    read(call, call.post(&route(call)).json(&body.finish())).await
}

pub(in super::super) async fn refine(
    call: &ImageCall<'_>,
    request: &RefineRequest,
    image: &ImageData,
) -> Result<ImageOutput> {
    let size = request.size.map(|(width, height)| serde_json::json!({ "width": width, "height": height }));
    let mut parameters = Fields::default();
    parameters
        .set("prompt", Some(request.prompt.as_str()).filter(|prompt| !prompt.trim().is_empty()))
        .set_common_of_refine(request)
        .set("num_inference_steps", request.steps)
        .set("target_size", size)
        .extend(&request.extra);
    let post = call.post(&route(call));
    let post = if parameters.is_empty() {
        post.bytes(image.bytes().clone(), image.media_type())
    } else {
        let mut body = Fields::default();
        post.json(
            &body
                .set("inputs", Some(image.to_base64()))
                .set("parameters", Some(parameters.finish()))
                .finish(),
        )
    };
    read(call, post).await
}

fn route(call: &ImageCall<'_>) -> String {
    format!("/models/{}", call.served.model_path())
}

/// Reads the answer: the image itself, or JSON with base64 or URLs.
async fn read(call: &ImageCall<'_>, post: ApiCall<'_>) -> Result<ImageOutput> {
    let reply = post.accept("image/png").bytes_reply(call.cx).await?;
    let content_type = reply.headers.text("content-type");
    let is_image = content_type.is_some_and(|kind| kind.starts_with("image/"))
        || ImageData::new(reply.value.clone()).is_ok();
    let images = if is_image {
        vec![image_of(reply.value, content_type)?]
    } else {
        let answer: Value = call.backend.0.api.read_json(&reply)?;
        let texts = |list: &str, field: Option<&str>| {
            let items = answer.get(list).and_then(Value::as_array).into_iter().flatten();
            let text =
                |item: &Value| field.map_or(Some(item), |field| item.get(field))?.as_str().map(str::to_owned);
            items.filter_map(text).collect::<Vec<_>>()
        };
        let encoded = texts("data", Some("b64_json"));
        if encoded.is_empty() {
            call.download_all(texts("output", None).iter().map(String::as_str)).await?
        } else {
            encoded.iter().map(|text| image_of_base64(text)).collect::<Result<_>>()?
        }
    };
    if images.is_empty() {
        return Err(invalid("the answer holds neither an image nor base64 nor URLs"));
    }
    Ok(ImageOutput { images, seed: None, request_id: reply.request_id })
}
