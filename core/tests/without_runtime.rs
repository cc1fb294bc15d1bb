//! Futures of ayni outside any tokio runtime, and inside runtimes without timers or sockets: what works, works; what does
//! not says what to do. Nothing panics.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};
use std::time::Duration;

use ayni::backends::openai::OpenAiConfig;
use ayni::backends::scripted::{Scripted, ScriptedConfig};
use ayni::config::open_chat_with;
use ayni::context::Clock;
use ayni::policy::{Limit, Policy};
use ayni::procure::{AnyProcurement, ListRequest};
use ayni::{
    AnyChat, AnyEmbedder, AnyImageGenerator, ChatConfig, ChatRequest, Context, EmbedRequest, Environment,
    Error, ErrorKind, GenerateRequest, Result, Setup,
};
use futures_util::StreamExt;

/// An executor that is not tokio: polls on the calling thread and sleeps in between.
fn block_on<T>(work: impl Future<Output = T>) -> T {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut task = std::task::Context::from_waker(&waker);
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut task) {
            Poll::Ready(done) => return done,
            Poll::Pending => std::thread::park_timeout(Duration::from_secs(20)),
        }
    }
}

/// Runs `work` outside a runtime and inside one without timers.
fn everywhere<T, F: Future<Output = T>>(work: impl Fn() -> F) -> [T; 2] {
    let bare = tokio::runtime::Builder::new_current_thread().build().unwrap();
    [block_on(work()), bare.block_on(work())]
}

fn says_what_to_do<T: std::fmt::Debug>(outcomes: [Result<T>; 2]) {
    for (outcome, what) in outcomes.into_iter().zip(["needs a tokio runtime", "enable_time"]) {
        let error: Error = outcome.expect_err("it has to wait");
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
        assert!(error.message().contains(what), "{error}");
    }
}

fn scripted(config: ScriptedConfig) -> Scripted {
    Scripted::new(config).unwrap()
}

#[test]
fn calls_that_never_wait_need_no_runtime() {
    let (policy, backend) =
        (Policy::default().with_limit(Limit::default().with_max_concurrency(2)), Scripted::default);
    let embedder = policy.embedder(AnyEmbedder::new(backend()), vec![]).unwrap();
    let chat = policy.chat(AnyChat::new(backend()), vec![]).unwrap();
    let images = policy.image_generator(AnyImageGenerator::new(backend()), vec![]).unwrap();
    let client = policy.procurement(AnyProcurement::new(backend()), vec![]).unwrap();
    let cx = Context::new().with_timeout(Duration::from_secs(60));
    for outcome in everywhere(|| async {
        embedder.embed(&cx, EmbedRequest::texts(["a", "b"])).await?;
        chat.chat(&cx, ChatRequest::user("hola")).await?;
        let mut stream = chat.stream(&cx, ChatRequest::user("hola")).await?;
        while let Some(event) = stream.next().await {
            event?;
        }
        images.generate(&cx, GenerateRequest::new("a cat")).await?;
        client.tenders(&cx, ListRequest::new()).await?;
        Ok::<_, Error>(())
    }) {
        outcome.expect("an answer");
    }
}

#[test]
fn calls_that_wait_say_that_they_need_a_timer() {
    let (cx, policy) = (Context::new(), Policy::default());
    let slow = || scripted(ScriptedConfig::default().with_latency_seconds(0.01));
    let embedder = policy.embedder(AnyEmbedder::new(slow()), vec![]).unwrap();
    says_what_to_do(everywhere(|| embedder.embed(&cx, EmbedRequest::texts(["a"]))));
    let chat = policy.chat(AnyChat::new(slow()), vec![]).unwrap();
    says_what_to_do(everywhere(|| chat.chat(&cx, ChatRequest::user("hola"))));
    says_what_to_do(everywhere(|| async { chat.stream(&cx, ChatRequest::user("hola")).await.map(|_| ()) }));
    let images = policy.image_generator(AnyImageGenerator::new(slow()), vec![]).unwrap();
    says_what_to_do(everywhere(|| images.generate(&cx, GenerateRequest::new("a cat"))));
    let client = policy.procurement(AnyProcurement::new(slow()), vec![]).unwrap();
    says_what_to_do(everywhere(|| client.tenders(&cx, ListRequest::new())));
}

#[test]
fn retries_limits_and_deadlines_say_that_they_need_a_timer() {
    let cx = Context::new();
    says_what_to_do(everywhere(|| async {
        let failing = scripted(ScriptedConfig::default().with_failures([ErrorKind::Unavailable]));
        let chat = Policy::default().chat(AnyChat::new(failing), vec![])?;
        chat.chat(&cx, ChatRequest::user("hola")).await
    }));
    says_what_to_do(everywhere(|| async {
        let spaced = Policy::default().with_limit(Limit::default().with_min_gap_seconds(60.0));
        let chat = spaced.chat(AnyChat::new(Scripted::default()), vec![])?;
        chat.chat(&cx, ChatRequest::user("hola")).await?;
        chat.chat(&cx, ChatRequest::user("hola")).await
    }));
    says_what_to_do(everywhere(|| async {
        let cx = Context::new().with_timeout(Duration::from_secs(60));
        cx.guard(std::future::pending::<Result<()>>()).await
    }));
    says_what_to_do(everywhere(|| async { Clock::system().sleep(Duration::from_secs(60)).await }));
}

#[test]
fn the_built_in_transport_says_what_it_needs() {
    let config = OpenAiConfig::vendor("custom", "m").with_base_url("http://127.0.0.1:9/v1");
    let setup = Setup::<ChatConfig>::from(config);
    let chat = open_chat_with(setup, &Environment::empty()).unwrap();
    let cx = Context::new();
    let call = || chat.chat(&cx, ChatRequest::user("hola"));
    says_what_to_do(everywhere(call));
    let timed = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let error = timed.block_on(call()).expect_err("no sockets");
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    assert!(error.message().contains("enable_io"), "{error}");
    let whole = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let error = whole.block_on(call()).expect_err("nobody listens");
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
