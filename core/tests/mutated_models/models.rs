//! The embedders, and what must hold for any mutation of them. Every second mutation is one of a chat model.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use ayni::local::{LocalEmbedder, LocalEmbedderConfig, LocalImage, LocalImageConfig, SafetyMode};
use ayni::{
    AnyEmbedder, AnyImageGenerator, Context, EmbedInput, EmbedRequest, Environment, Error, ErrorKind,
    GenerateRequest, ImageData,
};
use ayni_testkit::fuzz::{Folder, Sweep};
use ayni_testkit::tiny_images;
use serde_json::{Value, json};

use super::chat;

/// Where a run of the tests starts, and how many mutations it tries.
const SEED: u64 = 20_261_129;
const MUTATIONS: u64 = 4000;

/// The most memory that one of them may add: batches and images have their own, whatever the model.
const MAX_BYTES: u64 = 256 << 20;

const NAME: &str = "no_model_folder_ends_the_process_or_holds_it";

/// Kinds of errors that a folder may cause.
const KINDS: [ErrorKind; 4] =
    [ErrorKind::ModelLoad, ErrorKind::Unsupported, ErrorKind::ConfigInvalid, ErrorKind::ResponseInvalid];

/// Those that a folder of an image model may cause besides: settings that leave no step, sizes that do not fit.
const IMAGE_KINDS: [ErrorKind; 2] = [ErrorKind::InvalidRequest, ErrorKind::OutOfMemory];

