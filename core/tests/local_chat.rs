//! The real SmolLM2-135M-Instruct: its greedy answers against llama.cpp's, and what a service relies on. `make models`
//! fetches it.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::time::{Duration, Instant};

use ayni::config::open_chat_with;
use ayni::local::LocalChatConfig;
use ayni::{
    AnyChat, Cancellation, ChatConfig, ChatEvent, ChatRequest, Context, Environment, ErrorKind, FinishReason,
    Message, Setup,
};
use ayni_testkit::real_models::smollm2;
use futures_util::StreamExt;
use serde::Deserialize;
use tokio::sync::OnceCell;

fn open(change: impl FnOnce(LocalChatConfig) -> LocalChatConfig) -> AnyChat {
    let config = change(LocalChatConfig::new(smollm2().to_str().unwrap()).with_device("cpu"));
    open_chat_with(Setup::<ChatConfig>::new(config), &Environment::empty()).unwrap()
}

/// One model for all tests.
async fn chat() -> AnyChat {
    static CHAT: OnceCell<AnyChat> = OnceCell::const_new();
    let chat = CHAT.get_or_init(async || open(|config| config)).await.clone();
    chat.ready(&Context::new()).await.unwrap();
    chat
}

#[derive(Deserialize)]
struct Continuation {
    question: String,
    /// How many tokens llama.cpp says that the conversation has.
    prompt_tokens: u64,
    answer: String,
    /// The first token at which another was as likely, up to the rounding of quantised products.
    tie: Option<usize>,
}

fn goldens() -> Vec<Continuation> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/continuations.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn greedy(question: &str) -> ChatRequest {
    ChatRequest::user(question).with_temperature(0.0).with_max_tokens(64)
}

