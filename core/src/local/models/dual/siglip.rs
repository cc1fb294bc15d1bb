//! SigLIP and the models of SigLIP 2 with a fixed resolution, with the names and the config of transformers.

use candle_core::{D, Tensor};
use serde::Deserialize;

use super::super::{DualEncoder, Tokens};
use super::config::{Half, load_error, parse};
use super::layers::{self, careful, moved};
use super::pre_norm::{Keep, Shape, Transformer, scale};
use super::towers::{Besides, ImageTower, PatchNames, Patches, TextTower, starts_of};
use crate::error::{Error, Result};
use crate::local::ops::{
    Activation, AttentionOptions, Epilogue, Linear, Mask, Norm, Place, Precision, Span, Starts, attention,
    of_candle,
};
use crate::local::weights::{Parameters, Weights};

/// A SigLIP.
#[derive(Debug)]
pub(super) struct Siglip {
    texts: TextTower,
    of_texts: Linear,
    images: ImageTower,
    of_images: Pool,
}

impl DualEncoder for Siglip {
    fn width(&self) -> usize {
        self.of_texts.outputs()
    }

    fn window(&self) -> usize {
        self.texts.window()
    }

    fn fills_window(&self) -> bool {
        true
    }

    fn image_size(&self) -> [usize; 2] {
        self.images.patches.image_size()
    }

    fn embed_texts(&self, tokens: &Tokens) -> Result<Tensor> {
        let window = self.window();
        // It was trained so: the state of the last place is the text's, and padding is attended to.
        if let Some(text) = tokens.texts().find(|text| text.len() != window) {
            let length = text.len();
            return Err(Error::invalid_request(format!(
                "a text of {length} tokens does not fill the model's window of {window}: pad or cut it"
            )));
        }
        self.of_texts.forward(&self.texts.last_states(tokens)?)
    }

    fn embed_images(&self, pixels: &Tensor) -> Result<Tensor> {
        let states = self.images.states(pixels, Keep::All)?;
        self.of_images.forward(&states, self.images.patches.states())
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
const WORDS: usize = 32_000;
const WINDOW: usize = 64;
const PATCH: usize = 16;

/// The model of a `config.json` with `model_type` siglip.
///
/// # Errors
/// `model_load` if the config asks for what is not supported, or a tensor is missing or has another shape.
pub(super) fn load(config: &serde_json::Value, weights: &Weights, place: &Place) -> Result<Siglip> {
    let config: Config = parse(config)?;
    let weights = Parameters::new(weights, place);
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
    let sizes = [text.vocab_size.unwrap_or(WORDS), text.max_position_embeddings.unwrap_or(WINDOW)];
    let head = text_weights.at("head");
    let (weight, bias) = (head.tensor("weight", &[width, of_texts.width])?, head.tensor("bias", &[width])?);
    Ok(Siglip {
        texts: TextTower::new(&text_weights, sizes, &of_texts, Span::ALL)?,
        of_texts: head.layer_of(weight, Some(bias), careful(place))?,
        images: image_tower(&image, &of_images, &image_weights)?,
        of_images: Pool::new(&image_weights.at("head"), &of_images)?,
    })
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
        norm: layers::norm(weights, "post_layernorm", shape.width, shape.epsilon)?,
        place: weights.place.clone(),
    })
}

/// What makes one vector of an image's states: one query, learnt, attends to all of them.
#[derive(Debug)]
struct Pool {
    /// The query, which is the same for all images: `[1, head, size]`.
    query: Tensor,
    keys_values: Linear,
    out: Linear,
    norm: Norm,
    widen: Linear,
    narrow: Linear,
    activation: Activation,
    place: Place,
}

impl Pool {
    fn new(weights: &Parameters<'_>, shape: &Shape) -> Result<Self> {
        let (width, place) = (shape.width, weights.place);
        let (heads, size) = (shape.heads, shape.head_size()?);
        let attention = weights.at("attention");
        let weight = attention.tensor("in_proj_weight", &[3 * width, width])?;
        let bias = attention.tensor("in_proj_bias", &[3 * width])?;
        let part = |from: usize, length: usize| {
            let weight = weight.narrow(0, from, length).map_err(of_candle)?;
            let bias = bias.narrow(0, from, length).map_err(of_candle)?;
            let precision = if from == 0 { Precision::F32 } else { place.precision };
            attention.layer_of(weight, Some(bias), precision)
        };
        let probe = moved(place, &weights.tensor("probe", &[1, 1, width])?)?;
        let query = part(0, width)?.forward(&probe)?.reshape((1, heads, size)).map_err(of_candle)?;
        Ok(Self {
            query,
            keys_values: part(width, 2 * width)?,
            out: layers::linear(&attention, "out_proj", width, width)?,
            norm: layers::norm(weights, "layernorm", width, shape.epsilon)?,
            widen: layers::linear(weights, "mlp.fc1", width, shape.inner)?,
            narrow: layers::linear(weights, "mlp.fc2", shape.inner, width)?,
            activation: shape.activation,
            place: place.clone(),
        })
    }

    /// From `[image · state, width]`, so many states an image, to `[image, width]`.
    fn forward(&self, states: &Tensor, of_image: usize) -> Result<Tensor> {
        let (_, heads, size) = self.query.dims3().map_err(of_candle)?;
        let all = states.dims().first().copied().unwrap_or_default();
        let images = all.checked_div(of_image).unwrap_or_default();
        let joined = self.keys_values.forward(states)?.reshape((all, 2, heads, size)).map_err(of_candle)?;
        let part =
            |part: usize| joined.narrow(1, part, 1).and_then(|part| part.squeeze(1)).map_err(of_candle);
        let queries = self.query.repeat((images, 1, 1)).map_err(of_candle)?;
        let (one_each, starts) = (starts_of(images, 1), starts_of(images, of_image));
        let starts = Starts { queries: &one_each, keys: &starts };
        let options = AttentionOptions { scale: scale(size), span: Span::ALL, mask: Mask::None };
        let attended = attention(&self.place, &queries, &part(0)?, &part(1)?, starts, options)?;
        let x = self.out.forward(&attended.flatten(1, D::Minus1).map_err(of_candle)?)?;
        let wide = self
            .widen
            .forward_with(&self.norm.forward(&self.place, &x)?, Epilogue::activation(self.activation))?;
        self.narrow.forward_with(&wide, Epilogue::residual(&x))
    }
}
