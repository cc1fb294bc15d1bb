//! Language models that continue texts: a decoder and its output layer.

use std::fmt;

use serde_json::Value;

use super::decoder::{CommonKeys, Decoder};
use super::text_cache::{Cached, TextCache};
use super::{
    Tokens, config, gemma2, gemma3, gpt_oss, granite, llama, phi3, qwen2, qwen3, qwen3_moe, smollm3, stock,
};
use crate::error::{Error, Result};
use crate::local::ops::{Activation, Device, Heads, KvMemory, KvPrecision, Linear, Tensor, activate};
use crate::local::weights::{Parameters, Storage, Weights};

/// A model that says how likely each token is to come next.
pub(crate) trait CausalLm: Send + Sync + fmt::Debug {
    /// How many tokens there are.
    fn vocab_size(&self) -> usize;

    /// The longest text.
    fn window(&self) -> usize;

    /// Memory of the keys and values of a token, in bytes.
    fn cache_bytes_per_token(&self) -> usize;

    /// Memory of all caches there are, in bytes.
    fn cache_bytes(&self) -> usize;

    /// Whether caches take memory page by page, and a text's tokens have the same bits however many are computed at once.
    fn is_paged(&self) -> bool;

    /// Whether a text can go on from the cache of another with the same beginning.
    fn reuses(&self) -> bool;

    /// An empty cache for a text of up to `capacity` tokens.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    fn new_cache(&self, capacity: usize) -> Result<TextCache>;

    /// Whether a text of up to `capacity` tokens is rotated as a long one. Only alike texts can go on from each other's caches.
    fn is_long(&self, capacity: usize) -> bool;

    /// Computes further tokens of texts and adds them to the caches, if there are any. Gives the logits of what follows
    /// some of these tokens, `[row, vocabulary]`: `rows` are their numbers in the batch.
    ///
    /// A text's logits have the same bits alone and in any batch, and a prompt's in one piece and in several.
    ///
    /// # Errors
    /// `context_too_long` for a text that is longer than the window, `invalid_request` for an unknown token.
    fn logits(&self, tokens: &Tokens, cached: Option<Cached<'_, '_>>, rows: &[u32]) -> Result<Tensor>;
}

/// How a model is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct LoadOptions {
    /// In what layers hold their weights.
    pub(crate) storage: Storage,
    /// The longest text that is wanted; by default the model's own.
    pub(crate) window: Option<usize>,
    /// Memory for keys and values, which bounds the longest text too.
    pub(crate) cache_bytes: Option<usize>,
    /// The dtype of keys and values on the CPU.
    pub(crate) kv: KvPrecision,
}

/// A family of language models: its `model_type`s, and what reads it.
struct Family {
    types: &'static [&'static str],
    open: fn(&Value, &Parameters<'_>) -> Result<Decoder>,
}

const FAMILIES: &[Family] = &[
    Family { types: &["llama", "mistral", "ministral3", "mistral3"], open: llama::open },
    Family { types: &["gpt_oss"], open: gpt_oss::open },
    Family { types: &["smollm3"], open: smollm3::open },
    Family { types: &["qwen2"], open: qwen2::open },
    Family { types: &["qwen3"], open: qwen3::open },
    Family { types: &["qwen3_moe"], open: qwen3_moe::open },
    Family { types: &["gemma2"], open: gemma2::open },
    Family { types: &["gemma3_text", "gemma3"], open: gemma3::open },
    Family { types: &["phi3"], open: phi3::open },
    Family { types: &["granite"], open: granite::open },
];

/// Reads the language model that a `config.json` describes.
///
/// # Errors
/// `unsupported` for another architecture, or a variant that is not supported; `model_load` if the configuration or a
/// tensor is not as expected; the messages name what.
pub(crate) fn causal_lm(
    config: &Value,
    weights: &Weights,
    device: &Device,
    options: LoadOptions,
) -> Result<Box<dyn CausalLm>> {
    let family = match architecture(config)? {
        Architecture::Own(family) => family,
        Architecture::Stock(family) => return stock::open(family, config, weights, device, options),
    };
    config::check(config, weights)?;
    let memory = KvMemory::new(device, options.kv);
    let of_memory = match options.cache_bytes {
        // Whole pages.
        Some(bytes) => {
            let per_token = cache_bytes_per_token(config, &memory)?.max(1);
            Some(bytes / per_token / KvMemory::PAGE * KvMemory::PAGE)
        }
        None => None,
    };
    let window = options.window.into_iter().chain(of_memory).min();
    let parameters = Parameters::new(weights, device).stored(options.storage).with_window(window);
    let decoder = (family.open)(config, &parameters)?;
    let output = decoder.output_layer(&parameters)?;
    weights.check_no_layer_is_left()?;
    Ok(Box::new(Causal { decoder, output, memory }))
}

