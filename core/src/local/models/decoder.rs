//! The decoder that most language models are: norms before attention and before a gated layer, rotary positions, heads
//! of queries in groups that share keys.
//!
//! A family's file (`llama.rs`, `gemma3.rs`) reads its `config.json` into a [`Config`]; what the families differ in is
//! a field there.

use serde::Deserialize;
use serde_json::Value;

use super::experts::{Experts, ExpertsConfig};
use super::rope::{QueryScaling, RopeKeys, RopeShape};
use super::text_cache::{Cached, TextCache};
use super::{Piece, TextEncoder, Tokens, config};
use crate::error::Result;
use crate::local::ops::{
    Activation, AttentionOptions, Embedding, Epilogue, Gate, Heads, KeyValues, KvCache, KvMemory, Linear,
    Norm, QkPreparation, Rope, RopeLayout, Span, Tensor, attention, by_sequences, feed_forward, scale_rows,
    split_heads,
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
    /// Whether queries, keys and values have a bias.
    pub(super) qkv_bias: bool,
    /// Whether the layer after attention has a bias.
    pub(super) o_bias: bool,
    /// Whether the gated layer and the one after it have biases.
    pub(super) mlp_bias: bool,
    /// Whether queries, keys and values are one tensor in the file, and gates and what they gate another.
    pub(super) fused: bool,
    /// The experts in place of the gated layer, in models with them.
    pub(super) experts: Option<ExpertsConfig>,
    /// What scores are multiplied by.
    pub(super) attention_scale: f32,
    /// What bounds scores, softly.
    pub(super) attention_softcap: Option<f32>,
    /// Whether each head of queries has an attention sink.
    pub(super) sinks: bool,
    /// What queries far into a text are multiplied by.
    pub(super) query_scaling: Option<QueryScaling>,
    /// What token embeddings are multiplied by.
    pub(super) embedding_scale: f32,
    /// What the outcome of attention and of the gated layer is multiplied by.
    pub(super) residual_scale: f32,
    /// What logits are multiplied by.
    pub(super) logit_scale: f32,
    /// What bounds logits, softly.
    pub(super) logit_softcap: Option<f32>,
    /// Whether the output layer is the table of token embeddings.
    pub(super) tied: bool,
    /// The rotations that layers choose from.
    pub(super) ropes: Vec<Rope>,
    /// Texts longer than this use the second half of the ropes' positions.
    pub(super) long_past: Option<usize>,
    /// One entry a layer.
    pub(super) layers: Vec<LayerConfig>,
}

impl Config {
    /// Sets the rope of a model with one, and the longest text, which depends on it.
    ///
    /// # Errors
    /// `unsupported` for context extensions that are not computed here, `model_load` if a value is not as expected.
    pub(super) fn set_rope(
        &mut self,
        keys: RopeKeys,
        all: &Value,
        weights: &Parameters<'_>,
        layout: RopeLayout,
    ) -> Result<()> {
        self.max_positions = weights.window(keys.positions(all, self.max_positions)?);
        self.query_scaling = keys.query_scaling(all)?;
        self.long_past = self.add_rope(keys, all, weights, layout)?;
        Ok(())
    }

    /// Adds a rope for other layers than the first; see [`RopeKeys::open_stretched`].
    ///
    /// # Errors
    /// As [`set_rope`](Self::set_rope).
    pub(super) fn add_rope(
        &mut self,
        keys: RopeKeys,
        all: &Value,
        weights: &Parameters<'_>,
        layout: RopeLayout,
    ) -> Result<Option<usize>> {
        let shape = RopeShape { head_size: self.heads.size, positions: self.max_positions, layout };
        let (rope, long_past) = keys.open_stretched(all, weights, shape)?;
        self.ropes.push(rope);
        Ok(long_past)
    }
}

/// What layers of one model differ in.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerConfig {
    /// Which tokens a token sees.
    pub(super) span: Span,
    /// Which of the ropes rotates its queries and keys, if any does.
    pub(super) rope: Option<usize>,
}

impl LayerConfig {
    /// A layer whose tokens see all before them, or only a window that counts the token itself.
    pub(super) fn causal(window: Option<usize>, rope: Option<usize>) -> Self {
        Self { span: Span { before: window.map(|window| window.saturating_sub(1)), after: Some(0) }, rope }
    }
}

/// The keys of `config.json` that almost all decoders have.
#[derive(Debug, Deserialize)]
pub(super) struct CommonKeys {
    vocab_size: usize,
    hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    intermediate_size: usize,
    hidden_act: Option<String>,
    /// Gemma's key, which counts where both are there.
    hidden_activation: Option<String>,
    max_position_embeddings: usize,
    #[serde(default = "rms_norm_eps")]
    rms_norm_eps: f64,
    tie_word_embeddings: Option<bool>,
}

