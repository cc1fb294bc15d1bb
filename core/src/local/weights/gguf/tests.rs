use std::path::{Path, PathBuf};

use candle_core::quantized::gguf_file::{self, Value as CandleValue};
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};

use super::super::Weights;
use super::*;
use crate::error::ErrorKind;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn open(bytes: &[u8]) -> Result<Weights> {
    Weights::of_bytes(bytes)
}

fn refused(bytes: &[u8]) -> Error {
    let error = open(bytes).expect_err("this is no model");
    assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
    error
}

/// A file as candle writes it.
fn of_candle(dtype: GgmlDType) -> (Vec<u8>, Tensor) {
    let numbers = Tensor::arange(0_f32, 512.0, &Device::Cpu).unwrap().reshape((2, 256)).unwrap();
    let tensor = QTensor::quantize(&numbers, dtype).unwrap();
    let mut bytes = std::io::Cursor::new(Vec::new());
    let name = CandleValue::String("bert".to_owned());
    let metadata = [("general.architecture", &name)];
    gguf_file::write(&mut bytes, &metadata, &[("blk.0.attn_q.weight", &tensor)]).unwrap();
    (bytes.into_inner(), tensor.dequantize(&Device::Cpu).unwrap())
}

const QUERY: &str = "encoder.layer.0.attention.self.query.weight";

