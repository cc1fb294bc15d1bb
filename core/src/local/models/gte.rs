//! GTE and Arctic 2 medium, in the form that came after BERT's: turning positions and a gated layer. (The older GTE
//! models are BERT.)

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::nomic_bert::words_and_types;
use super::post_norm::{Encoder, Inner, Joined, Names, Sizes};
use super::rope::Rope;
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Embedding, Gate, Mask, Norm, Place};
use crate::local::weights::{Biases, Parameters, Weights};

const NAMES: Names = Names {
    joined: Joined::One("attention.qkv_proj"),
    attended: "attention.o_proj",
    attention_norm: "attn_ln",
    inner: Inner::Halves("mlp.up_gate_proj", Gate::Second),
    down: "mlp.down_proj",
    output_norm: "mlp_ln",
    biases: Biases::All,
    inner_biases: Biases::None,
};

const ROPE: Rope = Rope { layers: None, base: "rope_theta", scaled: true, default: 160_000.0 };

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
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(default = "epsilon")]
    layer_norm_eps: f64,
}

fn epsilon() -> f64 {
    1e-12
}

/// A GTE.
#[derive(Debug)]
pub(super) struct Gte {
    place: Place,
    config: Config,
    words: Embedding,
    types: Option<Embedding>,
    norm: Norm,
    encoder: Encoder,
}

impl Gte {
    /// Reads a GTE.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, place: &Place) -> Result<Self> {
        for (key, value) in [
            ("position_embedding_type", json!("rope")),
            ("layer_norm_type", json!("layer_norm")),
            ("logn_attention_scale", json!(false)),
            ("pack_qkv", json!(true)),
        ] {
            config::only(config, key, &value)?;
        }
        let all = config;
        let config: Config = config::read(config)?;
        let (width, heads) =
            (config.hidden_size, config::heads(config.hidden_size, config.num_attention_heads)?);
        let sizes = Sizes {
            layers: config.num_hidden_layers,
            width,
            heads,
            inner: config.intermediate_size,
            activation: config::activation("hidden_act", &config.hidden_act)?,
            epsilon: config.layer_norm_eps,
        };
        let rotary = ROPE.open(all, place, heads.size, config.max_position_embeddings)?;
        let weights = Parameters::new(weights, place).at_any(&["new", "gte", "model"]);
        let tables = weights.at("embeddings").biased(Biases::All);
        let types = (config.type_vocab_size > 0)
            .then(|| tables.embedding("token_type_embeddings", config.type_vocab_size, width));
        Ok(Self {
            place: place.clone(),
            words: tables.embedding("word_embeddings", config.vocab_size, width)?,
            types: types.transpose()?,
            norm: tables.layer_norm("LayerNorm", width, config.layer_norm_eps)?,
            encoder: Encoder::new(&weights.at("encoder.layer"), NAMES, sizes, Some(rotary))?,
            config,
        })
    }
}

impl TextEncoder for Gte {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_position_embeddings
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let states = words_and_types(&self.place, &self.words, self.types.as_ref(), tokens)?;
        let states = self.norm.forward_owned(&self.place, states)?;
        self.encoder.forward(states, tokens, Mask::None)
    }
}
