//! Every family of chat models against what transformers computes with the same small weights:
//! `tests/golden/make/causal.py`.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};

use super::causal::{CausalLm, LoadOptions, causal_lm};
use super::text_cache::{Cached, TextCache};
use super::{Tokens, check_text_encoder, config_of_gguf};
use crate::error::ErrorKind;
use crate::local::ops::{Device, Precision};
use crate::local::testing::cpus;
use crate::local::weights::{Storage, Weights};

const FAMILIES: &[&str] = &[
    "llama",
    "llama3",
    "llama-linear",
    "mistral",
    "smollm3",
    "qwen2",
    "qwen3",
    "qwen3-moe",
    "gemma2",
    "gemma3",
    "phi3",
    "granite",
    "ministral3",
    "gpt-oss",
    "gpt-oss-mxfp4",
];

/// Families of which two experts may be about as good.
const MIXTURES: &[&str] = &["qwen3-moe", "gpt-oss", "gpt-oss-mxfp4"];

/// A text, and the tokens whose logits are known.
#[derive(Deserialize)]
struct Text {
    ids: Vec<u32>,
    rows: Vec<u32>,
}

pub(super) struct Golden {
    pub(super) family: &'static str,
    pub(super) config: Value,
    pub(super) weights: Weights,
    texts: Vec<Text>,
    /// Those of all texts, one after another.
    logits: Vec<Vec<f32>>,
}

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/causal").join(family)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Golden {
    pub(super) fn of(family: &'static str) -> Self {
        let folder = folder(family);
        let logits =
            candle_core::safetensors::load(folder.join("logits.safetensors"), &candle_core::Device::Cpu)
                .unwrap();
        Self {
            family,
            config: read(&folder.join("config.json")),
            weights: Weights::open_files(&[folder.join("model.safetensors")]).unwrap(),
            texts: read(&folder.join("texts.json")),
            logits: logits["logits"].to_vec2().unwrap(),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        FAMILIES.iter().map(|family| Self::of(family))
    }

    /// The same model from its GGUF file, if there is one.
    fn of_gguf(&self) -> Option<Self> {
        let path = folder(self.family).join("model.gguf");
        let weights = path.is_file().then(|| Weights::open_files(&[path]).unwrap())?;
        let config = config_of_gguf(&weights).unwrap();
        Some(Self { config, weights, ..Self::of(self.family) })
    }

    pub(super) fn open(&self, device: &Device, storage: Storage) -> Box<dyn CausalLm> {
        let options = LoadOptions { storage, ..LoadOptions::default() };
        causal_lm(&self.config, &self.weights, device, options).unwrap()
    }

    /// The tokens of a text.
    pub(super) fn text(&self, number: usize) -> &[u32] {
        &self.texts[number].ids
    }

    /// Texts of up to `most` tokens, and the truth about them.
    pub(super) fn texts(&self, most: usize) -> (Tokens, Vec<u32>, Vec<Vec<f32>>) {
        let (mut ids, mut rows, mut truth, mut first, mut row) = (Vec::new(), Vec::new(), Vec::new(), 0, 0);
        for text in &self.texts {
            let known = &self.logits[row..row + text.rows.len()];
            row += text.rows.len();
            if text.ids.len() > most {
                continue;
            }
            ids.push(text.ids.as_slice());
            rows.extend(text.rows.iter().map(|row| first + row));
            truth.extend_from_slice(known);
            first += u32::try_from(text.ids.len()).unwrap();
        }
        (Tokens::new(ids), rows, truth)
    }
}

pub(super) fn rows_of(model: &dyn CausalLm, tokens: &Tokens, rows: &[u32]) -> Vec<Vec<f32>> {
    let logits = model.logits(tokens, None, rows).unwrap();
    assert_eq!(logits.dims(), [rows.len(), model.vocab_size()]);
    logits.values().unwrap().chunks_exact(model.vocab_size()).map(<[f32]>::to_vec).collect()
}

/// How far logits are off, of the greatest.
pub(super) fn difference(found: &[Vec<f32>], truth: &[Vec<f32>]) -> f32 {
    assert_eq!(found.len(), truth.len());
    let greatest = truth.iter().flatten().fold(0.0, |most: f32, x| most.max(x.abs()));
    let off = found.iter().flatten().zip(truth.iter().flatten());
    // Written so that NaN is too far.
    off.map(|(a, b)| (a - b).abs()).fold(0.0, |most, off| if off <= most { most } else { off }) / greatest
}

