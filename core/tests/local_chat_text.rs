//! What the text of a real model's answers goes through: templates, tools, formats, thoughts, stop sequences. The model is
//! SmolLM2-135M-Instruct under ayni's `chatml`, which shows it tools; `make models` fetches it.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ayni::config::open_chat_with;
use ayni::local::LocalChatConfig;
use ayni::{
    AnyChat, ChatConfig, ChatEvent, ChatRequest, Context, Enforcement, Environment, ErrorKind, FinishReason,
    Message, OutputFormat, Setup, Tool, ToolChoice,
};
use ayni_testkit::real_models::smollm2;
use futures_util::StreamExt;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

fn open(template: &str) -> AnyChat {
    let config = LocalChatConfig::new(smollm2().to_str().unwrap()).with_device("cpu").with_template(template);
    open_chat_with(Setup::<ChatConfig>::new(config), &Environment::empty()).unwrap()
}

/// One model for all tests.
async fn chat() -> AnyChat {
    static CHAT: OnceCell<AnyChat> = OnceCell::const_new();
    let chat = CHAT.get_or_init(async || open("chatml")).await.clone();
    chat.ready(&Context::new()).await.unwrap();
    chat
}

fn tools() -> [Tool; 2] {
    let city = json!({
        "type": "object", "properties": { "city": { "type": "string", "enum": ["Lima", "La Paz"] } }, "required": ["city"],
        "additionalProperties": false,
    });
    let nothing = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    [Tool::new("get_weather", "The weather in a city", city), Tool::new("clock", "The time", nothing)]
}

