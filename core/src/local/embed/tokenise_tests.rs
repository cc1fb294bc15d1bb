use std::path::Path;

use super::*;
use crate::local::kernels::Pool;

/// The tokenizer of the tiny models: words and letters between `[CLS]` (2) and `[SEP]` (3).
fn tiny() -> Tokeniser {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/repositories/base");
    Tokeniser::of_model(&ModelFiles::in_folder(&folder).unwrap(), false).unwrap().with_window(16).unwrap()
}

fn ids(text: &str) -> Vec<u32> {
    tiny().tokenise("", text).unwrap().ids
}

#[test]
fn special_tokens_stay_around_a_text_that_is_cut() {
    let tiny = tiny();
    let cut = tiny.tokenise("", &"the road ".repeat(10)).unwrap();
    assert_eq!(cut.ids.len(), 16);
    assert_eq!((cut.ids[0], cut.ids[15]), (2, 3));
    assert!(cut.is_cut);
    let whole = tiny.tokenise("", &"the road ".repeat(7)).unwrap();
    assert_eq!((whole.ids.len(), whole.is_cut), (16, false));
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
fn a_prompt_is_tokenised_with_its_text() {
    let tiny = tiny();
    assert_eq!(tiny.tokenise("the ", "road").unwrap(), tiny.tokenise("", "the road").unwrap());
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
    let tokenise = |lower| Tokeniser::of_model(&files, lower).unwrap().tokenise("", "The THE").unwrap().ids;
    assert_eq!(tokenise(false), [0, 0]);
    assert_eq!(tokenise(true), [1, 1]);
}

#[test]
fn many_texts_at_once_are_the_same_as_one_by_one() {
    let tiny = tiny();
    let texts: Vec<String> = (0..300).map(|i| "the road north ".repeat(i % 7)).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let all = tiny.tokenise_all(&Pool::new(3), "the ", &texts).unwrap();
    for (text, found) in texts.iter().zip(all) {
        assert_eq!(found, tiny.tokenise("the ", text).unwrap());
    }
}

#[test]
fn texts_are_filled_up_only_for_models_trained_so() {
    let tiny = tiny().with_padding(9);
    let tokens = tiny.tokenise("", "the").unwrap();
    assert_eq!(tokens.ids[..4], [2, 5, 3, 9]);
    assert_eq!(tokens.ids.len(), 16);
}

#[test]
fn a_window_without_room_and_a_missing_tokenizer_are_errors() {
    assert_eq!(tiny().with_window(2).unwrap_err().kind(), ErrorKind::ModelLoad);
    let folder = tempfile::tempdir().unwrap();
    let files = ModelFiles::in_folder(folder.path()).unwrap();
    let error = Tokeniser::of_model(&files, false).unwrap_err();
    assert!(error.message().contains("save_pretrained"), "{error}");
    std::fs::write(folder.path().join("tokenizer.json"), "{}").unwrap();
    let error = Tokeniser::of_model(&files, false).unwrap_err();
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
    let old = Tokeniser::of_model(&ModelFiles::in_folder(folder.path()).unwrap(), false).unwrap();
    let old = old.with_window(16).unwrap();
    for text in ["the road", "Supply, library!", "niño 😀", "漢字 the", ""] {
        assert_eq!(old.tokenise("", text).unwrap().ids, ids(text), "{text}");
    }
}

#[test]
fn byte_pairs_of_clip_are_read_from_their_older_files() {
    let folder = tempfile::tempdir().unwrap();
    let vocabulary =
        r#"{"a": 0, "b</w>": 1, "ab</w>": 2, "c</w>": 3, "<|startoftext|>": 4, "<|endoftext|>": 5}"#;
    std::fs::write(folder.path().join("vocab.json"), vocabulary).unwrap();
    std::fs::write(folder.path().join("merges.txt"), "#version: 0.2\na b</w>\n").unwrap();
    let clip = Tokeniser::of_model(&ModelFiles::in_folder(folder.path()).unwrap(), false).unwrap();
    let clip = clip.with_window(77).unwrap();
    assert_eq!(clip.tokenise("", "AB   c").unwrap().ids, [4, 2, 3, 5]);
}

#[test]
fn a_very_long_text_takes_no_more_than_its_length() {
    let tiny = tiny();
    let text = "the road ".repeat(12_000);
    let start = std::time::Instant::now();
    let tokens = tiny.tokenise("", &text).unwrap();
    assert_eq!((tokens.ids.len(), tokens.is_cut), (16, true));
    // Generous: what takes the square of the length would take hours.
    assert!(start.elapsed() < std::time::Duration::from_secs(30), "{:?}", start.elapsed());
}
