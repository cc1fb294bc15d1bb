//! Configuration: one tagged enum a capability, one struct a backend, and the functions that open handles.
//!
//! The struct is at once the Rust builder, the JSON form and the reference page. The JSON form is flat: the
//! backend's own fields, and beside them `policy`, `fallback` and `http`.
//!
//! ```
//! use ayni::{ChatConfig, Environment, Setup};
//!
//! let setup: Setup<ChatConfig> = serde_json::from_str(r#"{
//!     "backend": "openai", "vendor": "groq", "model": "llama-3.3-70b-versatile", "api_key": "gsk_…",
//!     "policy": { "retry": { "max_retries": 1 } },
//!     "fallback": [ { "backend": "scripted" } ]
//! }"#)?;
//! let chat = ayni::open_chat(setup)?;
//! assert_eq!(&*chat.info().backend, "groq");
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::sync::Arc;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::backends::anthropic::AnthropicConfig;
use crate::backends::clip_service::ClipServiceConfig;
use crate::backends::gemini::GeminiConfig;
use crate::backends::huggingface::HuggingFaceConfig;
use crate::backends::image_engine::ImageEngineConfig;
#[cfg(feature = "procurement")]
use crate::backends::mercado_publico::MercadoPublicoConfig;
use crate::backends::ollama::OllamaConfig;
use crate::backends::openai::OpenAiConfig;
use crate::backends::scripted::ScriptedConfig;
use crate::backends::tei::TeiConfig;
use crate::chat::AnyChat;
use crate::context::Context;
use crate::embed::AnyEmbedder;
use crate::env::Environment;
use crate::error::Result;
use crate::http::{HttpOptions, Transport};
use crate::image::AnyImageGenerator;
use crate::local::{LocalChatConfig, LocalEmbedderConfig, LocalImageConfig};
use crate::policy::Policy;
#[cfg(feature = "procurement")]
use crate::procure::AnyProcurement;

mod absent;
mod from_env;
mod modes;
#[cfg(feature = "procurement")]
mod operations;
mod read;
#[cfg(not(feature = "procurement"))]
mod without_procurement;

pub use modes::{ChatModes, ModeInfo};
#[cfg(feature = "procurement")]
pub use operations::{ProcurementInfo, ProcurementOperations};
pub use read::{read_config, read_request};
#[cfg(not(feature = "procurement"))]
pub use without_procurement::{
    AnyProcurement, MercadoPublicoConfig, open_procurement, open_procurement_with,
};

