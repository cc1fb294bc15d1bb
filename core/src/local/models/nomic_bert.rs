//! NomicBERT: BERT with turning positions, a gated layer and no biases. Its configuration comes in the form of its
//! authors, after GPT-2, and in that of transformers.

use candle_core::Tensor;
use serde::Deserialize;
use serde_json::{Value, json};

use super::post_norm::{Encoder, Inner, Joined, Names, Sizes};
use super::rope::Rope;
use super::{TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{Activation, Embedding, Mask, Norm, Place};
use crate::local::weights::{Biases, Parameters, Weights};

const NAMES: Names = Names {
    joined: Joined::One("attn.Wqkv"),
    attended: "attn.out_proj",
    attention_norm: "norm1",
    inner: Inner::Gated { gate: "mlp.fc12", up: "mlp.fc11" },
    down: "mlp.fc2",
    output_norm: "norm2",
    biases: Biases::None,
    inner_biases: Biases::None,
};

const ROPE: Rope = Rope { layers: None, base: "rotary_emb_base", scaled: true, default: 1_000.0 };

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
    #[serde(alias = "layer_norm_epsilon", default = "epsilon")]
    layer_norm_eps: f64,
    /// Positions before those at which the turns are stretched, if they are.
    max_trained_positions: Option<usize>,
    rotary_scaling_factor: Option<f64>,
}

fn epsilon() -> f64 {
    1e-12
}

/// What the authors' form may say and this is not.
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

/// What goes through the gate.
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
    place: Place,
    width: usize,
    window: usize,
    words: Embedding,
    types: Option<Embedding>,
    norm: Norm,
    encoder: Encoder,
}

impl NomicBert {
    /// Reads a NomicBERT.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected, `unsupported` for what is not computed here.
    pub(super) fn new(config: &Value, weights: &Weights, place: &Place) -> Result<Self> {
        check(config)?;
        let all = config;
        let config: Config = config::read(config)?;
        let (width, heads) =
            (config.hidden_size, config::heads(config.hidden_size, config.num_attention_heads)?);
        let sizes = Sizes {
            layers: config.num_hidden_layers,
            width,
            heads,
            inner: config.intermediate_size.unwrap_or(4 * width),
            activation: activation(&config.hidden_act)?,
            epsilon: config.layer_norm_eps,
        };
        // Stretched turns are those of the trained positions until a text is longer than them.
        let trained = config.rotary_scaling_factor.and(config.max_trained_positions);
        let window = config.max_position_embeddings.min(trained.unwrap_or(usize::MAX));
        let rotary = ROPE.open(all, place, heads.size, window)?;
        let weights = Parameters::new(weights, place).at_any(&["bert", "nomic_bert", "model"]);
        let tables = weights.at("embeddings");
        let types = (config.type_vocab_size > 0)
            .then(|| tables.embedding("token_type_embeddings", config.type_vocab_size, width));
        Ok(Self {
            place: place.clone(),
            width,
            window,
            words: tables.embedding("word_embeddings", config.vocab_size, width)?,
            types: types.transpose()?,
            norm: weights.biased(Biases::All).layer_norm("emb_ln", width, config.layer_norm_eps)?,
            encoder: Encoder::new(&weights.at("encoder.layers"), NAMES, sizes, Some(rotary))?,
        })
    }
}

/// The sum of each token's row in the table of words and, if there is one, the first in that of types.
pub(super) fn words_and_types(
    place: &Place,
    words: &Embedding,
    types: Option<&Embedding>,
    tokens: &Tokens,
) -> Result<Tensor> {
    let first = vec![0; tokens.ids().len()];
    let mut parts = vec![(words, tokens.ids())];
    parts.extend(types.map(|types| (types, &first[..])));
    Embedding::sum(place, &parts)
}

impl TextEncoder for NomicBert {
    fn width(&self) -> usize {
        self.width
    }

    fn window(&self) -> usize {
        self.window
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        tokens.check(self.window)?;
        let states = words_and_types(&self.place, &self.words, self.types.as_ref(), tokens)?;
        let states = self.norm.forward_owned(&self.place, states)?;
        self.encoder.forward(states, tokens, Mask::None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_authors_form_may_say_and_is_not_here_is_refused_by_its_key() {
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
