//! The metadata of a GGUF file as the `config.json` that the model would have, so that a family is read in one way.

use serde_json::{Map, Value, json};

use crate::error::{Error, ErrorKind, Result};
use crate::local::weights::{Metadata, Weights};

/// The keys that all decoders have: that of `config.json`, and that in the file after the architecture.
const KEYS: &[(&str, &str)] = &[
    ("hidden_size", "embedding_length"),
    ("num_hidden_layers", "block_count"),
    ("num_attention_heads", "attention.head_count"),
    ("num_key_value_heads", "attention.head_count_kv"),
    ("head_dim", "attention.key_length"),
    ("intermediate_size", "feed_forward_length"),
    ("max_position_embeddings", "context_length"),
    ("rms_norm_eps", "attention.layer_norm_rms_epsilon"),
    ("rope_theta", "rope.freq_base"),
    ("sliding_window", "attention.sliding_window"),
];

/// The configuration of the model in a GGUF file.
///
/// # Errors
/// `unsupported` for an architecture that is no chat model here, `model_load` if the file does not describe it.
pub(crate) fn config_of_gguf(weights: &Weights) -> Result<Value> {
    let missing = || Error::new(ErrorKind::ModelLoad, "the weights are not a GGUF file");
    let metadata = weights.metadata().ok_or_else(missing)?;
    let reader = Keys { metadata, architecture: metadata.architecture() };
    let mut config = reader.own()?;
    for (key, stored) in KEYS {
        if let Some(value) = reader.value(stored).filter(|_| !config.contains_key(*key)) {
            config.insert((*key).to_owned(), value);
        }
    }
    let table = weights.shape("embed_tokens.weight");
    let rows = table.and_then(<[usize]>::first).copied();
    let rows = rows.ok_or_else(|| Error::new(ErrorKind::ModelLoad, "the file has no `token_embd.weight`"))?;
    config.insert("vocab_size".to_owned(), rows.into());
    config.insert("tie_word_embeddings".to_owned(), (!weights.has("lm_head.weight")).into());
    config.insert("hidden_act".to_owned(), "silu".into());
    config.insert("attention_bias".to_owned(), weights.has("layers.0.self_attn.q_proj.bias").into());
    config.insert("mlp_bias".to_owned(), weights.has("layers.0.mlp.gate_proj.bias").into());
    config.insert("rope_scaling".to_owned(), reader.rope_scaling(weights)?);
    Ok(Value::Object(config))
}

