//! Image requests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::media::ImageData;

/// Images from a prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct GenerateRequest {
    /// What the images show.
    pub prompt: String,
    /// What they must not show, for models that support it.
    pub negative_prompt: Option<String>,
    /// How many images.
    pub count: u32,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// The aspect ratio, for backends that choose the size themselves.
    pub aspect_ratio: Option<AspectRatio>,
    /// Full or reduced size, for backends that choose the size themselves.
    pub resolution: Option<Resolution>,
    /// Denoising steps.
    pub steps: Option<u32>,
    /// The guidance scale: how closely to follow the prompt.
    pub guidance: Option<f32>,
    /// The scheduler, as the backend names it.
    pub scheduler: Option<String>,
    /// The seed: makes the images repeatable, as far as the backend allows.
    pub seed: Option<u64>,
    /// The temperature, for engines that support it.
    pub temperature: Option<f32>,
    /// Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence.
    pub extra: Map<String, Value>,
}

impl Default for GenerateRequest {
    fn default() -> Self {
        Self {
            prompt: String::new(),
            negative_prompt: None,
            count: 1,
            size: None,
            aspect_ratio: None,
            resolution: None,
            steps: None,
            guidance: None,
            scheduler: None,
            seed: None,
            temperature: None,
            extra: Map::new(),
        }
    }
}

impl GenerateRequest {
    /// One image of `prompt`.
    pub fn new(prompt: impl Into<String>) -> Self {
        Self { prompt: prompt.into(), ..Self::default() }
    }

    /// Sets what must not be shown.
    pub fn with_negative_prompt(mut self, prompt: impl Into<String>) -> Self {
        self.negative_prompt = Some(prompt.into());
        self
    }

    /// Sets how many images.
    pub fn with_count(mut self, count: u32) -> Self {
        self.count = count;
        self
    }

    /// Sets width and height.
    pub fn with_size(mut self, width: u32, height: u32) -> Self {
        self.size = Some((width, height));
        self
    }

    /// Sets the aspect ratio.
    pub fn with_aspect_ratio(mut self, ratio: AspectRatio) -> Self {
        self.aspect_ratio = Some(ratio);
        self
    }

    /// Sets full or reduced size.
    pub fn with_resolution(mut self, resolution: Resolution) -> Self {
        self.resolution = Some(resolution);
        self
    }

    /// Sets the denoising steps.
    pub fn with_steps(mut self, steps: u32) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Sets the guidance scale.
    pub fn with_guidance(mut self, guidance: f32) -> Self {
        self.guidance = Some(guidance);
        self
    }

    /// Sets the scheduler.
    pub fn with_scheduler(mut self, scheduler: impl Into<String>) -> Self {
        self.scheduler = Some(scheduler.into());
        self
    }

    /// Sets the seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Adds a field to the request body.
    pub fn with_extra(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }

    /// Fails on what no backend accepts: an empty prompt, no images, more than `max_images`.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self, max_images: Option<usize>) -> Result<()> {
        if self.prompt.trim().is_empty() {
            return Err(Error::invalid_request("the prompt is empty"));
        }
        if self.count == 0 {
            return Err(Error::invalid_request("`count` is 0; ask for at least one image"));
        }
        match max_images {
            Some(most) if self.count as usize > most => Err(Error::invalid_request(format!(
                "{} images in one request; this backend makes {most}",
                self.count
            ))),
            _ => Ok(()),
        }
    }
}

/// Images from images and a prompt.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct RefineRequest {
    /// How to change the images.
    pub prompt: String,
    /// The images to change. Shared, so that a retry copies no pixels.
    pub images: Arc<[ImageData]>,
    /// The area to change, for backends that support masks.
    pub mask: Option<ImageData>,
    /// What must not be shown, for models that support it.
    pub negative_prompt: Option<String>,
    /// How much to change, from 0 to 1.
    pub strength: Option<f32>,
    /// Denoising steps.
    pub steps: Option<u32>,
    /// The guidance scale: how closely to follow the prompt.
    pub guidance: Option<f32>,
    /// The seed: makes the images repeatable, as far as the backend allows.
    pub seed: Option<u64>,
    /// Width and height in pixels.
    pub size: Option<(u32, u32)>,
    /// Further fields of the request body, sent as they are. Fields that ayni sets itself take precedence.
    pub extra: Map<String, Value>,
}

