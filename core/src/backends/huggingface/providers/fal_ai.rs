//! Images by fal: a queue. A job is submitted, polled, and fetched.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{CancelOnDrop, Fields, ImageCall, ImageOutput, Polling, adapter_url, invalid, job_failed};
use crate::error::Result;
use crate::http::Method;
use crate::image::{GenerateRequest, RefineRequest};
use crate::media::ImageData;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Job {
    request_id: Option<String>,
    status: Option<String>,
    queue_position: Option<u64>,
    response_url: Option<String>,
    status_url: Option<String>,
    cancel_url: Option<String>,
    /// Filled at once by the synchronous host.
    images: Vec<Image>,
    seed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Output {
    images: Vec<Image>,
    /// Some models make one image and use the singular.
    image: Option<Image>,
    seed: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Image {
    url: String,
}

pub(in super::super) async fn generate(
    call: &ImageCall<'_>,
    request: &GenerateRequest,
) -> Result<ImageOutput> {
    let mut body = Fields::default();
    body.set("prompt", Some(request.prompt.as_str()))
        .set("image_size", request.size.map(size))
        .set("num_inference_steps", request.steps)
        .set_common(request)
        .set("num_images", Some(request.count).filter(|count| *count > 1));
    set_adapter(call, &mut body);
    run(call, &body.extend(&request.extra).finish()).await
}

pub(in super::super) async fn refine(
    call: &ImageCall<'_>,
    request: &RefineRequest,
    image: &ImageData,
) -> Result<ImageOutput> {
    let url = image.to_data_url();
    let mut body = Fields::default();
    // Some models take one image, others a list.
    body.set("prompt", Some(request.prompt.as_str()))
        .set("image_urls", Some(vec![url.clone()]))
        .set("image_url", Some(url))
        .set("image_size", request.size.map(size))
        .set("num_inference_steps", request.steps)
        .set_common_of_refine(request);
    set_adapter(call, &mut body);
    run(call, &body.extend(&request.extra).finish()).await
}

fn size((width, height): (u32, u32)) -> Value {
    json!({ "width": width, "height": height })
}

fn set_adapter(call: &ImageCall<'_>, body: &mut Fields) {
    if let Some(weights) = &call.served.entry.adapter_weights {
        let path = adapter_url(call.backend.0.hub.base(), &call.backend.0.config.model, weights);
        body.set("loras", Some(json!([{ "path": path, "scale": 1 }])));
    }
}

async fn run(call: &ImageCall<'_>, body: &Value) -> Result<ImageOutput> {
    let query = call.served.router_query().map(|query| format!("?{query}")).unwrap_or_default();
    let submit = call.post(&format!("/{}{query}", call.served.model_path()));
    let job = submit.json(body).json_reply::<Job>(call.cx).await?;
    let request_id = job.request_id.or(job.value.request_id.clone());
    let output = if job.value.images.is_empty() {
        wait(call, job.value).await?
    } else {
        Output { images: job.value.images, image: None, seed: job.value.seed }
    };
    let urls: Vec<&str> = output.images.iter().chain(&output.image).map(|image| image.url.as_str()).collect();
    if urls.is_empty() {
        return Err(invalid("the finished job names no image"));
    }
    Ok(ImageOutput { images: call.download_all(urls).await?, seed: output.seed, request_id })
}

/// Waits for the job, then fetches its output. The URLs come from the response: in them the queue
/// shortens a model's path to owner and application.
async fn wait(call: &ImageCall<'_>, job: Job) -> Result<Output> {
    let response_url = job
        .response_url
        .clone()
        .ok_or_else(|| invalid("the queue accepted the job but named no URL for it"))?;
    let status_url = job.status_url.clone().unwrap_or_else(|| format!("{response_url}/status"));
    let mut running = CancelOnDrop::new(call, Method::PUT, job.cancel_url.as_deref());
    if let Err(error) = wait_until_done(call, &mut running, job, &status_url).await {
        return Err(running.give_up(error).await);
    }
    running.done();
    let fetched = call.named(Method::GET, &response_url)?;
    Ok(fetched.json_reply::<Output>(call.cx).await?.value)
}

async fn wait_until_done(
    call: &ImageCall<'_>,
    running: &mut CancelOnDrop,
    job: Job,
    status_url: &str,
) -> Result<()> {
    let mut state = job.status.unwrap_or_default();
    let mut place = job.queue_position;
    let mut polling = Polling::new(call);
    while state != "COMPLETED" {
        let words = match (state.as_str(), place) {
            ("IN_PROGRESS", _) => "runs".to_owned(),
            ("ERROR" | "FAILED" | "CANCELLED", _) => {
                running.done();
                return Err(job_failed(None));
            }
            (_, Some(place)) => format!("waits in the queue, with {place} before it"),
            (_, None) => "waits in the queue".to_owned(),
        };
        polling.pause(call, &words).await?;
        let asked = call.named(Method::GET, status_url)?;
        let answer = asked.json_reply::<Job>(call.cx).await?.value;
        state = answer.status.unwrap_or_default();
        place = answer.queue_position;
    }
    Ok(())
}
