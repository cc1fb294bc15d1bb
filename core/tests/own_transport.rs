//! A transport that was not written by us, in the words of the crate `http`: given to a setup, to a policy and to a call.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::{Arc, Mutex};

use ayni::backends::openai::OpenAiConfig;
use ayni::config::open_chat_with;
use ayni::context::BoxFuture;
use ayni::http::{
    HeaderMap, HeaderValue, HttpOptions, HttpRequest, HttpResponse, Method, StatusCode, Transport,
    TransportError, TransportPhase,
};
use ayni::policy::{Policy, Retry};
use ayni::{
    AnyChat, BackendInfo, ChatBackend, ChatConfig, ChatRequest, ChatResponse, ChatStream, Context,
    Environment, Error, ErrorKind, Route, Setup,
};

/// Answers every chat with its own name and keeps what it was asked.
#[derive(Debug)]
struct Recorder {
    name: &'static str,
    seen: Mutex<Vec<HttpRequest>>,
}

impl Recorder {
    fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, seen: Mutex::default() })
    }

    fn seen(&self) -> Vec<HttpRequest> {
        self.seen.lock().unwrap().clone()
    }
}

impl Transport for Recorder {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        self.seen.lock().unwrap().push(request);
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let answer = format!(
            r#"{{"choices":[{{"message":{{"role":"assistant","content":"{}"}},"finish_reason":"stop"}}]}}"#,
            self.name
        );
        let body = Box::pin(futures_util::stream::iter([Ok(answer.into())]));
        Box::pin(std::future::ready(Ok(HttpResponse::new(StatusCode::OK, headers, body))))
    }
}

fn setup() -> Setup<ChatConfig> {
    let config = OpenAiConfig::vendor("custom", "m");
    let config = config.with_base_url("https://api.example.test/v1").with_api_key("sk-canary");
    Setup::from(config).with_policy(Policy::default().with_retry(Retry::none()))
}

async fn answer(setup: Setup<ChatConfig>, cx: &Context) -> ayni::Result<String> {
    let chat = open_chat_with(setup, &Environment::empty())?;
    chat.chat(cx, ChatRequest::user("hola")).await.map(|response| response.text)
}

#[tokio::test]
async fn the_requests_of_a_setup_go_through_its_transport() {
    let own = Recorder::new("own");
    let cx = Context::new();
    assert_eq!(answer(setup().with_transport(Arc::<Recorder>::clone(&own)), &cx).await.unwrap(), "own");
    let seen = own.seen();
    let [request] = seen.as_slice() else { panic!("one request, not {}", seen.len()) };
    assert_eq!(request.method, Method::POST);
    assert_eq!(request.url.as_str(), "https://api.example.test/v1/chat/completions");
    assert_eq!(request.headers["authorization"], "Bearer sk-canary");
    assert!(request.headers["authorization"].is_sensitive());
    for shown in [format!("{request:?}"), format!("{:?}", request.headers)] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[tokio::test]
async fn the_transport_of_a_call_comes_before_that_of_the_setup() {
    let (own, of_the_call) = (Recorder::new("own"), Recorder::new("call"));
    let cx = Context::new().with_transport(Arc::<Recorder>::clone(&of_the_call));
    assert_eq!(answer(setup().with_transport(Arc::<Recorder>::clone(&own)), &cx).await.unwrap(), "call");
    assert!(own.seen().is_empty());
}

#[tokio::test]
async fn the_options_of_a_setup_are_checked_when_it_is_opened() {
    let wrong = setup().with_http(HttpOptions::default().with_ca_file("/nonexistent/ca.pem"));
    let error = answer(wrong.clone(), &Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.message().contains("/nonexistent/ca.pem"), "{error}");
    let json = serde_json::to_value(&wrong).unwrap();
    assert_eq!(json["http"]["ca_file"], "/nonexistent/ca.pem");
    assert!(serde_json::to_value(setup()).unwrap().get("http").is_none());
    let back: Setup<ChatConfig> = serde_json::from_value(json).unwrap();
    assert_eq!(back.http, wrong.http);
}

#[tokio::test]
async fn a_transport_that_cannot_work_here_is_a_matter_of_configuration() {
    #[derive(Debug)]
    struct Misconfigured;
    impl Transport for Misconfigured {
        fn send(&self, _: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
            let error = TransportError::new(TransportPhase::Setup, "the audit log is not writable");
            Box::pin(std::future::ready(Err(error)))
        }
    }
    let setup = setup().with_transport(Arc::new(Misconfigured)).with_policy(Policy::default());
    let cx = Context::new().with_transport(Arc::new(Misconfigured));
    let error = answer(setup, &cx).await.unwrap_err();
    assert_eq!((error.kind(), error.is_temporary()), (ErrorKind::ConfigInvalid, false));
    assert_eq!(error.message(), "the audit log is not writable");
}

/// A backend that needs a transport in its context.
#[derive(Debug)]
struct Connected(BackendInfo);

impl Connected {
    fn check(cx: &Context) -> ayni::Result<()> {
        cx.transport().map(|_| ()).ok_or_else(|| Error::unsupported("the context has no transport"))
    }
}

impl ChatBackend for Connected {
    fn info(&self) -> &BackendInfo {
        &self.0
    }

    async fn chat(&self, cx: &Context, _: ChatRequest) -> ayni::Result<ChatResponse> {
        Self::check(cx)?;
        Ok(ChatResponse::new("hola", Route::new(&self.0)))
    }

    async fn stream(&self, cx: &Context, request: ChatRequest) -> ayni::Result<ChatStream> {
        self.chat(cx, request).await.map(ChatStream::from_response)
    }

    async fn ready(&self, cx: &Context) -> ayni::Result<()> {
        Self::check(cx)
    }
}

#[tokio::test]
async fn readiness_and_calls_find_the_transport_of_the_policy() {
    let backend = || AnyChat::new(Connected(BackendInfo::new("connected", "m")));
    let cx = Context::new();
    let chat = Policy::default().with_transport(Recorder::new("policy")).chat(backend(), vec![]).unwrap();
    chat.ready(&cx).await.unwrap();
    chat.chat(&cx, ChatRequest::user("hola")).await.unwrap();
    let chat = Policy::default().chat(backend(), vec![]).unwrap();
    assert_eq!(chat.ready(&cx).await.unwrap_err().kind(), ErrorKind::Unsupported);
}
