//! NomicBERT: BERT with rotary positions, a gated layer and no biases. Its configuration comes in the form of its
//! authors, after GPT-2, and in that of transformers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::encoder::{self, Encoder, Names, QkvNames, UpNames};
use super::rope::RopeKeys;
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Activation, Device, Embedding, Mask, Norm, Tensor};
use crate::local::weights::{Biases, Parameters, Weights};

const NAMES: Names = Names {
    qkv_proj: QkvNames::Fused("attn.Wqkv"),
    o_proj: "attn.out_proj",
    attention_norm: "norm1",
    up_proj: UpNames::Gated { gate: "mlp.fc12", up: "mlp.fc11" },
    down_proj: "mlp.fc2",
    output_norm: "norm2",
    biases: Biases::None,
    up_biases: Biases::None,
};

const ROPE: RopeKeys = RopeKeys { layers: None, base: "rotary_emb_base", scaled: true, default: 1_000.0 };

/// What is read of `config.json`.
#[derive(Debug, Deserialize)]
struct Config {
    vocab_size: usize,
    #[serde(alias = "n_embd")]
    hidden_size: usize,
    #[serde(alias = "n_layer")]
    num_hidden_layers: usize,
    #[serde(alias = "n_head")]
    num_attention_heads: usize,
    #[serde(alias = "n_inner")]
    intermediate_size: Option<usize>,
    #[serde(alias = "activation_function")]
    hidden_act: String,
    #[serde(alias = "n_positions")]
    max_position_embeddings: usize,
    #[serde(default)]
    type_vocab_size: usize,
    #[serde(alias = "layer_norm_epsilon", default = "layer_norm_eps")]
    layer_norm_eps: f64,
    /// From this position on the rope is stretched, if it is.
    max_trained_positions: Option<usize>,
    rotary_scaling_factor: Option<f64>,
}

fn layer_norm_eps() -> f64 {
    1e-12
}

/// Refuses what the authors' form may say and is not computed here.
fn check(config: &Value) -> Result<()> {
    for (key, value) in [
        ("prenorm", json!(false)),
        ("parallel_block", json!(false)),
        ("causal", json!(false)),
        ("use_rms_norm", json!(false)),
        ("qkv_proj_bias", json!(false)),
        ("mlp_fc1_bias", json!(false)),
        ("mlp_fc2_bias", json!(false)),
        ("rotary_emb_fraction", json!(1.0)),
        ("rotary_emb_interleaved", json!(false)),
        ("rotary_emb_scale_base", Value::Null),
        ("scale_attn_by_inverse_layer_idx", json!(false)),
        ("layer_norm_type", json!("layer_norm")),
    ] {
        config::only(config, key, &value)?;
    }
    // Some write no layer as 0.
    match config.get("moe_every_n_layers").and_then(Value::as_u64) {
        None | Some(0) => Ok(()),
        Some(every) => Err(config::unsupported("moe_every_n_layers", every, "0")),
    }
}

/// The activation of the gate.
fn activation(name: &str) -> Result<Activation> {
    match name {
        "swiglu" => Ok(Activation::Silu),
        "geglu" => Ok(Activation::Gelu),
        _ => config::activation("hidden_act", name),
    }
}

/// A NomicBERT.
#[derive(Debug)]
pub(super) struct NomicBert {
    width: usize,
    window: usize,
    token_embedding: Embedding,
    token_type_embedding: Option<Embedding>,
    norm: Norm,
    encoder: Encoder,
}

impl NomicBert {
    /// Reads a NomicBERT.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        check(config)?;
        let all = config;
        let config: Config = config::read(config)?;
        let (width, heads) =
            (config.hidden_size, config::heads(config.hidden_size, config.num_attention_heads)?);
        let layers = encoder::Config {
            layers: config.num_hidden_layers,
            hidden_size: width,
            heads,
            intermediate_size: config.intermediate_size.unwrap_or(4 * width),
            activation: activation(&config.hidden_act)?,
            norm_eps: config.layer_norm_eps,
        };
        // The rope is not stretched until a text is longer than the trained positions.
        let trained = config.rotary_scaling_factor.and(config.max_trained_positions);
        let window = config.max_position_embeddings.min(trained.unwrap_or(usize::MAX));
        let rope = ROPE.open(all, device, heads.size, window)?;
        let weights = Parameters::new(weights, device).at_any(&["bert", "nomic_bert", "model"]);
        let tables = weights.at("embeddings");
        let types = (config.type_vocab_size > 0)
            .then(|| tables.embedding("token_type_embeddings", config.type_vocab_size, width));
        Ok(Self {
            width,
            window,
            token_embedding: tables.embedding("word_embeddings", config.vocab_size, width)?,
            token_type_embedding: types.transpose()?,
            norm: weights.biased(Biases::All).layer_norm("emb_ln", width, config.layer_norm_eps)?,
            encoder: Encoder::new(&weights.at("encoder.layers"), NAMES, layers, Some(rope))?,
        })
    }
}

/// Each token's embedding, and that of the first token type where there are types.
pub(super) fn tokens_and_types(
    token_embedding: &Embedding,
    token_type_embedding: Option<&Embedding>,
    tokens: &Tokens,
) -> Result<Tensor> {
    let first = vec![0; tokens.ids().len()];
    let mut parts = vec![(token_embedding, tokens.ids())];
    parts.extend(token_type_embedding.map(|types| (types, &first[..])));
    Embedding::sum(&parts)
}

impl TextEncoder for NomicBert {
    fn width(&self) -> usize {
        self.width
    }

    fn window(&self) -> usize {
        self.window
    }

    fn vocabulary(&self) -> usize {
        self.token_embedding.count()
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window)?;
        let x = tokens_and_types(&self.token_embedding, self.token_type_embedding.as_ref(), tokens)?;
        self.encoder.forward(self.norm.forward(x)?, tokens, Mask::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsupported_keys_of_the_authors_form_are_refused_by_name() {
        for (key, value) in
            [("prenorm", json!(true)), ("moe_every_n_layers", json!(2)), ("rotary_emb_fraction", json!(0.5))]
        {
            let error = check(&json!({ key: value })).unwrap_err();
            assert!(error.message().contains(key), "{error}");
        }
        assert!(
            check(&json!({"prenorm": false, "moe_every_n_layers": 0, "rotary_emb_fraction": 1.0})).is_ok()
        );
    }
}