fn rms_norm_eps() -> f64 {
    1e-6
}

impl CommonKeys {
    /// The heads.
    ///
    /// # Errors
    /// `model_load` if they do not belong together, `unsupported` for heads that attention does not compute.
    fn heads(&self, default_size: Option<usize>) -> Result<Heads> {
        let size = match self.head_dim.or(default_size) {
            Some(size) => size,
            None => config::heads(self.hidden_size, self.num_attention_heads)?.size,
        };
        config::grouped_heads(Heads {
            queries: self.num_attention_heads,
            keys: self.num_key_value_heads.unwrap_or(self.num_attention_heads),
            size,
        })
    }

    /// The plain decoder of these keys, as Llama is: what a family has besides is for its file to set. It has no ropes
    /// yet and no layers.
    ///
    /// # Errors
    /// `model_load` for heads that do not belong together, `unsupported` for heads or an activation that are not
    /// computed here.
    pub(super) fn plain(&self) -> Result<Config> {
        self.plain_of_heads(None)
    }

    /// The same, with the size of heads where the configuration has none.
    ///
    /// # Errors
    /// As [`plain`](Self::plain).
    pub(super) fn plain_of_heads(&self, default_size: Option<usize>) -> Result<Config> {
        let heads = self.heads(default_size)?;
        Ok(Config {
            vocab_size: self.vocab_size,
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            max_positions: self.max_position_embeddings,
            heads,
            activation: match (&self.hidden_activation, &self.hidden_act) {
                (Some(name), _) => config::activation("hidden_activation", name)?,
                (None, Some(name)) => config::activation("hidden_act", name)?,
                (None, None) => return Err(config::wrong("missing field `hidden_act`")),
            },
            norm_eps: self.rms_norm_eps,
            norm_offset: 0.0,
            qk_norm: false,
            post_norms: false,
            qkv_bias: false,
            o_bias: false,
            mlp_bias: false,
            fused: false,
            experts: None,
            attention_scale: heads.scale(),
            attention_softcap: None,
            sinks: false,
            query_scaling: None,
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
            tied: self.tie_word_embeddings.unwrap_or(false),
            ropes: Vec::new(),
            long_past: None,
            layers: Vec::new(),
        })
    }

    /// Reads the keys.
    ///
    /// # Errors
    /// `model_load` naming the key that is missing or not as expected.
    pub(super) fn read(config: &Value) -> Result<Self> {
        config::read(config)
    }
}

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
    sinks: Option<Vec<f32>>,
    o_proj: Linear,
    attention_post_norm: Option<Norm>,
    mlp_norm: Norm,
    mlp: Mlp,
    mlp_post_norm: Option<Norm>,
}

/// What follows attention.
#[derive(Debug)]
enum Mlp {
    Gated { gate_up_proj: Linear, down_proj: Linear },
    Experts(Experts),
}

/// What names of a decoder's tensors may begin with; models with images have the longer ones.
const PREFIXES: [&str; 3] = ["language_model.model", "model.language_model", "model"];

impl Decoder {
    /// Reads the weights, by the names that transformers gives them.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(config: Config, weights: &Parameters<'_>) -> Result<Self> {
        let weights = weights.at_any(&PREFIXES);
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

