//! The models and the health of hosted services, and the counters of this process.

use ayni::local::Hardware;
use ayni::{ChatConfig, EmbedderConfig, Error, ImageConfig, Setup};
use napi::Env;

use napi_derive::napi;
use serde_json::Value;

use crate::call::{Call, Promised, blocking, promise};
use crate::convert::{config, environment, json_text};
use crate::failure::{Outcome, guarded};

/// The models that the vendor of a configuration offers, as JSON.
#[napi]
pub fn models<'env>(
    env: &'env Env,
    fields: String,
    variables: Option<String>,
    call: Option<&Call>,
) -> napi::Result<Promised<'env, String>> {
    promise(env, call, move |cx| async move {
        let ChatConfig::OpenAi(vendor) = config::<Setup<ChatConfig>>(&fields, &["openai"])?.backend else {
            return Err(Error::unsupported("only the backend 'openai' lists models"));
        };
        json_text(&vendor.open(&environment(variables.as_deref())?)?.models(&cx).await?)
    })
}

/// What the service of a configuration reports about itself, as JSON.
#[napi]
pub fn health<'env>(
    env: &'env Env,
    fields: String,
    variables: Option<String>,
    call: Option<&Call>,
) -> napi::Result<Promised<'env, String>> {
    const OFFERED: [&str; 2] = ["clip_service", "image_engine"];
    promise(env, call, move |cx| async move {
        let not_offered = || Error::unsupported("`health` is offered by clip_service and image_engine");
        let env = environment(variables.as_deref())?;
        let named = serde_json::from_str::<Value>(&fields).unwrap_or_default();
        if named["backend"] == "image_engine" {
            let backend = config::<Setup<ImageConfig>>(&fields, &OFFERED)?.backend;
            let ImageConfig::ImageEngine(engine) = backend else { return Err(not_offered()) };
            return json_text(&engine.open(&env)?.status(&cx).await);
        }
        let backend = config::<Setup<EmbedderConfig>>(&fields, &OFFERED)?.backend;
        let EmbedderConfig::ClipService(clip) = backend else { return Err(not_offered()) };
        json_text(&clip.open(&env)?.health(&cx).await?)
    })
}

/// What models in this process compute with, as JSON.
#[napi]
pub fn hardware(env: &Env, variables: Option<String>) -> napi::Result<Promised<'_, String>> {
    blocking(env, move || json_text(&Hardware::detect(&environment(variables.as_deref())?)?))
}

/// The architectures of embedding models that run in this process, the well-known models, and the sample models, as JSON.
#[napi]
pub fn known_models() -> Outcome<String> {
    guarded(|| {
        json_text(&(
            ayni::local::embedding_architectures(),
            ayni::embed::known_models(),
            ayni::local::sample_models(),
        ))
    })
}

/// Takes the sample models from a folder of the package.
#[napi]
pub fn use_samples_in(folder: String) {
    ayni::local::use_samples_in(folder);
}

/// The counters of all calls of this process, as Prometheus reads them.
#[napi]
pub fn prometheus_text() -> String {
    ayni::policy::Metrics::global().prometheus_text()
}