pub(super) fn first_device() -> Device {
    Device::on_cpu(cpus().remove(0), Precision::F32)
}

#[test]
fn logits_are_those_of_transformers_on_every_instruction_set() {
    for golden in Golden::all() {
        for (number, cpu) in cpus().into_iter().enumerate() {
            let what = format!("{} on {cpu:?}", golden.family);
            let model = golden.open(&Device::on_cpu(cpu, Precision::F32), Storage::Precision);
            let (tokens, rows, truth) = golden.texts(if number == 0 { usize::MAX } else { 100 });
            let off = difference(&rows_of(&*model, &tokens, &rows), &truth);
            assert!(off <= 1e-4, "{what}: {off}");
        }
    }
}

#[test]
fn logits_are_those_of_transformers_with_the_operations_of_a_gpu() {
    for golden in Golden::all() {
        let device = Device::as_on_gpu(cpus().remove(0), Precision::F32);
        let (tokens, rows, truth) = golden.texts(100);
        let model = golden.open(&device, Storage::Precision);
        let off = difference(&rows_of(&*model, &tokens, &rows), &truth);
        assert!(off <= 1e-4, "{}: {off}", golden.family);
    }
}

#[test]
fn a_gguf_file_of_a_model_gives_the_same_logits() {
    let mut files = 0;
    for golden in Golden::all().filter_map(|golden| golden.of_gguf()) {
        files += 1;
        let (tokens, rows, truth) = golden.texts(usize::MAX);
        for storage in [Storage::Precision, Storage::AsInFile] {
            let found = rows_of(&*golden.open(&first_device(), storage), &tokens, &rows);
            // What experts in MXFP4 are multiplied with is rounded; the folder's file has to give the same.
            if golden.family == "gpt-oss-mxfp4" && storage == Storage::AsInFile {
                let folder = Golden::of(golden.family).open(&first_device(), storage);
                assert_eq!(found, rows_of(&*folder, &tokens, &rows));
                continue;
            }
            let off = difference(&found, &truth);
            assert!(off <= 1e-4, "{} {storage:?}: {off}", golden.family);
        }
    }
    assert_eq!(files, 14);
}

/// The logits of a text's tokens, given in pieces over a cache; the last `singly` one at a time.
pub(super) fn in_pieces(model: &dyn CausalLm, text: &[u32], piece: usize, singly: usize) -> Vec<Vec<f32>> {
    let mut cache = model.new_cache(text.len()).unwrap();
    let (prompt, rest) = text.split_at(text.len().saturating_sub(singly));
    let mut logits = Vec::new();
    let parts = prompt.chunks(piece).map(|part| (part, 0)).chain(rest.chunks(1).map(|part| (part, 1)));
    for (part, decoding) in parts {
        let rows: Vec<u32> = (0..u32::try_from(part.len()).unwrap()).collect();
        let cached = Cached { caches: &mut [&mut cache], decoding };
        let found = model.logits(&Tokens::new([part]), Some(cached), &rows).unwrap();
        let found = found.values().unwrap();
        logits.extend(found.chunks_exact(model.vocab_size()).map(<[f32]>::to_vec));
    }
    assert_eq!(cache.len(), text.len());
    logits
}

#[test]
fn a_prompt_has_the_same_bits_in_any_pieces_over_a_cache_and_about_the_numbers_without_one() {
    for golden in Golden::all() {
        let text = &golden.texts[4].ids;
        for device in [first_device(), Device::as_on_gpu(cpus().remove(0), Precision::F32)] {
            let model = golden.open(&device, Storage::Precision);
            let rows: Vec<u32> = (0..u32::try_from(text.len()).unwrap()).collect();
            let truth = rows_of(&*model, &Tokens::new([text.as_slice()]), &rows);
            let whole = in_pieces(&*model, text, text.len(), 0);
            // What f16 in the cache may change; where experts are about as good, which of them are chosen too.
            let bar = if MIXTURES.contains(&golden.family) { 0.5 } else { 5e-3 };
            assert!(difference(&whole, &truth) <= bar, "{}", golden.family);
            let decoded = in_pieces(&*model, text, 64, 20);
            assert!(difference(&decoded, &truth) <= bar, "{}", golden.family);
            if device.is_cpu() {
                assert_eq!(in_pieces(&*model, text, 7, 0), whole, "{}", golden.family);
                assert_eq!(in_pieces(&*model, text, 1, 0), whole, "{}", golden.family);
            }
        }
    }
}

