//! CLIP's text tower as diffusion models use it: the states of all tokens of a prompt, and its pooled vector.

use serde_json::Value;

use super::super::Tokens;
use super::clip::{EndOfText, TEXTS, VOCABULARY, WINDOW};
use super::config::{Half, load_error, parse};
use super::towers::TextTower;
use crate::error::{Error, Result};
use crate::local::ops::{Device, Embedding, Linear, Span, Tensor};
use crate::local::weights::{Biases, Parameters, Weights};

/// A text encoder: `CLIPTextModel`, or with a projection `CLIPTextModelWithProjection`.
#[derive(Debug)]
pub(crate) struct PromptEncoder {
    tower: TextTower,
    end: EndOfText,
    projection: Option<Linear>,
    width: usize,
}

/// What a prompt is encoded to.
#[derive(Clone, Debug)]
pub(crate) struct PromptStates {
    /// `[token, width]`, the texts one after another.
    pub(crate) states: Tensor,
    /// `[text, width]`: the projected state at the end of each text, where the model has a projection.
    pub(crate) pooled: Option<Tensor>,
}

impl PromptEncoder {
    /// The encoder of a `config.json` of transformers, with the names of transformers.
    ///
    /// # Errors
    /// `model_load` if the config asks for what is not supported, or a tensor is missing or has another shape.
    pub(crate) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        super::super::config::check(config, weights)?;
        let text: Half = parse(config)?;
        let shape = text.shape(TEXTS)?;
        let sizes = [text.vocab_size.unwrap_or(VOCABULARY), text.max_position_embeddings.unwrap_or(WINDOW)];
        let parameters = Parameters::new(weights, device);
        let tower = parameters.at_any(&["text_model"]).biased(Biases::All);
        let tower = TextTower::new(&tower, sizes, &shape, Span::CAUSAL)?;
        let projection = weights.shape("text_projection.weight").and_then(|shape| shape.first().copied());
        let projection = projection.map(|outputs| {
            let weight = parameters.tensor("text_projection.weight", &[outputs, shape.width])?;
            parameters.linear_in(device.precision_above_int8(), (weight, None))
        });
        let projection = projection.transpose()?;
        if shape.layers < 2 {
            return Err(load_error("a text encoder of less than two layers".to_owned()));
        }
        Ok(Self { tower, end: EndOfText::of_config(text.eos_token_id), projection, width: shape.width })
    }

    /// The layers of such an encoder, by their names: what LoRAs may change.
    ///
    /// # Errors
    /// `model_load` if the config is not as expected.
    pub(crate) fn layer_names(config: &Value) -> Result<Vec<String>> {
        let layers = parse::<Half>(config)?.shape(TEXTS)?.layers.min(1000);
        let parts = [
            "self_attn.q_proj",
            "self_attn.k_proj",
            "self_attn.v_proj",
            "self_attn.out_proj",
            "mlp.fc1",
            "mlp.fc2",
        ];
        let of_layer = |layer| parts.map(|part| format!("text_model.encoder.layers.{layer}.{part}"));
        Ok((0..layers).flat_map(of_layer).collect())
    }

    /// The width of a state.
    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// The width of the pooled vector, if there is one.
    pub(crate) fn pooled_width(&self) -> Option<usize> {
        self.projection.as_ref().map(Linear::outputs)
    }

    /// The most tokens of a text.
    pub(crate) fn window(&self) -> usize {
        self.tower.window()
    }

    /// How many ids of tokens there are.
    pub(crate) fn vocabulary(&self) -> usize {
        self.tower.vocabulary()
    }

    /// How many layers there are.
    pub(crate) fn layers(&self) -> usize {
        self.tower.transformer.layers()
    }

    /// The states before the last `skipped` layers, `normed` by the final norm or not, and the pooled vectors of all
    /// layers.
    ///
    /// # Errors
    /// `invalid_request` if a text is empty, longer than the window or without an end, or a token is not in the table.
    pub(crate) fn encode(&self, tokens: &Tokens, skipped: usize, normed: bool) -> Result<PromptStates> {
        tokens.check(self.window())?;
        let ends = tokens.texts().zip(tokens.starts()).map(|(text, start)| {
            let place = self.end.place(text).map(|place| start + place);
            place.and_then(|place| u32::try_from(place).ok())
        });
        let ends: Option<Vec<u32>> = ends.collect();
        let ends = ends.ok_or_else(|| Error::invalid_request("a text has no end"))?;
        let positions = tokens.positions(0);
        let parts =
            [(&self.tower.token_embedding, tokens.ids()), (&self.tower.position_embedding, &positions)];
        let [early, last] =
            self.tower.transformer.states(Embedding::sum(&parts)?, tokens.starts(), skipped)?;
        let pooled = self
            .projection
            .as_ref()
            .map(|projection| projection.forward(self.tower.norm.forward(last.select_rows(&ends)?)?));
        let states = if normed { self.tower.norm.forward(early)? } else { early };
        Ok(PromptStates { states, pooled: pooled.transpose()? })
    }
}
