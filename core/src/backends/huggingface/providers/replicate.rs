//! Images by Replicate: the server holds the connection for up to a minute, then the prediction is polled.

use serde::Deserialize;
use serde_json::Value;

use super::{CancelOnDrop, Fields, ImageCall, ImageOutput, Polling, invalid, job_failed};
use crate::error::Result;
use crate::http::{HeaderName, Method};
use crate::image::{GenerateRequest, RefineRequest};
use crate::media::ImageData;

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Prediction {
    id: Option<String>,
    status: Option<String>,
    output: Value,
    urls: Urls,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Urls {
    get: Option<String>,
    cancel: Option<String>,
}

pub(in super::super) async fn generate(
    call: &ImageCall<'_>,
    request: &GenerateRequest,
) -> Result<ImageOutput> {
    let mut input = Fields::default();
    input
        .set("prompt", Some(request.prompt.as_str()))
        .set("width", request.size.map(|(width, _)| width))
        .set("height", request.size.map(|(_, height)| height))
        .set("num_inference_steps", request.steps)
        .set_common(request);
    if call.served.entry.adapter_weights.is_some() {
        let hub = call.backend.0.hub.base().as_str().trim_end_matches('/');
        input.set("lora_weights", Some(format!("{hub}/{}", call.backend.0.config.model)));
    }
    run(call, input.extend(&request.extra).finish()).await
}

pub(in super::super) async fn refine(
    call: &ImageCall<'_>,
    request: &RefineRequest,
    image: &ImageData,
) -> Result<ImageOutput> {
    let url = image.to_data_url();
    let mut input = Fields::default();
    // Every model has its own name for the image.
    input
        .set("prompt", Some(request.prompt.as_str()))
        .set("image", Some(url.clone()))
        .set("images", Some(vec![url.clone()]))
        .set("input_image", Some(url.clone()))
        .set("input_images", Some(vec![url]))
        .set("width", request.size.map(|(width, _)| width))
        .set("height", request.size.map(|(_, height)| height))
        .set("num_inference_steps", request.steps)
        .set_common_of_refine(request);
    run(call, input.extend(&request.extra).finish()).await
}

async fn run(call: &ImageCall<'_>, input: Value) -> Result<ImageOutput> {
    let mut body = Fields::default();
    let path = match call.served.entry.model.split_once(':') {
        Some((_, version)) => {
            body.set("version", Some(version));
            "/v1/predictions".to_owned()
        }
        None => format!("/v1/models/{}/predictions", call.served.model_path()),
    };
    let limit = call.backend.0.config.poll_limit_seconds.ceil().max(5.0);
    let post = call
        .post(&path)
        .header(HeaderName::from_static("prefer"), "wait")
        .header(HeaderName::from_static("cancel-after"), &format!("{limit:.0}s"));
    let reply = post.json(&body.set("input", Some(input)).finish()).json_reply::<Prediction>(call.cx).await?;
    let request_id = reply.request_id.or(reply.value.id.clone());
    let output = wait(call, reply.value).await?;
    let urls: Vec<&str> = match &output {
        Value::String(url) => vec![url],
        Value::Array(urls) => urls.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    if urls.is_empty() {
        return Err(invalid("the finished prediction names no image"));
    }
    Ok(ImageOutput { images: call.download_all(urls).await?, seed: None, request_id })
}

/// The output of the prediction, once it has one.
async fn wait(call: &ImageCall<'_>, prediction: Prediction) -> Result<Value> {
    let mut running = CancelOnDrop::new(call, Method::POST, prediction.urls.cancel.as_deref());
    match wait_for_output(call, &mut running, prediction).await {
        Ok(output) => {
            running.done();
            Ok(output)
        }
        Err(error) => Err(running.give_up(error).await),
    }
}

async fn wait_for_output(
    call: &ImageCall<'_>,
    running: &mut CancelOnDrop,
    mut prediction: Prediction,
) -> Result<Value> {
    let mut polling = Polling::new(call);
    loop {
        match (prediction.status.as_deref(), &prediction.output) {
            (Some("failed" | "canceled" | "aborted"), _) => {
                running.done();
                return Err(job_failed(None));
            }
            (Some("succeeded"), _) => return Ok(prediction.output),
            // Some models stream their output: it counts once they have succeeded.
            (Some("starting" | "processing"), _) | (_, Value::Null) => {}
            _ => return Ok(prediction.output),
        }
        let url = prediction.urls.get.clone();
        let url = url.ok_or_else(|| invalid("the prediction is not finished and names no URL to ask at"))?;
        let words = if prediction.status.as_deref() == Some("processing") { "runs" } else { "starts" };
        polling.pause(call, words).await?;
        prediction = call.named(Method::GET, &url)?.json_reply::<Prediction>(call.cx).await?.value;
    }
}
