//! What a local model is opened with: one struct a capability, each over one [`ModelSource`].

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::chat::AnyChat;
use crate::embed::{AnyEmbedder, EmbeddingSpace, Pooling};
use crate::env::Environment;
use crate::error::{Error, Result};
use crate::image::AnyImageGenerator;
use crate::transport::Transport;

/// Which weights, and where and in which numbers they compute.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default)]
#[non_exhaustive]
pub struct ModelSource {
    /// The weights: a folder, a file (`model.gguf`), or `org/name[:file][@revision]` on the Hub, where `file` is
    /// a part of the name of one of its GGUF files (`Q4_K_M`), or a sample model (`tiny:clip`).
    pub model: String,
    /// Where to run: `auto`, `cpu` or `cuda:N`.
    pub device: Option<String>,
    /// In which precision: `auto`, `f32`, `bf16`, `int8`, or `bf16x3` on CPUs with AMX: almost f32, as sums of two bf16. Chat
    /// models also take `q8_0` and `q4_k`: their plain numbers are quantised while they are loaded.
    pub precision: Option<String>,
    /// How weights are read: `map` (the default) shares the pages of the files with the page cache and other processes, and
    /// needs files that nobody rewrites in place; `copy` reads them into memory.
    pub load: Option<String>,
}

impl ModelSource {
    /// Weights by their model reference.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Checks that a model is named.
    pub(crate) fn check(&self) -> Result<()> {
        match self.model.trim() {
            "" => Err(Error::config("`model` is not set: name a folder, a file or an id on the Hub")),
            _ => self.copies_weights().map(drop),
        }
    }

    /// Whether weights are read into memory rather than mapped.
    ///
    /// # Errors
    /// `config_invalid` for another way of loading.
    pub(crate) fn copies_weights(&self) -> Result<bool> {
        match self.load.as_deref() {
            None | Some("map") => Ok(false),
            Some("copy") => Ok(true),
            Some(other) => Err(Error::config(format!("`load` '{other}' is unknown; valid: map, copy"))),
        }
    }
}

macro_rules! over_a_source {
    ($($name:ident)+) => {$(
        impl $name {
            /// Weights by their model reference.
            pub fn new(model: impl Into<String>) -> Self {
                Self { source: ModelSource::new(model), ..Self::default() }
            }

            /// Says where to run: `auto`, `cpu` or `cuda:N`.
            pub fn with_device(mut self, device: impl Into<String>) -> Self {
                self.source.device = Some(device.into());
                self
            }

            /// Says in which precision: `auto`, `f32`, `bf16`, `int8` or `bf16x3`; for chat also `q8_0` or `q4_k`.
            pub fn with_precision(mut self, precision: impl Into<String>) -> Self {
                self.source.precision = Some(precision.into());
                self
            }

            /// Says how weights are read: `map` or `copy`.
            pub fn with_load(mut self, load: impl Into<String>) -> Self {
                self.source.load = Some(load.into());
                self
            }
        }
    )+};
}

over_a_source! { LocalEmbedderConfig LocalChatConfig LocalImageConfig }

/// An embedding model in this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LocalEmbedderConfig {
    /// The model, where it runs and in which precision.
    #[serde(flatten)]
    pub source: ModelSource,
    /// The width of the vectors, for models trained to have them shortened; by default the model's own.
    pub dimensions: Option<usize>,
    /// How the vectors of a text's tokens become one vector, where the model's files do not say it or should not decide:
    /// `mean`, `cls`, `last_token`, `max` or `weighted_mean`. Language models and cross-encoders without files of
    /// sentence-transformers need it.
    pub pooling: Option<Pooling>,
    /// The embedding space under the name by which others know it: the model and revision that a folder's files are, so
    /// that another backend may stand in for it. The rest comes from the files and must agree with what is said here.
    pub space: Option<EmbeddingSpace>,
    /// Whether the precision is measured when the model is loaded: some texts (and images) are embedded in f32 too, with a
    /// second copy of the weights that is dropped afterwards. If the vectors differ too much, `auto` takes f32 instead,
    /// and any other precision is an error.
    pub verify: bool,
    /// The most pixels of an image: 33,554,432 unless it or `AYNI_MAX_IMAGE_PIXELS` says otherwise. A larger one is refused before
    /// anything is allocated for it; decoding takes up to 16 bytes a pixel, and as many images at a time as there are threads.
    pub max_image_pixels: Option<u64>,
}

