//! The halves of a dual encoder in `config.json`.

use serde::Deserialize;

use super::pre_norm::Shape;
use super::towers::Grid;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::Activation;

/// One number for both sides, or height and width.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub(super) enum Sides {
    Both(usize),
    Each([usize; 2]),
}

impl Sides {
    fn each(self) -> [usize; 2] {
        match self {
            Self::Both(side) => [side; 2],
            Self::Each(sides) => sides,
        }
    }

    /// The sides of images and of patches, which must be squares.
    pub(super) fn grid(self, patch: Self) -> Result<Grid> {
        match patch.each() {
            [height, width] if height == width => Ok(Grid { image: self.each(), patch: height }),
            sides => Err(load_error(format!("patches of {sides:?} are not supported; squares are"))),
        }
    }
}

/// One half as transformers writes it. A value that is missing or null is transformers' default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Half {
    pub(super) hidden_size: Option<usize>,
    intermediate_size: Option<usize>,
    num_hidden_layers: Option<usize>,
    num_attention_heads: Option<usize>,
    hidden_act: Option<String>,
    layer_norm_eps: Option<f64>,
    // Texts.
    pub(super) vocab_size: Option<usize>,
    pub(super) max_position_embeddings: Option<usize>,
    pub(super) eos_token_id: Option<u32>,
    pub(super) projection_size: Option<usize>,
    // Images.
    num_channels: Option<usize>,
    image_size: Option<Sides>,
    patch_size: Option<Sides>,
    pub(super) vision_use_head: Option<bool>,
}

impl Half {
    /// The transformer, with `default` for missing values.
    ///
    /// # Errors
    /// `model_load` for an activation that is not known.
    pub(super) fn shape(&self, default: Shape) -> Result<Shape> {
        Ok(Shape {
            width: self.hidden_size.unwrap_or(default.width),
            inner: self.intermediate_size.unwrap_or(default.inner),
            layers: self.num_hidden_layers.unwrap_or(default.layers),
            heads: self.num_attention_heads.unwrap_or(default.heads),
            activation: self.hidden_act.as_deref().map_or(Ok(default.activation), activation)?,
            epsilon: self.layer_norm_eps.unwrap_or(default.epsilon),
        })
    }

    /// The sizes of images and patches; by default 224 and `patch`.
    ///
    /// # Errors
    /// `model_load` for other than three channels, and patches that are not squares.
    pub(super) fn grid(&self, patch: usize) -> Result<Grid> {
        if let Some(channels) = self.num_channels.filter(|channels| *channels != 3) {
            return Err(load_error(format!("images of {channels} channels are not supported; 3 are")));
        }
        self.image_size.unwrap_or(Sides::Both(224)).grid(self.patch_size.unwrap_or(Sides::Both(patch)))
    }
}

/// An activation by its name in transformers.
fn activation(name: &str) -> Result<Activation> {
    match name {
        "quick_gelu" => Ok(Activation::QuickGelu),
        "gelu" => Ok(Activation::Gelu),
        "gelu_pytorch_tanh" | "gelu_new" => Ok(Activation::GeluTanh),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        _ => Err(load_error(format!(
            "`hidden_act` '{name}' is unknown; valid: quick_gelu, gelu, gelu_pytorch_tanh, gelu_new, relu, silu"
        ))),
    }
}

/// A part of a model's config.
///
/// # Errors
/// `model_load` if it is not what is expected.
pub(super) fn parse<T: serde::de::DeserializeOwned>(config: &serde_json::Value) -> Result<T> {
    T::deserialize(config).map_err(|error| {
        load_error(format!("the model's config is not as expected: {error}")).with_source(error)
    })
}

pub(super) fn load_error(message: String) -> Error {
    Error::new(ErrorKind::ModelLoad, message)
}
