//! What a request asks for, settled before anything is computed.

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::sync::oneshot;

use super::encode::Format;
use super::engine::Engine;
use super::loras::{LoraChoice, LoraGroup};
use super::noise::NoiseKind;
use super::pipeline::Prompt;
use super::recipes::{Recipe, Steps, Wanted};
use super::refine::{USUAL_MASKED_STRENGTH, USUAL_STRENGTH};
use super::sizes::Size;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{GenerateRequest, ImageResponse, RefineRequest};
use crate::local::runtime::Ticket;
use crate::media::ImageData;

/// The most images of one request.
pub(crate) const MAX_IMAGES: usize = 16;

/// The most bytes of a prompt: more than any tokenizer makes the most tokens of.
const MAX_PROMPT_BYTES: usize = 16 << 10;

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Priority {
    Low,
    #[default]
    Normal,
    High,
}

/// The members of a request's `extra`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
struct Options {
    clip_skip: u8,
    weighted: bool,
    noise: String,
    format: String,
    quality: Option<u8>,
    previews: bool,
    priority: Priority,
    scheduler: Option<String>,
    receipt: bool,
    /// Which of the configured LoRAs apply, and how strongly.
    loras: Option<Vec<LoraChoice>>,
    /// The weights that must be loaded.
    model_sha256: Option<String>,
}

/// Their names. The scheduler is a field of its own where an image is made from a prompt.
const OPTIONS: [&str; 11] = [
    "clip_skip",
    "weighted",
    "noise",
    "format",
    "quality",
    "previews",
    "priority",
    "receipt",
    "loras",
    "model_sha256",
    "scheduler",
];

impl Default for Options {
    fn default() -> Self {
        Self {
            clip_skip: 0,
            weighted: false,
            noise: "ayni".to_owned(),
            format: "png".to_owned(),
            quality: None,
            previews: false,
            priority: Priority::default(),
            scheduler: None,
            receipt: true,
            loras: None,
            model_sha256: None,
        }
    }
}

impl Options {
    fn of(extra: &Map<String, Value>) -> Result<Self> {
        if let Some(name) = extra.keys().find(|name| !OPTIONS.contains(&name.as_str())) {
            return Err(Error::unsupported(format!(
                "a local image model has no option `{name}`; valid: {}",
                OPTIONS.join(", ")
            )));
        }
        serde_json::from_value(Value::Object(extra.clone()))
            .map_err(|error| Error::invalid_request(format!("`extra`: {error}")))
    }

    /// The LoRAs that apply, and what the model was made for with them.
    ///
    /// # Errors
    /// `conflict` if other weights are loaded than those that the request names.
    fn model(&self, engine: &Engine) -> Result<(LoraGroup, Recipe)> {
        if self.model_sha256.as_ref().is_some_and(|wanted| wanted != engine.weights.sha256()) {
            let text = format!("{} is loaded, whose weights are other ones", engine.info.model);
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        if self.previews && engine.safety.hides() {
            return Err(Error::unsupported(
                "there are no previews with `safety` at blank or refuse, because only finished images are checked",
            ));
        }
        let facts = engine.facts();
        let loras = match &self.loras {
            Some(choices) => LoraGroup::chosen(&facts.loras, choices)?,
            None => LoraGroup::usual(&facts.loras),
        };
        let recipe = engine.recipes.of(facts, &loras)?;
        Ok((loras, recipe))
    }
}

/// The name of a kind of noise, as options and receipts have it.
pub(crate) fn noise_name(kind: NoiseKind) -> &'static str {
    match kind {
        NoiseKind::Ayni => "ayni",
        NoiseKind::TorchCpu => "torch_cpu",
        NoiseKind::TorchCuda => "torch_cuda",
    }
}

fn noise_kind(name: &str) -> Result<NoiseKind> {
    [NoiseKind::Ayni, NoiseKind::TorchCpu, NoiseKind::TorchCuda]
        .into_iter()
        .find(|kind| noise_name(*kind) == name)
        .ok_or_else(|| {
            Error::invalid_request(format!("noise '{name}' is unknown; valid: ayni, torch_cpu, torch_cuda"))
        })
}

/// What an image begins with.
#[derive(Clone, Debug)]
pub(crate) enum Start {
    /// Noise of this size.
    Noise(Size),
    /// An image, in the size asked for.
    Image(ImageData, Option<Size>),
}

/// What is to be drawn.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) prompt: Prompt,
    pub(crate) negative: Option<Prompt>,
    /// The name of the recipe.
    pub(crate) recipe: String,
    pub(crate) steps: Steps,
    /// How much of the images is changed; 1 without images.
    pub(crate) strength: f32,
    pub(crate) mask: Option<ImageData>,
    pub(crate) noise: NoiseKind,
    /// The seed of the first image; each further one has the next.
    pub(crate) seed: u64,
    pub(crate) images: Vec<Start>,
    pub(crate) format: Format,
    pub(crate) has_receipts: bool,
    pub(crate) has_previews: bool,
    pub(crate) priority: Priority,
}

/// How a request's images are made.
struct Made {
    loras: LoraGroup,
    recipe: String,
    steps: Steps,
}

impl Plan {
    /// The LoRAs that apply.
    pub(crate) fn loras(&self) -> &LoraGroup {
        &self.prompt.loras
    }

    /// How often a step asks the model about an image.
    pub(crate) fn rows(&self) -> usize {
        1 + usize::from(self.steps.is_guided)
    }

