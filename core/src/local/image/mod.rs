//! Local image generation: what turns a diffusion model into the capability.
//!
//! [`pipeline`] loads a Stable Diffusion repository (or single file) and has its parts as functions: text to
//! conditioning, one denoising step over a batch of rows, latents to pixels and back. [`scheduler`] computes what the
//! steps are and what follows each; [`noise`] is where random numbers come from.
//!
//! A request becomes a [`job::Plan`], by what [`recipes`] and [`sizes`] allow and [`memory`] has room for. [`engine`] draws
//! the images of all requests together; [`drawing`] is one request on its way, [`refine`] an image that is changed,
//! [`receipt`] and [`encode`] what is written at the end.

mod drawing;
mod encode;
mod engine;
#[cfg(test)]
mod golden_tests;
mod job;
mod loading;
#[cfg(test)]
mod loading_tests;
mod loras;
mod measured;
mod memory;
mod model;
mod networks;
pub(crate) mod noise;
pub(crate) mod pipeline;
mod prompt;
mod receipt;
mod recipes;
mod refine;
mod replay;
mod safety;
pub(crate) mod scheduler;
mod sizes;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod toy;

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

#[doc(hidden)]
pub use measured::ImageParts;
pub use receipt::{ImageReceipt, LoraReceipt};
pub use replay::ImageReplay;

use super::ops::{Device, DeviceChoice, PrecisionChoice};
use super::runtime::{Queue, Worker, log_loaded, thread_lost};
use super::source::{Located, locate, locate_with};
use super::{LocalImageConfig, LoraSource, ModelSource, SafetyMode};
use crate::context::{Context, Progress};
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::{BackendInfo, ImageModelInfo, Limits};
use crate::transport::Transport;
use engine::{Engine, WeightHash};
use job::{ImageJob, MAX_IMAGES, Plan};
use memory::{Memory, megabytes};
use model::ImageModel;
use pipeline::{Facts, LoraFile, Part, Pipeline, PipelineFiles};
use recipes::{Named, Names, Recipe, Recipes};
use sizes::Sizes;

/// Images in progress, and requests that wait, where the configuration does not say.
const DEFAULT_BATCH: usize = 4;
const DEFAULT_QUEUED: usize = 16;

/// An image model in this process.
///
/// It loads in the background; calls wait for it. Any number of callers share it: their images are drawn together, step by
/// step, and each is what it would be alone. Dropping a call, or cancelling it, ends its work within one step.
#[derive(Debug)]
pub struct LocalImage {
    info: BackendInfo,
    worker: Worker<Engine>,
    queue: Queue,
}

/// Where the parts of a model are.
#[derive(Debug)]
struct Parts {
    model: Located,
    vae: Option<Located>,
    unet: Option<Located>,
    loras: Vec<(Located, LoraSource)>,
    safety: SafetyMode,
    /// Not the repository's own.
    safety_checker: Option<Located>,
}

impl Parts {
    fn locate(config: &LocalImageConfig, env: &Environment) -> Result<Self> {
        let find = |model: &str| locate(&ModelSource::new(model), env);
        let is_own_checker = config.safety != SafetyMode::Off && config.safety_checker.is_none();
        let loras = config.loras.iter().map(|lora| Ok((find(&lora.model)?, lora.clone())));
        let parts = Self {
            model: locate_with(&ModelSource::new(&config.source.model), env, is_own_checker)?,
            vae: config.vae.as_deref().map(find).transpose()?,
            unet: config.unet.as_deref().map(find).transpose()?,
            loras: loras.collect::<Result<_>>()?,
            safety: config.safety,
            safety_checker: config.safety_checker.as_deref().map(find).transpose()?,
        };
        if let Located::Local(files) = &parts.model
            && is_own_checker
        {
            safety::expect(&files.within(safety::CHECKER))?;
        }
        if let Located::Local(files) = &parts.model
            && files.weights.is_none()
            && !files.has("model_index.json")
        {
            let text = format!(
                "{} is no folder of diffusers: it has no model_index.json; name the file if it is a checkpoint in one file",
                config.source.model
            );
            return Err(Error::new(ErrorKind::ModelLoad, text));
        }
        Ok(parts)
    }