#[test]
fn texts_together_have_the_bits_that_they_have_alone() {
    for golden in Golden::all() {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            let model = golden.open(&Device::on_cpu(cpus().remove(0), precision), Storage::AsInFile);
            let texts = [&golden.texts[4].ids[..33], &golden.texts[2].ids[..9], &golden.texts[3].ids[..16]];
            let prompt = |text: &[u32]| {
                let mut cache = model.new_cache(64).unwrap();
                let cached = Cached { caches: &mut [&mut cache], decoding: 0 };
                model.logits(&Tokens::new([text]), Some(cached), &[]).unwrap();
                cache
            };
            let mut caches: Vec<TextCache> = texts.iter().map(|text| prompt(text)).collect();
            // Two go on by a token, the third by a piece of a prompt.
            let next: [&[u32]; 3] = [&[5], &[17], &[8, 9, 10]];
            let alone: Vec<Vec<f32>> = (0..3)
                .map(|text| {
                    let mut cache = prompt(texts[text]);
                    let cached =
                        Cached { caches: &mut [&mut cache], decoding: usize::from(next[text].len() == 1) };
                    let row = u32::try_from(next[text].len() - 1).unwrap();
                    let logits = model.logits(&Tokens::new([next[text]]), Some(cached), &[row]).unwrap();
                    logits.values().unwrap().to_vec()
                })
                .collect();
            let mut all: Vec<&mut TextCache> = caches.iter_mut().collect();
            let cached = Cached { caches: &mut all, decoding: 2 };
            let together = model.logits(&Tokens::new(next), Some(cached), &[0, 1, 4]).unwrap();
            assert_eq!(*together.values().unwrap(), alone.concat(), "{} {precision:?}", golden.family);
        }
    }
}

#[test]
fn what_stretches_the_context_shows_in_the_logits() {
    for (family, key, value) in [
        ("llama3", "factor", json!(4.0)),
        ("llama3", "low_freq_factor", json!(2.0)),
        ("llama3", "original_max_position_embeddings", json!(64)),
        ("llama-linear", "factor", json!(2.0)),
        ("qwen2", "factor", json!(2.0)),
        ("qwen2", "beta_slow", json!(0.05)),
        ("phi3", "original_max_position_embeddings", json!(64)),
        ("phi3", "short_factor", json!([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])),
        ("phi3", "long_factor", json!([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])),
        ("phi3", "attention_factor", json!(1.0)),
        ("ministral3", "llama_4_scaling_beta", json!(0.1)),
        ("ministral3", "original_max_position_embeddings", json!(64)),
        ("gpt-oss", "truncate", json!(true)),
        ("gpt-oss", "factor", json!(2.0)),
    ] {
        let mut golden = Golden::of(family);
        golden.config["rope_parameters"][key] = value;
        let model = golden.open(&first_device(), Storage::Precision);
        let (tokens, rows, truth) = golden.texts(100);
        let off = difference(&rows_of(&*model, &tokens, &rows), &truth);
        assert!(off > 1e-3, "{family}: another `{key}` makes a difference of {off}");
    }
}

#[test]
fn what_is_longer_than_the_window_and_what_no_vocabulary_has_is_refused() {
    for golden in Golden::all() {
        let model = golden.open(&first_device(), Storage::Precision);
        let text = vec![5; model.window() + 1];
        let error = model.logits(&Tokens::new([&text[..]]), None, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContextTooLong, "{error}");
        let error = model.logits(&Tokens::new([&[60][..]]), None, &[]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        let options = LoadOptions { window: Some(20), ..LoadOptions::default() };
        let short = causal_lm(&golden.config, &golden.weights, &first_device(), options).unwrap();
        assert_eq!(short.window(), 20);
    }
}

#[test]
fn chat_models_are_no_text_encoders_and_unknown_ones_are_named() {
    let golden = Golden::of("llama");
    assert_eq!(check_text_encoder(&golden.config).unwrap_err().kind(), ErrorKind::Unsupported);
    let open = |config: &Value| causal_lm(config, &golden.weights, &first_device(), LoadOptions::default());
    for config in [json!({"model_type": "bert"}), json!({})] {
        let error = open(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("valid: llama"), "{error}");
        assert!(error.message().contains("computed by candle, which is slower: gemma, glm4"), "{error}");
    }
    let mut config = golden.config.clone();
    config["num_hidden_layers"] = json!(3);
    let error = open(&config).unwrap_err();
    assert!(error.message().contains("no tensor `model.layers.2."), "{error}");
}
