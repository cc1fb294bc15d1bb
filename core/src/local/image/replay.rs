//! An image drawn again by its receipt.

use serde::Serialize;
use tokio::sync::oneshot;

use super::engine::Engine;
use super::receipt::ImageReceipt;
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result};
use crate::image::{GenerateRequest, ImageResponse};
use crate::local::runtime::thread_lost;
use crate::local::vision::{Limits, RgbImage, decode};
use crate::media::ImageData;

/// An image that was drawn again, and how far it is from the first.
#[derive(Clone, Debug, Serialize)]
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

/// The request that a receipt stands for.
///
/// # Errors
/// `conflict` if it was made with other weights; `unsupported` if an image is missing.
pub(super) fn request(engine: &Engine, receipt: &ImageReceipt) -> Result<GenerateRequest> {
    if receipt.operation != "generate" {
        let text =
            "the receipt is of an image that was refined; the image that it was made from is not in it";
        return Err(Error::unsupported(text));
    }
    let own = &engine.facts().loras;
    let same_loras = receipt.loras.len() == own.len()
        && receipt
            .loras
            .iter()
            .zip(own)
            .all(|(one, other)| one.sha256 == other.sha256 && one.weight == other.scale);
    if receipt.model_sha256 != engine.weights.sha256() || !same_loras {
        return Err(Error::new(
            ErrorKind::Conflict,
            format!("the image was made by {} with other weights or LoRAs than are loaded", receipt.model),
        ));
    }
    let mut request = GenerateRequest::new(receipt.prompt.as_str())
        .with_size(receipt.width, receipt.height)
        .with_steps(receipt.steps)
        .with_guidance(receipt.guidance)
        .with_scheduler(receipt.scheduler.as_str())
        .with_seed(receipt.seed)
        .with_extra("noise", receipt.noise.as_str())
        .with_extra("clip_skip", receipt.clip_skip)
        .with_extra("weighted", receipt.weighted);
    request.negative_prompt.clone_from(&receipt.negative_prompt);
    Ok(request)
}

/// Compares the pixels, on a thread of its own.
pub(super) async fn compare(
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
