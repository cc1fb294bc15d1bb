//! Tables of vectors as sentence-transformers and model2vec lay them out, against the vectors that sentence-transformers gives.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ayni::local::LocalEmbedderConfig;
use ayni::{AnyEmbedder, Context, EmbedRequest, Environment, Error, ErrorKind};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    cases: BTreeMap<String, Vec<Vec<f32>>>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/static")
}

fn expected() -> Expected {
    serde_json::from_slice(&std::fs::read(golden().join("expected.json")).unwrap()).unwrap()
}

fn open(folder: &Path, precision: &str) -> Result<AnyEmbedder, Error> {
    let config = LocalEmbedderConfig::new(folder.to_str().unwrap()).with_device("cpu");
    config.with_precision(precision).open(&Environment::empty())
}

/// A copy of a case without the files in folders below it, which only say that vectors have unit length.
fn copy(case: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(golden().join(case)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
        }
    }
    folder
}

async fn check(embedder: &AnyEmbedder, texts: &[String], truth: &[Vec<f32>], what: &str) {
    let told = embedder.space().clone();
    let normalised = ["model2vec", "unit-length"].contains(&what);
    assert_eq!((told.dimensions, told.normalised), (Some(24), normalised), "{what}");
    let request = EmbedRequest::texts(texts.iter().cloned());
    let response = embedder.embed(&Context::new(), request).await.unwrap();
    let cut = if what == "cut" { vec![texts.len() - 1] } else { Vec::new() };
    assert_eq!(response.truncated, cut, "{what}");
    for ((text, truth), found) in texts.iter().zip(truth).zip(&response.vectors) {
        assert_eq!(found.len(), truth.len());
        for (found, truth) in found.iter().zip(truth) {
            assert!((found - truth).abs() <= 1e-5, "{what}, {text:.20}: {found}, not {truth}");
        }
    }
    assert_eq!(&told, embedder.space(), "{what}: the weights say what the model is");
    assert_eq!(embedder.count_tokens(None, "the road").unwrap(), 2, "{what}: no special tokens");
}

#[tokio::test]
async fn vectors_are_those_of_sentence_transformers_in_every_precision() {
    let Expected { texts, cases } = expected();
    assert_eq!(cases.len(), 4);
    for (name, truth) in &cases {
        // Nothing is multiplied, so that no precision rounds anything.
        for precision in ["f32", "bf16", "int8"] {
            check(&open(&golden().join(name), precision).unwrap(), &texts, truth, name).await;
        }
    }
}

#[tokio::test]
async fn a_model_of_model2vec_without_modules_is_the_same() {
    let Expected { texts, cases } = expected();
    let folder = copy("model2vec");
    std::fs::remove_file(folder.path().join("modules.json")).unwrap();
    check(&open(folder.path(), "f32").unwrap(), &texts, &cases["model2vec"], "model2vec").await;
}

#[tokio::test]
async fn files_that_sentence_transformers_does_not_read_change_nothing() {
    let Expected { texts, cases } = expected();
    let folder = copy("half");
    for (name, content) in [
        ("sentence_bert_config.json", r#"{"max_seq_length": 2, "do_lower_case": true}"#),
        ("tokenizer_config.json", r#"{"model_max_length": 2, "truncation_side": "left"}"#),
    ] {
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    check(&open(folder.path(), "f32").unwrap(), &texts, &cases["half"], "half").await;
}

/// A safetensors file with this header and these numbers.
fn weights(header: &str, numbers: &[f32]) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
    bytes
}

#[tokio::test]
async fn a_wrong_table_is_an_error_that_says_what_is_wrong() {
    const TOKENS: usize = 62;
    let tensor = |name: &str, dtype: &str, shape: &str, end: usize| {
        format!(r#""{name}": {{"dtype": "{dtype}", "shape": {shape}, "data_offsets": [0, {end}]}}"#)
    };
    let whole = format!("[{TOKENS}, 2]");
    let mut nan = [0.0; TOKENS * 2];
    nan[77] = f32::NAN;
    for (tensors, numbers, why) in [
        (tensor("other", "F32", "[2, 2]", 16), &[0.0; 4][..], "neither a tensor"),
        (tensor("embeddings", "F32", "[4]", 16), &[0.0; 4], "has the shape [4]"),
        (tensor("embeddings", "F32", "[0, 4]", 0), &[], "`embedding.weight` is empty"),
        (tensor("embeddings", "F32", "[4, 0]", 0), &[], "`embedding.weight` is empty"),
        (tensor("embeddings", "F32", "[2, 2]", 16), &[0.0; 4], "the tokenizer is not the model's"),
        (tensor("embeddings", "F32", &whole, TOKENS * 8), &nan, "NaN or infinity"),
        (
            tensor("embeddings", "I32", &whole, TOKENS * 8),
            &[0.0; TOKENS * 2],
            "weights in I32 are not supported",
        ),
        (tensor("embeddings", "F32", "[4611686018427387904, 4]", 16), &[0.0; 4], "model.safetensors"),
        (tensor("embeddings", "F32", "[1073741824, 1024]", 16), &[0.0; 4], "model.safetensors"),
        (tensor("embeddings", "F32", "[2, 2]", 1 << 60), &[0.0; 4], "model.safetensors"),
    ] {
        for modules in [true, false] {
            let folder = copy("model2vec");
            if !modules {
                std::fs::remove_file(folder.path().join("modules.json")).unwrap();
            }
            std::fs::write(
                folder.path().join("model.safetensors"),
                weights(&format!("{{{tensors}}}"), numbers),
            )
            .unwrap();
            // What only the whole table shows is found when the model loads.
            let error = match open(folder.path(), "f32") {
                Ok(embedder) => embedder.embed_text(&Context::new(), "the road").await.unwrap_err(),
                Err(error) => error,
            };
            assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
            assert!(error.message().contains(why), "{tensors}: {error}");
        }
    }
}

#[test]
fn a_quantised_vocabulary_is_refused_by_name() {
    for name in ["mapping", "weights"] {
        let folder = copy("model2vec");
        let header = format!(
            r#"{{"embeddings": {{"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}},
                "{name}": {{"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}}}}"#
        );
        std::fs::write(folder.path().join("model.safetensors"), weights(&header, &[0.0; 6])).unwrap();
        let error = open(folder.path(), "f32").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains(&format!("a tensor `{name}`")), "{error}");
    }
}

#[test]
fn a_table_comes_first_and_is_not_pooled_again() {
    let folder = copy("half");
    for (kinds, why) in [
        (&["StaticEmbedding", "Pooling"][..], "part 1 of modules.json is `Pooling`"),
        (&["Transformer", "StaticEmbedding"], "part 1 of modules.json is `StaticEmbedding`"),
    ] {
        let modules: Vec<String> =
            kinds.iter().map(|kind| format!(r#"{{"path": "", "type": "x.{kind}"}}"#)).collect();
        std::fs::write(folder.path().join("modules.json"), format!("[{}]", modules.join(", "))).unwrap();
        let error = open(folder.path(), "f32").unwrap_err();
        assert!(error.message().contains(why), "{error}");
    }
}
