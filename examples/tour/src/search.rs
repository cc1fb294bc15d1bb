//! Semantic search with models in this process.

use std::time::{Duration, Instant};

use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::{AnyEmbedder, Context, EmbedRequest, Environment, Result};

use crate::models::folder_of;
use crate::show;

/// Invented, but of the kind that public bodies in Chile publish.
const TENDERS: &str = include_str!("../data/tenders.txt");

const QUESTIONS: [&str; 6] = [
    "vehículos para trasladar enfermos",
    "vehicles to carry patients",
    "agua para zonas con sequía",
    "drinking water for villages",
    "energía solar",
    "school supplies for children",
];

/// The titles nearest to questions in two languages: by the sample model of the package, then by a model that is worth more.
pub(crate) async fn search() -> Result<()> {
    let titles: Vec<&str> = TENDERS.lines().collect();
    show::section(
        "Semantic search",
        &format!("{} titles of tenders, by tiny:text, a sample model of the package", titles.len()),
    );
    nearest(&titles, "tiny:text").await?;
    show::section(
        "Semantic search with a real model",
        "the same titles, by all-MiniLM-L6-v2 in this process",
    );
    match folder_of("all-minilm-l6-v2", "model.safetensors") {
        Some(folder) => nearest(&titles, &folder.display().to_string()).await,
        None => Ok(()),
    }
}

async fn nearest(titles: &[&str], model: &str) -> Result<()> {
    let start = Instant::now();
    let embedder = LocalEmbedder::open(&LocalEmbedderConfig::new(model), &Environment::process())?;
    let cx = Context::new();
    let embedder = AnyEmbedder::new(embedder);
    embedder.ready(&cx).await?;
    show::fact("model loaded", milliseconds(start.elapsed()));

    let start = Instant::now();
    let documents = embedder.embed(&cx, EmbedRequest::texts(titles.iter().copied())).await?.vectors;
    let tokens = format!("{} vectors of {} numbers", documents.len(), documents.width());
    show::fact("titles embedded", format!("{}: {tokens}", milliseconds(start.elapsed())));

    let (mut embedding, mut searching) = (Duration::ZERO, Duration::ZERO);
    for question in QUESTIONS {
        let start = Instant::now();
        let query = embedder.embed_text(&cx, question).await?;
        embedding += start.elapsed();
        let start = Instant::now();
        let found = documents.top_k(&query, 3)?;
        searching += start.elapsed();
        show::line("");
        show::line(format!("{question}?"));
        for found in found {
            show::line(format!(
                "  {:.2}  {}",
                found.score,
                titles.get(found.index).copied().unwrap_or_default()
            ));
        }
    }
    let count = QUESTIONS.len() as u32;
    show::line("");
    show::fact("a question, embedded", milliseconds(embedding / count));
    show::fact("and searched", milliseconds(searching / count));
    if cfg!(debug_assertions) {
        show::fact(
            "note",
            "the Rust code of this build is not optimised: PROFILE=release says how quick it is",
        );
    }
    Ok(())
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1e3)
}
