//! The architectures of candle-transformers that open, and the variants of them that candle computes as they were trained.

use candle_core::{Error as CandleError, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{
    gemma, glm4_new, helium, mixtral, olmo, olmo2, phi, qwen2_moe, stable_lm, starcoder2,
};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::super::config::{grouped_heads, only, read, unsupported, wrong};
use super::StockModel;
use crate::error::Result;
use crate::local::ops::Heads;

/// An architecture.
#[derive(Debug)]
pub(in super::super) struct StockFamily {
    /// Its `model_type`.
    name: &'static str,
    /// Keys of which candle computes one value only.
    only: &'static [(&'static str, &'static str)],
    /// Keys that candle wants and has no use for here, or that files leave out where they have this value.
    given: &'static [(&'static str, &'static str)],
    /// The table of tokens, for models whose output layer may be the same.
    pub(super) tied: Option<&'static str>,
    /// Whether it is where the configuration does not say.
    pub(super) ties: bool,
    /// Whether candle's mask is right for several tokens in the midst of a text.
    pub(super) continues: bool,
    pub(super) make: fn(&Value, VarBuilder<'static>) -> candle_core::Result<Box<dyn StockModel>>,
}

const TABLE: Option<&str> = Some("model.embed_tokens.weight");

const FAMILIES: &[StockFamily] = &[
    StockFamily {
        name: "gemma",
        only: &[],
        given: &[],
        tied: TABLE,
        ties: true,
        continues: true,
        make: |config, weights| Ok(Box::new(gemma::Model::new(false, &parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "glm4",
        only: &[],
        given: &[("eos_token_id", "null")],
        tied: TABLE,
        ties: false,
        continues: true,
        make: |config, weights| Ok(Box::new(glm4_new::ModelForCausalLM::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "helium",
        only: &[],
        given: &[("use_flash_attn", "false"), ("bos_token_id", "0"), ("eos_token_id", "0")],
        tied: TABLE,
        ties: false,
        continues: true,
        make: |config, weights| Ok(Box::new(helium::Model::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "mixtral",
        only: &[],
        given: &[("use_flash_attn", "false")],
        tied: TABLE,
        ties: false,
        continues: true,
        make: |config, weights| Ok(Box::new(mixtral::Model::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "olmo",
        only: &[],
        given: &[],
        tied: TABLE,
        ties: false,
        continues: true,
        make: |config, weights| Ok(Box::new(olmo::Model::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "olmo2",
        only: &[("clip_qkv", "null")],
        given: &[],
        tied: TABLE,
        ties: false,
        continues: true,
        make: |config, weights| Ok(Box::new(olmo2::Model::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "phi",
        only: &[("qk_layernorm", "false"), ("tie_word_embeddings", "false")],
        given: &[("qk_layernorm", "false"), ("tie_word_embeddings", "false")],
        tied: None,
        ties: false,
        continues: false,
        make: |config, weights| Ok(Box::new(phi::Model::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "qwen2_moe",
        only: &[("use_sliding_window", "false"), ("mlp_only_layers", "[]"), ("decoder_sparse_step", "1")],
        given: &[("use_sliding_window", "false"), ("max_window_layers", "0")],
        tied: TABLE,
        ties: false,
        continues: true,
        make: |config, weights| Ok(Box::new(qwen2_moe::Model::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "stablelm",
        only: &[("use_parallel_residual", "false"), ("qk_layernorm", "false")],
        given: &[("use_cache", "true"), ("use_flash_attn", "false")],
        tied: TABLE,
        ties: false,
        continues: true,
        make: |config, weights| Ok(Box::new(stable_lm::Model::new(&parsed(config)?, weights)?)),
    },
    StockFamily {
        name: "starcoder2",
        only: &[("tie_word_embeddings", "true")],
        given: &[],
        tied: TABLE,
        ties: true,
        continues: true,
        make: |config, weights| Ok(Box::new(starcoder2::Model::new(&parsed(config)?, weights)?)),
    },
];

/// Candle's own configuration.
fn parsed<T: DeserializeOwned>(config: &Value) -> candle_core::Result<T> {
    T::deserialize(config).map_err(|error| CandleError::Msg(format!("config.json: {error}")))
}

/// How candle's models are called: with the place of the first token, or without.
macro_rules! stock_models {
    (placed $($placed:ty)*; counting $($counting:ty)*;) => {
        $(impl StockModel for $placed {
            fn forward(&mut self, ids: &Tensor, offset: usize) -> candle_core::Result<Tensor> {
                self.forward(ids, offset)
            }
        })*
        $(impl StockModel for $counting {
            fn forward(&mut self, ids: &Tensor, _: usize) -> candle_core::Result<Tensor> {
                self.forward(ids)
            }
        })*
    };
}

stock_models! {
    placed gemma::Model glm4_new::ModelForCausalLM helium::Model mixtral::Model olmo::Model olmo2::Model qwen2_moe::Model
        stable_lm::Model starcoder2::Model;
    counting phi::Model;
}

/// The `model_type`s that open.
pub(in super::super) fn types() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().map(|family| family.name)
}

/// The architecture of this `model_type`.
pub(in super::super) fn family(name: &str) -> Option<&'static StockFamily> {
    FAMILIES.iter().find(|family| family.name == name)
}

impl StockFamily {
    /// Its `model_type`.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }
}

/// A configuration with what candle needs of it, and no longer a text than its tables should be made for.
///
/// # Errors
/// `unsupported` for a variant that candle does not compute, `model_load` if a value is not as expected.
pub(in super::super) fn completed(
    family: &StockFamily,
    config: &Value,
    window: Option<usize>,
) -> Result<(Value, Shape)> {
    let literal = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    for (key, value) in family.only {
        only(config, key, &literal(value))?;
    }
    let mut config = config.clone();
    let rope = config.get("rope_parameters").filter(|rope| rope.is_object()).cloned().unwrap_or_default();
    let scaling = [&rope, config.get("rope_scaling").unwrap_or(&Value::Null)];
    for kind in scaling.iter().filter_map(|rope| rope.get("rope_type").or_else(|| rope.get("type"))) {
        if kind != "default" {
            return Err(unsupported("rope_scaling", format_args!("of type {kind}"), "default"));
        }
    }
    for (key, value) in family.given {
        config[*key] = literal(value);
    }
    for (key, default) in [
        ("rope_theta", json!(10_000.0)),
        ("partial_rotary_factor", json!(1.0)),
        ("attention_bias", json!(false)),
    ] {
        if config.get(key).is_none_or(Value::is_null) {
            config[key] = rope.get(key).cloned().unwrap_or(default);
        }
    }
    if family.name == "gemma" {
        gelu_of_gemma(&mut config);
    }
    let mut shape = Shape::of(&config)?;
    shape.window = shape.window.min(window.unwrap_or(usize::MAX));
    config["max_position_embeddings"] = json!(shape.window);
    // No text is longer, so that candle's masks, which forget it past the prompt, have nothing to hide.
    config["sliding_window"] = json!(shape.window);
    Ok((config, shape))
}

/// The first Gemmas say `gelu` and were trained with its approximation; candle wants one of the two keys only.
fn gelu_of_gemma(config: &mut Value) {
    if config.get("hidden_activation").is_none_or(Value::is_null) {
        let named = config.get("hidden_act").filter(|name| *name != "gelu").cloned();
        config["hidden_activation"] = named.unwrap_or_else(|| json!("gelu_pytorch_tanh"));
    }
    config["hidden_act"] = Value::Null;
}

/// The longest text of a model of candle: tables of positions are made for each.
const MAX_WINDOW: usize = 1 << 17;

/// The sizes of a model.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Shape {
    pub(super) vocab_size: usize,
    pub(super) window: usize,
    layers: usize,
    heads: Heads,
}

/// What is read of `config.json` for it.
#[derive(Debug, Deserialize)]
struct Sizes {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: usize,
    sliding_window: Option<usize>,
    partial_rotary_factor: f64,
    #[serde(alias = "num_local_experts")]
    num_experts: Option<usize>,
    num_experts_per_tok: Option<usize>,
}

impl Shape {
    /// The sizes in a configuration, checked as far as candle divides by them.
    ///
    /// # Errors
    /// `model_load` if they do not belong together.
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "heads are small"
    )]
    fn of(config: &Value) -> Result<Self> {
        let sizes: Sizes = read(config)?;
        let queries = sizes.num_attention_heads;
        let size =
            sizes.head_dim.unwrap_or_else(|| sizes.hidden_size.checked_div(queries).unwrap_or_default());
        let keys = sizes.num_key_value_heads.unwrap_or(queries);
        let heads = grouped_heads(Heads { queries, keys, size })?;
        let rotated = sizes.partial_rotary_factor * size as f64;
        if !(0.0..=size as f64).contains(&rotated) || !(rotated as usize).is_multiple_of(2) {
            return Err(wrong(format_args!("{rotated} numbers of a head of {size} cannot be rotated")));
        }
        if let (Some(used), Some(count)) = (sizes.num_experts_per_tok, sizes.num_experts)
            && !(1..=count).contains(&used)
        {
            return Err(wrong(format_args!("{used} of {count} experts cannot work on a token")));
        }
        let positions = sizes.max_position_embeddings;
        let window = sizes.sliding_window.filter(|window| *window > 0).unwrap_or(positions);
        Ok(Self {
            vocab_size: sizes.vocab_size,
            window: positions.min(window).min(MAX_WINDOW),
            layers: sizes.num_hidden_layers,
            heads,
        })
    }

    /// Memory of the keys and values of a token, in f32.
    pub(super) fn bytes_per_token(&self) -> usize {
        self.layers.saturating_mul(2 * self.heads.kv_width() * size_of::<f32>())
    }
}
