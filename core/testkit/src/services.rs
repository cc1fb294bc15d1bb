//! The health of services, which belongs to no trait.

use serde_json::Value;

use crate::call::OtherCalls;
use crate::case::Call;
use ayni::Environment;
use ayni::backends::clip_service::ClipService;
use ayni::backends::image_engine::ImageEngine;
use ayni::config::{EmbedderConfig, ImageConfig};
use ayni::context::{BoxFuture, Context};
use ayni::{Error, Result};

/// A service with a health address.
#[derive(Debug)]
pub(crate) enum Health {
    Clip(ClipService),
    Engine(ImageEngine),
}

impl Health {
    pub(crate) fn open(config: &Value, env: &Environment) -> Result<Self> {
        match config.get("backend").and_then(Value::as_str) {
            Some("clip_service") => match crate::open::setup::<EmbedderConfig>(config)?.backend {
                EmbedderConfig::ClipService(clip) => Ok(Self::Clip(clip.open(env)?)),
                _ => Err(unknown()),
            },
            Some("image_engine") => match crate::open::setup::<ImageConfig>(config)?.backend {
                ImageConfig::ImageEngine(engine) => Ok(Self::Engine(engine.open(env)?)),
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
