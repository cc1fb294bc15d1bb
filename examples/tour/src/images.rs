//! Images through an engine of one's own.

use ayni::backends::image_engine::ImageEngineConfig;
use ayni::local::{ImageReceipt, LocalImageConfig};
use ayni::{
    AspectRatio, Context, Error, GenerateRequest, ImageConfig, Progress, RefineRequest, Resolution, Result,
    Setup,
};
use ayni_testkit::{MockServer, PNG};
use serde_json::json;

use crate::show;

/// An image drawn in this process, by a model whose weights are random.
pub(crate) async fn draw_here() -> Result<()> {
    show::section(
        "Images in this process",
        "Stable Diffusion's layout at a thousandth of its size; its weights are random, so it draws noise",
    );
    let models = ayni_testkit::tiny_images::shared()
        .map_err(|error| Error::config(format!("the tiny models cannot be written: {error}")))?;
    let open = |name: &str| {
        let config = LocalImageConfig::new(models.join(name).display().to_string()).with_device("cpu");
        ayni::open_image_generator(Setup::<ImageConfig>::new(config))
    };
    let engine = open("sd")?;
    let cx = Context::new().with_progress(|event| {
        if let Progress::ImageStep { step, of, .. } = event
            && step == of
        {
            show::fact("steps", format!("{step} of {of}"));
        }
    });
    let request =
        GenerateRequest::new("a lighthouse in Valparaíso").with_size(64, 64).with_steps(8).with_seed(7);
    let response = engine.generate(&cx, request).await?;
    for image in &response.images {
        let receipt = ImageReceipt::of(image)?;
        let (scheduler, seed) = (receipt.scheduler, receipt.seed);
        show::fact("drawn", format!("{image:?}, {:?}, {scheduler}, seed {seed}", image.dimensions()));
    }
    let turbo = open("turbo")?;
    turbo.ready(&cx).await?;
    if let Some(model) = &turbo.info().image_model {
        show::fact(
            "another model",
            format!("recipe {}, {} step, {}", model.recipe, model.steps, model.scheduler),
        );
    }
    if let Err(error) = turbo.generate(&cx, GenerateRequest::new("a fox").with_steps(20)).await {
        show::fact("20 steps of it", error.message());
    }
    Ok(())
}

/// An image from a prompt, and the same image refined.
pub(crate) async fn generate_and_refine() -> Result<()> {
    show::section("Images", "an image engine on loopback: /generate, then /refine with what came out");
    let server = MockServer::start(&json!([
        {
            "request": { "method": "POST", "path": "/generate", "json": { "aspectRatio": "16:9", "resolution": "high" } },
            "respond": { "json": { "images": [PNG] } }
        },
        {
            "request": { "method": "POST", "path": "/refine", "json": { "images": { "$length": 1 }, "config": { "steps": 6 } } },
            "respond": { "json": { "images": [PNG] } }
        }
    ]))
    .await?;
    let engine = ayni::open_image_generator(ImageEngineConfig::new(server.base_url()))?;
    let request = GenerateRequest::new("a lighthouse in Valparaíso")
        .with_aspect_ratio(AspectRatio::new(16, 9)?)
        .with_resolution(Resolution::High);
    let first = engine.generate(&Context::new(), request).await?;
    for image in &first.images {
        show::fact("generated", format!("{image:?}, size {:?}", image.dimensions()));
    }
    let refined =
        engine.refine(&Context::new(), RefineRequest::new("at night", first.images).with_steps(6)).await?;
    show::fact("refined", format!("{} image(s), one for each that went in", refined.images.len()));
    Ok(())
}
