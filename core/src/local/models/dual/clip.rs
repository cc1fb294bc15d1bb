//! CLIP as OpenAI and LAION published it, with the names and the config of transformers.

use serde::Deserialize;

use super::super::{DualEncoder, Tokens};
use super::config::{Half, parse};
use super::pre_norm::{Keep, Shape, Transformer};
use super::towers::{Besides, Grid, ImageTower, PatchNames, Patches, TextTower};
use crate::error::{Error, Result};
use crate::local::ops::{Activation, Device, Linear, Span, Tensor};
use crate::local::weights::{Biases, Parameters, Weights};

/// A CLIP.
#[derive(Debug)]
pub(super) struct Clip {
    texts: TextTower,
    end: EndOfText,
    text_projection: Linear,
    images: ImageTower,
    image_projection: Linear,
}

/// Which token ends a text. Its state becomes the text's vector; what comes after it is padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndOfText {
    /// The first of the highest id in the text.
    Highest,
    /// The first of this id.
    Token(u32),
}

impl EndOfText {
    /// By `eos_token_id` of a configuration.
    pub(super) fn of_config(id: Option<u32>) -> Self {
        match id.unwrap_or(END_OF_TEXT) {
            WRONG_END_OF_TEXT => Self::Highest,
            id => Self::Token(id),
        }
    }

    /// Where a text ends.
    pub(super) fn place(self, text: &[u32]) -> Option<usize> {
        let end = match self {
            Self::Highest => text.iter().max().copied(),
            Self::Token(id) => Some(id),
        };
        text.iter().position(|id| Some(*id) == end)
    }

    /// The text up to its end token, that included. Attention looks back only, so the rest changes nothing: a text has
    /// the same vector however it is padded.
    ///
    /// # Errors
    /// `invalid_request` if the text has no end.
    fn cut(self, text: &[u32]) -> Result<&[u32]> {
        self.place(text).and_then(|place| text.get(..=place)).ok_or_else(|| {
            let what = match self {
                Self::Highest => "no token".to_owned(),
                Self::Token(id) => format!("no token {id}, which ends a text"),
            };
            Error::invalid_request(format!("a text of {} tokens has {what}", text.len()))
        })
    }
}

impl DualEncoder for Clip {
    fn width(&self) -> usize {
        self.text_projection.outputs()
    }

    fn window(&self) -> usize {
        self.texts.window()
    }

    fn vocabulary(&self) -> usize {
        self.texts.vocabulary()
    }

    fn end_of_text(&self) -> Option<u32> {
        match self.end {
            EndOfText::Highest => None,
            EndOfText::Token(id) => Some(id),
        }
    }

    fn image_size(&self) -> [usize; 2] {
        self.images.patches.image_size()
    }

    fn embed_texts(&self, tokens: &Tokens) -> Result<Tensor> {
        let cut = tokens.texts().map(|text| self.end.cut(text)).collect::<Result<Vec<_>>>()?;
        self.text_projection.forward(&self.texts.last_states(&Tokens::new(cut))?)
    }

    fn embed_images(&self, pixels: &Tensor) -> Result<Tensor> {
        self.image_projection.forward(&self.images.states(pixels, Keep::First)?)
    }
}

/// `config.json` of a CLIP. Where a half is there twice, transformers takes the one under the older name.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Config {
    projection_dim: Option<usize>,
    text_config: Option<Half>,
    text_config_dict: Option<Half>,
    vision_config: Option<Half>,
    vision_config_dict: Option<Half>,
}

/// What transformers takes where the config says nothing.
pub(super) const TEXTS: Shape =
    Shape { width: 512, inner: 2048, layers: 12, heads: 8, activation: Activation::QuickGelu, epsilon: 1e-5 };
const IMAGES: Shape = Shape {
    width: 768,
    inner: 3072,
    layers: 12,
    heads: 12,
    activation: Activation::QuickGelu,
    epsilon: 1e-5,
};
pub(super) const VOCABULARY: usize = 49_408;
const END_OF_TEXT: u32 = 49_407;
pub(super) const WINDOW: usize = 77;
const PROJECTION: usize = 512;
const PATCH: usize = 32;

/// The end of text in the first configs, which no model was trained with.
const WRONG_END_OF_TEXT: u32 = 2;

