//! A loaded chat model: everything between a request and the tokens of its answer.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::conversation::{ChatJob, EventSender};
use super::grammar::Grammars;
use super::images::{self, ImageReader};
use super::output::{Dialect, OutputReader};
use super::prefix::PrefixStore;
use super::sampling::{self, Sampler, SamplingOptions};
use super::sampling_defaults::SamplingDefaults;
use super::speculation::Speculate;
use super::spill::Spill;
use super::template::{RenderOptions, Template};
use crate::chat::{ChatEvent, ChatRequest, Part, PromptInput};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::info::BackendInfo;
use crate::local::LocalChatConfig;
use crate::local::models::{CausalLm, LoadOptions, causal_lm, check_causal_lm, config_of_gguf, is_stock};
use crate::local::ops::{Device, Format, KvMemory, KvPrecision, PrecisionChoice};
use crate::local::runtime::Ticket;
use crate::local::source::ModelFiles;
use crate::local::tokenizer::{ChatTokenizer, Prompt};
use crate::local::vision;
use crate::local::weights::{Storage, Weights};

/// The most tokens of an answer to a request that does not say.
const DEFAULT_MAX_TOKENS: usize = 4096;

/// Memory for keys and values where the configuration does not say.
pub(super) const DEFAULT_CACHE_BYTES: u64 = 2 << 30;

/// Answers in progress where the configuration does not say.
pub(super) const DEFAULT_RUNNING: usize = 16;

/// A model that cannot hold even this many tokens is of no use.
const MIN_WINDOW: usize = 64;

/// The most alternatives to a token that are told, as OpenAI bounds it.
const MAX_LOGPROBS: u8 = 20;

/// What a model is bounded by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Memory for keys and values, in bytes.
    pub(super) cache_bytes: usize,
    /// The most tokens that fit there.
    pub(super) cache_tokens: usize,
    /// The most answers in progress.
    pub(super) running: usize,
}

/// How often what happens that no answer shows.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Answers that waited because there was no memory for their next tokens.
    pub(super) interrupted: AtomicU64,
    /// Tokens that were guessed right.
    pub(super) guessed: AtomicU64,
}

/// A loaded model.
pub(crate) struct ChatModel {
    pub(super) model: Box<dyn CausalLm>,
    pub(super) tokenizer: Arc<ChatTokenizer>,
    pub(super) prefixes: Mutex<PrefixStore>,
    pub(super) limits: Limits,
    pub(super) device: Device,
    pub(super) speculate: Speculate,
    pub(super) counts: Counts,
    template: Template,
    grammars: Grammars,
    pub(super) defaults: SamplingDefaults,
    /// What reads images; if nothing does, why.
    images: std::result::Result<Arc<ImageReader>, &'static str>,
    /// The model's name, for messages.
    name: String,
    pub(super) info: BackendInfo,
}

/// The model's own configuration, from `config.json` or from the file.
///
/// # Errors
/// `unsupported` for an architecture that is not known; `model_load` if a file is missing or damaged.
pub(super) fn model_config(files: &ModelFiles, weights: &Weights) -> Result<Value> {
    let config = match weights.metadata() {
        Some(_) => config_of_gguf(weights)?,
        None => files.needed_json("config.json")?,
    };
    check_causal_lm(&config)?;
    Ok(config)
}

/// What `precision` means: in what layers multiply, and how they hold their weights.
///
/// # Errors
/// `config_invalid` for one that is misspelt.
pub(super) fn precision(config: &LocalChatConfig) -> Result<(PrecisionChoice, Storage)> {
    let name = config.source.precision.as_deref().unwrap_or("auto");
    let unknown = |_| {
        let names = PrecisionChoice::NAMES;
        Error::config(format!("precision '{name}' is unknown; valid: {names}, q8_0, q4_k"))
    };
    Ok(match name {
        "auto" => (PrecisionChoice::Auto, Storage::AsInFile),
        "q8_0" => (PrecisionChoice::Auto, Storage::Quantised(Format::Q8_0)),
        "q4_k" => (PrecisionChoice::Auto, Storage::Quantised(Format::Q4K)),
        _ => (name.parse().map_err(unknown)?, Storage::Precision),
    })
}

/// Checks that weights can be held like that.
///
/// # Errors
/// `config_invalid` where a file is to be quantised that is.
pub(super) fn check_storage(weights: &Weights, storage: Storage) -> Result<()> {
    match storage {
        Storage::Quantised(format) if weights.metadata().is_some() && weights.is_quantised() => {
            Err(Error::config(format!(
                "precision '{}' quantises f32, f16 and bf16, and the weights of the GGUF file are quantised already: leave \
                 `precision` out",
                format.name().to_lowercase()
            )))
        }
        _ => Ok(()),
    }
}

