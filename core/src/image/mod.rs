//! Images from prompts, and from images and prompts.
//!
//! ```
//! use ayni::backends::scripted::Scripted;
//! use ayni::{AnyImageGenerator, Context, GenerateRequest};
//!
//! # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
//! let generator = AnyImageGenerator::new(Scripted::default());
//! let request = GenerateRequest::new("a lighthouse in Valparaíso").with_size(64, 48).with_seed(7);
//! let response = generator.generate(&Context::new(), request).await?;
//! assert_eq!(response.images[0].dimensions(), Some((64, 48)));
//! assert_eq!(response.seed, Some(7));
//! # Ok::<_, ayni::Error>(())
//! # })?;
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use crate::context::{BoxFuture, Context};
use crate::error::Result;
use crate::info::{BackendInfo, Route, Usage};
use crate::media::ImageData;

mod request;

pub use request::{AspectRatio, GenerateRequest, RefineRequest, Resolution};

/// Makes images.
///
/// Contract:
/// - as many images come back as were asked for, or the call fails;
/// - [`refine`](Self::refine) gives one image an input image, in order;
/// - the response says what was used (seed, size, scheduler, steps, model) as far as the backend says so;
/// - progress goes to the context, one [`Progress::ImageStep`](crate::Progress::ImageStep) a step where the
///   backend counts steps;
/// - an option that the backend cannot honour is `unsupported`, never dropped in silence;
/// - no retries: an image may have been made, and paid for, even when the answer got lost.
pub trait ImageGenerator: Send + Sync + fmt::Debug + 'static {
    /// Who the backend is.
    fn info(&self) -> &BackendInfo;

    /// Makes images from a prompt.
    fn generate(
        &self,
        cx: &Context,
        request: GenerateRequest,
    ) -> impl Future<Output = Result<ImageResponse>> + Send;

    /// Makes images from images and a prompt.
    fn refine(
        &self,
        cx: &Context,
        request: RefineRequest,
    ) -> impl Future<Output = Result<ImageResponse>> + Send;
}

/// Images, and how they were made.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ImageResponse {
    /// The images, encoded.
    pub images: Vec<ImageData>,
    /// The seed used, where the backend says so.
    pub seed: Option<u64>,
    /// Width and height of the images.
    pub size: Option<(u32, u32)>,
    /// The scheduler used, where the backend says so.
    pub scheduler: Option<String>,
    /// The steps run, where the backend says so.
    pub steps: Option<u32>,
    /// The prompt as the backend rewrote it, where it did.
    pub revised_prompt: Option<String>,
    /// Tokens used, where the backend says so.
    pub usage: Usage,
    /// Who served; `route.model` is the model.
    pub route: Route,
}

impl ImageResponse {
    /// Images about which only their route is known. The size is read off the first image.
    pub fn new(images: Vec<ImageData>, route: Route) -> Self {
        let size = images.first().and_then(ImageData::dimensions);
        Self {
            images,
            seed: None,
            size,
            scheduler: None,
            steps: None,
            revised_prompt: None,
            usage: Usage::default(),
            route,
        }
    }

    /// Says which seed was used.
    pub fn with_seed(mut self, seed: Option<u64>) -> Self {
        self.seed = seed;
        self
    }

    /// Says which scheduler was used, for how many steps.
    pub fn with_schedule(mut self, scheduler: Option<String>, steps: Option<u32>) -> Self {
        self.scheduler = scheduler;
        self.steps = steps;
        self
    }

    /// Keeps the prompt as the backend rewrote it.
    pub fn with_revised_prompt(mut self, prompt: Option<String>) -> Self {
        self.revised_prompt = prompt;
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
            got => Err(crate::Error::response_invalid(format!(
                "{got} images came back where {wanted} were asked for"
            ))),
        }
    }
}

/// Any image generator: the handle that users hold. Cheap to clone; clones share the backend.
#[derive(Clone, Debug)]
pub struct AnyImageGenerator(Arc<dyn DynImageGenerator>);

impl AnyImageGenerator {
    /// A handle on `generator`.
    pub fn new(generator: impl ImageGenerator) -> Self {
        Self(Arc::new(generator))
    }

    /// Who the backend is.
    pub fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    /// Makes images from a prompt.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.0.generate(cx, request).await
    }

    /// Makes images from images and a prompt.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.0.refine(cx, request).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl ImageGenerator for AnyImageGenerator {
    fn info(&self) -> &BackendInfo {
        self.0.info()
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.0.generate(cx, request).await
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.0.refine(cx, request).await
    }
}

/// [`ImageGenerator`] in the form that can be a trait object.
trait DynImageGenerator: Send + Sync + fmt::Debug {
    fn info(&self) -> &BackendInfo;
    fn generate<'a>(
        &'a self,
        cx: &'a Context,
        request: GenerateRequest,
    ) -> BoxFuture<'a, Result<ImageResponse>>;
    fn refine<'a>(&'a self, cx: &'a Context, request: RefineRequest) -> BoxFuture<'a, Result<ImageResponse>>;
}

impl<T: ImageGenerator> DynImageGenerator for T {
    fn info(&self) -> &BackendInfo {
        ImageGenerator::info(self)
    }

    fn generate<'a>(
        &'a self,
        cx: &'a Context,
        request: GenerateRequest,
    ) -> BoxFuture<'a, Result<ImageResponse>> {
        Box::pin(ImageGenerator::generate(self, cx, request))
    }

    fn refine<'a>(&'a self, cx: &'a Context, request: RefineRequest) -> BoxFuture<'a, Result<ImageResponse>> {
        Box::pin(ImageGenerator::refine(self, cx, request))
    }
}
