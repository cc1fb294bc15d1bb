//! Every family against what transformers computes with the same small weights: `tests/golden/make/text.py`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use candle_core::Tensor;
use serde_json::{Value, json};

use super::decoder::Decoder;
use super::text_cache::{Cached, TextCache};
use super::{TextEncoder, Tokens, gemma3, qwen3, text_encoder};
use crate::error::{ErrorKind, Result};
use crate::local::ops::{Device, KvMemory, KvPrecision, Precision};
use crate::local::testing::{cpus, noise};
use crate::local::weights::testing::write;
use crate::local::weights::{Parameters, Weights};

const FAMILIES: &[&str] = &[
    "bert",
    "bert-masked-lm",
    "xlm-roberta",
    "distilbert",
    "mpnet",
    "modernbert",
    "nomic-bert",
    "gte",
    "qwen3",
    "gemma3",
];

/// What a state of another implementation may be off by.
#[derive(Clone, Copy, Debug)]
struct Bar {
    cosine: f64,
    /// Of the greatest number.
    difference: f64,
}

const BARS: [(Precision, Bar); 4] = [
    (Precision::F32, Bar { cosine: 0.99999, difference: 1e-4 }),
    (Precision::Bf16, Bar { cosine: 0.9995, difference: f64::INFINITY }),
    (Precision::Int8, Bar { cosine: 0.995, difference: f64::INFINITY }),
    (Precision::Bf16x3, Bar { cosine: 0.999999, difference: 1e-4 }),
];

struct Golden {
    family: &'static str,
    config: Value,
    weights: Weights,
    texts: Vec<Vec<u32>>,
    /// A row a token.
    states: Vec<Vec<f32>>,
}

fn folder(family: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/text").join(family)
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> T {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Golden {
    fn of(family: &'static str) -> Self {
        let folder = folder(family);
        let states =
            candle_core::safetensors::load(folder.join("states.safetensors"), &candle_core::Device::Cpu)
                .unwrap();
        let golden = Self {
            family,
            config: read(&folder.join("config.json")),
            weights: Weights::open_files(&[folder.join("model.safetensors")]).unwrap(),
            texts: read(&folder.join("texts.json")),
            states: states["states"].to_vec2().unwrap(),
        };
        assert_eq!(golden.states.len(), golden.texts.iter().map(Vec::len).sum::<usize>());
        golden
    }

    fn all() -> impl Iterator<Item = Self> {
        FAMILIES.iter().map(|family| Self::of(family))
    }

    fn open(&self, device: &Device) -> Box<dyn TextEncoder> {
        text_encoder(&self.config, &self.weights, device).unwrap()
    }

    fn tokens(&self) -> Tokens {
        Tokens::new(self.texts.iter().map(Vec::as_slice))
    }

    /// The tensors, by name, without those of heads that are not part of the encoder.
    fn tensors(&self) -> BTreeMap<String, Tensor> {
        let all = self.weights.names().filter(|name| !name.starts_with("cls."));
        all.map(|name| {
            (name.to_owned(), self.weights.get(name).unwrap().to_tensor(&candle_core::Device::Cpu).unwrap())
        })
        .collect()
    }

    /// Reads the model with other tensors.
    fn with(&self, tensors: &BTreeMap<String, Tensor>, device: &Device) -> Result<Box<dyn TextEncoder>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect::<Vec<_>>());
        text_encoder(&self.config, &Weights::open_files(&[path]).unwrap(), device)
    }
}

fn encode(model: &dyn TextEncoder, tokens: &Tokens) -> Vec<Vec<f32>> {
    let states = model.encode(tokens).unwrap();
    assert_eq!(states.dims(), [tokens.ids().len(), model.width()]);
    states.values().unwrap().chunks_exact(model.width()).map(<[f32]>::to_vec).collect()
}

/// Says where states are too far from the truth.
fn compare(found: &[Vec<f32>], truth: &[Vec<f32>], bar: Bar) -> std::result::Result<(), String> {
    assert_eq!(found.len(), truth.len());
    let greatest = truth.iter().flatten().fold(0.0, |most: f64, x| most.max(f64::from(x.abs())));
    for (token, (found, truth)) in found.iter().zip(truth).enumerate() {
        let dot =
            |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
        let cosine = dot(found, truth) / (dot(found, found) * dot(truth, truth)).sqrt();
        let off = found.iter().zip(truth).map(|(a, b)| f64::from((a - b).abs())).fold(0.0, f64::max);
        // Written so that NaN is too far.
        if !(cosine >= bar.cosine && off <= bar.difference * greatest) {
            return Err(format!("token {token}: cosine {cosine}, off by {off} of {greatest}"));
        }
    }
    Ok(())
}