    /// The layer from states to logits.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn output_layer(&self, weights: &Parameters<'_>) -> Result<Linear> {
        if self.config.tied {
            return self.token_embedding.tied_linear();
        }
        let weights = weights.for_tables();
        let weights =
            if weights.has("lm_head.weight") { weights } else { weights.at_any(&["language_model"]) };
        weights.biased(Biases::None).linear("lm_head", self.config.hidden_size, self.config.vocab_size)
    }

    /// An empty cache for a text of up to `capacity` tokens.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub(super) fn new_cache(&self, memory: &KvMemory, capacity: usize) -> Result<TextCache> {
        let Heads { keys, size, .. } = self.config.heads;
        let layers = self.layers.iter().map(|_| KvCache::new(memory, keys, size, capacity));
        Ok(TextCache::new(layers.collect::<Result<_>>()?, self.is_long(capacity)))
    }

    /// Whether texts of so many tokens are rotated as long ones.
    pub(super) fn is_long(&self, tokens: usize) -> bool {
        self.config.long_past.is_some_and(|most| tokens > most)
    }

    /// The states of the tokens after all layers: `[token, hidden]`. Each text attends to its own tokens here, or,
    /// where there are caches, to what its cache holds too, to which these tokens are added.
    ///
    /// # Errors
    /// `context_too_long` for a text that is longer than the model takes, `invalid_request` for an unknown token.
    pub(super) fn forward(&self, tokens: &Tokens, cached: Option<Cached<'_, '_>>) -> Result<Tensor> {
        let before: Vec<usize> = match &cached {
            Some(cached) => cached.caches.iter().map(|cache| cache.len()).collect(),
            None => vec![0; tokens.texts().len()],
        };
        tokens.check_after(before.iter().copied(), self.config.max_positions)?;
        let is_long = |(text, tokens): (usize, &[u32])| match &cached {
            Some(cached) => cached.caches.get(text).is_some_and(|cache| cache.is_long()),
            None => self.is_long(tokens.len()),
        };
        // Long texts use the positions after all others.
        let first = tokens.texts().enumerate().map(is_long).zip(&before);
        let first =
            first.map(|(is_long, before)| before + if is_long { self.config.max_positions } else { 0 });
        let positions = tokens.positions_after(first);
        let mut x = self.token_embedding.forward(tokens.ids())?;
        if self.config.embedding_scale != 1.0 {
            x = (x * self.config.embedding_scale)?;
        }
        x = tokens.with_images(x)?;
        if cached.is_some() || !tokens.images.is_empty() {
            return self.after_layers(x, tokens, &positions, cached);
        }
        let starts = tokens.starts();
        by_sequences(x, starts, |x, texts| {
            let positions = &positions[starts[texts.start]..starts[texts.end]];
            self.after_layers(x, &tokens.some(texts), positions, None)
        })
    }

    fn after_layers(
        &self,
        mut x: Tensor,
        tokens: &Tokens,
        positions: &[u32],
        mut cached: Option<Cached<'_, '_>>,
    ) -> Result<Tensor> {
        for (number, layer) in self.layers.iter().enumerate() {
            let of_layer = cached.as_mut().map(|Cached { caches, decoding }| {
                let of_layer = caches.iter_mut().filter_map(|cache| cache.layers.get_mut(number));
                (of_layer.collect::<Vec<_>>(), *decoding)
            });
            x = layer.forward(&self.config, x, tokens, positions, of_layer)?;
        }
        self.norm.forward(x)
    }
}

impl Layer {
    fn new(weights: &Parameters<'_>, config: &Config, layer: LayerConfig) -> Result<Self> {
        let (hidden, inner, heads) = (config.hidden_size, config.intermediate_size, config.heads);
        let self_attn = weights.at("self_attn");
        let rule = |has_bias| if has_bias { Biases::All } else { Biases::None };
        let of_qkv = self_attn.biased(rule(config.qkv_bias));
        let mlp = weights.at("mlp").biased(rule(config.mlp_bias));
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
            qkv_proj: match config.fused {
                true => of_qkv.linear("qkv_proj", hidden, heads.width() + 2 * heads.kv_width())?,
                false => of_qkv.fused(&qkv, hidden)?,
            },
            qk_norms: if config.qk_norm { Some([head_norm("q_norm")?, head_norm("k_norm")?]) } else { None },
            sinks: if config.sinks { Some(self_attn.vector("sinks", heads.queries)?) } else { None },
            o_proj: self_attn.biased(rule(config.o_bias)).linear("o_proj", heads.width(), hidden)?,
            attention_post_norm: post_norm("post_attention_layernorm")?,
            mlp_norm: norm(weights, mlp_norm, hidden)?,
            mlp: match config.experts {
                Some(experts) => Mlp::Experts(Experts::new(config, experts, &mlp)?),
                None => Mlp::Gated {
                    gate_up_proj: match config.fused {
                        true => mlp.gated_halves("gate_up_proj", Gate::First, hidden, inner)?,
                        false => mlp.gated("gate_proj", "up_proj", hidden, inner)?,
                    },
                    down_proj: mlp.linear("down_proj", inner, hidden)?,
                },
            },
            mlp_post_norm: post_norm("post_feedforward_layernorm")?,
        })
    }

    fn forward(
        &self,
        config: &Config,
        x: Tensor,
        tokens: &Tokens,
        positions: &[u32],
        cached: Option<(Vec<&mut KvCache>, usize)>,
    ) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(self.attention_norm.forward(&x)?)?;
        let attn_out = self.attention(config, qkv, tokens, positions, cached)?;
        let scale = config.residual_scale;
        let x = residual(x, &self.o_proj, attn_out, scale, self.attention_post_norm.as_ref())?;
        let normed = self.mlp_norm.forward(&x)?;
        let norm = self.mlp_post_norm.as_ref();
        match &self.mlp {
            Mlp::Gated { gate_up_proj, down_proj } if norm.is_none() && scale == 1.0 => {
                feed_forward([gate_up_proj, down_proj], normed, config.activation, x)
            }
            Mlp::Gated { gate_up_proj, down_proj } => {
                let activation = Epilogue::activation(config.activation);
                let hidden = gate_up_proj.forward_with(normed, activation)?;
                residual(x, down_proj, hidden, scale, norm)
            }
            Mlp::Experts(experts) => add_scaled(x, experts.forward(&normed)?, scale, norm),
        }
    }

    fn attention(
        &self,
        config: &Config,
        qkv: Tensor,
        tokens: &Tokens,
        positions: &[u32],
        cached: Option<(Vec<&mut KvCache>, usize)>,
    ) -> Result<Tensor> {
        let prepare = QkPreparation {
            norms: self.qk_norms.as_ref().map(|[of_queries, of_keys]| [of_queries, of_keys]),
            rope: self.config.rope.and_then(|rope| config.ropes.get(rope)).map(|rope| (rope, positions)),
        };
        let [q, k, v] = split_heads(qkv, config.heads, prepare)?;
        let q = match config.query_scaling {
            Some(scaling) => scale_rows(q, &scaling.at(positions))?,
            None => q,
        };
        let starts = tokens.starts();
        let options = AttentionOptions {
            scale: config.attention_scale,
            span: self.config.span,
            softcap: config.attention_softcap,
            sinks: self.sinks.as_deref(),
            ..AttentionOptions::default()
        };
        if !tokens.images.is_empty() {
            return attention_by_pieces([&q, &k, &v], tokens, cached, options);
        }
        let Some((mut caches, decoding)) = cached else {
            return attention(&q, starts, KeyValues::Ragged { keys: &k, values: &v, starts }, options);
        };
        for (ends, cache) in starts.windows(2).zip(&mut caches) {
            let part = |x: &Tensor| x.narrow(0, ends[0], ends[1] - ends[0]);
            cache.append(&part(&k)?, &part(&v)?)?;
        }
        let caches: Vec<&KvCache> = caches.iter().map(|cache| &**cache).collect();
        attention(&q, starts, KeyValues::Caches { caches: &caches, decoding }, options)
    }
}

