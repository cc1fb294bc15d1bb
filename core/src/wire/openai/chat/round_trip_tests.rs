//! What the client's half writes the server's half reads, and the other way round; and what a server refuses.

use std::collections::VecDeque;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::chat::{
    ChatEvent, ChatRequest, ChatResponse, Content, FinishReason, ImageDetail, Message, OutputFormat, Part,
    ReasoningEffort, ResponseMetadata, TokenLogprob, Tool, ToolCall, ToolChoice,
};
use crate::error::{Error, ErrorKind};
use crate::info::{BackendInfo, Route, Usage};
use crate::media::{FileData, ImageData};
use crate::wire::openai::error::status;

fn read(body: &Value) -> Result<CompletionRequest, Error> {
    CompletionRequest::read(body.to_string().as_bytes())
}

/// Everything that the server's half reads is written.
const STYLE: MessageStyle<'_> = MessageStyle {
    vendor: "scripted",
    rules: &MessageRules { tool_media: true, ..MessageRules::OPENAI },
    reasoning_field: Some("reasoning_content"),
    returned_fields: &[],
};

fn written_and_read(request: &ChatRequest) -> ChatRequest {
    let body = CompletionBody::write("m", request, &STYLE).expect("a body");
    let json = serde_json::to_vec(&body).expect("JSON");
    let read = CompletionRequest::read(&json).expect("a request");
    assert_eq!((read.model.as_str(), read.stream, read.include_usage), ("m", false, false));
    read.request
}

