//! Local embedders over repositories as sentence-transformers saves them, against the vectors that it gives.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use ayni::config::open_embedder_with;
use ayni::local::LocalEmbedderConfig;
use ayni::{AnyEmbedder, Context, EmbedRequest, EmbedRole, EmbedderConfig, Environment, ErrorKind, Setup};
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    texts: Vec<String>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    calls: Vec<Call>,
}

#[derive(Deserialize)]
struct Call {
    role: Option<EmbedRole>,
    dimensions: Option<usize>,
    vectors: Vec<Vec<f32>>,
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repositories")
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
        if path.is_dir() {
            copy(&path, &to.join(name));
        } else {
            std::fs::copy(&path, to.join(name)).unwrap();
        }
    }
}

/// A case's repository, put together.
fn repository(case: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&golden().join("base"), folder.path());
    copy(&golden().join("cases").join(case), folder.path());
    folder
}

fn config(folder: &Path, precision: &str) -> LocalEmbedderConfig {
    let mut config = LocalEmbedderConfig::new(folder.to_str().unwrap());
    config.source.device = Some("cpu".to_owned());
    config.source.precision = Some(precision.to_owned());
    config
}

fn open(folder: &Path, precision: &str) -> AnyEmbedder {
    open_embedder_with(Setup::new(config(folder, precision)), &Environment::empty()).unwrap()
}

