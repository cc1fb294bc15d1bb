//! RoBERTa and XLM-R: multilingual E5, BGE-M3, Arctic 2. BERT with positions that start after the padding token's
//! number, and one type of text.

use serde::Deserialize;
use serde_json::Value;

use super::bert::{Bert, Counting};
use super::config;
use crate::error::Result;
use crate::local::ops::Device;
use crate::local::weights::Weights;

#[derive(Debug, Deserialize)]
struct Config {
    #[serde(default = "pad_token_id")]
    pad_token_id: u32,
}

fn pad_token_id() -> u32 {
    1
}

/// Reads a RoBERTa.
///
/// # Errors
/// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
pub(super) fn open(config: &Value, weights: &Weights, device: &Device) -> Result<Bert> {
    let Config { pad_token_id } = config::read(config)?;
    Bert::with(config, weights, device, &["roberta", "model"], Counting::After(pad_token_id))
}