fn full_request() -> ChatRequest {
    let image = ImageData::with_media_type(&b"\x89PNG...."[..], "image/png");
    let parts = vec![
        Part::Text { text: "what is \"this\"?".into() },
        Part::Image { image, detail: Some(ImageDetail::High) },
        Part::image_url("https://example.test/a.png"),
        Part::File { file: FileData::new(&b"%PDF"[..], "application/pdf"), name: Some("a.pdf".into()) },
        Part::File { file: FileData::new(&b"RIFF"[..], "audio/wav"), name: None },
        Part::FileId { id: "file-1".into() },
    ];
    let calls = vec![ToolCall::new("call_1", "look", r#"{"at": "ñ"}"#)];
    let parameters = json!({ "type": "object", "properties": { "b": {}, "a": {} } });
    let schema = json!({ "type": "object", "required": ["x"] });
    let mut request = ChatRequest::new([
        Message::system("be brief"),
        Message::user(Content::from(parts)).with_name("Ana"),
        Message::assistant("").with_reasoning(Some("hm".into())).with_tool_calls(calls),
        Message::tool("call_1", "a fox"),
    ])
    .with_max_tokens(64)
    .with_temperature(0.7)
    .with_top_p(0.9)
    .with_seed(i64::MAX as u64)
    .with_stop(["END", "\n\n"])
    .with_tools([Tool::new("look", "Looks.", parameters).with_strict(true)])
    .with_tool_choice(ToolChoice::Tool("look".into()))
    .with_output(OutputFormat::JsonSchema {
        name: "answer".into(),
        description: Some("what was seen".into()),
        schema,
        strict: true,
    })
    .with_reasoning(ReasoningEffort::High)
    .with_logprobs(5);
    request.top_k = Some(40);
    request.frequency_penalty = Some(-1.5);
    request.presence_penalty = Some(2.0);
    request
}

#[test]
fn a_request_is_read_as_it_was_written() {
    let plain = ChatRequest::user("hola");
    assert_eq!(written_and_read(&plain), plain);
    let full = full_request();
    assert_eq!(written_and_read(&full), full);
    for choice in [ToolChoice::Auto, ToolChoice::None, ToolChoice::Required] {
        let request = plain.clone().with_tool_choice(choice).with_output(OutputFormat::Json).with_logprobs(0);
        assert_eq!(written_and_read(&request), request);
    }
}

#[test]
fn a_request_to_stream_says_so() {
    let request = full_request();
    let mut body = CompletionBody::write("m", &request, &STYLE).expect("a body");
    body.stream = Some(true);
    body.stream_options = Some(StreamOptionsJson::with_usage());
    let read = CompletionRequest::read(&serde_json::to_vec(&body).expect("JSON")).expect("a request");
    assert!(read.stream && read.include_usage);
}

fn full_response() -> ChatResponse {
    let mut response = ChatResponse::new("sí, \"claro\"", Route::new(&BackendInfo::new("scripted", "m-1")));
    response.reasoning = Some("because".into());
    response.tool_calls = vec![ToolCall::new("1", "look", "{}"), ToolCall::new("2", "look", "not JSON")];
    response.finish = FinishReason::ToolCalls;
    response.usage = Usage::new(3, 4);
    response.usage.reasoning_tokens = Some(1);
    response.usage.cached_tokens = Some(2);
    response.usage.cache_write_tokens = Some(1);
    response.usage.output_audio_tokens = Some(1);
    let top = vec![("sí".to_owned(), -0.25), ("no".to_owned(), -3.5)];
    response.logprobs = vec![TokenLogprob::new("sí", -0.25).with_top(top), TokenLogprob::new(",", 0.0)];
    response
}

fn responses() -> Vec<ChatResponse> {
    let empty = ChatResponse::new("", Route::new(&BackendInfo::new("scripted", "m-1")));
    let mut only_calls = full_response();
    only_calls.text.clear();
    let mut cut = ChatResponse { finish: FinishReason::Length, ..full_response() };
    cut.tool_calls.clear();
    let other = ChatResponse { finish: FinishReason::Other("musing".into()), ..empty.clone() };
    vec![empty, full_response(), only_calls, cut, other]
}

/// A reader that knows nothing of the model that answered.
fn reader() -> CompletionReader {
    CompletionReader::new(Route::new(&BackendInfo::new("scripted", "m")), InlineReasoning::Off)
}

#[test]
fn a_response_is_read_as_it_was_written() {
    let head = CompletionHead::new("chatcmpl-1", 7, "m");
    for response in responses() {
        let json = serde_json::to_value(Completion::new(&response, &head)).expect("JSON");
        assert_eq!((&json["id"], &json["object"]), (&json!("chatcmpl-1"), &json!("chat.completion")));
        assert_eq!(json["choices"][0]["message"].get("content").is_some_and(Value::is_null), {
            response.text.is_empty() && !response.tool_calls.is_empty()
        });
        let raw: RawCompletion = serde_json::from_value(json).expect("a response");
        let mut read = reader().read(raw).expect("a response");
        assert_eq!(read.metadata.id.as_deref(), Some("chatcmpl-1"));
        read.metadata = ResponseMetadata::default();
        assert_eq!(read, response);
    }
}

/// The data of server-sent events, `[DONE]` as null.
fn data(events: &str) -> Vec<Value> {
    let events = events.split_terminator("\n\n").map(|event| event.strip_prefix("data: ").expect("data"));
    events.map(|data| serde_json::from_str(data).unwrap_or(Value::Null)).collect()
}

#[tokio::test]
async fn a_stream_is_read_as_it_was_written() {
    use futures_util::StreamExt;

    for (response, include_usage) in
        responses().into_iter().flat_map(|one| [(one.clone(), true), (one, false)])
    {
        let head = CompletionHead::new("chatcmpl-1", 7, &*response.route.model);
        let writer = ChunkWriter::new(head, include_usage);
        let mut events = crate::ChatStream::from_response(response.clone());
        let mut written = writer.start();
        while let Some(event) = events.next().await {
            written += &writer.event(&event.expect("an event"));
        }
        let mut chunks = data(&written);
        assert_eq!(chunks.pop(), Some(Value::Null), "the last event is [DONE]");
        assert!(chunks.iter().all(|chunk| chunk.get("usage").is_some() == include_usage));
        let mut reader = ChunkReader::new(reader());
        let mut events = VecDeque::new();
        for chunk in chunks {
            reader.chunk(chunk, &mut events).expect("a chunk");
        }
        reader.finish(true, &mut events).expect("complete");
        let events = crate::ChatStream::new(futures_util::stream::iter(events.into_iter().map(Ok)));
        let mut read = events.collect_response(&BackendInfo::new("scripted", "m")).await.expect("complete");
        assert_eq!(read.metadata.finish_reason.as_deref(), Some(response.finish.as_str()));
        read.metadata = ResponseMetadata::default();
        let usage = if include_usage { response.usage } else { Usage::default() };
        assert_eq!(read, ChatResponse { usage, ..response });
    }
}

#[test]
fn an_error_ends_a_stream_with_its_status() {
    let writer = ChunkWriter::new(CompletionHead::new("1", 0, "m"), false);
    let [event] = <[Value; 1]>::try_from(data(
        &writer.error(&Error::new(ErrorKind::RateLimited, "slow down"), Some("r")),
    ))
    .expect("one event");
    assert_eq!((&event["status"], &event["error"]["code"]), (&json!(429), &json!("rate_limited")));
    assert_eq!(event["error"]["request_id"], "r");
    assert_eq!(writer.event(&ChatEvent::ToolCall { index: 0, call: ToolCall::default() }), "");
}

#[test]
fn what_clients_send_besides_is_taken_and_left_alone() {
    let body = json!({
        "model": "m", "user": "u", "metadata": { "a": [1] }, "store": null, "service_tier": "auto",
        "safety_identifier": "s", "prompt_cache_key": "k", "n": 1, "logit_bias": {}, "max_tokens": 5.0,
        "max_completion_tokens": null, "tools": null, "stop": "END", "stream_options": null,
        "reasoning_effort": "minimal", "logprobs": false, "top_logprobs": 3,
        "messages": [
            { "role": "developer", "content": "be brief" },
            { "role": "assistant", "content": null, "refusal": null, "annotations": [], "audio": null,
              "tool_calls": [{ "id": "1", "type": "function", "function": { "name": "look" }, "index": 0 }] },
            { "role": "user", "content": [{ "type": "refusal", "refusal": "no" }], "reasoning_content": "hm" },
        ],
    });
    let request = read(&body).expect("a request").request;
    let calls = vec![ToolCall::new("1", "look", "")];
    let refusal = Content::from(vec![Part::Text { text: "no".into() }]);
    let expected = ChatRequest::new([
        Message::system("be brief"),
        Message::assistant("").with_tool_calls(calls),
        Message::user(refusal),
    ]);
    let expected = expected.with_max_tokens(5).with_stop(["END"]).with_reasoning(ReasoningEffort::Low);
    assert_eq!(request, expected);
}

/// A body that can be served but for one field.
fn with(field: &str, value: Value) -> Value {
    let mut body = json!({ "model": "m", "messages": [{ "role": "user", "content": "SECRET" }] });
    body[field] = value;
    body
}

#[test]
fn a_body_of_the_wrong_form_is_a_422_that_names_the_field_and_shows_nothing_of_it() {
    let message = |message: Value| with("messages", json!([message]));
    for (body, field, what) in [
        (with("model", json!("")), "model", "is empty"),
        (with("model", json!("x".repeat(257))), "model", "has more than 256 characters"),
        (with("messages", json!([])), "messages", "expected a list of 1 to 16384 items"),
        (with("messages", json!(null)), "messages", "expected a list of 1 to 16384 items"),
        (with("temperature", json!(2.5)), "temperature", "expected a number from 0 to 2"),
        (with("temperature", json!("SECRET")), "temperature", "expected a number from 0 to 2"),
        (with("max_tokens", json!(0)), "max_tokens", "expected a whole number from 1 to 1000000"),
        (with("max_tokens", json!(1.5)), "max_tokens", "expected a whole number from 1 to 1000000"),
        (with("seed", json!("SECRET")), "seed", "expected a whole number"),
        (with("n", json!(17)), "n", "expected a whole number from 1 to 16"),
        (with("stream", json!("SECRET")), "stream", "expected a boolean"),
        (with("tools", json!("SECRET")), "tools", "expected a list of 0 to 1024 items"),
        (with("stop", json!(["a", 5])), "stop.1", "expected a string"),
        (message(json!({})), "messages.0.role", "is missing"),
        (message(json!("SECRET")), "messages.0", "expected an object"),
        (
            message(json!({ "role": "SECRET, expected x" })),
            "messages.0.role",
            "expected one of system, developer, user, assistant, tool",
        ),
        (
            message(json!({ "role": "user", "content": 5 })),
            "messages.0.content",
            "expected a text or a list of parts",
        ),
        (
            message(json!({ "role": "user", "content": [{ "type": "text", "text": ["SECRET"] }] })),
            "messages.0.content.0.text",
            "expected a string",
        ),
        (
            message(json!({ "role": "assistant", "tool_calls": [{ "id": "1", "function": {} }] })),
            "messages.0.tool_calls.0.function.name",
            "is missing",
        ),
    ] {
        let error = read(&body).expect_err(field);
        assert_eq!((error.kind(), status(&error)), (ErrorKind::InvalidRequest, 422), "{field}");
        assert_eq!(error.message(), format!("`{field}`: {what}"));
        assert!(error.context().contains(&("param", field.to_owned())), "{error:?}");
        assert!(!format!("{error:?}").contains("SECRET"), "{error:?}");
    }
}

#[test]
fn what_is_not_json_or_not_an_object_is_a_422() {
    for (body, message) in [
        ("", "the body is empty"),
        ("{", "the body is not JSON: see line 1, column 1"),
        (r#"{"model": "m""#, "the body is not JSON: see line 1, column 13"),
        (r#"{"model": "\ud800"}"#, "the body is not JSON: see line 1, column 18"),
        (r#"{"temperature": Infinity}"#, "the body is not JSON: see line 1, column 17"),
        ("[]", "expected an object"),
        ("5", "expected an object"),
        (r#"{"model": "m", "model": "m"}"#, "`model`: is there twice"),
    ] {
        let error = CompletionRequest::read(body.as_bytes()).expect_err(body);
        assert_eq!(status(&error), 422, "{body}");
        assert_eq!(error.message(), message, "{body}");
    }
    let nested = format!(r#"{{"metadata": {}"#, "[".repeat(100_000));
    assert_eq!(status(&CompletionRequest::read(nested.as_bytes()).expect_err("too deep")), 422);
}

#[test]
fn what_would_change_the_answer_is_refused_by_name() {
    let user = |part: Value| with("messages", json!([{ "role": "user", "content": [part] }]));
    let part = "`messages`: a part is a text, an image_url with a `url`, an input_audio or a file";
    for (body, kind, message) in [
        (user(json!({ "type": "x" })), ErrorKind::InvalidRequest, part),
        (user(json!({ "type": "image_url", "image_url": {} })), ErrorKind::InvalidRequest, part),
        (
            with("tools", json!([{ "type": "function" }])),
            ErrorKind::InvalidRequest,
            "`tools`: a tool has the type function and a function with a name",
        ),
        (
            with("tool_choice", json!("always")),
            ErrorKind::InvalidRequest,
            "`tool_choice` is unknown; valid: auto, none, required, or a function",
        ),
        (with("tool_choice", json!({})), ErrorKind::InvalidRequest, "`tool_choice` names no function"),
        (
            with("response_format", json!({ "type": "json_schema", "json_schema": { "schema": 5 } })),
            ErrorKind::InvalidRequest,
            "`response_format` is unknown; valid: text, json_object, json_schema with a schema",
        ),
    ] {
        let error = read(&body).expect_err(message);
        assert_eq!((error.kind(), error.message()), (kind, message));
        assert_ne!(status(&error), 422);
        assert!(error.context().iter().any(|(name, _)| *name == "param"), "{error:?}");
    }
    let image = user(json!({ "type": "image_url", "image_url": { "url": "data:,%" } }));
    let error = read(&image).expect_err("no image");
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(error.message().starts_with("`image_url`: "), "{error}");
}

#[test]
fn options_of_other_servers_are_passed_on_and_unknown_fields_named() {
    let mut body = with("min_p", json!(0.1));
    for (name, value) in [
        ("repetition_penalty", json!(1.1)),
        ("logit_bias", json!({ "5": 1 })),
        ("top_k", json!(7)),
        ("n", json!(2)),
        ("seed", json!(-1)),
        ("reasoning_effort", json!("xhigh")),
        ("temprature", json!("SECRET")),
        ("web_search_options", json!({})),
    ] {
        body[name] = value;
    }
    let read = read(&body).expect("a request");
    assert_eq!(read.ignored, ["temprature", "web_search_options"]);
    let names: Vec<&str> = read.request.extra.keys().map(String::as_str).collect();
    assert_eq!(names, ["min_p", "repetition_penalty", "logit_bias"]);
    let ChatRequest { choices, seed, reasoning, top_k, .. } = read.request;
    assert_eq!((choices, seed, reasoning, top_k), (Some(2), None, Some(ReasoningEffort::High), Some(7)));
}

#[test]
fn addresses_that_are_not_public_are_refused() {
    for url in
        ["file:///etc/passwd", "http://localhost:6379/", "http://10.0.0.1/x.png", "gopher://a.example/", "x"]
    {
        let part = json!({ "type": "image_url", "image_url": { "url": url } });
        let error = read(&with("messages", json!([{ "role": "user", "content": [part] }]))).expect_err(url);
        assert_eq!((error.kind(), status(&error)), (ErrorKind::InvalidRequest, 400), "{url}");
        assert!(error.context().contains(&("param", "messages.0.content".to_owned())), "{error:?}");
    }
}

#[test]
fn a_list_too_long_ends_at_its_bound() {
    let messages = vec![json!({ "role": "user", "content": "x" }); 16_385];
    let error = read(&json!({ "model": "m", "messages": messages })).expect_err("too long");
    assert_eq!(error.message(), "`messages`: expected a list of 1 to 16384 items");
    // The first of many wrong items ends the work.
    let wrong = format!(r#"{{"model": "m", "messages": [{}"#, "{},".repeat(100_000));
    let error = CompletionRequest::read(wrong.as_bytes()).expect_err("wrong");
    assert_eq!(error.message(), "`messages.0.role`: is missing");
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = CompletionRequest::read(&body);
    }

    #[test]
    fn any_conversation_is_read_as_it_was_written(texts in proptest::collection::vec(".{0,40}", 1..5), limit in 1u32..1_000_000) {
        let request = ChatRequest::new(texts.into_iter().map(Message::user)).with_max_tokens(limit);
        prop_assert_eq!(written_and_read(&request), request);
    }
}
