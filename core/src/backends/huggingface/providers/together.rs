//! Images by Together: OpenAI's shape with names of its own.

use super::nscale::read_openai_images;
use super::{Fields, ImageCall, ImageOutput};
use crate::error::Result;
use crate::image::{GenerateRequest, RefineRequest};
use crate::media::ImageData;

const ROUTE: &str = "/v1/images/generations";

pub(in super::super) async fn generate(
    call: &ImageCall<'_>,
    request: &GenerateRequest,
) -> Result<ImageOutput> {
    let mut body = start(call, &request.prompt, request.size, request.steps);
    body.set_common(request).set("n", Some(request.count).filter(|count| *count > 1)).extend(&request.extra);
    read_openai_images(call, call.post(ROUTE).json(&body.finish())).await
}

pub(in super::super) async fn refine(
    call: &ImageCall<'_>,
    request: &RefineRequest,
    image: &ImageData,
) -> Result<ImageOutput> {
    let mut body = start(call, &request.prompt, request.size, request.steps);
    let url = image.to_data_url();
    if call.served.entry.model.to_ascii_lowercase().contains("kontext") {
        body.set("image_url", Some(url));
    } else {
        body.set("reference_images", Some(vec![url]));
    }
    body.set_common_of_refine(request).extend(&request.extra);
    read_openai_images(call, call.post(ROUTE).json(&body.finish())).await
}

fn start(call: &ImageCall<'_>, prompt: &str, size: Option<(u32, u32)>, steps: Option<u32>) -> Fields {
    let mut body = Fields::default();
    body.set("model", Some(call.served.entry.model.as_str()))
        .set("prompt", Some(prompt))
        .set("response_format", Some("base64"))
        .set("width", size.map(|(width, _)| width))
        .set("height", size.map(|(_, height)| height))
        .set("steps", steps);
    body
}
