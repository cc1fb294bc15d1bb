//! Chat: streamed, with fallback, by mode.

use ayni::backends::openai::OpenAiConfig;
use ayni::config::ChatModes;
use ayni::{ChatConfig, ChatEvent, ChatRequest, Context, Environment, Result, Setup};
use ayni_testkit::MockServer;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::show;

/// A frame of a streamed answer in OpenAI's protocol.
fn frame(delta: &Value, finish: Option<&str>) -> Value {
    json!({ "data": {
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "llama-3.3-70b",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }]
    } })
}

fn groq(server: &MockServer) -> OpenAiConfig {
    OpenAiConfig::vendor("groq", "llama-3.3-70b").with_base_url(server.base_url()).with_api_key("gsk_tour")
}

/// A streamed answer from a hosted backend.
pub(crate) async fn ask_and_stream() -> Result<()> {
    show::section(
        "Chat, streamed",
        "Groq's protocol on loopback: reasoning apart from the answer, usage at the end",
    );
    let mut frames =
        vec![frame(&json!({ "role": "assistant", "reasoning": "Quechua word; reciprocity." }), None)];
    frames.extend(
        ["Help ", "given ", "and ", "returned ", "between ", "neighbours."]
            .map(|word| frame(&json!({ "content": word }), None)),
    );
    frames.push(frame(&json!({}), Some("stop")));
    frames
        .push(json!({ "data": { "choices": [], "usage": { "prompt_tokens": 9, "completion_tokens": 8 } } }));
    frames.push(json!({ "data": "[DONE]" }));
    let server = MockServer::start(&json!([{
        "request": { "method": "POST", "path": "/chat/completions", "json": { "stream": true } },
        "respond": { "sse": frames }
    }]))
    .await?;

    let chat = ayni::open_chat(groq(&server))?;
    let mut events = chat.stream(&Context::new(), ChatRequest::user("What is ayni?")).await?;
    let mut answer = String::new();
    while let Some(event) = events.next().await {
        match event? {
            ChatEvent::Started { route } => {
                show::fact("served by", format!("{} / {}", route.backend, route.model))
            }
            ChatEvent::Reasoning(piece) => show::fact("reasoning", piece),
            ChatEvent::Text(piece) => answer.push_str(&piece),
            ChatEvent::Finish { reason, usage, .. } => {
                show::fact("answer", &answer);
                let tokens = usage.input_tokens.zip(usage.output_tokens);
                let tokens = tokens.map_or_else(
                    || "not said".to_owned(),
                    |(read, written)| format!("{read} in, {written} out"),
                );
                show::fact("finished", format!("{}; tokens {tokens}", reason.as_str()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The first backend has no credits left; the second serves, and the answer says so.
pub(crate) async fn fall_back() -> Result<()> {
    show::section(
        "Fallback",
        "Hugging Face's credits are spent (402); Groq answers, and the route tells both",
    );
    let server = MockServer::start(&json!([
        {
            "request": { "method": "POST", "path": "/v1/chat/completions" },
            "respond": { "status": 402, "json": { "error": "You have depleted your monthly included credits." } }
        },
        {
            "request": { "method": "POST", "path": "/chat/completions" },
            "respond": { "json": {
                "model": "llama-3.3-70b",
                "choices": [{ "message": { "role": "assistant", "content": "Here I am instead." }, "finish_reason": "stop" }]
            } }
        }
    ]))
    .await?;
    let router = OpenAiConfig::vendor("hf-router", "Qwen/Qwen2.5-7B-Instruct:together")
        .with_base_url(format!("{}/v1", server.base_url()))
        .with_api_key("hf_tour");
    let setup = Setup::<ChatConfig>::new(router).with_fallback(groq(&server));
    let answer = ayni::open_chat(setup)?.chat(&Context::new(), ChatRequest::user("Anybody there?")).await?;
    for failed in &answer.route.failed {
        show::fact("failed", format!("{} / {}: {}", failed.backend, failed.model, failed.kind));
    }
    show::fact("served by", format!("{} / {}", answer.route.backend, answer.route.model));
    show::fact("answer", answer.text);
    Ok(())
}

/// The modes of a triage service, by name.
pub(crate) async fn modes() -> Result<()> {
    show::section(
        "Chat modes by name",
        "what a service offers its callers; nothing falls back to `mock` in silence",
    );
    let offline = [("HF_HUB_OFFLINE", "1"), ("HF_HOME", "/nowhere")];
    let env = Environment::from_pairs([("DEFAULT_LLM_MODE", "mock")].into_iter().chain(offline));
    let modes = ChatModes::from_env_with(&env)?;
    for name in modes.names() {
        match modes.open(Some(name)) {
            Ok(chat) => show::fact(name, format!("ready: {} / {}", chat.info().backend, chat.info().model)),
            Err(error) => show::fact(name, format!("{}: {}", error.kind(), error.message())),
        }
    }
    let answer =
        modes.open(None)?.chat(&Context::new(), ChatRequest::user("What medications am I taking?")).await?;
    show::fact("mock says", answer.text);
    if let Err(error) = modes.open(Some("gpt-9")) {
        show::fact("a typo", error);
    }
    Ok(())
}