    /// The files, fetched where they are not here.
    fn files(&self, cx: &Context, copies: bool) -> Result<PipelineFiles> {
        let fetch = |located: &Located| Ok(located.files(cx)?.with_copied_weights(copies));
        let lora = |(located, lora): &(Located, LoraSource)| {
            Ok(LoraFile { files: fetch(located)?, reference: lora.model.clone(), scale: lora.weight })
        };
        let model = fetch(&self.model)?;
        let safety = match (self.safety, &self.safety_checker) {
            (SafetyMode::Off, _) => None,
            (_, Some(other)) => Some(fetch(other)?),
            (_, None) => Some(model.within(safety::CHECKER)),
        };
        Ok(PipelineFiles {
            model,
            safety,
            vae: self.vae.as_ref().map(fetch).transpose()?,
            unet: self.unet.as_ref().map(fetch).transpose()?,
            loras: self.loras.iter().map(lora).collect::<Result<_>>()?,
        })
    }
}

/// The names by which a recipe may be known, those of LoRAs aside.
fn names_of(config: &LocalImageConfig) -> Names {
    Names {
        model: config.source.model.clone(),
        unet: config.unet.clone(),
        loras: Vec::new(),
        recipe: config.recipe.clone(),
    }
}

impl LocalImage {
    /// Starts to load a model. What can be known without loading is checked here.
    ///
    /// # Errors
    /// `config_invalid` for a model, device, precision, recipe or scheduler that is misspelt; `model_load` for files on
    /// this machine that make no model; `device_unavailable`.
    pub fn open(config: &LocalImageConfig, env: &Environment) -> Result<Self> {
        Self::open_over(config, env, None)
    }

    /// The same, with a transport for downloads.
    pub(crate) fn open_over(
        config: &LocalImageConfig,
        env: &Environment,
        transport: Option<&Arc<dyn Transport>>,
    ) -> Result<Self> {
        config.check()?;
        config.recipe.as_deref().map_or(Ok(()), Recipe::check_name)?;
        config.scheduler.as_deref().map_or(Ok(()), Named::check)?;
        let device: DeviceChoice = config.source.device.as_deref().unwrap_or("auto").parse()?;
        let precision: PrecisionChoice = config.source.precision.as_deref().unwrap_or("auto").parse()?;
        let device = Device::open(device, precision, env)?;
        let (parts, copies) = (Parts::locate(config, env)?, config.source.copies_weights()?);
        let name = match &parts.model {
            Located::Local(files) => files.weights.clone().unwrap_or_else(|| files.model.clone()),
            Located::Remote(model) => model.id.clone(),
        };
        let info = BackendInfo::new("local", name.as_str())
            .with_device(device.name())
            .with_precision(device.precision.name(), device.precision_reason)
            .with_limits(Limits::default().with_max_images(MAX_IMAGES));
        let (transport, config, base) = (transport.cloned(), config.clone(), info.clone());
        let (running, queued) =
            (config.max_batch.unwrap_or(DEFAULT_BATCH), config.max_queued.unwrap_or(DEFAULT_QUEUED));
        let queue = Queue::new(running, queued);
        let load = move |cx: &Context| {
            let cx = &cx.clone().with_default_transport(transport.as_ref());
            let files = parts.files(cx, copies)?;
            let start = Instant::now();
            let mut told = |part: Part| {
                let reason = format!("{} is loading: {part:?} is there", base.model);
                cx.report(|| Progress::Waiting { reason, elapsed: start.elapsed() });
            };
            let model = Pipeline::load(&files, &device, &mut told)?;
            Engine::new(Box::new(model), &config, &base, &device)
        };
        Ok(Self { info, worker: Worker::start(name, load)?, queue })
    }

