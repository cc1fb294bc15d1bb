//! Tables of vectors as sentence-transformers and model2vec lay them out, and the sample models that come with the package.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ayni::local::LocalEmbedderConfig;
use ayni::{AnyEmbedder, Context, EmbedRequest, Environment, ErrorKind, Result};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    cases: BTreeMap<String, Vec<Vec<f32>>>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/static")
}

fn open(model: &str, env: &Environment) -> Result<AnyEmbedder> {
    LocalEmbedderConfig::new(model).with_device("cpu").open(env)
}

#[tokio::test]
async fn tables_of_vectors_are_those_of_sentence_transformers() {
    let expected = std::fs::read(golden().join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.cases.len(), 3);
    for (name, truth) in &expected.cases {
        let embedder = open(golden().join(name).to_str().unwrap(), &Environment::empty()).unwrap();
        // The library computes the mean of a table of 16 bits in 16 bits.
        let tolerance = if name == "half" { 1e-3 } else { 1e-5 };
        let told = embedder.space().clone();
        assert_eq!((told.dimensions, told.normalised), (Some(24), name != "half"), "{name}");
        let response = embedder
            .embed(&Context::new(), EmbedRequest::texts(expected.texts.iter().cloned()))
            .await
            .unwrap();
        assert_eq!(response.truncated, [0_usize; 0], "{name}");
        for ((text, truth), found) in expected.texts.iter().zip(truth).zip(&response.vectors) {
            for (found, truth) in found.iter().zip(truth) {
                assert!((found - truth).abs() <= tolerance, "{name}, {text:.20}: {found}, not {truth}");
            }
        }
        assert_eq!(&told, embedder.space(), "{name}: the weights say what the model is");
        assert_eq!(embedder.count_tokens(None, "the road").unwrap(), 2, "{name}: no special tokens");
    }
}

#[test]
fn what_is_no_table_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden().join("model2vec")).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let weights = folder.path().join("model.safetensors");
    for (header, data, why) in [
        (r#"{"other": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}}"#, 16, "neither a tensor"),
        (
            r#"{"embeddings": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}"#,
            16,
            "has the shape [4]",
        ),
        (
            r#"{"embeddings": {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]},
                "mapping": {"dtype": "I64", "shape": [2], "data_offsets": [16, 32]}}"#,
            32,
            "the table has `mapping`",
        ),
    ] {
        let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
        bytes.extend(header.as_bytes());
        bytes.resize(bytes.len() + data, 0);
        std::fs::write(&weights, bytes).unwrap();
        let error = open(folder.path().to_str().unwrap(), &Environment::empty()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains(why), "{error}");
    }
}

#[cfg(feature = "samples")]
mod samples {
    use ayni::ImageData;
    use ayni::local::sample_models;

    use super::*;

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

    #[tokio::test]
    async fn captions_find_the_drawings_of_the_guide() {
        let folder = tempfile::tempdir().unwrap();
        let drawings = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guides/drawings");
        let mut named: Vec<PathBuf> =
            std::fs::read_dir(drawings).unwrap().map(|entry| entry.unwrap().path()).collect();
        named.sort();
        assert_eq!(named.len(), 12);
        let images = named.iter().map(|path| ImageData::new(std::fs::read(path).unwrap()).unwrap());
        let (cx, embedder) = (Context::new(), open("tiny:clip", &offline(&folder)).unwrap());
        let images = embedder.embed(&cx, EmbedRequest::images(images)).await.unwrap().vectors;
        let mut right = 0;
        for path in &named {
            let caption = path.file_stem().unwrap().to_str().unwrap().replace('-', " ");
            let query = embedder.embed_text(&cx, caption).await.unwrap();
            right += usize::from(named[images.top_k(&query, 1).unwrap()[0].index] == *path);
        }
        assert!(right >= 9, "{right} of 12");
    }
}
