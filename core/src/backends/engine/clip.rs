//! A client of the CLIP embedding service.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::ClipServiceConfig;
use super::service::{Address, Service};
use crate::context::Context;
use crate::embed::{EmbedInput, EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, Truncation, Vectors};
use crate::env::Environment;
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Route};

pub(super) const DEFAULT_MODEL: &str = "openai/clip-vit-base-patch32";
const DEFAULT_MODEL_WIDTH: usize = 512;

/// Inputs of one request in flight at a time: the service takes one input a call.
const IN_FLIGHT: usize = 4;

/// A CLIP embedding service: texts and images in one space.
#[derive(Clone, Debug)]
pub struct ClipService {
    service: Service,
    info: BackendInfo,
    space: EmbeddingSpace,
    /// Whether it answered the last call, so that several inputs may be sent at once.
    awake: Arc<AtomicBool>,
}

/// What `/health` of a CLIP service says. It is data: a service that says it is unhealthy is no error.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ClipHealth {
    /// `healthy` if all is well.
    pub status: String,
    /// Whether the model is loaded.
    pub model_loaded: bool,
    /// `cpu` or `cuda`.
    pub device: String,
    /// The model that runs.
    pub model_name: String,
    /// Whatever else the service tells.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Body<'a> {
    Text { text: &'a str },
    Image { image: String, mime_type: &'a str },
}

struct Embedded {
    vector: Vec<f32>,
    truncated: bool,
    request_id: Option<String>,
}

impl ClipService {
    pub(super) fn open(config: &ClipServiceConfig, env: &Environment) -> Result<Self> {
        let model = config.model.trim();
        if model.is_empty() {
            return Err(Error::config("`model` is empty: name the model that the CLIP service runs"));
        }
        let address = Address {
            backend: "clip_service",
            url: &config.url,
            url_variables: &["CLIP_SERVICE_URL"],
            api_key: config.api_key.clone().or_else(|| env.secret(&["CLIP_API_KEY"])),
            hf_token: config.hf_token.clone(),
            space: config.space.as_deref(),
            hub_url: config.hub_url.clone(),
            timeout_seconds: config.timeout_seconds,
            wake_seconds: config.wake_seconds,
        };
        let service = Service::open(address, env)?;
        let known_width = (model == DEFAULT_MODEL).then_some(DEFAULT_MODEL_WIDTH);
        let space = EmbeddingSpace::new(model).with_dimensions(config.dimensions.or(known_width));
        let info = service.info(model);
        Ok(Self { service, info, space, awake: Arc::default() })
    }

    /// What the service says about itself. It does not wait for one that is asleep, but wakes it.
    ///
    /// # Errors
    /// `cold_start` while it wakes up; otherwise whatever keeps it from answering.
    pub async fn health(&self, cx: &Context) -> Result<ClipHealth> {
        Ok(self.service.get(cx, "/health").await?.value)
    }

    /// Asks for `/health` now and then, so that a Space does not fall asleep (they do after 15 minutes
    /// without visits; every 10 minutes is enough). The future never ends by itself: spawn it and cancel the
    /// context. A ping that fails is not the end: the next one may succeed.
    pub fn keep_alive(&self, cx: &Context, every: Duration) -> impl Future<Output = ()> + Send + 'static {
        let (space, cx) = (self.service.space.clone(), cx.clone());
        async move { space.keep_alive(&cx, every).await }
    }

    fn check(&self, request: &EmbedRequest) -> Result<()> {
        request.check(None)?;
        if request.truncation == Truncation::Refuse {
            return Err(Error::unsupported(
                "a CLIP service decides itself about long texts; `truncation: refuse` is not offered",
            ));
        }
        match (request.dimensions, self.space.dimensions) {
            (Some(wanted), known) if known != Some(wanted) => Err(Error::unsupported(format!(
                "CLIP vectors cannot be shortened; `dimensions: {wanted}` is not offered"
            ))),
            _ => Ok(()),
        }
    }

    async fn embed_all(&self, cx: &Context, request: &EmbedRequest) -> Result<EmbedResponse> {
        self.check(request)?;
        // A sleeping service is woken by one call, not by several that all wait.
        let alone = if self.awake.load(Ordering::Relaxed) { 0 } else { 1 };
        let mut results = Vec::with_capacity(request.inputs.len());
        for input in request.inputs.iter().take(alone) {
            results.push(self.embed_one(cx, input).await?);
        }
        let rest: Vec<_> = request.inputs.iter().skip(alone).map(|input| self.embed_one(cx, input)).collect();
        results.extend(stream::iter(rest).buffered(IN_FLIGHT).try_collect::<Vec<_>>().await?);

        let truncated =
            results.iter().enumerate().filter(|(_, one)| one.truncated).map(|(index, _)| index).collect();
        let request_id = results.first_mut().and_then(|one| one.request_id.take());
        let vectors = Vectors::from_rows(results.into_iter().map(|one| one.vector).collect())?;
        EmbedResponse::new(vectors, Route::new(&self.info).with_request_id(request_id))
            .with_truncated(truncated)
            .check(request.inputs.len(), self.space.dimensions)
    }

    async fn embed_one(&self, cx: &Context, input: &EmbedInput) -> Result<Embedded> {
        let (path, body) = match input {
            EmbedInput::Text(text) => ("/embed/text", Body::Text { text }),
            EmbedInput::Image(image) => {
                ("/embed/image", Body::Image { image: image.to_base64(), mime_type: image.media_type() })
            }
        };
        let outcome = self.service.post::<Value>(cx, path, &body).await;
        self.awake.store(outcome.is_ok(), Ordering::Relaxed);
        let reply = outcome?;
        let vector = read_vector(&reply.value).map_err(|error| match &reply.request_id {
            Some(id) => error.with_request_id(id.clone()),
            None => error,
        })?;
        let truncated = reply.value.get("truncated").and_then(Value::as_bool).unwrap_or_default();
        Ok(Embedded { vector, truncated, request_id: reply.request_id })
    }
}

