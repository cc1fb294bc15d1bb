//! The real all-MiniLM-L6-v2 against sentence-transformers: 200 sentences in 8 languages. `make models` fetches it.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;

use ayni::Embedder as _;
use ayni::config::open_embedder_with;
use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::{AnyEmbedder, Context, EmbedRequest, EmbedderConfig, Environment, Setup};
use ayni_testkit::real_models::all_minilm;

const WIDTH: usize = 384;

fn config(precision: &str) -> LocalEmbedderConfig {
    let mut config = LocalEmbedderConfig::new(all_minilm().to_str().unwrap());
    config.source.precision = Some(precision.to_owned());
    config.source.device = Some("cpu".to_owned());
    config
}

fn golden() -> (Vec<String>, Vec<f32>) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/sentences");
    let texts = std::fs::read_to_string(folder.join("texts.txt")).unwrap();
    let vectors = std::fs::read(folder.join("vectors.bin")).unwrap();
    let vectors =
        vectors.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();
    (texts.lines().map(str::to_owned).collect(), vectors)
}

/// Both have unit length.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}

/// How near every `step`-th sentence is to its reference, the furthest first.
async fn cosines(precision: &str, step: usize) -> Vec<f64> {
    let (texts, truth) = golden();
    assert_eq!((texts.len(), truth.len()), (200, 200 * WIDTH));
    let embedder = AnyEmbedder::new(LocalEmbedder::open(&config(precision), &Environment::empty()).unwrap());
    let some = texts.iter().step_by(step).cloned();
    let response = embedder.embed(&Context::new(), EmbedRequest::texts(some)).await.unwrap();
    assert_eq!(response.vectors.width(), WIDTH);
    assert_eq!(embedder.space().dimensions, Some(WIDTH));
    assert!(embedder.space().normalised);
    let truth = truth.chunks_exact(WIDTH).step_by(step);
    let mut cosines: Vec<f64> =
        response.vectors.iter().zip(truth).map(|(found, truth)| cosine(found, truth)).collect();
    cosines.sort_by(f64::total_cmp);
    cosines
}

#[tokio::test]
async fn two_hundred_sentences_are_those_of_sentence_transformers() {
    let cosines = cosines("f32", 1).await;
    assert!(cosines[0] >= 0.99999, "{}", cosines[0]);
}

#[tokio::test]
async fn bf16_stays_within_its_bar() {
    let cosines = cosines("bf16", 3).await;
    assert!(cosines[0] >= 0.9995, "{}", cosines[0]);
}

#[tokio::test]
async fn int8_stays_within_its_bar() {
    let cosines = cosines("int8", 1).await;
    assert!(cosines[0] >= 0.995, "{}", cosines[0]);
}

/// Few tokens, over which few errors cancel.
#[tokio::test]
async fn int8_stays_within_its_bar_on_texts_of_one_character() {
    let letters = "ñéßøабвяאבग中あ한ا½…）【€";
    let texts: Vec<String> = ('!'..='~').chain(letters.chars()).map(String::from).collect();
    let mut vectors = Vec::new();
    for precision in ["f32", "int8"] {
        let embedder =
            AnyEmbedder::new(LocalEmbedder::open(&config(precision), &Environment::empty()).unwrap());
        let response = embedder.embed(&Context::new(), EmbedRequest::texts(texts.clone())).await.unwrap();
        vectors.push(response.vectors);
        // Beside longer texts they have the same bits.
        let long = "Adquisición de ambulancias y equipamiento médico para el hospital regional.";
        let mixed = texts.iter().take(5).map(String::as_str).flat_map(|text| [text, long]);
        let mixed = embedder.embed(&Context::new(), EmbedRequest::texts(mixed)).await.unwrap().vectors;
        let alone = vectors.last().unwrap();
        assert!((0..5).all(|at| mixed.get(2 * at) == alone.get(at)), "{precision}");
    }
    for (text, (exact, found)) in texts.iter().zip(vectors[0].iter().zip(&vectors[1])) {
        let cosine = cosine(exact, found);
        assert!(cosine >= 0.995, "{text}: {cosine}");
    }
}

#[tokio::test]
async fn strange_texts_make_vectors_too() {
    let embedder = LocalEmbedder::open(&config("auto"), &Environment::empty()).unwrap();
    embedder.ready(&Context::new()).await.unwrap();
    let (_, tokens) = (embedder.window().unwrap(), |text: &str| embedder.count_tokens(None, text).unwrap());
    assert_eq!(embedder.window().unwrap(), 256);
    assert_eq!((tokens(""), tokens("hello world")), (2, 4));
    let long = "palabra ".repeat(12_500);
    assert!(tokens(&long) > 12_500);
    let embedder = AnyEmbedder::new(embedder);
    let texts = ["", "   ", "😀👩‍👩‍👧", "שלום עולם", "\u{0}\u{1}\u{7f}\u{202e}", "\u{fffd}", &long];
    let response = embedder.embed(&Context::new(), EmbedRequest::texts(texts)).await.unwrap();
    assert_eq!(response.truncated, [6]);
    for vector in &response.vectors {
        assert!((cosine(vector, vector) - 1.0).abs() < 1e-5);
    }
    assert_eq!(response.vectors.get(0), response.vectors.get(1), "nothing is nothing");
}

#[tokio::test]
async fn an_application_s_variables_open_it() {
    let env = Environment::from_pairs([
        ("EMBEDDING_PROVIDER", "local"),
        ("EMBEDDING_MODEL", all_minilm().to_str().unwrap()),
    ]);
    let setup = Setup::<EmbedderConfig>::from_env_with(&env).unwrap();
    let embedder: AnyEmbedder = open_embedder_with(setup, &env).unwrap();
    let vector = embedder.embed_text(&Context::new(), "hola").await.unwrap();
    let one_line = ayni::embedder(&Context::new(), all_minilm().to_str().unwrap()).await.unwrap();
    assert_eq!(one_line.embed_text(&Context::new(), "hola").await.unwrap(), vector);
    assert_eq!(&*one_line.info().backend, "local");
    let device = one_line.info().device.clone().unwrap();
    assert!(&*device == "cpu" || device.starts_with("cuda:"));
}

/// What a service wants to know: that meaning decides, not words.
#[tokio::test]
async fn what_means_the_same_is_near() {
    let embedder: LocalEmbedder = LocalEmbedder::open(&config("auto"), &Environment::empty()).unwrap();
    let embedder = AnyEmbedder::new(embedder);
    let texts = ["a cat sits on the mat", "there is a kitten on the rug", "the stock market fell sharply"];
    let response = embedder.embed(&Context::new(), EmbedRequest::texts(texts)).await.unwrap();
    let near = |a, b| cosine(response.vectors.get(a).unwrap(), response.vectors.get(b).unwrap());
    assert!(near(0, 1) > near(0, 2) + 0.3, "{} {}", near(0, 1), near(0, 2));
}
