//! A BERT with heads of 26 numbers, as rubert-tiny2 and TinyBERT have them (312 in 12 heads), against plain arithmetic in
//! f64: no vectors, no padding, no blocks.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor};
use serde_json::json;

use super::{Tokens, text_encoder};
use crate::local::ops::{Device, Precision};
use crate::local::testing::{cpus, noise};
use crate::local::weights::Weights;
use crate::local::weights::testing::write;

const HIDDEN: usize = 312;
const HEADS: usize = 12;
const INNER: usize = 600;
const LAYERS: usize = 2;

type Tensors = BTreeMap<String, Tensor>;
/// Adds a tensor of noise by name and shape, scaled and shifted.
type Add<'a> = &'a mut dyn FnMut(String, &[usize], f32, f32);

/// Seeded weights by the names of transformers.
fn tensors() -> Tensors {
    let mut tensors = Tensors::new();
    let mut seed = 0;
    let mut add = |name: String, dims: &[usize], scale: f32, offset: f32| {
        seed += 1;
        let values: Vec<f32> =
            noise(dims.iter().product(), seed).iter().map(|x| offset + scale * x).collect();
        tensors.insert(name, Tensor::from_vec(values, dims, &candle_core::Device::Cpu).unwrap());
    };
    let norm = |add: Add<'_>, name: String| {
        add(format!("{name}.weight"), &[HIDDEN], 0.1, 1.0);
        add(format!("{name}.bias"), &[HIDDEN], 0.1, 0.0);
    };
    for (name, rows) in [("word", 40), ("position", 20), ("token_type", 2)] {
        add(format!("embeddings.{name}_embeddings.weight"), &[rows, HIDDEN], 0.5, 0.0);
    }
    norm(&mut add, "embeddings.LayerNorm".to_owned());
    for layer in 0..LAYERS {
        let at = format!("encoder.layer.{layer}");
        for (name, outputs, inputs) in [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", INNER, HIDDEN),
            ("output.dense", HIDDEN, INNER),
        ] {
            add(format!("{at}.{name}.weight"), &[outputs, inputs], 0.08, 0.0);
            add(format!("{at}.{name}.bias"), &[outputs], 0.1, 0.0);
        }
        norm(&mut add, format!("{at}.attention.output.LayerNorm"));
        norm(&mut add, format!("{at}.output.LayerNorm"));
    }
    tensors
}

/// The model in f64, one text at a time.
struct Plain(Tensors);

type Rows = Vec<Vec<f64>>;

impl Plain {
    fn numbers(&self, name: &str) -> Vec<f64> {
        self.0[name].flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap()
    }

    fn linear(&self, name: &str, x: &Rows) -> Rows {
        let (weight, bias) = (self.numbers(&format!("{name}.weight")), self.numbers(&format!("{name}.bias")));
        let row = |x: &Vec<f64>| {
            let rows = weight.chunks_exact(x.len()).zip(&bias);
            rows.map(|(weight, bias)| bias + weight.iter().zip(x).map(|(w, x)| w * x).sum::<f64>()).collect()
        };
        x.iter().map(row).collect()
    }

    fn norm(&self, name: &str, x: &Rows) -> Rows {
        let (weight, bias) = (self.numbers(&format!("{name}.weight")), self.numbers(&format!("{name}.bias")));
        let row = |x: &Vec<f64>| {
            let mean = x.iter().sum::<f64>() / x.len() as f64;
            let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
            let scaled = x.iter().map(|x| (x - mean) / (variance + 1e-12).sqrt());
            scaled.zip(weight.iter().zip(&bias)).map(|(x, (weight, bias))| x * weight + bias).collect()
        };
        x.iter().map(row).collect()
    }

