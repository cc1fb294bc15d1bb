//! A local model and hosted ones stand in for each other only in one space; a precision is measured against f32.
//! `make models` fetches the model.
#![cfg(feature = "candle")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::PathBuf;

use ayni::backends::huggingface::HuggingFaceConfig;
use ayni::config::open_embedder_with;
use ayni::local::{LocalEmbedder, LocalEmbedderConfig};
use ayni::{
    AnyEmbedder, Context, EmbedderConfig, EmbeddingSpace, Environment, Error, ErrorKind, Pooling, Result,
    Setup,
};

const ID: &str = "sentence-transformers/all-MiniLM-L6-v2";

/// Where `make models` puts the model.
fn folder() -> PathBuf {
    let cache = std::env::var_os("AYNI_CACHE").map(PathBuf::from);
    let home = || std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let default = || std::env::home_dir().expect("a home folder").join(".cache");
    let cache = cache.unwrap_or_else(|| home().unwrap_or_else(default).join("ayni"));
    let folder = cache.join("models/all-minilm-l6-v2");
    assert!(
        folder.join("model.safetensors").is_file(),
        "{} is not there: run `make models`",
        folder.display()
    );
    folder
}

fn local() -> LocalEmbedderConfig {
    LocalEmbedderConfig::new(folder().to_str().unwrap()).with_device("cpu")
}

fn hosted() -> HuggingFaceConfig {
    HuggingFaceConfig::new(ID).with_api_key("hf_test")
}

fn open(local: LocalEmbedderConfig, hosted: HuggingFaceConfig) -> Result<AnyEmbedder> {
    let setup = Setup::<EmbedderConfig>::new(local).with_fallback(hosted);
    open_embedder_with(setup, &Environment::empty())
}

fn refused(local: LocalEmbedderConfig, hosted: HuggingFaceConfig) -> Error {
    let error = open(local, hosted).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConfigInvalid, "{error}");
    error
}

#[test]
fn a_hosted_model_stands_in_for_the_same_local_one() {
    let both = open(local().with_space(EmbeddingSpace::new(ID)), hosted()).unwrap();
    assert_eq!(both.space().dimensions, Some(384));
    assert_eq!(both.space().pooling, Some(Pooling::Mean));
    let pinned = EmbeddingSpace::new(ID).with_revision("1110a243".to_owned());
    let mut declared = hosted();
    declared.space = Some(pinned.clone());
    open(local().with_space(pinned), declared).unwrap();
}

#[test]
fn a_local_model_stands_in_for_the_same_hosted_one() {
    let setup =
        Setup::<EmbedderConfig>::new(hosted()).with_fallback(local().with_space(EmbeddingSpace::new(ID)));
    let both = open_embedder_with(setup, &Environment::empty()).unwrap();
    assert_eq!(both.space().dimensions, Some(384), "the hosted one is held to the width of the model");
}

#[test]
fn spaces_that_differ_are_refused_by_the_names_of_their_fields() {
    let named = || EmbeddingSpace::new(ID);
    assert!(
        refused(local(), hosted()).message().contains("differ in `model`"),
        "a folder's name is no model"
    );
    let error = refused(local().with_space(named().with_revision("a".to_owned())), hosted());
    assert!(error.message().contains("differ in `revision`"), "{error}");
    let error = refused(local().with_space(named()).with_dimensions(128), hosted());
    assert!(error.message().contains("differ in `dimensions`"), "{error}");
    let error = refused(local().with_space(named()), hosted().with_pooling(Pooling::Cls));
    assert!(error.message().contains("differ in `pooling`"), "{error}");
}

#[test]
fn what_is_declared_must_agree_with_the_files() {
    let named = || EmbeddingSpace::new(ID);
    for (space, field) in [
        (named().with_pooling(Pooling::Cls), "`pooling`"),
        (named().with_normalised(false), "`normalised`"),
        (named().with_dimensions(768), "`dimensions`"),
        (named().with_prompt_set("query".to_owned()), "`prompt_set`"),
    ] {
        let error = refused(local().with_space(space), hosted());
        assert!(error.message().contains(field), "{error}");
        assert!(error.message().contains("files"), "{error}");
    }
}

#[tokio::test]
async fn the_table_of_well_known_models_says_what_the_loader_finds() {
    let embedder = LocalEmbedder::open(&local(), &Environment::empty()).unwrap();
    let embedder = AnyEmbedder::new(embedder);
    embedder.ready(&Context::new()).await.unwrap();
    let known = ayni::embed::known_models().iter().find(|known| known.id == ID).unwrap();
    assert_eq!(embedder.space().dimensions, Some(known.dimensions));
    assert_eq!(embedder.space().pooling, known.pooling);
    assert_eq!(embedder.window(), Some(known.window));
    let bytes = std::fs::read(folder().join("model.safetensors")).unwrap();
    let length = usize::try_from(u64::from_le_bytes(*bytes.first_chunk().unwrap())).unwrap();
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let count = |shape: &serde_json::Value| -> u64 {
        shape.as_array().unwrap().iter().map(|size| size.as_u64().unwrap()).product()
    };
    let weights = header.as_object().unwrap().values().filter_map(|tensor| tensor.get("shape"));
    let numbers: u64 = weights.map(count).sum();
    assert_eq!(numbers.div_ceil(1_000_000), known.parameters_in_millions as u64, "{numbers}");
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder().join("config.json")).unwrap()).unwrap();
    assert_eq!(config["model_type"], known.architecture);
}

#[tokio::test]
async fn lower_precisions_are_measured_against_their_bars() {
    for (precision, bar, least) in [("bf16", 0.9995, 0.9995), ("int8", 0.995, 0.99)] {
        let embedder =
            LocalEmbedder::open(&local().with_precision(precision), &Environment::empty()).unwrap();
        let parity = embedder.verify(&Context::new()).await.unwrap();
        assert_eq!((parity.precision, parity.bar, parity.probes.len()), (precision, bar, 18));
        let lowest = parity.lowest().unwrap();
        assert!(lowest.cosine >= least, "{lowest:?}");
        assert!(lowest.cosine < 0.999_999, "{lowest:?}: {precision} was not what was measured");
        // int8 misses its bar by a little on some languages; saying so is what this is for.
        assert_eq!(parity.ensure().is_ok(), lowest.cosine >= bar, "{lowest:?}");
    }
}

#[tokio::test]
async fn a_model_verified_as_it_loads_embeds_and_keeps_its_name() {
    let config = local().with_space(EmbeddingSpace::new(ID)).with_precision("bf16").with_verify(true);
    let embedder = AnyEmbedder::new(LocalEmbedder::open(&config, &Environment::empty()).unwrap());
    let vector = embedder.embed_text(&Context::new(), "hola").await.unwrap();
    assert_eq!((vector.len(), embedder.space().model.as_str()), (384, ID));
}
