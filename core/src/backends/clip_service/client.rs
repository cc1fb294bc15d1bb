//! The client of a CLIP embedding service.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::config::ClipServiceConfig;
use crate::backends::space_service::{ServiceAddress, SpaceService};
use crate::context::Context;
use crate::embed::EmbeddingSpace;
use crate::env::Environment;
use crate::error::{Error, Result};
use crate::info::BackendInfo;

pub(super) const DEFAULT_MODEL: &str = "openai/clip-vit-base-patch32";
const DEFAULT_MODEL_WIDTH: usize = 512;

/// A CLIP embedding service: texts and images in one space.
#[derive(Clone, Debug)]
pub struct ClipService {
    pub(super) service: SpaceService,
    pub(super) info: BackendInfo,
    pub(super) space: EmbeddingSpace,
    /// Whether it answered the last call, so that several inputs may be sent at once.
    pub(super) awake: Arc<AtomicBool>,
}

/// The `/health` answer of a CLIP service. A service that says it is unhealthy is not an error.
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
    /// All other members of the answer.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl ClipService {
    pub(super) fn open(config: &ClipServiceConfig, env: &Environment) -> Result<Self> {
        let model = config.model.trim();
        if model.is_empty() {
            return Err(Error::config("`model` is empty: name the model that the CLIP service runs"));
        }
        let address = ServiceAddress {
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
        let service = SpaceService::open(address, env)?;
        let known_width = (model == DEFAULT_MODEL).then_some(DEFAULT_MODEL_WIDTH);
        let space = EmbeddingSpace::new(model).with_dimensions(config.dimensions.or(known_width));
        let info = service.info(model);
        Ok(Self { service, info, space, awake: Arc::default() })
    }

    /// Asks for the service's health. It wakes a service that is asleep but does not wait for it.
    ///
    /// # Errors
    /// `cold_start` while the service wakes up; otherwise the error that keeps it from answering.
    pub async fn health(&self, cx: &Context) -> Result<ClipHealth> {
        Ok(self.service.get(cx, "/health").await?.value)
    }

    /// Requests `/health` regularly, so that a Space does not fall asleep. (They do after 15 minutes without visits; every
    /// 10 minutes is enough.) The future never completes by itself: spawn it and cancel its context. It goes on after a
    /// request that fails.
    pub fn keep_alive(&self, cx: &Context, every: Duration) -> impl Future<Output = ()> + Send + 'static {
        let (space, cx) = (self.service.space.clone(), cx.clone());
        async move { space.keep_alive(&cx, every).await }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::context::{BoxFuture, Cancellation, ManualClock};
    use crate::embed::Embedder;
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
