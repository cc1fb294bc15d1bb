//! The bodies of image requests, in the dialect of each vendor.

use serde_json::{Map, Value, json};

use super::profiles::ImageDialect;
use crate::error::{Error, Result};
use crate::http::multipart::Multipart;
use crate::image::{GenerateRequest, RefineRequest};
use crate::media::ImageData;
use crate::wire::numbers::decimal;
use crate::wire::openai::images::{ImageFormat, ImagesBody};

/// The name of an option, and whether the request sets it.
type Given<'a> = (&'a str, bool);

/// The body of `POST /images/generations`.
pub(super) fn generation(
    dialect: ImageDialect,
    vendor: &str,
    model: &str,
    request: &GenerateRequest,
) -> Result<Map<String, Value>> {
    let is_together = dialect == ImageDialect::Together;
    let given = [
        ("negative_prompt", request.negative_prompt.is_some() && !is_together),
        ("steps", request.steps.is_some() && !is_together),
        ("guidance", request.guidance.is_some() && !is_together),
        ("seed", request.seed.is_some() && !is_together),
        ("aspect_ratio", request.aspect_ratio.is_some()),
        ("resolution", request.resolution.is_some()),
        ("scheduler", request.scheduler.is_some()),
        ("temperature", request.temperature.is_some()),
    ];
    refuse_given(&given, vendor)?;
    let mut body = Fields::new(dialect, model, &request.prompt, request.count, request.size);
    body.set_sampling(request.negative_prompt.as_deref(), request.steps, request.guidance, request.seed);
    Ok(body.with_extra(&request.extra))
}

/// The body of `POST /images/generations` at a vendor that edits there.
pub(super) fn edit_by_generation(
    dialect: ImageDialect,
    vendor: &str,
    model: &str,
    request: &RefineRequest,
    image: &ImageData,
) -> Result<Map<String, Value>> {
    refuse_given(&[("mask", request.mask.is_some()), ("strength", request.strength.is_some())], vendor)?;
    let mut body = Fields::new(dialect, model, &request.prompt, 1, request.size);
    body.set_sampling(request.negative_prompt.as_deref(), request.steps, request.guidance, request.seed);
    // The Kontext models of FLUX.1 take one image, all others a list of references.
    if model.to_ascii_lowercase().contains("flux.1-kontext") {
        body.set("image_url", Some(image.to_data_url()));
    } else {
        body.set("reference_images", Some(json!([image.to_data_url()])));
    }
    Ok(body.with_extra(&request.extra))
}

/// The form of `POST /images/edits`, for one image.
pub(super) fn edit_form(
    dialect: ImageDialect,
    vendor: &str,
    model: &str,
    request: &RefineRequest,
    image: &ImageData,
) -> Result<Multipart> {
    let given = [
        ("negative_prompt", request.negative_prompt.is_some()),
        ("strength", request.strength.is_some()),
        ("steps", request.steps.is_some()),
        ("guidance", request.guidance.is_some()),
        ("seed", request.seed.is_some()),
    ];
    refuse_given(&given, vendor)?;
    let fields = Fields::new(dialect, model, &request.prompt, 1, request.size);
    let mut form = Multipart::new();
    for (name, value) in fields.with_extra(&request.extra) {
        form = form.text(&name, as_text(&value));
    }
    form = with_file(form, "image", image);
    Ok(match &request.mask {
        Some(mask) => with_file(form, "mask", mask),
        None => form,
    })
}

fn with_file(form: Multipart, name: &str, image: &ImageData) -> Multipart {
    let file_name = format!("{name}.{}", image.extension());
    form.file(name, &file_name, image.media_type(), image.bytes().clone())
}

fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Fails on the first option that the vendor does not take, naming it.
fn refuse_given(given: &[Given<'_>], vendor: &str) -> Result<()> {
    match given.iter().find(|(_, given)| *given) {
        Some((name, _)) => Err(Error::unsupported_option(
            name,
            format!(
                "vendor '{vendor}' takes no `{name}` for images; what only one model takes goes into `extra`"
            ),
        )),
        None => Ok(()),
    }
}

/// Whether to ask for the image itself instead of a URL. GPT image models always send it and refuse the
/// question.
fn asks_for_base64(model: &str) -> bool {
    let model = model.rsplit('/').next().unwrap_or(model);
    !model.starts_with("gpt-image") && !model.starts_with("chatgpt-image")
}

/// Fields of a body in order, the model first.
struct Fields(Map<String, Value>);

impl Fields {
    fn new(dialect: ImageDialect, model: &str, prompt: &str, count: u32, size: Option<(u32, u32)>) -> Self {
        let is_together = dialect == ImageDialect::Together;
        let mut body = ImagesBody::write(model, prompt, count, size.filter(|_| !is_together));
        if !is_together && (dialect != ImageDialect::OpenAi || asks_for_base64(model)) {
            body.response_format = Some(ImageFormat::Base64);
        }
        let mut fields = Self(body.into_fields());
        if is_together {
            fields.set("width", size.map(|(width, _)| width));
            fields.set("height", size.map(|(_, height)| height));
            fields.set("response_format", Some("base64"));
        }
        fields
    }

    fn set(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.0.insert(name.to_owned(), value.into());
        }
    }

    /// Options that only Together's dialect has; for the others they were refused before.
    fn set_sampling(
        &mut self,
        negative_prompt: Option<&str>,
        steps: Option<u32>,
        guidance: Option<f32>,
        seed: Option<u64>,
    ) {
        self.set("negative_prompt", negative_prompt);
        self.set("steps", steps);
        self.set("guidance_scale", guidance.map(decimal));
        self.set("seed", seed);
    }

    /// Adds the caller's own fields; those already set win.
    fn with_extra(mut self, extra: &Map<String, Value>) -> Map<String, Value> {
        for (name, value) in extra {
            self.0.entry(name.clone()).or_insert_with(|| value.clone());
        }
        self.0
    }
}
