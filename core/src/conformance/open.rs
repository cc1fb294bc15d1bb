//! Opens what a case names.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::call::OtherCalls;
use super::case::Capability;
use crate::backends::scripted::Scripted;
use crate::chat::AnyChat;
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
    let mut fields = config.as_object().cloned().unwrap_or_default();
    match fields.shift_remove("backend").as_ref().and_then(Value::as_str) {
        Some("scripted") => open_scripted(capability, Value::Object(fields)),
        other => Err(Error::config(format!(
            "the suite does not open the backend '{}' yet; valid: scripted",
            other.unwrap_or_default()
        ))),
    }
}

fn open_scripted(capability: Capability, config: Value) -> Result<Opened> {
    let config = serde_json::from_value(config).map_err(|error| Error::config(error.to_string()))?;
    let scripted = Scripted::new(config)?;
    match capability {
        Capability::Embed => Ok(Opened::Embedder(AnyEmbedder::new(scripted))),
        Capability::Chat => Ok(Opened::Chat(AnyChat::new(scripted))),
        Capability::Image => Ok(Opened::Images(AnyImageGenerator::new(scripted))),
        Capability::Procure => Ok(Opened::Procurement(AnyProcurement::new(scripted))),
        other => Err(Error::unsupported(format!("scripted has no {}", other.as_str()))),
    }
}
