//! What cases open that is no trait: chat modes and the health of services.

use serde_json::Value;

use super::call::OtherCalls;
use super::case::Call;
use super::results;
use crate::backends::engine::{ClipService, ImageEngine};
use crate::chat::ChatRequest;
use crate::config::{ChatModes, EmbedderConfig, Environment, ImageConfig};
use crate::context::{BoxFuture, Context};
use crate::error::{Error, Result};

impl OtherCalls for ChatModes {
    fn call<'a>(&'a self, cx: &'a Context, call: &'a Call) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            if call.operation == "modes" {
                return as_json(&self.describe());
            }
            let request: ChatRequest = serde_json::from_value(call.request.clone())
                .map_err(|error| Error::config(format!("the request of the case: {error}")))?;
            let chat = self.open(call.mode.as_deref())?;
            let response = match call.operation.as_str() {
                "chat" => chat.chat(cx, request).await?,
                "stream" => chat.stream(cx, request).await?.collect_response(chat.info()).await?,
                other => return Err(Error::config(format!("chat modes have no operation '{other}'"))),
            };
            Ok(results::chat(&response))
        })
    }
}

/// A service that can be asked how it is.
#[derive(Debug)]
pub(super) enum Health {
    Clip(ClipService),
    Engine(ImageEngine),
}

impl Health {
    pub(super) fn open(config: &Value) -> Result<Self> {
        let env = Environment::empty();
        match config.get("backend").and_then(Value::as_str) {
            Some("clip_service") => match super::open::setup::<EmbedderConfig>(config)?.backend {
                EmbedderConfig::ClipService(clip) => Ok(Self::Clip(clip.open(&env)?)),
                _ => Err(unknown()),
            },
            Some("image_engine") => match super::open::setup::<ImageConfig>(config)?.backend {
                ImageConfig::ImageEngine(engine) => Ok(Self::Engine(engine.open(&env)?)),
                _ => Err(unknown()),
            },
            _ => Err(unknown()),
        }
    }
}

fn unknown() -> Error {
    Error::unsupported("`health` is offered by clip_service and image_engine")
}

impl OtherCalls for Health {
    fn call<'a>(&'a self, cx: &'a Context, _: &'a Call) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            match self {
                Self::Clip(clip) => as_json(&clip.health(cx).await?),
                Self::Engine(engine) => as_json(&engine.status(cx).await),
            }
        })
    }
}

fn as_json(value: &impl serde::Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|error| Error::response_invalid(error.to_string()))
}