fn first_device() -> Device {
    Device::on_cpu(cpus().remove(0), Precision::F32)
}

#[test]
fn states_are_those_of_transformers_in_every_precision_on_every_instruction_set() {
    for golden in Golden::all() {
        for (precision, bar) in BARS {
            for cpu in cpus().into_iter().filter(|cpu| Precision::of(cpu.isa).contains(&precision)) {
                let what = format!("{} in {precision:?} on {cpu:?}", golden.family);
                let model = golden.open(&Device::on_cpu(cpu, precision));
                let found = encode(&*model, &golden.tokens());
                compare(&found, &golden.states, bar).unwrap_or_else(|off| panic!("{what}: {off}"));
            }
        }
    }
}

#[test]
fn states_are_those_of_transformers_with_the_operations_of_a_gpu() {
    for golden in Golden::all() {
        for (precision, bar) in &BARS[..2] {
            let device = Device::as_on_gpu(cpus().remove(0), *precision);
            let found = encode(&*golden.open(&device), &golden.tokens());
            let what = format!("{} in {precision:?}", golden.family);
            compare(&found, &golden.states, *bar).unwrap_or_else(|off| panic!("{what}: {off}"));
            assert!(encode(&*golden.open(&device), &Tokens::new([])).is_empty(), "{what}");
        }
    }
}

/// Texts given to a decoder in pieces, over caches: the states of all tokens, text by text.
fn in_pieces(decoder: &Decoder, device: &Device, texts: &[Vec<u32>], piece: usize) -> Vec<Vec<f32>> {
    let mut caches: Vec<TextCache> = texts
        .iter()
        .map(|text| decoder.new_cache(&KvMemory::new(device, KvPrecision::F16), text.len()).unwrap())
        .collect();
    let mut states = vec![Vec::new(); texts.len()];
    let most = texts.iter().map(Vec::len).max().unwrap_or_default();
    for first in (0..most).step_by(piece) {
        let part = |text: &'_ Vec<u32>| text[first.min(text.len())..text.len().min(first + piece)].to_vec();
        let parts: Vec<Vec<u32>> = texts.iter().map(part).collect();
        let tokens = Tokens::new(parts.iter().map(Vec::as_slice));
        let mut all: Vec<&mut TextCache> = caches.iter_mut().collect();
        // Texts that have ended give none.
        let decoding = if parts.iter().all(|part| part.len() == 1) { parts.len() } else { 0 };
        let found = decoder.forward(&tokens, Some(Cached { caches: &mut all, decoding })).unwrap();
        let found = found.values().unwrap();
        for (states, ends) in states.iter_mut().zip(tokens.starts().windows(2)) {
            states.extend_from_slice(&found[ends[0] * decoder.width()..ends[1] * decoder.width()]);
        }
    }
    states.concat().chunks_exact(decoder.width()).map(<[f32]>::to_vec).collect()
}

type Open = fn(&Value, &Parameters<'_>) -> Result<Decoder>;

#[test]
fn causal_decoders_give_the_same_states_in_pieces_over_caches() {
    // What f16 in the cache may change.
    let bar = Bar { cosine: 0.9999, difference: 5e-3 };
    for (family, open) in [("qwen3", qwen3::open as Open), ("gemma3", gemma3::open)] {
        let golden = Golden::of(family);
        let config = rewritten(&golden.config, &json!({"use_bidirectional_attention": false}));
        for device in [first_device(), Device::as_on_gpu(cpus().remove(0), Precision::F32)] {
            let decoder: Decoder = open(&config, &Parameters::new(&golden.weights, &device)).unwrap();
            let whole = encode(&decoder, &golden.tokens());
            for piece in [1, 5] {
                let found = in_pieces(&decoder, &device, &golden.texts, piece);
                compare(&found, &whole, bar).unwrap_or_else(|off| panic!("{family} by {piece}: {off}"));
            }
            let past = vec![5; decoder.window() + 1];
            let mut cache = decoder.new_cache(&KvMemory::new(&device, KvPrecision::F16), 4).unwrap();
            let error = decoder
                .forward(&Tokens::new([&past[..]]), Some(Cached { caches: &mut [&mut cache], decoding: 0 }))
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ContextTooLong);
        }
    }
}

