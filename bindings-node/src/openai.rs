//! OpenAI's routes: bodies and handles cross, core reads and answers.

use std::collections::BTreeMap;

use ayni::ErrorKind;
use ayni::wire::openai::error::{self, Failure};
use ayni::wire::openai::models::{Model, ModelList};
use ayni::wire::openai::{ServedEvents, ServedHandle, ServedRequest};
use napi::Env;
use napi::bindgen_prelude::Either3;
use napi_derive::napi;

use crate::call::{Call, Promised, blocking, promise};
use crate::chat::{Chat, Slot, drop_stream};
use crate::convert::{json_text, request};
use crate::embedder::Embedder;
use crate::failure::{Outcome, guarded};
use crate::image::ImageGenerator;

/// Seconds since 1970, which JavaScript has as a number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast that saturates")]
fn moment(seconds: f64) -> u64 {
    seconds as u64
}

/// The handle that answers.
type Served<'a> = Either3<&'a Chat, &'a Embedder, &'a ImageGenerator>;

fn handle_of(served: &Served<'_>) -> ServedHandle {
    match served {
        Either3::A(chat) => ServedHandle::Chat(chat.0.clone()),
        Either3::B(embedder) => ServedHandle::Embedder(embedder.0.clone()),
        Either3::C(images) => ServedHandle::Images(images.0.clone()),
    }
}

/// A request to one of the routes.
#[napi]
pub struct OpenAiRequest(ServedRequest);

#[napi]
impl OpenAiRequest {
    /// Reads the body of a request to a route (`chat`, `embeddings` …), off the event loop.
    #[napi]
    pub fn read<'env>(
        env: &'env Env,
        route: String,
        body: &[u8],
        content_type: Option<String>,
    ) -> napi::Result<Promised<'env, Self>> {
        let body = body.to_vec();
        blocking(env, move || ServedRequest::read(&route, content_type.as_deref(), &body).map(Self))
    }

    /// The model that is asked for.
    #[napi]
    pub fn model(&self) -> Option<String> {
        self.0.model().map(str::to_owned)
    }

    /// Whether events are asked for.
    #[napi]
    pub fn streams(&self) -> bool {
        self.0.streams()
    }

    /// Gives the body of the response.
    #[napi]
    pub fn answer<'env>(
        &self,
        env: &'env Env,
        served: Served<'_>,
        id: String,
        created: f64,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, String>> {
        let (handle, asked) = (handle_of(&served), self.0.clone());
        promise(env, call, move |cx| async move { asked.answer(&cx, &handle, &id, moment(created)).await })
    }

    /// Gives the events after the first one: a failure before it can still set the status.
    #[napi]
    pub fn events<'env>(
        &self,
        env: &'env Env,
        served: Served<'_>,
        id: String,
        created: f64,
        request_id: Option<String>,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, OpenAiEvents>> {
        let (handle, asked) = (handle_of(&served), self.0.clone());
        promise(env, call, move |cx| async move {
            let events = asked.events(&cx, &handle, (&id, moment(created)), request_id).await?;
            Ok(OpenAiEvents(Slot::new(Some(events).into())))
        })
    }
}

/// Some bytes of a stream of events.
#[napi(object, object_from_js = false)]
pub struct Piece {
    /// The text, which is empty at the end.
    pub text: String,
    /// The kind of the error that ends the stream with it.
    pub kind: Option<String>,
}

/// The server-sent events of a streamed completion. Dropping it stops the work.
#[napi]
pub struct OpenAiEvents(Slot<ServedEvents>);

#[napi]
impl OpenAiEvents {
    /// The next piece.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Promised<'env, Piece>> {
        let events = Slot::clone(&self.0);
        promise(env, None, move |_| async move {
            let piece = match events.lock().await.as_mut() {
                Some(events) => events.next().await,
                None => None,
            };
            let (text, kind) = piece.map_or_else(Default::default, |piece| (piece.text, piece.error));
            Ok(Piece { text, kind: kind.map(|kind| kind.as_str().to_owned()) })
        })
    }

    /// Stops the work.
    #[napi]
    pub fn close(&self) {
        drop_stream(&self.0);
    }
}

/// The list of models, or the one with `name`, as JSON.
#[napi]
pub fn openai_models(names: Vec<String>, created: f64, name: Option<String>) -> Outcome<String> {
    guarded(|| match &name {
        Some(name) => json_text(&Model::new(name, moment(created))),
        None => json_text(&ModelList::new(names.iter().map(String::as_str), moment(created))),
    })
}

/// Checks a body that JavaScript reads: content type, form, depth, parts.
#[napi]
pub fn check_body(body: &[u8], content_type: Option<String>) -> Outcome<bool> {
    guarded(|| ayni::wire::openai::check_body(body, content_type.as_deref()).map(|()| true))
}

/// The JSON of a failure.
#[napi]
pub fn failure_body(fields: String) -> Outcome<String> {
    guarded(|| json_text(&request::<Failure>(&fields)?.body()))
}

/// The HTTP status of every kind of error, as JSON.
#[napi]
pub fn statuses() -> Outcome<String> {
    guarded(|| {
        let of = |kind: &ErrorKind| (kind.as_str(), error::status_of_kind(*kind));
        json_text(&ErrorKind::ALL.iter().map(of).collect::<BTreeMap<_, _>>())
    })
}
