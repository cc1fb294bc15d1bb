//! GTE and Arctic 2 medium, in the form that came after BERT's: rotary positions and a gated layer. (The older GTE
//! models are BERT.)

use serde::Deserialize;
use serde_json::{Value, json};

use super::encoder::{self, Encoder, Names, QkvNames, UpNames};
use super::nomic_bert::tokens_and_types;
use super::rope::RopeKeys;
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Device, Embedding, Gate, Mask, Norm, Tensor};
use crate::local::weights::{Biases, Parameters, Weights};

const NAMES: Names = Names {
    qkv_proj: QkvNames::Fused("attention.qkv_proj"),
    o_proj: "attention.o_proj",
    attention_norm: "attn_ln",
    up_proj: UpNames::Stacked("mlp.up_gate_proj", Gate::Second),
    down_proj: "mlp.down_proj",
    output_norm: "mlp_ln",
    biases: Biases::All,
    up_biases: Biases::None,
};

const ROPE: RopeKeys = RopeKeys { layers: None, base: "rope_theta", scaled: true, default: 160_000.0 };

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
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
}

fn layer_norm_eps() -> f64 {
    1e-12
}

/// A GTE.
#[derive(Debug)]
pub(super) struct Gte {
    config: Config,
    token_embedding: Embedding,
    token_type_embedding: Option<Embedding>,
    norm: Norm,
    encoder: Encoder,
}

impl Gte {
    /// Reads a GTE.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
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
        let layers = encoder::Config {
            layers: config.num_hidden_layers,
            hidden_size: width,
            heads,
            intermediate_size: config.intermediate_size,
            activation: config::activation("hidden_act", &config.hidden_act)?,
            norm_eps: config.layer_norm_eps,
        };
        let rope = ROPE.open(all, device, heads.size, config.max_position_embeddings)?;
        let weights = Parameters::new(weights, device).at_any(&["new", "gte", "model"]);
        let tables = weights.at("embeddings").biased(Biases::All);
        let types = (config.type_vocab_size > 0)
            .then(|| tables.embedding("token_type_embeddings", config.type_vocab_size, width));
        Ok(Self {
            token_embedding: tables.embedding("word_embeddings", config.vocab_size, width)?,
            token_type_embedding: types.transpose()?,
            norm: tables.layer_norm("LayerNorm", width, config.layer_norm_eps)?,
            encoder: Encoder::new(&weights.at("encoder.layer"), NAMES, layers, Some(rope))?,
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

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window())?;
        let x = tokens_and_types(&self.token_embedding, self.token_type_embedding.as_ref(), tokens)?;
        self.encoder.forward(self.norm.forward(x)?, tokens, Mask::None)
    }
}
