use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::*;

/// Writes a safetensors file of tensors on the CPU.
pub(crate) fn write(path: &Path, tensors: &[(&str, &Tensor)]) {
    let named: HashMap<&str, Tensor> =
        tensors.iter().map(|(name, tensor)| (*name, (*tensor).clone())).collect();
    candle_core::safetensors::save(&named, path).unwrap();
}

fn numbers(count: usize) -> Tensor {
    Tensor::arange(0_f32, count as f32, &Device::Cpu).unwrap()
}

fn sharded(index: &str) -> (tempfile::TempDir, Result<Weights>) {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (numbers(6).reshape((2, 3)).unwrap(), numbers(4).to_dtype(DType::BF16).unwrap());
    write(&folder.path().join("model-00001-of-00002.safetensors"), &[("a", &a)]);
    write(&folder.path().join("model-00002-of-00002.safetensors"), &[("b", &b)]);
    std::fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    let weights = Weights::open(&ModelFiles::in_folder(folder.path()).unwrap());
    (folder, weights)
}

#[test]
fn shards_are_one_set_of_tensors() {
    let index = r#"{"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}"#;
    let (_folder, weights) = sharded(index);
    let weights = weights.unwrap();
    let read = weights.tensor("a", &[2, 3]).unwrap().to_tensor(&Device::Cpu).unwrap();
    assert_eq!(read.to_vec2::<f32>().unwrap(), [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]);
    let read = weights.tensor("b", &[4]).unwrap().to_tensor(&Device::Cpu).unwrap();
    assert_eq!((read.dtype(), weights.names().count()), (DType::BF16, 2));
}

#[test]
fn an_index_is_held_to_what_it_says_and_leads_nowhere_else() {
    let (_folder, missing) = sharded(r#"{"weight_map": {"c": "model-00001-of-00002.safetensors"}}"#);
    assert!(missing.unwrap_err().message().contains("no shard has the tensor `c`"));
    for shard in ["../model.safetensors", "/etc/passwd", "a/../../b", "C:\\x", ""] {
        let index = serde_json::json!({ "weight_map": { "a": shard } });
        let error = sharded(&index.to_string()).1.unwrap_err();
        assert!(error.message().contains("not a file of this folder"), "{error}");
    }
}

#[test]
fn a_missing_and_a_misshaped_tensor_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &[("a.weight", &numbers(6))]);
    let weights = Weights::open_files(&[path]).unwrap();
    let error = weights.tensor("b.weight", &[6]).unwrap_err();
    assert_eq!(error.message(), "the weights have no tensor `b.weight`");
    let error = weights.tensor("a.weight", &[2, 3]).unwrap_err();
    assert_eq!(error.message(), "`a.weight` is [6] in the weights, the model needs [2, 3]");
}

#[test]
fn a_file_cut_off_anywhere_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &[("a", &numbers(64))]);
    let whole = std::fs::read(&path).unwrap();
    for length in (0..whole.len()).step_by(7) {
        let cut = folder.path().join("cut.safetensors");
        std::fs::write(&cut, &whole[..length]).unwrap();
        assert_eq!(Weights::open_files(&[cut]).unwrap_err().kind(), ErrorKind::ModelLoad, "{length} bytes");
    }
}

#[test]
fn formats_are_known_by_their_first_bytes_whatever_the_name_says() {
    for (bytes, format) in [
        (&b"GGUF\x03\0\0\0\0\0\0\0"[..], FileFormat::Gguf),
        // With 123 tensors, which is a brace.
        (b"GGUF\x03\0\0\0{\0\0\0", FileFormat::Gguf),
        (b"PK\x03\x04\0\0\0\0{\"", FileFormat::Safetensors),
        (b"PK\x03\x04\0\0\0\0\0\0", FileFormat::Pickle),
        (pickle::LEGACY_MAGIC, FileFormat::Pickle),
        (b"\x80\x02\0\0\0\0\0\0{", FileFormat::Safetensors),
        (b"", FileFormat::Safetensors),
    ] {
        assert_eq!(FileFormat::of(bytes), format, "{bytes:?}");
    }
}
