//! DistilBERT: BERT with other names and without types of texts.

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::Value;

use super::post_norm::{Encoder, Inner, Joined, Names, Sizes};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Embedding, Mask, Norm, Place};
use crate::local::weights::{Biases, Parameters, Weights};

const NAMES: Names = Names {
    joined: Joined::Three(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    attended: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    inner: Inner::Plain("ffn.lin1"),
    down: "ffn.lin2",
    output_norm: "output_layer_norm",
    biases: Biases::All,
    inner_biases: Biases::All,
};

/// The one that all of them have.
const EPSILON: f64 = 1e-12;

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    dim: usize,
    n_layers: usize,
    n_heads: usize,
    hidden_dim: usize,
    activation: String,
    max_position_embeddings: usize,
}

/// A DistilBERT.
#[derive(Debug)]
pub(super) struct DistilBert {
    place: Place,
    config: Config,
    words: Embedding,
    positions: Embedding,
    norm: Norm,
    encoder: Encoder,
}

impl DistilBert {
    /// Reads a DistilBERT.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, place: &Place) -> Result<Self> {
        let config: Config = config::read(config)?;
        let sizes = Sizes {
            layers: config.n_layers,
            width: config.dim,
            heads: config::heads(config.dim, config.n_heads)?,
            inner: config.hidden_dim,
            activation: config::activation("activation", &config.activation)?,
            epsilon: EPSILON,
        };
        let weights = Parameters::new(weights, place).at_any(&["distilbert", "model"]).biased(Biases::All);
        let (tables, width) = (weights.at("embeddings"), config.dim);
        Ok(Self {
            place: place.clone(),
            words: tables.embedding("word_embeddings", config.vocab_size, width)?,
            positions: tables.embedding("position_embeddings", config.max_position_embeddings, width)?,
            norm: tables.layer_norm("LayerNorm", width, EPSILON)?,
            encoder: Encoder::new(&weights.at("transformer.layer"), NAMES, sizes, None)?,
            config,
        })
    }
}

impl TextEncoder for DistilBert {
    fn width(&self) -> usize {
        self.config.dim
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = tokens.positions(0);
        let parts = [(&self.words, tokens.ids()), (&self.positions, &positions[..])];
        let states = Embedding::sum(&self.place, &parts)?;
        let states = self.norm.forward_owned(&self.place, states)?;
        self.encoder.forward(states, tokens, Mask::None)
    }
}
