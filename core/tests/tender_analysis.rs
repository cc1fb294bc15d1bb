//! Analyses of tenders by a hosted model, over HTTP: what is sent, what is asked again, and what nobody hears of it.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::sync::{Arc, Mutex};

use ayni::backends::openai::OpenAiConfig;
use ayni::backends::scripted::Scripted;
use ayni::procure::analysis::{Question, Rejection, analyse};
use ayni::procure::{AnyProcurement, GetRequest, Tender};
use ayni::{Context, ErrorKind};
use ayni_testkit::MockServer;
use serde_json::{Value, json};
use tracing_subscriber::fmt::MakeWriter;

async fn tender() -> Tender {
    let client = AnyProcurement::new(Scripted::default());
    let mut tender = client.tender(&Context::new(), GetRequest::new("9002-7-LR26")).await.unwrap().record;
    tender.description.push_str(" frase-del-registro");
    tender
}

fn answered(content: &str) -> Value {
    json!({
        "request": { "method": "POST", "path": "/chat/completions" },
        "respond": { "json": {
            "id": "chatcmpl-1", "object": "chat.completion", "model": "modelo",
            "choices": [{
                "index": 0, "finish_reason": "stop", "message": { "role": "assistant", "content": content }
            }],
            "usage": { "prompt_tokens": 900, "completion_tokens": 40 }
        } }
    })
}

fn chat(server: &MockServer) -> ayni::AnyChat {
    let config = OpenAiConfig::vendor("openai", "gpt-4.1-mini").with_base_url(server.base_url());
    ayni::open_chat(config.with_api_key("sk-analysis")).unwrap()
}

fn body(server: &MockServer, request: usize) -> Value {
    serde_json::from_slice(&server.requests()[request].body).unwrap()
}

fn message(body: &Value, at: usize) -> &str {
    body["messages"][at]["content"].as_str().unwrap()
}

#[tokio::test]
async fn a_hosted_model_is_asked_by_schema_and_its_claims_are_checked() {
    let claims = json!({ "claims": [
        "La {1} compra una ambulancia por {/estimated_amount}.",
        "Se compra una ambulancia por $70.000.000.",
    ]});
    let server = MockServer::start(&json!([answered(&claims.to_string())])).await.unwrap();
    let analysis =
        analyse(&Context::new(), &tender().await, &Question::summary(), &chat(&server)).await.unwrap();
    assert_eq!(analysis.claims.len(), 1);
    assert_eq!(analysis.claims[0].text, "La 9002-7-LR26 compra una ambulancia por $68.900.000.");
    assert_eq!(analysis.claims[0].citations[1].value, "68900000 CLP");
    assert!(
        matches!(&analysis.rejected[0].reason, Rejection::NotInFields { written } if written == "$70.000.000")
    );
    assert_eq!((analysis.usage.input_tokens, &*analysis.route.backend), (Some(900), "openai"));
    assert_eq!(server.report().faults(), Vec::<String>::new());

    let body = body(&server, 0);
    let format = &body["response_format"];
    assert_eq!((&format["type"], &format["json_schema"]["strict"]), (&json!("json_schema"), &json!(true)));
    assert_eq!(format["json_schema"]["schema"]["required"], json!(["claims"]));
    let (system, user) = (message(&body, 0), message(&body, 1));
    let fence = user.lines().next().unwrap().strip_prefix("BEGIN RECORD ").unwrap();
    assert!(system.contains(fence) && user.contains(&format!("END RECORD {fence}")));
    assert!(user.contains("/estimated_amount: \"68900000 CLP\"") && !system.contains("frase-del-registro"));
}

#[tokio::test]
async fn a_malformed_answer_goes_back_to_the_model_once() {
    let good = json!({ "claims": [] }).to_string();
    let server = MockServer::start(&json!([answered("No puedo."), answered(&good)])).await.unwrap();
    let analysis =
        analyse(&Context::new(), &tender().await, &Question::risks(), &chat(&server)).await.unwrap();
    assert!(analysis.repaired && analysis.usage.output_tokens == Some(80));
    let body = body(&server, 1);
    assert_eq!((&body["messages"][2]["role"], message(&body, 2)), (&json!("assistant"), "No puedo."));
    assert!(message(&body, 3).contains("not a JSON object"));
}

/// Everything that is logged.
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

#[tokio::test]
async fn nothing_of_record_question_or_answer_is_in_a_log_or_an_error() {
    let heard = Heard::default();
    let subscriber =
        || tracing_subscriber::fmt().with_max_level(tracing_subscriber::filter::LevelFilter::TRACE);
    // Never written to. With one subscriber alone, `tracing` asks that of the thread which first comes by an event, and
    // other tests' threads have none: the event would be off for all. With two it asks both.
    let _second = tracing::Dispatch::new(subscriber().with_writer(std::io::sink).finish());
    let guard = tracing::subscriber::set_default(subscriber().with_writer(heard.clone()).finish());
    let bad = "frase-de-la-respuesta";
    let server = MockServer::start(&json!([answered(bad), answered(bad)])).await.unwrap();
    let question = Question::free("¿frase-de-la-pregunta?");
    let error =
        analyse(&Context::new(), &tender().await, &question, &chat(&server)).await.expect_err("twice");
    drop(guard);
    assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
    let logged = String::from_utf8_lossy(&heard.0.lock().unwrap()).into_owned();
    assert!(logged.contains("chat"), "the calls are logged: {logged}");
    for said in [logged, format!("{error:?}")] {
        for secret in ["frase-de", "ambulancia", "sk-analysis"] {
            assert!(!said.contains(secret), "{secret}: {said}");
        }
    }
}
