//! A transport for tests: scripted responses, recorded requests.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::context::{BoxFuture, Clock, Context, ManualClock};
use crate::http::{HttpRequest, HttpResponse, Transport, TransportError, TransportPhase};

/// Sends responses in order and repeats the last one. A response of status 0 never arrives.
#[derive(Clone, Debug, Default)]
pub(super) struct ScriptedTransport(Arc<Mutex<Recording>>);

#[derive(Debug, Default)]
struct Recording {
    answers: VecDeque<(u16, &'static str, Bytes)>,
    seen: Vec<HttpRequest>,
}

impl ScriptedTransport {
    pub(super) fn new<'a>(answers: impl IntoIterator<Item = (u16, &'a str)>) -> Self {
        let script = Self::default();
        for (status, body) in answers {
            let kind = if body.starts_with('<') { "text/html" } else { "application/json" };
            script.state().answers.push_back((status, kind, Bytes::copy_from_slice(body.as_bytes())));
        }
        script
    }

    fn state(&self) -> std::sync::MutexGuard<'_, Recording> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `GET host/path?query` of every request so far.
    pub(super) fn asked(&self) -> Vec<String> {
        let line = |request: &HttpRequest| {
            let query = request.url.query().map(|query| format!("?{query}")).unwrap_or_default();
            let host = request.url.host_str().unwrap_or_default();
            format!("{} {host}{}{query}", request.method.as_str(), request.url.path())
        };
        self.state().seen.iter().map(line).collect()
    }

    pub(super) fn request(&self, index: usize) -> HttpRequest {
        self.state().seen[index].clone()
    }

    /// A context over the script whose clock jumps over every sleep.
    pub(super) fn context(&self) -> (Context, ManualClock) {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(Clock::from(clock.clone())).with_transport(Arc::new(self.clone()));
        (cx, clock)
    }
}

impl Transport for ScriptedTransport {
    fn send(&self, request: HttpRequest) -> BoxFuture<'_, Result<HttpResponse, TransportError>> {
        let answer = {
            let mut state = self.state();
            state.seen.push(request);
            if state.answers.len() > 1 { state.answers.pop_front() } else { state.answers.front().cloned() }
        };
        Box::pin(async move {
            let Some((status, kind, body)) = answer else {
                return Err(TransportError::new(TransportPhase::Connect, "nobody answers"));
            };
            if status == 0 {
                return std::future::pending().await;
            }
            Ok(HttpResponse::of(status, &[("Content-Type", kind)], body))
        })
    }
}
