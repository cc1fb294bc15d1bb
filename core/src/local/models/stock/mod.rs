//! Language models that are computed by candle-transformers' own code: those that are not written here. They are slower:
//! each text is computed by itself, in f32, and nothing is reused between conversations.

mod families;
mod text;
mod weights;

use std::fmt;
use std::sync::Arc;

use candle_nn::VarBuilder;
use serde_json::Value;

use super::text_cache::{Cached, TextCache};
use super::{CausalLm, LoadOptions, Tokens, config};
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Device, Precision, Tensor};
use crate::local::weights::{Storage, Weights};
use families::Shape;
use weights::SharedWeights;

pub(super) use families::{StockFamily, completed, family, types};
pub(super) use text::StockText;

/// One text's state in a model of candle.
pub(super) trait StockModel: Send + Sync {
    /// The logits of what follows the last of these tokens, `offset` tokens after the first of the text.
    fn forward(
        &mut self,
        ids: &candle_core::Tensor,
        offset: usize,
    ) -> candle_core::Result<candle_core::Tensor>;
}

/// Makes a state for a new text. Its weights are those of all others.
type Make = dyn Fn() -> candle_core::Result<Box<dyn StockModel>> + Send + Sync;

/// A model of candle-transformers.
struct Stock {
    shape: Shape,
    device: Device,
    /// Whether candle's mask is right for several tokens in the midst of a text.
    continues: bool,
    make: Arc<Make>,
}

/// Reads the language model that a `config.json` describes.
///
/// # Errors
/// `unsupported` for a variant that candle does not compute; `model_load` if the configuration or a tensor is not as
/// expected.
pub(super) fn open(
    family: &'static StockFamily,
    config: &Value,
    weights: &Weights,
    device: &Device,
    options: LoadOptions,
) -> Result<Box<dyn CausalLm>> {
    config::check(config, weights)?;
    // Candle makes room for so many before it looks for the first.
    for key in ["num_experts", "num_local_experts"] {
        let count = config.get(key).and_then(Value::as_u64).unwrap_or_default();
        if count > weights.len() as u64 {
            return Err(config::wrong(format_args!(
                "`{key}` is {count}, the weights have {} tensors",
                weights.len()
            )));
        }
    }
    if !matches!(options.storage, Storage::AsInFile)
        && (options.storage, device.precision) != (Storage::Precision, Precision::F32)
    {
        let name = family.name();
        return Err(Error::unsupported(format!(
            "'{name}' is computed by candle's own code, in f32 only: leave `precision` out"
        )));
    }
    let (_, shape) = families::completed(family, config, options.window)?;
    let of_memory = options.cache_bytes.map_or(usize::MAX, |bytes| bytes / shape.bytes_per_token().max(1));
    let (config, shape) = families::completed(family, config, Some(shape.window.min(of_memory)))?;
    let ties = config.get("tie_word_embeddings").and_then(Value::as_bool).unwrap_or(family.ties);
    let shared = SharedWeights::new(weights, device, if ties { family.tied } else { None });
    let parameters = VarBuilder::from_backend(Box::new(shared), candle_core::DType::F32, device.of_candle());
    let make = move || (family.make)(&config, parameters.clone());
    // What is missing is known now; later states share what this one read.
    drop(make().map_err(unusable)?);
    weights.check_no_layer_is_left()?;
    Ok(Box::new(Stock { shape, device: device.clone(), continues: family.continues, make: Arc::new(make) }))
}

impl CausalLm for Stock {
    fn vocab_size(&self) -> usize {
        self.shape.vocab_size
    }

    fn window(&self) -> usize {
        self.shape.window
    }

    fn cache_bytes_per_token(&self) -> usize {
        self.shape.bytes_per_token()
    }

    fn new_cache(&self, _: usize) -> Result<TextCache> {
        Ok(TextCache::of_stock(StockText::default()))
    }

    /// Candle tells nobody, so conversations are let in by the most that each may take.
    fn cache_bytes(&self) -> usize {
        0
    }

    fn is_paged(&self) -> bool {
        false
    }

    /// What candle keeps of a text can't be cut.
    fn reuses(&self) -> bool {
        false
    }

    fn is_long(&self, _: usize) -> bool {
        false
    }

    fn logits(&self, tokens: &Tokens, cached: Option<Cached<'_, '_>>, rows: &[u32]) -> Result<Tensor> {
        let mut own: Vec<TextCache> = Vec::new();
        let mut caches: Vec<&mut TextCache> = match cached {
            Some(cached) => cached.caches.iter_mut().map(|cache| &mut **cache).collect(),
            None => {
                own.extend(tokens.texts().map(|_| TextCache::of_stock(StockText::default())));
                own.iter_mut().collect()
            }
        };
        tokens.check_after(caches.iter().map(|cache| cache.len()), self.shape.window)?;
        if let Some(id) = tokens.ids().iter().find(|id| **id as usize >= self.shape.vocab_size) {
            let size = self.shape.vocab_size;
            return Err(Error::invalid_request(format!("there is no token {id} of {size}")));
        }
        let mut logits = Vec::new();
        let mut first = 0_usize;
        for (text, cache) in tokens.texts().zip(&mut caches) {
            let end = first + text.len();
            let wanted: Vec<usize> = rows
                .iter()
                .map(|row| *row as usize)
                .filter(|row| (first..end).contains(row))
                .map(|row| row - first)
                .collect();
            let state =
                cache.stock().ok_or_else(|| Error::invalid_request("the cache is another model's"))?;
            logits.extend(state.advance(self, text, &wanted)?);
            first = end;
        }
        // In the order of `rows`, which is that of the texts.
        Tensor::from_vec(&self.device, logits, [rows.len(), self.shape.vocab_size])
    }
}

impl Stock {
    fn new_state(&self) -> Result<Box<dyn StockModel>> {
        (self.make)().map_err(unusable)
    }
}

/// What candle could not make of the weights.
fn unusable(error: candle_core::Error) -> Error {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Error::new(ErrorKind::ModelLoad, format!("candle cannot use the weights: {line}")).with_source(error)
}

impl fmt::Debug for Stock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stock({:?})", self.shape)
    }
}

#[cfg(test)]
mod tests;
