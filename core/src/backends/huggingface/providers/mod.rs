//! The providers: where each is, what it serves, and how its image API differs.

use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use url::Url;

use super::client::{HuggingFace, ResolvedProvider};
use super::mapping::Task;
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::http::client::ApiCall;
use crate::http::{HeaderText, Method};
use crate::image::{GenerateRequest, RefineRequest};
use crate::media::ImageData;
use crate::wire::numbers::decimal;

pub(super) mod fal_ai;
pub(super) mod hf_inference;
mod job;
pub(super) mod nscale;
pub(super) mod replicate;
pub(super) mod together;
pub(super) mod wavespeed;

pub(super) use job::CancelOnDrop;

/// The provider that is Hugging Face itself.
pub(super) const HF_INFERENCE: &str = "hf-inference";
/// The first provider that the Hub names for a model.
pub(super) const AUTO: &str = "auto";

/// How a provider's own key is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scheme {
    Bearer,
    Key,
}

/// One provider. A provider that is not in the table can still be named; it only has no routes here.
#[derive(Debug)]
pub(super) struct ProviderProfile {
    name: &'static str,
    /// Its own host, for keys of its own.
    pub(super) direct_url: &'static str,
    pub(super) scheme: Scheme,
    /// Its route for embeddings in OpenAI's shape.
    pub(super) embeddings: Option<&'static str>,
    /// The options that its API has for generating images, if it generates.
    generates: Option<&'static [&'static str]>,
    /// The options that its API has for changing images, if it changes them.
    refines: Option<&'static [&'static str]>,
    pub(super) max_images: Option<usize>,
}

const fn profile_of(name: &'static str, direct_url: &'static str) -> ProviderProfile {
    ProviderProfile {
        name,
        direct_url,
        scheme: Scheme::Bearer,
        embeddings: None,
        generates: None,
        refines: None,
        max_images: None,
    }
}

const PROVIDERS: [ProviderProfile; 8] = [
    ProviderProfile {
        generates: Some(&["negative_prompt", "size", "steps", "guidance", "scheduler", "seed"]),
        refines: Some(&["negative_prompt", "size", "steps", "guidance", "strength", "seed"]),
        max_images: Some(1),
        ..profile_of(HF_INFERENCE, "https://router.huggingface.co/hf-inference")
    },
    ProviderProfile {
        embeddings: Some("/v1/embeddings"),
        generates: Some(&["negative_prompt", "count", "size", "steps", "guidance", "seed"]),
        refines: Some(&["negative_prompt", "size", "steps", "guidance", "seed"]),
        ..profile_of("together", "https://api.together.xyz")
    },
    ProviderProfile {
        embeddings: Some("/v1/openai/embeddings"),
        generates: Some(&["negative_prompt", "count", "size", "seed"]),
        ..profile_of("deepinfra", "https://api.deepinfra.com")
    },
    ProviderProfile {
        embeddings: Some("/v1/embeddings"),
        ..profile_of("scaleway", "https://api.scaleway.ai")
    },
    ProviderProfile {
        // Its API has neither steps nor guidance.
        generates: Some(&["negative_prompt", "count", "size", "seed"]),
        ..profile_of("nscale", "https://inference.api.nscale.com")
    },
    ProviderProfile {
        scheme: Scheme::Key,
        generates: Some(&["negative_prompt", "count", "size", "steps", "guidance", "scheduler", "seed"]),
        refines: Some(&["negative_prompt", "size", "steps", "guidance", "strength", "seed"]),
        ..profile_of("fal-ai", "https://queue.fal.run")
    },
    ProviderProfile {
        generates: Some(&["negative_prompt", "size", "steps", "guidance", "scheduler", "seed"]),
        refines: Some(&["negative_prompt", "size", "steps", "guidance", "seed"]),
        max_images: Some(1),
        ..profile_of("replicate", "https://api.replicate.com")
    },
    ProviderProfile {
        generates: Some(&["negative_prompt", "size", "steps", "guidance", "scheduler", "seed"]),
        refines: Some(&["negative_prompt", "size", "steps", "guidance", "strength", "seed"]),
        max_images: Some(1),
        ..profile_of("wavespeed", "https://api.wavespeed.ai")
    },
];

/// The provider called `name`.
pub(super) fn profile(name: &str) -> Option<&'static ProviderProfile> {
    PROVIDERS.iter().find(|profile| profile.name == name)
}

/// Whether ayni knows a route of this provider for the task.
pub(super) fn serves(provider: &str, task: Task) -> bool {
    profile(provider).is_some_and(|profile| does(profile, task))
}

fn does(profile: &ProviderProfile, task: Task) -> bool {
    match task {
        Task::TextGeneration => profile.name == HF_INFERENCE,
        Task::FeatureExtraction => profile.name == HF_INFERENCE || profile.embeddings.is_some(),
        Task::TextToImage => profile.generates.is_some(),
        Task::ImageToImage => profile.refines.is_some(),
    }
}

