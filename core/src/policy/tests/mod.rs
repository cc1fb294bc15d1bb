//! The parts of a policy at work, on a clock that is moved by hand.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::Notify;

use super::*;
use crate::context::{ManualClock, PhaseTimeouts, Progress};
use crate::{
    BackendInfo, ChatBackend, ChatEvent, ChatRequest, ChatResponse, ChatStream, Context, CredentialId,
    EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, ErrorKind, FinishReason, GenerateRequest,
    ImageData, ImageGenerator, ImageResponse, Limits, RefineRequest, Route, Sent, Usage, Vectors,
};

mod caching;
mod falling_back;
mod forwarding;
mod limiting;
mod observing;
mod order;
mod retrying;
mod streaming;
mod timing;

/// What a [`Fake`] does with a request.
enum Step {
    Answer,
    Fail(Error),
    /// Never answers.
    Hang,
    /// Answers once told to.
    Gate(Arc<Notify>),
    /// Streams these events and then hangs, unless the last one is an end.
    Events(Vec<Result<ChatEvent>>),
}

/// A backend that follows a script and then answers, and remembers what it saw.
#[derive(Clone)]
struct Fake(Arc<FakeState>);

struct FakeState {
    info: BackendInfo,
    space: EmbeddingSpace,
    steps: Mutex<VecDeque<Step>>,
    calls: AtomicUsize,
    seen: Mutex<Vec<(u32, PhaseTimeouts)>>,
    journal: Option<Journal>,
}

/// Which backends were asked, in order.
type Journal = Arc<Mutex<Vec<String>>>;

impl std::fmt::Debug for Fake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.info.backend)
    }
}

impl Fake {
    fn new(steps: impl IntoIterator<Item = Step>) -> Self {
        Self::of(BackendInfo::new("fake", "m"), steps)
    }

    fn named(name: &str, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::of(BackendInfo::new(name, "m"), steps)
    }

    fn of(info: BackendInfo, steps: impl IntoIterator<Item = Step>) -> Self {
        Self::build(info, EmbeddingSpace::new("m").with_dimensions(2), steps, None)
    }

    fn build(
        info: BackendInfo,
        space: EmbeddingSpace,
        steps: impl IntoIterator<Item = Step>,
        journal: Option<Journal>,
    ) -> Self {
        Self(Arc::new(FakeState {
            info,
            space,
            steps: Mutex::new(steps.into_iter().collect()),
            calls: AtomicUsize::new(0),
            seen: Mutex::default(),
            journal,
        }))
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::Relaxed)
    }

    fn seen(&self) -> Vec<(u32, PhaseTimeouts)> {
        self.0.seen.lock().expect("a lock").clone()
    }

    fn chat(&self) -> AnyChat {
        AnyChat::new(self.clone())
    }

    fn images(&self) -> AnyImageGenerator {
        AnyImageGenerator::new(self.clone())
    }

    async fn step(&self, cx: &Context) -> Result<Option<Vec<Result<ChatEvent>>>> {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.0.seen.lock().expect("a lock").push((cx.attempt(), cx.phase_timeouts()));
        if let Some(journal) = &self.0.journal {
            journal.lock().expect("a lock").push(self.0.info.backend.to_string());
        }
        let step = self.0.steps.lock().expect("a lock").pop_front();
        match step {
            None | Some(Step::Answer) => Ok(None),
            Some(Step::Fail(error)) => Err(error),
            Some(Step::Hang) => std::future::pending().await,
            Some(Step::Gate(gate)) => {
                gate.notified().await;
                Ok(None)
            }
            Some(Step::Events(events)) => Ok(Some(events)),
        }
    }

    fn response(&self) -> ChatResponse {
        let mut response = ChatResponse::new("hola", Route::new(&self.0.info));
        response.usage = Usage::new(3, 1);
        response
    }
}

impl ChatBackend for Fake {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn chat(&self, cx: &Context, _: ChatRequest) -> Result<ChatResponse> {
        self.step(cx).await.map(|_| self.response())
    }

    async fn stream(&self, cx: &Context, _: ChatRequest) -> Result<ChatStream> {
        Ok(match self.step(cx).await? {
            None => ChatStream::from_response(self.response()),
            Some(events) => ChatStream::new(stream::unfold(events.into_iter(), |mut events| async {
                match events.next() {
                    Some(event) => Some((event, events)),
                    None => std::future::pending().await,
                }
            })),
        })
    }
}

impl Embedder for Fake {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.0.space
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.step(cx).await?;
        let vectors = Vectors::new([1.0, 0.0].repeat(request.inputs.len()), 2)?;
        Ok(EmbedResponse::new(vectors, Route::new(&self.0.info)))
    }
}

impl ImageGenerator for Fake {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.step(cx).await?;
        let image = ImageData::with_media_type("pixels", "image/png");
        Ok(ImageResponse::new(vec![image], Route::new(&self.0.info)).with_seed(request.seed))
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.step(cx).await?;
        Ok(ImageResponse::new(request.images.to_vec(), Route::new(&self.0.info)))
    }
}

