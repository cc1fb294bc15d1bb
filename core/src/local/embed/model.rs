//! A loaded model: everything between texts or images and vectors.

use std::fmt;
use std::sync::Arc;

use super::decoders::Decoders;
use super::pooling::{Dense, Head, Step, to_unit_length};
use super::repository::{Kind, Prompts, Repository, StepConfig};
use crate::embed::{EmbedInput, EmbedRequest, EmbedRole, EmbeddingSpace};
use crate::error::{Error, ErrorKind, Result};
use crate::info::BackendInfo;
use crate::local::models::{DualEncoder, TextEncoder, Tokens, open_dual_encoder, text_encoder};
use crate::local::ops::{Device, Tensor};
use crate::local::source::{ModelFiles, OPEN_CLIP_CONFIG};
use crate::local::tokenizer::{Encoded, Tokenizer};
use crate::local::vision::{Limits, Preprocessor};
use crate::local::weights::{FileWatch, Parameters, Weights};
use ayni_kernels::gemm::Precision;

/// Tokens of a batch on the CPU: enough for every thread to have work, few enough for what lies between two layers
/// to stay in the cache.
const TOKENS_ON_CPU: usize = 512;

/// On a GPU, which is idle between small batches.
const TOKENS_ON_GPU: usize = 32_768;

/// A loaded model.
pub(crate) struct Model {
    pub(super) info: BackendInfo,
    pub(super) space: EmbeddingSpace,
    pub(super) tokenizer: Tokenizer,
    /// The most tokens that are computed together, unless one text has more.
    pub(super) batch_tokens: usize,
    prompts: Prompts,
    device: Device,
    encoder: Encoder,
    /// Numbers in a vector before it is shortened.
    width: usize,
    /// The files of tables that are read where they are.
    watch: FileWatch,
}

/// What computes.
pub(super) enum Encoder {
    Text(Box<dyn TextEncoder>, Head),
    Dual(Box<dyn DualEncoder>, Arc<Decoders>),
}

