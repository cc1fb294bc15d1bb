//! BERT: MiniLM, BGE, E5, GTE and Arctic in the forms that have absolute positions.

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::post_norm::{Encoder, Names, Sizes};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Embedding, Mask, Norm, Place};
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
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
}

fn two() -> usize {
    2
}

fn epsilon() -> f64 {
    1e-12
}

/// A BERT, or another model of its form.
#[derive(Debug)]
pub(super) struct Bert {
    place: Place,
    config: Config,
    words: Embedding,
    positions: Embedding,
    types: Embedding,
    norm: Norm,
    encoder: Encoder,
    /// What positions are counted from.
    counting: Counting,
}

/// How positions are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counting {
    /// From 0.
    FromZero,
    /// From the number after that of the padding token, which itself has its own number as position.
    After(u32),
}

impl Counting {
    /// Rows of the table that no text's token has.
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
    pub(super) fn new(config: &Value, weights: &Weights, place: &Place) -> Result<Self> {
        Self::with(config, weights, place, &["bert", "model"], Counting::FromZero)
    }

    /// Reads a model of this form that has something else in front of its names or counts positions in another way.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn with(
        config: &Value,
        weights: &Weights,
        place: &Place,
        fronts: &[&str],
        counting: Counting,
    ) -> Result<Self> {
        config::only(config, "position_embedding_type", &json!("absolute"))?;
        config::only(config, "is_decoder", &json!(false))?;
        let config: Config = config::read(config)?;
        let sizes = Sizes {
            layers: config.num_hidden_layers,
            width: config.hidden_size,
            heads: config::heads(config.hidden_size, config.num_attention_heads)?,
            inner: config.intermediate_size,
            activation: config::activation("hidden_act", &config.hidden_act)?,
            epsilon: config.layer_norm_eps,
        };
        if config.max_position_embeddings <= counting.unused() {
            return Err(config::wrong("`max_position_embeddings` leaves no position for a token"));
        }
        let weights = Parameters::new(weights, place).at_any(fronts).biased(Biases::All);
        let (tables, width) = (weights.at("embeddings"), config.hidden_size);
        Ok(Self {
            place: place.clone(),
            words: tables.embedding("word_embeddings", config.vocab_size, width)?,
            positions: tables.embedding("position_embeddings", config.max_position_embeddings, width)?,
            types: tables.embedding("token_type_embeddings", config.type_vocab_size, width)?,
            norm: tables.layer_norm("LayerNorm", width, config.layer_norm_eps)?,
            encoder: Encoder::new(&weights.at("encoder.layer"), Names::BERT, sizes, None)?,
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

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = self.counting.positions(tokens);
        // Texts are the first of a pair's two types.
        let types = vec![0; positions.len()];
        let parts = [(&self.words, tokens.ids()), (&self.types, &types), (&self.positions, &positions)];
        let states = Embedding::sum(&self.place, &parts)?;
        let states = self.norm.forward_owned(&self.place, states)?;
        self.encoder.forward(states, tokens, Mask::None)
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
