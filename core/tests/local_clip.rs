//! Local embedders of texts and images, end to end over tiny weights: the vectors of transformers, scaled to unit length.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::{Path, PathBuf};

use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::{AnyEmbedder, Context, EmbedInput, EmbedRequest, Environment, ErrorKind, ImageData};
use serde_json::{Value, json};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// A tiny model with the files that its weights lack: token n is the word `wn`, images are 32×32.
fn repository(model: &str, processor: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["config.json", "model.safetensors"] {
        std::fs::copy(golden().join("clip").join(model).join(name), folder.path().join(name)).unwrap();
    }
    let vocabulary: serde_json::Map<String, Value> =
        (0..64).map(|id| (format!("w{id}"), json!(id))).collect();
    let tokenizer = json!({
        "version": "1.0",
        "added_tokens": [],
        "pre_tokenizer": { "type": "Whitespace" },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "w0" },
    });
    let numbers = json!({ "do_rescale": true, "rescale_factor": 1.0 / 255.0, "do_normalize": true,
        "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "do_convert_rgb": true, "resample": 3,
        "do_resize": true, "image_processor_type": processor });
    let mut images = numbers;
    if processor == "CLIPImageProcessor" {
        images["size"] = json!({ "shortest_edge": 32 });
        images["do_center_crop"] = json!(true);
        images["crop_size"] = json!({ "height": 32, "width": 32 });
    } else {
        images["size"] = json!({ "height": 32, "width": 32 });
    }
    for (name, content) in [
        ("tokenizer.json", tokenizer),
        ("preprocessor_config.json", images),
        ("tokenizer_config.json", json!({ "pad_token": "w1" })),
    ] {
        std::fs::write(folder.path().join(name), content.to_string()).unwrap();
    }
    folder
}

fn open(folder: &Path) -> AnyEmbedder {
    let mut config = LocalEmbedderConfig::new(folder.to_str().unwrap());
    (config.source.device, config.source.precision) = (Some("cpu".to_owned()), Some("f32".to_owned()));
    AnyEmbedder::new(LocalEmbedder::open(&config, &Environment::empty()).unwrap())
}

