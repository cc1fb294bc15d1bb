use std::path::Path;

use super::*;
use ayni_kernels::Pool;

/// The tokenizer of the tiny models: words and letters between `[CLS]` (2) and `[SEP]` (3).
fn tiny() -> Tokenizer {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repositories/base");
    Tokenizer::of_model(&ModelFiles::in_folder(&folder).unwrap(), Cleaning::None)
        .unwrap()
        .with_window(16)
        .unwrap()
}

fn ids(text: &str) -> Vec<u32> {
    tiny().encode("", text).unwrap().ids
}

#[test]
fn special_tokens_stay_around_a_text_that_is_truncated() {
    let tiny = tiny();
    let cut = tiny.encode("", &"the road ".repeat(10)).unwrap();
    assert_eq!(cut.ids.len(), 16);
    assert_eq!((cut.ids[0], cut.ids[15]), (2, 3));
    assert!(cut.is_truncated);
    let whole = tiny.encode("", &"the road ".repeat(7)).unwrap();
    assert_eq!((whole.ids.len(), whole.is_truncated), (16, false));
    assert_eq!(tiny.count(&"the road ".repeat(10)).unwrap(), 22);
}

#[test]
fn empty_and_blank_texts_are_their_special_tokens() {
    for text in ["", "   ", "\t\n\u{a0}", "\u{0}\u{7}\u{200b}"] {
        assert_eq!(ids(text), [2, 3], "{text:?}");
    }
}

#[test]
fn emoji_and_scripts_from_right_to_left_are_tokens_like_others() {
    let unknown = 1;
    assert_eq!(ids("😀"), [2, unknown, 3]);
    assert_eq!(ids("مرحبا the عالم"), [2, unknown, 5, unknown, 3]);
    assert_eq!(ids("\u{202e}the\u{202c}"), [2, 5, 3]);
}

#[test]
fn a_prompt_is_encoded_with_its_text() {
    let tiny = tiny();
    assert_eq!(tiny.encode("the ", "road").unwrap(), tiny.encode("", "the road").unwrap());
    assert_eq!(tiny.prompt_length("the ").unwrap(), 2);
}

#[test]
fn lower_case_comes_before_everything_else() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"[UNK]": 0, "the": 1}, "unk_token": "[UNK]"},
        "pre_tokenizer": {"type": "Whitespace"}, "padding": {"strategy": {"Fixed": 9}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]"},
        "truncation": {"max_length": 1, "strategy": "LongestFirst", "stride": 0, "direction": "Right"}}"#;
    std::fs::write(folder.path().join("tokenizer.json"), json).unwrap();
    let files = ModelFiles::in_folder(folder.path()).unwrap();
    // Its own padding and truncation are nobody's wish.
    let encode = |cleaning| Tokenizer::of_model(&files, cleaning).unwrap().encode("", "The THE").unwrap().ids;
    assert_eq!(encode(Cleaning::None), [0, 0]);
    assert_eq!(encode(Cleaning::LowerCase), [1, 1]);
    assert_eq!(encode(Cleaning::Siglip), [1, 1]);
}

