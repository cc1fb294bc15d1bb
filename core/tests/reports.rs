//! What is written of answers and of backends follows `docs/reference/answers.schema.json`: every kind of event, part and
//! report. The answers of the behaviour suite are held against the same schema (`behavior.rs`).

use std::time::Duration;

use ayni::chat::{Annotation, AnnotationKind, CacheTtl, FinishReason, ImageDetail, Part, TokenLogprob};
use ayni::config::{ChatModes, ProcurementOperations};
use ayni::embed::{EmbeddingSpace, Vectors, known_models};
use ayni::{
    BackendInfo, ChatConfig, ChatEvent, ChatResponse, EmbedResponse, EmbedderConfig, Environment, ErrorKind,
    FileData, ImageData, ProcurementConfig, Progress, Route, RouteFailure, Setup, ToolCall, Usage,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod answers;

fn read<T: DeserializeOwned>(data: Value) -> T {
    serde_json::from_value(data).expect("what is read")
}

fn route() -> Route {
    Route::new(&BackendInfo::new("scripted", "m"))
}

fn every_part() -> Vec<Part> {
    let image = ImageData::with_media_type(&b"\x89PNG"[..], "image/png");
    vec![
        Part::text("a"),
        Part::Image { image, detail: Some(ImageDetail::High) },
        Part::image_url("https://a.test/x.png"),
        Part::file(FileData::new(&b"%PDF-1.7"[..], "application/pdf")),
        Part::FileUrl { url: "https://a.test/x".into(), media_type: None, name: Some("x".into()) },
        Part::FileId { id: "file-1".into() },
        Part::CachePoint { ttl: CacheTtl::Hour },
        Part::ServerToolCall { id: "1".into(), name: "web_search".into(), arguments: json!({ "q": "a" }) },
        Part::ServerToolResult { id: "1".into(), name: "web_search".into(), result: json!([1]) },
        Part::Raw { data: json!({ "new": true }) },
    ]
}

fn every_event() -> Vec<ChatEvent> {
    let failed: RouteFailure = read(json!({ "backend": "a", "model": "m", "kind": "rate_limited" }));
    let mut served = route().with_provider(Some("p".into())).with_request_id(Some("r".into()));
    served.failed.push(failed);
    let provider_data = read(json!({ "signature": "s" }));
    let call = ToolCall::new("1", "f", "{}").with_provider_data(provider_data);
    let annotation = Annotation::new(AnnotationKind::File, json!({ "own": 1 })).with_range(Some(1), None);
    let metadata =
        read(json!({ "id": "1", "cost": 0.5, "filter_results": { "a": 1 }, "further": { "b": [2] } }));
    let usage = read(json!({ "input_tokens": 1, "cache_write_tokens": 2 }));
    let token = TokenLogprob::new("a", -0.5).with_top(vec![("b".into(), -1.0)]);
    let mut events = vec![
        ChatEvent::Started { route: served },
        ChatEvent::Text("a".into()),
        ChatEvent::Reasoning("b".into()),
        ChatEvent::ToolCallStarted { index: 0, id: "1".into(), name: "f".into() },
        ChatEvent::ToolCallArguments { index: 0, piece: "{}".into() },
        ChatEvent::ToolCall { index: 0, call },
        ChatEvent::Annotation { annotation },
        ChatEvent::Metadata { metadata },
        ChatEvent::Logprobs(vec![token]),
        ChatEvent::finish(FinishReason::Other("pause".into()), usage),
        ChatEvent::finish(FinishReason::ToolCalls, Usage::default()),
    ];
    events.extend(every_part().into_iter().map(|part| ChatEvent::Part { part }));
    events
}

fn every_progress() -> Vec<Progress> {
    let second = Duration::from_secs(1);
    let (from, to, kind) = ("a".into(), "b".into(), ErrorKind::Timeout);
    vec![
        Progress::Waiting { reason: "asleep".into(), elapsed: second },
        Progress::Retrying { attempt: 2, kind, wait: second },
        Progress::FallingBack { from, to, kind },
        Progress::Inputs { done: 1, of: 2 },
        Progress::ImageStep { step: 1, of: 2, preview: Some("pixels".into()) },
        Progress::ImageStep { step: 2, of: 2, preview: None },
        Progress::Reading { file: "f".into(), rows: 1, done: 2, of: Some(3) },
        Progress::Download { file: "f".into(), done: 1, of: None },
    ]
}

/// What is written, as the definition names it.
fn written() -> Vec<(&'static str, Value)> {
    fn data(value: impl Serialize) -> Value {
        serde_json::to_value(value).expect("JSON")
    }
    let env = Environment::empty();
    let mut response = ChatResponse::new("a", route());
    response.parts = every_part();
    response.alternatives = vec![ChatResponse::new("b", route()).into()];
    let vectors = Vectors::new([0.1, -1.0, 0.5, 1.0], 2).expect("vectors");
    let setup: Setup<EmbedderConfig> = read(json!({ "backend": "scripted", "dimensions": 4 }));
    let embedder = ayni::config::open_embedder_with(setup, &env).expect("an embedder");
    let chat: Setup<ChatConfig> = read(json!({ "backend": "scripted" }));
    let chat = ayni::config::open_chat_with(chat, &env).expect("a chat");
    let info = BackendInfo::new("local", "m").with_device("cpu").with_precision("int8", "because");
    let mut space = EmbeddingSpace::default();
    space.fingerprint = Some("abc".into());
    let mut all = vec![
        ("ChatResponse", data(response)),
        ("EmbedResponse", data(EmbedResponse::new(vectors.clone(), route()))),
        ("BackendInfo", data(info)),
        ("BackendInfo", data(embedder.info())),
        ("BackendInfo", data(chat.info())),
        ("EmbeddingSpace", data(embedder.space())),
        ("EmbeddingSpace", data(space)),
    ];
    all.extend(vectors.top_k(&[1.0, 0.0], 2).expect("matches").iter().map(|found| ("Match", data(found))));
    for config in [json!({ "backend": "scripted" }), json!({ "backend": "mercado_publico", "ticket": "t" })] {
        let setup: Setup<ProcurementConfig> = read(config);
        let client = ProcurementOperations::open(setup, &env).expect("a client");
        all.push(("ProcurementInfo", data(client.info())));
    }
    let variables = [("HF_API_TOKEN", "hf_x")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let modes = ChatModes::from_env_with(&Environment::from_pairs(variables)).expect("modes");
    all.extend(modes.describe().iter().map(|mode| ("ModeInfo", data(mode))));
    all.extend(known_models().iter().map(|known| ("KnownModel", data(known))));
    #[cfg(feature = "candle")]
    all.push(("Hardware", data(ayni::local::Hardware::detect(&env).expect("a CPU"))));
    all.extend(every_event().iter().map(|event| ("ChatEvent", data(event))));
    all.extend(every_progress().iter().map(|event| ("Progress", data(event))));
    all
}

#[test]
fn whatever_is_written_follows_the_schema() {
    let schemas = answers::Schemas::read();
    let faults: Vec<String> =
        written().iter().flat_map(|(definition, data)| schemas.faults(definition, data)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_field_that_is_missing_or_unknown_is_a_fault() {
    let schemas = answers::Schemas::read();
    let finish =
        json!({ "type": "finish", "reason": "stop", "usage": Usage::default(), "provider_data": {} });
    assert_eq!(schemas.faults("ChatEvent", &finish), Vec::<String>::new());
    for (field, value) in [("reason", Value::Null), ("usage", json!(1)), ("new", json!(true))] {
        let mut wrong = finish.clone();
        wrong[field] = value;
        assert!(!schemas.faults("ChatEvent", &wrong).is_empty(), "{field}");
    }
    let mut missing = finish;
    missing.as_object_mut().expect("an object").remove("usage");
    assert!(!schemas.faults("ChatEvent", &missing).is_empty());
}