fn image(name: &str) -> ImageData {
    ImageData::new(std::fs::read(golden().join("images").join(name)).unwrap()).unwrap()
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// The texts and vectors that transformers made for a model, as words; padding is the embedder's business.
fn cases(model: &str) -> Vec<(String, Vec<f32>)> {
    let bytes = std::fs::read(golden().join("clip").join(model).join("cases.json")).unwrap();
    let cases: Value = serde_json::from_slice(&bytes).unwrap();
    let first = &cases["texts"][0];
    let texts = first["ids"].as_array().unwrap().iter().map(|ids| {
        let ids: Vec<u64> = serde_json::from_value(ids.clone()).unwrap();
        let end = ids.iter().rposition(|id| *id != 1).unwrap();
        ids[..=end].iter().map(|id| format!("w{id}")).collect::<Vec<_>>().join(" ")
    });
    texts.zip(serde_json::from_value::<Vec<Vec<f32>>>(first["features"].clone()).unwrap()).collect()
}

#[tokio::test]
async fn texts_have_the_vectors_of_transformers_scaled_to_unit_length() {
    for (model, processor) in [("openai", "CLIPImageProcessor"), ("siglip", "SiglipImageProcessor")] {
        let folder = repository(model, processor);
        let embedder = open(folder.path());
        let cases = cases(model);
        assert!(!cases.is_empty());
        let texts = cases.iter().map(|(text, _)| text.clone());
        let response = embedder.embed(&Context::new(), EmbedRequest::texts(texts)).await.unwrap();
        for ((text, truth), found) in cases.iter().zip(&response.vectors) {
            let length = dot(truth, truth).sqrt();
            assert!(dot(found, truth) / length >= 0.99999, "{model}: {text}");
            assert!((dot(found, found) - 1.0).abs() < 1e-5, "{model}: {text}");
        }
        assert!(embedder.space().normalised);
        assert_eq!(embedder.space().dimensions, Some(response.vectors.width()));
    }
}

/// The texts of a tiny SigLIP tokenizer with the vectors that transformers makes of them.
fn siglip_cases(model: &str) -> Vec<(String, Vec<f32>)> {
    let bytes = std::fs::read(golden().join("siglip").join(model).join("cases.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&bytes).unwrap();
    let vector = |case: &Value| serde_json::from_value(case["features"].clone()).unwrap();
    cases.iter().map(|case| (case["text"].as_str().unwrap().to_owned(), vector(case))).collect()
}

/// From `folder` to `to`.
fn copy_into(to: &Path, folder: PathBuf, names: &[&str]) {
    for name in names {
        std::fs::copy(folder.join(name), to.join(name)).unwrap();
    }
}

#[tokio::test]
async fn texts_of_siglip_are_tokenised_filled_up_and_pooled_as_by_transformers() {
    for (model, tokenizer) in
        [("siglip", "tokenizer.json"), ("siglip", "spiece.model"), ("siglip2", "tokenizer.json")]
    {
        let folder = repository("siglip", "SiglipImageProcessor");
        std::fs::remove_file(folder.path().join("tokenizer.json")).unwrap();
        let golden = golden().join("siglip").join(model);
        copy_into(folder.path(), golden.clone(), &[tokenizer, "tokenizer_config.json"]);
        if model == "siglip2" {
            copy_into(folder.path(), golden, &["config.json", "model.safetensors"]);
        }
        let cases = siglip_cases(model);
        let texts = cases.iter().map(|(text, _)| text.clone());
        let response = open(folder.path()).embed(&Context::new(), EmbedRequest::texts(texts)).await.unwrap();
        for ((text, truth), found) in cases.iter().zip(&response.vectors) {
            assert!(
                dot(found, truth) / dot(truth, truth).sqrt() >= 0.99999,
                "{model}, {tokenizer}: {text:?}"
            );
        }
        assert_eq!(
            response.truncated.last(),
            Some(&(cases.len() - 1)),
            "the last text is longer than the window"
        );
    }
}

/// Makes a tokenizer of words add a token at the end of every text.
fn end_texts_with(folder: &Path, id: u32) {
    let path = folder.join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let word = format!("w{id}");
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing",
        "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": word, "type_id": 0}}],
        "pair": [],
        "special_tokens": {word.clone(): {"id": word, "ids": [id], "tokens": [word]}},
    });
    std::fs::write(&path, tokenizer.to_string()).unwrap();
}