    async fn draw(&self, cx: &Context, plan: impl FnOnce(&Engine) -> Result<Plan>) -> Result<ImageResponse> {
        let engine = self.worker.ready(cx).await?;
        let plan = plan(engine)?;
        let ticket = self.queue.enter()?;
        let (reply, answer) = oneshot::channel();
        self.worker.submit(cx, ImageJob { cx: cx.clone(), plan, reply: Some(reply), ticket }).await?;
        answer.await.map_err(|_| thread_lost())?
    }
}

impl Engine {
    /// A loaded model by its configuration.
    ///
    /// # Errors
    /// `config_invalid` for a scheduler or parts that do not suit it; `out_of_memory`.
    fn new(
        model: Box<dyn ImageModel>,
        config: &LocalImageConfig,
        base: &BackendInfo,
        device: &Device,
    ) -> Result<Self> {
        let facts = model.facts();
        let recipes = Recipes::new(facts, names_of(config), config.scheduler.as_deref())?;
        let recipe = &recipes.usual;
        let memory = Memory::new(facts, config.memory_bytes)?;
        let sizes = Sizes::of(facts);
        let max_batch = config.max_batch.unwrap_or(DEFAULT_BATCH);
        let native = u32::try_from(sizes.native).unwrap_or(u32::MAX);
        let said = ImageModelInfo {
            recipe: recipe.name.clone(),
            scheduler: Named::of(&recipe.scheduler).name.to_owned(),
            steps: recipe.usual_steps,
            guidance: recipe.usual_guidance,
            size: (native, native),
            optimisations: optimisations(facts, recipe, max_batch),
            weights_bytes: memory.weights(),
            memory_bytes: Some(memory.room()).filter(|room| *room < u64::MAX),
            safety: config.safety.name().to_owned(),
            has_safety_checker: facts.has_safety_checker,
        };
        let info = base
            .clone()
            .with_device(facts.device.as_str())
            .with_precision(facts.precision, facts.precision_reason)
            .with_image_model(said);
        log_loaded(&info);
        tracing::info!(pipeline = facts.pipeline_class.as_deref(), recipe = %recipe.name, weights = %megabytes(memory.weights()), "image model ready");
        let weights = WeightHash::begin(facts.weight_files.clone());
        let has_receipts = !config.without_receipts;
        Ok(Self {
            recipes,
            sizes,
            memory,
            cpu: device.cpu.clone(),
            info,
            max_batch,
            has_receipts,
            safety: config.safety,
            weights,
            model,
        })
    }
}

/// What makes the model faster or smaller, in words.
fn optimisations(facts: &Facts, recipe: &Recipe, max_batch: usize) -> Vec<String> {
    let vae = if facts.is_tiny_vae {
        "TAESD instead of the VAE"
    } else {
        "VAE in strips where there is less memory"
    };
    let mut words = vec![
        "attention without S × S".to_owned(),
        vae.to_owned(),
        format!("steps of up to {max_batch} images in one pass"),
    ];
    if recipe.usual_guidance <= recipes::NO_GUIDANCE {
        words.push("no guidance: a step asks the model once".to_owned());
    }
    if !facts.loras.is_empty() {
        words.push("LoRAs merged into the weights".to_owned());
    }
    words
}

#[deny(clippy::missing_trait_methods)]
impl ImageGenerator for LocalImage {
    fn info(&self) -> &BackendInfo {
        self.worker.loaded().map_or(&self.info, |engine| &engine.info)
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        request.check(Some(MAX_IMAGES))?;
        cx.guard(self.draw(cx, |engine| Plan::of_generate(engine, &request))).await
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        request.check()?;
        cx.guard(self.draw(cx, |engine| Plan::of_refine(engine, &request))).await
    }

    async fn ready(&self, cx: &Context) -> Result<()> {
        cx.guard(self.worker.ready(cx)).await.map(|_| ())
    }
}
