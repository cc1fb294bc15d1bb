//! SigLIP and the models of SigLIP 2 with a fixed resolution, with the names and the config of transformers.

use serde::Deserialize;

use super::super::{DualEncoder, Tokens};
use super::config::{Half, load_error, parse};
use super::pre_norm::{Keep, Shape, Transformer};
use super::towers::{Besides, ImageTower, PatchNames, Patches, TextTower, starts_of};
use crate::error::{Error, Result};
use crate::local::ops::{
    Activation, AttentionOptions, Device, Heads, KeyValues, Linear, Norm, Precision, Span, Tensor, attention,
    feed_forward, of_candle,
};
use crate::local::weights::{Biases, Parameters, Weights};

/// A SigLIP.
#[derive(Debug)]
pub(super) struct Siglip {
    texts: TextTower,
    text_head: Linear,
    images: ImageTower,
    image_head: AttentionPool,
}

impl DualEncoder for Siglip {
    fn width(&self) -> usize {
        self.text_head.outputs()
    }

    fn window(&self) -> usize {
        self.texts.window()
    }

    fn vocabulary(&self) -> usize {
        self.texts.vocabulary()
    }

    fn fills_window(&self) -> bool {
        true
    }

    fn image_size(&self) -> [usize; 2] {
        self.images.patches.image_size()
    }

    fn embed_texts(&self, tokens: &Tokens) -> Result<Tensor> {
        let window = self.window();
        // Trained with padding that is attended to: the vector is the state of the window's last token.
        if let Some(text) = tokens.texts().find(|text| text.len() != window) {
            let length = text.len();
            return Err(Error::invalid_request(format!(
                "a text of {length} tokens does not fill the model's window of {window}: pad or cut it"
            )));
        }
        self.text_head.forward(&self.texts.last_states(tokens)?)
    }

    fn embed_images(&self, pixels: &Tensor) -> Result<Tensor> {
        let states = self.images.states(pixels, Keep::All)?;
        self.image_head.forward(&states, self.images.patches.states())
    }
}

/// `config.json` of a SigLIP.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    text_config: Option<Half>,
    vision_config: Option<Half>,
}

/// What transformers takes where the config says nothing, for both halves.
const DEFAULT: Shape =
    Shape { width: 768, inner: 3072, layers: 12, heads: 12, activation: Activation::GeluTanh, epsilon: 1e-6 };
const VOCABULARY: usize = 32_000;
const WINDOW: usize = 64;
const PATCH: usize = 16;

/// The model of a `config.json` with `model_type` siglip.
///
/// # Errors
/// `model_load` if the config asks for what is not supported, or a tensor is missing or has another shape.
pub(super) fn load(config: &serde_json::Value, weights: &Weights, device: &Device) -> Result<Siglip> {
    let config: Config = parse(config)?;
    // A bias that is missing is a damaged file, and no other model.
    let weights = Parameters::new(weights, device).biased(Biases::All);
    let (text, image) = (config.text_config.unwrap_or_default(), config.vision_config.unwrap_or_default());
    let (of_texts, of_images) = (text.shape(DEFAULT)?, image.shape(DEFAULT)?);
    let width = text.projection_size.unwrap_or(of_texts.width);
    if width != of_images.width {
        let images = of_images.width;
        return Err(load_error(format!("vectors of texts have {width} numbers, those of images {images}")));
    }
    if image.vision_use_head == Some(false) {
        return Err(load_error("a SigLIP without `vision_use_head` gives no vectors of images".to_owned()));
    }
    let (text_weights, image_weights) = (weights.at("text_model"), weights.at("vision_model"));
    let sizes = [text.vocab_size.unwrap_or(VOCABULARY), text.max_position_embeddings.unwrap_or(WINDOW)];
    let head = text_weights.at("head");
    let (weight, bias) = (head.tensor("weight", &[width, of_texts.width])?, head.tensor("bias", &[width])?);
    Ok(Siglip {
        texts: TextTower::new(&text_weights, sizes, &of_texts, Span::ALL)?,
        text_head: head.linear_in(device.precision_above_int8(), (weight, Some(bias)))?,
        images: image_tower(&image, &of_images, &image_weights)?,
        image_head: AttentionPool::new(&image_weights.at("head"), &of_images)?,
    })
}

