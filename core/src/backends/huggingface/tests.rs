use std::sync::Arc;
use std::time::Duration;

use super::testing::ScriptedTransport;
use super::*;
use crate::context::{Cancellation, Context};
use crate::env::Environment;
use crate::http::HeaderText;
use crate::image::{GenerateRequest, ImageGenerator};
use crate::{EmbedRequest, Embedder, ErrorKind};

const MAPPING: &str = r#"{"inferenceProviderMapping":{
    "fal-ai":{"status":"live","providerId":"fal-ai/flux/dev","task":"text-to-image"},
    "together":{"status":"live","providerId":"t","task":"feature-extraction"}}}"#;
const QUEUED: &str = r#"{"request_id":"r1","status":"IN_QUEUE",
    "response_url":"https://queue.fal.run/fal-ai/flux/requests/r1",
    "cancel_url":"https://queue.fal.run/fal-ai/flux/requests/r1/cancel"}"#;
const CANCEL: &str = "PUT router.huggingface.co/fal-ai/fal-ai/flux/requests/r1/cancel?_subdomain=queue";

fn open(provider: &str) -> HuggingFace {
    let config = HuggingFaceConfig::new("owner/model").with_provider(provider).with_api_key("hf_canary");
    config.open(&Environment::empty()).expect("a backend")
}

/// Lets whatever runs in the background run until `is_done`.
async fn settle(is_done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if is_done() {
            return;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_job_whose_call_is_cancelled_is_cancelled_at_the_provider() {
    let script = ScriptedTransport::new([(200, MAPPING), (200, QUEUED), (0, "")]);
    let cancellation = Cancellation::new();
    let cx = Context::new().with_transport(Arc::new(script.clone())).with_cancellation(cancellation.clone());
    let backend = open("fal-ai");
    let call = backend.generate(&cx, GenerateRequest::new("a lighthouse"));
    let cancel = async {
        settle(|| script.asked().len() >= 2).await;
        cancellation.cancel();
    };
    let (outcome, ()) = tokio::join!(call, cancel);
    assert_eq!(outcome.expect_err("cancelled").kind(), ErrorKind::Cancelled);
    settle(|| script.asked().iter().any(|line| line == CANCEL)).await;
    let asked = script.asked();
    let index = asked.iter().position(|line| line == CANCEL).expect("the job is cancelled");
    assert_eq!(script.request(index).headers.text("authorization"), Some("Bearer hf_canary"));
}

#[tokio::test]
async fn a_job_whose_call_is_dropped_is_cancelled_at_the_provider() {
    let script = ScriptedTransport::new([(200, MAPPING), (200, QUEUED), (0, "")]);
    let cx = Context::new().with_transport(Arc::new(script.clone()));
    let backend = open("fal-ai");
    let call = Box::pin(backend.generate(&cx, GenerateRequest::new("a lighthouse")));
    let first = futures_util::future::select(call, Box::pin(settle(|| script.asked().len() >= 2))).await;
    drop(first);
    settle(|| script.asked().iter().any(|line| line == CANCEL)).await;
    assert!(script.asked().iter().any(|line| line == CANCEL), "{:?}", script.asked());
}

#[tokio::test]
async fn a_mapping_is_believed_for_ten_minutes() {
    let vectors = r#"{"data":[{"index":0,"embedding":[1.0]}]}"#;
    let script = ScriptedTransport::new([
        (200, MAPPING),
        (200, vectors),
        (200, vectors),
        (200, MAPPING),
        (200, vectors),
    ]);
    let (cx, clock) = script.context();
    let backend = open("together");
    let looked_up = || script.asked().iter().filter(|line| line.contains("/api/models/")).count();
    for (wait, expected) in [(0, 1), (599, 1), (2, 2)] {
        clock.advance(Duration::from_secs(wait));
        backend.embed(&cx, EmbedRequest::texts(["a"])).await.expect("a vector");
        assert_eq!(looked_up(), expected, "after {wait} s more");
    }
}

#[tokio::test]
async fn calls_at_the_same_time_share_one_look_up() {
    let vectors = r#"{"data":[{"index":0,"embedding":[1.0]}]}"#;
    let script = ScriptedTransport::new([(200, MAPPING), (200, vectors)]);
    let (cx, _) = script.context();
    let backend = open("together");
    let call = || backend.embed(&cx, EmbedRequest::texts(["a"]));
    let (a, b, c) = tokio::join!(call(), call(), call());
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    assert_eq!(script.asked().len(), 4, "{:?}", script.asked());
}

#[test]
fn opening_refuses_what_cannot_work_and_names_the_field() {
    let base = || HuggingFaceConfig::new("owner/model").with_api_key("r8_own_key");
    let unknown = base().with_provider("brand-new");
    let mut endless = base();
    endless.poll_limit_seconds = f64::INFINITY;
    let mut misdirected = HuggingFaceConfig::new("a/b").with_api_key("hf_x");
    misdirected.direct_url = Some("https://api.example.test".into());
    for (config, field) in [
        (misdirected, "direct_url"),
        (HuggingFaceConfig::new(" ").with_api_key("hf_x"), "model"),
        (HuggingFaceConfig::new("a/b:groq").with_api_key("hf_x"), "model"),
        (base().with_provider(""), "provider"),
        (base().with_provider("auto"), "provider"),
        (base().with_provider("replicate").with_bill_to("ayni"), "bill_to"),
        (unknown, "direct_url"),
        (endless, "poll_limit_seconds"),
        (base().with_dimensions(0), "dimensions"),
    ] {
        let error = config.open(&Environment::empty()).expect_err(field);
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{field}");
        assert!(error.context().contains(&("field", field.to_owned())), "{error:?}");
        assert!(!format!("{error:?}").contains("own_key"));
    }
}

#[test]
fn the_space_says_what_the_configuration_says() {
    let config = HuggingFaceConfig::new("owner/model").with_api_key("hf_x").with_dimensions(256);
    let plain = config.open(&Environment::empty()).expect("a backend");
    assert_eq!(plain.space(), &crate::EmbeddingSpace::new("owner/model").with_dimensions(256));
    let mut prompted = config;
    prompted.query_prompt = Some("query".into());
    prompted.normalise = false;
    let prompted = prompted.open(&Environment::empty()).expect("a backend");
    assert_eq!(prompted.space().differences(plain.space()), ["normalised", "prompt_set"]);
}

#[test]
fn the_token_and_the_hub_are_read_from_the_environment() {
    let env =
        Environment::from_pairs([("HF_TOKEN", "hf_second"), ("HF_ENDPOINT", "https://hub.example.test")]);
    let backend = HuggingFaceConfig::new("owner/model").open(&env).expect("a backend");
    assert_eq!(backend.0.hub.host(), "hub.example.test");
    assert_eq!(ImageGenerator::info(&backend).host.as_deref(), Some("router.huggingface.co"));
    assert!(!format!("{backend:?}").contains("hf_second"));
}
