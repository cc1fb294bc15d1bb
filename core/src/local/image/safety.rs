//! The safety checker: what it is loaded of, and what is done with what it finds.

use super::engine::Engine;
use crate::error::{Error, ErrorKind, Result};
use crate::image::ImageSafety;
use crate::local::SafetyMode;
use crate::local::models::{ConceptScores, SafetyChecker};
use crate::local::ops::{Device, Tensor};
use crate::local::source::ModelFiles;
use crate::local::vision::{Preprocessor, RgbImage};
use crate::local::weights::Weights;

/// Folders of a diffusers repository.
pub(super) const CHECKER: &str = "safety_checker";
const EXTRACTOR: &str = "feature_extractor";

/// A loaded checker, and how it wants images.
#[derive(Debug)]
pub(super) struct Safety {
    checker: SafetyChecker,
    preprocessor: Preprocessor,
    device: Device,
    weight_bytes: usize,
}

/// Checks that there is a checker in a folder.
///
/// # Errors
/// `config_invalid` if there is none.
pub(super) fn expect(checker: &ModelFiles) -> Result<()> {
    if checker.has("config.json") {
        return Ok(());
    }
    let text = "`safety` is on, and the model has no safety checker (safety_checker/config.json): set `safety_checker` to a \
                folder or repository that is one, or `safety` to off";
    Err(Error::config(text))
}

impl Safety {
    /// The checker of a folder; how it wants images is said there, or in the folder of the model that it belongs to.
    ///
    /// # Errors
    /// `config_invalid` if there is none; `model_load` for a checker that is damaged, or of another kind.
    pub(super) fn open(checker: &ModelFiles, model: &ModelFiles, device: &Device) -> Result<Self> {
        expect(checker)?;
        let weights = Weights::open(checker)?;
        let weight_bytes = weights.count() * device.weight_bytes();
        let found = SafetyChecker::new(&checker.needed_json("config.json")?, &weights, device)?;
        let said = match Preprocessor::of_model(checker)? {
            Some(preprocessor) => Some(preprocessor),
            None => Preprocessor::of_model(&model.within(EXTRACTOR))?,
        };
        // Without a file it is CLIP's.
        let preprocessor = said.map_or_else(|| Preprocessor::from_transformers("{}"), Ok)?;
        let (size, [height, width]) = (preprocessor.fixed_size(), found.image_size());
        if size != Some((height, width)) {
            return Err(Error::new(
                ErrorKind::ModelLoad,
                format!(
                    "the safety checker takes images of {width}×{height}, its preprocessor_config.json says {size:?}"
                ),
            ));
        }
        Ok(Self { checker: found, preprocessor, device: device.clone(), weight_bytes })
    }

    /// Bytes of its weights in memory.
    pub(super) fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }

    /// What an image shows.
    ///
    /// # Errors
    /// `invalid_request` for an image that is too long to be made small; `response_invalid` if numbers overflow.
    pub(super) fn scores(&self, image: &RgbImage) -> Result<ConceptScores> {
        let pixels = self.preprocessor.prepare(&self.device.cpu, image)?;
        let dims = [1, pixels.height, pixels.width, 3];
        self.checker.scores(&Tensor::from_vec(&self.device, pixels.values, dims)?)
    }
}

impl Engine {
    /// An image as it is to be returned, and what the safety checker said of it if it is on.
    ///
    /// # Errors
    /// `content_rejected` where images in which it finds something are refused; those of the checker.
    pub(super) fn checked(&self, drawn: RgbImage) -> Result<(RgbImage, Option<ImageSafety>)> {
        let Some(scores) = self.model.safety_scores(&drawn)? else { return Ok((drawn, None)) };
        let number = |(concept, score)| (u32::try_from(concept).unwrap_or(u32::MAX), score);
        let said = ImageSafety::new(scores.found().into_iter().map(number));
        match self.safety {
            SafetyMode::Refuse if said.flagged => {
                let text = "the model's safety checker found something in the image; another prompt or seed may help";
                Err(Error::new(ErrorKind::ContentRejected, text))
            }
            SafetyMode::Blank if said.flagged => {
                let black = vec![0; drawn.rgb().len()];
                let black = RgbImage::new(drawn.width(), drawn.height(), black)?;
                Ok((black, Some(said.with_blanked(true))))
            }
            _ => Ok((drawn, Some(said))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::golden_tests::{first_device, outputs, values};
    use super::super::testing::{goldens, numbers, save, tensors};
    use super::*;

    /// Less of one colour each, as `tests/golden/make/diffusion.py` makes them.
    fn image(number: usize, [height, width]: [usize; 2]) -> RgbImage {
        let noise = numbers(&format!("safety/image/{number}"), height * width * 3);
        let byte = |(at, value): (usize, f32)| {
            let byte = ((value + 1.0) * 127.5) as u8;
            if at % 3 == number { byte / 4 } else { byte }
        };
        RgbImage::new(width, height, noise.into_iter().enumerate().map(byte).collect()).unwrap()
    }

    #[test]
    fn scores_and_verdicts_are_those_of_diffusers() {
        let (folder, outputs) = (tempfile::tempdir().unwrap(), outputs("safety"));
        for name in ["config.json", "preprocessor_config.json"] {
            std::fs::copy(goldens().join("safety").join(name), folder.path().join(name)).unwrap();
        }
        let mut weights = tensors("safety", "");
        for name in ["concept_embeds_weights", "special_care_embeds_weights"] {
            weights.insert(name.to_owned(), outputs[name].clone());
        }
        save(&folder.path().join("model.safetensors"), &weights);
        let files = ModelFiles::in_folder(folder.path()).unwrap();
        let safety = Safety::open(&files, &files, &first_device()).unwrap();
        let verdicts: Vec<u8> = outputs["verdicts"].to_vec1().unwrap();
        let truth = ["special_care", "concepts"].map(|name| values(&outputs, name));
        for (number, size) in [[64, 64], [40, 96], [32, 32]].into_iter().enumerate() {
            let found = safety.scores(&image(number, size)).unwrap();
            assert_eq!(u8::from(!found.found().is_empty()), verdicts[number], "image {number}: {found:?}");
            for (found, truth) in [&found.special_care, &found.concepts].into_iter().zip(&truth) {
                let truth = &truth[number * found.len()..(number + 1) * found.len()];
                assert_eq!(truth.len(), found.len());
                let off = found.iter().zip(truth).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(off <= 1e-5, "image {number}: off by {off}");
            }
        }
        std::fs::write(folder.path().join("preprocessor_config.json"), r#"{"crop_size": 48, "size": 48}"#)
            .unwrap();
        let error = Safety::open(&files, &files, &first_device()).unwrap_err();
        assert!(error.message().contains("takes images of 32×32"), "{error}");
        std::fs::remove_file(folder.path().join("config.json")).unwrap();
        assert_eq!(
            Safety::open(&files, &files, &first_device()).unwrap_err().kind(),
            ErrorKind::ConfigInvalid
        );
    }
}
