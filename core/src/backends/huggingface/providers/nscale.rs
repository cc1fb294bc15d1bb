//! Images in OpenAI's shape: Nscale, and DeepInfra under a path of its own.

use serde::Deserialize;

use super::{Fields, ImageCall, Made, image_of_base64, invalid};
use crate::error::Result;
use crate::http::client::ApiCall;
use crate::image::GenerateRequest;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Answer {
    data: Vec<Item>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Item {
    index: Option<u64>,
    b64_json: Option<String>,
    url: Option<String>,
}

pub(in super::super) async fn generate(call: &ImageCall<'_>, request: &GenerateRequest) -> Result<Made> {
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

/// Sends a call whose answer has OpenAI's shape and reads its images, in the order of their indices.
pub(super) async fn read_openai_images(call: &ImageCall<'_>, post: ApiCall<'_>) -> Result<Made> {
    let reply = post.json_reply::<Answer>(call.cx, call.operation).await?;
    let mut items = reply.value.data;
    if items.iter().all(|item| item.index.is_some()) {
        items.sort_by_key(|item| item.index);
    }
    let mut images = Vec::new();
    for item in &items {
        images.push(match (&item.b64_json, &item.url) {
            (Some(text), _) => image_of_base64(text)?,
            (None, Some(url)) => call.download(url).await?,
            (None, None) => return Err(invalid("an image of the answer has neither base64 nor URL")),
        });
    }
    if images.is_empty() {
        return Err(invalid("the answer holds no image"));
    }
    Ok(Made { images, seed: None, request_id: reply.request_id })
}
