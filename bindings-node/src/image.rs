//! Image generators.

use ayni::config::open_image_generator_with;
use ayni::{AnyImageGenerator, GenerateRequest, ImageConfig, ImageResponse, RefineRequest, Result, Setup};
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

fn pictures(mut response: ImageResponse) -> Result<Pictures> {
    let images = std::mem::take(&mut response.images);
    Ok(Pictures {
        media_types: images.iter().map(|image| image.media_type().to_owned()).collect(),
        images: images.iter().map(|image| Buffer::from(image.bytes().to_vec())).collect(),
        json: json_text(&response)?,
    })
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
            pictures(handle.generate(&cx, request::<GenerateRequest>(&fields)?).await?)
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
            pictures(handle.refine(&cx, request::<RefineRequest>(&fields)?).await?)
        })
    }
}
