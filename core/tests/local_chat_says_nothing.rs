//! What a local chat model logs, of every level and target, has nothing of a conversation in it. `make models` fetches the
//! model.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use ayni::config::open_chat_with;
use ayni::local::LocalChatConfig;
use ayni::{ChatConfig, ChatRequest, Context, Environment, Setup};
use ayni_testkit::real_models::smollm2;
use tracing_subscriber::fmt::MakeWriter;

#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Write for Heard {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Heard {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

const CANARY: &str = "P000123canary";

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_conversation_is_logged_or_in_an_error() {
    let heard = Heard::default();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::TRACE)
        .with_writer(heard.clone())
        .init();
    let config = LocalChatConfig::new(smollm2().to_str().unwrap()).with_context(200);
    let chat = open_chat_with(Setup::<ChatConfig>::new(config), &Environment::empty()).unwrap();
    let question = format!("My number is {CANARY}. Say {CANARY}.");
    let cx = Context::new();
    chat.chat(&cx, ChatRequest::user(&*question).with_max_tokens(8)).await.unwrap();
    for request in [
        ChatRequest::user(question.repeat(40)),
        ChatRequest::user(&*question).with_max_tokens(190),
        ChatRequest::user(&*question).with_extra("unknown", CANARY),
    ] {
        let error = chat.chat(&cx, request).await.unwrap_err();
        assert!(!format!("{error:?} {error}").contains(CANARY), "{error}");
    }
    let said = String::from_utf8_lossy(&heard.0.lock().unwrap()).into_owned();
    assert!(said.contains("SmolLM2-135M-Instruct"), "something is logged: {said}");
    assert!(!said.contains(CANARY), "{said}");
}