impl ChatModel {
    /// Loads a model's files. `info` is what is said of it, by whether candle's own code computes it.
    ///
    /// # Errors
    /// `model_load` if they are missing or damaged, `unsupported` for an unknown architecture, `out_of_memory`.
    pub(super) fn load(
        files: &ModelFiles,
        device: &Device,
        config: &LocalChatConfig,
        image_limits: vision::Limits,
        info: impl FnOnce(bool) -> BackendInfo,
    ) -> Result<Self> {
        let weights = Weights::open(files)?;
        let model_config = model_config(files, &weights)?;
        let (_, storage) = precision(config)?;
        check_storage(&weights, storage)?;
        let cache_bytes = usize::try_from(config.cache_bytes.unwrap_or(DEFAULT_CACHE_BYTES));
        let cache_bytes = cache_bytes.unwrap_or(usize::MAX);
        let options = LoadOptions {
            storage,
            window: config.context,
            cache_bytes: Some(cache_bytes),
            kv: kv_precision(config, device)?,
        };
        let spill =
            config.spill.as_deref().map(|folder| Spill::open(folder, config.spill_bytes)).transpose()?;
        // The tokenizer takes as long to read as the weights.
        let (model, tokenizer) = std::thread::scope(|scope| {
            let tokenizer = scope.spawn(|| match weights.metadata() {
                Some(metadata) => ChatTokenizer::from_gguf(metadata),
                None => ChatTokenizer::from_files(files),
            });
            let model = causal_lm(&model_config, &weights, device, options);
            let failed = || Error::new(ErrorKind::ModelLoad, "reading the tokenizer panicked");
            (model, tokenizer.join().unwrap_or_else(|_| Err(failed())))
        });
        let (model, tokenizer) = (model?, Arc::new(tokenizer?));
        let images = match images::preprocessor(files, &model_config, &weights)? {
            Err(why) => Err(why),
            Ok(preprocessor) => {
                let how = (device, options.storage, image_limits);
                Ok(Arc::new(ImageReader::open(preprocessor, &model_config, &weights, &tokenizer, how)?))
            }
        };
        let per_token = model.cache_bytes_per_token().max(1);
        // Whole pages.
        let cache_tokens = cache_bytes / per_token / KvMemory::PAGE * KvMemory::PAGE;
        if model.window() < MIN_WINDOW {
            let text = format!(
                "{cache_bytes} bytes of `cache_bytes` hold {cache_tokens} tokens of {per_token} bytes each; at least \
                 {MIN_WINDOW} are needed"
            );
            return Err(Error::new(ErrorKind::OutOfMemory, text));
        }
        let generation: Option<Value> = files.json("generation_config.json")?;
        Ok(Self {
            template: Template::of_model(&tokenizer, config.template.as_deref())?,
            grammars: Grammars::new(Arc::clone(&tokenizer)),
            defaults: SamplingDefaults::of(generation.as_ref(), weights.metadata()),
            limits: Limits {
                cache_bytes,
                cache_tokens,
                running: config.max_running.unwrap_or(DEFAULT_RUNNING).max(1),
            },
            prefixes: Mutex::new(PrefixStore::new(spill)),
            counts: Counts::default(),
            // Elsewhere sums may depend on how many tokens are computed at once.
            speculate: match config.speculation.unwrap_or(true) && model.is_paged() {
                true => Speculate::WhereItPays,
                false => Speculate::Never,
            },
            device: device.clone(),
            info: BackendInfo { reads_images: Some(images.is_ok()), ..info(is_stock(&model_config)) },
            images,
            name: files.model.clone(),
            model,
            tokenizer,
        })
    }

    /// The longest conversation with its answer.
    pub(super) fn window(&self) -> usize {
        self.model.window().min(self.limits.cache_tokens)
    }

    /// How many tokens a conversation has.
    ///
    /// # Errors
    /// Those of the template.
    pub(super) fn count_tokens(&self, request: &ChatRequest) -> Result<usize> {
        self.check(request)?;
        Ok(self.tokens(request)?.1.len())
    }

