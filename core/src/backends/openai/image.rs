//! Images by OpenAI's protocol.

use bytes::Bytes;

use super::OpenAi;
use super::image_body::{edit_by_generation, edit_form, generation};
use super::profiles::{ImageDialect, ImageRules};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::http::client::{ApiCall, ApiReply, MAX_BODY_BYTES};
use crate::http::{HeaderText, Method};
use crate::image::{GenerateRequest, ImageGenerator, ImageResponse, RefineRequest};
use crate::info::{BackendInfo, Route};
use crate::media::ImageData;
use crate::wire::openai::images::{ImagePlace, RawImages};

impl ImageGenerator for OpenAi {
    fn info(&self) -> &BackendInfo {
        self.backend_info()
    }

    async fn generate(&self, cx: &Context, request: GenerateRequest) -> Result<ImageResponse> {
        self.generate_checked(cx, &request).await
    }

    async fn refine(&self, cx: &Context, request: RefineRequest) -> Result<ImageResponse> {
        self.refine_each(cx, &request).await
    }
}

impl OpenAi {
    fn image_rules(&self) -> Result<ImageRules> {
        self.profile().images.ok_or_else(|| self.not_offered("images"))
    }

    async fn generate_checked(&self, cx: &Context, request: &GenerateRequest) -> Result<ImageResponse> {
        let rules = self.image_rules()?;
        request.check(self.backend_info().limits.max_images)?;
        let body = generation(rules.dialect, self.profile().name, self.config().model.trim(), request)?;
        let call = self.api().post("/images/generations").json(&body);
        self.images(cx, call).await?.check(request.count as usize)
    }

    /// One call per input image: the trait wants one image for each, the protocol makes one image from all.
    async fn refine_each(&self, cx: &Context, request: &RefineRequest) -> Result<ImageResponse> {
        let rules = self.image_rules()?;
        if !rules.edits {
            return Err(self.not_offered("image edits"));
        }
        request.check()?;
        let of = request.images.len();
        let mut all: Option<ImageResponse> = None;
        for (index, image) in request.images.iter().enumerate() {
            let refined = self.refine_one(cx, rules, request, image).await;
            let refined = refined.map_err(|error| after_others(error, index))?;
            match &mut all {
                None => all = Some(refined),
                Some(all) => {
                    all.images.extend(refined.images);
                    all.usage = all.usage.plus(refined.usage);
                }
            }
            cx.report(|| Progress::Inputs { done: index + 1, of });
        }
        all.ok_or_else(|| Error::invalid_request("the list of images is empty"))?.check(of)
    }

    async fn refine_one(
        &self,
        cx: &Context,
        rules: ImageRules,
        request: &RefineRequest,
        image: &ImageData,
    ) -> Result<ImageResponse> {
        let (vendor, model) = (self.profile().name, self.config().model.trim());
        let call = match rules.dialect {
            ImageDialect::Together => {
                let body = edit_by_generation(rules.dialect, vendor, model, request, image)?;
                self.api().post("/images/generations").json(&body)
            }
            _ => {
                let form = edit_form(rules.dialect, vendor, model, request, image)?;
                self.api().post("/images/edits").multipart(form)
            }
        };
        self.images(cx, call).await?.check(1)
    }

    /// Sends the call and collects the images of the response.
    async fn images(&self, cx: &Context, call: ApiCall<'_>) -> Result<ImageResponse> {
        let reply = call.json_reply::<RawImages>(cx).await?;
        let route = Route::new(self.backend_info())
            .with_model(reply.value.model.as_deref())
            .with_request_id(reply.request_id);
        let usage = reply.value.usage();
        let mut images = Vec::new();
        let mut revised_prompt = None;
        for mut item in reply.value.into_items() {
            revised_prompt =
                revised_prompt.or(item.revised_prompt.take().filter(|prompt| !prompt.is_empty()));
            images.push(match item.into_place()? {
                ImagePlace::Inline(text) => decoded(&text)?,
                ImagePlace::Url(url) => self.fetched(cx, &url).await.map_err(not_fetched)?,
            });
        }
        Ok(ImageResponse::new(images, route).with_revised_prompt(revised_prompt).with_usage(usage))
    }

    async fn fetched(&self, cx: &Context, url: &str) -> Result<ImageData> {
        let call = self.api().call_named(Method::GET, url)?.accept("image/*").max_body(MAX_BODY_BYTES);
        let reply: ApiReply<Bytes> = call.bytes_reply(cx).await?;
        let media_type = reply.headers.text("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        match ImageData::new(reply.value.clone()) {
            Ok(image) => Ok(image),
            Err(_) if media_type.starts_with("image/") && !reply.value.is_empty() => {
                Ok(ImageData::with_media_type(reply.value, media_type))
            }
            Err(_) => Err(Error::response_invalid("the URL in the answer does not lead to an image")),
        }
    }
}

fn decoded(text: &str) -> Result<ImageData> {
    ImageData::from_base64(text).map_err(|_| {
        Error::response_invalid("an image of the answer is not base64 of an image format that ayni knows")
    })
}

/// The image was made, and paid for, before its URL failed: repeating the request would cost again. A URL that
/// the vendor named and then refuses is the vendor's mistake.
fn not_fetched(error: Error) -> Error {
    use ErrorKind as K;
    let refused = matches!(
        error.kind(),
        K::NotFound | K::Unauthenticated | K::PermissionDenied | K::InvalidRequest | K::Unsupported
    );
    if !refused {
        return served(error);
    }
    let invalid =
        Error::response_invalid("the image was made, but its URL in the answer does not lead to it");
    match error.http_status() {
        Some(status) => invalid.with_http_status(status).with_source(error),
        None => invalid.with_source(error),
    }
}

/// Images before this one were made and paid for, so the call was partly served.
fn after_others(error: Error, index: usize) -> Error {
    match index {
        0 => error,
        _ => served(error).with_context("image", index.to_string()),
    }
}

/// An error after work that a retry would do, and pay for, again.
fn served(error: Error) -> Error {
    error.with_sent(Sent::Yes).with_persistence(Persistence::Permanent)
}
