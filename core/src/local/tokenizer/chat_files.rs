//! The tokenizer of a chat model's folder.

use serde::Deserialize;
use serde_json::Value;

use super::added::{AddedToken, AddedTokens};
use super::bytes::{self, Spelling};
use super::chat::{ChatTokenizer, Engine, Templates};
use super::decoder::TokenBytes;
use super::gguf::is_hidden;
use super::{check, vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::ModelFiles;

/// A token as configurations write it: its text, or an object around it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Named {
    Plain(String),
    Described { content: String },
}

impl Named {
    fn text(&self) -> &str {
        match self {
            Self::Plain(text) | Self::Described { content: text } => text,
        }
    }
}

/// What is used of `tokenizer_config.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    bos_token: Option<Named>,
    eos_token: Option<Named>,
    add_bos_token: Option<bool>,
    chat_template: Option<ConfiguredTemplate>,
}

/// One template, or several by name.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ConfiguredTemplate {
    One(String),
    Several(Vec<NamedTemplate>),
}

#[derive(Debug, Deserialize)]
struct NamedTemplate {
    name: String,
    template: String,
}

/// Token ids in a configuration: one or several.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Ids {
    One(u32),
    Several(Vec<u32>),
    #[default]
    None,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Generation {
    eos_token_id: Ids,
}

/// Reads the files.
///
/// # Errors
/// `model_load` if one is missing or damaged.
pub(super) fn read(files: &ModelFiles) -> Result<ChatTokenizer> {
    let bytes = match files.read("tokenizer.json")? {
        Some(bytes) => bytes,
        None => vocabulary::as_tokenizer_json(files)?,
    };
    let wrong = |why: &dyn std::fmt::Display| {
        let path = files.path("tokenizer.json");
        Error::new(ErrorKind::ModelLoad, format!("{} cannot be used: {why}", path.display()))
    };
    check::check(&bytes).map_err(|why| wrong(&why))?;
    let tokenizer = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| wrong(&error))?;
    let config: Config = files.json("tokenizer_config.json")?.unwrap_or_default();
    let generation: Generation = files.json("generation_config.json")?.unwrap_or_default();
    let id = |token: &Option<Named>| token.as_ref().and_then(|token| tokenizer.token_to_id(token.text()));
    let (bos, eos) = (id(&config.bos_token), id(&config.eos_token));
    let puts_bos = tokenizer
        .encode_fast("a", true)
        .is_ok_and(|encoded| bos.is_some() && encoded.get_ids().first() == bos.as_ref());
    let (spelling, drops_space) = decoding(&tokenizer);
    let added = added_tokens(&tokenizer);
    let tokens = token_bytes(&tokenizer, &added, spelling);
    let added = AddedTokens::new(added)?;
    let mut chat = ChatTokenizer::new(Engine::Pipeline(Box::new(tokenizer)), tokens, added, drops_space);
    (chat.bos, chat.eos) = (bos, eos);
    chat.adds_bos = puts_bos || bos.is_some() && config.add_bos_token == Some(true);
    let mut ends = match generation.eos_token_id {
        Ids::One(id) => vec![id],
        Ids::Several(ids) => ids,
        Ids::None => Vec::new(),
    };
    ends.extend(eos);
    chat.set_ends(ends);
    chat.templates = templates(files, config.chat_template)?;
    Ok(chat)
}

fn added_tokens(tokenizer: &tokenizers::Tokenizer) -> Vec<AddedToken> {
    let mut added: Vec<AddedToken> = tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .map(|(id, token)| AddedToken {
            id,
            is_control: token.special,
            strips_left: token.lstrip,
            strips_right: token.rstrip,
            is_single_word: token.single_word,
            text: token.content,
        })
        .collect();
    added.sort_unstable_by_key(|token| token.id);
    added
}

/// How the tokens are spelled, and whether the space that begins a text only marks a word's beginning.
fn decoding(tokenizer: &tokenizers::Tokenizer) -> (Spelling, bool) {
    let described = serde_json::to_value(tokenizer.get_decoder()).unwrap_or_default();
    let steps = match described.get("decoders").and_then(Value::as_array) {
        Some(steps) => steps.clone(),
        None => vec![described],
    };
    let is = |step: &Value, kind: &str| step["type"] == kind;
    let spelling = match steps.iter().any(|step| is(step, "ByteLevel")) {
        true => Spelling::ByteLevel,
        false => Spelling::SentencePiece,
    };
    let drops_space = steps.iter().any(|step| {
        is(step, "Strip") && step["content"] == " " && step["start"].as_u64() > Some(0)
            || is(step, "Metaspace") && step["prepend_scheme"] != "never"
    });
    (spelling, drops_space)
}

fn token_bytes(tokenizer: &tokenizers::Tokenizer, added: &[AddedToken], spelling: Spelling) -> TokenBytes {
    let mut texts: Vec<(u32, String)> =
        tokenizer.get_vocab(false).into_iter().map(|(text, id)| (id, text)).collect();
    texts.sort_unstable();
    let size = texts.last().map(|(id, _)| *id).max(added.last().map(|token| token.id));
    // A vocabulary with holes may not ask for more room than its tokens are many.
    let size = size.map_or(0, |last| (last as usize + 1).min(16 * (texts.len() + added.len())));
    let mut table = TokenBytes::default();
    let (mut texts, mut added) = (texts.into_iter().peekable(), added.iter().peekable());
    for id in 0..size {
        let is_next = |next: u32| next as usize == id;
        let text = texts.next_if(|(next, _)| is_next(*next));
        match (added.next_if(|token| is_next(token.id)), text) {
            (Some(token), _) if token.is_control => table.push(token.text.as_bytes(), is_hidden(&token.text)),
            (Some(token), _) => table.push(bytes::plain(&token.text, spelling).as_bytes(), false),
            (None, Some((_, text))) => table.push(&spelling.bytes(&text), false),
            (None, None) => table.push(&[], true),
        }
    }
    table
}

fn templates(files: &ModelFiles, configured: Option<ConfiguredTemplate>) -> Result<Templates> {
    let mut templates = Templates::default();
    match configured {
        Some(ConfiguredTemplate::One(source)) => templates.default = Some(source),
        Some(ConfiguredTemplate::Several(several)) => {
            templates.named = several.into_iter().map(|one| (one.name, one.template)).collect();
        }
        None => {}
    }
    #[derive(Deserialize)]
    struct TemplateFile {
        chat_template: String,
    }
    if let Some(file) = files.json::<TemplateFile>("chat_template.json")? {
        templates.default = Some(file.chat_template);
    }
    if let Some(source) = files.read("chat_template.jinja")? {
        templates.default = Some(String::from_utf8_lossy(&source).into_owned());
    }
    if let Some(at) = templates.named.iter().position(|(name, _)| name == "default") {
        let (_, source) = templates.named.remove(at);
        templates.default.get_or_insert(source);
    }
    Ok(templates)
}