/// The keys of one architecture.
struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl Keys<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    fn number(&self, name: &str) -> Option<f64> {
        self.metadata.number(&self.key(name))
    }

    fn whole(&self, name: &str) -> Option<u64> {
        self.metadata.whole(&self.key(name))
    }

    /// A number as JSON: whole ones stay whole. A list of one number for each layer is that number.
    fn value(&self, name: &str) -> Option<Value> {
        let of_layers = || {
            let all = self.metadata.numbers(&self.key(name))?;
            let first = *all.first()?;
            #[allow(clippy::float_cmp, reason = "the same whole number in all places")]
            let is_one = all.iter().all(|number| *number == first);
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
            is_one.then(|| Value::from(first as u64))
        };
        self.whole(name).map(Value::from).or_else(|| self.number(name).map(Value::from)).or_else(of_layers)
    }

    /// How the context is stretched.
    fn rope_scaling(&self, weights: &Weights) -> Result<Value> {
        let original = self.whole("rope.scaling.original_context_length");
        let factors = |name: &str| {
            let count = weights.shape(name).and_then(<[usize]>::first).copied()?;
            let tensor = weights.tensor(name, &[count]).ok()?.to_tensor(&candle_core::Device::Cpu).ok()?;
            tensor.to_dtype(candle_core::DType::F32).and_then(|tensor| tensor.to_vec1::<f32>()).ok()
        };
        if let (Some(long), Some(short)) =
            (factors("rope_factors_long.weight"), factors("rope_factors_short.weight"))
        {
            return Ok(json!({
                "rope_type": "longrope", "long_factor": long, "short_factor": short,
                "original_max_position_embeddings": original,
                "attention_factor": self.number("rope.scaling.attn_factor"),
            }));
        }
        let log_multiplier = self.number("rope.scaling.yarn_log_multiplier").filter(|by| *by > 0.0);
        let kind = self.metadata.text(&self.key("rope.scaling.type")).unwrap_or("none");
        let factor = self.number("rope.scaling.factor").or_else(|| self.number("rope.scale_linear"));
        match (kind, factor) {
            ("none", None) => Ok(Value::Null),
            ("none" | "linear", Some(factor)) => Ok(json!({ "rope_type": "linear", "factor": factor })),
            ("yarn", Some(factor)) => Ok(json!({
                "rope_type": "yarn", "factor": factor, "original_max_position_embeddings": original,
                "beta_fast": self.number("rope.scaling.yarn_beta_fast"),
                "beta_slow": self.number("rope.scaling.yarn_beta_slow"),
                // The file does not say it, but llama.cpp truncates for all and gpt-oss was trained without.
                "truncate": self.architecture != "gpt-oss",
                "mscale": log_multiplier.map(|_| 1.0), "mscale_all_dim": log_multiplier,
                "llama_4_scaling_beta": self.number("attention.temperature_scale").filter(|beta| *beta > 0.0),
            })),
            _ => Err(Error::unsupported(format!(
                "`{}` is '{kind}'; supported: none, linear, yarn",
                self.key("rope.scaling.type")
            ))),
        }
    }

    /// What an architecture has of its own.
    fn own(&self) -> Result<Map<String, Value>> {
        let head_size = self
            .number("attention.key_length")
            .or_else(|| Some(self.number("embedding_length")? / self.number("attention.head_count")?));
        let own = match self.architecture {
            "llama" => json!({ "model_type": "llama" }),
            "mistral3" => json!({ "model_type": "ministral3" }),
            "gpt-oss" => json!({
                "model_type": "gpt_oss",
                "num_local_experts": self.whole("expert_count"),
                "num_experts_per_tok": self.whole("expert_used_count"),
                "intermediate_size": self.whole("expert_feed_forward_length"),
            }),
            "qwen2" => json!({ "model_type": "qwen2", "sliding_window": null }),
            "qwen3" => json!({ "model_type": "qwen3" }),
            "qwen3moe" => json!({
                "model_type": "qwen3_moe",
                "num_experts": self.whole("expert_count"),
                "num_experts_per_tok": self.whole("expert_used_count"),
                "moe_intermediate_size": self.whole("expert_feed_forward_length"),
                "norm_topk_prob": true,
            }),
            "smollm3" => json!({ "model_type": "smollm3" }),
            "granite" => json!({
                "model_type": "granite",
                "embedding_multiplier": self.number("embedding_scale").unwrap_or(1.0),
                "residual_multiplier": self.number("residual_scale").unwrap_or(1.0),
                "attention_multiplier": self.number("attention.scale").or(head_size.map(|size| size.sqrt().recip())),
                "logits_scaling": self.number("logit_scale").unwrap_or(1.0),
            }),
            "phi3" => json!({
                "model_type": "phi3",
                "sliding_window": self.whole("attention.sliding_window").filter(|window| *window > 0),
                "partial_rotary_factor": self.number("rope.dimension_count").zip(head_size).map(|(part, all)| part / all),
            }),
            "gemma2" => json!({
                "model_type": "gemma2",
                "hidden_activation": "gelu_pytorch_tanh",
                "query_pre_attn_scalar": self.query_scalar(head_size, 46),
                "attn_logit_softcapping": self.number("attn_logit_softcapping"),
                "final_logit_softcapping": self.number("final_logit_softcapping"),
            }),
            "gemma3" => json!({
                "model_type": "gemma3_text",
                "hidden_activation": "gelu_pytorch_tanh",
                "query_pre_attn_scalar": self.query_scalar(head_size, 62),
                "sliding_window_pattern": 6,
                "final_logit_softcapping": self.number("final_logit_softcapping"),
            }),
            other => {
                return Err(Error::unsupported(format!(
                    "GGUF architecture '{other}' is not a supported chat model; valid: llama, mistral3, \
                     gpt-oss, qwen2, qwen3, qwen3moe, smollm3, granite, phi3, gemma2, gemma3"
                )));
            }
        };
        match own {
            Value::Object(own) => Ok(own),
            _ => Ok(Map::new()),
        }
    }

    /// Gemma divides scores by the root of the size of a head, or, in its largest model, of the width of the model by its
    /// heads. The file does not say; the number of layers does.
    fn query_scalar(&self, head_size: Option<f64>, largest: u64) -> Option<f64> {
        if self.whole("block_count") == Some(largest) {
            return Some(self.number("embedding_length")? / self.number("attention.head_count")?);
        }
        head_size
    }
}