fn request(texts: &[String], call: &Call) -> EmbedRequest {
    let mut request = EmbedRequest::texts(texts.iter().cloned());
    request.role = call.role;
    request.dimensions = call.dimensions;
    request
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[tokio::test]
async fn every_way_of_pooling_dense_layers_prompts_and_shortened_vectors_are_those_of_sentence_transformers()
{
    let expected = std::fs::read(golden().join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.cases.len(), 12);
    for case in &expected.cases {
        let folder = repository(&case.name);
        let embedder = open(folder.path(), "f32");
        let told = embedder.space().clone();
        for call in &case.calls {
            let response = embedder.embed(&Context::new(), request(&expected.texts, call)).await.unwrap();
            // The last text is longer than the window.
            assert_eq!(response.truncated, [expected.texts.len() - 1], "{}", case.name);
            for ((text, truth), found) in expected.texts.iter().zip(&call.vectors).zip(&response.vectors) {
                let what = format!("{}: {:?} {text:?}", case.name, call.role);
                assert_eq!(found.len(), truth.len(), "{what}");
                let scale = truth.iter().fold(0_f32, |most, x| most.max(x.abs()));
                for (found, truth) in found.iter().zip(truth) {
                    assert!((found - truth).abs() <= 1e-4 * scale, "{what}: {found}, not {truth}");
                }
                assert!(cosine(found, truth) >= 0.99999, "{what}");
            }
        }
        assert_eq!(&told, embedder.space(), "{}: the configuration says what the model is", case.name);
        assert_eq!(told.dimensions, case.calls.last().map(|call| call.vectors[0].len()), "{}", case.name);
    }
}

#[tokio::test]
async fn a_width_in_the_configuration_is_part_of_the_space() {
    let folder = repository("shortened");
    let mut config = config(folder.path(), "f32");
    config.dimensions = Some(8);
    let short = open_embedder_with(Setup::new(config.clone()), &Environment::empty()).unwrap();
    let whole = open(folder.path(), "f32");
    let texts = || EmbedRequest::texts(["the road"]);
    let shortened = short.embed(&Context::new(), texts()).await.unwrap();
    let asked = whole.embed(&Context::new(), texts().with_dimensions(8)).await.unwrap();
    assert_eq!(shortened.vectors, asked.vectors);
    assert_eq!(short.space().differences(whole.space()), ["dimensions"]);
    for dimensions in [0, 33] {
        let error = whole.embed(&Context::new(), texts().with_dimensions(dimensions)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[tokio::test]
async fn precision_does_not_change_the_space_and_handles_stand_in_for_each_other() {
    let folder = repository("dense");
    let setup = Setup::<EmbedderConfig>::new(config(folder.path(), "int8"))
        .with_fallback(config(folder.path(), "f32"));
    let both = open_embedder_with(setup, &Environment::empty()).unwrap();
    both.embed_text(&Context::new(), "the road").await.unwrap();
    let other = repository("pooling-max");
    let setup =
        Setup::<EmbedderConfig>::new(config(folder.path(), "f32")).with_fallback(config(other.path(), "f32"));
    let error = open_embedder_with(setup, &Environment::empty()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
}

#[tokio::test]
async fn a_space_is_what_decides_the_vectors_and_not_the_name_of_the_folder() {
    let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let named = |home: &tempfile::TempDir, name: &str| {
        let folder = home.path().join(name);
        copy(&golden().join("base"), &folder);
        copy(&golden().join("cases/dense"), &folder);
        folder
    };
    let (first, second, copied) =
        (named(&one, "model"), named(&other, "model"), named(&other, "somewhere-else"));
    let weights = second.join("model.safetensors");
    let mut bytes = std::fs::read(&weights).unwrap();
    // The exponents of some numbers, in the middle of the tensors.
    let middle = bytes.len() / 2;
    bytes[middle..middle + 400].iter_mut().skip(3).step_by(4).for_each(|byte| *byte ^= 1);
    std::fs::write(&weights, bytes).unwrap();
    let [first, second, copied] = [&first, &second, &copied].map(|folder| open(folder, "f32"));
    assert_ne!(first.space(), second.space());
    assert_eq!(first.space().differences(second.space()), ["fingerprint"]);
    assert_eq!(first.space(), copied.space());
    let before = first.space().clone();
    for embedder in [&first, &copied] {
        embedder.embed_text(&Context::new(), "the road").await.unwrap();
    }
    assert_eq!((first.space(), copied.space()), (&before, &before));
    let fallback = |folder: &str| {
        let setup = Setup::<EmbedderConfig>::new(config(&one.path().join("model"), "f32"))
            .with_fallback(config(&other.path().join(folder), "f32"));
        open_embedder_with(setup, &Environment::empty())
    };
    let error = fallback("model").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.message().contains("`fingerprint`"), "{error}");
    fallback("somewhere-else").unwrap();
}

#[tokio::test]
async fn a_loaded_model_tells_its_device_precision_and_prompts_with_reasons() {
    let folder = repository("prompts");
    let embedder = open(folder.path(), "int8");
    embedder.ready(&Context::new()).await.unwrap();
    let info = serde_json::to_value(embedder.info()).unwrap();
    assert_eq!((&info["device"], &info["precision"]), (&"cpu".into(), &"int8".into()), "{info}");
    assert_eq!(info["precision_reason"], "the configuration says so");
    assert_eq!(info["prompts"], "repository");
    let plain = open(repository("dense").path(), "auto");
    let info = plain.info();
    assert!(["f32", "bf16"].contains(&info.precision.as_deref().unwrap()), "{info:?}");
    assert_ne!(info.precision_reason.as_deref(), Some("the configuration says so"));
}

#[tokio::test]
async fn what_is_wrong_with_a_configuration_is_said_when_it_is_opened() {
    let folder = repository("dense");
    let open = |config: LocalEmbedderConfig| {
        open_embedder_with(Setup::new(config), &Environment::empty()).unwrap_err()
    };
    let error = open(config(&folder.path().join("nothing"), "f32"));
    assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
    assert_eq!(open(config(folder.path(), "fp16")).kind(), ErrorKind::ConfigInvalid);
    let mut gpu = config(folder.path(), "f32");
    gpu.source.device = Some("cuda:1000".to_owned());
    assert_eq!(open(gpu).kind(), ErrorKind::DeviceUnavailable);
    let error = open(LocalEmbedderConfig::new("model.gguf"));
    assert_eq!(error.message(), "there is no model file model.gguf");
    std::fs::write(folder.path().join("config.json"), r#"{"model_type": "t5"}"#).unwrap();
    let error = open(config(folder.path(), "f32"));
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("'t5'"), "{error}");
    let offline =
        Environment::from_pairs([("HF_HUB_OFFLINE", "1"), ("HF_HOME", folder.path().to_str().unwrap())]);
    let error = open_embedder_with(Setup::new(LocalEmbedderConfig::new("org/name")), &offline).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Offline);
}

#[tokio::test]
async fn damaged_weights_fail_every_call_and_say_what_is_wrong() {
    let folder = repository("dense");
    let weights = folder.path().join("model.safetensors");
    let whole = std::fs::read(&weights).unwrap();
    std::fs::write(&weights, &whole[..whole.len() / 2]).unwrap();
    let embedder = open(folder.path(), "f32");
    for _ in 0..2 {
        let error = embedder.embed_text(&Context::new(), "x").await.unwrap_err();
        assert_eq!((error.kind(), error.backend()), (ErrorKind::ModelLoad, Some("local")));
        assert!(error.message().contains("model.safetensors: damaged safetensors file"), "{error}");
    }
}

#[tokio::test]
async fn images_and_empty_lists_are_refused() {
    let folder = repository("dense");
    let embedder = open(folder.path(), "f32");
    let image = ayni::ImageData::with_media_type("x", "image/png");
    let error = embedder.embed_image(&Context::new(), image).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = embedder.embed(&Context::new(), EmbedRequest::new([])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vector_has_the_same_bits_alone_and_in_any_batch() {
    let folder = repository("dense");
    let words = ["the", "road", "north", "supply", "library", "niño", "a"];
    let texts: Vec<String> =
        (0..300).map(|i| (0..i % 23).map(|j| words[(i + j * j) % 7]).collect::<Vec<_>>().join(" ")).collect();
    for precision in ["f32", "bf16", "int8"] {
        let embedder = open(folder.path(), precision);
        let together =
            embedder.embed(&Context::new(), EmbedRequest::texts(texts.iter().cloned())).await.unwrap();
        let alone: Vec<_> = (0..300)
            .step_by(7)
            .map(|i| {
                let (embedder, text) = (embedder.clone(), texts[i].clone());
                (i, tokio::spawn(async move { embedder.embed_text(&Context::new(), text).await.unwrap() }))
            })
            .collect();
        for (i, vector) in alone {
            assert_eq!(together.vectors.get(i), Some(&*vector.await.unwrap()), "{precision}: {i}");
        }
        let backwards =
            embedder.embed(&Context::new(), EmbedRequest::texts(texts.iter().rev().cloned())).await.unwrap();
        for (i, vector) in (&backwards.vectors).into_iter().rev().enumerate() {
            assert_eq!(together.vectors.get(i), Some(vector), "{precision}: {i}");
        }
    }
}

#[tokio::test]
async fn ten_thousand_texts_come_back_in_order() {
    let folder = repository("pooling-mean");
    let embedder = open(folder.path(), "f32");
    let kinds = ["the road", "north", "supply the library", "a", ""];
    let texts: Vec<&str> = (0..10_000).map(|i| kinds[i * i % 5]).collect();
    let response = embedder.embed(&Context::new(), EmbedRequest::texts(texts.iter().copied())).await.unwrap();
    let each = embedder.embed(&Context::new(), EmbedRequest::texts(kinds)).await.unwrap();
    assert_eq!(response.vectors.len(), 10_000);
    for (text, vector) in texts.iter().zip(&response.vectors) {
        let kind = kinds.iter().position(|kind| kind == text).unwrap();
        assert_eq!(each.vectors.get(kind), Some(vector));
    }
}

#[tokio::test]
async fn a_gguf_file_with_its_configuration_beside_it_is_an_embedder() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for (from, to) in [
        ("text/bert/config.json", "config.json"),
        ("text/bert/model.safetensors", "model.safetensors"),
        ("gguf/bert-BF16.gguf", "bert-BF16.gguf"),
    ] {
        std::fs::copy(golden.join(from), folder.path().join(to)).unwrap();
    }
    // The model has six tokens less.
    let tokenizer = std::fs::read(golden.join("repositories/base/tokenizer.json")).unwrap();
    let mut tokenizer: serde_json::Value = serde_json::from_slice(&tokenizer).unwrap();
    tokenizer["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| id.as_u64() < Some(60));
    std::fs::write(folder.path().join("tokenizer.json"), tokenizer.to_string()).unwrap();
    let gguf = folder.path().join("bert-BF16.gguf");
    let mut vectors = Vec::new();
    for path in [folder.path(), &gguf] {
        let embedder = open_embedder_with(Setup::new(config(path, "f32")), &Environment::empty()).unwrap();
        let request = EmbedRequest::texts(["the road", "the the road"]);
        vectors.push(embedder.embed(&Context::new(), request).await.unwrap().vectors);
    }
    for (a, b) in vectors[0].iter().zip(&vectors[1]) {
        assert!(cosine(a, b) >= 0.9999, "{a:?} and {b:?}");
    }
    std::fs::remove_file(folder.path().join("config.json")).unwrap();
    let error = open_embedder_with(Setup::new(config(&gguf, "f32")), &Environment::empty()).unwrap_err();
    assert!(error.message().contains("belongs to the model that bert-BF16.gguf was made of"), "{error}");
}

/// Changes one of the JSON files of a folder.
fn rewrite(folder: &Path, name: &str, change: impl FnOnce(&mut serde_json::Value)) {
    let path = folder.join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|_| b"{}".to_vec());
    let mut json = serde_json::from_slice(&bytes).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

#[tokio::test]
async fn the_side_on_which_texts_are_cut_and_the_width_are_the_repository_s() {
    let folder = repository("dense");
    let whole = open(folder.path(), "f32");
    // Before its files change.
    whole.ready(&Context::new()).await.unwrap();
    rewrite(folder.path(), "tokenizer_config.json", |config| config["truncation_side"] = "left".into());
    rewrite(folder.path(), "config_sentence_transformers.json", |config| config["truncate_dim"] = 8.into());
    let other = open(folder.path(), "f32");
    assert_eq!(other.space().dimensions, Some(8));
    let vectors = async |embedder: &AnyEmbedder, text: &str| {
        let request = EmbedRequest::texts([text]).with_dimensions(8);
        let response = embedder.embed(&Context::new(), request).await.unwrap();
        (response.vectors, response.truncated)
    };
    let long = format!("{}{}", "north ".repeat(300), "the road ".repeat(300));
    let (last, cut) = vectors(&other, &long).await;
    assert_eq!(cut, [0]);
    assert_eq!(last, vectors(&whole, &"the road ".repeat(300)).await.0, "the start goes");
    assert_ne!(last, vectors(&whole, &long).await.0);
    assert_eq!(other.embed_text(&Context::new(), "the road").await.unwrap().len(), 8);
    rewrite(folder.path(), "config_sentence_transformers.json", |config| config["truncate_dim"] = 100.into());
    let error = open(folder.path(), "f32").ready(&Context::new()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelLoad);
    assert!(error.message().contains("`truncate_dim`"), "{error}");
}

#[tokio::test]
async fn a_long_text_takes_no_longer_than_its_window_and_holds_up_nobody() {
    let folder = repository("dense");
    let embedder = open(folder.path(), "f32");
    embedder.ready(&Context::new()).await.unwrap();
    let long = ["a ".repeat(10 << 20), "the road to the library ".repeat(1 << 18), "x".repeat(10 << 20)];
    let start = std::time::Instant::now();
    let request = EmbedRequest::texts(long);
    let cx = Context::new();
    let (all, other) = tokio::join!(embedder.embed(&cx, request), embedder.embed_text(&cx, "the road"));
    assert_eq!(all.unwrap().truncated, [0, 1, 2]);
    other.unwrap();
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}

/// Where a mapped file may shrink under a process at all.
#[cfg(unix)]
#[tokio::test]
async fn weights_that_are_cut_under_a_running_model_are_an_error_or_do_not_matter() {
    for (load, matters) in [("map", true), ("copy", false)] {
        let folder = repository("dense");
        let config = config(folder.path(), "f32").with_load(load);
        let embedder = open_embedder_with(Setup::new(config), &Environment::empty()).unwrap();
        let before = embedder.embed_text(&Context::new(), "the road").await.unwrap();
        let weights =
            std::fs::File::options().write(true).open(folder.path().join("model.safetensors")).unwrap();
        weights.set_len(100).unwrap();
        let after = embedder.embed_text(&Context::new(), "the road").await;
        match matters {
            true => {
                let error = after.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ModelLoad);
                assert!(error.message().contains("model.safetensors was cut from"), "{error}");
            }
            false => assert_eq!(after.unwrap(), before),
        }
    }
    let folder = repository("dense");
    let config = config(folder.path(), "f32").with_load("both");
    let error = open_embedder_with(Setup::new(config), &Environment::empty()).unwrap_err();
    assert!(error.message().contains("`load` 'both' is unknown; valid: map, copy"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn pipes_among_a_model_s_files_are_refused_at_once() {
    for name in
        ["config.json", "tokenizer.json", "modules.json", "model.safetensors", "tokenizer_config.json"]
    {
        let folder = repository("dense");
        let path = folder.path().join(name);
        let _ = std::fs::remove_file(&path);
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let opened = open_embedder_with(Setup::new(config(folder.path(), "f32")), &Environment::empty());
        let error = match opened {
            Ok(embedder) => embedder.ready(&Context::new()).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), ErrorKind::ModelLoad, "{name}: {error}");
    }
}

#[tokio::test]
async fn a_language_model_without_a_layout_needs_its_pooling_to_be_set() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden.join("text/qwen3").join(name), folder.path().join(name)).unwrap();
    }
    std::fs::copy(golden.join("repositories/base/tokenizer.json"), folder.path().join("tokenizer.json"))
        .unwrap();
    rewrite(folder.path(), "tokenizer.json", |tokenizer| {
        tokenizer["model"]["vocab"].as_object_mut().unwrap().retain(|_, id| id.as_u64() < Some(60));
    });
    let error =
        open_embedder_with(Setup::new(config(folder.path(), "f32")), &Environment::empty()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid);
    assert!(error.message().contains("set `pooling` (`last_token`"), "{error}");
    let set = config(folder.path(), "f32").with_pooling(ayni::Pooling::LastToken);
    let embedder = open_embedder_with(Setup::new(set), &Environment::empty()).unwrap();
    assert_eq!(embedder.space().pooling, Some(ayni::Pooling::LastToken));
    embedder.embed_text(&Context::new(), "the road").await.unwrap();
}
