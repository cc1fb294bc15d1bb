//! Images whose colours come from a hash of the prompt.

use super::{NAME, Numbers, Scripted, png};
use crate::context::{Context, Progress};
use crate::error::{Error, Result};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest, Resolution};
use crate::info::{BackendInfo, Route};
use crate::media::ImageData;

/// Most images of one request.
pub(super) const MAX_IMAGES: usize = 16;
/// The longest side of an image.
const MAX_SIDE: u32 = 2048;
/// The default side of an image.
const SIDE: u32 = 64;
/// The default number of steps.
const STEPS: u32 = 4;
/// The most steps.
const MAX_STEPS: u32 = 1000;

impl ImageGenerator for Scripted {
    fn info(&self) -> &BackendInfo {
        &self.0.info
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.begin(cx).await?;
        self.painted(cx, request)
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.begin(cx).await?;
        self.repainted(cx, &request)
    }
}

impl Scripted {
    fn painted(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        request.check(Some(MAX_IMAGES))?;
        let size = size_of(&request)?;
        let steps = steps_of(cx, request.steps)?;
        let prompt = hash(&request.prompt, request.negative_prompt.as_deref(), request.guidance, &[]);
        let seed = request.seed.unwrap_or_else(|| prompt.clone().next() >> 11);
        let images = (0..u64::from(request.count))
            .map(|index| paint(prompt.clone(), seed.wrapping_add(index), size))
            .collect();
        let response = ImageResponse::new(images, Route::new(&self.0.info));
        Ok(response.with_seed(Some(seed)).with_schedule(request.scheduler, Some(steps)))
    }

    fn repainted(&self, cx: &Context, request: &RefineRequest) -> Result<ImageResponse> {
        request.check()?;
        if request.images.len() > MAX_IMAGES {
            let given = request.images.len();
            return Err(Error::invalid_request(format!("{given} images; {NAME} takes {MAX_IMAGES}")));
        }
        if request.strength.is_some_and(|strength| !(0.0..=1.0).contains(&strength)) {
            return Err(Error::invalid_request("the strength is not between 0 and 1"));
        }
        let steps = steps_of(cx, request.steps)?;
        let mask = request.mask.as_ref().map_or(&b""[..], |mask| mask.bytes());
        let prompt = hash(
            &request.prompt,
            request.negative_prompt.as_deref(),
            request.guidance.or(request.strength),
            mask,
        );
        let seed = request.seed.unwrap_or_else(|| prompt.clone().next() >> 11);
        let one = |image: &ImageData| {
            let own = image.dimensions().map(|(width, height)| (width.min(MAX_SIDE), height.min(MAX_SIDE)));
            let size = checked_size(request.size.or(own).unwrap_or((SIDE, SIDE)))?;
            let number = Numbers::from_bytes([&prompt.0.to_le_bytes()[..], image.bytes()]);
            Ok(paint(number, seed, size))
        };
        let images = request.images.iter().map(one).collect::<Result<Vec<_>>>()?;
        let response = ImageResponse::new(images, Route::new(&self.0.info));
        Ok(response.with_seed(Some(seed)).with_schedule(None, Some(steps)))
    }
}

fn hash(prompt: &str, negative: Option<&str>, number: Option<f32>, bytes: &[u8]) -> Numbers {
    let number = number.map_or([0; 4], f32::to_le_bytes);
    Numbers::from_bytes([prompt.as_bytes(), negative.unwrap_or_default().as_bytes(), &number, bytes])
}

fn size_of(request: &GenerateRequest) -> Result<(u32, u32)> {
    let side = match request.resolution {
        Some(Resolution::High) => 2 * SIDE,
        _ => SIDE,
    };
    let shaped = || request.aspect_ratio.map(|ratio| ratio.size(u64::from(side) * u64::from(side), 8));
    checked_size(request.size.or_else(shaped).unwrap_or((side, side)))
}

fn checked_size((width, height): (u32, u32)) -> Result<(u32, u32)> {
    if [width, height].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
        return Ok((width, height));
    }
    Err(Error::invalid_request(format!("{width}×{height} pixels; {NAME} paints sides of 1 to {MAX_SIDE}")))
}

/// Reports steps as an engine would, to try out progress.
fn steps_of(cx: &Context, steps: Option<u32>) -> Result<u32> {
    let of = steps.unwrap_or(STEPS);
    if !(1..=MAX_STEPS).contains(&of) {
        return Err(Error::invalid_request(format!("{of} steps; {NAME} counts 1 to {MAX_STEPS}")));
    }
    for step in 1..=of {
        cx.check()?;
        cx.report(|| Progress::ImageStep { step, of, preview: None });
    }
    Ok(of)
}

