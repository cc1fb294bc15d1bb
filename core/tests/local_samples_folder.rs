//! Sample models that lie beside the binary as files, as in npm's package. The folder holds for the whole process, so this test has
//! one of its own.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use ayni::embed::similarity;
use ayni::local::{LocalEmbedderConfig, sample_models, use_samples_in};
use ayni::{Context, Environment};

#[tokio::test]
async fn samples_in_a_folder_are_used_where_they_lie() {
    use_samples_in(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/models"));
    use_samples_in("/nowhere");
    let text = sample_models().into_iter().find(|sample| sample.reference == "tiny:text").unwrap();
    let files = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/samples/models/text")).unwrap();
    let bytes: u64 = files.map(|file| file.unwrap().metadata().unwrap().len()).sum();
    assert_eq!(text.bytes, usize::try_from(bytes).ok());

    let cache = tempfile::tempdir().unwrap();
    let at = cache.path().to_str().unwrap();
    let env = Environment::from_pairs([("HF_HUB_OFFLINE", "1"), ("HF_HOME", at), ("AYNI_CACHE", at)]);
    let embedder = LocalEmbedderConfig::new("tiny:text").with_device("cpu").open(&env).unwrap();
    let same = [
        embedder.embed_text(&Context::new(), "red apple").await.unwrap(),
        embedder.embed_text(&Context::new(), "manzana roja").await.unwrap(),
    ];
    let other = embedder.embed_text(&Context::new(), "the moon at night").await.unwrap();
    assert!(similarity(&same[0], &same[1]).unwrap() > similarity(&same[0], &other).unwrap());
    assert_eq!(embedder.space().model, "tiny:text");
    assert!(!cache.path().join("samples").exists(), "nothing is unpacked");
}
