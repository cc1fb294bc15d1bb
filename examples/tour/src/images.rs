//! Images through an engine of one's own.

use ayni::backends::image_engine::ImageEngineConfig;
use ayni::{AspectRatio, Context, GenerateRequest, RefineRequest, Resolution, Result};
use ayni_testkit::{MockServer, PNG};
use serde_json::json;

use crate::show;

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