#[test]
fn many_texts_at_once_are_the_same_as_one_by_one() {
    let tiny = tiny();
    let texts: Vec<String> = (0..300).map(|i| "the road north ".repeat(i % 7)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = tiny.encode_all(&Pool::new(3), "the ", &texts).unwrap();
    for (text, found) in texts.iter().zip(all) {
        assert_eq!(found, tiny.encode("the ", text).unwrap());
    }
}

#[test]
fn texts_are_filled_up_only_for_models_trained_so() {
    let behind = tiny().with_padding(Padding { id: 9, is_left: false });
    let tokens = behind.encode("", "the").unwrap();
    assert_eq!(tokens.ids[..4], [2, 5, 3, 9]);
    assert_eq!(tokens.ids.len(), 16);
    let in_front = tiny().with_padding(Padding { id: 9, is_left: true });
    let tokens = in_front.encode("", "the").unwrap();
    assert_eq!(tokens.ids[11..], [9, 9, 2, 5, 3]);
    assert_eq!(tokens.ids.len(), 16);
    let long = "the road ".repeat(10);
    assert_eq!(in_front.encode("", &long).unwrap(), tiny().encode("", &long).unwrap());
}

#[test]
fn a_window_without_room_and_a_missing_tokenizer_are_errors() {
    assert_eq!(tiny().with_window(2).unwrap_err().kind(), ErrorKind::ModelLoad);
    let folder = tempfile::tempdir().unwrap();
    let files = ModelFiles::in_folder(folder.path()).unwrap();
    let error = Tokenizer::of_model(&files, Cleaning::None).unwrap_err();
    assert!(error.message().contains("save_pretrained"), "{error}");
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let error = Tokenizer::of_model(&files, Cleaning::None).unwrap_err();
    assert!(error.message().contains("tokenizer.json cannot be used"), "{error}");
}

#[test]
fn the_older_files_make_the_same_tokenizer() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repositories/base/tokenizer.json");
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(base).unwrap()).unwrap();
    let mut words: Vec<(&String, u64)> = json["model"]["vocab"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(word, id)| (word, id.as_u64().unwrap()))
        .collect();
    words.sort_by_key(|(_, id)| *id);
    let lines: Vec<&str> = words.iter().map(|(word, _)| word.as_str()).collect();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("vocab.txt"), lines.join("\n")).unwrap();
    let old = Tokenizer::of_model(&ModelFiles::in_folder(folder.path()).unwrap(), Cleaning::None).unwrap();
    let old = old.with_window(16).unwrap();
    for text in ["the road", "Supply, library!", "niño 😀", "漢字 the", ""] {
        assert_eq!(old.encode("", text).unwrap().ids, ids(text), "{text}");
    }
}

#[test]
fn byte_pairs_of_clip_are_read_from_their_older_files() {
    let folder = tempfile::tempdir().unwrap();
    let vocabulary =
        r#"{"a": 0, "b</w>": 1, "ab</w>": 2, "c</w>": 3, "<|startoftext|>": 4, "<|endoftext|>": 5}"#;
    std::fs::write(folder.path().join("vocab.json"), vocabulary).unwrap();
    std::fs::write(folder.path().join("merges.txt"), "#version: 0.2\na b</w>\n").unwrap();
    let clip = Tokenizer::of_model(&ModelFiles::in_folder(folder.path()).unwrap(), Cleaning::None).unwrap();
    let clip = clip.with_window(77).unwrap();
    assert_eq!(clip.encode("", "AB   c").unwrap().ids, [4, 2, 3, 5]);
}

#[test]
fn a_very_long_text_takes_no_more_than_its_length() {
    let tiny = tiny();
    let text = "the road ".repeat(12_000);
    let start = std::time::Instant::now();
    let tokens = tiny.encode("", &text).unwrap();
    assert_eq!((tokens.ids.len(), tokens.is_truncated), (16, true));
    // Generous: what takes the square of the length would take hours.
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}

/// A folder with some of the files of a tiny SigLIP's tokenizer, and what transformers makes of texts with it.
fn siglip(model: &str, names: &[&str]) -> (tempfile::TempDir, Vec<(String, Vec<u32>)>) {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/siglip").join(model);
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    let cases: Value = serde_json::from_slice(&std::fs::read(golden.join("cases.json")).unwrap()).unwrap();
    let case = |case: &Value| {
        let ids = serde_json::from_value(case["ids"].clone()).unwrap();
        (case["text"].as_str().unwrap().to_owned(), ids)
    };
    (folder, cases.as_array().unwrap().iter().map(case).collect())
}

/// The tokenizer of a folder, as the embedder of a SigLIP with this window sets it up.
fn of_siglip(folder: &Path, window: usize) -> Tokenizer {
    let files = ModelFiles::in_folder(folder).unwrap();
    let tokenizer = Tokenizer::of_model(&files, Cleaning::Siglip).unwrap();
    let padding = tokenizer.padding(&files).unwrap();
    tokenizer.with_window(window).unwrap().with_padding(padding)
}

fn assert_ids(tokenizer: &Tokenizer, cases: &[(String, Vec<u32>)]) {
    assert!(cases.len() > 10);
    for (text, truth) in cases {
        assert_eq!(&tokenizer.encode("", text).unwrap().ids, truth, "{text:?}");
    }
}

