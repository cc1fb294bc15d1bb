//! Against what transformers computes with the same small weights: `tests/golden/make/image_chat.py`.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::error::{Error, ErrorKind};
use crate::local::models::{Cached, CausalLm, LoadOptions, TextCache, Tokens, causal_lm};
use crate::local::ops::Precision;
use crate::local::source::ModelFiles;
use crate::local::testing::cpus;
use crate::local::vision::{Limits, Preprocessor, RgbImage, decode};
use crate::media::ImageData;

#[derive(Deserialize)]
struct Case {
    name: String,
    messages: Value,
    ids: Vec<u32>,
    /// The tokens whose logits are known.
    rows: Vec<u32>,
}

/// The model and what transformers makes of it.
struct Golden {
    files: ModelFiles,
    weights: Weights,
    config: Value,
    numbers: HashMap<String, candle_core::Tensor>,
    cases: Vec<Case>,
}

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(name)
}

impl Golden {
    fn new() -> Self {
        let files = ModelFiles::in_folder(&folder("conformance/models/images")).unwrap();
        let numbers = folder("tests/golden/image_chat/numbers.safetensors");
        let cases = std::fs::read(folder("tests/golden/image_chat/cases.json")).unwrap();
        Self {
            weights: Weights::open(&files).unwrap(),
            config: files.needed_json("config.json").unwrap(),
            numbers: candle_core::safetensors::load(numbers, &candle_core::Device::Cpu).unwrap(),
            cases: serde_json::from_slice(&cases).unwrap(),
            files,
        }
    }

    fn truth(&self, name: &str) -> Vec<f32> {
        self.numbers[name].flatten_all().unwrap().to_vec1().unwrap()
    }

    /// The images whose numbers are known.
    fn images(&self) -> impl Iterator<Item = &str> {
        self.numbers.keys().filter_map(|name| name.strip_prefix("pixels/"))
    }

    fn pixels(&self, image: &str, device: &Device) -> Tensor {
        let dims = [&[1], self.numbers[&format!("pixels/{image}")].dims()].concat();
        Tensor::from_vec(device, self.truth(&format!("pixels/{image}")), dims).unwrap()
    }

    fn encoder(&self, device: &Device) -> ImageEncoder {
        ImageEncoder::open(&self.config, &self.weights, device, Storage::Precision).unwrap()
    }

    fn decoder(&self, device: &Device) -> Box<dyn CausalLm> {
        causal_lm(&self.config, &self.weights, device, LoadOptions::default()).unwrap()
    }

    /// The tokens of a case with its images in their places.
    fn tokens(&self, case: &Case, encoder: &ImageEncoder, device: &Device) -> Tokens {
        let mut tokens = Tokens::new([case.ids.as_slice()]);
        for (first, image) in places(case, encoder.tokens).into_iter().zip(images_of(case)) {
            tokens.put_image(first, encoder.encode(&self.pixels(&image, device), &|| Ok(())).unwrap());
        }
        tokens
    }
}

/// Where the images of a case begin.
fn places(case: &Case, tokens: ImageTokens) -> Vec<usize> {
    let begins = |at: &usize| case.ids[*at] == tokens.image && case.ids[at - 1] == tokens.begin;
    (1..case.ids.len()).filter(begins).collect()
}

fn images_of(case: &Case) -> Vec<String> {
    let messages = case.messages.as_array().unwrap();
    let parts = messages.iter().filter_map(|message| message["content"].as_array()).flatten();
    parts.filter_map(|part| part["image"].as_str().map(str::to_owned)).collect()
}

/// How far numbers are off, of the greatest.
fn difference(found: &[f32], truth: &[f32]) -> f32 {
    assert_eq!(found.len(), truth.len());
    let greatest = truth.iter().fold(0.0, |most: f32, x| most.max(x.abs()));
    let off = found.iter().zip(truth).map(|(a, b)| (a - b).abs());
    // Written so that NaN is too far.
    off.fold(0.0, |most, off| if off <= most { most } else { off }) / greatest
}

fn devices() -> Vec<Device> {
    let mut devices: Vec<Device> =
        cpus().into_iter().map(|cpu| Device::on_cpu(cpu, Precision::F32)).collect();
    devices.push(Device::as_on_gpu(cpus().remove(0), Precision::F32));
    devices
}

