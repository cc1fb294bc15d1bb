use serde_json::{Value, json};

use super::super::testing::{byte_level, golden, golden_json, metadata};
use super::*;
use crate::error::ErrorKind;
use crate::local::weights::Weights;

/// The upper half of FNV-1a over the ids, as the golden files have it.
fn hash(ids: &[u32]) -> String {
    let hash = ids.iter().flat_map(|id| id.to_le_bytes()).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{:08x}", hash >> 32)
}

fn texts() -> Vec<String> {
    serde_json::from_value(golden_json("texts.json")).unwrap()
}

/// The texts of users: control tokens in them are spelled out, as the references were told.
fn encode(tokenizer: &ChatTokenizer, text: &str) -> Vec<u32> {
    const GUARD: char = '\u{FDD0}';
    let control = tokenizer.added().iter().filter(|token| token.is_control).map(|token| token.text.as_str());
    let guarding = super::super::Guarding::new(control).unwrap();
    tokenizer.encode_text(&guarding.guard(text, GUARD), Some(GUARD)).unwrap()
}

/// Compares every text with the reference, or every fourth.
fn compare(tokenizer: &ChatTokenizer, expected: &Value, name: &str, part: Option<usize>) {
    let texts = texts();
    let expected = expected.as_array().unwrap();
    assert_eq!((texts.len(), expected.len()), (2000, 2000));
    let wrong: Vec<_> = texts
        .iter()
        .zip(expected)
        .enumerate()
        .filter(|(at, _)| part.is_none_or(|part| at % 4 == part % 4))
        .filter_map(|(_, (text, expected))| {
            let ids = encode(tokenizer, text);
            (hash(&ids) != *expected).then_some((text, ids))
        })
        .collect();
    assert!(wrong.is_empty(), "{name}: {} texts differ: {:?}", wrong.len(), &wrong[..wrong.len().min(3)]);
}

/// Every text comes back from its tokens, whether they come one by one or not.
fn round_trip(tokenizer: &ChatTokenizer) {
    for text in texts() {
        let mut decoder = tokenizer.decoder();
        let ids = encode(tokenizer, &text);
        let mut decoded: String = ids.iter().map(|id| decoder.push(*id)).collect();
        decoded.push_str(&decoder.finish());
        assert_eq!(decoded, text, "{ids:?}");
        let bytes: Vec<u8> = ids.iter().flat_map(|id| tokenizer.bytes_of(*id).to_vec()).collect();
        assert_eq!(String::from_utf8_lossy(&bytes).strip_prefix(' ').unwrap_or(&text).trim(), text.trim());
    }
}

#[test]
fn byte_pairs_with_each_pre_tokenizer_are_those_of_the_reference() {
    let golden = golden_json("bpe.json");
    let hashes = golden["hashes"].as_object().unwrap();
    assert_eq!(hashes.len(), 29);
    for (at, (pre, expected)) in hashes.iter().enumerate().filter(|(_, (pre, _))| *pre != "tokenizer.json") {
        let entries = json!({
            "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": pre, "tokenizer.ggml.tokens": golden["tokens"],
            "tokenizer.ggml.token_type": golden["types"], "tokenizer.ggml.merges": golden["merges"],
            "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.add_bos_token": false,
        });
        let tokenizer = ChatTokenizer::from_gguf(&metadata(&entries).unwrap()).unwrap();
        // Those of the models that are run most are compared whole.
        let is_common = ["smollm", "llama-bpe", "qwen2", "gpt-4o", "tekken"].contains(&pre.as_str());
        compare(&tokenizer, expected, pre, if is_common { None } else { Some(at) });
    }
}

#[test]
fn a_folder_gives_the_ids_of_the_reference() {
    let tokenizer = ChatTokenizer::from_files(&ModelFiles::in_folder(&golden("bpe")).unwrap()).unwrap();
    compare(&tokenizer, &golden_json("bpe.json")["hashes"]["tokenizer.json"], "tokenizer.json", None);
    round_trip(&tokenizer);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(0), Some(2)));
    assert_eq!(tokenizer.ends(), [0, 2]);
    assert_eq!(tokenizer.templates().default.as_deref(), Some("{{ messages }}"));
    assert_eq!(tokenizer.bytes_of(1), b"<|im_start|>");
    assert!(tokenizer.bytes_of(u32::MAX).is_empty());
}

#[test]
fn scored_byte_pairs_are_those_of_both_references() {
    let weights = Weights::open_files(&[golden("spm.gguf")]).unwrap();
    let tokenizer = ChatTokenizer::from_gguf(weights.metadata().unwrap()).unwrap();
    let golden = golden_json("spm.json");
    compare(&tokenizer, &golden["hashes"]["llama.cpp"], "llama.cpp", None);
    round_trip(&tokenizer);
    let templates = tokenizer.templates();
    assert_eq!(templates.default.as_deref(), Some("{{ messages[0].content }}"));
    assert_eq!(templates.named, [("tool_use".to_owned(), "{{ tools }}".to_owned())]);
}