impl LocalEmbedderConfig {
    /// Sets the width of the vectors.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Says how the vectors of a text's tokens become one vector.
    pub fn with_pooling(mut self, pooling: Pooling) -> Self {
        self.pooling = Some(pooling);
        self
    }

    /// Names the embedding space.
    pub fn with_space(mut self, space: EmbeddingSpace) -> Self {
        self.space = Some(space);
        self
    }

    /// Measures the precision when the model is loaded.
    pub fn with_verify(mut self, verify: bool) -> Self {
        self.verify = verify;
        self
    }

    /// Starts to load the model in the background; calls wait for it, and so does
    /// [`ready`](crate::AnyEmbedder::ready).
    ///
    /// # Errors
    /// `config_invalid` for a model, device or precision that is misspelt; `model_load` for files on this machine
    /// that make no model; `device_unavailable`; `unsupported` without the feature `candle`.
    pub fn open(&self, env: &Environment) -> Result<AnyEmbedder> {
        self.open_over(env, None)
    }

    /// The same, with a transport for downloads.
    pub(crate) fn open_over(
        &self,
        env: &Environment,
        transport: Option<&Arc<dyn Transport>>,
    ) -> Result<AnyEmbedder> {
        #[cfg(feature = "candle")]
        return super::LocalEmbedder::open_over(self, env, transport).map(AnyEmbedder::new);
        #[cfg(not(feature = "candle"))]
        {
            let _ = (env, transport);
            self.source.check()?;
            Err(Error::unsupported(unavailable_reason()))
        }
    }
}

/// A chat model in this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LocalChatConfig {
    /// The model, where it runs and in which precision.
    #[serde(flatten)]
    pub source: ModelSource,
    /// The chat template by its name: one of the model's own, or of ayni's; by default the model's default.
    pub template: Option<String>,
    /// The longest conversation with its answer, in tokens; by default what the model takes and `cache_bytes` holds.
    pub context: Option<usize>,
    /// Memory for the keys and values of all conversations, in bytes; 2 GiB by default. Where it is short, beginnings that
    /// might be used again go first; then the newest answer waits, and is gone on with later.
    pub cache_bytes: Option<u64>,
    /// The dtype of keys and values on the CPU: `auto` (the default), `f32`, `f16`, `bf16` or `int8`. `auto` is `f16`; `int8`
    /// takes about half the memory and is less exact.
    pub kv: Option<String>,
    /// A folder for beginnings of conversations that `cache_bytes` has no room for, so that they needn't be computed again;
    /// none by default. Files there hold what was asked, in the model's numbers; nobody else can open them, and none is left
    /// when the process ends.
    pub spill: Option<String>,
    /// The most bytes in `spill`; 8 GiB by default.
    pub spill_bytes: Option<u64>,
    /// Whether tokens that an answer probably goes on with are computed ahead where that has been faster; `true` by default. The
    /// answer is the same.
    pub speculation: Option<bool>,
    /// The most answers in progress; 16 by default.
    pub max_running: Option<usize>,
    /// The most requests that wait; 64 by default. Further ones fail with `rate_limited`.
    pub max_queued: Option<usize>,
}

impl LocalChatConfig {
    /// Chooses the chat template by its name.
    pub fn with_template(mut self, name: impl Into<String>) -> Self {
        self.template = Some(name.into());
        self
    }