impl RefineRequest {
    /// Changes `images` as `prompt` says.
    pub fn new(prompt: impl Into<String>, images: impl IntoIterator<Item = ImageData>) -> Self {
        Self { prompt: prompt.into(), images: images.into_iter().collect(), ..Self::default() }
    }

    /// Sets how much to change.
    pub fn with_strength(mut self, strength: f32) -> Self {
        self.strength = Some(strength);
        self
    }

    /// Sets the denoising steps.
    pub fn with_steps(mut self, steps: u32) -> Self {
        self.steps = Some(steps);
        self
    }

    /// Sets the guidance scale.
    pub fn with_guidance(mut self, guidance: f32) -> Self {
        self.guidance = Some(guidance);
        self
    }

    /// Sets the seed.
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets the area to change.
    pub fn with_mask(mut self, mask: ImageData) -> Self {
        self.mask = Some(mask);
        self
    }

    /// Fails on what no backend accepts: an empty prompt, no images.
    ///
    /// # Errors
    /// `invalid_request`.
    pub fn check(&self) -> Result<()> {
        if self.prompt.trim().is_empty() {
            return Err(Error::invalid_request("the prompt is empty"));
        }
        if self.images.is_empty() {
            return Err(Error::invalid_request("the list of images is empty"));
        }
        Ok(())
    }
}

/// Full or reduced size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Resolution {
    /// A size that fits the available memory safely.
    Standard,
    /// The model's full size.
    High,
}

/// The ratio of width to height, such as `16:9`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AspectRatio {
    width: u32,
    height: u32,
}

impl AspectRatio {
    /// A ratio.
    ///
    /// # Errors
    /// `invalid_request` if a side is zero, or one more than 8 times the other.
    pub fn new(width: u32, height: u32) -> Result<Self> {
        if width == 0 || height == 0 || width > 8 * height || height > 8 * width {
            return Err(Error::invalid_request(format!(
                "the aspect ratio {width}:{height} is not between 1:8 and 8:1"
            )));
        }
        Ok(Self { width, height })
    }

    /// The width's share.
    pub fn width(self) -> u32 {
        self.width
    }

    /// The height's share.
    pub fn height(self) -> u32 {
        self.height
    }

    /// The size of this shape with about `pixels` pixels, both sides multiples of `multiple`.
    pub fn size(self, pixels: u64, multiple: u32) -> (u32, u32) {
        let ratio = f64::from(self.width) / f64::from(self.height);
        #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let side = |length: f64| (((length / f64::from(multiple)).round() as u32).max(1)) * multiple;
        #[allow(clippy::cast_precision_loss)]
        let pixels = pixels as f64;
        (side((pixels * ratio).sqrt()), side((pixels / ratio).sqrt()))
    }
}

impl fmt::Display for AspectRatio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.width, self.height)
    }
}

impl FromStr for AspectRatio {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let parse = |side: &str| side.trim().parse::<u32>().ok();
        match text.split_once(':').and_then(|(width, height)| Some((parse(width)?, parse(height)?))) {
            Some((width, height)) => Self::new(width, height),
            None => Err(Error::invalid_request(format!("'{text}' is not an aspect ratio such as 16:9"))),
        }
    }
}

impl Serialize for AspectRatio {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AspectRatio {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(|error: Error| serde::de::Error::custom(error.message()))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for AspectRatio {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AspectRatio".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+:[0-9]+$", "examples": ["16:9"] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_keep_the_shape_and_the_multiple() {
        for text in ["1:1", "16:9", "9:16", "4:3", "3:4"] {
            let ratio: AspectRatio = text.parse().expect("a ratio");
            let (width, height) = ratio.size(512 * 512, 8);
            assert_eq!((width % 8, height % 8), (0, 0), "{text}");
            let shape = f64::from(width) / f64::from(height);
            let wanted = f64::from(ratio.width()) / f64::from(ratio.height());
            assert!((shape / wanted - 1.0).abs() < 0.03, "{text}: {width}×{height}");
        }
    }

    #[test]
    fn nonsense_is_no_aspect_ratio() {
        for text in ["", "16", "16:", "0:1", "1:9", "a:b"] {
            assert!(text.parse::<AspectRatio>().is_err(), "{text}");
        }
    }
}
