//! The sample models that come with the package.
#![cfg(feature = "samples")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ayni::local::{LocalEmbedderConfig, sample_models};
use ayni::{AnyEmbedder, Context, EmbedRequest, Environment, Result};

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
    assert_eq!(here.len(), 1);
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