#[test]
fn a_text_has_the_same_bits_alone_and_in_any_batch_in_any_order() {
    let bits = |states: &[Vec<f32>]| states.iter().flatten().map(|x| x.to_bits()).collect::<Vec<_>>();
    for golden in Golden::all() {
        for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
            for cpu in cpus() {
                let model = golden.open(&Device::on_cpu(cpu, precision));
                let together = encode(&*model, &golden.tokens());
                let reversed = encode(&*model, &Tokens::new(golden.texts.iter().rev().map(Vec::as_slice)));
                let (mut start, mut end) = (0, reversed.len());
                for text in &golden.texts {
                    let alone = bits(&encode(&*model, &Tokens::new([text.as_slice()])));
                    assert_eq!(alone, bits(&together[start..start + text.len()]), "{}", golden.family);
                    assert_eq!(alone, bits(&reversed[end - text.len()..end]), "{}", golden.family);
                    (start, end) = (start + text.len(), end - text.len());
                }
            }
        }
    }
}

#[test]
fn every_tensor_shows_in_the_states() {
    let device = first_device();
    for golden in Golden::all() {
        let tensors = golden.tensors();
        let same = encode(&*golden.with(&tensors, &device).unwrap(), &golden.tokens());
        compare(&same, &golden.states, BARS[0].1).unwrap();
        for (name, tensor) in &tensors {
            // A bias of keys adds the same to all scores of a query.
            if ["key.bias", "k_lin.bias", "attn.k.bias"].iter().any(|end| name.ends_with(end)) {
                continue;
            }
            let noise: Vec<f32> = noise(tensor.elem_count(), 5).iter().map(|x| 0.1 * x).collect();
            let noise = Tensor::from_vec(noise, tensor.dims(), &candle_core::Device::Cpu).unwrap();
            let mut changed = tensors.clone();
            changed.insert(name.clone(), (tensor + noise).unwrap());
            let found = encode(&*golden.with(&changed, &device).unwrap(), &golden.tokens());
            let verdict = compare(&found, &golden.states, BARS[0].1);
            assert!(verdict.is_err(), "{}: another `{name}` makes no difference", golden.family);
        }
    }
}

#[test]
fn a_tensor_that_is_missing_or_of_another_shape_is_named() {
    let device = first_device();
    for golden in Golden::all() {
        let tensors = golden.tensors();
        for (name, tensor) in &tensors {
            let mut changed = tensors.clone();
            changed.remove(name);
            let error = golden.with(&changed, &device).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
            assert!(error.message().contains(&format!("no tensor `{name}`")), "{}: {error}", golden.family);
            let longer = Tensor::cat(&[tensor, tensor], 0).unwrap();
            changed.insert(name.clone(), longer);
            let error = golden.with(&changed, &device).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
            assert!(error.message().contains(&format!("`{name}` is ")), "{}: {error}", golden.family);
        }
    }
}

#[test]
fn a_configuration_that_says_fewer_or_more_layers_than_the_weights_have_is_refused() {
    for golden in Golden::all() {
        let key = if golden.family == "distilbert" { "n_layers" } else { "num_hidden_layers" };
        let layers = golden.config[key].as_u64().unwrap();
        for claimed in [layers - 1, layers + 1, 5_000_000, u64::MAX, 0] {
            let types = golden.config["layer_types"].as_array();
            let types =
                types.map(|types| types.iter().cycle().take(claimed.min(9) as usize).cloned().collect());
            let changes = json!({key: claimed, "layer_types": types.map(Value::Array)});
            let config = rewritten(&golden.config, &changes);
            let error = text_encoder(&config, &golden.weights, &first_device()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelLoad, "{}: {claimed}: {error}", golden.family);
        }
    }
    let golden = Golden::of("bert");
    let config = rewritten(&golden.config, &json!({"num_hidden_layers": 1}));
    // What an earlier test used is not remembered: these weights are opened anew.
    let error = text_encoder(&config, &Golden::of("bert").weights, &first_device()).unwrap_err();
    for part in [
        "more layers than the configuration says",
        "encoder.layer.1.attention.output.LayerNorm.bias",
        "15 other",
    ] {
        assert!(error.message().contains(part), "{error}");
    }
}

