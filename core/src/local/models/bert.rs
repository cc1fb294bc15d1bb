//! BERT: MiniLM, BGE, E5, GTE and Arctic in the forms that have absolute positions.

use serde::Deserialize;
use serde_json::{Value, json};

use super::encoder::{self, Encoder, Names};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Device, Embedding, Mask, Norm, Tensor};
use crate::local::weights::{Biases, Parameters, Weights};

/// What is read of `config.json`; RoBERTa's is the same.
#[derive(Debug, Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: String,
    max_position_embeddings: usize,
    #[serde(default = "type_vocab_size")]
    type_vocab_size: usize,
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
}

fn type_vocab_size() -> usize {
    2
}

fn layer_norm_eps() -> f64 {
    1e-12
}

/// A BERT, or another model of its form.
#[derive(Debug)]
pub(super) struct Bert {
    config: Config,
    token_embedding: Embedding,
    position_embedding: Embedding,
    token_type_embedding: Embedding,
    norm: Norm,
    encoder: Encoder,
    counting: Counting,
}

/// How positions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// From 0.
    FromZero,
    /// From the number after the padding token's id, which is the position of padding itself.
    After(u32),
}

impl Counting {
    /// Rows of the table that no token of a text uses.
    pub(super) fn unused(self) -> usize {
        match self {
            Self::FromZero => 0,
            Self::After(padding) => padding as usize + 1,
        }
    }

    /// The position of every token.
    pub(super) fn positions(self, tokens: &Tokens) -> Vec<u32> {
        let Self::After(padding) = self else { return tokens.positions(0) };
        let mut positions = Vec::with_capacity(tokens.ids().len());
        for text in tokens.texts() {
            let mut last = padding;
            positions.extend(text.iter().map(|id| {
                if *id == padding {
                    return padding;
                }
                last += 1;
                last
            }));
        }
        positions
    }
}

impl Bert {
    /// Reads a BERT.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        Self::with(config, weights, device, &["bert", "model"], Counting::FromZero)
    }

    /// Reads a model of this form with other prefixes of its names, or another way of counting positions.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn with(
        config: &Value,
        weights: &Weights,
        device: &Device,
        prefixes: &[&str],
        counting: Counting,
    ) -> Result<Self> {
        config::only(config, "position_embedding_type", &json!("absolute"))?;
        config::only(config, "is_decoder", &json!(false))?;
        let config: Config = config::read(config)?;
        let layers = encoder::Config {
            layers: config.num_hidden_layers,
            hidden_size: config.hidden_size,
            heads: config::heads(config.hidden_size, config.num_attention_heads)?,
            intermediate_size: config.intermediate_size,
            activation: config::activation("hidden_act", &config.hidden_act)?,
            norm_eps: config.layer_norm_eps,
        };
        if config.max_position_embeddings <= counting.unused() {
            return Err(config::wrong("`max_position_embeddings` leaves no position for a token"));
        }
        let weights = Parameters::new(weights, device).at_any(prefixes).biased(Biases::All);
        let (tables, width) = (weights.at("embeddings"), config.hidden_size);
        Ok(Self {
            token_embedding: tables.embedding("word_embeddings", config.vocab_size, width)?,
            position_embedding: tables.embedding(
                "position_embeddings",
                config.max_position_embeddings,
                width,
            )?,
            token_type_embedding: tables.embedding("token_type_embeddings", config.type_vocab_size, width)?,
            norm: tables.layer_norm("LayerNorm", width, config.layer_norm_eps)?,
            encoder: Encoder::new(&weights.at("encoder.layer"), Names::BERT, layers, None)?,
            counting,
            config,
        })
    }
}

impl TextEncoder for Bert {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings - self.counting.unused()
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = self.counting.positions(tokens);
        // A text alone is the first of a pair's two types.
        let types = vec![0; positions.len()];
        let parts = [
            (&self.token_embedding, tokens.ids()),
            (&self.token_type_embedding, &types),
            (&self.position_embedding, &positions),
        ];
        let x = self.norm.forward(Embedding::sum(&parts)?)?;
        self.encoder.forward(x, tokens, Mask::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_zero_or_after_the_padding_token() {
        let tokens = Tokens::new([&[0, 7, 1, 9][..], &[5, 6]]);
        assert_eq!(Counting::FromZero.positions(&tokens), [0, 1, 2, 3, 0, 1]);
        assert_eq!(Counting::After(1).positions(&tokens), [2, 3, 1, 4, 2, 3]);
    }
}