    fn attention(&self, at: &str, x: &Rows) -> Rows {
        let [q, k, v] = ["query", "key", "value"].map(|part| self.linear(&format!("{at}.self.{part}"), x));
        let size = HIDDEN / HEADS;
        let mut mixed = vec![vec![0.0; HIDDEN]; x.len()];
        for head in 0..HEADS {
            let part = |row: &'_ Vec<f64>| row[head * size..(head + 1) * size].to_vec();
            for (query, mixed) in q.iter().zip(&mut mixed) {
                let score = |key: &Vec<f64>| {
                    let dot: f64 = part(query).iter().zip(part(key)).map(|(q, k)| q * k).sum();
                    (dot / (size as f64).sqrt()).exp()
                };
                let total: f64 = k.iter().map(score).sum();
                for (key, value) in k.iter().zip(&v) {
                    let weight = score(key) / total;
                    for (to, value) in mixed[head * size..(head + 1) * size].iter_mut().zip(part(value)) {
                        *to += weight * value;
                    }
                }
            }
        }
        self.linear(&format!("{at}.output.dense"), &mixed)
    }

    fn encode(&self, text: &[u32]) -> Rows {
        let table = |name: &str| self.numbers(&format!("embeddings.{name}_embeddings.weight"));
        let (words, positions, types) = (table("word"), table("position"), table("token_type"));
        let sum = |(position, id): (usize, &u32)| {
            let row = |table: &[f64], row: usize| table[row * HIDDEN..(row + 1) * HIDDEN].to_vec();
            let parts = row(&words, *id as usize).into_iter().zip(row(&positions, position));
            parts.zip(row(&types, 0)).map(|((word, position), kind)| word + position + kind).collect()
        };
        let mut x = self.norm("embeddings.LayerNorm", &text.iter().enumerate().map(sum).collect());
        for layer in 0..LAYERS {
            let at = format!("encoder.layer.{layer}");
            let attended = plus(&x, &self.attention(&format!("{at}.attention"), &x));
            x = self.norm(&format!("{at}.attention.output.LayerNorm"), &attended);
            let mut hidden = self.linear(&format!("{at}.intermediate.dense"), &x);
            hidden.iter_mut().flatten().for_each(|x| *x = x.max(0.0));
            let out = self.linear(&format!("{at}.output.dense"), &hidden);
            x = self.norm(&format!("{at}.output.LayerNorm"), &plus(&x, &out));
        }
        x
    }
}

fn plus(x: &Rows, y: &Rows) -> Rows {
    x.iter().zip(y).map(|(x, y)| x.iter().zip(y).map(|(x, y)| x + y).collect()).collect()
}

#[test]
fn heads_of_26_numbers_give_the_states_of_plain_arithmetic_in_every_precision() {
    let tensors = tensors();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect::<Vec<_>>());
    let weights = Weights::open_files(&[path]).unwrap();
    let config = json!({
        "model_type": "bert", "vocab_size": 40, "hidden_size": HIDDEN, "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS, "intermediate_size": INNER, "hidden_act": "relu",
        "max_position_embeddings": 20,
    });
    let texts: [&[u32]; 3] =
        [&[2, 5, 3], &[2, 9, 8, 7, 6, 5, 4, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 3], &[1]];
    let plain = Plain(tensors);
    let truth: Rows = texts.iter().flat_map(|text| plain.encode(text)).collect();
    for (precision, bar) in
        [(Precision::F32, 0.999_999_9), (Precision::Bf16, 0.9995), (Precision::Int8, 0.995)]
    {
        for cpu in cpus() {
            let what = format!("{precision:?} on {cpu:?}");
            let model = text_encoder(&config, &weights, &Device::on_cpu(cpu, precision)).unwrap();
            let states = model.encode(&Tokens::new(texts)).unwrap();
            for (found, truth) in states.values().unwrap().chunks_exact(HIDDEN).zip(&truth) {
                let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
                let found: Vec<f64> = found.iter().map(|x| f64::from(*x)).collect();
                let cosine = dot(&found, truth) / (dot(&found, &found) * dot(truth, truth)).sqrt();
                assert!(cosine >= bar, "{what}: {cosine}");
            }
        }
    }
}
