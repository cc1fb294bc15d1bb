//! What vendors say, and what they mean.

use std::time::Duration;

use ayni::backends::openai::OpenAiConfig;
use ayni::policy::Policy;
use ayni::{ChatConfig, ChatRequest, Context, Result, Setup};
use ayni_testkit::MockServer;
use serde_json::{Value, json};

use crate::show;

/// Statuses that lie, each with the kind that is true.
pub(crate) async fn statuses_that_lie() -> Result<()> {
    show::section(
        "Errors are data",
        "what the status says is not what is wrong; the kind is the same in every language",
    );
    let liars = [
        ("featherless", 400, json!({ "error": { "message": "Model is cold and loading, try again later" } })),
        (
            "openai",
            429,
            json!({ "error": { "message": "You exceeded your current quota", "code": "insufficient_quota" } }),
        ),
        ("nscale", 429, json!({ "error": { "message": "Insufficient credit" } })),
        (
            "llamacpp",
            503,
            json!({ "error": { "code": 503, "message": "Loading model", "type": "unavailable_error" } }),
        ),
        ("custom", 200, json!({ "error": { "message": "Overloaded", "type": "overloaded_error" } })),
    ];
    for (vendor, status, body) in liars {
        show::fact(&format!("{vendor}, {status}"), meaning(vendor, status, &body).await?);
    }
    Ok(())
}

async fn meaning(vendor: &str, status: u16, body: &Value) -> Result<String> {
    let server = MockServer::start(&json!([{
        "request": { "method": "POST", "path": "/chat/completions" },
        "respond": { "status": status, "json": body }
    }]))
    .await?;
    let config = OpenAiConfig::vendor(vendor, "m").with_base_url(server.base_url()).with_api_key("sk-tour");
    let chat = ayni::open_chat(Setup::<ChatConfig>::new(config).with_policy(Policy::none()))?;
    let cx = Context::new().with_timeout(Duration::from_secs(5));
    Ok(match chat.chat(&cx, ChatRequest::user("hola")).await {
        Ok(answer) => format!("answered: {}", answer.text),
        Err(error) => format!("{} ({})", error.kind(), error.persistence().as_str()),
    })
}
