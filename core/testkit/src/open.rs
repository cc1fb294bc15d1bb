//! Opens the backend of a case.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::call::OtherCalls;
use crate::case::{Call, Capability};
use crate::services::Health;
use ayni::AnyChat;
use ayni::AnyEmbedder;
use ayni::AnyImageGenerator;
use ayni::Environment;
use ayni::backends::openai::OpenAi;
use ayni::config::{
    ChatConfig, ChatModes, EmbedderConfig, ImageConfig, ProcurementConfig, Setup, open_chat_with,
    open_embedder_with, open_image_generator_with, open_procurement_with,
};
use ayni::context::{BoxFuture, Context};
use ayni::procure::AnyProcurement;
use ayni::{Error, Result};

/// What a backend is opened from.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct OpenFrom {
    /// The configuration. Without it, the variables say everything.
    pub config: Option<Value>,
    /// All environment variables of the case.
    pub variables: BTreeMap<String, String>,
}

impl OpenFrom {
    /// The variables as backends read them.
    pub fn environment(&self) -> Environment {
        Environment::from_pairs(self.variables.clone())
    }
}

/// An opened backend.
#[derive(Clone)]
#[non_exhaustive]
pub enum Opened {
    /// For `embed`.
    Embedder(AnyEmbedder),
    /// For `chat`.
    Chat(AnyChat),
    /// For `image`.
    Images(AnyImageGenerator),
    /// For `procure`.
    Procurement(AnyProcurement),
    /// For `modes`: gives the chat backend of the mode named, or of the default one.
    Modes(Arc<PickMode>),
    /// For `models`, `health`, and other operations outside the traits.
    Other(Arc<dyn OtherCalls>),
}

/// Gives the chat backend of the mode named, or of the default one.
pub type PickMode = dyn Fn(Option<&str>) -> Result<AnyChat> + Send + Sync;

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedder(_) => "an embedder",
            Self::Chat(_) => "a chat backend",
            Self::Images(_) => "an image generator",
            Self::Procurement(_) => "a procurement client",
            Self::Modes(_) => "chat modes",
            Self::Other(_) => "something else",
        })
    }
}

/// Opens a backend for a case.
pub type Open = dyn Fn(Capability, &OpenFrom) -> Result<Opened> + Send + Sync;

/// The opener of ayni's own backends.
///
/// # Errors
/// Those of opening.
pub fn open(capability: Capability, from: &OpenFrom) -> Result<Opened> {
    // Only the case's variables, never those of the process.
    let env = &from.environment();
    match (capability, &from.config) {
        (Capability::Embed, config) => {
            let setup = config.as_ref().map_or_else(|| Setup::<EmbedderConfig>::from_env_with(env), setup)?;
            open_embedder_with(setup, env).map(Opened::Embedder)
        }
        (Capability::Chat, config) => {
            let setup = config.as_ref().map_or_else(|| Setup::<ChatConfig>::from_env_with(env), setup)?;
            open_chat_with(setup, env).map(Opened::Chat)
        }
        (Capability::Image, config) => {
            let setup = config.as_ref().map_or_else(|| Setup::<ImageConfig>::from_env_with(env), setup)?;
            open_image_generator_with(setup, env).map(Opened::Images)
        }
        (Capability::Procure, config) => {
            let setup =
                config.as_ref().map_or_else(|| Setup::<ProcurementConfig>::from_env_with(env), setup)?;
            open_procurement_with(setup, env).map(Opened::Procurement)
        }
        (Capability::Modes, None) => {
            let modes = ChatModes::from_env_with(env)?;
            Ok(Opened::Modes(Arc::new(move |mode| modes.open(mode))))
        }
        (Capability::Health, Some(config)) => Ok(Opened::Other(Arc::new(Health::open(config, env)?))),
        (Capability::Models, Some(config)) => match setup::<ChatConfig>(config)?.backend {
            ChatConfig::OpenAi(config) => Ok(Opened::Other(Arc::new(ModelList(config.open(env)?)))),
            _ => Err(Error::unsupported("only the backend 'openai' lists models")),
        },
        (capability, _) => Err(Error::unsupported(format!(
            "the testkit cannot open {} from {}",
            capability.as_str(),
            if from.config.is_some() { "a configuration" } else { "the environment" }
        ))),
    }
}

pub(crate) fn setup<C: DeserializeOwned>(config: &Value) -> Result<Setup<C>> {
    Setup::deserialize(config).map_err(|error| Error::config(error.to_string()))
}

/// `models`: `{"count", "models"}`.
struct ModelList(OpenAi);

impl OtherCalls for ModelList {
    fn call<'a>(&'a self, cx: &'a Context, _: &'a Call) -> BoxFuture<'a, Result<Value>> {
        Box::pin(async move {
            let models = self.0.models(cx).await?;
            Ok(json!({ "count": models.len(), "models": models }))
        })
    }
}
