//! Images, and how they were generated.

use serde::{Serialize, Serializer};

use crate::error::{Error, Result};
use crate::info::{Route, Usage};
use crate::media::ImageData;

/// Images, and how they were generated.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImageResponse {
    /// The images, encoded.
    pub images: Vec<ImageData>,
    /// The seed used, where the backend reports it.
    pub seed: Option<u64>,
    /// Width and height of the images.
    pub size: Option<(u32, u32)>,
    /// The scheduler used, where the backend says so.
    pub scheduler: Option<String>,
    /// The steps run, where the backend says so.
    pub steps: Option<u32>,
    /// The prompt as the backend rewrote it, where it did.
    pub revised_prompt: Option<String>,
    /// What a local model's safety checker said of each image; empty where none ran.
    pub safety: Vec<ImageSafety>,
    /// Tokens used, where the backend says so.
    pub usage: Usage,
    /// Who served; `route.model` is the model.
    pub route: Route,
}

/// What a safety checker said of an image, and what was done.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct ImageSafety {
    /// Whether it found something.
    pub flagged: bool,
    /// Whether the image is black because of that.
    pub blanked: bool,
    /// What it found.
    pub concepts: Vec<SafetyConcept>,
}

/// A concept that a safety checker found in an image.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct SafetyConcept {
    /// Its number in the checker's list, from 0; what it stands for is not published.
    pub concept: u32,
    /// How far the image is above the threshold, in cosine.
    pub score: f32,
}

impl ImageSafety {
    /// What was found: numbers of concepts, and how far the image is above the threshold of each.
    pub fn new(concepts: impl IntoIterator<Item = (u32, f32)>) -> Self {
        let concept = |(concept, score)| SafetyConcept { concept, score };
        let concepts: Vec<SafetyConcept> = concepts.into_iter().map(concept).collect();
        Self { flagged: !concepts.is_empty(), blanked: false, concepts }
    }

    /// Says whether the image is black because of that.
    pub fn with_blanked(mut self, blanked: bool) -> Self {
        self.blanked = blanked;
        self
    }
}

impl ImageResponse {
    /// Images about which only their route is known. The size is read from the first image.
    pub fn new(images: Vec<ImageData>, route: Route) -> Self {
        let size = images.first().and_then(ImageData::dimensions);
        Self {
            images,
            seed: None,
            size,
            scheduler: None,
            steps: None,
            revised_prompt: None,
            safety: Vec::new(),
            usage: Usage::default(),
            route,
        }
    }

    /// Sets the seed that was used.
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// Sets the scheduler and the count of steps that were used.
    pub fn with_schedule(mut self, scheduler: Option<String>, steps: Option<u32>) -> Self {
        self.scheduler = scheduler;
        self.steps = steps;
        self
    }

    /// Sets the prompt as the backend rewrote it.
    pub fn with_revised_prompt(mut self, prompt: Option<String>) -> Self {
        self.revised_prompt = prompt;
        self
    }

    /// Sets what a safety checker said of each image.
    pub fn with_safety(mut self, safety: Vec<ImageSafety>) -> Self {
        self.safety = safety;
        self
    }

    /// Sets the usage.
    pub fn with_usage(mut self, usage: Usage) -> Self {
        self.usage = usage;
        self
    }

    /// Fails unless `wanted` images came back.
    ///
    /// # Errors
    /// `response_invalid`.
    pub fn check(self, wanted: usize) -> Result<Self> {
        match self.images.len() {
            got if got == wanted => Ok(self),
            got => {
                Err(Error::response_invalid(format!("{got} images came back where {wanted} were asked for")))
            }
        }
    }
}

/// In JSON the images are base64, with their count and media types beside them.
#[derive(Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
struct Written<'a> {
    /// How many images there are.
    count: usize,
    /// The images, encoded, as base64.
    images: Vec<String>,
    /// The media type of each image.
    media_types: Vec<&'a str>,
    /// The seed used, where the backend reports it.
    seed: Option<u64>,
    /// Width and height of the images.
    size: Option<(u32, u32)>,
    /// The scheduler used, where the backend says so.
    scheduler: Option<&'a str>,
    /// The steps run, where the backend says so.
    steps: Option<u32>,
    /// The prompt as the backend rewrote it, where it did.
    revised_prompt: Option<&'a str>,
    /// What a local model's safety checker said of each image, where one ran.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    safety: &'a [ImageSafety],
    /// Tokens used, where the backend says so.
    usage: Usage,
    /// Who served; its `model` is the model.
    route: &'a Route,
}

impl Serialize for ImageResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { images, seed, size, scheduler, steps, revised_prompt, safety, usage, route } = self;
        let written = Written {
            count: images.len(),
            images: images.iter().map(ImageData::to_base64).collect(),
            media_types: images.iter().map(ImageData::media_type).collect(),
            seed: *seed,
            size: *size,
            scheduler: scheduler.as_deref(),
            steps: *steps,
            revised_prompt: revised_prompt.as_deref(),
            safety,
            usage: *usage,
            route,
        };
        written.serialize(serializer)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ImageResponse {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ImageResponse".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut schema = Written::json_schema(generator);
        schema.insert("description".into(), "Images, and how they were generated.".into());
        schema
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::info::BackendInfo;

    #[test]
    fn images_are_written_as_base64_with_their_count_and_media_types() {
        let image = ImageData::with_media_type("pixels", "image/png");
        let response =
            ImageResponse::new(vec![image], Route::new(&BackendInfo::new("b", "m"))).with_seed(Some(7));
        assert_eq!(
            serde_json::to_value(&response).expect("JSON"),
            json!({
                "count": 1, "images": ["cGl4ZWxz"], "media_types": ["image/png"],
                "seed": 7, "size": null, "scheduler": null, "steps": null, "revised_prompt": null,
                "usage": Usage::default(),
                "route": {"backend": "b", "model": "m", "attempts": 1, "cached": false},
            })
        );
    }
}