    /// A request, ready for the model's thread.
    ///
    /// # Errors
    /// `invalid_request` and `unsupported` for what cannot be answered, `context_too_long` with the figures.
    pub(super) fn prepare(
        &self,
        cx: &Context,
        request: &ChatRequest,
        events: EventSender,
        ticket: Ticket,
    ) -> Result<ChatJob> {
        self.check(request)?;
        let mut options =
            SamplingOptions::of_request(request, &self.defaults.options, self.model.vocab_size())?;
        let ignores_ends = ignores_ends(request)?;
        if ignores_ends {
            let never = self.tokenizer.ends().iter().map(|end| (*end, f32::NEG_INFINITY));
            options.logit_bias.extend(never);
        }
        let (prompt, tokens) = self.tokens(request)?;
        let echoes = request.prompt.as_ref().is_some_and(|raw| raw.echo);
        let max_tokens = self.max_tokens(tokens.len(), request.max_tokens, usize::from(!echoes))?;
        let plain = Dialect::default();
        let dialect = if request.prompt.is_some() { &plain } else { self.template.dialect() };
        if echoes {
            let mut decoder = self.tokenizer.decoder();
            let mut text: String = tokens.iter().map(|token| decoder.push(*token)).collect();
            text.push_str(&decoder.finish());
            // The receiver is right here.
            let _ = events.send(Ok(ChatEvent::Text(text)));
        }
        let constraint = self.grammars.constraint(request, dialect, &prompt)?;
        if constraint.is_some() && ignores_ends {
            let text = "`ignore_eos` does not go with an answer in a format: the format says where it ends";
            return Err(Error::invalid_request(text));
        }
        Ok(ChatJob {
            cx: cx.clone(),
            priority: priority(request)?,
            reader: OutputReader::new(dialect, &prompt, request),
            decoder: self.tokenizer.decoder(),
            sampler: Sampler::new(options, &tokens, Some(&self.tokenizer), self.device.cpu.isa),
            max_tokens,
            constraint,
            scores_prompt: echoes && request.logprobs.is_some(),
            logprobs: request.logprobs.map(usize::from),
            thinking_budget: thinking_budget(request)?,
            prompt: tokens,
            images: Vec::new(),
            events,
            ticket,
        })
    }

    /// Reads the images of a conversation into its prompt.
    ///
    /// # Errors
    /// `invalid_request` for an image that is damaged or above the limits; those of the context.
    pub(super) async fn read_images(
        &self,
        cx: &Context,
        request: &ChatRequest,
        job: &mut ChatJob,
    ) -> Result<()> {
        let (Ok(reader), images) = (&self.images, images::of_request(request)?) else { return Ok(()) };
        if images.is_empty() {
            return Ok(());
        }
        let places = reader.places(&job.prompt, images.len())?;
        for (number, (image, place)) in images.into_iter().zip(places).enumerate() {
            let read = reader.read(cx, image, &mut job.prompt, place).await;
            job.images.push(read.map_err(|error| error.with_context("image", number.to_string()))?);
        }
        Ok(())
    }

    /// What the model is asked with. Where tokens were given, or a text without a template, nothing in it is a tag.
    fn tokens(&self, request: &ChatRequest) -> Result<(Prompt, Vec<u32>)> {
        let prompt = match request.prompt.as_ref().map(|raw| &raw.input) {
            None => {
                let mut prompt = self.template.render(request, &RenderOptions::default())?;
                if let Ok(reader) = &self.images {
                    reader.make_room(&mut prompt, images::of_request(request)?.len())?;
                }
                prompt
            }
            Some(PromptInput::Text(text)) => {
                let tokens = self.tokenizer.encode(&Prompt::completion(text))?;
                return Ok((Prompt::default(), tokens));
            }
            Some(PromptInput::Tokens(tokens)) => {
                let size = self.model.vocab_size();
                return match tokens.iter().find(|token| **token as usize >= size) {
                    None => Ok((Prompt::default(), tokens.clone())),
                    Some(token) => Err(Error::invalid_request(format!(
                        "`prompt` holds token {token}; the model has {size}"
                    ))),
                };
            }
        };
        let tokens = self.tokenizer.encode(&prompt)?;
        Ok((prompt, tokens))
    }

    /// The most tokens of the answer to a prompt; `least` is 0 where the prompt alone is of interest.
    fn max_tokens(&self, prompt: usize, wanted: Option<u32>, least: usize) -> Result<usize> {
        let window = self.window();
        let too_long = |what: String| {
            Err(Error::new(
                ErrorKind::ContextTooLong,
                format!("{what} do not fit the window of {window} tokens of {}", self.name),
            ))
        };
        if prompt == 0 {
            return Err(Error::invalid_request("the prompt has no tokens"));
        }
        match wanted.map(|wanted| usize::try_from(wanted).unwrap_or(usize::MAX)) {
            Some(wanted) if wanted < least => {
                Err(Error::invalid_request("`max_tokens` is 0; an answer needs at least one token"))
            }
            Some(wanted) if prompt.saturating_add(wanted) > window => {
                too_long(format!("the conversation's {prompt} tokens and {wanted} of the answer"))
            }
            Some(wanted) => Ok(wanted),
            None if prompt >= window => too_long(format!("the conversation's {prompt} tokens")),
            None => Ok(DEFAULT_MAX_TOKENS.min(window - prompt)),
        }
    }