    /// Bounds conversations with their answers, in tokens.
    pub fn with_context(mut self, tokens: usize) -> Self {
        self.context = Some(tokens);
        self
    }

    /// Sets the memory for the keys and values of all conversations.
    pub fn with_cache_bytes(mut self, bytes: u64) -> Self {
        self.cache_bytes = Some(bytes);
        self
    }

    /// Sets the dtype of keys and values: `auto`, `f32`, `f16`, `bf16` or `int8`.
    pub fn with_kv(mut self, dtype: impl Into<String>) -> Self {
        self.kv = Some(dtype.into());
        self
    }

    /// Sets the folder for beginnings of conversations that memory has no room for.
    pub fn with_spill(mut self, folder: impl Into<String>) -> Self {
        self.spill = Some(folder.into());
        self
    }

    /// Bounds what is in the folder for beginnings of conversations.
    pub fn with_spill_bytes(mut self, bytes: u64) -> Self {
        self.spill_bytes = Some(bytes);
        self
    }

    /// Says whether tokens are computed ahead.
    pub fn with_speculation(mut self, speculation: bool) -> Self {
        self.speculation = Some(speculation);
        self
    }

    /// Sets how many answers may be in progress.
    pub fn with_max_running(mut self, answers: usize) -> Self {
        self.max_running = Some(answers);
        self
    }

    /// Sets how many requests may wait.
    pub fn with_max_queued(mut self, requests: usize) -> Self {
        self.max_queued = Some(requests);
        self
    }

    /// Checks what can be checked without the model.
    pub(crate) fn check(&self) -> Result<()> {
        self.source.check()?;
        for (name, value) in [("context", self.context), ("max_running", self.max_running)] {
            if value == Some(0) {
                return Err(Error::config(format!("`{name}` is 0; it must be at least 1")));
            }
        }
        Ok(())
    }

    /// Checks that the model can be found, without reading or fetching it.
    ///
    /// # Errors
    /// As [`open`](Self::open), as far as this tells.
    pub(crate) fn find(&self, env: &Environment) -> Result<()> {
        self.check()?;
        #[cfg(feature = "candle")]
        return super::source::locate(&self.source, env).map(|_| ());
        #[cfg(not(feature = "candle"))]
        {
            let _ = env;
            Err(Error::unsupported(unavailable_reason()))
        }
    }

    /// Starts to load the model in the background; calls wait for it, and so does [`ready`](crate::AnyChat::ready).
    ///
    /// # Errors
    /// `config_invalid` for a model, device or precision that is misspelt; `model_load` for files on this machine
    /// that make no model; `device_unavailable`; `unsupported` for an architecture that is not known, or without the
    /// feature `candle`.
    pub fn open(&self, env: &Environment) -> Result<AnyChat> {
        self.open_over(env, None)
    }

    /// The same, with a transport for downloads.
    pub(crate) fn open_over(
        &self,
        env: &Environment,
        transport: Option<&Arc<dyn Transport>>,
    ) -> Result<AnyChat> {
        #[cfg(feature = "candle")]
        return super::LocalChat::open_over(self, env, transport).map(AnyChat::new);
        #[cfg(not(feature = "candle"))]
        {
            let _ = (env, transport);
            self.check()?;
            Err(Error::unsupported(unavailable_reason()))
        }
    }
}