#[test]
fn pixels_are_those_of_the_processor() {
    let golden = Golden::new();
    let preprocessor = Preprocessor::of_model(&golden.files).unwrap().unwrap();
    for name in golden.images() {
        let image = match name {
            name if name.contains('.') => {
                let bytes = std::fs::read(folder("tests/golden/images").join(name)).unwrap();
                decode(&ImageData::new(bytes).unwrap(), &Limits::default()).unwrap()
            }
            colour => {
                let rgb = match colour {
                    "red" => [220, 30, 30],
                    "green" => [30, 180, 40],
                    "blue" => [30, 50, 220],
                    "white" => [245; 3],
                    "black" => [12; 3],
                    "yellow" => [240, 220, 30],
                    _ => panic!("{colour}"),
                };
                RgbImage::new(40, 24, rgb.repeat(40 * 24)).unwrap()
            }
        };
        let found = preprocessor.prepare(&cpus()[0], &image).unwrap();
        assert_eq!(difference(&found.values, &golden.truth(&format!("pixels/{name}"))), 0.0, "{name}");
    }
}

#[test]
fn tower_and_projector_give_the_numbers_of_transformers() {
    let golden = Golden::new();
    for device in devices() {
        let encoder = golden.encoder(&device);
        for image in golden.images() {
            let states = encoder.tower.all_states(&golden.pixels(image, &device), &|| Ok(())).unwrap();
            let off = difference(&states.values().unwrap(), &golden.truth(&format!("tower/{image}")));
            assert!(off <= 1e-4, "tower of {image} on {device:?}: {off}");
            let projected = encoder.project(states).unwrap();
            let off = difference(&projected.values().unwrap(), &golden.truth(&format!("projected/{image}")));
            assert!(off <= 1e-4, "projector of {image} on {device:?}: {off}");
        }
    }
}

#[test]
fn logits_are_those_of_transformers() {
    let golden = Golden::new();
    for device in devices() {
        let (encoder, decoder) = (golden.encoder(&device), golden.decoder(&device));
        for case in &golden.cases {
            let tokens = golden.tokens(case, &encoder, &device);
            let logits = decoder.logits(&tokens, None, &case.rows).unwrap();
            let off = difference(&logits.values().unwrap(), &golden.truth(&format!("logits/{}", case.name)));
            assert!(off <= 1e-4, "{} on {device:?}: {off}", case.name);
        }
    }
}

/// The logits of the last token over a cache, with the prompt in pieces that end there.
fn in_pieces(golden: &Golden, case: &Case, device: &Device, ends: &[usize]) -> Vec<f32> {
    let (encoder, decoder) = (golden.encoder(device), golden.decoder(device));
    let mut cache = decoder.new_cache(case.ids.len()).unwrap();
    let (places, images) = (places(case, encoder.tokens), images_of(case));
    let (mut start, mut last) = (0, Vec::new());
    for end in ends {
        let mut tokens = Tokens::new([&case.ids[start..*end]]);
        for (place, image) in places.iter().zip(&images).filter(|(place, _)| (start..*end).contains(place)) {
            tokens
                .put_image(place - start, encoder.encode(&golden.pixels(image, device), &|| Ok(())).unwrap());
        }
        let cached = Cached { caches: &mut [&mut cache], decoding: 0 };
        let row = u32::try_from(end - start - 1).unwrap();
        last = decoder.logits(&tokens, Some(cached), &[row]).unwrap().values().unwrap().to_vec();
        start = *end;
    }
    last
}

#[test]
fn a_prompt_with_images_has_the_same_bits_in_any_pieces_that_cut_no_image() {
    let golden = Golden::new();
    for device in [
        Device::on_cpu(cpus().remove(0), Precision::F32),
        Device::as_on_gpu(cpus().remove(0), Precision::F32),
    ] {
        for case in &golden.cases {
            let whole = in_pieces(&golden, case, &device, &[case.ids.len()]);
            let truth = golden.truth(&format!("logits/{}", case.name));
            // What f16 in the cache may change.
            let bar = if device.is_cpu() { 5e-3 } else { 1e-4 };
            assert!(difference(&whole, &truth[truth.len() - whole.len()..]) <= bar, "{}", case.name);
            let tokens = golden.encoder(&device).tokens;
            let is_inside = |end: &usize| {
                places(case, tokens).iter().any(|first| first < end && *end < first + tokens.count)
            };
            let cut: Vec<usize> = (1..=case.ids.len()).filter(|end| !is_inside(end)).collect();
            if device.is_cpu() {
                assert_eq!(in_pieces(&golden, case, &device, &cut), whole, "{}", case.name);
            }
        }
    }
}