    /// Fails on what this backend does not do.
    fn check(&self, request: &ChatRequest) -> Result<()> {
        request.check_raw()?;
        let mut parts = request.messages.iter().flat_map(|message| message.content.parts());
        let is_read = |part: &Part| match part {
            Part::Text { .. } => true,
            Part::Image { .. } | Part::ImageUrl { .. } => self.images.is_ok(),
            other => !other.is_for_any_model(),
        };
        if let Some(other) = parts.find(|part| !is_read(part)) {
            let reads = self.images.as_ref().map_or_else(|why| *why, |_| "reads texts and images");
            let text = format!(
                "{} {reads}; the conversation holds a part of the type `{}`",
                self.name,
                other.kind()
            );
            return Err(Error::unsupported_option("messages", text));
        }
        if request.logprobs.is_some_and(|top| top > MAX_LOGPROBS) {
            return Err(Error::invalid_request(format!("`logprobs` is above {MAX_LOGPROBS}")));
        }
        let known = || sampling::EXTRA.iter().chain(OWN_EXTRA);
        match request.extra.keys().find(|key| !known().any(|known| known == key)) {
            None => Ok(()),
            Some(key) => Err(Error::unsupported_option(
                key,
                format!(
                    "a local model has no option `{key}`; valid: {}",
                    known().copied().collect::<Vec<_>>().join(", ")
                ),
            )),
        }
    }
}

/// The names of [`ChatRequest::extra`] that are no options of sampling.
const OWN_EXTRA: &[&str] =
    &["chat_template_kwargs", "guided_grammar", "guided_regex", "ignore_eos", "priority", "thinking_budget"];

/// Whether the answer goes on until it is as long as it may be, as vLLM and llama.cpp have it.
fn ignores_ends(request: &ChatRequest) -> Result<bool> {
    match request.extra.get("ignore_eos") {
        None | Some(Value::Null) => Ok(false),
        Some(value) => value.as_bool().ok_or_else(|| {
            Error::invalid_request(format!("`ignore_eos` is {value}; it must be true or false"))
        }),
    }
}

/// Which requests come first, where the request says: those with smaller numbers.
fn priority(request: &ChatRequest) -> Result<i64> {
    match request.extra.get("priority") {
        None | Some(Value::Null) => Ok(0),
        Some(value) => value.as_i64().ok_or_else(|| {
            Error::invalid_request(format!(
                "`priority` is {value}; it must be a whole number, and smaller ones come first"
            ))
        }),
    }
}

/// The dtype of keys and values.
///
/// # Errors
/// `config_invalid` for one that is misspelt, or any on a GPU: there it is that of activations.
pub(super) fn kv_precision(config: &LocalChatConfig, device: &Device) -> Result<KvPrecision> {
    let name = config.kv.as_deref().unwrap_or("auto");
    let precision = name.parse()?;
    match device.is_cpu() || name == "auto" {
        true => Ok(precision),
        false => Err(Error::config("`kv` is chosen on the CPU only; leave it out on a GPU")),
    }
}

/// The most tokens of thoughts, where the request says.
fn thinking_budget(request: &ChatRequest) -> Result<Option<usize>> {
    match request.extra.get("thinking_budget") {
        None | Some(Value::Null) => Ok(None),
        Some(value) => {
            let budget = value.as_u64().and_then(|budget| usize::try_from(budget).ok());
            budget.map(Some).ok_or_else(|| {
                Error::invalid_request(format!("`thinking_budget` is {value}; it must be a number of tokens"))
            })
        }
    }
}

impl fmt::Debug for ChatModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChatModel({}, {:?})", self.name, self.limits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_are_quantised_at_load_only_where_they_are_not_yet() {
        let storage =
            |name: &str| precision(&LocalChatConfig::new("m").with_precision(name)).map(|found| found.1);
        assert_eq!(storage("q4_k").unwrap(), Storage::Quantised(Format::Q4K));
        assert_eq!(storage("bf16").unwrap(), Storage::Precision);
        assert_eq!(storage("auto").unwrap(), Storage::AsInFile);
        assert!(
            storage("q5_k")
                .unwrap_err()
                .message()
                .ends_with("valid: auto, f32, bf16, int8, bf16x3, q8_0, q4_k")
        );
        let open = |name: &str| {
            let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gguf").join(name);
            Weights::open_files(&[file]).unwrap()
        };
        let error = check_storage(&open("qwen3-Q8_0.gguf"), Storage::Quantised(Format::Q4K)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
        assert!(error.message().starts_with("precision 'q4_k' quantises"), "{error}");
        assert!(check_storage(&open("qwen3-F16.gguf"), Storage::Quantised(Format::Q4K)).is_ok());
        assert!(check_storage(&open("qwen3-Q8_0.gguf"), Storage::AsInFile).is_ok());
    }
}