/// An image model in this process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LocalImageConfig {
    /// The model, where it runs and in which precision: a folder of diffusers (`model_index.json`), a checkpoint in one
    /// file, or either on the Hub.
    #[serde(flatten)]
    pub source: ModelSource,
    /// LoRAs, in order. They apply to requests that do not name their own (`extra.loras`); one of weight 0 applies only
    /// where a request names it.
    pub loras: Vec<LoraSource>,
    /// Other weights for the model's UNet, such as those of SDXL-Lightning: a file, or `org/name:file` on the Hub.
    pub unet: Option<String>,
    /// Another VAE: a folder, or `org/name` on the Hub. `AutoencoderTiny` (TAESD) and fp16-fix are read.
    pub vae: Option<String>,
    /// What the model was made for, where neither its files nor the names of model, UNet and LoRAs say it: `standard`,
    /// `lcm`, `turbo` or `lightning-N` for N steps. It decides which steps, guidance and schedulers are legal.
    pub recipe: Option<String>,
    /// The scheduler of requests without one: `euler`, `euler_ancestral`, `dpmpp_2m`, `lcm`, …; by default the recipe's.
    pub scheduler: Option<String>,
    /// The most memory that weights and images in progress may take, in bytes; by default what the machine and the
    /// cgroup leave. Larger requests fail with `out_of_memory`, which names the size that fits.
    pub memory_bytes: Option<u64>,
    /// The most images in progress; 4 by default. Their steps are computed together.
    pub max_batch: Option<usize>,
    /// The most requests that wait; 16 by default. Further ones fail with `rate_limited`.
    pub max_queued: Option<usize>,
    /// Whether images hold no prompt and no receipt of how they were made.
    pub without_receipts: bool,
    /// What is done with images in which the model's safety checker finds something; `off` by default, and then it is not
    /// loaded.
    pub safety: SafetyMode,
    /// A safety checker other than the repository's own, or for one that has none: a folder, or `org/name` on the Hub.
    pub safety_checker: Option<String>,
}

/// What is done with images in which a model's safety checker finds something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum SafetyMode {
    /// No image is checked.
    #[default]
    Off,
    /// Images are returned as they are, and the answer says what was found.
    Mark,
    /// A black image comes instead, and the answer says what was found.
    Blank,
    /// The request fails with `content_rejected`.
    Refuse,
}

impl SafetyMode {
    const ALL: [Self; 4] = [Self::Off, Self::Mark, Self::Blank, Self::Refuse];

    /// As configurations have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Mark => "mark",
            Self::Blank => "blank",
            Self::Refuse => "refuse",
        }
    }

    /// Whether nobody is to see what was found.
    #[cfg(feature = "candle")]
    pub(crate) fn hides(self) -> bool {
        matches!(self, Self::Blank | Self::Refuse)
    }
}

impl std::str::FromStr for SafetyMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|mode| mode.name() == text).ok_or_else(|| {
            Error::config(format!("safety '{text}' is unknown; valid: off, mark, blank, refuse"))
        })
    }
}

/// A LoRA, and how strongly it applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct LoraSource {
    /// A file, a folder with one, or `org/name[:file][@revision]` on the Hub.
    pub model: String,
    /// How strongly it applies; 1 is as it was trained.
    pub weight: f32,
}

impl Default for LoraSource {
    fn default() -> Self {
        Self { model: String::new(), weight: 1.0 }
    }
}

impl LoraSource {
    /// A LoRA as it was trained.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// Sets how strongly it applies.
    pub fn with_weight(mut self, weight: f32) -> Self {
        self.weight = weight;
        self
    }
}

impl LocalImageConfig {
    /// Adds a LoRA.
    pub fn with_lora(mut self, lora: LoraSource) -> Self {
        self.loras.push(lora);
        self
    }

    /// Sets other weights for the UNet.
    pub fn with_unet(mut self, model: impl Into<String>) -> Self {
        self.unet = Some(model.into());
        self
    }

    /// Sets another VAE.
    pub fn with_vae(mut self, model: impl Into<String>) -> Self {
        self.vae = Some(model.into());
        self
    }

    /// Says what the model was made for.
    pub fn with_recipe(mut self, name: impl Into<String>) -> Self {
        self.recipe = Some(name.into());
        self
    }

    /// Sets the scheduler of requests without one.
    pub fn with_scheduler(mut self, name: impl Into<String>) -> Self {
        self.scheduler = Some(name.into());
        self
    }

