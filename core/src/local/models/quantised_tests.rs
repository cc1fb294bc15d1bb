//! Models that are quantised while they are loaded, against the same models in the numbers that their blocks stand for.

use std::collections::HashMap;

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Tensor};
use serde_json::{Value, json};

use super::causal_tests::{difference, first_device, rows_of};
use super::{CausalLm, LoadOptions, Tokens, causal_lm};
use crate::local::ops::{Format, Precision};
use crate::local::weights::{Storage, Weights};

const CPU: candle_core::Device = candle_core::Device::Cpu;

/// A Llama whose layers are whole blocks of every format, but for one with rows of 320 numbers.
fn config() -> Value {
    json!({
        "model_type": "llama", "vocab_size": 96, "hidden_size": 256, "intermediate_size": 320, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "hidden_act": "silu",
    })
}

fn tensors(dtype: DType) -> HashMap<String, Tensor> {
    let mut shapes = vec![
        ("model.embed_tokens.weight".to_owned(), vec![96, 256]),
        ("lm_head.weight".to_owned(), vec![96, 256]),
        ("model.norm.weight".to_owned(), vec![256]),
    ];
    for layer in 0..2 {
        for (name, shape) in [
            ("input_layernorm", vec![256]),
            ("post_attention_layernorm", vec![256]),
            ("self_attn.q_proj", vec![256, 256]),
            ("self_attn.k_proj", vec![128, 256]),
            ("self_attn.v_proj", vec![128, 256]),
            ("self_attn.o_proj", vec![256, 256]),
            ("mlp.gate_proj", vec![320, 256]),
            ("mlp.up_proj", vec![320, 256]),
            ("mlp.down_proj", vec![256, 320]),
        ] {
            shapes.push((format!("model.layers.{layer}.{name}.weight"), shape));
        }
    }
    let mut seed = 1_u64;
    // SplitMix64, to a number from -1 to 1.
    let mut noise = || {
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    };
    let mut tensor = |shape: &[usize]| {
        let is_norm = shape.len() == 1;
        let number = |_| if is_norm { 1.0 + 0.2 * noise() } else { 0.15 * noise() };
        let values: Vec<f32> = (0..shape.iter().product()).map(number).collect();
        Tensor::from_vec(values, shape, &CPU).unwrap().to_dtype(dtype).unwrap()
    };
    shapes.into_iter().map(|(name, shape)| (name, tensor(&shape))).collect()
}

/// The numbers that a tensor's blocks stand for, by candle, which also made those of ggml's golden files.
fn as_blocks(name: &str, tensor: &Tensor, wanted: GgmlDType) -> Tensor {
    if tensor.rank() != 2 {
        return tensor.clone();
    }
    let is_table = name.contains("embed_tokens") || name.contains("lm_head");
    let is_whole = tensor.dims()[1].is_multiple_of(wanted.block_size());
    let dtype = if is_table || !is_whole { GgmlDType::Q8_0 } else { wanted };
    QTensor::quantize(&tensor.to_dtype(DType::F32).unwrap(), dtype).unwrap().dequantize(&CPU).unwrap()
}

fn open(tensors: &HashMap<String, Tensor>, storage: Storage) -> Box<dyn CausalLm> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    candle_core::safetensors::save(tensors, &path).unwrap();
    let weights = Weights::open_files(&[path]).unwrap();
    let options = LoadOptions { storage, ..LoadOptions::default() };
    causal_lm(&config(), &weights, &first_device().with_precision(Precision::F32), options).unwrap()
}

#[test]
fn a_model_quantised_at_load_is_the_model_of_its_blocks() {
    let text: Vec<u32> = (0..60).map(|place| place * 7 % 96).collect();
    let (tokens, rows) = (Tokens::new([text.as_slice()]), (0..60).collect::<Vec<u32>>());
    for dtype in [DType::F32, DType::BF16, DType::F16] {
        let plain = tensors(dtype);
        let truth = rows_of(&*open(&plain, Storage::Precision), &tokens, &rows);
        for (format, blocks) in [(Format::Q8_0, GgmlDType::Q8_0), (Format::Q4K, GgmlDType::Q4K)] {
            let found = rows_of(&*open(&plain, Storage::Quantised(format)), &tokens, &rows);
            let of_blocks: HashMap<String, Tensor> =
                plain.iter().map(|(name, tensor)| (name.clone(), as_blocks(name, tensor, blocks))).collect();
            let reference = rows_of(&*open(&of_blocks, Storage::Precision), &tokens, &rows);
            // What activations in 8 bits change.
            let off = difference(&found, &reference);
            assert!(off <= 5e-2, "{format:?} of {dtype:?}: {off}");
            let lost = difference(&reference, &truth);
            assert!(
                lost > 2.0 * off || format == Format::Q8_0,
                "{format:?} of {dtype:?}: {lost} is as {off}"
            );
        }
    }
}
