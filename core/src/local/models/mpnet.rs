//! MPNet: BERT whose attention also adds a bias by the distance of two tokens, the same in every layer.

use candle_core::DType;
use serde::Deserialize;
use serde_json::Value;

use super::bert::Counting;
use super::encoder::{self, Encoder, Names, QkvNames};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Device, Distances, Embedding, Mask, Norm, Tensor, of_candle};
use crate::local::weights::{Biases, Parameters, Weights};

const NAMES: Names = Names {
    qkv_proj: QkvNames::Three(["attention.attn.q", "attention.attn.k", "attention.attn.v"]),
    o_proj: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..Names::BERT
};

/// Positions start after the padding token, whose id is 1 whatever the configuration says.
const COUNTING: Counting = Counting::After(1);

/// Tokens that are farther apart count as this far.
const REACH: usize = 128;

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
    #[serde(default = "relative_attention_num_buckets")]
    relative_attention_num_buckets: usize,
}

fn layer_norm_eps() -> f64 {
    1e-12
}

fn relative_attention_num_buckets() -> usize {
    32
}

/// An MPNet.
#[derive(Debug)]
pub(super) struct MpNet {
    config: Config,
    token_embedding: Embedding,
    position_embedding: Embedding,
    norm: Norm,
    encoder: Encoder,
    /// What attention adds by distance, one head after the other.
    biases: Vec<f32>,
}

impl MpNet {
    /// Reads an MPNet.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        let config: Config = config::read(config)?;
        let layers = encoder::Config {
            layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            heads: config::heads(config.hidden_size, config.num_attention_heads)?,
            intermediate_size: config.intermediate_size,
            activation: config::activation("hidden_act", &config.hidden_act)?,
            norm_eps: config.layer_norm_eps,
        };
        if config.max_position_embeddings <= COUNTING.unused() {
            return Err(config::wrong("`max_position_embeddings` leaves no position for a token"));
        }
        let weights = Parameters::new(weights, device).at_any(&["mpnet", "model"]).biased(Biases::All);
        let (tables, width) = (weights.at("embeddings"), config.hidden_size);
        Ok(Self {
            token_embedding: tables.embedding("word_embeddings", config.vocab_size, width)?,
            position_embedding: tables.embedding(
                "position_embeddings",
                config.max_position_embeddings,
                width,
            )?,
            norm: tables.layer_norm("LayerNorm", width, config.layer_norm_eps)?,
            encoder: Encoder::new(&weights.at("encoder.layer"), NAMES, layers, None)?,
            biases: biases(&weights, config.relative_attention_num_buckets, config.num_attention_heads)?,
            config,
        })
    }
}

/// The biases of every head from `-REACH` to `REACH`.
fn biases(weights: &Parameters<'_>, buckets: usize, heads: usize) -> Result<Vec<f32>> {
    if buckets < 4 || !buckets.is_multiple_of(4) {
        return Err(config::unsupported("relative_attention_num_buckets", buckets, "multiples of 4"));
    }
    let table = weights.at("encoder.relative_attention_bias").tensor("weight", &[buckets, heads])?;
    let table: Vec<f32> =
        table.flatten_all().and_then(|x| x.to_dtype(DType::F32)?.to_vec1()).map_err(of_candle)?;
    let of_head = |head: usize| {
        let before = (0..REACH).map(|i| bucket(buckets, REACH - i));
        let after = (0..=REACH).map(|distance| match distance {
            0 => 0,
            _ => buckets / 2 + bucket(buckets, distance),
        });
        before.chain(after).map(|bucket| table[bucket * heads + head]).collect::<Vec<f32>>()
    };
    Ok((0..heads).flat_map(of_head).collect())
}

/// The bucket of a distance on one side: near ones have their own, farther ones share them by their logarithm.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "distances are small and buckets positive; f32 as the model was trained with"
)]
fn bucket(buckets: usize, distance: usize) -> usize {
    let most = buckets / 2;
    let exact = most / 2;
    if distance < exact {
        return distance;
    }
    let growth = (distance as f32 / exact as f32).ln() / (REACH as f64 / exact as f64).ln() as f32;
    (exact + (growth * (most - exact) as f32) as usize).min(most - 1)
}

impl TextEncoder for MpNet {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings - COUNTING.unused()
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = COUNTING.positions(tokens);
        let parts = [(&self.token_embedding, tokens.ids()), (&self.position_embedding, &positions[..])];
        let x = self.norm.forward(Embedding::sum(&parts)?)?;
        let mask = Mask::Distances(Distances { values: &self.biases, reach: REACH });
        self.encoder.forward(x, tokens, mask)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_distances_have_their_own_bucket_and_far_ones_share() {
        let of = |distance| bucket(32, distance);
        assert_eq!((0..8).map(of).collect::<Vec<_>>(), (0..8).collect::<Vec<_>>());
        assert_eq!([8, 11, 12, 16, 31, 64, 90, 91, 127, 128].map(of), [8, 8, 9, 10, 11, 14, 14, 15, 15, 15]);
        assert!((0..REACH).all(|distance| of(distance) <= of(distance + 1)));
    }
}