#[test]
fn every_format_of_candle_is_read_with_the_numbers_that_candle_reads() {
    for dtype in [
        GgmlDType::F32,
        GgmlDType::F16,
        GgmlDType::BF16,
        GgmlDType::Q4_0,
        GgmlDType::Q4_1,
        GgmlDType::Q5_0,
        GgmlDType::Q5_1,
        GgmlDType::Q8_0,
        GgmlDType::Q2K,
        GgmlDType::Q3K,
        GgmlDType::Q4K,
        GgmlDType::Q5K,
        GgmlDType::Q6K,
    ] {
        let (bytes, truth) = of_candle(dtype);
        let weights = open(&bytes).unwrap();
        let stored = weights.tensor(QUERY, &[2, 256]).unwrap();
        let found = stored.to_tensor(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
        assert_eq!(found.to_vec2::<f32>().unwrap(), truth.to_vec2::<f32>().unwrap(), "{dtype:?}");
        let (table, range, dtype) = stored.resident().unwrap();
        assert_eq!(range.len(), 512 * dtype.size_in_bytes());
        assert!((*table).as_ref().len() >= range.end);
        let error = weights.tensor(QUERY, &[256, 2]).unwrap_err();
        assert_eq!(
            error.message(),
            "`blk.0.attn_q.weight` is [2, 256] in the weights, the model needs [256, 2]"
        );
    }
}

#[test]
fn names_and_numbers_are_those_that_the_package_gguf_writes() {
    for (file, model, tolerance) in
        [("bert-BF16", "bert", 0.01), ("qwen3-F16", "qwen3", 0.001), ("qwen3-Q8_0", "qwen3", 0.02)]
    {
        let weights = Weights::open_files(&[golden(&format!("gguf/{file}.gguf"))]).unwrap();
        let path = golden(&format!("text/{model}/model.safetensors"));
        let truth = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        assert_eq!(weights.names().count(), truth.len(), "{file}");
        for (name, truth) in truth {
            let name = name.strip_prefix("model.").unwrap_or(&name);
            let stored = weights.tensor(name, truth.dims()).unwrap();
            let widened = |x: Tensor| x.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>();
            let found = widened(stored.to_tensor(&Device::Cpu).unwrap()).unwrap();
            let truth = widened(truth).unwrap();
            let most = truth.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
            let off = found.iter().zip(&truth).fold(0.0_f32, |off, (a, b)| off.max((a - b).abs()));
            assert!(off <= tolerance * most, "{file}: {name} is off by {off} of {most}");
        }
    }
}

#[test]
fn a_file_cut_off_or_changed_anywhere_is_an_error_or_other_numbers() {
    let whole = std::fs::read(golden("gguf/qwen3-Q8_0.gguf")).unwrap();
    let header = whole.len() - 30_000;
    for length in (1..whole.len()).step_by(3) {
        refused(&whole[..length]);
    }
    for position in 0..header.min(6000) {
        for value in [0, 0xff, whole[position] ^ 1] {
            let mut bytes = whole.clone();
            bytes[position] = value;
            let Ok(weights) = open(&bytes) else { continue };
            for name in weights.names() {
                let shape = weights.tensors[name].shape().to_vec();
                let _ = weights.tensors[name].to_tensor(&Device::Cpu).map(|x| assert_eq!(x.dims(), shape));
            }
        }
    }
}

/// A file by its parts.
fn file(entries: &[Vec<u8>], tensors: &[Vec<u8>], data: usize) -> Vec<u8> {
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend((tensors.len() as u64).to_le_bytes());
    bytes.extend((entries.len() as u64 + 1).to_le_bytes());
    bytes.extend([text("general.architecture"), vec![8, 0, 0, 0], text("bert")].concat());
    bytes.extend(entries.concat());
    bytes.extend(tensors.concat());
    bytes.resize(bytes.len().next_multiple_of(32) + data, 0);
    bytes
}

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn info(name: &str, shape: &[u64], kind: u32, offset: u64) -> Vec<u8> {
    let mut bytes = [text(name), (shape.len() as u32).to_le_bytes().to_vec()].concat();
    bytes.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
    bytes.extend(kind.to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes
}

fn entry(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    [text(key), kind.to_le_bytes().to_vec(), value.to_vec()].concat()
}

#[test]
fn shapes_and_offsets_that_lie_are_errors() {
    open(&file(&[], &[info("a", &[4, 2], 0, 0), info("b", &[32], 8, 32)], 96)).unwrap();
    const BIG: u64 = 1 << 60;
    for (shape, kind, offset) in [
        (&[25][..], 0, 0),
        (&[BIG], 0, 0),
        (&[BIG, BIG], 0, 0),
        (&[u64::MAX], 0, 0),
        (&[1], 0, u64::MAX),
        (&[1], 0, u64::MAX - 31),
        (&[1], 0, 96),
        (&[1], 0, 1),
        (&[33], 8, 0),
        (&[BIG, 32], 8, 0),
        (&[1, 1, 1, 1, 1], 0, 0),
        (&[], 8, 0),
    ] {
        let outcome = std::panic::catch_unwind(|| refused(&file(&[], &[info("a", shape, kind, offset)], 96)));
        assert!(outcome.is_ok(), "{shape:?} of type {kind} at {offset}");
    }
    let overlapping = [info("a", &[16], 0, 0), info("b", &[4], 0, 32)];
    assert!(refused(&file(&[], &overlapping, 96)).message().contains("overlap"));
}

#[test]
fn metadata_that_lies_allocates_nothing() {
    let alignment = |value: u32| entry("general.alignment", 4, &value.to_le_bytes());
    for value in [0, 3, 33, u32::MAX] {
        assert!(refused(&file(&[alignment(value)], &[], 0)).message().contains("not a power of two"));
    }
    open(&file(&[alignment(64)], &[info("a", &[4], 0, 0)], 96)).unwrap();
    let array = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    for value in [array(0, u64::MAX), array(8, u64::MAX), array(12, 1 << 61), array(9, 1 << 60), array(13, 1)]
    {
        refused(&file(&[entry("a", 9, &value)], &[], 64));
    }
    let nested = array(9, 1).repeat(1000);
    assert!(refused(&file(&[entry("a", 9, &nested)], &[], 64)).message().contains("arrays in arrays"));
    refused(&file(&[entry("a", 8, &u64::MAX.to_le_bytes())], &[], 64));
    refused(&file(&[entry("a", 99, &[])], &[], 64));
    let counts = |tensors: u64, entries: u64| {
        [&b"GGUF\x03\0\0\0"[..], &tensors.to_le_bytes(), &entries.to_le_bytes(), &[0; 64]].concat()
    };
    for (tensors, entries) in [(u64::MAX, 0), (0, u64::MAX), (1 << 40, 1 << 40)] {
        refused(&counts(tensors, entries));
    }
    assert!(refused(&b"GGUF\x01\0\0\0".repeat(4)).message().contains("version 1"));
}

#[test]
fn what_is_not_known_is_named() {
    let mut bytes = file(&[], &[], 0);
    let at = bytes.windows(4).position(|part| part == b"bert").unwrap();
    bytes[at..at + 4].copy_from_slice(b"bort");
    let error = open(&bytes).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("architecture 'bort' is not supported; valid: bert, "), "{error}");
    let weights = open(&file(&[], &[info("a", &[4], 16, 0)], 96)).unwrap();
    let error = weights.tensor("a", &[4]).unwrap().to_tensor(&Device::Cpu).unwrap_err();
    assert!(error.message().contains("weights in ggml type 16 are not supported"), "{error}");
}

#[test]
fn metadata_is_read_by_key_and_type() {
    let array = |kind: u32, count: u64, values: &[u8]| {
        [&kind.to_le_bytes()[..], &count.to_le_bytes(), values].concat()
    };
    let tokens = [text("a"), text("größe"), vec![2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xfe]].concat();
    let scores: Vec<u8> = [0.5_f32, -1.0].iter().flat_map(|score| score.to_le_bytes()).collect();
    let entries = [
        entry("bert.block_count", 4, &7_u32.to_le_bytes()),
        entry("small", 1, &[0xff]),
        entry("eps", 6, &1e-5_f32.to_le_bytes()),
        entry("yes", 7, &[1]),
        entry("tokens", 9, &array(8, 3, &tokens)),
        entry("scores", 9, &array(6, 2, &scores)),
    ];
    let weights = open(&file(&entries, &[], 0)).unwrap();
    let metadata = weights.metadata().unwrap();
    assert_eq!((metadata.architecture(), metadata.whole("bert.block_count")), ("bert", Some(7)));
    assert_eq!((metadata.whole("small"), metadata.number("small")), (None, Some(-1.0)));
    assert_eq!(metadata.number("eps"), Some(f64::from(1e-5_f32)));
    assert_eq!((metadata.flag("yes"), metadata.whole("yes"), metadata.flag("eps")), (Some(true), None, None));
    assert_eq!(metadata.texts("tokens").unwrap(), [&b"a"[..], "größe".as_bytes(), &[0xff, 0xfe]]);
    assert_eq!(metadata.numbers("scores"), Some(vec![0.5, -1.0]));
    assert_eq!((metadata.texts("scores"), metadata.numbers("tokens")), (None, None));
    assert!(metadata.number("none").is_none() && metadata.text("eps").is_none());
}