/// Attention of texts with images. The tokens of an image see those after them in it too, and no piece sees a later one.
fn attention_by_pieces(
    [q, k, v]: [&Tensor; 3],
    tokens: &Tokens,
    mut cached: Option<(Vec<&mut KvCache>, usize)>,
    options: AttentionOptions<'_>,
) -> Result<Tensor> {
    let mut attn_out = Vec::new();
    for Piece { text, rows, is_image } in tokens.pieces() {
        let after = if is_image { None } else { options.span.after };
        let options = AttentionOptions { span: Span { after, ..options.span }, ..options };
        let part = |x: &Tensor, from: usize| x.narrow(0, from, rows.end - from);
        let (queries, of_queries) = (part(q, rows.start)?, [0, rows.len()]);
        let cache = cached.as_mut().and_then(|(caches, decoding)| {
            caches.get_mut(text).map(|cache| (cache, usize::from(text < *decoding)))
        });
        attn_out.push(match cache {
            Some((cache, decoding)) => {
                cache.append(&part(k, rows.start)?, &part(v, rows.start)?)?;
                let caches = KeyValues::Caches { caches: &[&**cache], decoding };
                attention(&queries, &of_queries, caches, options)?
            }
            None => {
                let start = tokens.starts()[text];
                let (keys, values) = (part(k, start)?, part(v, start)?);
                let starts = [0, rows.end - start];
                let over = KeyValues::Ragged { keys: &keys, values: &values, starts: &starts };
                attention(&queries, &of_queries, over, options)?
            }
        });
    }
    Tensor::stacked(&attn_out)
}

/// `x + scale · norm(layer(y))`, the norm where the model has it.
fn residual(x: Tensor, layer: &Linear, y: Tensor, scale: f32, norm: Option<&Norm>) -> Result<Tensor> {
    match norm {
        None => layer.forward_with(y, Epilogue { scale, ..Epilogue::residual(x) }),
        Some(_) => add_scaled(x, layer.forward(y)?, scale, norm),
    }
}

/// `x + scale · norm(y)`, the norm where the model has it.
fn add_scaled(x: Tensor, y: Tensor, scale: f32, norm: Option<&Norm>) -> Result<Tensor> {
    let y = match norm {
        Some(norm) => norm.forward(y)?,
        None => y,
    };
    let y = if scale == 1.0 { y } else { (y * scale)? };
    y + &x
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
