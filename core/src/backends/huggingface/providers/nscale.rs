//! Images in OpenAI's shape: Nscale, and DeepInfra under a path of its own.

use super::{Fields, ImageCall, ImageOutput, image_of_base64, invalid};
use crate::error::Result;
use crate::http::client::ApiCall;
use crate::image::GenerateRequest;
use crate::wire::openai::images::{ImagePlace, RawImages};

pub(in super::super) async fn generate(
    call: &ImageCall<'_>,
    request: &GenerateRequest,
) -> Result<ImageOutput> {
    let mut body = Fields::default();
    body.set("model", Some(call.served.entry.model.as_str()))
        .set("prompt", Some(request.prompt.as_str()))
        .set("response_format", Some("b64_json"))
        .set("size", request.size.map(|(width, height)| format!("{width}x{height}")))
        .set("n", Some(request.count).filter(|count| *count > 1))
        .set_common(request)
        .extend(&request.extra);
    let route = match call.served.provider() {
        "deepinfra" => "/v1/openai/images/generations",
        _ => "/v1/images/generations",
    };
    read_openai_images(call, call.post(route).json(&body.finish())).await
}

/// Sends a call whose response has OpenAI's shape and reads its images, in the order of their indices.
pub(super) async fn read_openai_images(call: &ImageCall<'_>, post: ApiCall<'_>) -> Result<ImageOutput> {
    let reply = post.json_reply::<RawImages>(call.cx).await?;
    let mut images = Vec::new();
    for item in reply.value.into_items() {
        images.push(match item.into_place()? {
            ImagePlace::Inline(text) => image_of_base64(&text)?,
            ImagePlace::Url(url) => call.download(&url).await?,
        });
    }
    if images.is_empty() {
        return Err(invalid("the answer holds no image"));
    }
    Ok(ImageOutput { images, seed: None, request_id: reply.request_id })
}