impl Embedder for ClipService {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.embed_all(cx, &request).await
    }
}

/// The vector of one answer, of unit length.
fn read_vector(answer: &Value) -> Result<Vec<f32>> {
    let invalid = || {
        Error::response_invalid("the CLIP service's answer holds no `embedding` list of numbers")
            .with_http_status(200)
    };
    let numbers = answer.get("embedding").and_then(Value::as_array).ok_or_else(invalid)?;
    #[allow(clippy::cast_possible_truncation)]
    let number =
        |value: &Value| value.as_f64().map(|number| number as f32).filter(|number| number.is_finite());
    let vector: Vec<f32> = numbers.iter().map(number).collect::<Option<_>>().ok_or_else(invalid)?;
    if vector.is_empty() {
        return Err(invalid());
    }
    match answer.get("dimensions").and_then(Value::as_u64) {
        Some(said) if said != vector.len() as u64 => Err(Error::response_invalid(format!(
            "the CLIP service says {said} `dimensions` and sends {} numbers",
            vector.len()
        ))),
        _ => unit_length(vector),
    }
}

/// Services promise unit length; one that does not keep it is corrected, others keep their bits.
fn unit_length(vector: Vec<f32>) -> Result<Vec<f32>> {
    const TOLERANCE: f64 = 1e-3;
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if (length - 1.0).abs() <= TOLERANCE {
        return Ok(vector);
    }
    let width = vector.len();
    Ok(Vectors::new(vector, width)?.normalised().as_flat().to_vec())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;
    use crate::context::{BoxFuture, Cancellation, ManualClock};
    use crate::http::{HttpRequest, HttpResponse, Transport, TransportError};

    /// Answers every request with the same page and cancels after so many.
    #[derive(Debug)]
    struct Counting {
        seen: AtomicUsize,
        cancel_after: usize,
        cancellation: Cancellation,
    }

    impl Transport for Counting {
        fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
            assert_eq!((request.method.as_str(), request.url.path()), ("GET", "/health"));
            if self.seen.fetch_add(1, Ordering::Relaxed) + 1 == self.cancel_after {
                self.cancellation.cancel();
            }
            Box::pin(async { Ok(HttpResponse::of(503, &[], "asleep")) })
        }
    }

    #[tokio::test]
    async fn keep_alive_pings_through_failures_until_it_is_cancelled() {
        let cancellation = Cancellation::new();
        let transport =
            Counting { seen: AtomicUsize::new(0), cancel_after: 3, cancellation: cancellation.clone() };
        let transport = Arc::new(transport);
        let clock = ManualClock::automatic();
        let cx = Context::new()
            .with_clock(clock.clone().into())
            .with_transport(Arc::clone(&transport) as Arc<dyn Transport>)
            .with_cancellation(cancellation);
        let clip = ClipServiceConfig::new("http://clip.test").open(&Environment::empty()).expect("a service");
        let pinging = clip.keep_alive(&cx, Duration::from_secs(600));
        drop(clip);
        tokio::spawn(pinging).await.expect("it ends when cancelled");
        assert_eq!(transport.seen.load(Ordering::Relaxed), 3);
        let pauses = clock.slept().iter().filter(|pause| **pause == Duration::from_secs(600)).count();
        assert!(pauses >= 2, "{pauses}");
    }

    #[test]
    fn the_space_of_the_default_model_is_that_of_local_clip() {
        let open = |config: ClipServiceConfig| config.open(&Environment::empty()).expect("a service");
        let clip = open(ClipServiceConfig::new("https://me-clip.hf.space"));
        assert_eq!(clip.space(), &EmbeddingSpace::new("openai/clip-vit-base-patch32").with_dimensions(512));
        let other = open(
            ClipServiceConfig::new("https://me-clip.hf.space").with_model("openai/clip-vit-large-patch14"),
        );
        assert_eq!(other.space().dimensions, None, "no width is guessed");
    }
}
