//! Opens what a case names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::call::OtherCalls;
use super::case::Capability;
use crate::chat::AnyChat;
use crate::config::{
    Environment, Setup, open_chat_with, open_embedder_with, open_image_generator_with, open_procurement_with,
};
use crate::embed::AnyEmbedder;
use crate::error::{Error, Result};
use crate::image::AnyImageGenerator;
use crate::procure::AnyProcurement;

/// What a case opens a backend from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum OpenFrom {
    /// The flat JSON form of a setup.
    Config(Value),
    /// An environment that holds exactly these variables.
    Environment(BTreeMap<String, String>),
}

/// What an opener gives.
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
    /// For `modes`, `models`, `health`, and whatever is no trait.
    Other(Arc<dyn OtherCalls>),
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Embedder(_) => "an embedder",
            Self::Chat(_) => "a chat backend",
            Self::Images(_) => "an image generator",
            Self::Procurement(_) => "a procurement client",
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
    let OpenFrom::Config(config) = from else {
        return Err(Error::unsupported("the suite does not open from the environment yet"));
    };
    // What a case leaves open must not come from the environment of whoever runs it.
    let env = Environment::empty();
    match capability {
        Capability::Embed => Ok(Opened::Embedder(open_embedder_with(setup(config)?, &env)?)),
        Capability::Chat => Ok(Opened::Chat(open_chat_with(setup(config)?, &env)?)),
        Capability::Image => Ok(Opened::Images(open_image_generator_with(setup(config)?, &env)?)),
        Capability::Procure => Ok(Opened::Procurement(open_procurement_with(setup(config)?, &env)?)),
        other => Err(Error::unsupported(format!("the suite does not open {} yet", other.as_str()))),
    }
}

fn setup<C: DeserializeOwned>(config: &Value) -> Result<Setup<C>> {
    Setup::deserialize(config).map_err(|error| Error::config(error.to_string()))
}
