//! The decoder that most language models are: norms before attention and before a gated layer, rotary positions, heads
//! of queries in groups that share keys.
//!
//! A family's file (`qwen3.rs`, `gemma3.rs`) reads its `config.json` into a [`Config`]; what the families differ in is
//! a field there.

use super::{TextEncoder, Tokens};
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Embedding, Epilogue, Heads, KeyValues, KvCache, Linear, Mask, Norm,
    QkPreparation, Rope, Span, Tensor, attention, split_heads,
};
use crate::local::weights::{Biases, Parameters};

/// What a decoder is, whatever its family calls it.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    /// The longest text.
    pub(super) max_positions: usize,
    pub(super) heads: Heads,
    pub(super) activation: Activation,
    pub(super) norm_eps: f64,
    /// What is added to the weights of norms: Gemma stores them less one.
    pub(super) norm_offset: f64,
    /// Whether each head of queries and keys has a norm.
    pub(super) qk_norm: bool,
    /// Whether attention and the gated layer have a norm after them too.
    pub(super) post_norms: bool,
    /// Whether the layers around attention have a bias.
    pub(super) attention_bias: bool,
    /// What scores are multiplied by.
    pub(super) attention_scale: f32,
    /// What token embeddings are multiplied by.
    pub(super) embedding_scale: f32,
    /// The rotations that layers choose from.
    pub(super) ropes: Vec<Rope>,
    /// One entry a layer.
    pub(super) layers: Vec<LayerConfig>,
}

/// What layers of one model differ in.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerConfig {
    /// Which tokens a token sees.
    pub(super) span: Span,
    /// Which of the ropes rotates its queries and keys, if any does.
    pub(super) rope: Option<usize>,
}

/// The keys and values of one text, a cache for each layer.
pub(super) type TextCache = Vec<KvCache>;

/// A decoder without its output layer.
#[derive(Debug)]
pub(super) struct Decoder {
    pub(super) config: Config,
    token_embedding: Embedding,
    layers: Vec<Layer>,
    norm: Norm,
}

#[derive(Debug)]
struct Layer {
    config: LayerConfig,
    attention_norm: Norm,
    qkv_proj: Linear,
    qk_norms: Option<[Norm; 2]>,
    o_proj: Linear,
    attention_post_norm: Option<Norm>,
    mlp_norm: Norm,
    gate_up_proj: Linear,
    down_proj: Linear,
    mlp_post_norm: Option<Norm>,
}

impl Decoder {
    /// Reads the weights, by the names that transformers gives them.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(config: Config, weights: &Parameters<'_>) -> Result<Self> {
        let weights = weights.at_any(&["model"]);
        let layer = |(number, layer): (usize, &LayerConfig)| {
            Layer::new(&weights.at("layers").at(number), &config, *layer)
        };
        Ok(Self {
            token_embedding: weights.embedding("embed_tokens", config.vocab_size, config.hidden_size)?,
            layers: config.layers.iter().enumerate().map(layer).collect::<Result<_>>()?,
            norm: weights.rms_norm("norm", config.hidden_size, config.norm_eps, config.norm_offset)?,
            config,
        })
    }

    /// The states of the tokens after all layers: `[token, hidden]`. Each text attends to its own tokens here, or,
    /// where there are caches, to what its cache holds too, to which these tokens are added.
    ///
    /// # Errors
    /// `context_too_long` for a text that is longer than the model takes, `invalid_request` for an unknown token.
    pub(super) fn forward(&self, tokens: &Tokens, mut caches: Option<&mut [TextCache]>) -> Result<Tensor> {
        let cached = |text: usize| {
            caches.as_ref().and_then(|caches| caches.get(text)?.first()).map_or(0, KvCache::len)
        };
        let cached: Vec<usize> = (0..tokens.texts().len()).map(cached).collect();
        tokens.check_after(cached.iter().copied(), self.config.max_positions)?;
        let positions = tokens.positions_after(cached);
        let mut x = self.token_embedding.forward(tokens.ids())?;
        if self.config.embedding_scale != 1.0 {
            x = (x * self.config.embedding_scale)?;
        }
        for (number, layer) in self.layers.iter().enumerate() {
            let mut of_layer: Option<Vec<&mut KvCache>> = caches
                .as_mut()
                .map(|caches| caches.iter_mut().filter_map(|cache| cache.get_mut(number)).collect());
            x = layer.forward(&self.config, x, tokens, &positions, of_layer.as_deref_mut())?;
        }
        self.norm.forward(x)
    }
}

