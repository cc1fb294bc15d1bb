//! Image generators.

use ayni::config::open_image_generator_with;
use ayni::local::ImageReplay;
use ayni::{
    AnyImageGenerator, Error, GenerateRequest, ImageConfig, ImageData, ImageResponse, RefineRequest, Result,
    Setup,
};
use napi::Env;
use napi::bindgen_prelude::Buffer;
use napi_derive::napi;

use crate::call::{Call, Promised, blocking, promise};
use crate::convert::{json_text, open_handle, request};
use crate::failure::{Outcome, guarded};

/// The encoded images of an answer, and the rest of it.
#[napi(object, object_from_js = false)]
pub struct Pictures {
    /// The bytes of each image.
    pub images: Vec<Buffer>,
    /// The media type of each image.
    pub media_types: Vec<String>,
    /// The other fields, as JSON.
    pub json: String,
}

fn pictures(images: &[ImageData], rest: &impl serde::Serialize) -> Result<Pictures> {
    Ok(Pictures {
        media_types: images.iter().map(|image| image.media_type().to_owned()).collect(),
        images: images.iter().map(|image| Buffer::from(image.bytes().to_vec())).collect(),
        json: json_text(rest)?,
    })
}

fn of_response(mut response: ImageResponse) -> Result<Pictures> {
    let images = std::mem::take(&mut response.images);
    pictures(&images, &response)
}

/// A handle on an image generator.
#[napi]
pub struct ImageGenerator(pub(crate) AnyImageGenerator);

#[napi]
impl ImageGenerator {
    /// Opens a backend; without a configuration the one that the environment names.
    #[napi]
    pub fn open(
        env: &Env,
        fields: Option<String>,
        variables: Option<String>,
    ) -> napi::Result<Promised<'_, Self>> {
        let from_env = Setup::<ImageConfig>::from_env_with;
        blocking(env, move || {
            let (fields, variables) = (fields.as_deref(), variables.as_deref());
            open_handle(fields, variables, ImageConfig::BACKENDS, from_env, open_image_generator_with)
                .map(Self)
        })
    }

    /// Who the backend is, as JSON.
    #[napi]
    pub fn info(&self) -> Outcome<String> {
        guarded(|| json_text(self.0.info()))
    }

    /// Waits until a local model is loaded.
    #[napi]
    pub fn ready<'env>(&self, env: &'env Env, call: Option<&Call>) -> napi::Result<Promised<'env, ()>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move { handle.ready(&cx).await })
    }

    /// Makes images from a prompt.
    #[napi]
    pub fn generate<'env>(
        &self,
        env: &'env Env,
        fields: String,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, Pictures>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move {
            of_response(handle.generate(&cx, request::<GenerateRequest>(&fields)?).await?)
        })
    }

    /// Makes images from images and a prompt.
    #[napi]
    pub fn refine<'env>(
        &self,
        env: &'env Env,
        fields: String,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, Pictures>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move {
            of_response(handle.refine(&cx, request::<RefineRequest>(&fields)?).await?)
        })
    }

    /// Draws the first of some images, in base64, again by its receipt; the others are those that it was made from.
    #[napi]
    pub fn replay<'env>(
        &self,
        env: &'env Env,
        images: String,
        call: Option<&Call>,
    ) -> napi::Result<Promised<'env, Pictures>> {
        let handle = self.0.clone();
        promise(env, call, move |cx| async move {
            let images = request::<Vec<ImageData>>(&images)?;
            let first = images.split_first().ok_or_else(|| Error::invalid_request("there is no image"));
            let (image, sources) = first?;
            let replay = ImageReplay::of(&handle, &cx, image, sources).await?;
            pictures(std::slice::from_ref(&replay.image), &replay)
        })
    }
}