/// The model of a `config.json` with `model_type` clip.
///
/// # Errors
/// `model_load` if the config asks for what is not supported, or a tensor is missing or has another shape.
pub(super) fn load(config: &serde_json::Value, weights: &Weights, device: &Device) -> Result<Clip> {
    let (width, image, grid) = image_half(config)?;
    let config: Config = parse(config)?;
    let weights = Parameters::new(weights, device);
    let text = config.text_config_dict.or(config.text_config).unwrap_or_default();
    let end = EndOfText::of_config(text.eos_token_id);
    let shape = ClipShape {
        width,
        end,
        text: text.shape(TEXTS)?,
        vocabulary: text.vocab_size.unwrap_or(VOCABULARY),
        window: text.max_position_embeddings.unwrap_or(WINDOW),
        image,
        grid,
        has_pre_norm: true,
    };
    shape.build(&weights)
}

/// The width of a vector, and the image tower that a `config.json` describes.
///
/// # Errors
/// `model_load` if the config asks for what is not supported.
pub(super) fn image_half(config: &serde_json::Value) -> Result<(usize, Shape, Grid)> {
    let config: Config = parse(config)?;
    let image = config.vision_config_dict.or(config.vision_config).unwrap_or_default();
    Ok((config.projection_dim.unwrap_or(PROJECTION), image.shape(IMAGES)?, image.grid(PATCH)?))
}

/// What a CLIP is made of, whichever configuration describes it.
#[derive(Debug)]
pub(super) struct ClipShape {
    /// The width of a vector.
    pub(super) width: usize,
    pub(super) end: EndOfText,
    pub(super) text: Shape,
    pub(super) vocabulary: usize,
    pub(super) window: usize,
    pub(super) image: Shape,
    pub(super) grid: Grid,
    /// Whether there is a norm before the layers of the image tower.
    pub(super) has_pre_norm: bool,
}

impl ClipShape {
    /// Reads the weights, by the names that transformers gives them.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn build(self, weights: &Parameters<'_>) -> Result<Clip> {
        let projection = |name, inputs| {
            let here = weights.at(name);
            let weight = here.tensor("weight", &[self.width, inputs])?;
            here.linear_in(weights.device.precision_above_int8(), (weight, None))
        };
        // A bias that is missing is a damaged file, and no other model.
        let weights = &weights.biased(Biases::All);
        let sizes = [self.vocabulary, self.window];
        Ok(Clip {
            texts: TextTower::new(&weights.at("text_model"), sizes, &self.text, Span::CAUSAL)?,
            end: self.end,
            text_projection: projection("text_projection", self.text.width)?,
            images: image_tower(&weights.at("vision_model"), &self.image, self.grid, self.has_pre_norm)?,
            image_projection: projection("visual_projection", self.image.width)?,
        })
    }
}

/// The image tower of a CLIP, with or without a norm before its layers.
///
/// # Errors
/// `model_load` if a tensor is missing or has another shape.
pub(super) fn image_tower(
    weights: &Parameters<'_>,
    shape: &Shape,
    grid: Grid,
    has_pre_norm: bool,
) -> Result<ImageTower> {
    let names = PatchNames {
        weight: "patch_embedding.weight",
        besides: Besides::ClassToken("class_embedding"),
        positions: "position_embedding.weight",
    };
    let norm = |name| weights.layer_norm(name, shape.width, shape.epsilon);
    // The name is misspelt in all repositories.
    let pre_norm = if has_pre_norm { Some(norm("pre_layrnorm")?) } else { None };
    Ok(ImageTower {
        patches: Patches::new(&weights.at("embeddings"), names, grid, shape.width, pre_norm)?,
        transformer: Transformer::new(weights, shape, Span::ALL)?,
        norm: norm("post_layernorm")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_text_ends_at_the_first_of_its_end_tokens() {
        let text = [62, 5, 63, 63, 0];
        assert_eq!(EndOfText::Highest.cut(&text).unwrap(), [62, 5, 63]);
        assert_eq!(EndOfText::Token(63).cut(&text).unwrap(), [62, 5, 63]);
        let above = [62, 66, 5, 63, 69];
        assert_eq!(EndOfText::Highest.cut(&above).unwrap(), above);
        assert_eq!(EndOfText::Token(63).cut(&above).unwrap(), &above[..4]);
    }

    #[test]
    fn a_text_without_an_end_is_an_error_and_not_some_vector() {
        for (end, text) in
            [(EndOfText::Token(63), &[62, 5][..]), (EndOfText::Token(63), &[]), (EndOfText::Highest, &[])]
        {
            assert_eq!(end.cut(text).unwrap_err().kind(), ErrorKind::InvalidRequest, "{text:?}");
        }
    }
}