/// Texts of a tokenizer that never says where a text ends, or has words that the weights do not know, would fail one by
/// one; the model is refused at once.
#[tokio::test]
async fn a_tokenizer_that_is_not_the_model_s_is_refused_when_the_model_loads() {
    let message = |folder: &Path| {
        let embedder = open(folder);
        async move {
            let error = embedder.ready(&Context::new()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
            error.message().to_owned()
        }
    };
    let folder = repository("openai", "CLIPImageProcessor");
    let path = folder.path().join("config.json");
    let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    config["text_config"]["eos_token_id"] = json!(63);
    std::fs::write(&path, config.to_string()).unwrap();
    let without_end = message(folder.path()).await;
    assert!(
        without_end.contains("ends a text with token 63, which the tokenizer does not add"),
        "{without_end}"
    );
    end_texts_with(folder.path(), 63);
    open(folder.path()).ready(&Context::new()).await.unwrap();
    let path = folder.path().join("tokenizer.json");
    let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    tokenizer["model"]["vocab"]["one more"] = json!(64);
    std::fs::write(&path, tokenizer.to_string()).unwrap();
    let larger = message(folder.path()).await;
    assert!(larger.contains("it has tokens up to 64, the weights only 64"), "{larger}");
}

/// A repository of open_clip: its config says how images are prepared.
#[tokio::test]
async fn models_of_open_clip_embed_texts_and_images() {
    for (model, width) in [("open-clip-quick-gelu", 24), ("open-clip-gelu", 40)] {
        let folder = repository("openai", "CLIPImageProcessor");
        for name in ["config.json", "model.safetensors", "preprocessor_config.json"] {
            std::fs::remove_file(folder.path().join(name)).unwrap();
        }
        let names = ["open_clip_config.json", "open_clip_model.safetensors"];
        copy_into(folder.path(), golden().join("clip").join(model), &names);
        // The images of one are no squares, which takes another way to prepare them.
        let path = folder.path().join("open_clip_config.json");
        let mut config: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        config["preprocess_cfg"]["resize_mode"] = json!("squash");
        std::fs::write(&path, config.to_string()).unwrap();
        let words = config["model_cfg"]["text_cfg"]["vocab_size"].as_u64().unwrap();
        let path = folder.path().join("tokenizer.json");
        let mut tokenizer: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        tokenizer["model"]["vocab"] = (0..words).map(|id| (format!("w{id}"), json!(id))).collect();
        std::fs::write(&path, tokenizer.to_string()).unwrap();
        end_texts_with(folder.path(), 63);
        let embedder = open(folder.path());
        let cases: Vec<_> = cases(model).into_iter().filter(|(text, _)| text.ends_with("w63")).collect();
        assert!(cases.len() > 2);
        let texts = cases.iter().map(|(text, _)| text.clone());
        let response = embedder.embed(&Context::new(), EmbedRequest::texts(texts)).await.unwrap();
        for ((text, truth), found) in cases.iter().zip(&response.vectors) {
            assert!(dot(found, truth) / dot(truth, truth).sqrt() >= 0.99999, "{model}: {text}");
        }
        let vector = embedder.embed_image(&Context::new(), image("rgb.png")).await.unwrap();
        assert_eq!((vector.len(), embedder.space().dimensions), (width, Some(width)));
    }
}

#[tokio::test]
async fn texts_and_images_of_one_request_keep_their_order() {
    let folder = repository("openai", "CLIPImageProcessor");
    let embedder = open(folder.path());
    let images = ["grey.png", "bits_2.png", "orientation_1.jpg", "lossy.webp"];
    let mut inputs = Vec::new();
    for (number, name) in images.iter().cycle().take(40).enumerate() {
        inputs.push(EmbedInput::Image(image(name)));
        inputs.push(EmbedInput::Text(format!("w62 w{number} w63")));
    }
    let response = embedder.embed(&Context::new(), EmbedRequest::new(inputs.iter().cloned())).await.unwrap();
    assert_eq!(response.vectors.len(), 80);
    for index in [0, 1, 2, 4, 6, 7, 78, 79] {
        let alone =
            embedder.embed(&Context::new(), EmbedRequest::new([inputs[index].clone()])).await.unwrap();
        assert_eq!(response.vectors.get(index), Some(alone.vectors.as_flat()), "input {index}");
    }
    assert_eq!(response.vectors.get(0), response.vectors.get(8), "the same image again");
    assert!(
        dot(response.vectors.get(0).unwrap(), response.vectors.get(4).unwrap()) < 0.99999,
        "another image"
    );
}

#[tokio::test]
async fn what_is_no_image_is_the_request_s_fault_and_the_embedder_lives_on() {
    let folder = repository("openai", "CLIPImageProcessor");
    let embedder = open(folder.path());
    let broken = ImageData::with_media_type(&b"\x89PNG\r\n\x1a\nnothing"[..], "image/png");
    let error = embedder.embed_image(&Context::new(), broken).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(embedder.embed_image(&Context::new(), image("grey.png")).await.is_ok());
    std::fs::remove_file(folder.path().join("preprocessor_config.json")).unwrap();
    let error = open(folder.path()).embed_text(&Context::new(), "w62 w63").await.unwrap_err();
    assert!(error.message().contains("preprocessor_config.json does not exist"), "{error}");
}
