//! An image drawn again by its receipt.

use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use super::receipt::{ImageReceipt, LoraReceipt, sha256};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::local::runtime::thread_lost;
use crate::local::vision::{Limits, RgbImage, decode};
use crate::media::ImageData;

/// An image that was drawn again, and how far it is from the first.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ImageReplay {
    /// How the first was made.
    pub receipt: ImageReceipt,
    /// What came out now.
    #[serde(skip)]
    pub image: ImageData,
    /// The largest difference of a channel of a pixel, of 255.
    pub max_difference: u8,
    /// The mean difference.
    pub mean_difference: f64,
}

impl ImageReplay {
    /// Draws the image of a receipt again, and says how far it is from the one that holds the receipt. An image that was
    /// refined needs what it was made from: the image, and the mask where there was one. They are known by their hashes,
    /// so `sources` may hold them in any order, among others.
    ///
    /// # Errors
    /// `invalid_request` if the image holds no receipt or a source is missing, `conflict` if it was made with other
    /// weights or LoRAs than are loaded; those of the generator.
    pub async fn of(
        generator: &impl ImageGenerator,
        cx: &Context,
        image: &ImageData,
        sources: &[ImageData],
    ) -> Result<Self> {
        let receipt = ImageReceipt::of(image)?;
        let again = match &receipt.input_sha256 {
            None => generator.generate(cx, receipt.generate_request()).await,
            Some(input) => generator.refine(cx, receipt.refine_request(input, sources)?).await,
        };
        compare(cx, receipt, image.clone(), again?).await
    }
}

impl ImageReceipt {
    /// The members of a request's `extra` that are the same for both kinds.
    fn extra(&self) -> Map<String, Value> {
        let lora = |lora: &LoraReceipt| json!({ "model": lora.sha256, "weight": lora.weight });
        let extra = json!({
            "noise": self.noise,
            "clip_skip": self.clip_skip,
            "weighted": self.weighted,
            "loras": self.loras.iter().map(lora).collect::<Vec<_>>(),
            "model_sha256": self.model_sha256,
        });
        extra.as_object().cloned().unwrap_or_default()
    }

    fn generate_request(&self) -> GenerateRequest {
        let mut request = GenerateRequest::new(self.prompt.as_str())
            .with_size(self.width, self.height)
            .with_steps(self.steps)
            .with_guidance(self.guidance)
            .with_scheduler(self.scheduler.as_str())
            .with_seed(self.seed);
        request.negative_prompt.clone_from(&self.negative_prompt);
        request.extra = self.extra();
        request
    }

    fn refine_request(&self, input: &str, sources: &[ImageData]) -> Result<RefineRequest> {
        let found = |name: &str, wanted: &str| {
            let source = sources.iter().find(|source| sha256(source.bytes()) == wanted);
            source.cloned().ok_or_else(|| {
                Error::invalid_request(format!(
                    "the image was refined: give the {name} that it was made from, whose SHA-256 is {wanted}"
                ))
            })
        };
        let mut request = RefineRequest::new(self.prompt.as_str(), [found("image", input)?])
            .with_steps(self.steps)
            .with_guidance(self.guidance)
            .with_seed(self.seed);
        request.mask = self.mask_sha256.as_deref().map(|mask| found("mask", mask)).transpose()?;
        request.strength = self.strength;
        request.size = self.is_resized.then_some((self.width, self.height));
        request.negative_prompt.clone_from(&self.negative_prompt);
        request.extra = self.extra();
        request.extra.insert("scheduler".to_owned(), json!(self.scheduler));
        Ok(request)
    }
}

/// Compares the pixels, on a thread of its own.
async fn compare(
    cx: &Context,
    receipt: ImageReceipt,
    first: ImageData,
    again: ImageResponse,
) -> Result<ImageReplay> {
    let image = again.images.into_iter().next().ok_or_else(thread_lost)?;
    let (sender, answer) = oneshot::channel();
    let second = image.clone();
    let compare = move || {
        let limits = Limits::default();
        let distance =
            decode(&first, &limits).and_then(|first| Ok(distance(&first, &decode(&second, &limits)?)));
        // Nobody may wait any more.
        let _ = sender.send(distance);
    };
    std::thread::Builder::new().name("ayni-compare".to_owned()).spawn(compare).map_err(|error| {
        Error::new(ErrorKind::Unavailable, "no thread to compare images").with_source(error)
    })?;
    let (max_difference, mean_difference) =
        cx.guard(async { answer.await.map_err(|_| thread_lost())? }).await?;
    Ok(ImageReplay { receipt, image, max_difference, mean_difference })
}

/// The largest and the mean difference of two images.
fn distance(one: &RgbImage, other: &RgbImage) -> (u8, f64) {
    if (one.width(), one.height()) != (other.width(), other.height()) {
        return (u8::MAX, f64::from(u8::MAX));
    }
    let differences = || one.rgb().iter().zip(other.rgb()).map(|(one, other)| one.abs_diff(*other));
    #[allow(clippy::cast_precision_loss, reason = "pixels of an image")]
    let mean = differences().map(f64::from).sum::<f64>() / one.rgb().len() as f64;
    (differences().max().unwrap_or(0), mean)
}