#[test]
fn the_unigrams_of_siglip_are_those_of_transformers_from_every_file_that_repositories_have() {
    let (old, cases) = siglip("siglip", &["spiece.model", "tokenizer_config.json"]);
    assert_ids(&of_siglip(old.path(), 16), &cases);
    let (new, cases) = siglip("siglip", &["tokenizer.json", "tokenizer_config.json"]);
    assert_ids(&of_siglip(new.path(), 16), &cases);
    // As a conversion that knows of sentencepiece only leaves it: without the steps that clean a text.
    let path = new.path().join("tokenizer.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let steps = json["normalizer"]["normalizers"].as_array_mut().unwrap();
    let count = steps.len();
    steps.drain(..steps.iter().position(|step| step["type"] == "Precompiled").unwrap());
    assert_eq!(count - steps.len(), 4);
    std::fs::write(&path, json.to_string()).unwrap();
    assert_ids(&of_siglip(new.path(), 16), &cases);
    let plain = Tokenizer::of_model(&ModelFiles::in_folder(new.path()).unwrap(), Cleaning::None).unwrap();
    assert_ne!(plain.encode("", "A CAT!").unwrap().ids, plain.encode("", "a cat").unwrap().ids);
}

/// Transformers' own puts one more token there; the models were trained on texts that were cleaned whole.
#[test]
fn what_siglip_does_not_read_leaves_nothing_at_the_beginning() {
    let (folder, _) = siglip("siglip", &["spiece.model", "tokenizer_config.json"]);
    let tokenizer = of_siglip(folder.path(), 16);
    for text in [" a cat", "- a cat", "\u{a0}a cat"] {
        assert_eq!(tokenizer.encode("", text).unwrap(), tokenizer.encode("", "a cat").unwrap(), "{text:?}");
    }
}

#[test]
fn the_byte_pairs_of_siglip_2_are_lower_case_and_fill_its_window_as_in_transformers() {
    let (folder, cases) = siglip("siglip2", &["tokenizer.json", "tokenizer_config.json"]);
    let tokenizer = of_siglip(folder.path(), 64);
    assert_ids(&tokenizer, &cases);
    let last = tokenizer.encode("", &cases.last().unwrap().0).unwrap();
    assert!(last.is_truncated && last.ids[63] == 1, "the end of text stays");
}

#[test]
fn the_side_that_is_filled_up_is_the_one_that_is_said_else_that_of_the_kind() {
    let (folder, _) = siglip("siglip2", &["tokenizer.json"]);
    let files = ModelFiles::in_folder(folder.path()).unwrap();
    let tokenizer = Tokenizer::of_model(&files, Cleaning::Siglip).unwrap();
    for (config, is_left) in [
        (r#"{"pad_token": "<pad>"}"#, false),
        (r#"{"pad_token": "<pad>", "tokenizer_class": "GemmaTokenizerFast"}"#, true),
        (r#"{"pad_token": "<pad>", "tokenizer_class": "GemmaTokenizer", "padding_side": "right"}"#, false),
        (r#"{"pad_token": {"content": "<pad>"}, "padding_side": "left"}"#, true),
    ] {
        std::fs::write(folder.path().join("tokenizer_config.json"), config).unwrap();
        assert_eq!(tokenizer.padding(&files).unwrap(), Padding { id: 0, is_left }, "{config}");
    }
}

#[test]
fn a_siglip_without_what_it_needs_says_what_is_missing() {
    let error = |names: &[&str], change: fn(&Path)| {
        let (folder, _) = siglip("siglip", names);
        change(folder.path());
        let files = ModelFiles::in_folder(folder.path()).unwrap();
        Tokenizer::of_model(&files, Cleaning::Siglip).and_then(|made| made.padding(&files)).unwrap_err()
    };
    let without_model = error(&["tokenizer_config.json"], |_| {});
    assert!(without_model.message().contains("tokenizer.json does not exist"), "{without_model}");
    let without_padding = error(&["tokenizer.json"], |_| {});
    assert!(without_padding.message().contains("names no `pad_token`"), "{without_padding}");
    let damaged = error(&["spiece.model", "tokenizer_config.json"], |folder| {
        std::fs::write(folder.join("spiece.model"), [0x0a, 200]).unwrap();
    });
    assert!(damaged.message().contains("spiece.model cannot be used: it is damaged"), "{damaged}");
}
