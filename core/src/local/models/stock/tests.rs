//! Candle's models against what transformers computes with the same small weights (`tests/golden/make/causal.py`), and
//! against themselves in other pieces and companies.

use serde_json::json;

use super::super::causal_tests::{Golden, difference, first_device, in_pieces, rows_of};
use super::super::{LoadOptions, causal_lm, check_causal_lm};
use super::*;
use crate::error::ErrorKind;

const ALL: &[&str] =
    &["gemma", "glm4", "helium", "mixtral", "olmo", "olmo2", "phi", "qwen2_moe", "stablelm", "starcoder2"];

/// The number of the text that is longer than a chunk.
const LONGEST: usize = 5;

fn all() -> impl Iterator<Item = (Golden, Box<dyn CausalLm>)> {
    ALL.iter().map(|family| {
        let golden = Golden::of(family);
        let model = golden.open(&first_device(), Storage::AsInFile);
        (golden, model)
    })
}

/// The logits after the last of some tokens that are added to a cache.
fn last(model: &dyn CausalLm, ids: &[u32], cache: &mut TextCache) -> Vec<f32> {
    let row = u32::try_from(ids.len() - 1).unwrap();
    let cached = Cached { caches: &mut [cache], decoding: 0 };
    model.logits(&Tokens::new([ids]), Some(cached), &[row]).unwrap().values().unwrap().into_owned()
}

/// The logits after a prompt that comes in pieces, and after each of some further tokens.
fn answer(model: &dyn CausalLm, ids: &[u32], piece: usize, decoded: usize) -> Vec<Vec<f32>> {
    let (prompt, rest) = ids.split_at(ids.len() - decoded);
    let (begin, end) = prompt.split_at((prompt.len() - 1) / piece * piece);
    let mut cache = model.new_cache(0).unwrap();
    for part in begin.chunks(piece) {
        let cached = Cached { caches: &mut [&mut cache], decoding: 0 };
        model.logits(&Tokens::new([part]), Some(cached), &[]).unwrap();
    }
    let first = last(model, end, &mut cache);
    [first].into_iter().chain(rest.iter().map(|id| last(model, &[*id], &mut cache))).collect()
}

#[test]
fn logits_are_those_of_transformers() {
    assert_eq!(types().collect::<Vec<_>>(), ALL);
    let mut too_far = Vec::new();
    for (golden, model) in all() {
        let (tokens, rows, truth) = golden.texts(usize::MAX);
        // Each token by itself, and the whole of a prompt at once, in chunks.
        let singly = difference(&rows_of(&*model, &tokens, &rows), &truth);
        let whole = difference(&answer(&*model, golden.text(LONGEST), 1000, 0), &truth[truth.len() - 1..]);
        // Written so that NaN is too far.
        if !(singly <= 1e-4 && whole <= 1e-4) {
            too_far.push((golden.family, singly, whole));
        }
    }
    assert_eq!(too_far, []);
}

#[test]
fn a_prompt_has_the_same_bits_in_any_pieces() {
    for (golden, model) in all() {
        let text = golden.text(LONGEST);
        let whole = answer(&*model, text, 1000, 4);
        for piece in [7, 100, 128, 200] {
            assert_eq!(answer(&*model, text, piece, 4), whole, "{} in pieces of {piece}", golden.family);
        }
        let short = &text[..20];
        assert_eq!(in_pieces(&*model, short, 20, 0), in_pieces(&*model, short, 3, 0), "{}", golden.family);
    }
}

#[test]
fn texts_together_have_the_bits_that_they_have_alone() {
    for (golden, model) in all() {
        let texts = [&golden.text(LONGEST)[..140], &golden.text(4)[..33], &golden.text(2)[..9]];
        let mut caches: Vec<TextCache> = texts.iter().map(|_| model.new_cache(0).unwrap()).collect();
        let mut together = |ids: [&[u32]; 3]| {
            let ends = ids.iter().scan(0, |end, ids| {
                *end += u32::try_from(ids.len()).unwrap();
                Some(*end - 1)
            });
            let rows: Vec<u32> = ends.collect();
            let mut all: Vec<&mut TextCache> = caches.iter_mut().collect();
            let cached = Cached { caches: &mut all, decoding: 0 };
            let logits = model.logits(&Tokens::new(ids), Some(cached), &rows).unwrap();
            logits.values().unwrap().chunks_exact(model.vocab_size()).map(<[f32]>::to_vec).collect::<Vec<_>>()
        };
        let found = [together(texts), together([&[5], &[6], &[7]])];
        for (text, (ids, next)) in texts.iter().zip([5, 6, 7]).enumerate() {
            let mut cache = model.new_cache(0).unwrap();
            let alone = [last(&*model, ids, &mut cache), last(&*model, &[next], &mut cache)];
            assert_eq!([&found[0][text], &found[1][text]], [&alone[0], &alone[1]], "{}", golden.family);
        }
    }
}