macro_rules! configs {
    ($($(#[doc = $doc:literal])+ $name:ident opens $handle:ident $(with $feature:literal)? {
        $($(#[doc = $variant_doc:literal])+ $variant:ident($config:ty) = $tag:literal $(as $whole:ident)?,)+
    })+) => {
        $($(#[doc = $doc])+
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
        #[serde(tag = "backend")]
        #[non_exhaustive]
        pub enum $name {
            $($(#[doc = $variant_doc])+ #[serde(rename = $tag)] $variant($config),)+
        }

        impl $name {
            /// The values that `backend` takes.
            pub const BACKENDS: &'static [&'static str] = &[$($tag,)+];
        }

        $(#[cfg(feature = $feature)])?
        impl $name {
            /// The backend itself, without policy. Variables that the configuration leaves open are read
            /// from `env`.
            ///
            /// # Errors
            /// `config_invalid` naming the field or variable to mend; `unsupported` where the backend is not
            /// compiled in.
            pub fn open(&self, env: &Environment) -> Result<$handle> {
                self.open_over(env, None)
            }

            /// The same, with a transport for what opening downloads.
            #[allow(unused_variables)] // Not every capability has a backend that downloads.
            fn open_over(
                &self,
                env: &Environment,
                transport: Option<&Arc<dyn Transport>>,
            ) -> Result<$handle> {
                match self {
                    $(Self::$variant(config) => configs!(@open config env transport $handle $($whole)?),)+
                }
            }
        }

        $(impl From<$config> for $name {
            fn from(config: $config) -> Self {
                Self::$variant(config)
            }
        }

        impl From<$config> for Setup<$name> {
            fn from(config: $config) -> Self {
                Self::new(config)
            }
        })+)+
    };
    // A backend's own type becomes a handle; some open as a handle already, and may download.
    (@open $config:ident $env:ident $transport:ident $handle:ident) => { $config.open($env).map($handle::new) };
    (@open $config:ident $env:ident $transport:ident $handle:ident handle) => { $config.open($env) };
    (@open $config:ident $env:ident $transport:ident $handle:ident download) => {
        $config.open_over($env, $transport)
    };
}

configs! {
    /// Which backend embeds.
    EmbedderConfig opens AnyEmbedder {
        /// Deterministic vectors for tests and documentation.
        Scripted(ScriptedConfig) = "scripted",
        /// Any OpenAI-compatible API.
        OpenAi(OpenAiConfig) = "openai",
        /// Google's native API.
        Gemini(GeminiConfig) = "gemini",
        /// Hugging Face: hf-inference and the providers behind the router.
        HuggingFace(HuggingFaceConfig) = "huggingface",
        /// text-embeddings-inference.
        Tei(TeiConfig) = "tei",
        /// Ollama's native API.
        Ollama(OllamaConfig) = "ollama",
        /// A CLIP embedding service (`/embed/text`, `/embed/image`).
        ClipService(ClipServiceConfig) = "clip_service",
        /// In this process.
        Local(LocalEmbedderConfig) = "local" as download,
    }

    /// Which backend chats.
    ChatConfig opens AnyChat {
        /// Deterministic answers for tests and documentation.
        Scripted(ScriptedConfig) = "scripted",
        /// Any OpenAI-compatible API.
        OpenAi(OpenAiConfig) = "openai",
        /// Anthropic's Messages API.
        Anthropic(AnthropicConfig) = "anthropic",
        /// Google's native API.
        Gemini(GeminiConfig) = "gemini",
        /// Hugging Face's hf-inference text generation.
        HuggingFace(HuggingFaceConfig) = "huggingface",
        /// Ollama's native API.
        Ollama(OllamaConfig) = "ollama",
        /// In this process.
        Local(LocalChatConfig) = "local" as download,
    }

    /// Which backend makes images.
    ImageConfig opens AnyImageGenerator {
        /// Deterministic images for tests and documentation.
        Scripted(ScriptedConfig) = "scripted",
        /// Any OpenAI-compatible API.
        OpenAi(OpenAiConfig) = "openai",
        /// Hugging Face: hf-inference and the providers behind the router.
        HuggingFace(HuggingFaceConfig) = "huggingface",
        /// An image engine (`/generate`, `/refine`).
        ImageEngine(ImageEngineConfig) = "image_engine",
        /// In this process.
        Local(LocalImageConfig) = "local" as handle,
    }

    /// Which backend reads public procurement.
    ProcurementConfig opens AnyProcurement with "procurement" {
        /// Three invented records for tests and documentation.
        Scripted(ScriptedConfig) = "scripted",
        /// Chile's public procurement.
        MercadoPublico(MercadoPublicoConfig) = "mercado_publico",
    }
}

/// A backend, those that stand in for it, and the policy around them.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schema", schemars(extend("unevaluatedProperties" = false)))]
#[non_exhaustive]
pub struct Setup<C> {
    /// The backend that is asked first.
    #[serde(flatten)]
    pub backend: C,
    /// The backends that are asked when it cannot serve, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub fallback: Vec<C>,
    /// Retries, time-outs, limits, cache, observation.
    #[cfg_attr(feature = "schema", schemars(default))]
    pub policy: Policy,
    /// How the built-in transport connects: certificates, proxy, user agent. It is not used where the call's context, the
    /// setup or the policy has a transport.
    #[serde(skip_serializing_if = "HttpOptions::is_default")]
    #[cfg_attr(feature = "schema", schemars(default))]
    pub http: HttpOptions,
    #[serde(skip)]
    transport: Option<Arc<dyn Transport>>,
}

impl<C> Setup<C> {
    /// A backend under the default policy.
    pub fn new(backend: impl Into<C>) -> Self {
        Self {
            backend: backend.into(),
            fallback: Vec::new(),
            policy: Policy::default(),
            http: HttpOptions::default(),
            transport: None,
        }
    }

    /// Adds a backend to ask when those before it cannot serve.
    pub fn with_fallback(mut self, backend: impl Into<C>) -> Self {
        self.fallback.push(backend.into());
        self
    }

    /// Sets the policy.
    pub fn with_policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets how the built-in transport connects.
    pub fn with_http(mut self, options: HttpOptions) -> Self {
        self.http = options;
        self
    }

    /// Sends HTTP requests through a transport of the caller's own.
    pub fn with_transport(mut self, transport: Arc<dyn Transport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The policy with the setup's own transport, or the one that its `http` options make: for those who open the
    /// backends themselves.
    ///
    /// # Errors
    /// `config_invalid` naming the option that is wrong; `unsupported` without the feature `http`.
    pub fn connected_policy(&self) -> Result<Policy> {
        let policy = self.policy.clone();
        Ok(match &self.transport {
            Some(transport) => policy.with_transport(Arc::clone(transport)),
            None if policy.transport().is_some() || self.http.is_default() => policy,
            None => policy.with_transport(self.http.transport()?),
        })
    }
}

impl<'de, C: DeserializeOwned> Deserialize<'de> for Setup<C> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = Map::<String, Value>::deserialize(deserializer)?;
        let policy = fields.remove("policy").map_or_else(|| Ok(Policy::default()), Policy::deserialize);
        let fallback = fields.remove("fallback").map_or_else(|| Ok(Vec::new()), Vec::<C>::deserialize);
        let http = fields.remove("http").map_or_else(|| Ok(HttpOptions::default()), HttpOptions::deserialize);
        Ok(Self {
            policy: policy.map_err(|error| D::Error::custom(format!("policy: {error}")))?,
            fallback: fallback.map_err(|error| D::Error::custom(format!("fallback: {error}")))?,
            http: http.map_err(|error| D::Error::custom(format!("http: {error}")))?,
            transport: None,
            backend: C::deserialize(Value::Object(fields)).map_err(D::Error::custom)?,
        })
    }
}

macro_rules! openers {
    ($($(#[$attribute:meta])+ $open:ident, $open_with:ident: $config:ident to $handle:ident by $apply:ident;)+) => {
        $($(#[$attribute])+
        ///
        /// # Errors
        /// `config_invalid` naming the field or variable to mend; `unsupported` where the backend is not
        /// compiled in.
        pub fn $open(setup: impl Into<Setup<$config>>) -> Result<$handle> {
            $open_with(setup, &Environment::process())
        }

        $(#[$attribute])+
        /// Variables are read from `env` instead of the process's environment.
        ///
        /// # Errors
        /// As without `env`.
        pub fn $open_with(setup: impl Into<Setup<$config>>, env: &Environment) -> Result<$handle> {
            let setup = setup.into();
            let policy = setup.connected_policy()?;
            let open = |backend: &$config| backend.open_over(env, policy.transport());
            let has_fallback = !setup.fallback.is_empty();
            let primary = absent::primary(open(&setup.backend), &setup.backend, has_fallback)?;
            let fallback = setup.fallback.iter().map(open).collect::<Result<Vec<_>>>()?;
            policy.$apply(primary, fallback)
        })+
    };
}

openers! {
    /// Opens an embedder under its policy.
    open_embedder, open_embedder_with: EmbedderConfig to AnyEmbedder by embedder;
    /// Opens a chat backend under its policy.
    open_chat, open_chat_with: ChatConfig to AnyChat by chat;
    /// Opens an image generator under its policy.
    open_image_generator, open_image_generator_with: ImageConfig to AnyImageGenerator by image_generator;
    /// Opens a procurement client under its policy.
    #[cfg(feature = "procurement")]
    open_procurement, open_procurement_with: ProcurementConfig to AnyProcurement by procurement;
}

/// An embedding model in this process under the default policy, loaded: a folder, or `org/name[@revision]` on the Hub.
/// The context's sink hears how far loading is; its deadline and cancellation end it; its transport downloads.
///
/// [`open_embedder`] with a [`LocalEmbedderConfig`] returns at once and loads in the background instead.
///
/// # Errors
/// Those of opening and of loading.
pub async fn embedder(cx: &Context, model: impl Into<String>) -> Result<AnyEmbedder> {
    let config = EmbedderConfig::from(LocalEmbedderConfig::new(model));
    let embedder = config.open_over(&Environment::process(), cx.transport())?;
    embedder.ready(cx).await?;
    Policy::default().embedder(embedder, Vec::new())
}

/// A chat model in this process under the default policy, loaded: a GGUF file, a folder, or `org/name[@revision]` on the
/// Hub. The context's sink hears how far loading is; its deadline and cancellation end it; its transport downloads.
///
/// [`open_chat`] with a [`LocalChatConfig`] returns at once and loads in the background instead.
///
/// # Errors
/// Those of opening and of loading.
pub async fn chat_model(cx: &Context, model: impl Into<String>) -> Result<AnyChat> {
    let config = ChatConfig::from(LocalChatConfig::new(model));
    let chat = config.open_over(&Environment::process(), cx.transport())?;
    chat.ready(cx).await?;
    Policy::default().chat(chat, Vec::new())
}
