use std::io;

use futures_util::StreamExt;
use serde_json::Value;
use tracing_subscriber::fmt::format::FmtSpan;

use super::*;

/// Everything that a subscriber wrote, line by line.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("a lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn during(work: impl Future<Output = ()>) -> (String, Vec<Value>) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_span_events(FmtSpan::CLOSE)
            .with_writer(move || writer.clone())
            .finish();
        // Never written to. With one subscriber alone, `tracing` asks that of the thread which first comes by an event, and
        // other tests' threads have none: the event would be off for all. With two it asks both.
        let _second = tracing::Dispatch::new(
            tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_writer(io::sink).finish(),
        );
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        tracing::subscriber::with_default(subscriber, || runtime.block_on(work));
        let text = String::from_utf8(log.0.lock().expect("a lock").clone()).expect("text");
        let lines = text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        (text, lines)
    }
}

fn closed(lines: &[Value]) -> &Value {
    &lines.iter().find(|line| line["fields"]["message"] == "close").expect("a closed span")["span"]
}

fn event<'a>(lines: &'a [Value], message: &str) -> &'a Value {
    lines.iter().find(|line| line["fields"]["message"] == message).expect("an event")
}

#[test]
fn a_call_has_one_span_with_the_names_of_opentelemetry() {
    let (_, lines) = Log::during(async {
        let (_, cx) = jumping();
        let info = BackendInfo::new("groq", "llama").with_host("api.groq.com");
        let fallback = Fake::of(info, [fails(ErrorKind::Unavailable)]);
        let primary = Fake::named("first", [fails(ErrorKind::NotFound)]);
        let chat = exact().chat(primary.chat(), vec![fallback.chat()]).expect("valid");
        chat.chat(&cx, hola()).await.expect("an answer");
    });
    let span = closed(&lines);
    for (name, value) in [
        ("name", Value::from("ayni.call")),
        ("gen_ai.operation.name", "chat".into()),
        ("gen_ai.provider.name", "first".into()),
        ("gen_ai.request.model", "m".into()),
        ("gen_ai.response.model", "llama".into()),
        ("gen_ai.usage.input_tokens", 3.into()),
        ("gen_ai.usage.output_tokens", 1.into()),
        ("ayni.attempts", 2.into()),
        ("ayni.route.backend", "groq".into()),
        ("ayni.route.failed", "first=not_found".into()),
        ("ayni.cached", false.into()),
    ] {
        assert_eq!(span[name], value, "{name} in {span}");
    }
    let answered = event(&lines, "answered");
    assert_eq!((&answered["level"], &answered["target"]), (&"DEBUG".into(), &"ayni::call".into()));
    let waited = event(&lines, "waiting before another attempt");
    assert_eq!((&waited["level"], &waited["fields"]["attempt"]), (&"INFO".into(), &2.into()));
    assert_eq!(lines.len(), 3, "two events and the end of one span: {lines:?}");
}

#[test]
fn a_failure_is_a_warning_with_its_kind() {
    let (_, lines) = Log::during(async {
        let (_, cx) = jumping();
        let info = BackendInfo::new("groq", "m").with_host("api.groq.com");
        let fake = Fake::of(info, [asks_to_wait(600)]);
        let chat = exact().chat(fake.chat(), vec![]).expect("valid");
        chat.chat(&cx, hola()).await.expect_err("rate limited");
    });
    assert_eq!(closed(&lines)["error.type"], "rate_limited");
    assert_eq!(closed(&lines)["server.address"], "api.groq.com");
    let failed = event(&lines, "failed");
    assert_eq!((&failed["level"], &failed["fields"]["error.type"]), (&"WARN".into(), &"rate_limited".into()));
    assert_eq!((&failed["fields"]["status"], &failed["fields"]["backend"]), (&429.into(), &"groq".into()));
}