#[test]
fn unigrams_are_those_of_the_reference() {
    use base64::Engine as _;
    let golden = golden_json("unigram.json");
    let table =
        base64::engine::general_purpose::STANDARD.decode(golden["charsmap"].as_str().unwrap()).unwrap();
    let entries = json!({
        "tokenizer.ggml.model": "t5", "tokenizer.ggml.tokens": golden["tokens"], "tokenizer.ggml.scores": golden["scores"],
        "tokenizer.ggml.token_type": golden["types"], "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.unknown_token_id": 0,
        "tokenizer.ggml.precompiled_charsmap": table, "tokenizer.ggml.remove_extra_whitespaces": true,
    });
    let tokenizer = ChatTokenizer::from_gguf(&metadata(&entries).unwrap()).unwrap();
    compare(&tokenizer, &golden["hashes"]["sentencepiece"], "sentencepiece", None);
}

#[test]
fn the_first_token_is_never_doubled() {
    let golden = golden_json("bpe.json");
    let mut entries = json!({
        "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": golden["tokens"],
        "tokenizer.ggml.token_type": golden["types"], "tokenizer.ggml.merges": golden["merges"],
        "tokenizer.ggml.bos_token_id": 0, "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.add_bos_token": true,
    });
    let with = ChatTokenizer::from_gguf(&metadata(&entries).unwrap()).unwrap();
    entries["tokenizer.ggml.add_bos_token"] = false.into();
    let without = ChatTokenizer::from_gguf(&metadata(&entries).unwrap()).unwrap();
    for (text, is_there) in [("a", false), ("<|endoftext|>a", true), ("<|endoftext|><|endoftext|>a", true)] {
        for prompt in [Prompt::completion(text), Prompt::chat(text, None)] {
            let found = with.encode(&prompt).unwrap();
            assert_eq!(found.iter().filter(|id| **id == 0).count(), 1, "{text}");
            assert_eq!(found[0], 0);
            let found = without.encode(&prompt).unwrap();
            assert_eq!(found.iter().filter(|id| **id == 0).count(), usize::from(is_there), "{text}");
        }
    }
}

#[test]
fn every_token_that_ends_answers_is_known() {
    let harmony = byte_level(&["<|start|>", "<|end|>", "<|return|>", "<|call|>"], "");
    let id = |text: &str| harmony.added().iter().find(|token| token.text == text).unwrap().id;
    assert!(harmony.is_end(id("<|return|>")) && harmony.is_end(id("<|call|>")) && harmony.is_end(2));
    assert!(!harmony.is_end(id("<|end|>")) && !harmony.is_end(id("<|start|>")) && !harmony.is_end(u32::MAX));
    let phi = byte_level(&["<|end|>", "<|user|>"], "");
    let id = |text: &str| phi.added().iter().find(|token| token.text == text).unwrap().id;
    assert!(phi.is_end(id("<|end|>")) && !phi.is_end(id("<|user|>")));
}

#[test]
fn control_tokens_are_no_text_but_those_that_mark_calls_are() {
    let tokenizer = byte_level(&["<|weird|>", "[TOOL_CALLS]"], "");
    let mut decoder = tokenizer.decoder();
    let ids = tokenizer.encode(&Prompt::completion("a<|weird|>[TOOL_CALLS]b")).unwrap();
    let text: String = ids.into_iter().map(|id| decoder.push(id)).collect();
    assert_eq!(text, "a[TOOL_CALLS]b");
}

#[test]
fn damaged_and_unknown_vocabularies_are_refused() {
    let tokens = json!(["a", "b", "ab"]);
    for (entries, kind, says) in [
        (json!({}), ErrorKind::ModelLoad, "it has no `tokenizer.ggml.tokens`"),
        (json!({ "tokenizer.ggml.tokens": [] }), ErrorKind::ModelLoad, "no `tokenizer.ggml.tokens`"),
        (json!({ "tokenizer.ggml.tokens": tokens }), ErrorKind::ModelLoad, "it has none"),
        (
            json!({ "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.model": "rwkv" }),
            ErrorKind::Unsupported,
            "tokenizer 'rwkv' is not supported; valid: gpt2, llama, t5",
        ),
        (
            json!({ "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "new" }),
            ErrorKind::Unsupported,
            "pre-tokenizer 'new' is not supported",
        ),
        (
            json!({ "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.merges": ["ab"] }),
            ErrorKind::ModelLoad,
            "a merge has no two parts",
        ),
        (
            json!({ "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.model": "llama" }),
            ErrorKind::ModelLoad,
            "no `tokenizer.ggml.scores`",
        ),
        (
            json!({ "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.model": "llama", "tokenizer.ggml.scores": [0.5] }),
            ErrorKind::ModelLoad,
            "1 scores for 3 tokens",
        ),
        (
            json!({
                "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.model": "t5",
                "tokenizer.ggml.scores": [0.5, 0.5, 0.5], "tokenizer.ggml.unknown_token_id": 7,
            }),
            ErrorKind::ModelLoad,
            "cannot be used",
        ),
        (
            json!({
                "tokenizer.ggml.tokens": ["a", "b".repeat(5000)], "tokenizer.ggml.model": "t5",
                "tokenizer.ggml.scores": [0.5, 0.5],
            }),
            ErrorKind::ModelLoad,
            "longer than 1024 bytes",
        ),
        (
            json!({
                "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.model": "t5",
                "tokenizer.ggml.scores": [0.5, 0.5, 0.5], "tokenizer.ggml.precompiled_charsmap": [255, 255, 255, 255],
            }),
            ErrorKind::ModelLoad,
            "cannot be used",
        ),
    ] {
        let error = ChatTokenizer::from_gguf(&metadata(&entries).unwrap()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.message().contains(says), "{error}");
    }
}