impl Model {
    /// Loads the weights of a repository.
    ///
    /// # Errors
    /// `model_load` if they are missing, damaged or of an unknown architecture; `out_of_memory`.
    pub(crate) fn load(
        repository: &Repository,
        device: &Device,
        dimensions: Option<usize>,
        limits: Limits,
    ) -> Result<Self> {
        // The tokenizer's file takes as long to read as the weights.
        let (encoder, tokenizer) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| Tokenizer::of_model(&repository.files, repository.cleaning));
            let encoder = encoder(repository, device, limits);
            let failed = || Error::new(ErrorKind::ModelLoad, "reading the tokenizer panicked");
            (encoder, tokenizer.join().unwrap_or_else(|_| Err(failed())))
        });
        let (encoder, tokenizer) = (encoder?, tokenizer?);
        check_tokens(&encoder, &tokenizer)?;
        let window = repository.window.unwrap_or(usize::MAX).min(encoder.window());
        let tokenizer = match &encoder {
            Encoder::Dual(encoder, _) if encoder.fills_window() => {
                let padding = tokenizer.padding(&repository.files)?;
                tokenizer.with_window(encoder.window())?.with_padding(padding)
            }
            Encoder::Text(encoder, _) if !encoder.takes_special_tokens() => {
                tokenizer.without_special_tokens().with_window(window)?
            }
            _ => tokenizer.with_window(window)?,
        };
        let parts = ModelParts {
            tokenizer,
            prompts: repository.prompts.clone(),
            space: repository.space(None),
            encoder,
            watch: Weights::watch(&repository.files)?,
        };
        let dimensions = match (dimensions, repository.truncate_dim) {
            (None, Some(dimensions)) => {
                check_dimensions(dimensions, parts.encoder.width()).map_err(|error| {
                    let text =
                        format!("config_sentence_transformers.json: `truncate_dim`: {}", error.message());
                    Error::new(ErrorKind::ModelLoad, text)
                })?;
                Some(dimensions)
            }
            (dimensions, _) => dimensions,
        };
        parts.into_model(device, dimensions)
    }

    /// Where and in which precision it computes.
    pub(super) fn device(&self) -> &Device {
        &self.device
    }

    /// Whether it embeds images too.
    pub(super) fn takes_images(&self) -> bool {
        matches!(self.encoder, Encoder::Dual(..))
    }

    /// Numbers in a vector before it is shortened.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    /// Numbers in a vector where the request does not say.
    pub(super) fn dimensions(&self) -> usize {
        self.space.dimensions.unwrap_or(self.width)
    }

    /// Fails on requests that no batch can serve.
    ///
    /// # Errors
    /// `invalid_request`, `unsupported`.
    pub(super) fn check(&self, request: &EmbedRequest) -> Result<()> {
        request.check(None)?;
        if let Some(dimensions) = request.dimensions {
            check_dimensions(dimensions, self.width)?;
        }
        let has_images = request.inputs.iter().any(|input| matches!(input, EmbedInput::Image(_)));
        match &self.encoder {
            Encoder::Text(..) if has_images => Err(Error::unsupported_option(
                "image",
                format!("{} embeds text only; the request holds an image", self.info.model),
            )),
            _ => Ok(()),
        }
    }

    /// How many tokens at the front of a text of this role are not pooled.
    pub(super) fn skip(&self, role: Option<EmbedRole>) -> usize {
        let prompt = self.prompts.of(role);
        match &self.encoder {
            Encoder::Text(_, head) if !head.pooler.includes_prompt && !prompt.is_empty() => {
                self.tokenizer.prompt_length(prompt).unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// How many tokens a text has, prompt and special tokens included, before it is cut.
    pub(super) fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        self.tokenizer.count(&format!("{}{text}", self.prompts.of(role)))
    }

    /// A text's tokens, special ones included, before it is cut.
    pub(super) fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.tokenizer.all_tokens(text)
    }

    /// The text of tokens.
    pub(super) fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        self.tokenizer.text_of(tokens)
    }

    pub(super) fn tokenise(
        &self,
        role: Option<EmbedRole>,
        positions: &[(usize, &str)],
    ) -> Result<Vec<Encoded>> {
        let texts: Vec<&str> = positions.iter().map(|(_, text)| *text).collect();
        let pool = &self.device.cpu.pool;
        let encoded = self.tokenizer.encode_all(pool, self.prompts.of(role), &texts);
        encoded.map_err(|error| error.map_input(|index| positions[index].0))
    }

    /// What makes numbers of images, where the model takes some.
    pub(super) fn decoders(&self) -> Option<&Arc<Decoders>> {
        match &self.encoder {
            Encoder::Text(..) => None,
            Encoder::Dual(_, decoders) => Some(decoders),
        }
    }

    /// Checks that the files of the weights are as they were.
    ///
    /// # Errors
    /// `model_load` if one was cut.
    pub(super) fn check_files(&self) -> Result<()> {
        self.watch.check()
    }

    /// One vector a text, one after another.
    pub(super) fn embed_texts(&self, texts: &[Vec<u32>], skips: &[usize]) -> Result<Vec<f32>> {
        let tokens = Tokens::new(texts.iter().map(Vec::as_slice));
        match &self.encoder {
            Encoder::Text(encoder, head) => head.vectors(&encoder.encode(&tokens)?, tokens.starts(), skips),
            Encoder::Dual(encoder, _) => unit_length(&encoder.embed_texts(&tokens)?),
        }
    }

    /// One vector an image, one after another.
    pub(super) fn embed_images(&self, images: &[Vec<f32>]) -> Result<Vec<f32>> {
        match &self.encoder {
            Encoder::Text(..) => Err(text_only()),
            Encoder::Dual(encoder, _) => {
                let [height, width] = encoder.image_size();
                let dims = [images.len(), height, width, 3];
                unit_length(&encoder.embed_images(&Tensor::from_vec(&self.device, images.concat(), dims)?)?)
            }
        }
    }
}

/// Checks that the encoder knows all tokens of the tokenizer, and that texts get the token that ends them.
fn check_tokens(encoder: &Encoder, tokenizer: &Tokenizer) -> Result<()> {
    let wrong = |what: String| Err(Error::new(ErrorKind::ModelLoad, what));
    let (vocabulary, end) = match encoder {
        Encoder::Text(encoder, _) => (encoder.vocabulary(), None),
        Encoder::Dual(encoder, _) => (encoder.vocabulary(), encoder.end_of_text()),
    };
    let highest = tokenizer.highest_id();
    if usize::try_from(highest).is_ok_and(|highest| highest >= vocabulary) {
        return wrong(format!(
            "the tokenizer is not the model's: it has tokens up to {highest}, the weights only {vocabulary}"
        ));
    }
    match end.filter(|end| !tokenizer.always_adds(*end)) {
        Some(end) => {
            wrong(format!("the model ends a text with token {end}, which the tokenizer does not add"))
        }
        None => Ok(()),
    }
}

fn text_only() -> Error {
    Error::unsupported("this model embeds text only")
}