    /// Bounds the memory of weights and images in progress.
    pub fn with_memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = Some(bytes);
        self
    }

    /// Sets how many images may be in progress.
    pub fn with_max_batch(mut self, images: usize) -> Self {
        self.max_batch = Some(images);
        self
    }

    /// Sets how many requests may wait.
    pub fn with_max_queued(mut self, requests: usize) -> Self {
        self.max_queued = Some(requests);
        self
    }

    /// Says what is done with images in which the safety checker finds something.
    pub fn with_safety(mut self, mode: SafetyMode) -> Self {
        self.safety = mode;
        self
    }

    /// Sets a safety checker other than the repository's own.
    pub fn with_safety_checker(mut self, model: impl Into<String>) -> Self {
        self.safety_checker = Some(model.into());
        self
    }

    /// Leaves prompts and receipts out of the images.
    pub fn with_receipts(mut self, receipts: bool) -> Self {
        self.without_receipts = !receipts;
        self
    }

    /// Checks what can be checked without the model.
    pub(crate) fn check(&self) -> Result<()> {
        self.source.check()?;
        for lora in &self.loras {
            if lora.model.trim().is_empty() {
                return Err(Error::config("`loras` has one without a `model`"));
            }
            if !lora.weight.is_finite() {
                return Err(Error::config(format!(
                    "the `weight` of the LoRA {} is not a number",
                    lora.model
                )));
            }
        }
        if self.safety_checker.is_some() && self.safety == SafetyMode::Off {
            return Err(Error::config(
                "`safety_checker` is set and `safety` is off; set it to mark, blank or refuse",
            ));
        }
        match (self.max_batch, self.memory_bytes) {
            (Some(0), _) => Err(Error::config("`max_batch` is 0; it must be at least 1")),
            (_, Some(0)) => Err(Error::config("`memory_bytes` is 0; no model fits that")),
            _ => Ok(()),
        }
    }

    /// Starts to load the model in the background; calls wait for it, and so does
    /// [`ready`](crate::AnyImageGenerator::ready).
    ///
    /// # Errors
    /// `config_invalid` for a model, device, precision, recipe or scheduler that is misspelt; `model_load` for files on
    /// this machine that make no model; `device_unavailable`; `unsupported` without the feature `candle`.
    pub fn open(&self, env: &Environment) -> Result<AnyImageGenerator> {
        self.open_over(env, None)
    }

    /// The same, with a transport for downloads.
    pub(crate) fn open_over(
        &self,
        env: &Environment,
        transport: Option<&Arc<dyn Transport>>,
    ) -> Result<AnyImageGenerator> {
        #[cfg(feature = "candle")]
        return super::LocalImage::open_over(self, env, transport).map(AnyImageGenerator::new);
        #[cfg(not(feature = "candle"))]
        {
            let _ = (env, transport);
            self.check()?;
            Err(Error::unsupported(unavailable_reason()))
        }
    }
}

/// Why a local model can't be opened in this build.
#[cfg(not(feature = "candle"))]
fn unavailable_reason() -> &'static str {
    "ayni was built without the `candle` feature, which local models need"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_source_is_flat_and_unknown_fields_are_named() {
        let config: LocalEmbedderConfig =
            serde_json::from_value(json!({ "model": "org/name", "device": "cpu", "dimensions": 8 })).unwrap();
        assert_eq!(config, LocalEmbedderConfig::new("org/name").with_device("cpu").with_dimensions(8));
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["device"], "cpu", "{written}");
        let error = serde_json::from_value::<LocalChatConfig>(json!({ "model": "m", "devise": "cpu" }));
        assert!(error.unwrap_err().to_string().contains("devise"));
    }

    #[test]
    fn a_model_must_be_named() {
        let error = LocalImageConfig::new(" ").open(&Environment::empty()).unwrap_err();
        assert!(error.message().contains("`model` is not set"), "{error}");
    }
}