    /// # Errors
    /// `invalid_request` and `unsupported` for what cannot be drawn, `out_of_memory` for what does not fit.
    pub(crate) fn of_generate(engine: &Engine, request: &GenerateRequest) -> Result<Self> {
        request.check(Some(MAX_IMAGES))?;
        if engine.facts().is_inpaint {
            let text = "this model fills masked areas of images: refine an image with a mask";
            return Err(Error::unsupported(text));
        }
        let options = Options::of(&request.extra)?;
        if options.scheduler.is_some() {
            return Err(Error::invalid_request("`scheduler` is a field of the request, not of `extra`"));
        }
        let wanted = Wanted {
            steps: request.steps,
            guidance: request.guidance,
            temperature: request.temperature,
            scheduler: request.scheduler.as_deref(),
            has_negative_prompt: request.negative_prompt.is_some(),
        };
        let (loras, recipe) = options.model(engine)?;
        let steps = recipe.steps(wanted)?;
        let rows = 1 + usize::from(steps.is_guided);
        let size = engine.sizes.of_request(request, &|size| engine.fits(size, rows))?;
        let images = vec![Start::Noise(size); request.count as usize];
        let negative = request.negative_prompt.as_deref();
        let made = Made { loras, recipe: recipe.name, steps };
        let plan = Self::new(&request.prompt, negative, &options, made, request.seed, images)?;
        // What the scheduler does not take is known now.
        plan.steps.scheduler.schedule(plan.steps.count as usize, 1.0).map(|_| plan)
    }

    /// # Errors
    /// As above.
    pub(crate) fn of_refine(engine: &Engine, request: &RefineRequest) -> Result<Self> {
        request.check()?;
        if request.images.len() > MAX_IMAGES {
            let count = request.images.len();
            let text = format!("{count} images in one request; this backend takes {MAX_IMAGES}");
            return Err(Error::invalid_request(text));
        }
        let options = Options::of(&request.extra)?;
        let (loras, recipe) = options.model(engine)?;
        let wanted = Wanted {
            steps: request.steps.or(Some(recipe.usual_refine_steps())),
            guidance: request.guidance,
            temperature: None,
            scheduler: options.scheduler.as_deref(),
            has_negative_prompt: request.negative_prompt.is_some(),
        };
        let steps = recipe.steps(wanted)?;
        let usual = match &request.mask {
            Some(_) if engine.facts().is_inpaint => 1.0,
            Some(_) => USUAL_MASKED_STRENGTH,
            None => USUAL_STRENGTH,
        };
        // At least one step is done.
        #[allow(clippy::cast_precision_loss, reason = "a few hundred at most")]
        let strength = request.strength.unwrap_or(f32::max(usual, 1.0 / steps.count as f32));
        if !(strength > 0.0 && strength <= 1.0) {
            return Err(Error::invalid_request(format!(
                "`strength` is {strength}; it must be above 0 and at most 1"
            )));
        }
        let rows = 1 + usize::from(steps.is_guided);
        let size =
            request.size.map(|size| engine.sizes.exact(size, &|size| engine.fits(size, rows))).transpose()?;
        let images = request.images.iter().map(|image| Start::Image(image.clone(), size)).collect();
        let negative = request.negative_prompt.as_deref();
        let made = Made { loras, recipe: recipe.name, steps };
        let plan = Self::new(&request.prompt, negative, &options, made, request.seed, images)?;
        plan.steps.scheduler.schedule(plan.steps.count as usize, strength)?;
        Ok(Self { strength, mask: request.mask.clone(), ..plan })
    }

    fn new(
        prompt: &str,
        negative: Option<&str>,
        options: &Options,
        Made { loras, recipe, steps }: Made,
        seed: Option<u64>,
        images: Vec<Start>,
    ) -> Result<Self> {
        let prompt_of = |name: &str, text: &str| {
            if text.len() > MAX_PROMPT_BYTES {
                let length = text.len();
                let text = format!("`{name}` has {length} bytes, more than the limit of {MAX_PROMPT_BYTES}");
                return Err(Error::invalid_request(text));
            }
            let clip_skip = usize::from(options.clip_skip);
            let (text, loras) = (text.to_owned(), loras.clone());
            Ok(Prompt { text, weighted: options.weighted, clip_skip, loras })
        };
        Ok(Self {
            prompt: prompt_of("prompt", prompt)?,
            negative: negative.map(|text| prompt_of("negative_prompt", text)).transpose()?,
            recipe,
            steps,
            strength: 1.0,
            mask: None,
            noise: noise_kind(&options.noise)?,
            seed: seed.unwrap_or_else(random_seed),
            images,
            format: Format::new(&options.format, options.quality)?,
            has_receipts: options.receipt,
            has_previews: options.previews,
            priority: options.priority,
        })
    }
}

/// A seed that every language's numbers hold.
fn random_seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(std::time::SystemTime::now()) >> 32
}

/// A request on its way to the model's thread.
#[derive(Debug)]
pub(crate) struct ImageJob {
    pub(crate) cx: Context,
    pub(crate) plan: Plan,
    /// Closed when the caller stopped waiting; taken when the request is answered.
    pub(crate) reply: Option<oneshot::Sender<Result<ImageResponse>>>,
    #[expect(dead_code, reason = "dropping it gives the place in line back")]
    pub(crate) ticket: Ticket,
}
