//! A backend that cannot be opened in this build, in a setup that names others to ask: an image engine that
//! prefers the local model and falls back to the cloud has to open where there is no local model.

use serde::Serialize;
use serde_json::Value;

use crate::chat::{AnyChat, ChatBackend, ChatRequest, ChatResponse, ChatStream};
use crate::context::Context;
use crate::embed::AnyEmbedder;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{AnyImageGenerator, GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::BackendInfo;
#[cfg(feature = "procurement")]
use crate::procure::AnyProcurement;

/// Handles that can hold the place of a backend that is not there.
pub(super) trait HoldsPlace: Sized {
    /// A handle that fails every call as opening failed, if the capability has one.
    fn holding_place(absent: Absent) -> Option<Self>;
}

/// Answers every call with the reason why there is no backend.
#[derive(Debug)]
pub(super) struct Absent {
    info: BackendInfo,
    kind: ErrorKind,
    message: String,
}

/// The primary backend of a setup. One that could not be opened for a reason that calls may fall back from
/// leaves its place to the others, and is named as failed in the answers' routes.
pub(super) fn primary<H: HoldsPlace>(
    opened: Result<H>,
    config: &impl Serialize,
    has_fallback: bool,
) -> Result<H> {
    match opened {
        Err(error) if has_fallback && error.kind().falls_back() => {
            let fields = serde_json::to_value(config).unwrap_or_default();
            let field = |name: &str| fields.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
            let info = BackendInfo::new(field("backend"), field("model"));
            let absent = Absent { info, kind: error.kind(), message: error.message().to_owned() };
            H::holding_place(absent).ok_or(error)
        }
        opened => opened,
    }
}

impl Absent {
    fn error(&self) -> Error {
        Error::new(self.kind, self.message.clone())
    }
}

impl ChatBackend for Absent {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn chat(&self, _: &Context, _: ChatRequest) -> Result<ChatResponse> {
        Err(self.error())
    }

    async fn stream(&self, _: &Context, _: ChatRequest) -> Result<ChatStream> {
        Err(self.error())
    }

    async fn ready(&self, _: &Context) -> Result<()> {
        Err(self.error())
    }
}

impl ImageGenerator for Absent {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    async fn generate(&self, _: &Context, _: GenerateRequest) -> Result<ImageResponse> {
        Err(self.error())
    }

    async fn refine(&self, _: &Context, _: RefineRequest) -> Result<ImageResponse> {
        Err(self.error())
    }

    async fn ready(&self, _: &Context) -> Result<()> {
        Err(self.error())
    }
}

impl HoldsPlace for AnyChat {
    fn holding_place(absent: Absent) -> Option<Self> {
        Some(Self::new(absent))
    }
}

impl HoldsPlace for AnyImageGenerator {
    fn holding_place(absent: Absent) -> Option<Self> {
        Some(Self::new(absent))
    }
}

/// Whether an absent embedder's vectors could be compared with the others' is not known.
impl HoldsPlace for AnyEmbedder {
    fn holding_place(_: Absent) -> Option<Self> {
        None
    }
}

#[cfg(feature = "procurement")]
impl HoldsPlace for AnyProcurement {
    fn holding_place(_: Absent) -> Option<Self> {
        None
    }
}
