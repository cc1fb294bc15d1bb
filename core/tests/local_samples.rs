//! The sample models that come with the package.
#![cfg(feature = "samples")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ayni::local::{LocalEmbedderConfig, sample_models};
use ayni::{AnyEmbedder, Context, EmbedRequest, Environment, ImageData, Result};

fn open(model: &str, env: &Environment) -> Result<AnyEmbedder> {
    LocalEmbedderConfig::new(model).with_device("cpu").open(env)
}

/// No network, no home but a folder of the test's own.
fn offline(folder: &tempfile::TempDir) -> Environment {
    let at = folder.path().to_str().unwrap();
    Environment::from_pairs([("HF_HUB_OFFLINE", "1"), ("HF_HOME", at), ("AYNI_CACHE", at)])
}

#[tokio::test]
async fn every_sample_of_the_package_answers_offline_in_both_languages() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, env) = (Context::new(), offline(&folder));
    let here: Vec<_> = sample_models().into_iter().filter(|sample| sample.bytes.is_some()).collect();
    assert_eq!(here.len(), 2);
    for sample in here {
        let embedder = open(sample.reference, &env).unwrap();
        let documents = ["a red apple", "the moon at night"];
        let documents = embedder.embed(&cx, EmbedRequest::texts(documents)).await.unwrap().vectors;
        for (question, nearest) in [("manzana roja", 0), ("la luna", 1), ("red fruit", 0)] {
            let query = embedder.embed_text(&cx, question).await.unwrap();
            assert_eq!(
                documents.top_k(&query, 1).unwrap()[0].index,
                nearest,
                "{}: {question}",
                sample.reference
            );
        }
        assert_eq!(embedder.space().model, sample.reference);
        assert_eq!(embedder.space(), open(sample.reference, &env).unwrap().space());
    }
}

/// A drawing of the documentation, which the model was not trained on.
fn drawing(name: &str) -> ImageData {
    let path = format!("{}/../docs/guides/drawings/{name}.png", env!("CARGO_MANIFEST_DIR"));
    ImageData::new(std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn captions_find_drawings_in_every_precision() {
    let folder = tempfile::tempdir().unwrap();
    let (cx, env) = (Context::new(), offline(&folder));
    let names = ["banana", "bicycle", "frog", "guitar", "sailboat", "volcano"];
    for precision in ["f32", "bf16", "int8"] {
        let config = LocalEmbedderConfig::new("tiny:clip").with_device("cpu").with_precision(precision);
        let embedder = config.open(&env).unwrap();
        let images = EmbedRequest::images(names.map(drawing));
        let images = embedder.embed(&cx, images).await.unwrap().vectors;
        for (caption, shown) in [("a guitar", "guitar"), ("una rana", "frog"), ("bicicleta", "bicycle")] {
            let query = embedder.embed_text(&cx, caption).await.unwrap();
            let best = images.top_k(&query, 1).unwrap()[0].index;
            assert_eq!(names[best], shown, "{precision}: {caption}");
        }
    }
}
