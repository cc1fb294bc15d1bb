//! DistilBERT: BERT with other names and without token types.

use serde::Deserialize;
use serde_json::Value;

use super::encoder::{self, Encoder, Names, QkvNames, UpNames};
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Device, Embedding, Mask, Norm, Tensor};
use crate::local::weights::{Biases, Parameters, Weights};

const NAMES: Names = Names {
    qkv_proj: QkvNames::Three(["attention.q_lin", "attention.k_lin", "attention.v_lin"]),
    o_proj: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    up_proj: UpNames::Plain("ffn.lin1"),
    down_proj: "ffn.lin2",
    output_norm: "output_layer_norm",
    biases: Biases::All,
    up_biases: Biases::All,
};

/// No configuration says it: all models have this one.
const NORM_EPS: f64 = 1e-12;

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
    config: Config,
    token_embedding: Embedding,
    position_embedding: Embedding,
    norm: Norm,
    encoder: Encoder,
}

impl DistilBert {
    /// Reads a DistilBERT.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        let config: Config = config::read(config)?;
        let layers = encoder::Config {
            layers: config.n_layers,
            hidden_size: config.dim,
            heads: config::heads(config.dim, config.n_heads)?,
            intermediate_size: config.hidden_dim,
            activation: config::activation("activation", &config.activation)?,
            norm_eps: NORM_EPS,
        };
        let weights = Parameters::new(weights, device).at_any(&["distilbert", "model"]).biased(Biases::All);
        let (tables, width) = (weights.at("embeddings"), config.dim);
        Ok(Self {
            token_embedding: tables.embedding("word_embeddings", config.vocab_size, width)?,
            position_embedding: tables.embedding(
                "position_embeddings",
                config.max_position_embeddings,
                width,
            )?,
            norm: tables.layer_norm("LayerNorm", width, NORM_EPS)?,
            encoder: Encoder::new(&weights.at("transformer.layer"), NAMES, layers, None)?,
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

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let positions = tokens.positions(0);
        let parts = [(&self.token_embedding, tokens.ids()), (&self.position_embedding, &positions[..])];
        let x = self.norm.forward(Embedding::sum(&parts)?)?;
        self.encoder.forward(x, tokens, Mask::None)
    }
}
