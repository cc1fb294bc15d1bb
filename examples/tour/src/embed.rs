//! Embeddings: any number of texts, and a Space that sleeps.

use ayni::backends::clip_service::ClipServiceConfig;
use ayni::backends::tei::TeiConfig;
use ayni::{Context, EmbedRequest, Progress, Result};
use ayni_testkit::MockServer;
use serde_json::json;

use crate::show;

/// A hundred texts for a server that takes 32 at a time.
pub(crate) async fn any_number() -> Result<()> {
    show::section(
        "Embeddings",
        "100 texts for text-embeddings-inference, which takes 32 at a time: the handle splits",
    );
    let vectors = |count: usize| vec![[0.6, 0.8]; count];
    let part = |count: usize| {
        json!({
            "request": { "method": "POST", "path": "/embed", "json": { "inputs": { "$length": count } } },
            "respond": { "json": vectors(count) }, "unordered": true
        })
    };
    let about = json!({
        "request": { "method": "GET", "path": "/info" },
        "respond": { "json": { "model_id": "intfloat/multilingual-e5-small", "max_client_batch_size": 32 } },
        "unordered": true
    });
    let server = MockServer::start(&json!([about, part(32), part(32), part(32), part(4)])).await?;
    let embedder =
        ayni::open_embedder(TeiConfig::new(server.base_url()).with_model("intfloat/multilingual-e5-small"))?;
    let cx = Context::new().with_progress(|event| {
        if let Progress::Inputs { done, of } = event {
            show::fact("progress", format!("{done} of {of}"));
        }
    });
    let texts = (1..=100).map(|number| format!("Licitación número {number}"));
    let response = embedder.embed(&cx, EmbedRequest::texts(texts)).await?;
    show::fact("vectors", format!("{} × {}", response.vectors.len(), response.vectors.width()));
    show::fact("requests seen", format!("{}: one asks what the server is", server.requests().len()));
    show::fact("space", &embedder.space().model);
    Ok(())
}

/// A Space answers with its "starting" page first; the client waits inside the deadline and says why.
pub(crate) async fn a_space_wakes_up() -> Result<()> {
    show::section(
        "A sleeping Space",
        "503 while it wakes, then the vector: waited for inside the deadline, and said so",
    );
    let path = json!({ "method": "POST", "path": "/embed/text" });
    let server = MockServer::start(&json!([
        { "request": path, "respond": { "status": 503, "html": "<html><title>Starting…</title></html>" } },
        { "request": path, "respond": { "json": { "embedding": vec![0.044_194_174; 512], "dimensions": 512 } } }
    ]))
    .await?;
    let embedder = ayni::open_embedder(ClipServiceConfig::new(server.base_url()))?;
    let cx = Context::new().with_progress(|event| {
        if let Progress::Waiting { reason, .. } = event {
            show::fact("waiting", reason);
        }
    });
    let vector = embedder.embed_text(&cx, "a photo of a dog").await?;
    show::fact("vector", format!("{} numbers", vector.len()));
    Ok(())
}
