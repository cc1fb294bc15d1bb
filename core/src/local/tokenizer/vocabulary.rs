//! A `tokenizer.json` for repositories without one, made of the vocabulary files that came before it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::sentencepiece::Unigrams;
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::ModelFiles;

/// What `tokenizer_config.json` says about a tokenizer without `tokenizer.json`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Config {
    tokenizer_class: Option<String>,
    do_lower_case: Option<bool>,
    strip_accents: Option<bool>,
    tokenize_chinese_chars: Option<bool>,
    cls_token: Option<Special>,
    eos_token: Option<Special>,
    sep_token: Option<Special>,
    unk_token: Option<Special>,
}

/// A special token, in either form in which repositories write it.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Special {
    Plain(String),
    Described { content: String },
}

impl Special {
    fn text(special: Option<&Self>, default: &str) -> String {
        match special {
            Some(Self::Plain(text) | Self::Described { content: text }) => text.clone(),
            None => default.to_owned(),
        }
    }
}

/// The `tokenizer.json` of the tokenizer that the older files describe.
///
/// # Errors
/// `model_load` if they are missing, broken, or of a kind that is not built here.
pub(crate) fn as_tokenizer_json(files: &ModelFiles) -> Result<Vec<u8>> {
    let config: Config = files.json("tokenizer_config.json")?.unwrap_or_default();
    let class = config.tokenizer_class.as_deref().unwrap_or_default().trim_end_matches("Fast");
    let tokenizer = match class {
        "CLIPTokenizer" => clip(files)?,
        "RobertaTokenizer" | "GPT2Tokenizer" => roberta(files)?,
        "SiglipTokenizer" => siglip(files, &config)?,
        "" if files.has("merges.txt") => clip(files)?,
        "" | "BertTokenizer" | "DistilBertTokenizer" | "MPNetTokenizer" if files.has("vocab.txt") => {
            bert(files, &config)?
        }
        _ => return Err(missing(files)),
    };
    Ok(tokenizer.to_string().into_bytes())
}

fn missing(files: &ModelFiles) -> Error {
    Error::new(
        ErrorKind::ModelLoad,
        format!(
            "{} does not exist, and there are no older files to build it from. Save it with transformers: \
             `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`",
            files.path("tokenizer.json").display()
        ),
    )
}

/// The lines of a file that must exist.
fn lines(files: &ModelFiles, name: &str) -> Result<Vec<String>> {
    let bytes = files.read(name)?.ok_or_else(|| missing(files))?;
    let text = String::from_utf8(bytes).map_err(|error| broken(files, name, &error.to_string()))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn broken(files: &ModelFiles, name: &str, why: &str) -> Error {
    Error::new(ErrorKind::ModelLoad, format!("{} cannot be used: {why}", files.path(name).display()))
}

fn id(files: &ModelFiles, name: &str, vocabulary: &Map<String, Value>, token: &str) -> Result<Value> {
    let id = vocabulary.get(token).cloned();
    id.ok_or_else(|| broken(files, name, &format!("it has no token {token}")))
}

/// WordPiece between `[CLS]` and `[SEP]`.
fn bert(files: &ModelFiles, config: &Config) -> Result<Value> {
    let vocabulary: Map<String, Value> =
        lines(files, "vocab.txt")?.into_iter().enumerate().map(|(id, token)| (token, json!(id))).collect();
    let first = Special::text(config.cls_token.as_ref(), "[CLS]");
    let last = Special::text(config.sep_token.as_ref(), "[SEP]");
    let unknown = Special::text(config.unk_token.as_ref(), "[UNK]");
    let ids = [id(files, "vocab.txt", &vocabulary, &first)?, id(files, "vocab.txt", &vocabulary, &last)?];
    Ok(json!({
        "version": "1.0",
        "added_tokens": [special(&first, &ids[0]), special(&last, &ids[1])],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": true,
            "handle_chinese_chars": config.tokenize_chinese_chars.unwrap_or(true),
            "strip_accents": config.strip_accents,
            "lowercase": config.do_lower_case.unwrap_or(true),
        },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": { "type": "BertProcessing", "sep": [last, ids[1]], "cls": [first, ids[0]] },
        "model": {
            "type": "WordPiece",
            "unk_token": unknown,
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocabulary,
        },
    }))
}

