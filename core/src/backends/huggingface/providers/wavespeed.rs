//! Images by WaveSpeed: a queued job that is polled.

use serde::Deserialize;
use serde_json::Value;

use super::{Fields, ImageCall, ImageOutput, Polling, invalid, job_failed};
use crate::error::Result;
use crate::http::Method;
use crate::image::{GenerateRequest, RefineRequest};
use crate::media::ImageData;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Envelope {
    data: Job,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Job {
    id: Option<String>,
    status: Option<String>,
    outputs: Option<Vec<String>>,
    error: Option<String>,
    urls: Urls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Urls {
    get: Option<String>,
}

pub(in super::super) async fn generate(
    call: &ImageCall<'_>,
    request: &GenerateRequest,
) -> Result<ImageOutput> {
    let mut body = start(&request.prompt, request.size, request.steps);
    run(call, &body.set_common(request).extend(&request.extra).finish()).await
}

pub(in super::super) async fn refine(
    call: &ImageCall<'_>,
    request: &RefineRequest,
    image: &ImageData,
) -> Result<ImageOutput> {
    let mut body = start(&request.prompt, request.size, request.steps);
    body.set("image", Some(image.to_data_url())).set_common_of_refine(request);
    run(call, &body.extend(&request.extra).finish()).await
}

fn start(prompt: &str, size: Option<(u32, u32)>, steps: Option<u32>) -> Fields {
    let mut body = Fields::default();
    body.set("prompt", Some(prompt))
        .set("width", size.map(|(width, _)| width))
        .set("height", size.map(|(_, height)| height))
        .set("num_inference_steps", steps);
    body
}

async fn run(call: &ImageCall<'_>, body: &Value) -> Result<ImageOutput> {
    let post = call.post(&format!("/api/v3/{}", call.served.model_path())).json(body);
    let reply = post.json_reply::<Envelope>(call.cx).await?;
    let mut job = reply.value.data;
    let request_id = reply.request_id.or(job.id.clone());
    let url = job.urls.get.clone();
    let mut polling = Polling::new(call);
    while job.status.as_deref() != Some("completed") {
        let words = match job.status.as_deref() {
            Some("failed") => return Err(job_failed(job.error.as_deref())),
            Some("processing") => "runs",
            _ => "waits in the queue",
        };
        let url =
            url.as_deref().ok_or_else(|| invalid("the job is not finished and names no URL to ask at"))?;
        polling.pause(call, words).await?;
        job = call.named(Method::GET, url)?.json_reply::<Envelope>(call.cx).await?.value.data;
    }
    let outputs = job.outputs.unwrap_or_default();
    if outputs.is_empty() {
        return Err(invalid("the finished job names no image"));
    }
    Ok(ImageOutput {
        images: call.download_all(outputs.iter().map(String::as_str)).await?,
        seed: None,
        request_id,
    })
}