/// The error for a provider without a known route for the task.
pub(super) fn no_route(provider: &str, task: Task) -> Error {
    let known: Vec<&str> =
        PROVIDERS.iter().filter(|profile| does(profile, task)).map(|profile| profile.name).collect();
    Error::unsupported(format!(
        "ayni has no {} route of provider '{provider}'; it has those of {}",
        task.as_str(),
        known.join(", ")
    ))
}

/// One image call: its context, its backend, its provider.
#[derive(Debug)]
pub(super) struct ImageCall<'a> {
    pub(super) cx: &'a Context,
    pub(super) backend: &'a HuggingFace,
    pub(super) served: &'a ResolvedProvider,
}

/// The result of an image call.
#[derive(Debug, Default)]
pub(super) struct ImageOutput {
    pub(super) images: Vec<ImageData>,
    pub(super) seed: Option<u64>,
    pub(super) request_id: Option<String>,
}

impl ImageCall<'_> {
    /// A POST to a path at the provider.
    pub(super) fn post(&self, path: &str) -> ApiCall<'_> {
        self.backend.post(self.served, path)
    }

    /// A call to a URL that the provider's response named, sent to the host that is called anyway (at the
    /// router the provider's name comes before the path), so that the credential goes nowhere else.
    pub(super) fn named(&self, method: Method, url: &str) -> Result<ApiCall<'_>> {
        let (path, is_own) = self.named_path(url)?;
        let api = &self.backend.0.api;
        if is_own { api.call_named(method, &path) } else { Ok(api.call(method, &path)) }
    }

    /// The path and query of a named URL on the host that is called, or the URL itself if it is on that host.
    pub(super) fn named_path(&self, url: &str) -> Result<(String, bool)> {
        let base = self.backend.0.api.base();
        let url = base.join(url).map_err(|_| invalid("the provider named an invalid URL"))?;
        if url.origin() == base.origin() {
            return Ok((url.into(), true));
        }
        let query =
            self.served.router_query().or(url.query()).map(|query| format!("?{query}")).unwrap_or_default();
        Ok((self.served.path(&format!("{}{query}", url.path())), false))
    }

    /// The image at a URL that a response named. Credentials are sent only to the API's own host.
    pub(super) async fn download(&self, url: &str) -> Result<ImageData> {
        if url.starts_with("data:") {
            return ImageData::from_base64(url)
                .map_err(|_| invalid("the provider's data URL holds no image"));
        }
        let call = self.backend.0.api.call_named(Method::GET, url)?.accept("image/*");
        let reply = call.bytes_reply(self.cx).await?;
        image_of(reply.value, reply.headers.text("content-type"))
    }

    /// The images at URLs, in order.
    pub(super) async fn download_all<'u>(
        &self,
        urls: impl IntoIterator<Item = &'u str>,
    ) -> Result<Vec<ImageData>> {
        let mut images = Vec::new();
        for url in urls {
            images.push(self.download(url).await?);
        }
        Ok(images)
    }
}

/// The error for a response that breaks the protocol.
pub(super) fn invalid(message: &str) -> Error {
    Error::response_invalid(message)
}

/// An image from a response; its first bytes decide the format, else the header does.
pub(super) fn image_of(bytes: bytes::Bytes, content_type: Option<&str>) -> Result<ImageData> {
    let declared =
        content_type.and_then(|kind| kind.split(';').next()).filter(|kind| kind.starts_with("image/"));
    match (ImageData::new(bytes.clone()), declared) {
        _ if bytes.is_empty() => Err(invalid("the provider answered with an empty image")),
        (Ok(image), _) => Ok(image),
        (Err(_), Some(declared)) => Ok(ImageData::with_media_type(bytes, declared)),
        (Err(_), None) => Err(invalid("the provider answered with something that is not an image")),
    }
}

/// An image from base64.
pub(super) fn image_of_base64(text: &str) -> Result<ImageData> {
    ImageData::from_base64(text).map_err(|_| invalid("the provider's base64 text holds no image"))
}

/// The error for a job that failed. The provider's reason goes into the excerpt: it may echo the prompt.
pub(super) fn job_failed(said: Option<&str>) -> Error {
    const REFUSALS: [&str; 5] = ["nsfw", "safety", "sensitive", "content policy", "moderation"];
    let said = said.unwrap_or_default();
    let lower = said.to_ascii_lowercase();
    let error = if REFUSALS.iter().any(|refusal| lower.contains(refusal)) {
        Error::new(ErrorKind::ContentRejected, "the provider's safety filter refused the request")
    } else {
        // The job was accepted, run and perhaps paid for: whether to repeat it is the caller's decision.
        Error::new(ErrorKind::Unavailable, "the provider accepted the job, and the job failed")
            .with_persistence(Persistence::Permanent)
    };
    let excerpt: String = crate::http::redact::mask(said).chars().take(500).collect();
    let error = error.with_sent(Sent::Yes);
    if excerpt.is_empty() { error } else { error.with_response_excerpt(excerpt) }
}