fn fails(kind: ErrorKind) -> Step {
    Step::Fail(Error::new(kind, "the script says so"))
}

fn asks_to_wait(seconds: u64) -> Step {
    let error = Error::new(ErrorKind::RateLimited, "slow down").with_http_status(429);
    Step::Fail(error.with_retry_after(Duration::from_secs(seconds)))
}

/// The default policy with exact waits and counters of its own.
fn exact() -> Policy {
    let counters = Observe::default().with_counters(Metrics::new());
    Policy::default().with_retry(Retry::default().with_jitter(false)).with_observe(counters)
}

/// A context on a clock that jumps over every sleep.
fn jumping() -> (ManualClock, Context) {
    let clock = ManualClock::automatic();
    (clock.clone(), Context::new().with_clock(clock.into()))
}

/// A context on a clock that [`drive`] moves.
fn driven() -> (ManualClock, Context) {
    let clock = ManualClock::new();
    (clock.clone(), Context::new().with_clock(clock.into()))
}

fn hola() -> ChatRequest {
    ChatRequest::user("hola")
}

/// Polls `work` once; `None` if it is still at it.
async fn peek<T>(work: &mut (impl Future<Output = T> + Unpin)) -> Option<T> {
    tokio::task::yield_now().await;
    std::future::poll_fn(|task| {
        Poll::Ready(match std::pin::Pin::new(&mut *work).poll(task) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => None,
        })
    })
    .await
}

/// Moves the clock in tenths of seconds until `work` is done, and says how many seconds that took.
async fn drive<T>(clock: &ManualClock, work: impl Future<Output = T>) -> (T, f64) {
    let start = clock.now();
    let mut work = pin!(work);
    for _ in 0..100_000 {
        if let Some(done) = peek(&mut work).await {
            return (done, clock.now().duration_since(start).as_secs_f64());
        }
        clock.advance(Duration::from_millis(100));
    }
    panic!("the work is never done");
}

fn recorded() -> (Arc<Mutex<Vec<Progress>>>, impl Fn(Progress) + Send + Sync) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&events);
    (events, move |event| sink.lock().expect("a lock").push(event))
}

fn fact<'a>(error: &'a Error, name: &str) -> Option<&'a str> {
    error.context().iter().find(|(fact, _)| *fact == name).map(|(_, value)| value.as_str())
}

/// A credential that no other test uses.
fn credential(name: &str) -> Option<CredentialId> {
    Some(CredentialId::new("host", &crate::Secret::new(name)))
}