#[test]
fn a_text_that_is_cut_goes_on_as_if_nothing_had_been_there() {
    for (golden, model) in all() {
        let text = golden.text(LONGEST);
        let mut cache = model.new_cache(0).unwrap();
        last(&*model, &text[..200], &mut cache);
        let truth = last(&*model, &[9], &mut cache);
        last(&*model, &[11], &mut cache);
        for length in [200, 200] {
            cache.truncate(length);
            assert_eq!(cache.len(), length);
            assert_eq!(last(&*model, &[9], &mut cache), truth, "{}", golden.family);
        }
        // Another text with the same beginning, whose prompt goes on elsewhere.
        let mut fork = cache.fork(150, 300).unwrap();
        let mut alone = model.new_cache(0).unwrap();
        let whole = [&text[..150], &[9, 10, 11]].concat();
        assert_eq!(
            last(&*model, &[9, 10, 11], &mut fork),
            last(&*model, &whole, &mut alone),
            "{}",
            golden.family
        );
        assert!(!model.reuses() && !model.is_paged());
    }
}

#[test]
fn what_candle_does_not_compute_as_trained_is_refused_by_its_key() {
    for (family, key, value) in [
        ("olmo2", "clip_qkv", json!(3.0)),
        ("phi", "qk_layernorm", json!(true)),
        ("qwen2_moe", "use_sliding_window", json!(true)),
        ("stablelm", "use_parallel_residual", json!(true)),
        ("starcoder2", "tie_word_embeddings", json!(false)),
        ("gemma", "rope_scaling", json!({"rope_type": "yarn", "factor": 4.0})),
    ] {
        let mut golden = Golden::of(family);
        golden.config[key] = value;
        let error = check_causal_lm(&golden.config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported, "{family} {key}: {error}");
        assert!(error.message().contains(key), "{error}");
    }
    let golden = Golden::of("gemma");
    let quantised = LoadOptions { storage: Storage::Precision, ..LoadOptions::default() };
    let device = first_device().with_precision(Precision::Int8);
    let error = causal_lm(&golden.config, &golden.weights, &device, quantised).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
}

#[test]
fn damaged_models_are_errors() {
    for (key, value, found) in [
        ("num_attention_heads", json!(0), "heads"),
        ("num_key_value_heads", json!(3), "heads"),
        ("num_hidden_layers", json!(1), "layers"),
        ("num_hidden_layers", json!(3), "layers.2"),
        ("vocab_size", json!(61), "embed_tokens"),
        ("head_dim", json!("x"), "config.json"),
    ] {
        let mut golden = Golden::of("gemma");
        golden.config[key] = value;
        let error =
            causal_lm(&golden.config, &golden.weights, &first_device(), LoadOptions::default()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad, "{error}");
        assert!(error.message().contains(found), "{error}");
    }
    let mut golden = Golden::of("mixtral");
    golden.config["num_experts_per_tok"] = json!(9);
    let error = check_causal_lm(&golden.config).unwrap_err();
    assert!(error.message().contains("9 of 4 experts"), "{error}");
}

#[test]
fn windows_and_vocabularies_bound_texts() {
    let golden = Golden::of("starcoder2");
    let options = LoadOptions { window: Some(20), ..LoadOptions::default() };
    let model = causal_lm(&golden.config, &golden.weights, &first_device(), options).unwrap();
    let error = |ids: &[u32]| model.logits(&Tokens::new([ids]), None, &[]).unwrap_err().kind();
    assert_eq!(
        (model.window(), error(&[5; 21]), error(&[60])),
        (20, ErrorKind::ContextTooLong, ErrorKind::InvalidRequest)
    );
    let mut sliding = golden.config.clone();
    sliding["sliding_window"] = json!(30);
    let model = causal_lm(&sliding, &golden.weights, &first_device(), LoadOptions::default()).unwrap();
    assert_eq!(model.window(), 30, "candle's decoding forgets the window");
}