#[test]
fn nothing_that_was_said_is_told() {
    let (text, _) = Log::during(async {
        let (_, cx) = jumping();
        let echo = Error::new(ErrorKind::InvalidRequest, "canary-echo").with_response_excerpt("canary-body");
        let info = BackendInfo::new("fake", "m").with_credential(credential("canary-key"));
        let chat = exact().chat(Fake::of(info, [Step::Fail(echo)]).chat(), vec![]).expect("valid");
        let request = ChatRequest::user("canary-prompt").with_extra("user", "canary-user");
        chat.chat(&cx, request.clone()).await.expect_err("refused");
        chat.chat(&cx, request.clone()).await.expect("an answer");
        chat.stream(&cx, request).await.expect("a stream").collect::<Vec<_>>().await;
    });
    assert!(text.contains("ayni.call"), "{text}");
    assert!(!text.contains("canary") && !text.contains("hola"), "{text}");
}

#[test]
fn spans_can_be_switched_off() {
    let (text, _) = Log::during(async {
        let (_, cx) = jumping();
        let policy = exact().with_observe(Observe::default().with_spans(false).with_metrics(false));
        let chat = policy.chat(Fake::new([fails(ErrorKind::InvalidRequest)]).chat(), vec![]).expect("valid");
        chat.chat(&cx, hola()).await.expect_err("refused");
        chat.chat(&cx, hola()).await.expect("an answer");
    });
    assert_eq!(text, "");
}

#[test]
fn a_stream_is_told_of_at_its_end() {
    let (_, lines) = Log::during(async {
        let (_, cx) = jumping();
        let chat = exact().chat(Fake::new([]).chat(), vec![]).expect("valid");
        chat.stream(&cx, hola()).await.expect("a stream").collect::<Vec<_>>().await;
    });
    assert_eq!(closed(&lines)["gen_ai.usage.input_tokens"], 3);
    assert_eq!(closed(&lines)["ayni.operation"], "chat_stream");
}

fn counted(metrics: &Metrics, line: &str) -> bool {
    metrics.prometheus_text().lines().any(|other| other == line)
}

#[tokio::test]
async fn calls_are_counted_where_they_were_decided() {
    let (_, cx) = jumping();
    let metrics = Metrics::new();
    let policy =
        exact().with_cache(Cache::default()).with_observe(Observe::default().with_counters(metrics.clone()));
    let first = Fake::named("first", [asks_to_wait(1), fails(ErrorKind::NotFound)]);
    let chat = policy.chat(first.chat(), vec![Fake::named("second", []).chat()]).expect("valid");
    for _ in 0..3 {
        chat.chat(&cx, hola()).await.expect("an answer");
    }
    let (first, second) =
        (r#"backend="first",model="m",operation="chat""#, r#"backend="second",model="m",operation="chat""#);
    for line in [
        format!(r#"ayni_requests_total{{{second},outcome="ok"}} 1"#),
        format!(r#"ayni_requests_total{{{first},outcome="ok"}} 2"#),
        format!("ayni_retries_total{{{first}}} 1"),
        format!("ayni_fallbacks_total{{{first}}} 1"),
        format!("ayni_fallbacks_total{{{second}}} 0"),
        format!("ayni_cache_hits_total{{{first}}} 1"),
        format!(r#"ayni_tokens_total{{{first},direction="input"}} 3"#),
        format!(r#"ayni_request_duration_seconds_bucket{{{second},le="0.5"}} 0"#),
        format!(r#"ayni_request_duration_seconds_bucket{{{second},le="1"}} 1"#),
    ] {
        assert!(counted(&metrics, &line), "no line {line} in\n{}", metrics.prometheus_text());
    }
}

#[tokio::test]
async fn calls_and_streams_that_are_dropped_count_as_cancelled() {
    let metrics = Metrics::new();
    let policy = exact().with_observe(Observe::default().with_counters(metrics.clone()));
    let fake = Fake::new([Step::Hang, Step::Events(vec![Ok(ChatEvent::Text("ho".into()))])]);
    let chat = policy.chat(fake.chat(), vec![]).expect("valid");
    let cx = Context::new();
    {
        let mut call = Box::pin(chat.chat(&cx, hola()));
        assert!(peek(&mut call).await.is_none());
    }
    drop(chat.stream(&cx, hola()).await.expect("a stream"));
    for operation in ["chat", "chat_stream"] {
        let labels = format!(r#"backend="fake",model="m",operation="{operation}",outcome="cancelled""#);
        assert!(counted(&metrics, &format!("ayni_requests_total{{{labels}}} 1")), "{operation}");
    }
}
