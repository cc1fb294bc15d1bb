//! Runs the whole behaviour suite with canary values for keys and prompts, captures everything that ayni says —
//! logs of every level and target, errors, debug output, metrics — and looks for the canaries in it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

use std::fmt::Debug;
use std::io::Write;
use std::sync::{Arc, Mutex};

use ayni::context::BoxFuture;
use ayni::policy::Metrics;
use ayni::{
    AnyChat, AnyEmbedder, AnyImageGenerator, BackendInfo, ChatBackend, ChatRequest, ChatResponse, ChatStream,
    Context, EmbedRequest, EmbedResponse, Embedder, EmbeddingSpace, GenerateRequest, ImageGenerator,
    ImageResponse, RefineRequest, Result,
};
use ayni_testkit::{CANARIES, Call, OpenFrom, Opened, OtherCalls, Suite};
use futures_util::StreamExt;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

/// Everything that was said.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn note(&self, what: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{what:?}").unwrap();
    }

    fn outcome<T>(&self, outcome: Result<T>) -> Result<T> {
        if let Err(error) = &outcome {
            self.note(error);
            self.note(&error.to_string());
        }
        outcome
    }
}

struct HeardWriter(Heard);

impl Write for HeardWriter {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Heard {
    type Writer = HeardWriter;

    fn make_writer(&'a self) -> HeardWriter {
        HeardWriter(self.clone())
    }
}

/// A handle whose errors are heard.
#[derive(Debug)]
struct Overheard<H> {
    handle: H,
    heard: Heard,
}

impl Embedder for Overheard<AnyEmbedder> {
    fn info(&self) -> &BackendInfo {
        self.handle.info()
    }

    fn space(&self) -> &EmbeddingSpace {
        self.handle.space()
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.heard.outcome(self.handle.embed(cx, request).await)
    }
}

impl ChatBackend for Overheard<AnyChat> {
    fn info(&self) -> &BackendInfo {
        self.handle.info()
    }

    async fn chat(&self, cx: &Context, request: ChatRequest) -> Result<ChatResponse> {
        self.heard.outcome(self.handle.chat(cx, request).await)
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> Result<ChatStream> {
        let stream = self.heard.outcome(self.handle.stream(cx, request).await)?;
        let heard = self.heard.clone();
        Ok(ChatStream::new(stream.map(move |event| heard.outcome(event))))
    }
}

impl ImageGenerator for Overheard<AnyImageGenerator> {
    fn info(&self) -> &BackendInfo {
        self.handle.info()
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.heard.outcome(self.handle.generate(cx, request).await)
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.heard.outcome(self.handle.refine(cx, request).await)
    }
}

impl OtherCalls for Overheard<Arc<dyn OtherCalls>> {
    fn call<'a>(&'a self, cx: &'a Context, call: &'a Call) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async { self.heard.outcome(self.handle.call(cx, call).await) })
    }
}

fn overhear(opened: Opened, heard: &Heard) -> Opened {
    let heard = heard.clone();
    match opened {
        Opened::Embedder(handle) => {
            heard.note(&handle);
            Opened::Embedder(AnyEmbedder::new(Overheard { handle, heard }))
        }
        Opened::Chat(handle) => {
            heard.note(&handle);
            Opened::Chat(AnyChat::new(Overheard { handle, heard }))
        }
        Opened::Images(handle) => {
            heard.note(&handle);
            Opened::Images(AnyImageGenerator::new(Overheard { handle, heard }))
        }
        Opened::Other(handle) => Opened::Other(Arc::new(Overheard { handle, heard })),
        other => other,
    }
}

/// URLs with a query string, as `scheme://…?…`.
fn urls_with_query(text: &str) -> Vec<&str> {
    let words =
        text.split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '(' | ')' | '<' | '>' | '`'));
    words.filter(|word| word.split_once("://").is_some_and(|(_, rest)| rest.contains('?'))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_ayni_says_holds_a_key_a_prompt_or_a_query_string() {
    let heard = Heard::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_writer(heard.clone())
        .with_ansi(false)
        .init();

    let suite = Suite::load(concat!(env!("CARGO_MANIFEST_DIR"), "/conformance")).unwrap();
    let listener = heard.clone();
    let open = move |capability, from: &OpenFrom| {
        let opened = listener.outcome(ayni_testkit::open(capability, from))?;
        Ok(overhear(opened, &listener))
    };
    let summary = ayni_testkit::run(&suite, &open, |_| true).await;
    assert_eq!(summary.executed, suite.listed_cases());
    // The flood of logs slows everything down; a case that measures time gets a second, calmer run.
    let late =
        |name: &str| summary.failures.iter().any(|failure| failure.case.ends_with(&format!("/{name}")));
    let again = ayni_testkit::run(&suite, &open, |case| late(&case.name)).await;
    assert_eq!(again.executed, summary.failures.len());
    assert!(again.failures.is_empty() && summary.failures.len() < 10, "{summary}\n{again}");

    heard.note(&Metrics::global().prometheus_text());
    let bytes = heard.0.lock().unwrap().clone();
    let said = String::from_utf8_lossy(&bytes);
    // The ear works: errors, spans and metrics were heard at all.
    for sign in ["rate_limited (", "gen_ai.operation.name", "# TYPE ayni_"] {
        assert!(said.contains(sign), "{sign:?} was not heard in {} bytes", said.len());
    }
    for canary in CANARIES {
        let line = said.lines().find(|line| line.contains(canary));
        assert_eq!(line, None, "a canary was heard");
    }
    assert_eq!(urls_with_query(&said), Vec::<&str>::new(), "a URL with a query string was heard");
}
