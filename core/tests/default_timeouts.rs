//! How long a call waits where nobody says how long: a service that takes the request and never answers, and a clock that the test moves.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use ayni::config::{ChatModes, open_embedder_with};
use ayni::context::{BoxFuture, ManualClock};
use ayni::http::{HttpRequest, HttpResponse, Transport, TransportError};
use ayni::{ChatRequest, Context, EmbedderConfig, Environment, Error, ErrorKind, Setup};

/// Takes a request and never answers.
#[derive(Debug)]
struct Silent;

impl Transport for Silent {
    fn send(&self, _request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        Box::pin(std::future::pending())
    }
}

/// The error of a call that is still waiting just before `seconds` are over, and no longer after them.
async fn error_after<T, W>(seconds: u64, call: impl FnOnce(Context) -> W) -> Error
where
    T: std::fmt::Debug + Send + 'static,
    W: Future<Output = ayni::Result<T>> + Send + 'static,
{
    let clock = ManualClock::new();
    let cx = Context::new().with_clock(clock.clone().into()).with_transport(Arc::new(Silent));
    let waiting = tokio::spawn(call(cx));
    let instant = Duration::from_millis(1);
    for by in [Duration::ZERO, Duration::from_secs(seconds) - instant, 2 * instant] {
        assert!(!waiting.is_finished(), "it waited for less than {seconds} s");
        clock.advance(by);
        // One thread runs everything here, so that the call gets as far as it can.
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    }
    assert!(waiting.is_finished(), "it waits for more than {seconds} s");
    waiting.await.unwrap().expect_err("nobody answers")
}

#[tokio::test]
async fn a_clip_service_that_its_variables_name_has_90_seconds_for_a_request() {
    let service = [("EMBEDDING_PROVIDER", "huggingface"), ("CLIP_SERVICE_URL", "https://a-clip.hf.space")];
    let env = Environment::from_pairs(service);
    let embedder = open_embedder_with(Setup::<EmbedderConfig>::from_env_with(&env).unwrap(), &env).unwrap();
    let error = error_after(90, async move |cx| embedder.embed_text(&cx, "un perro").await).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test]
async fn a_mode_of_the_router_has_30_seconds_for_a_call() {
    for mode in ["hf-qwen2.5", "hf-smollm2"] {
        let modes = ChatModes::from_env_with(&Environment::from_pairs([("HF_API_TOKEN", "hf_x")])).unwrap();
        let chat = modes.open(Some(mode)).unwrap();
        let error = error_after(30, async move |cx| chat.chat(&cx, ChatRequest::user("hola")).await).await;
        assert_eq!(error.kind(), ErrorKind::Timeout, "{mode}: {error}");
    }
}