/// Checks that a `config.json` describes a language model that is supported.
///
/// # Errors
/// `unsupported` if it does not.
pub(crate) fn check_causal_lm(config: &Value) -> Result<()> {
    match architecture(config)? {
        Architecture::Own(_) => Ok(()),
        Architecture::Stock(family) => stock::completed(family, config, None).map(drop),
    }
}

/// Whether candle's own code computes what a `config.json` describes.
pub(crate) fn is_stock(config: &Value) -> bool {
    matches!(architecture(config), Ok(Architecture::Stock(_)))
}

/// What computes a model: the decoder here, or candle's own code.
enum Architecture {
    Own(&'static Family),
    Stock(&'static stock::StockFamily),
}

fn architecture(config: &Value) -> Result<Architecture> {
    let name = config.get("model_type").and_then(Value::as_str).unwrap_or("nothing");
    let own = FAMILIES.iter().find(|family| family.types.contains(&name)).map(Architecture::Own);
    own.or_else(|| stock::family(name).map(Architecture::Stock)).ok_or_else(|| {
        let own: Vec<&str> = FAMILIES.iter().flat_map(|family| family.types).copied().collect();
        let stock: Vec<&str> = stock::types().collect();
        Error::unsupported(format!(
            "config.json describes '{name}' (`model_type`), which is not a supported chat model; valid: {}; computed by candle, \
             which is slower: {}",
            own.join(", "),
            stock.join(", ")
        ))
    })
}

/// Memory of the keys and values of a token.
fn cache_bytes_per_token(config: &Value, memory: &KvMemory) -> Result<usize> {
    let common = match config.get("model_type").and_then(Value::as_str) {
        Some("gemma3") => CommonKeys::read(&gemma3::text_config(config))?,
        _ => CommonKeys::read(config::of_text(config))?,
    };
    let Heads { keys, size, .. } = common.plain()?.heads;
    Ok(common.num_hidden_layers.saturating_mul(memory.bytes_per_token(keys, size)))
}

/// A decoder and its output layer.
#[derive(Debug)]
struct Causal {
    decoder: Decoder,
    output: Linear,
    memory: KvMemory,
}

impl CausalLm for Causal {
    fn vocab_size(&self) -> usize {
        self.decoder.config.vocab_size
    }

    fn window(&self) -> usize {
        self.decoder.config.max_positions
    }

    fn cache_bytes_per_token(&self) -> usize {
        let Heads { keys, size, .. } = self.decoder.config.heads;
        self.decoder.config.layers.len() * self.memory.bytes_per_token(keys, size)
    }

    fn cache_bytes(&self) -> usize {
        self.memory.used()
    }

    fn is_paged(&self) -> bool {
        self.memory.device().is_cpu()
    }

    fn reuses(&self) -> bool {
        true
    }

    fn new_cache(&self, capacity: usize) -> Result<TextCache> {
        self.decoder.new_cache(&self.memory, capacity)
    }

    fn is_long(&self, capacity: usize) -> bool {
        self.decoder.is_long(capacity)
    }

    fn logits(&self, tokens: &Tokens, cached: Option<Cached<'_, '_>>, rows: &[u32]) -> Result<Tensor> {
        let states = self.decoder.forward(tokens, cached)?;
        let config = &self.decoder.config;
        let logits = self.output.forward(states.select_rows(rows)?)?;
        let logits = if config.logit_scale == 1.0 { logits } else { (logits * config.logit_scale)? };
        match config.logit_softcap {
            None => Ok(logits),
            Some(cap) => activate((logits * (1.0 / cap))?, Activation::Tanh)? * cap,
        }
    }
}