impl Layer {
    fn new(weights: &Parameters<'_>, config: &Config, layer: LayerConfig) -> Result<Self> {
        let (hidden, inner, heads) = (config.hidden_size, config.intermediate_size, config.heads);
        let self_attn = weights.at("self_attn");
        let biased = self_attn.biased(if config.attention_bias { Biases::All } else { Biases::None });
        let mlp = weights.at("mlp").biased(Biases::None);
        let qkv = [("q_proj", heads.width()), ("k_proj", heads.kv_width()), ("v_proj", heads.kv_width())];
        let norm = |weights: &Parameters<'_>, name, width| {
            weights.rms_norm(name, width, config.norm_eps, config.norm_offset)
        };
        let head_norm = |name| norm(&self_attn, name, heads.size);
        let post_norm = |name| config.post_norms.then(|| norm(weights, name, hidden)).transpose();
        // With norms after attention too, this name is theirs.
        let mlp_norm =
            if config.post_norms { "pre_feedforward_layernorm" } else { "post_attention_layernorm" };
        Ok(Self {
            config: layer,
            attention_norm: norm(weights, "input_layernorm", hidden)?,
            qkv_proj: biased.fused(&qkv, hidden)?,
            qk_norms: if config.qk_norm { Some([head_norm("q_norm")?, head_norm("k_norm")?]) } else { None },
            o_proj: biased.linear("o_proj", heads.width(), hidden)?,
            attention_post_norm: post_norm("post_attention_layernorm")?,
            mlp_norm: norm(weights, mlp_norm, hidden)?,
            gate_up_proj: mlp.gated("gate_proj", "up_proj", hidden, inner)?,
            down_proj: mlp.linear("down_proj", inner, hidden)?,
            mlp_post_norm: post_norm("post_feedforward_layernorm")?,
        })
    }

    fn forward(
        &self,
        config: &Config,
        x: Tensor,
        tokens: &Tokens,
        positions: &[u32],
        caches: Option<&mut [&mut KvCache]>,
    ) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(self.attention_norm.forward(&x)?)?;
        let attn_out = self.attention(config, qkv, tokens, positions, caches)?;
        let x = residual(x, &self.o_proj, attn_out, self.attention_post_norm.as_ref())?;
        let activation = Epilogue::activation(config.activation);
        let hidden = self.gate_up_proj.forward_with(self.mlp_norm.forward(&x)?, activation)?;
        residual(x, &self.down_proj, hidden, self.mlp_post_norm.as_ref())
    }

    fn attention(
        &self,
        config: &Config,
        qkv: Tensor,
        tokens: &Tokens,
        positions: &[u32],
        caches: Option<&mut [&mut KvCache]>,
    ) -> Result<Tensor> {
        let prepare = QkPreparation {
            norms: self.qk_norms.as_ref().map(|[of_queries, of_keys]| [of_queries, of_keys]),
            rope: self.config.rope.and_then(|rope| config.ropes.get(rope)).map(|rope| (rope, positions)),
        };
        let [q, k, v] = split_heads(qkv, config.heads, prepare)?;
        let starts = tokens.starts();
        let options =
            AttentionOptions { scale: config.attention_scale, span: self.config.span, mask: Mask::None };
        let Some(caches) = caches else {
            return attention(&q, starts, KeyValues::Ragged { keys: &k, values: &v, starts }, options);
        };
        for (ends, cache) in starts.windows(2).zip(&mut *caches) {
            let part = |x: &Tensor| x.narrow(0, ends[0], ends[1] - ends[0]);
            cache.append(&part(&k)?, &part(&v)?)?;
        }
        let caches: Vec<&KvCache> = caches.iter().map(|cache| &**cache).collect();
        attention(&q, starts, KeyValues::Caches(&caches), options)
    }
}

/// `x + norm(layer(y))`, the norm where the model has it.
fn residual(x: Tensor, layer: &Linear, y: Tensor, norm: Option<&Norm>) -> Result<Tensor> {
    match norm {
        Some(norm) => norm.forward(layer.forward(y)?)? + &x,
        None => layer.forward_with(y, Epilogue::residual(x)),
    }
}

impl TextEncoder for Decoder {
    fn width(&self) -> usize {
        self.config.hidden_size
    }

    fn window(&self) -> usize {
        self.config.max_positions
    }

    fn vocabulary(&self) -> usize {
        self.config.vocab_size
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        self.forward(tokens, None)
    }
}
