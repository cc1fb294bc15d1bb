//! OpenAI's routes: reads request bodies, makes the calls and gives response bodies.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ayni::wire::openai::chat::{Completion, CompletionEvents, CompletionHead, CompletionRequest};
use ayni::wire::openai::check_content_type;
use ayni::wire::openai::embeddings::{EmbeddingList, EmbeddingsRequest};
use ayni::wire::openai::error::{self, ErrorBody};
use ayni::wire::openai::images::{ImageList, ImagesRequest};
use ayni::wire::openai::models::{Model, ModelList};
use ayni::{Error, ErrorKind, Persistence, Result};
use napi::Env;
use napi::bindgen_prelude::ToNapiValue;
use napi_derive::napi;
use serde::Deserialize;

use crate::call::{Call, Promised, blocking, promise};
use crate::chat::{Chat, Slot, drop_stream};
use crate::convert::{json_text, request};
use crate::embedder::Embedder;
use crate::failure::{Outcome, guarded};
use crate::image::ImageGenerator;

/// Reads a body off the event loop.
fn reading<'env, T: ToNapiValue + Send + 'static>(
    env: &'env Env,
    body: &[u8],
    content_type: Option<String>,
    read: impl FnOnce(&[u8]) -> Result<T> + Send + 'static,
) -> napi::Result<Promised<'env, T>> {
    let body = body.to_vec();
    blocking(env, move || check_content_type(content_type.as_deref()).and_then(|()| read(&body)))
}

/// Seconds since 1970, which JavaScript has as a number.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast that saturates")]
fn moment(seconds: f64) -> u64 {
    seconds as u64
}

/// A request for a chat completion.
#[napi]
pub struct OpenAiChat(Arc<CompletionRequest>);

#[napi]
impl OpenAiChat {
    /// Reads a body.
    #[napi]
    pub fn read<'env>(
        env: &'env Env,
        body: &[u8],
        content_type: Option<String>,
    ) -> napi::Result<Promised<'env, Self>> {
        reading(env, body, content_type, |body| CompletionRequest::read(body).map(Arc::new).map(Self))
    }

    /// The model that is asked for.
    #[napi]
    pub fn model(&self) -> String {
        self.0.model.clone()
    }

    /// Whether events are asked for.
    #[napi]
    pub fn streams(&self) -> bool {
        self.0.stream
    }

    /// Gives the body of the response.
    #[napi]
    pub fn answer<'env>(
        &self,
        env: &'env Env,
        chat: &Chat,
        id: String,
        created: f64,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, String>> {
        let (handle, asked) = (chat.0.clone(), Arc::clone(&self.0));
        promise(env, call, move |cx| async move {
            let head = CompletionHead::new(&id, moment(created), &asked.model);
            json_text(&Completion::new(&handle.chat(&cx, asked.request.clone()).await?, &head))
        })
    }

    /// Gives the events after the first one: a failure before it can still set the status.
    #[napi]
    pub fn events<'env>(
        &self,
        env: &'env Env,
        chat: &Chat,
        id: String,
        created: f64,
        request_id: Option<String>,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, OpenAiEvents>> {
        let (handle, asked) = (chat.0.clone(), Arc::clone(&self.0));
        promise(env, call, move |cx| async move {
            let head = CompletionHead::new(&id, moment(created), &asked.model);
            let stream = handle.stream(&cx, asked.request.clone()).await?;
            let events = CompletionEvents::open(stream, head, asked.include_usage, request_id).await?;
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
pub struct OpenAiEvents(Slot<CompletionEvents>);

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

/// A request for embeddings.
#[napi]
pub struct OpenAiEmbeddings(Arc<EmbeddingsRequest>);

#[napi]
impl OpenAiEmbeddings {
    /// Reads a body.
    #[napi]
    pub fn read<'env>(
        env: &'env Env,
        body: &[u8],
        content_type: Option<String>,
    ) -> napi::Result<Promised<'env, Self>> {
        reading(env, body, content_type, |body| EmbeddingsRequest::read(body).map(Arc::new).map(Self))
    }

    /// The model that is asked for.
    #[napi]
    pub fn model(&self) -> String {
        self.0.model.clone()
    }

    /// Gives the body of the response.
    #[napi]
    pub fn answer<'env>(
        &self,
        env: &'env Env,
        embedder: &Embedder,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, String>> {
        let (handle, asked) = (embedder.0.clone(), Arc::clone(&self.0));
        promise(env, call, move |cx| async move {
            let response = handle.embed(&cx, asked.request.clone()).await?;
            json_text(&EmbeddingList::new(&response, &asked.model, asked.encoding_format))
        })
    }
}

/// A request for images.
#[napi]
pub struct OpenAiImages(Arc<ImagesRequest>);

#[napi]
impl OpenAiImages {
    /// Reads a body.
    #[napi]
    pub fn read<'env>(
        env: &'env Env,
        body: &[u8],
        content_type: Option<String>,
    ) -> napi::Result<Promised<'env, Self>> {
        reading(env, body, content_type, |body| ImagesRequest::read(body).map(Arc::new).map(Self))
    }

    /// The model that is asked for.
    #[napi]
    pub fn model(&self) -> Option<String> {
        self.0.model.clone()
    }

    /// Gives the body of the response.
    #[napi]
    pub fn answer<'env>(
        &self,
        env: &'env Env,
        images: &ImageGenerator,
        created: f64,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, String>> {
        let (handle, asked) = (images.0.clone(), Arc::clone(&self.0));
        promise(env, call, move |cx| async move {
            json_text(&ImageList::new(&handle.generate(&cx, asked.request.clone()).await?, moment(created)))
        })
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

#[derive(Deserialize)]
struct Failure {
    status: u16,
    kind: ErrorKind,
    message: String,
    retryable: bool,
    retry_after_ms: Option<f64>,
    backend: Option<String>,
    param: Option<String>,
    request_id: Option<String>,
}

/// The JSON of a failure.
#[napi]
pub fn failure_body(fields: String) -> Outcome<String> {
    guarded(|| {
        let failure: Failure = request(&fields)?;
        let persistence = if failure.retryable { Persistence::Temporary } else { Persistence::Permanent };
        let mut error = Error::new(failure.kind, failure.message).with_persistence(persistence);
        let wait = failure.retry_after_ms.map(|wait| Duration::try_from_secs_f64(wait / 1000.0));
        if let Some(Ok(wait)) = wait {
            error = error.with_retry_after(wait);
        }
        if let Some(backend) = failure.backend {
            error = error.with_backend(backend);
        }
        if let Some(param) = failure.param {
            error = error.with_context("param", param);
        }
        json_text(&ErrorBody::with_status(&error, failure.request_id.as_deref(), failure.status))
    })
}

/// The HTTP status of every kind of error, as JSON.
#[napi]
pub fn statuses() -> Outcome<String> {
    guarded(|| {
        let of = |kind: &ErrorKind| (kind.as_str(), error::status_of_kind(*kind));
        json_text(&ErrorKind::ALL.iter().map(of).collect::<BTreeMap<_, _>>())
    })
}