#[tokio::test(flavor = "multi_thread")]
async fn greedy_answers_are_those_of_llama_cpp_up_to_the_first_tie() {
    let chat = chat().await;
    let goldens = goldens();
    assert_eq!(goldens.len(), 20);
    let answers = goldens.iter().map(|golden| {
        let chat = chat.clone();
        async move { chat.chat(&Context::new(), greedy(&golden.question)).await.unwrap() }
    });
    let answers = futures_util::future::join_all(answers).await;
    for (golden, answer) in goldens.iter().zip(answers) {
        let question = &golden.question;
        assert_eq!(answer.usage.input_tokens, Some(golden.prompt_tokens), "{question}");
        let known = match golden.tie {
            Some(bytes) => &golden.answer[..bytes],
            None => &golden.answer,
        };
        assert!(answer.text.starts_with(known), "{question}: {:?} is not {:?}", answer.text, golden.answer);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn conversations_together_are_what_each_is_alone_bit_for_bit() {
    let requests: Vec<ChatRequest> = (0..8_u8)
        .map(|number| {
            let mut request = ChatRequest::user(format!("Tell me fact number {number} about the sea."))
                .with_system("You are a patient teacher who answers in one short paragraph, in plain words, and never lies.")
                .with_max_tokens(24)
                .with_seed(u64::from(number));
            request.temperature = Some(0.1 * f32::from(number));
            request.top_k = (number % 2 == 0).then_some(20);
            request.frequency_penalty = (number % 3 == 0).then_some(0.5);
            request
        })
        .collect();
    // Each alone in a model of its own, which nobody left a beginning in.
    let mut alone = Vec::new();
    for request in &requests {
        let chat = open(|config| config);
        alone.push(chat.chat(&Context::new(), request.clone()).await.unwrap().text);
    }
    let chat = open(|config| config.with_max_running(8));
    for _ in 0..2 {
        let answers = requests.iter().map(|request| {
            let (chat, request) = (chat.clone(), request.clone());
            async move { chat.chat(&Context::new(), request).await.unwrap() }
        });
        let answers = futures_util::future::join_all(answers).await;
        let texts: Vec<&str> = answers.iter().map(|answer| answer.text.as_str()).collect();
        assert_eq!(texts, alone);
    }
    // The second time, the beginnings were there.
    let again = chat.chat(&Context::new(), requests[0].clone()).await.unwrap();
    assert!(again.usage.cached_tokens > Some(20), "{:?}", again.usage);
    assert_eq!(again.text, alone[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_turn_goes_on_from_the_first() {
    let chat = open(|config| config);
    let first = ChatRequest::user("What is the capital of Chile?").with_temperature(0.0).with_max_tokens(20);
    let answer = chat.chat(&Context::new(), first.clone()).await.unwrap();
    assert_eq!(answer.usage.cached_tokens, Some(0));
    let second = first.with_message(answer.to_message()).with_message(Message::user("And of Peru?"));
    let alone = open(|config| config).chat(&Context::new(), second.clone()).await.unwrap();
    let answer = chat.chat(&Context::new(), second).await.unwrap();
    assert!(answer.usage.cached_tokens > Some(20), "{:?}", answer.usage);
    assert_eq!(answer.text, alone.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_has_a_beginning_pieces_and_one_end() {
    let chat = chat().await;
    let request = greedy("Count from one to five.").with_max_tokens(12).with_logprobs(2);
    let events: Vec<ChatEvent> = chat
        .stream(&Context::new(), request.clone())
        .await
        .unwrap()
        .map(|event| event.unwrap())
        .collect()
        .await;
    let ChatEvent::Started { route } = &events[0] else { panic!("{events:?}") };
    assert_eq!((&*route.backend, &*route.model), ("local", "SmolLM2-135M-Instruct.Q4_1.gguf"));
    let Some(ChatEvent::Finish { reason, usage, .. }) = events.last() else { panic!("{events:?}") };
    assert_eq!((reason, usage.output_tokens), (&FinishReason::Length, Some(12)));
    let text: String = events
        .iter()
        .filter_map(|event| if let ChatEvent::Text(text) = event { Some(text.as_str()) } else { None })
        .collect();
    let answer = chat.chat(&Context::new(), request).await.unwrap();
    assert_eq!(answer.text, text);
    assert_eq!(answer.logprobs.len(), 12);
    for token in &answer.logprobs {
        assert!(token.logprob <= 0.0 && token.top.len() == 2 && token.top[0].0 == token.token, "{token:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stop_sequences_and_limits_end_the_answer_with_their_reason() {
    let chat = chat().await;
    let whole = chat.chat(&Context::new(), greedy("Name three colours.")).await.unwrap();
    let stop = whole.text.chars().skip(8).take(4).collect::<String>();
    let cut =
        chat.chat(&Context::new(), greedy("Name three colours.").with_stop([stop.clone()])).await.unwrap();
    assert_eq!(cut.finish, FinishReason::Stop);
    assert_eq!(cut.text, whole.text[..whole.text.find(&stop).unwrap()]);
    let one = chat.chat(&Context::new(), greedy("Name three colours.").with_max_tokens(1)).await.unwrap();
    assert_eq!((one.finish, one.usage.output_tokens), (FinishReason::Length, Some(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_the_window_is_refused_with_the_figures() {
    let chat = open(|config| config.with_context(100));
    chat.ready(&Context::new()).await.unwrap();
    assert_eq!(chat.window(), Some(100));
    let request = ChatRequest::user("word ".repeat(200));
    let tokens = chat.count_tokens(&request).unwrap();
    let error = chat.chat(&Context::new(), request).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextTooLong);
    for figure in [tokens.to_string(), "100".to_owned()] {
        assert!(error.message().contains(&figure), "{error}");
    }
    let error = chat.chat(&Context::new(), ChatRequest::user("hi").with_max_tokens(90)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextTooLong, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_stop_soon_after_a_drop_a_cancellation_and_a_deadline() {
    let chat = open(|config| config.with_max_running(1).with_max_queued(1));
    chat.ready(&Context::new()).await.unwrap();
    let long = || ChatRequest::user("Write a very long story.").with_temperature(0.0).with_max_tokens(4000);
    // The only place is free again as soon as the stream is dropped.
    let mut stream = chat.stream(&Context::new(), long()).await.unwrap();
    stream.next().await.unwrap().unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    let start = Instant::now();
    chat.chat(&Context::new(), ChatRequest::user("hi").with_max_tokens(1)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(20));
    let cancellation = Cancellation::new();
    let cx = Context::new().with_cancellation(cancellation.clone());
    let mut stream = chat.stream(&cx, long()).await.unwrap();
    let mut text = String::new();
    while text.is_empty() {
        if let ChatEvent::Text(piece) = stream.next().await.unwrap().unwrap() {
            text.push_str(&piece);
        }
    }
    cancellation.cancel();
    let error = loop {
        if let Err(error) = stream.next().await.unwrap() {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    assert!(error.partial_text().is_some_and(|partial| partial.starts_with(&text)), "{error:?}");
    let cx = Context::new().with_timeout(Duration::from_millis(400));
    let error = chat.chat(&cx, long()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_requests_than_the_line_holds_are_told_to_come_back() {
    // Without a policy, which would come back by itself.
    let config = LocalChatConfig::new(smollm2().to_str().unwrap()).with_max_running(1).with_max_queued(1);
    let chat = config.open(&Environment::empty()).unwrap();
    chat.ready(&Context::new()).await.unwrap();
    let request = || ChatRequest::user("Write a very long story.").with_max_tokens(200);
    let first = chat.stream(&Context::new(), request()).await.unwrap();
    let second = chat.stream(&Context::new(), request()).await.unwrap();
    let error = chat.stream(&Context::new(), request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert!(error.retry_after().is_some(), "{error}");
    drop((first, second));
}

#[tokio::test]
async fn what_a_local_model_does_not_do_is_said_by_name() {
    let chat = chat().await;
    let cx = Context::new();
    let error = chat.chat(&cx, ChatRequest::user("hi").with_extra("beam_width", 4)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("`beam_width`") && error.message().contains("min_p"), "{error}");
    let error = chat.chat(&cx, ChatRequest::user("hi").with_temperature(-1.0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[test]
fn a_reference_to_nothing_and_a_model_of_another_kind_are_errors_of_opening() {
    let open = |model: &str| LocalChatConfig::new(model).open(&Environment::empty()).unwrap_err();
    assert_eq!(open("/nowhere/at/all.gguf").kind(), ErrorKind::ModelLoad);
    assert_eq!(open(" ").kind(), ErrorKind::ConfigInvalid);
    let bert = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf/bert-BF16.gguf");
    let error = open(bert.to_str().unwrap());
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("'bert' is not a supported chat model"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_follow_a_schema_whatever_the_model_would_say() {
    let chat = chat().await;
    let schema = serde_json::json!({
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 20}, "people": {"type": "integer"}},
        "required": ["city", "people"],
        "additionalProperties": false,
    });
    let output = ayni::OutputFormat::json_schema("city", schema, true);
    for seed in 0..4 {
        let request = ChatRequest::user("Tell me about Lima.")
            .with_output(output.clone())
            .with_temperature(1.5)
            .with_seed(seed)
            .with_max_tokens(120);
        let answer = chat.chat(&Context::new(), request).await.unwrap();
        assert_eq!(answer.finish, FinishReason::Stop, "{}", answer.text);
        let value: serde_json::Value = serde_json::from_str(&answer.text).unwrap();
        assert!(value["city"].is_string() && value["people"].is_i64(), "{value}");
    }
    let request =
        ChatRequest::user("Yes or no?").with_extra("guided_regex", "(yes|no)").with_temperature(2.0);
    assert!(["yes", "no"].contains(&chat.chat(&Context::new(), request).await.unwrap().text.as_str()));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_answers_to_one_request_have_draws_of_their_own() {
    let chat = chat().await;
    let request = ChatRequest::user("Invent a name for a ship.").with_seed(3).with_max_tokens(12);
    let answer = chat.chat(&Context::new(), request.clone().with_choices(3)).await.unwrap();
    assert_eq!(answer.alternatives.len(), 2);
    let cx = Context::new();
    let alone = |seed| chat.chat(&cx, request.clone().with_seed(seed));
    assert_eq!(answer.text, alone(3).await.unwrap().text);
    assert_eq!(answer.alternatives[1].text, alone(5).await.unwrap().text);
    let error = chat.chat(&Context::new(), request.with_choices(99)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
}
