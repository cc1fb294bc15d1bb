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

mod handle;
mod request;
mod response;

use std::fmt;
use std::future::{self, Future};

pub use handle::AnyImageGenerator;
pub use request::{AspectRatio, GenerateRequest, RefineRequest, Resolution};
pub use response::{ImageResponse, ImageSafety, SafetyConcept};

use crate::context::Context;
use crate::error::Result;
use crate::info::BackendInfo;

/// Generates images.
///
/// Contract:
/// - as many images come back as were asked for, or the call fails, which [`AnyImageGenerator`] sees to whatever
///   the backend does;
/// - [`refine`](Self::refine) gives one image for each input image, in order;
/// - the response says what was used (seed, size, scheduler, steps, model) as far as the backend reports it;
/// - progress goes to the context: one [`Progress::ImageStep`](crate::Progress::ImageStep) for each step where the
///   backend reports steps;
/// - an option that the backend does not support is `unsupported`, never silently dropped;
/// - no retries: an image may have been generated, and paid for, although the answer was lost.
pub trait ImageGenerator: Send + Sync + fmt::Debug + 'static {
    /// Who the backend is.
    fn info(&self) -> &BackendInfo;

    /// Generates images from a prompt.
    fn generate(
        &self,
        cx: &Context,
        request: GenerateRequest,
    ) -> impl Future<Output = Result<ImageResponse>> + Send;

    /// Generates images from images and a prompt.
    fn refine(
        &self,
        cx: &Context,
        request: RefineRequest,
    ) -> impl Future<Output = Result<ImageResponse>> + Send;

    /// Waits until a model in this process is loaded. A hosted backend has nothing to load and is not called.
    fn ready(&self, cx: &Context) -> impl Future<Output = Result<()>> + Send {
        future::ready(cx.check())
    }
}