#[test]
fn texts_and_images_together_have_the_bits_that_they_have_alone() {
    let golden = Golden::new();
    let device = Device::on_cpu(cpus().remove(0), Precision::F32);
    let (encoder, decoder) = (golden.encoder(&device), golden.decoder(&device));
    let rows = |length: usize| u32::try_from(length - 1).unwrap();
    let alone: Vec<Vec<f32>> =
        golden.cases.iter().map(|case| in_pieces(&golden, case, &device, &[case.ids.len()])).collect();
    let mut tokens = Tokens::new(golden.cases.iter().map(|case| case.ids.as_slice()));
    let mut last = Vec::new();
    for (case, start) in golden.cases.iter().zip(tokens.starts().to_vec()) {
        for (place, image) in places(case, encoder.tokens).into_iter().zip(images_of(case)) {
            tokens.put_image(
                start + place,
                encoder.encode(&golden.pixels(&image, &device), &|| Ok(())).unwrap(),
            );
        }
        last.push(rows(start + case.ids.len()));
    }
    let mut caches: Vec<TextCache> =
        golden.cases.iter().map(|case| decoder.new_cache(case.ids.len()).unwrap()).collect();
    let mut caches: Vec<&mut TextCache> = caches.iter_mut().collect();
    let together = decoder.logits(&tokens, Some(Cached { caches: &mut caches, decoding: 0 }), &last).unwrap();
    assert_eq!(*together.values().unwrap(), alone.concat());
}

#[test]
fn names_of_every_version_of_transformers_are_read() {
    let golden = Golden::new();
    let device = Device::on_cpu(cpus().remove(0), Precision::F32);
    let truth = golden.encoder(&device).encode(&golden.pixels("red", &device), &|| Ok(())).unwrap();
    let mut all = HashMap::new();
    for entry in std::fs::read_dir(folder("conformance/models/images")).unwrap().flatten() {
        if entry.path().extension().is_some_and(|ending| ending == "safetensors") {
            all.extend(candle_core::safetensors::load(entry.path(), &candle_core::Device::Cpu).unwrap());
        }
    }
    let plain = |name: &str| {
        let name = name.strip_prefix("model.").unwrap_or(name);
        name.replace("vision_tower.vision_model.", "vision_tower.")
            .replace("language_model.model.", "language_model.")
    };
    for (front, tower, text) in [
        ("", "vision_tower.vision_model.", "language_model.model."),
        ("model.", "vision_tower.vision_model.", "language_model."),
        ("model.", "vision_tower.", "language_model."),
    ] {
        let renamed = all.iter().map(|(name, tensor)| {
            let name = plain(name).replacen("vision_tower.", tower, 1).replacen("language_model.", text, 1);
            (format!("{front}{name}"), tensor.clone())
        });
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("model.safetensors");
        candle_core::safetensors::save(&renamed.collect(), &path).unwrap();
        let weights = Weights::open_files(&[path]).unwrap();
        assert!(ImageEncoder::is_in(&golden.config, &weights));
        let encoder = ImageEncoder::open(&golden.config, &weights, &device, Storage::Precision).unwrap();
        let found = encoder.encode(&golden.pixels("red", &device), &|| Ok(())).unwrap();
        assert_eq!(found.values().unwrap(), truth.values().unwrap(), "{front}{tower}");
        causal_lm(&golden.config, &weights, &device, LoadOptions::default()).unwrap();
    }
}

#[test]
fn a_configuration_that_does_not_fit_is_named_and_what_is_left_out_is_transformers_default() {
    let golden = Golden::new();
    let device = Device::on_cpu(cpus().remove(0), Precision::F32);
    for (key, value, named) in [
        ("mm_tokens_per_image", json!(15), "`mm_tokens_per_image` is 15"),
        ("mm_tokens_per_image", json!(25), "8 × 8 patches"),
        ("mm_tokens_per_image", json!(0), "`mm_tokens_per_image` is 0"),
    ] {
        let mut config = golden.config.clone();
        config[key] = value;
        let error = ImageEncoder::open(&config, &golden.weights, &device, Storage::Precision).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains(named), "{error}");
    }
    // As Gemma 3 4B is published.
    let published = json!({
        "model_type": "gemma3", "mm_tokens_per_image": 256, "image_token_index": 262_144, "text_config": {
            "hidden_size": 2560, "intermediate_size": 10_240, "model_type": "gemma3_text", "num_hidden_layers": 34,
            "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024,
        }, "vision_config": {"hidden_size": 1152},
    });
    assert_eq!(gemma3::hidden_size(&published).unwrap(), 2560);
    let keys: Keys = config::read(&published).unwrap();
    assert_eq!((keys.image_token_id, keys.boi_token_id, keys.eoi_token_id), (262_144, 255_999, 256_000));
}

#[test]
fn an_image_that_nobody_waits_for_is_given_up_before_the_next_layer() {
    let golden = Golden::new();
    let device = Device::on_cpu(cpus().remove(0), Precision::F32);
    let asked = std::cell::Cell::new(0);
    let check = || {
        asked.set(asked.get() + 1);
        if asked.get() > 1 { Err(Error::new(ErrorKind::Cancelled, "enough")) } else { Ok(()) }
    };
    let error = golden.encoder(&device).encode(&golden.pixels("red", &device), &check).unwrap_err();
    assert_eq!((error.kind(), asked.get()), (ErrorKind::Cancelled, 2));
}