/// The rows of `[input, width]`, scaled to unit length, one after another.
fn unit_length(vectors: &Tensor) -> Result<Vec<f32>> {
    let [_, width] = vectors.dims_of()?;
    let mut vectors = vectors.values()?.into_owned();
    vectors.chunks_exact_mut(width.max(1)).for_each(to_unit_length);
    Ok(vectors)
}

/// The parts of a model.
pub(super) struct ModelParts {
    pub(super) tokenizer: Tokenizer,
    pub(super) prompts: Prompts,
    pub(super) space: EmbeddingSpace,
    pub(super) encoder: Encoder,
    pub(super) watch: FileWatch,
}

impl ModelParts {
    pub(super) fn into_model(self, device: &Device, dimensions: Option<usize>) -> Result<Model> {
        let width = self.encoder.width();
        if let Some(dimensions) = dimensions {
            check_dimensions(dimensions, width)?;
        }
        Ok(Model {
            info: BackendInfo::new("local", self.space.model.as_str()),
            space: self.space.with_dimensions(dimensions.unwrap_or(width)),
            tokenizer: self.tokenizer,
            batch_tokens: if device.is_cpu() { TOKENS_ON_CPU } else { TOKENS_ON_GPU },
            prompts: self.prompts,
            device: device.clone(),
            encoder: self.encoder,
            width,
            watch: self.watch,
        })
    }
}

impl Encoder {
    fn width(&self) -> usize {
        match self {
            Self::Text(encoder, head) => head.width(encoder.width()),
            Self::Dual(encoder, _) => encoder.width(),
        }
    }

    fn window(&self) -> usize {
        match self {
            Self::Text(encoder, _) => encoder.window(),
            Self::Dual(encoder, _) => encoder.window(),
        }
    }
}

fn encoder(repository: &Repository, device: &Device, limits: Limits) -> Result<Encoder> {
    if repository.kind == Kind::Dual {
        let encoder = open_dual_encoder(&repository.files, device)?;
        let preprocessor = preprocessor(&repository.files)?;
        let [height, width] = encoder.image_size();
        return match preprocessor.fixed_size() {
            Some(size) if size == (height, width) => {
                Ok(Encoder::Dual(encoder, Decoders::new(preprocessor, limits, device.cpu.clone())))
            }
            other => Err(Error::new(
                ErrorKind::ModelLoad,
                format!("images are prepared as {other:?}, but the model takes ({height}, {width})"),
            )),
        };
    }
    let weights = Weights::open(&repository.files)?;
    let encoder = text_encoder(&repository.config, &weights, device)?;
    let steps = repository.steps.iter().map(|step| load_step(step, device)).collect::<Result<_>>()?;
    let head = Head { pooler: repository.pooler.clone(), steps };
    head.check(encoder.width())?;
    Ok(Encoder::Text(encoder, head))
}

/// What is done to images, by the file of transformers or that of open_clip.
fn preprocessor(files: &ModelFiles) -> Result<Preprocessor> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    if let Some(bytes) = files.read("preprocessor_config.json")? {
        return Preprocessor::from_transformers(&text(bytes));
    }
    match files.read(OPEN_CLIP_CONFIG)? {
        Some(bytes) => Preprocessor::from_open_clip(&text(bytes)),
        None => Err(Error::new(
            ErrorKind::ModelLoad,
            format!("{} does not exist", files.path("preprocessor_config.json").display()),
        )),
    }
}

fn load_step(step: &StepConfig, device: &Device) -> Result<Step> {
    let StepConfig::Dense(files, config) = step else { return Ok(Step::Normalise) };
    // It is small, and the last thing that happens to a vector: nothing is gained by rounding it to bytes.
    let precision = match device.precision {
        Precision::Int8 => Precision::F32,
        other => other,
    };
    let device = device.with_precision(precision);
    let weights = Weights::open(files)?;
    let linear = Parameters::new(&weights, &device).linear("linear", config.inputs, config.outputs)?;
    Ok(Step::Dense(Dense { linear, activation: config.activation, device }))
}

/// Fails unless a vector of `width` numbers can be cut to `dimensions`.
pub(super) fn check_dimensions(dimensions: usize, width: usize) -> Result<()> {
    match dimensions {
        0 => Err(Error::invalid_request("`dimensions` is 0; a vector needs at least one number")),
        _ if dimensions > width => Err(Error::invalid_request(format!(
            "`dimensions` is {dimensions}; the model's vectors have {width} numbers"
        ))),
        _ => Ok(()),
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("space", &self.space)
            .field("device", &self.device)
            .finish_non_exhaustive()
    }
}
