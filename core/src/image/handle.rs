//! The handle that users hold.

use std::fmt;
use std::sync::Arc;

use futures_util::{FutureExt, TryFutureExt};

use super::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::context::{BoxFuture, Context};
use crate::error::{Operation, Result};
use crate::info::BackendInfo;

/// Any image generator: the handle that users hold. Cheap to clone; clones share the backend.
///
/// Whatever the backend does, as many images come back as were asked for, or the call fails with
/// `response_invalid`. Errors name backend and operation.
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

    /// Generates images from a prompt.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.0.generate(cx, request).await
    }

    /// Generates images from images and a prompt.
    ///
    /// # Errors
    /// Those of the backend.
    pub async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.0.refine(cx, request).await
    }

    /// Waits until a local model is loaded; see [`ImageGenerator::ready`].
    ///
    /// # Errors
    /// Those of loading.
    pub async fn ready(&self, cx: &Context) -> Result<()> {
        self.0.ready(cx).await
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

    async fn ready(&self, cx: &Context) -> Result<()> {
        self.0.ready(cx).await
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
    fn ready<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<()>>;
}

/// Holds every generator to the contract, and names backend and operation on every error, so that no backend has to.
impl<T: ImageGenerator> DynImageGenerator for T {
    fn info(&self) -> &BackendInfo {
        ImageGenerator::info(self)
    }

    fn generate<'a>(
        &'a self,
        cx: &'a Context,
        request: GenerateRequest,
    ) -> BoxFuture<'a, Result<ImageResponse>> {
        let wanted = request.count as usize;
        let checked = move |outcome: Result<ImageResponse>| {
            let outcome = outcome.and_then(|response| response.check(wanted));
            outcome.map_err(ImageGenerator::info(self).tag(Operation::GenerateImage))
        };
        Box::pin(ImageGenerator::generate(self, cx, request).map(checked))
    }

    fn refine<'a>(&'a self, cx: &'a Context, request: RefineRequest) -> BoxFuture<'a, Result<ImageResponse>> {
        let wanted = request.images.len();
        let checked = move |outcome: Result<ImageResponse>| {
            let outcome = outcome.and_then(|response| response.check(wanted));
            outcome.map_err(ImageGenerator::info(self).tag(Operation::RefineImage))
        };
        Box::pin(ImageGenerator::refine(self, cx, request).map(checked))
    }

    fn ready<'a>(&'a self, cx: &'a Context) -> BoxFuture<'a, Result<()>> {
        Box::pin(
            ImageGenerator::ready(self, cx).map_err(ImageGenerator::info(self).tag(Operation::GenerateImage)),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;
    use crate::info::Route;
    use crate::media::ImageData;

    /// Gives one image whatever it is asked.
    #[derive(Debug)]
    struct Careless(BackendInfo);

    impl Careless {
        fn one(&self) -> ImageResponse {
            let image = ImageData::with_media_type("pixels", "image/png");
            ImageResponse::new(vec![image], Route::new(&self.0))
        }
    }

    impl ImageGenerator for Careless {
        fn info(&self) -> &BackendInfo {
            &self.0
        }

        async fn generate(&self, _: &Context, _: GenerateRequest) -> Result<ImageResponse> {
            Ok(self.one())
        }

        async fn refine(&self, _: &Context, _: RefineRequest) -> Result<ImageResponse> {
            Ok(self.one())
        }
    }

    #[tokio::test]
    async fn another_number_of_images_than_was_asked_for_is_refused() {
        let (cx, generator) =
            (Context::new(), AnyImageGenerator::new(Careless(BackendInfo::new("careless", "m"))));
        let image = ImageData::with_media_type("pixels", "image/png");
        let generated = generator.generate(&cx, GenerateRequest::new("a").with_count(2)).await;
        let refined = generator.refine(&cx, RefineRequest::new("a", [image.clone(), image])).await;
        let operations = [Operation::GenerateImage, Operation::RefineImage];
        for (outcome, operation) in [generated, refined].into_iter().zip(operations) {
            let error = outcome.expect_err("one image for two");
            assert_eq!(error.kind(), ErrorKind::ResponseInvalid);
            assert_eq!((error.backend(), error.operation()), (Some("careless"), Some(operation)));
        }
        generator.ready(&cx).await.expect("nothing to load");
    }
}