fn ask(question: &str, seed: u64) -> ChatRequest {
    ChatRequest::user(question).with_temperature(1.5).with_seed(seed).with_max_tokens(80)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_must_be_called_is_called_with_arguments_of_its_schema() {
    let chat = chat().await;
    for seed in 0..3 {
        let request = ask("How is the weather in Lima?", seed)
            .with_tools(tools())
            .with_tool_choice(ToolChoice::Tool("get_weather".to_owned()))
            .with_max_tokens(60);
        let answer = chat.chat(&Context::new(), request.clone()).await.unwrap();
        let call = &answer.tool_calls[0];
        assert_eq!(call.name, "get_weather");
        assert!(["Lima", "La Paz"].contains(&call.parse_arguments().unwrap()["city"].as_str().unwrap()));
        assert_eq!(answer.text, "");
        let events: Vec<_> = chat.stream(&Context::new(), request).await.unwrap().collect().await;
        let pieces = events.iter().filter_map(|event| match event {
            Ok(ChatEvent::ToolCallArguments { index: 0, piece }) => Some(piece.as_str()),
            _ => None,
        });
        assert_eq!(pieces.collect::<String>(), call.arguments, "a stream says the same");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_and_its_answer_go_on_in_the_next_turn() {
    let chat = chat().await;
    let question = ask("The time?", 1).with_tools(tools()).with_tool_choice(ToolChoice::Required);
    let answer = chat.chat(&Context::new(), question.clone()).await.unwrap();
    assert!(!answer.tool_calls.is_empty());
    assert!(matches!(answer.finish, FinishReason::ToolCalls | FinishReason::Length), "{:?}", answer.finish);
    let ids: Vec<_> = answer.tool_calls.iter().map(|call| call.id.clone()).collect();
    let mut next = question.with_message(answer.to_message()).with_tool_choice(ToolChoice::None);
    for id in ids {
        next = next.with_message(Message::tool(id, "12:00"));
    }
    let answer = chat.chat(&Context::new(), next).await.unwrap();
    assert!(answer.tool_calls.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn structured_answers_say_that_a_grammar_held_them() {
    #[derive(Debug, Deserialize)]
    struct Triage {
        urgent: bool,
        days: u8,
    }
    let schema = json!({
        "type": "object", "properties": { "urgent": { "type": "boolean" }, "days": { "type": "integer", "minimum": 1, "maximum": 9 } },
        "required": ["urgent", "days"], "additionalProperties": false,
    });
    let output = OutputFormat::json_schema("triage", schema, true);
    let request = ask("I have a headache.", 2).with_output(output).with_max_tokens(400);
    let found = chat().await.structured::<Triage>(&Context::new(), request).await.unwrap();
    assert_eq!(found.enforcement, Enforcement::Grammar);
    assert!((1..=9).contains(&found.value.days), "{:?} {}", found.value, found.value.urgent);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lark_grammar_and_a_regular_expression_hold_the_answer() {
    let chat = chat().await;
    let lark =
        ask("Count.", 3).with_extra("guided_grammar", "start: item (\", \" item){2}\nitem: /[0-9]{1,3}/");
    let text = chat.chat(&Context::new(), lark).await.unwrap().text;
    let numbers: Vec<u16> = text.split(", ").map(|number| number.parse().unwrap()).collect();
    assert_eq!(numbers.len(), 3, "{text}");
    let dates = ask("When?", 4).with_extra("guided_regex", r"\d{4}-\d{2}-\d{2}");
    let text = chat.chat(&Context::new(), dates).await.unwrap().text;
    assert!(text.len() == 10 && text.as_bytes()[4] == b'-', "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn formats_and_tools_that_cannot_be_enforced_are_refused_before_the_first_token() {
    let chat = chat().await;
    let schema = |schema: Value| OutputFormat::json_schema("s", schema, true);
    for (request, kind) in [
        (ask("x", 0).with_output(schema(json!({ "type": "wrong" }))), ErrorKind::InvalidRequest),
        (ask("x", 0).with_output(schema(json!({ "not": {} }))), ErrorKind::InvalidRequest),
        (ask("x", 0).with_extra("guided_regex", "(("), ErrorKind::InvalidRequest),
        (ask("x", 0).with_tool_choice(ToolChoice::Required), ErrorKind::InvalidRequest),
        (ask("x", 0).with_extra("chat_template_kwargs", 1), ErrorKind::InvalidRequest),
    ] {
        let error = chat.chat(&Context::new(), request).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let zephyr = open("zephyr");
    let error = zephyr.chat(&Context::new(), ask("x", 0).with_tools(tools())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn words_that_look_like_control_tokens_count_as_words() {
    let chat = chat().await;
    let count = |text: &str| chat.count_tokens(&ChatRequest::user(text)).unwrap();
    let empty = count("x");
    // As control tokens they would be one each.
    assert!(count("x<|im_end|>") > empty + 3, "{} {empty}", count("x<|im_end|>"));
    assert_eq!(count("x y"), empty + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_sequence_ends_the_answer_and_is_not_shown() {
    let chat = chat().await;
    let request =
        ask("Say: one two three four five", 5).with_extra("guided_regex", "one two three four five");
    let whole = chat.chat(&Context::new(), request.clone()).await.unwrap();
    assert_eq!(whole.text, "one two three four five");
    let cut = chat.chat(&Context::new(), request.with_stop(["ree f"])).await.unwrap();
    assert_eq!((cut.text.as_str(), cut.finish), ("one two th", FinishReason::Stop));
    assert!(cut.usage.output_tokens < whole.usage.output_tokens);
}

#[tokio::test(flavor = "multi_thread")]
async fn thoughts_are_kept_apart_in_answer_and_stream() {
    let chat = chat().await;
    let request = ask("Think.", 6).with_extra("guided_regex", "<think>\nhm, yes\n</think>\n\nNo\\.");
    let answer = chat.chat(&Context::new(), request.clone()).await.unwrap();
    assert_eq!((answer.reasoning.as_deref(), answer.text.as_str()), (Some("hm, yes"), "No."));
    let events: Vec<_> = chat.stream(&Context::new(), request).await.unwrap().collect().await;
    let thought = events.iter().filter_map(|event| match event {
        Ok(ChatEvent::Reasoning(piece)) => Some(piece.as_str()),
        _ => None,
    });
    assert_eq!(thought.collect::<String>(), "hm, yes");
}
