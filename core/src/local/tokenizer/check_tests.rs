use std::path::Path;

use serde_json::json;

use super::*;

/// A small BPE with merges.
fn bpe() -> Value {
    json!({
        "version": "1.0",
        "added_tokens": [{"id": 4, "content": "<s>", "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ]},
        "pre_tokenizer": {"type": "Split", "pattern": {"Regex": "\\p{N}{1,3}|\\x{3040}|\\s+"}, "behavior": "Isolated"},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}},
        "decoder": {"type": "ByteLevel"},
        "model": {"type": "BPE", "continuing_subword_prefix": "##", "vocab": {"a": 0, "##b": 1, "ab": 2, "▁": 3},
            "merges": ["#version: 0.2", "a ##b"]},
    })
}

/// The file with something else at a place.
fn with(pointer: &str, value: Value) -> Value {
    let mut file = bpe();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match file.pointer_mut(parent).unwrap() {
        Value::Object(fields) => drop(fields.insert(name.to_owned(), value)),
        Value::Array(list) => list[name.parse::<usize>().unwrap()] = value,
        _ => panic!("{pointer}"),
    }
    file
}

fn verdict(file: &Value) -> Result<u32, String> {
    check(file.to_string().as_bytes())
}

#[test]
fn published_forms_pass() {
    assert_eq!(verdict(&bpe()), Ok(3));
    assert_eq!(verdict(&with("/model/merges", json!([["a", "##b"]]))), Ok(3));
    let unigram = json!({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]});
    assert_eq!(verdict(&with("/model", unigram)), Ok(1));
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    for file in ["repositories/base", "siglip/siglip", "siglip/siglip2"] {
        let json = std::fs::read(golden.join(file).join("tokenizer.json")).unwrap();
        assert!(check(&json).is_ok(), "{file}: {:?}", check(&json));
    }
}

/// Each of them makes the crate panic, recurse without bound, or take memory and time without bound.
#[test]
fn what_ends_the_process_or_holds_it_is_refused() {
    let template = |single: Value| with("/post_processor/single", single);
    let special = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
    let text = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
    let step = |step: Value| with("/normalizer/normalizers/1", step);
    let replace = |pattern: &str, content: &str| json!({"type": "Replace", "pattern": {"String": pattern}, "content": content});
    let doubling = vec![replace("a", "aa"); 12];
    let nested = (0..200).fold(json!(null), |inner, _| json!([inner]));
    for (file, says) in [
        (json!({}), "missing field `model`"),
        (with("/decoder", nested), "recursion limit"),
        (step(json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})), "cut off"),
        (step(json!({"type": "Precompiled", "precompiled_charsmap": 5})), "not a text"),
        (step(json!({"type": "Sequence", "normalizers": doubling})), "times longer"),
        (step(json!({"type": "Sequence", "normalizers": vec![json!({"type": "NFC"}); 3000]})), "64 steps"),
        (
            with(
                "/pre_tokenizer",
                json!({"type": "Sequence", "pretokenizers": vec![json!({"type": "Digits"}); 3000]}),
            ),
            "64 steps",
        ),
        (
            with("/post_processor", json!({"processors": vec![json!({"type": "ByteLevel"}); 3000]})),
            "64 post-processors",
        ),
        (step(replace("", "a")), "a pattern is empty"),
        (step(replace("a", &"a".repeat(300))), "times longer"),
        (
            step(json!({"type": "Replace", "pattern": {"Regex": "x*"}, "content": "y".repeat(300)})),
            "times longer",
        ),
        (step(json!({"type": "Prepend", "prepend": "x".repeat(65)})), "prepends"),
        (with("/pre_tokenizer", json!({"type": "FixedLength", "length": 0})), "`length` 0"),
        (
            with(
                "/pre_tokenizer",
                json!({"type": "Sequence", "pretokenizers": [{"type": "FixedLength", "length": 0}]}),
            ),
            "`length` 0",
        ),
        (with("/pre_tokenizer/pattern", json!({"Regex": "(?=((a{500}){500}){500})"})), "repeats"),
        (with("/model/merges", json!(["a a"])), "merge 0"),
        (with("/model/merges", json!(["a x"])), "merge 0"),
        (with("/model/merges", json!([["a", "##b"], ["ab", "##b"]])), "merge 1"),
        (with("/model/merges", json!(["ab"])), "a merge of one part"),
        (with("/model/merges", json!([["a", "b", "c"]])), "not of two parts"),
        (with("/model/continuing_subword_prefix", json!("####")), "merge 1"),
        (with("/model/continuing_subword_prefix", json!("#".repeat(65))), "`continuing_subword_prefix`"),
        (with("/model/end_of_word_suffix", json!("x".repeat(65))), "`end_of_word_suffix`"),
        (with("/model/max_input_chars_per_word", json!(1_000_000)), "`max_input_chars_per_word`"),
        (with("/model/dropout", json!(0.5)), "`dropout`"),
        (with("/model/vocab/a", json!(u32::MAX)), "the id 4294967295"),
        (with("/model/vocab", json!({"x".repeat(1025): 0})), "a token has 1025 bytes"),
        (with("/added_tokens/0/content", json!("x".repeat(1025))), "a token has 1025 bytes"),
        (with("/model/vocab", json!({"a": -1})), "invalid value"),
        (template(json!([special("<s>")])), "does not hold one text"),
        (template(json!([text("A"), text("A")])), "does not hold one text"),
        (template(json!([text("B")])), "does not hold one text"),
        (template(json!([text("A"), special("</s>")])), "names a special token"),
        (
            with(
                "/post_processor/special_tokens",
                json!({"<s>": {"id": "<s>", "ids": [4, 4], "tokens": ["<s>"]}}),
            ),
            "names",
        ),
        (
            with(
                "/post_processor",
                json!({"type": "Sequence", "processors": [bpe()["post_processor"], bpe()["post_processor"]]}),
            ),
            "more than one",
        ),
        (with("/post_processor", json!({"processors": [{"processors": []}]})), "nested"),
    ] {
        let error = verdict(&file).unwrap_err();
        assert!(error.contains(says), "{says}: {error}");
    }
    let base = bpe().to_string();
    assert!(check(&base.as_bytes()[..base.len() - 1]).is_err());
    assert!(check(b"\xff").is_err());
}
