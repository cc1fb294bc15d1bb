//! The images of a Gemma 3: SigLIP's tower, of whose states the mean of each square of patches is normed and projected to
//! what the decoder takes in place of the embedding of a token.

use serde::Deserialize;
use serde_json::Value;

use super::config::{self, wrong};
use super::dual::{ImageTower, siglip_images};
use super::gemma3;
use crate::error::Result;
use crate::local::ops::{Device, Linear, Norm, Tensor, of_candle, patches};
use crate::local::weights::{Parameters, Storage, Weights};

/// What is read of `config.json`; older files have the older name.
#[derive(Debug, Deserialize)]
struct Keys {
    #[serde(alias = "image_token_index", default = "image_token")]
    image_token_id: u32,
    #[serde(alias = "boi_token_index", default = "begin_of_image")]
    boi_token_id: u32,
    #[serde(alias = "eoi_token_index", default = "end_of_image")]
    eoi_token_id: u32,
    #[serde(default = "tokens_per_image")]
    mm_tokens_per_image: usize,
    vision_config: Value,
}

fn image_token() -> u32 {
    262_144
}

fn begin_of_image() -> u32 {
    255_999
}

fn end_of_image() -> u32 {
    256_000
}

fn tokens_per_image() -> usize {
    256
}

/// The part of a SigLIP's configuration that the projector reads.
#[derive(Debug, Deserialize)]
struct TowerKeys {
    #[serde(default = "layer_norm_eps")]
    layer_norm_eps: f64,
}

fn layer_norm_eps() -> f64 {
    1e-6
}

/// What the names of the tower's tensors begin with, by the version of transformers that wrote them.
const TOWERS: [&str; 4] =
    ["model.vision_tower.vision_model", "vision_tower.vision_model", "model.vision_tower", "vision_tower"];
const PROJECTORS: [&str; 2] = ["model.multi_modal_projector", "multi_modal_projector"];

/// The tokens that stand for images in prompts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ImageTokens {
    /// The one in whose places images stand.
    pub(crate) image: u32,
    /// How many of it an image has.
    pub(crate) count: usize,
    /// Those around them.
    pub(crate) begin: u32,
    pub(crate) end: u32,
}

/// Makes of an image what a decoder takes.
#[derive(Debug)]
pub(crate) struct ImageEncoder {
    pub(crate) tokens: ImageTokens,
    tower: ImageTower,
    /// Patches along a side, and those of them along a side of a square.
    patches: usize,
    square: usize,
    norm: Norm,
    projection: Linear,
}

impl ImageEncoder {
    /// Whether a configuration and the weights beside it have images.
    pub(crate) fn is_in(config: &Value, weights: &Weights) -> bool {
        let has = |prefix: &&str| weights.names().any(|name| name.starts_with(*prefix));
        config.get("model_type").and_then(Value::as_str) == Some("gemma3")
            && config.get("vision_config").is_some_and(Value::is_object)
            && PROJECTORS.iter().any(has)
    }

    /// Reads the encoder of a `config.json` with the `model_type` gemma3.
    ///
    /// # Errors
    /// `model_load` if the configuration or a tensor is not as expected.
    pub(crate) fn open(config: &Value, weights: &Weights, device: &Device, storage: Storage) -> Result<Self> {
        config::check(config, weights)?;
        let keys: Keys = config::read(config)?;
        let parameters = Parameters::new(weights, device).stored(storage);
        let tower = siglip_images(&keys.vision_config, &parameters.at_any(&TOWERS))?;
        let (tokens, [rows, columns]) = (keys.mm_tokens_per_image, tower.rows_and_columns());
        let side = tokens.isqrt();
        if rows != columns || side == 0 || side * side != tokens || !rows.is_multiple_of(side) {
            return Err(wrong(format_args!(
                "`mm_tokens_per_image` is {tokens}, which does not divide {rows} × {columns} patches into squares"
            )));
        }
        let width = tower.width();
        let TowerKeys { layer_norm_eps } = config::read(&keys.vision_config)?;
        let projector = parameters.at_any(&PROJECTORS);
        let hidden = gemma3::hidden_size(config)?;
        let weight = projector.tensor("mm_input_projection_weight", &[width, hidden])?;
        let weight = weight.t().and_then(|weight| weight.contiguous()).map_err(of_candle)?;
        let encoder = Self {
            tokens: ImageTokens {
                image: keys.image_token_id,
                count: tokens,
                begin: keys.boi_token_id,
                end: keys.eoi_token_id,
            },
            tower,
            patches: rows,
            square: rows / side,
            norm: projector.rms_norm("mm_soft_emb_norm", width, layer_norm_eps, 1.0)?,
            projection: projector.linear_in(device.precision_above_int8(), (weight, None))?,
        };
        weights.check_no_layer_is_left()?;
        Ok(encoder)
    }

    /// Height and width of the images.
    pub(crate) fn image_size(&self) -> [usize; 2] {
        self.tower.image_size()
    }

    /// One image, `[1, height, width, 3]`, as the decoder takes it: `[token, hidden]`. `check` is asked before each layer
    /// of the tower, and ends the work by its error.
    ///
    /// # Errors
    /// `invalid_request` for an image of another size, and those of `check`.
    pub(crate) fn encode(&self, pixels: &Tensor, check: &dyn Fn() -> Result<()>) -> Result<Tensor> {
        let states = self.tower.all_states(pixels, check)?;
        self.project(states)
    }

    /// From the tower's states, `[patch, width]`.
    fn project(&self, states: Tensor) -> Result<Tensor> {
        let (width, of_square) = (self.tower.width(), self.square * self.square);
        let states = states.reshape([1, self.patches, self.patches, width])?;
        let squares = patches(states, self.square, 0)?;
        let mut means = vec![0.0; self.tokens.count * width];
        for (mean, square) in
            means.chunks_exact_mut(width).zip(squares.values()?.chunks_exact(of_square * width))
        {
            for state in square.chunks_exact(width) {
                mean.iter_mut().zip(state).for_each(|(mean, number)| *mean += number);
            }
            #[allow(clippy::cast_precision_loss, reason = "a few patches")]
            mean.iter_mut().for_each(|mean| *mean /= of_square as f32);
        }
        let means = Tensor::from_vec(squares.device(), means, [self.tokens.count, width])?;
        self.projection.forward(self.norm.forward(means)?)
    }
}

#[cfg(test)]
#[path = "gemma3_images_tests.rs"]
mod tests;