/// Polls the state of a queued job.
#[derive(Debug)]
pub(super) struct Polling {
    since: Instant,
    pause: Duration,
    limit: Duration,
    last_state: String,
}

impl Polling {
    pub(super) fn new(call: &ImageCall<'_>) -> Self {
        let seconds = |seconds: f64| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::from_secs(1));
        let config = &call.backend.0.config;
        Self {
            since: call.cx.clock().now(),
            pause: seconds(config.poll_seconds),
            limit: seconds(config.poll_limit_seconds),
            last_state: String::new(),
        }
    }

    /// Waits before the next poll. `state` is the last response's state, in words.
    ///
    /// # Errors
    /// `timeout` with `phase=poll` when the limit is reached; `timeout` or `cancelled` from the context.
    pub(super) async fn pause(&mut self, call: &ImageCall<'_>, state: &str) -> Result<()> {
        let elapsed = call.cx.clock().now().saturating_duration_since(self.since);
        if elapsed >= self.limit {
            let message =
                format!("the provider did not finish the job within {:.1} s", self.limit.as_secs_f64());
            return Err(Error::new(ErrorKind::Timeout, message)
                .with_persistence(Persistence::Permanent)
                .with_context("phase", "poll")
                .with_sent(Sent::Yes));
        }
        if self.last_state != state {
            state.clone_into(&mut self.last_state);
            let reason = || format!("the job at {} {state}", call.served.provider());
            call.cx.report(|| Progress::Waiting { reason: reason(), elapsed });
        }
        call.cx.sleep(self.pause.min(self.limit - elapsed)).await.map_err(|error| error.with_sent(Sent::Yes))
    }
}

/// Fails if an option is set that the provider's API does not have. Passes for a provider without the route.
pub(super) fn check_generate(provider: &str, request: &GenerateRequest) -> Result<()> {
    let set = [
        ("negative_prompt", request.negative_prompt.is_some()),
        ("count", request.count > 1),
        ("size", request.size.is_some()),
        ("aspect_ratio", request.aspect_ratio.is_some()),
        ("resolution", request.resolution.is_some()),
        ("steps", request.steps.is_some()),
        ("guidance", request.guidance.is_some()),
        ("scheduler", request.scheduler.is_some()),
        ("seed", request.seed.is_some()),
        ("temperature", request.temperature.is_some()),
    ];
    check_options(provider, Task::TextToImage, &set, profile(provider).and_then(|profile| profile.generates))
}

/// The same for changing images.
pub(super) fn check_refine(provider: &str, request: &RefineRequest) -> Result<()> {
    let set = [
        ("negative_prompt", request.negative_prompt.is_some()),
        ("mask", request.mask.is_some()),
        ("size", request.size.is_some()),
        ("steps", request.steps.is_some()),
        ("guidance", request.guidance.is_some()),
        ("strength", request.strength.is_some()),
        ("seed", request.seed.is_some()),
    ];
    check_options(provider, Task::ImageToImage, &set, profile(provider).and_then(|profile| profile.refines))
}

fn check_options(provider: &str, task: Task, set: &[(&str, bool)], accepted: Option<&[&str]>) -> Result<()> {
    let refused = |name: &str| accepted.is_some_and(|accepted| !accepted.contains(&name));
    match set.iter().find(|(name, is_set)| *is_set && refused(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let text = format!("provider '{provider}' takes no `{name}` for {}", task.as_str());
            Err(Error::unsupported_option(name, text))
        }
    }
}

/// A JSON object under construction, in the order in which its fields are set.
#[derive(Debug, Default)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// Sets a field that has a value.
    pub(super) fn set(&mut self, name: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
        self
    }

    /// Sets the options of a generation that have the same name at all providers.
    pub(super) fn set_common(&mut self, request: &GenerateRequest) -> &mut Self {
        self.set("negative_prompt", request.negative_prompt.clone())
            .set("guidance_scale", request.guidance.map(decimal))
            .set("scheduler", request.scheduler.clone())
            .set("seed", request.seed)
    }

    /// Sets the options of a change that have the same name at all providers.
    pub(super) fn set_common_of_refine(&mut self, request: &RefineRequest) -> &mut Self {
        self.set("negative_prompt", request.negative_prompt.clone())
            .set("guidance_scale", request.guidance.map(decimal))
            .set("strength", request.strength.map(decimal))
            .set("seed", request.seed)
    }

    /// Adds the caller's own fields; those already set win.
    pub(super) fn extend(&mut self, extra: &Map<String, Value>) -> &mut Self {
        for (name, value) in extra {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The object.
    pub(super) fn finish(&mut self) -> Value {
        Value::Object(std::mem::take(&mut self.0))
    }
}

/// The address of an adapter's weights on the Hub.
pub(super) fn adapter_url(hub: &Url, model: &str, weights: &str) -> String {
    let base = hub.as_str().trim_end_matches('/');
    let encode = super::space::encode_path;
    format!("{base}/{}/resolve/main/{}", encode(model), encode(weights))
}