pub(crate) fn main() -> ExitCode {
    let (bases, chats) = (bases(), chat::bases());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let attempt = |seed, number: u64| match number % 2 {
        0 => runtime.block_on(attempt(&bases, seed, number / 2)),
        _ => runtime.block_on(chat::attempt(nth(&chats, number / 2), seed, number / 2)),
    };
    if let Some(code) = Sweep::child(attempt) {
        return code;
    }
    if let Ok(number) = std::env::var("AYNI_FUZZ_NUMBER") {
        let sweep = Sweep::new(SEED, 0).with_env().unwrap();
        println!("{:?}", attempt(sweep.seed, number.parse().unwrap()));
        return ExitCode::SUCCESS;
    }
    let filters: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    if !filters.is_empty() && !filters.iter().any(|filter| NAME.contains(filter.as_str())) {
        return ExitCode::SUCCESS;
    }
    // Unchanged, each of them works: else its mutations would show nothing.
    for (number, base) in bases.iter().enumerate() {
        let outcome = runtime.block_on(run(base, number as u64));
        assert!(outcome.is_ok(), "model {number}: {outcome:?}");
    }
    for (number, base) in chats.iter().enumerate() {
        // Freely and in a format, which takes a vocabulary that can write JSON.
        for way in if number < 4 { &[30, 0][..] } else { &[30] } {
            let outcome = runtime.block_on(chat::ask(base, *way));
            assert!(outcome.is_ok(), "chat model {number}: {outcome:?}");
        }
    }
    let mut sweep = Sweep::new(SEED, MUTATIONS).with_env().unwrap();
    // The models have a tenth of a mebibyte.
    sweep.max_bytes = MAX_BYTES;
    let report = sweep.run().unwrap();
    println!("{NAME}: seed {}, {} mutations: {:?}", sweep.seed, report.attempts, report.outcomes);
    for (number, what) in &report.findings {
        println!(
            "mutation {number} of seed {}: {what}; try it alone with AYNI_FUZZ_NUMBER={number}",
            sweep.seed
        );
    }
    let works = |what: &str| report.outcomes.get(what).is_some_and(|count| *count > report.attempts / 40);
    match report.findings.is_empty() && works("vectors") && works("answers") {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn nth(bases: &[Folder], number: u64) -> &Folder {
    &bases[usize::try_from(number).unwrap_or_default() % bases.len()]
}

fn is_image_model(folder: &Folder) -> bool {
    folder.files.keys().any(|name| name.starts_with("unet/"))
}

/// Embeds, or draws.
async fn run(folder: &Folder, number: u64) -> Result<(), Error> {
    match is_image_model(folder) {
        true => draw(folder, number).await,
        false => embed(folder, number).await,
    }
}

async fn draw(folder: &Folder, number: u64) -> Result<(), Error> {
    let place = tempfile::tempdir().unwrap();
    folder.write(place.path()).unwrap();
    let precision = ["f32", "bf16", "int8"][usize::try_from(number / 7 % 3).unwrap_or_default()];
    let has_checker = folder.files.contains_key("safety_checker/config.json");
    let safety = if has_checker { SafetyMode::Mark } else { SafetyMode::Off };
    let config = LocalImageConfig::new(place.path().to_str().unwrap())
        .with_device("cpu")
        .with_precision(precision)
        .with_memory_bytes(MAX_BYTES)
        .with_safety(safety);
    let image = AnyImageGenerator::new(LocalImage::open(&config, &Environment::empty())?);
    let cx = Context::new().with_timeout(Duration::from_secs(30));
    let request =
        GenerateRequest::new("the road (to:1.2) niño 漢字 😀").with_size(64, 64).with_steps(1).with_seed(1);
    let response = image.generate(&cx, request).await?;
    assert_eq!(response.size, Some((64, 64)));
    Ok(())
}

/// Opens one mutation and embeds or draws with it.
async fn attempt(bases: &[Folder], seed: u64, number: u64) -> Result<String, String> {
    let base = nth(bases, number);
    let (folder, changed) = base.mutated(seed, number);
    match run(&folder, number).await {
        Ok(()) if is_image_model(base) => Ok("images".to_owned()),
        Ok(()) => Ok("vectors".to_owned()),
        Err(error) if is_image_model(base) && IMAGE_KINDS.contains(&error.kind()) => {
            Ok(error.kind().to_string())
        }
        Err(error) if KINDS.contains(&error.kind()) => Ok(error.kind().to_string()),
        Err(error) => Err(format!("{changed:?}: {error}")),
    }
}

async fn embed(folder: &Folder, number: u64) -> Result<(), Error> {
    let place = tempfile::tempdir().unwrap();
    folder.write(place.path()).unwrap();
    let gguf = folder.files.keys().find(|name| name.ends_with(".gguf"));
    let path = gguf.map_or_else(|| place.path().to_owned(), |name| place.path().join(name));
    let precision = ["f32", "bf16", "int8"][usize::try_from(number / 7 % 3).unwrap_or_default()];
    let config =
        LocalEmbedderConfig::new(path.to_str().unwrap()).with_device("cpu").with_precision(precision);
    let embedder = AnyEmbedder::new(LocalEmbedder::open(&config, &Environment::empty())?);
    let long = "the road to the library, ".repeat(400);
    let mut inputs: Vec<EmbedInput> = ["the road", "", "w5 w9 w63", "niño 漢字 😀 e\u{301} ﷺ", long.as_str()]
        .map(|text| EmbedInput::Text(text.to_owned()))
        .into();
    if folder.files.contains_key("preprocessor_config.json") {
        let image = std::fs::read(golden().join("images/rgb.png")).unwrap();
        inputs.push(EmbedInput::Image(ImageData::new(image).unwrap()));
    }
    let cx = Context::new().with_timeout(Duration::from_secs(30));
    let count = inputs.len();
    let response = embedder.embed(&cx, EmbedRequest::new(inputs)).await?;
    // The handle has looked at the numbers.
    assert_eq!(response.vectors.len(), count);
    Ok(())
}

pub(super) fn golden() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden"))
}

pub(super) fn file(name: &str) -> Vec<u8> {
    std::fs::read(golden().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The tiny models of every family, with the files around them.
fn bases() -> Vec<Folder> {
    let mut bases: Vec<Folder> = ["dense", "prompts-not-pooled", "pooling-mean-and-max", "shortened"]
        .into_iter()
        .map(|case| {
            let mut folder = Folder::read(&golden().join("repositories/base")).unwrap();
            folder.files.extend(Folder::read(&golden().join("repositories/cases").join(case)).unwrap().files);
            folder
        })
        .collect();
    for family in ["xlm-roberta", "distilbert", "mpnet", "modernbert", "nomic-bert", "gte", "qwen3", "gemma3"]
    {
        bases.push(of_family(&format!("text/{family}/model.safetensors"), family, "model.safetensors"));
    }
    bases.push(of_family("gguf/bert-BF16.gguf", "bert", "bert.gguf"));
    bases.push(of_family("gguf/qwen3-Q8_0.gguf", "qwen3", "qwen3.gguf"));
    bases.extend(
        ["unit-length", "model2vec"].map(|name| Folder::read(&golden().join("static").join(name)).unwrap()),
    );
    bases.push(clip());
    for tokenizer in ["tokenizer.json", "spiece.model"] {
        bases.push(siglip(tokenizer));
    }
    let images = tempfile::tempdir().unwrap();
    tiny_images::write(images.path()).unwrap();
    bases.extend(["sd", "turbo", "sd"].map(|name| Folder::read(&images.path().join(name)).unwrap()));
    bases
}

/// A tokenizer of as many words as the tiny models have tokens, with the end of text that CLIP looks for.
pub(super) fn tokenizer(words: u64) -> Value {
    let mut vocabulary: serde_json::Map<String, Value> =
        (0..words - 3).map(|id| (format!("w{id}"), json!(id))).collect();
    for (word, id) in [("the", words - 3), ("road", words - 2), ("</s>", words - 1)] {
        vocabulary.insert(word.to_owned(), json!(id));
    }
    json!({
        "version": "1.0",
        "added_tokens": [{"id": words - 1, "content": "</s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true}],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null,
                "lowercase": true},
            {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits",
            "individual_digits": false}, {"type": "FixedLength", "length": 40}]},
        "post_processor": {"type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"</s>": {"id": "</s>", "ids": [words - 1], "tokens": ["</s>"]}}},
        "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "w1"},
    })
}

fn of_family(weights: &str, family: &str, name: &str) -> Folder {
    let modules = json!([
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]);
    Folder::default()
        .with(name, file(weights))
        .with("config.json", file(&format!("text/{family}/config.json")))
        .with("tokenizer.json", tokenizer(60).to_string())
        .with("modules.json", modules.to_string())
        .with(
            "1_Pooling/config.json",
            json!({"pooling_mode_lasttoken": true, "include_prompt": false}).to_string(),
        )
        .with("tokenizer_config.json", json!({"model_max_length": 40, "truncation_side": "left"}).to_string())
        .with(
            "config_sentence_transformers.json",
            json!({"prompts": {"query": "the ", "document": ""}, "truncate_dim": 16}).to_string(),
        )
}

fn images(processor: &str) -> Value {
    json!({"do_rescale": true, "rescale_factor": 1.0 / 255.0, "do_normalize": true, "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5], "do_convert_rgb": true, "resample": 3, "do_resize": true,
        "image_processor_type": processor, "size": {"height": 32, "width": 32}})
}

fn clip() -> Folder {
    let mut preprocessor = images("CLIPImageProcessor");
    preprocessor["size"] = json!({"shortest_edge": 32});
    preprocessor["do_center_crop"] = json!(true);
    preprocessor["crop_size"] = json!({"height": 32, "width": 32});
    Folder::default()
        .with("model.safetensors", file("clip/openai/model.safetensors"))
        .with("config.json", file("clip/openai/config.json"))
        .with("tokenizer.json", tokenizer(64).to_string())
        .with("preprocessor_config.json", preprocessor.to_string())
}

fn siglip(tokenizer: &str) -> Folder {
    Folder::default()
        .with("model.safetensors", file("clip/siglip/model.safetensors"))
        .with("config.json", file("clip/siglip/config.json"))
        .with(tokenizer, file(&format!("siglip/siglip/{tokenizer}")))
        .with("tokenizer_config.json", file("siglip/siglip/tokenizer_config.json"))
        .with("preprocessor_config.json", images("SiglipImageProcessor").to_string())
}