/// The image tower alone, by the part of a config that describes it.
///
/// # Errors
/// As [`load`].
pub(in super::super) fn images(config: &serde_json::Value, weights: &Parameters<'_>) -> Result<ImageTower> {
    let config: Half = parse(config)?;
    image_tower(&config, &config.shape(DEFAULT)?, &weights.biased(Biases::All))
}

fn image_tower(config: &Half, shape: &Shape, weights: &Parameters<'_>) -> Result<ImageTower> {
    let names = PatchNames {
        weight: "patch_embedding.weight",
        besides: Besides::Bias("patch_embedding.bias"),
        positions: "position_embedding.weight",
    };
    Ok(ImageTower {
        patches: Patches::new(&weights.at("embeddings"), names, config.grid(PATCH)?, shape.width, None)?,
        transformer: Transformer::new(weights, shape, Span::ALL)?,
        norm: weights.layer_norm("post_layernorm", shape.width, shape.epsilon)?,
    })
}

/// Makes one vector of an image's states: one query, which is learnt, attends to all of them.
#[derive(Debug)]
struct AttentionPool {
    /// The same for all images: `[1, head, size]`.
    query: Tensor,
    kv_proj: Linear,
    o_proj: Linear,
    norm: Norm,
    up_proj: Linear,
    down_proj: Linear,
    activation: Activation,
}

impl AttentionPool {
    fn new(weights: &Parameters<'_>, shape: &Shape) -> Result<Self> {
        let (width, device, heads) = (shape.width, weights.device, shape.heads()?);
        let attention = weights.at("attention");
        let weight = attention.tensor("in_proj_weight", &[3 * width, width])?;
        let bias = attention.tensor("in_proj_bias", &[3 * width])?;
        let part = |first: usize, length: usize, precision: Precision| {
            let part = |x: &candle_core::Tensor| x.narrow(0, first, length).map_err(of_candle);
            attention.linear_in(precision, (part(&weight)?, Some(part(&bias)?)))
        };
        let probe = Tensor::from_weight(device, &weights.tensor("probe", &[1, 1, width])?)?;
        let query = part(0, width, Precision::F32)?.forward(probe)?;
        Ok(Self {
            query: query.reshape([1, heads.queries, heads.size])?,
            kv_proj: part(width, 2 * width, device.precision)?,
            o_proj: attention.linear("out_proj", width, width)?,
            norm: weights.layer_norm("layernorm", width, shape.epsilon)?,
            up_proj: weights.linear("mlp.fc1", width, shape.inner)?,
            down_proj: weights.linear("mlp.fc2", shape.inner, width)?,
            activation: shape.activation,
        })
    }

    /// From `[image · state, width]`, `states` of each image, to `[image, width]`.
    fn forward(&self, x: &Tensor, states: usize) -> Result<Tensor> {
        let ([_, heads, size], [all, _]) = (self.query.dims_of()?, x.dims_of()?);
        let images = all.checked_div(states).unwrap_or_default();
        let kv = self.kv_proj.forward(x)?.reshape([all, 2 * heads, size])?;
        let (k, v) = (kv.narrow(1, 0, heads)?, kv.narrow(1, heads, heads)?);
        let queries = self.query.repeat(images)?;
        let (one_each, starts) = (starts_of(images, 1), starts_of(images, states));
        let scale = Heads::equal(heads, size).scale();
        let options = AttentionOptions { scale, ..AttentionOptions::default() };
        let over = KeyValues::Ragged { keys: &k, values: &v, starts: &starts };
        let x = self.o_proj.forward(attention(&queries, &one_each, over, options)?)?;
        let normed = self.norm.forward(&x)?;
        feed_forward([&self.up_proj, &self.down_proj], normed, self.activation, x)
    }
}
