//! Chat, whole and streamed, and the chat modes of an environment.

use std::sync::Arc;

use ayni::config::{ChatModes, open_chat_with};
use ayni::{AnyChat, ChatConfig, ChatEvent, ChatRequest, ChatStream, Error, Result, Setup};
use futures_util::{FutureExt, StreamExt};
use napi::Env;

use napi_derive::napi;
use serde::Serialize;

use crate::call::{Call, Promised, blocking, promise};
use crate::convert::{environment, json_text, open_handle, request};
use crate::failure::{Outcome, guarded};

/// The most events that `EventStream.next` gives at once.
const MAX_EVENTS: usize = 64;

/// A stream until its end.
pub(crate) type Slot<T> = Arc<tokio::sync::Mutex<Option<T>>>;

/// Drops a stream, which stops its work. A running step holds the lock until it is done or stopped.
pub(crate) fn drop_stream<T: Send + 'static>(slot: &Slot<T>) {
    let slot = Arc::clone(slot);
    napi::bindgen_prelude::spawn(async move { drop(slot.lock().await.take()) });
}

/// A handle on a chat backend.
#[napi]
pub struct Chat(pub(crate) AnyChat);

#[napi]
impl Chat {
    /// Opens a backend; without a configuration the one that the environment names.
    #[napi]
    pub fn open(
        env: &Env,
        fields: Option<String>,
        variables: Option<String>,
    ) -> napi::Result<Promised<'_, Self>> {
        let from_env = Setup::<ChatConfig>::from_env_with;
        blocking(env, move || {
            let (fields, variables) = (fields.as_deref(), variables.as_deref());
            open_handle(fields, variables, ChatConfig::BACKENDS, from_env, open_chat_with).map(Self)
        })
    }

    /// Who the backend is, as JSON.
    #[napi]
    pub fn info(&self) -> Outcome<String> {
        guarded(|| json_text(self.0.info()))
    }

    /// Waits until a local model is loaded.
    #[napi]
    pub fn ready<'env>(&self, env: &'env Env, call: Option<&Call>) -> napi::Result<Promised<'env, ()>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move { handle.ready(&cx).await })
    }

    /// The most tokens of a conversation and its answer.
    #[napi]
    pub fn window(&self) -> Outcome<Option<u32>> {
        guarded(|| Ok(self.0.window().and_then(|window| u32::try_from(window).ok())))
    }

    /// How many tokens a conversation has.
    #[napi]
    pub fn count_tokens(&self, fields: String) -> Outcome<u32> {
        guarded(|| {
            let count = self.0.count_tokens(&request::<ChatRequest>(&fields)?)?;
            Ok(u32::try_from(count).unwrap_or(u32::MAX))
        })
    }

    /// Answers in one piece: a `ChatResponse` as JSON.
    #[napi]
    pub fn chat<'env>(
        &self,
        env: &'env Env,
        fields: String,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, String>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move {
            json_text(&handle.chat(&cx, request::<ChatRequest>(&fields)?).await?)
        })
    }

    /// Answers in a stream.
    #[napi]
    pub fn stream<'env>(
        &self,
        env: &'env Env,
        fields: String,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, EventStream>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move {
            let stream = handle.stream(&cx, request::<ChatRequest>(&fields)?).await?;
            Ok(EventStream(Slot::new(Some(stream).into())))
        })
    }
}

/// The events of a streamed answer. Dropping it stops the work.
#[napi]
pub struct EventStream(Slot<ChatStream>);

#[napi]
impl EventStream {
    /// The events that have arrived, as a JSON list: at least one unless the stream has ended. If an error follows them, the
    /// next step has it.
    #[napi]
    pub fn next<'env>(&self, env: &'env Env) -> napi::Result<Promised<'env, String>> {
        let stream = Arc::clone(&self.0);
        promise(env, None, move |_| async move {
            let (events, failure) = next_events(&mut *stream.lock().await).await;
            match failure {
                Some(error) if events.is_empty() => Err(error),
                failure => json_text(&Batch { events, failure }),
            }
        })
    }

    /// Stops the work.
    #[napi]
    pub fn close(&self) {
        drop_stream(&self.0);
    }
}

/// Events, and the error that follows them.
#[derive(Serialize)]
struct Batch {
    events: Vec<ChatEvent>,
    failure: Option<Error>,
}

async fn next_events(slot: &mut Option<ChatStream>) -> (Vec<ChatEvent>, Option<Error>) {
    let Some(stream) = slot else { return (Vec::new(), None) };
    let mut events = Vec::new();
    let mut next = stream.next().await;
    loop {
        match next {
            Some(Ok(event)) => events.push(event),
            end => {
                *slot = None;
                return (events, end.and_then(Result::err));
            }
        }
        if events.len() >= MAX_EVENTS {
            return (events, None);
        }
        match stream.next().now_or_never() {
            Some(more) => next = more,
            None => return (events, None),
        }
    }
}

/// The chat modes of an environment.
#[napi]
pub struct Modes(Arc<ChatModes>);

#[napi]
impl Modes {
    /// Reads the modes of an environment.
    #[napi]
    pub fn open(env: &Env, variables: Option<String>) -> napi::Result<Promised<'_, Self>> {
        blocking(env, move || {
            ChatModes::from_env_with(&environment(variables.as_deref())?).map(Arc::new).map(Self)
        })
    }

    /// The mode of requests that name none.
    #[napi]
    pub fn default_mode(&self) -> Option<&'static str> {
        self.0.default_mode()
    }

    /// How every mode is set up, as JSON.
    #[napi]
    pub fn describe(&self) -> Outcome<String> {
        guarded(|| json_text(&self.0.describe()))
    }

    /// The backend of a mode.
    #[napi]
    pub fn chat<'env>(&self, env: &'env Env, mode: Option<String>) -> napi::Result<Promised<'env, Chat>> {
        let modes = Arc::clone(&self.0);
        blocking(env, move || modes.open(mode.as_deref()).map(Chat))
    }

    /// Prepares what a service needs at its start.
    #[napi]
    pub fn warm_up<'env>(&self, env: &'env Env, call: Option<&Call>) -> napi::Result<Promised<'env, ()>> {
        let modes = Arc::clone(&self.0);
        promise(env, call, move |cx| async move { modes.warm_up(&cx).await })
    }
}