#[test]
fn the_json_form_is_the_builder() {
    let json = r#"{
        "retry": {"max_retries": 1},
        "timeout": {"connect_seconds": null, "total_seconds": 30},
        "limit": {"max_concurrency": 4, "min_gap_seconds": 0.5},
        "fallback": {"on": ["timeout"], "cooldown_seconds": 5},
        "cache": {"ttl_seconds": 60},
        "observe": {"spans": false}
    }"#;
    let policy: Policy = serde_json::from_str(json).expect("valid");
    let built = Policy::default()
        .with_retry(Retry::default().with_max_retries(1))
        .with_timeout(Timeout::default().with_connect_seconds(None).with_total_seconds(30.0))
        .with_limit(Limit::default().with_max_concurrency(4).with_min_gap_seconds(0.5))
        .with_fallback(Fallback::default().with_on([ErrorKind::Timeout]).with_cooldown_seconds(5.0))
        .with_cache(Cache::default().with_ttl_seconds(60.0))
        .with_observe(Observe::default().with_spans(false));
    assert_eq!(policy, built);
    let back: Policy = serde_json::from_value(serde_json::to_value(&built).expect("JSON")).expect("valid");
    assert_eq!(back, built);
    assert_eq!(serde_json::from_str::<Policy>("{}").expect("valid"), Policy::default());
    assert!(serde_json::from_str::<Policy>(r#"{"retries": 3}"#).is_err());
    assert!(serde_json::from_str::<Policy>(r#"{"timeout": {"total": 3}}"#).is_err());
}

#[cfg(feature = "schema")]
#[test]
fn the_schema_takes_what_is_written() {
    let schema = serde_json::to_value(schemars::schema_for!(Policy)).expect("JSON");
    let policy = serde_json::to_value(Policy::default().with_cache(Cache::default())).expect("JSON");
    assert!(jsonschema::is_valid(&schema, &policy), "{schema}");
    assert!(!jsonschema::is_valid(&schema, &serde_json::json!({"retry": {"max_retries": "two"}})));
    assert!(!jsonschema::is_valid(&schema, &serde_json::json!({"fallback": {"on": ["tired"]}})));
}

#[test]
fn values_that_make_no_sense_are_named() {
    let fallbacks = || vec![Fake::new([]).chat()];
    for (policy, name) in [
        (
            Policy::default().with_retry(Retry::default().with_max_wait_seconds(-1.0)),
            "retry.max_wait_seconds",
        ),
        (Policy::default().with_retry(Retry::default().with_budget(f64::NAN, 1)), "retry.budget_ratio"),
        (Policy::default().with_timeout(Timeout::default().with_idle_seconds(0.0)), "timeout.idle_seconds"),
        (Policy::default().with_limit(Limit::default().with_max_concurrency(0)), "limit.max_concurrency"),
        (Policy::default().with_limit(Limit::default().with_min_gap_seconds(1e300)), "limit.min_gap_seconds"),
        (Policy::default().with_fallback(Fallback::none()), "fallback.on"),
        (Policy::default().with_fallback(Fallback::default().with_on([ErrorKind::Cancelled])), "fallback.on"),
        (Policy::default().with_cache(Cache::default().with_ttl_seconds(0.0)), "cache.ttl_seconds"),
    ] {
        let error = policy.chat(Fake::new([]).chat(), fallbacks()).expect_err("refused");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().contains(&format!("`{name}`")), "{error}");
    }
}

#[test]
fn the_limits_of_the_whole_are_the_strictest_of_its_parts() {
    let part = |batch, images| {
        let limits = Limits { max_batch: batch, max_concurrency: None, max_images: images };
        Fake::of(BackendInfo::new("b", "m").with_limits(limits), []).chat()
    };
    let chat =
        Policy::default().chat(part(Some(32), None), vec![part(Some(8), Some(1)), part(None, Some(4))]);
    let limits = chat.expect("valid").info().limits.clone();
    assert_eq!(limits, Limits { max_batch: Some(8), max_concurrency: None, max_images: Some(1) });
}

#[tokio::test]
async fn no_policy_makes_one_attempt_and_leaves_the_error_as_it_is() {
    let (clock, cx) = jumping();
    let fake = Fake::new([fails(ErrorKind::Unavailable)]);
    let chat = Policy::none().chat(fake.chat(), vec![]).expect("valid");
    let error = chat.chat(&cx, hola()).await.expect_err("one attempt");
    assert!(error.is_temporary());
    assert!(error.context().is_empty());
    assert_eq!((fake.calls(), clock.slept().len()), (1, 0));
    assert_eq!(fake.seen(), [(1, PhaseTimeouts::default())]);
}

#[tokio::test]
async fn every_capability_is_governed() {
    use crate::AnyEmbedder;
    use crate::backends::scripted::{Scripted, ScriptedConfig};
    use crate::procure::{AnyProcurement, GetRequest, ListRequest};
    let (_, cx) = jumping();
    let failing = || {
        let failures = [ErrorKind::Unavailable, ErrorKind::RateLimited];
        Scripted::new(ScriptedConfig::default().with_failures(failures)).expect("valid")
    };
    let embedder = exact().embedder(AnyEmbedder::new(failing()), vec![]).expect("valid");
    let response = embedder.embed(&cx, EmbedRequest::texts(["a"])).await.expect("the third attempt");
    assert_eq!(response.route.attempts, 3);
    let images = exact().image_generator(AnyImageGenerator::new(failing()), vec![]).expect("valid");
    let made = images.generate(&cx, GenerateRequest::new("p")).await.expect("the third attempt");
    assert_eq!(made.route.attempts, 3);
    let refined = images.refine(&cx, RefineRequest::new("p", made.images)).await.expect("the first attempt");
    assert_eq!(refined.route.attempts, 1);
    let client = exact().procurement(AnyProcurement::new(failing()), vec![]).expect("valid");
    assert_eq!(client.tenders(&cx, ListRequest::new()).await.expect("a listing").route.attempts, 3);
    for kind in [
        client.tender(&cx, GetRequest::new("x")).await.expect_err("unknown").kind(),
        client.purchase_order(&cx, GetRequest::new("x")).await.expect_err("unknown").kind(),
        client.quick_purchase(&cx, GetRequest::new("x")).await.expect_err("unknown").kind(),
    ] {
        assert_eq!(kind, ErrorKind::NotFound);
    }
    assert_eq!(client.purchase_orders(&cx, ListRequest::new()).await.expect("a listing").rows.len(), 3);
    assert_eq!(client.quick_purchases(&cx, ListRequest::new()).await.expect("a listing").rows.len(), 3);
    assert_eq!(client.buyers(&cx, ListRequest::new()).await.expect("a listing").rows.len(), 2);
    let plan =
        crate::procure::PlanRequest::new(crate::procure::store::RecordKind::Tender, ListRequest::new());
    assert_eq!(client.plan(&cx, plan).await.expect("a plan").record.calls, 0);
    assert_eq!(client.suppliers(&cx, ListRequest::new()).await.expect("a listing").rows.len(), 3);
}
