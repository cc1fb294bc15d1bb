//! The safety checker of Stable Diffusion's repositories (`StableDiffusionSafetyChecker`): CLIP's vector of an image, compared
//! with the vectors of concepts that images must not show.

use candle_core::DType;
use serde_json::Value;

use super::clip::{image_half, image_tower};
use super::config::load_error;
use super::pre_norm::Keep;
use super::towers::ImageTower;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Device, Linear, Tensor, of_candle};
use crate::local::weights::{Biases, Parameters, Weights};

/// A safety checker.
#[derive(Debug)]
pub(crate) struct SafetyChecker {
    images: ImageTower,
    projection: Linear,
    special_care: Concepts,
    concepts: Concepts,
}

/// Concepts, and how near to each an image may be.
#[derive(Debug)]
struct Concepts {
    /// Of length one.
    vectors: Vec<Vec<f32>>,
    thresholds: Vec<f32>,
}

/// How far above its threshold each concept is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ConceptScores {
    /// Those that make the checker stricter.
    pub(crate) special_care: Vec<f32>,
    pub(crate) concepts: Vec<f32>,
}

impl SafetyChecker {
    /// The checker of `safety_checker/config.json`.
    ///
    /// # Errors
    /// `model_load` if the config asks for what is not supported, or a tensor is missing or has another shape.
    pub(crate) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        super::super::config::check(config, weights)?;
        let (width, shape, grid) = image_half(config)?;
        let parameters = Parameters::new(weights, device);
        let tower = parameters.at("vision_model").at_any(&["vision_model"]).biased(Biases::All);
        let projection = parameters.tensor("visual_projection.weight", &[width, shape.width])?;
        let checker = Self {
            images: image_tower(&tower, &shape, grid, true)?,
            projection: parameters.linear_in(device.precision_above_int8(), (projection, None))?,
            special_care: Concepts::new(&parameters, "special_care_embeds", width)?,
            concepts: Concepts::new(&parameters, "concept_embeds", width)?,
        };
        weights.check_no_layer_is_left()?;
        Ok(checker)
    }

    /// Height and width of the images.
    pub(crate) fn image_size(&self) -> [usize; 2] {
        self.images.image_size()
    }

    /// What an image shows, `[1, height, width, 3]`.
    ///
    /// # Errors
    /// `invalid_request` for another size; `response_invalid` if the numbers overflowed, because then nothing is known.
    pub(crate) fn scores(&self, pixels: &Tensor) -> Result<ConceptScores> {
        let vector = self.projection.forward(&self.images.states(pixels, Keep::First)?)?;
        let vector = of_length_one(vector.values()?.into_owned());
        if !vector.iter().all(|value| value.is_finite()) {
            let text = "the safety checker's numbers overflowed; try precision f32";
            return Err(Error::new(ErrorKind::ResponseInvalid, text));
        }
        let scores = |concepts: &Concepts| concepts.scores(&vector);
        Ok(ConceptScores { special_care: scores(&self.special_care), concepts: scores(&self.concepts) })
    }
}

impl Concepts {
    fn new(weights: &Parameters<'_>, name: &str, width: usize) -> Result<Self> {
        let count = weights.shape(name).and_then(|shape| shape.first().copied());
        let count = count.ok_or_else(|| load_error(format!("the safety checker has no `{name}`")))?;
        let vectors = weights.tensor(name, &[count, width])?.to_dtype(DType::F32);
        let vectors = vectors.and_then(|vectors| vectors.to_vec2::<f32>()).map_err(of_candle)?;
        Ok(Self {
            vectors: vectors.into_iter().map(of_length_one).collect(),
            thresholds: weights.vector(&format!("{name}_weights"), count)?,
        })
    }

    fn scores(&self, image: &[f32]) -> Vec<f32> {
        let cosine = |vector: &Vec<f32>| vector.iter().zip(image).map(|(a, b)| a * b).sum::<f32>();
        self.vectors.iter().zip(&self.thresholds).map(|(vector, least)| cosine(vector) - least).collect()
    }
}

/// What one concept that needs special care adds to every score after it.
const STRICTER: f32 = 0.01;

impl ConceptScores {
    /// The concepts that an image shows, by their numbers, and how far each is above its threshold, in thousandths as
    /// diffusers rounds.
    pub(crate) fn found(&self) -> Vec<(usize, f32)> {
        let rounded = |score: f32| (score * 1000.0).round_ties_even() / 1000.0;
        let stricter = |added: f32, score: &f32| if rounded(score + added) > 0.0 { STRICTER } else { added };
        let added = self.special_care.iter().fold(0.0, stricter);
        let scores = self.concepts.iter().map(|score| rounded(score + added)).enumerate();
        scores.filter(|(_, score)| *score > 0.0).collect()
    }
}

fn of_length_one(mut vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    vector.iter_mut().for_each(|value| *value /= length);
    vector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_care_makes_what_follows_stricter_and_thousandths_decide() {
        let found = |special_care: &[f32], concepts: &[f32]| {
            ConceptScores { special_care: special_care.to_vec(), concepts: concepts.to_vec() }.found()
        };
        assert_eq!(found(&[-0.1], &[-0.2, 0.0004, -0.005]), []);
        assert_eq!(found(&[-0.1], &[0.0006, -0.2, 0.25]), [(0, 0.001), (2, 0.25)]);
        assert_eq!(found(&[0.001, -0.5], &[-0.005, -0.02]), [(0, 0.005)]);
    }
}