/// None of these costs memory or time: before, each ended the process or held it.
#[test]
fn sizes_that_no_file_has_are_refused_before_anything_is_made_of_them() {
    for golden in Golden::all() {
        for key in [
            "hidden_size",
            "intermediate_size",
            "vocab_size",
            "num_attention_heads",
            "head_dim",
            "num_key_value_heads",
        ] {
            let is_read = key != "head_dim" || ["qwen3", "gemma3"].contains(&golden.family);
            if golden.config.get(key).is_none() || !is_read {
                continue;
            }
            for value in [0, 1_u64 << 20, 0x7fff_ffff, 1 << 40, 1 << 63, u64::MAX] {
                let config = rewritten(&golden.config, &json!({ key: value }));
                let error = text_encoder(&config, &golden.weights, &first_device()).unwrap_err();
                let kinds = [ErrorKind::ModelLoad, ErrorKind::Unsupported];
                assert!(kinds.contains(&error.kind()), "{}: {key} {value}: {error}", golden.family);
            }
        }
    }
}

#[test]
fn a_claimed_window_of_millions_costs_nothing() {
    for family in ["modernbert", "nomic-bert", "gte", "qwen3", "gemma3"] {
        let golden = Golden::of(family);
        for device in [first_device(), Device::as_on_gpu(cpus().remove(0), Precision::F32)] {
            let config = rewritten(&golden.config, &json!({"max_position_embeddings": 2_000_000_000}));
            let model = text_encoder(&config, &golden.weights, &device).unwrap();
            let found = encode(&*model, &golden.tokens());
            compare(&found, &golden.states, BARS[0].1).unwrap_or_else(|off| panic!("{family}: {off}"));
            assert_eq!(model.window(), 2_000_000_000);
        }
    }
}

#[test]
fn weights_that_are_not_finite_are_named_when_the_model_loads() {
    for golden in Golden::all() {
        for (name, tensor) in &golden.tensors() {
            for value in [f32::NAN, f32::NEG_INFINITY] {
                let mut values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
                let last = values.len() - 1;
                values[last] = value;
                let mut changed = golden.tensors();
                let flawed = Tensor::from_vec(values, tensor.dims(), &candle_core::Device::Cpu).unwrap();
                changed.insert(name.clone(), flawed);
                let error = golden.with(&changed, &first_device()).unwrap_err();
                assert_eq!(error.kind(), ErrorKind::ModelLoad);
                assert!(error.message().contains(&format!("`{name}` holds NaN or infinity")), "{error}");
            }
        }
    }
}

#[test]
fn texts_up_to_the_window_are_taken_and_longer_ones_refused() {
    let device = first_device();
    for golden in Golden::all() {
        let model = golden.open(&device);
        let text = vec![5; model.window() + 1];
        assert_eq!(encode(&*model, &Tokens::new([&text[1..]])).len(), model.window());
        let error = model.encode(&Tokens::new([&text[..1], &text[..]])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContextTooLong, "{error}");
        assert!(encode(&*model, &Tokens::new([])).is_empty());
    }
}

