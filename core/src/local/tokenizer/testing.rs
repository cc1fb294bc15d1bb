//! GGUF metadata and tokenizers for tests.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::ChatTokenizer;
use crate::error::Result;
use crate::local::weights::{Metadata, Weights};

/// A file of the golden chat folder.
pub(crate) fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/chat").join(name)
}

/// A JSON file of the golden chat folder.
pub(crate) fn golden_json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(name)).unwrap()).unwrap()
}

/// The metadata of a GGUF file with these entries and no tensors.
pub(crate) fn metadata(entries: &Value) -> Result<Metadata> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.gguf");
    let entries = entries.as_object().unwrap();
    let mut bytes = b"GGUF".to_vec();
    bytes.extend(3_u32.to_le_bytes());
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend((entries.len() as u64 + 1).to_le_bytes());
    put_text(&mut bytes, "general.architecture");
    put(&mut bytes, &Value::from("qwen3"));
    for (key, value) in entries {
        put_text(&mut bytes, key);
        put(&mut bytes, value);
    }
    bytes.resize(bytes.len().next_multiple_of(32), 0);
    std::fs::write(&path, bytes).unwrap();
    Ok(Weights::open_files(&[path])?.metadata().unwrap().clone())
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// Texts, flags, whole numbers as u32, others as f32, and lists of one of them.
fn put(bytes: &mut Vec<u8>, value: &Value) {
    bytes.extend(kind(value).to_le_bytes());
    if let Value::Array(items) = value {
        bytes.extend(items.first().map_or(4, kind).to_le_bytes());
        bytes.extend((items.len() as u64).to_le_bytes());
    }
    put_value(bytes, value);
}

fn kind(value: &Value) -> u32 {
    match value {
        Value::Bool(_) => 7,
        Value::Array(_) => 9,
        Value::Number(number) if number.is_u64() => 4,
        Value::Number(_) => 6,
        _ => 8,
    }
}

fn put_value(bytes: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Bool(flag) => bytes.push((*flag).into()),
        Value::Array(items) => items.iter().for_each(|item| put_value(bytes, item)),
        Value::Number(number) if number.is_u64() => {
            bytes.extend(u32::try_from(number.as_u64().unwrap()).unwrap().to_le_bytes());
        }
        Value::Number(number) => bytes.extend((number.as_f64().unwrap() as f32).to_le_bytes()),
        other => put_text(bytes, other.as_str().unwrap()),
    }
}

/// A byte-level tokenizer of the golden vocabulary with further control tokens at its end and this chat template.
pub(crate) fn byte_level(control: &[&str], template: &str) -> ChatTokenizer {
    let golden = golden_json("bpe.json");
    let (mut tokens, mut types) = (golden["tokens"].clone(), golden["types"].clone());
    for token in control {
        tokens.as_array_mut().unwrap().push((*token).into());
        types.as_array_mut().unwrap().push(3.into());
    }
    let entries = serde_json::json!({
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": types, "tokenizer.ggml.merges": golden["merges"],
        "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.add_bos_token": false,
        "tokenizer.chat_template": template,
    });
    ChatTokenizer::from_gguf(&metadata(&entries).unwrap()).unwrap()
}
