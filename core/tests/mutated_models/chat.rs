//! Chat models, and what must hold for any mutation of them.

use std::time::Duration;

use ayni::local::{LocalChat, LocalChatConfig};
use ayni::{
    AnyChat, ChatRequest, Context, Environment, Error, ErrorKind, ImageData, OutputFormat, Part, Tool,
};
use ayni_testkit::fuzz::Folder;
use serde_json::json;

use super::models::{file, golden};

/// Kinds of errors that a folder may cause.
const KINDS: [ErrorKind; 7] = [
    ErrorKind::ModelLoad,
    ErrorKind::Unsupported,
    ErrorKind::ConfigInvalid,
    ErrorKind::ResponseInvalid,
    // By its template, its window, or the cache that its heads want.
    ErrorKind::InvalidRequest,
    ErrorKind::ContextTooLong,
    ErrorKind::OutOfMemory,
];

/// The families that the tests of logits have models of.
fn families() -> Vec<String> {
    let folders = std::fs::read_dir(golden().join("causal")).unwrap().map(Result::unwrap);
    let models = folders.filter(|folder| folder.path().join("model.safetensors").is_file());
    let mut names: Vec<String> = models.map(|folder| folder.file_name().into_string().unwrap()).collect();
    names.sort_unstable();
    names
}

/// The tiny models of every family, with a tokenizer and a template; the model that answers by heart, as a folder and as a file; the
/// one that reads images.
pub(crate) fn bases() -> Vec<Folder> {
    let models = golden().join("../../conformance/models");
    let scripted = Folder::read(&models.join("scripted")).unwrap();
    let gguf = std::fs::read(models.join("scripted.gguf")).unwrap();
    let mut bases = vec![
        scripted,
        Folder::default().with("scripted.gguf", gguf.clone()),
        Folder::default().with("b.gguf", gguf),
        Folder::read(&models.join("images")).unwrap(),
    ];
    for family in families() {
        let template = "{{ bos_token }}{% for m in messages %}the {{ m['content'] | trim }} road{% if tools %}{{ tools | tojson }}\
                        <tool_call>{% endif %}{% endfor %}";
        let config = json!({ "eos_token": "</s>", "chat_template": template });
        bases.push(
            Folder::default()
                .with("model.safetensors", file(&format!("causal/{family}/model.safetensors")))
                .with("config.json", file(&format!("causal/{family}/config.json")))
                .with("tokenizer.json", super::models::tokenizer(60).to_string())
                .with("tokenizer_config.json", config.to_string()),
        );
    }
    bases
}

/// Opens one mutation and asks it.
pub(crate) async fn attempt(base: &Folder, seed: u64, number: u64) -> Result<String, String> {
    let (folder, changed) = base.mutated(seed, number);
    match ask(&folder, number).await {
        Ok(()) => Ok("answers".to_owned()),
        Err(error) if KINDS.contains(&error.kind()) => Ok(format!("chat {}", error.kind())),
        Err(error) => Err(format!("{changed:?}: {error}")),
    }
}

/// Asks for a few tokens: freely, in a format, or with a tool.
pub(crate) async fn ask(folder: &Folder, number: u64) -> Result<(), Error> {
    let place = tempfile::tempdir().unwrap();
    folder.write(place.path()).unwrap();
    let gguf = folder.files.keys().find(|name| name.ends_with(".gguf"));
    let path = gguf.map_or_else(|| place.path().to_owned(), |name| place.path().join(name));
    let precision =
        ["auto", "f32", "int8", "q8_0", "q4_k"][usize::try_from(number / 5 % 5).unwrap_or_default()];
    let config = LocalChatConfig::new(path.to_str().unwrap())
        .with_device("cpu")
        .with_precision(precision)
        .with_cache_bytes(8 << 20);
    let chat = AnyChat::new(LocalChat::open(&config, &Environment::empty())?);
    let mut asked = vec![Part::text("plain niño 漢字 😀 the road")];
    if folder.files.contains_key("preprocessor_config.json") && chat.info().reads_images == Some(true) {
        let image = ImageData::new(std::fs::read(golden().join("images/rgb.png")).unwrap()).unwrap();
        asked.insert(0, Part::image(image));
    }
    let request = ChatRequest::user(asked).with_max_tokens(6).with_logprobs(2).with_seed(number);
    let request = match number / 15 % 4 {
        0 => request.with_output(OutputFormat::Json),
        1 => request.with_tools([Tool::new("look", "", json!({ "type": "object" }))]),
        _ => request,
    };
    let cx = Context::new().with_timeout(Duration::from_secs(30));
    let answer = chat.chat(&cx, request).await?;
    for token in &answer.logprobs {
        let all = token.top.iter().map(|(_, logprob)| *logprob).chain([token.logprob]);
        assert!(all.into_iter().all(|logprob| !logprob.is_nan()), "a logprob is not a number");
    }
    Ok(())
}