#[test]
fn tokens_that_no_vocabulary_has_are_refused() {
    for golden in Golden::all() {
        let error = golden.open(&first_device()).encode(&Tokens::new([&[3, 60][..]])).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}

#[test]
fn an_unknown_architecture_is_an_error_that_lists_the_known_ones() {
    let golden = Golden::of("bert");
    let open = |config: &Value| text_encoder(config, &golden.weights, &first_device());
    for config in [json!({"model_type": "t5"}), json!({"architectures": ["T5Model"]}), json!({})] {
        let error = open(&config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("xlm-roberta"), "{error}");
    }
    let mut config = golden.config.clone();
    // A type that nobody knows, but a class that is.
    config["model_type"] = json!("my_own");
    assert!(open(&config).is_ok());
    config["hidden_act"] = json!("mish");
    let error = open(&config).unwrap_err();
    assert!(error.message().contains("`hidden_act` is 'mish'"), "{error}");
    config["num_attention_heads"] = json!(5);
    config["hidden_act"] = json!("gelu");
    assert_eq!(open(&config).unwrap_err().kind(), ErrorKind::ModelLoad);
}

/// A configuration with some keys in another form: those given are put in, null ones taken out.
fn rewritten(config: &Value, changes: &Value) -> Value {
    let mut config = config.clone();
    let (Some(all), Some(changes)) = (config.as_object_mut(), changes.as_object()) else {
        panic!("configurations are objects");
    };
    for (key, value) in changes {
        if value.is_null() {
            all.remove(key);
        } else {
            all.insert(key.clone(), value.clone());
        }
    }
    config
}

#[test]
fn older_forms_of_configurations_mean_the_same() {
    let rewrites = [
        (
            "modernbert",
            json!({
                "rope_parameters": null, "layer_types": null, "global_attn_every_n_layers": 3,
                "global_rope_theta": 160_000.0, "local_rope_theta": 10_000.0,
            }),
        ),
        (
            "nomic-bert",
            json!({
                "rope_parameters": null, "hidden_size": null, "num_hidden_layers": null, "num_attention_heads": null,
                "intermediate_size": null, "hidden_act": null, "max_position_embeddings": null, "layer_norm_eps": null,
                "n_embd": 32, "n_layer": 2, "n_head": 2, "n_inner": 64, "activation_function": "swiglu",
                "n_positions": 48, "layer_norm_epsilon": 1e-12, "rotary_emb_base": 1000, "rotary_emb_fraction": 1.0,
                "qkv_proj_bias": false, "prenorm": false,
            }),
        ),
        (
            "gte",
            json!({"model_type": "new", "rope_parameters": null, "rope_theta": 160_000.0, "rope_scaling": null}),
        ),
        (
            "qwen3",
            json!({"rope_parameters": null, "layer_types": null, "rope_theta": 10_000, "max_window_layers": 2}),
        ),
        (
            "gemma3",
            json!({
                "rope_parameters": null, "rope_theta": 1_000_000.0, "rope_local_base_freq": 10_000.0,
            }),
        ),
    ];
    for (family, changes) in rewrites {
        let golden = Golden::of(family);
        let config = rewritten(&golden.config, &changes);
        let model = text_encoder(&config, &golden.weights, &first_device()).unwrap();
        compare(&encode(&*model, &golden.tokens()), &golden.states, BARS[0].1).unwrap();
    }
}

#[test]
fn what_changes_the_meaning_of_a_configuration_shows_or_is_refused() {
    for (family, changes) in [
        ("bert", json!({"hidden_act": "relu"})),
        ("modernbert", json!({"local_attention": 10})),
        ("modernbert", json!({"layer_types": vec!["full_attention"; 4]})),
        ("nomic-bert", json!({"rope_parameters": {"rope_theta": 900.0}})),
        ("qwen3", json!({"rms_norm_eps": 1e-2})),
        ("gemma3", json!({"sliding_window": 10})),
        ("gemma3", json!({"use_bidirectional_attention": false})),
        ("gemma3", json!({"query_pre_attn_scalar": 16})),
    ] {
        let golden = Golden::of(family);
        let config = rewritten(&golden.config, &changes);
        let model = text_encoder(&config, &golden.weights, &first_device()).unwrap();
        let verdict = compare(&encode(&*model, &golden.tokens()), &golden.states, BARS[0].1);
        assert!(verdict.is_err(), "{family}: {changes} makes no difference");
    }
    for (family, key, value) in [
        ("bert", "position_embedding_type", json!("relative_key")),
        ("bert", "is_decoder", json!(true)),
        ("mpnet", "relative_attention_num_buckets", json!(30)),
        ("modernbert", "rope_parameters", json!({"rope_type": "yarn"})),
        ("nomic-bert", "moe_every_n_layers", json!(2)),
        ("gte", "logn_attention_scale", json!(true)),
        ("qwen3", "use_sliding_window", json!(true)),
        ("gemma3", "attn_logit_softcapping", json!(30.0)),
        ("gemma3", "hidden_activation", json!("mish")),
    ] {
        let golden = Golden::of(family);
        let config = rewritten(&golden.config, &json!({ key: value }));
        let error = text_encoder(&config, &golden.weights, &first_device()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{family}: {error}");
        assert!(error.message().contains(&format!("`{key}`")), "{family}: {error}");
    }
}