/// A gradient between four colours, one in each corner.
fn paint(prompt: Numbers, seed: u64, (width, height): (u32, u32)) -> ImageData {
    let mut numbers =
        Numbers::from_bytes([prompt.0.to_le_bytes(), seed.to_le_bytes()].each_ref().map(|b| &b[..]));
    let corners: [[u8; 3]; 4] = std::array::from_fn(|_| {
        let [red, green, blue, ..] = numbers.next().to_le_bytes();
        [red, green, blue]
    });
    let blend = |from: u8, to: u8, at: u32, of: u32| {
        let of = of.saturating_sub(1).max(1);
        u8::try_from((u32::from(from) * (of - at.min(of)) + u32::from(to) * at.min(of)) / of)
            .unwrap_or(u8::MAX)
    };
    let [top_left, top_right, bottom_left, bottom_right] = corners;
    let encoded = png::encode(width, height, |x, y| {
        std::array::from_fn(|channel| {
            let side = |corner: [u8; 3]| corner.get(channel).copied().unwrap_or_default();
            let top = blend(side(top_left), side(top_right), x, width);
            let bottom = blend(side(bottom_left), side(bottom_right), x, width);
            blend(top, bottom, y, height)
        })
    });
    ImageData::with_media_type(encoded, "image/png")
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{AnyImageGenerator, ErrorKind};

    fn generator() -> AnyImageGenerator {
        AnyImageGenerator::new(Scripted::default())
    }

    #[tokio::test]
    async fn prompt_and_seed_decide_the_image() {
        let request = GenerateRequest::new("un faro").with_seed(7).with_count(2);
        let first = generator().generate(&Context::new(), request.clone()).await.expect("images");
        assert_eq!(generator().generate(&Context::new(), request.clone()).await.expect("images"), first);
        assert_ne!(first.images[0], first.images[1]);
        assert_eq!((first.size, first.seed), (Some((64, 64)), Some(7)));
        let other = generator().generate(&Context::new(), request.with_seed(8)).await.expect("images");
        assert_eq!(other.images[0], first.images[1], "the second image has the next seed");
    }

    #[tokio::test]
    async fn an_image_without_a_seed_can_be_made_again_with_the_seed_it_tells() {
        let request = GenerateRequest::new("un faro");
        let first = generator().generate(&Context::new(), request.clone()).await.expect("an image");
        let seed = first.seed.expect("a seed");
        assert_eq!(generator().generate(&Context::new(), request).await.expect("an image"), first);
        let again =
            generator().generate(&Context::new(), GenerateRequest::new("un faro").with_seed(seed)).await;
        assert_eq!(again.expect("an image"), first);
    }

    #[tokio::test]
    async fn shape_and_resolution_decide_the_size_when_no_size_is_given() {
        let wide = GenerateRequest::new("p").with_aspect_ratio("2:1".parse().expect("a ratio"));
        let response = generator().generate(&Context::new(), wide).await.expect("an image");
        assert_eq!(response.size, Some((88, 48)));
        let high = GenerateRequest::new("p").with_resolution(Resolution::High);
        assert_eq!(
            generator().generate(&Context::new(), high).await.expect("an image").size,
            Some((128, 128))
        );
    }

    #[tokio::test]
    async fn refining_gives_one_image_of_the_same_size_an_input() {
        let request = GenerateRequest::new("p").with_size(40, 24).with_count(3);
        let made = generator().generate(&Context::new(), request).await.expect("images").images;
        let request = RefineRequest::new("más luz", made.clone()).with_strength(0.5);
        let refined = generator().refine(&Context::new(), request).await.expect("images");
        assert_eq!(refined.images.len(), 3);
        assert_eq!(refined.size, Some((40, 24)));
        assert!(refined.images.iter().all(|image| !made.contains(image)));
        assert_ne!(refined.images[0], refined.images[1]);
    }

    #[tokio::test]
    async fn every_step_is_reported() {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&seen);
        let cx = Context::new().with_progress(move |event| sink.lock().expect("a lock").push(event));
        generator().generate(&cx, GenerateRequest::new("p").with_steps(3)).await.expect("an image");
        let seen = seen.lock().expect("a lock");
        assert_eq!(seen.len(), 3);
        assert_eq!(seen[2], Progress::ImageStep { step: 3, of: 3, preview: None });
    }

    #[tokio::test]
    async fn what_cannot_be_painted_is_refused() {
        let prompt = || GenerateRequest::new("p");
        for request in [
            GenerateRequest::new(" "),
            prompt().with_count(0),
            prompt().with_count(17),
            prompt().with_size(0, 8),
            prompt().with_size(8, 2049),
            prompt().with_steps(0),
        ] {
            let error = generator().generate(&Context::new(), request).await.expect_err("refused");
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
        let error =
            generator().refine(&Context::new(), RefineRequest::new("p", [])).await.expect_err("refused");
        assert_eq!((error.kind(), error.backend()), (ErrorKind::InvalidRequest, Some(NAME)));
    }
}