/// CLIP's byte pairs: lower case, words by CLIP's own expression, each ending with `</w>`.
fn clip(files: &ModelFiles) -> Result<Value> {
    let (vocabulary, merges) = byte_pairs(files)?;
    let (first, last) = ("<|startoftext|>", "<|endoftext|>");
    let ids = [id(files, "vocab.json", &vocabulary, first)?, id(files, "vocab.json", &vocabulary, last)?];
    Ok(json!({
        "version": "1.0",
        "added_tokens": [special(first, &ids[0]), special(last, &ids[1])],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "NFC" },
            { "type": "Replace", "pattern": { "Regex": "\\s+" }, "content": " " },
            { "type": "Lowercase" },
        ] },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            {
                "type": "Split",
                "pattern": { "Regex": "'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+" },
                "behavior": "Removed",
                "invert": true,
            },
            { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ] },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [last, ids[1]],
            "cls": [first, ids[0]],
            "trim_offsets": false,
            "add_prefix_space": false,
        },
        "model": pairs_model(vocabulary, merges, Some(last), "</w>"),
    }))
}

/// RoBERTa's byte pairs between `<s>` and `</s>`.
fn roberta(files: &ModelFiles) -> Result<Value> {
    let (vocabulary, merges) = byte_pairs(files)?;
    let (first, last) = ("<s>", "</s>");
    let ids = [id(files, "vocab.json", &vocabulary, first)?, id(files, "vocab.json", &vocabulary, last)?];
    Ok(json!({
        "version": "1.0",
        "added_tokens": [special(first, &ids[0]), special(last, &ids[1])],
        "pre_tokenizer": {
            "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true
        },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": [last, ids[1]],
            "cls": [first, ids[0]],
            "trim_offsets": true,
            "add_prefix_space": false,
        },
        "model": pairs_model(vocabulary, merges, None, ""),
    }))
}

/// SigLIP's unigrams, followed by the end of text. [`Cleaning::Siglip`](super::Cleaning) normalises texts first.
fn siglip(files: &ModelFiles, config: &Config) -> Result<Value> {
    let name = "spiece.model";
    let bytes = files.read(name)?.ok_or_else(|| missing(files))?;
    let unigrams = Unigrams::read(&bytes).map_err(|why| broken(files, name, &why.to_string()))?;
    let id = |token: &str| unigrams.pieces.iter().position(|(piece, _)| piece == token);
    let last = Special::text(config.eos_token.as_ref(), "</s>");
    let last_id = id(&last).ok_or_else(|| broken(files, name, &format!("it has no token {last}")))?;
    let unknown = Special::text(config.unk_token.as_ref(), "<unk>");
    let mut steps = vec![
        json!({ "type": "Strip", "strip_left": true, "strip_right": true }),
        json!({ "type": "Replace", "pattern": { "Regex": " {2,}" }, "content": " " }),
    ];
    if !unigrams.charsmap.is_empty() {
        let table = BASE64.encode(&unigrams.charsmap);
        steps.insert(0, json!({ "type": "Precompiled", "precompiled_charsmap": table }));
    }
    let added = [(&last, Some(last_id)), (&unknown, id(&unknown))];
    let added: Vec<Value> =
        added.iter().filter_map(|(token, id)| Some(special(token, &json!((*id)?)))).collect();
    Ok(json!({
        "version": "1.0",
        "added_tokens": added,
        "normalizer": { "type": "Sequence", "normalizers": steps },
        "pre_tokenizer": { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": true },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "SpecialToken": { "id": last, "type_id": 0 } }],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 0 } }],
            "special_tokens": { last.clone(): { "id": last, "ids": [last_id], "tokens": [last] } },
        },
        "model": unigrams.model(),
    }))
}

fn pairs_model(
    vocabulary: Map<String, Value>,
    merges: Vec<Value>,
    unknown: Option<&str>,
    end: &str,
) -> Value {
    json!({
        "type": "BPE",
        "dropout": null,
        "unk_token": unknown,
        "continuing_subword_prefix": "",
        "end_of_word_suffix": end,
        "fuse_unk": false,
        "byte_fallback": false,
        "vocab": vocabulary,
        "merges": merges,
    })
}

fn byte_pairs(files: &ModelFiles) -> Result<(Map<String, Value>, Vec<Value>)> {
    let vocabulary = files.json("vocab.json")?.ok_or_else(|| missing(files))?;
    let is_merge = |line: &String| !line.starts_with("#version") && !line.trim().is_empty();
    let merges = lines(files, "merges.txt")?.into_iter().filter(is_merge).map(Value::String).collect();
    Ok((vocabulary, merges))
}

fn special(token: &str, id: &Value) -> Value {
    json!({
        "id": id, "content": token, "special": true,
        "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
    })
}
