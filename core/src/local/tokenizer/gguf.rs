//! The tokenizer in a GGUF file's metadata.

use std::collections::HashMap;

use ahash::AHashMap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Precompiled, Replace, Sequence};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizers;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::{ModelWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::added::{AddedToken, AddedTokens};
use super::bytes::{self, Spelling};
use super::chat::{ChatTokenizer, Engine, Templates};
use super::decoder::TokenBytes;
use super::pre_tokenizers::{self, PreTokenizer};
use super::scored_pairs::ScoredPairs;
use super::{charsmap, check};
use crate::error::{Error, ErrorKind, Result};
use crate::local::weights::Metadata;

/// What `tokenizer.ggml.token_type` says about a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

impl Kind {
    fn of(number: f64) -> Self {
        match number {
            2.0 => Self::Unknown,
            3.0 => Self::Control,
            4.0 => Self::UserDefined,
            5.0 => Self::Unused,
            6.0 => Self::Byte,
            _ => Self::Normal,
        }
    }
}

/// A vocabulary as the file lists it.
struct Vocabulary<'a> {
    metadata: &'a Metadata,
    texts: Vec<std::borrow::Cow<'a, str>>,
    kinds: Vec<Kind>,
}

fn unusable(why: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ModelLoad, format!("the GGUF file's tokenizer cannot be used: {why}"))
}

fn failed(error: tokenizers::Error) -> Error {
    unusable(error)
}

/// The tokenizer that the metadata describe.
///
/// # Errors
/// `model_load` if there is none, or it is damaged; `unsupported` for a kind that is not known.
pub(super) fn read(metadata: &Metadata) -> Result<ChatTokenizer> {
    let vocabulary = Vocabulary::read(metadata)?;
    let model = metadata.text("tokenizer.ggml.model").unwrap_or_default();
    let (engine, spelling, adds_bos) = match model {
        "gpt2" | "gemma4" => {
            let name =
                metadata.text("tokenizer.ggml.pre").unwrap_or(if model == "gpt2" { "" } else { model });
            let pre = pre_tokenizers::named(name).ok_or_else(|| {
                Error::unsupported(format!("the GGUF pre-tokenizer '{name}' is not supported"))
            })?;
            let spelling = if pre.is_byte_level { Spelling::ByteLevel } else { Spelling::SentencePiece };
            (vocabulary.byte_pairs(&pre)?, spelling, pre.adds_bos)
        }
        "llama" => (vocabulary.scored_pairs()?, Spelling::SentencePiece, true),
        "t5" => (vocabulary.unigrams()?, Spelling::SentencePiece, false),
        "" => return Err(unusable("it has none (`tokenizer.ggml.model`)")),
        _ => {
            return Err(Error::unsupported(format!(
                "the GGUF tokenizer '{model}' is not supported; valid: gpt2, llama, t5"
            )));
        }
    };
    let id = |name: &str| {
        let id = metadata.whole(&format!("tokenizer.ggml.{name}_token_id"))?;
        u32::try_from(id).ok().filter(|id| (*id as usize) < vocabulary.texts.len())
    };
    let drops_space = matches!(&engine, Engine::ScoredPairs { adds_space: true, .. }) || model == "t5";
    let mut tokenizer =
        ChatTokenizer::new(engine, vocabulary.bytes(spelling), vocabulary.added()?, drops_space);
    tokenizer.bos = id("bos");
    tokenizer.eos = id("eos");
    tokenizer.adds_bos = metadata.flag("tokenizer.ggml.add_bos_token").unwrap_or(adds_bos);
    tokenizer.adds_bos_to_chat = tokenizer.adds_bos;
    let ends = ["eos", "eot", "eom"].into_iter().filter_map(id);
    tokenizer.set_ends(ends.collect());
    tokenizer.templates = templates(metadata);
    Ok(tokenizer)
}

impl<'a> Vocabulary<'a> {
    fn read(metadata: &'a Metadata) -> Result<Self> {
        let texts = metadata
            .texts("tokenizer.ggml.tokens")
            .ok_or_else(|| unusable("it has no `tokenizer.ggml.tokens`"))?;
        if u32::try_from(texts.len()).is_err() || texts.is_empty() {
            return Err(unusable(format!("it has {} tokens", texts.len())));
        }
        let mut kinds: Vec<Kind> = metadata
            .numbers("tokenizer.ggml.token_type")
            .unwrap_or_default()
            .into_iter()
            .map(Kind::of)
            .collect();
        kinds.resize(texts.len(), Kind::Normal);
        let texts = texts.into_iter().map(String::from_utf8_lossy).collect();
        Ok(Self { metadata, texts, kinds })
    }

    fn tokens(&self) -> impl Iterator<Item = (u32, &str, Kind)> {
        (0..).zip(&self.texts).zip(&self.kinds).map(|((id, text), kind)| (id, &**text, *kind))
    }

    /// The tokens by text; the first of two that are spelled the same.
    fn ids(&self) -> AHashMap<String, u32> {
        let mut ids = AHashMap::with_capacity(self.texts.len());
        for (id, text, _) in self.tokens() {
            ids.entry(text.to_owned()).or_insert(id);
        }
        ids
    }

    fn scores(&self) -> Result<Vec<f64>> {
        let scores = self
            .metadata
            .numbers("tokenizer.ggml.scores")
            .ok_or_else(|| unusable("it has no `tokenizer.ggml.scores`"))?;
        match scores.len() == self.texts.len() {
            true => Ok(scores),
            false => Err(unusable(format!("{} scores for {} tokens", scores.len(), self.texts.len()))),
        }
    }

    fn unknown(&self) -> Option<u32> {
        let id = self.metadata.whole("tokenizer.ggml.unknown_token_id").and_then(|id| u32::try_from(id).ok());
        id.or_else(|| self.tokens().find(|(_, _, kind)| *kind == Kind::Unknown).map(|(id, ..)| id))
    }

    fn byte_pairs(&self, pre: &PreTokenizer) -> Result<Engine> {
        let ids = self.ids();
        let listed = self.metadata.texts("tokenizer.ggml.merges").unwrap_or_default();
        let mut merges = Vec::with_capacity(listed.len());
        for merge in listed {
            let merge = std::str::from_utf8(merge).map_err(unusable)?;
            // The first character may itself be a space.
            let Some(space) = merge.char_indices().skip(1).find(|(_, c)| *c == ' ').map(|(at, _)| at) else {
                return Err(unusable("a merge has no two parts"));
            };
            let (left, right) = (&merge[..space], &merge[space + 1..]);
            if [left, right, &format!("{left}{right}")].iter().all(|part| ids.contains_key(*part)) {
                merges.push((left.to_owned(), right.to_owned()));
            }
        }
        let model = BPE::builder()
            .vocab_and_merges(ids, merges)
            .ignore_merges(pre.ignores_merges)
            .byte_fallback(!pre.is_byte_level)
            .build()
            .map_err(failed)?;
        let mut tokenizer = tokenizers::Tokenizer::new(ModelWrapper::BPE(model));
        let mut steps: Vec<PreTokenizerWrapper> = Vec::new();
        for expression in pre.expressions {
            let pattern = SplitPattern::Regex((*expression).to_owned());
            steps.push(Split::new(pattern, SplitDelimiterBehavior::Isolated, false).map_err(failed)?.into());
        }
        if pre.is_byte_level {
            steps.push(ByteLevel::new(false, false, false).into());
        } else {
            let spaces = Replace::new(ReplacePattern::String(" ".to_owned()), "▁").map_err(failed)?;
            tokenizer.with_normalizer(Some(NormalizerWrapper::from(spaces))).map_err(failed)?;
        }
        tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::from(PreTokenizers::new(steps))));
        Ok(Engine::Pipeline(Box::new(tokenizer)))
    }

    fn scored_pairs(&self) -> Result<Engine> {
        let mut pieces = HashMap::with_capacity(self.texts.len());
        #[allow(clippy::cast_possible_truncation, reason = "the file holds them as f32")]
        for ((id, text, kind), score) in self.tokens().zip(self.scores()?) {
            if !matches!(kind, Kind::Control | Kind::Unknown | Kind::Byte | Kind::Unused) {
                pieces.entry(text.into()).or_insert((id, score as f32));
            }
        }
        let bytes = self.byte_tokens();
        let adds_space = self.metadata.flag("tokenizer.ggml.add_space_prefix").unwrap_or(true);
        let pairs = ScoredPairs::new(pieces, bytes, self.unknown());
        Ok(Engine::ScoredPairs { pairs, adds_space })
    }

    /// The token of each byte, where there is one.
    fn byte_tokens(&self) -> Vec<Option<u32>> {
        let mut tokens = vec![None; 256];
        for (id, text, _) in self.tokens().filter(|(_, _, kind)| *kind == Kind::Byte) {
            if let Some(byte) = bytes::of_byte_token(text) {
                tokens[usize::from(byte)] = Some(id);
            }
        }
        tokens
    }

    fn unigrams(&self) -> Result<Engine> {
        let pieces = self.tokens().zip(self.scores()?).map(|((_, text, kind), score)| {
            // Never the best piece of a text.
            let is_text = matches!(kind, Kind::Normal | Kind::UserDefined);
            (text.to_owned(), if is_text { score } else { f64::from(f32::MIN) })
        });
        if self.texts.iter().any(|text| text.len() > check::MAX_TOKEN_BYTES) {
            return Err(unusable(format!("a token is longer than {} bytes", check::MAX_TOKEN_BYTES)));
        }
        let unknown = self.unknown().map(|id| id as usize);
        let has_bytes = self.kinds.contains(&Kind::Byte);
        let model = Unigram::from(pieces.collect(), unknown, has_bytes).map_err(failed)?;
        let mut tokenizer = tokenizers::Tokenizer::new(ModelWrapper::Unigram(model));
        let mut steps: Vec<NormalizerWrapper> = Vec::new();
        let table = self.metadata.numbers("tokenizer.ggml.precompiled_charsmap").unwrap_or_default();
        if !table.is_empty() {
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "bytes, which `as` saturates"
            )]
            let table: Vec<u8> = table.into_iter().map(|byte| byte as u8).collect();
            charsmap::check(&BASE64.encode(&table)).map_err(unusable)?;
            steps.push(Precompiled::from(&table).map_err(unusable)?.into());
        }
        let flag = |name: &str| self.metadata.flag(&format!("tokenizer.ggml.{name}"));
        if flag("remove_extra_whitespaces").unwrap_or(false) {
            let several = ReplacePattern::Regex(" {2,}".to_owned());
            steps.push(Replace::new(several, " ").map_err(failed)?.into());
            // Spaces alone: other white space is text.
            let around = ReplacePattern::Regex("^ +| +$".to_owned());
            steps.push(Replace::new(around, "").map_err(failed)?.into());
        }
        if !steps.is_empty() {
            tokenizer.with_normalizer(Some(NormalizerWrapper::from(Sequence::new(steps)))).map_err(failed)?;
        }
        let scheme = match flag("add_space_prefix").unwrap_or(true) {
            true => PrependScheme::Always,
            false => PrependScheme::Never,
        };
        tokenizer.with_pre_tokenizer(Some(PreTokenizerWrapper::from(Metaspace::new('▁', scheme, true))));
        Ok(Engine::Pipeline(Box::new(tokenizer)))
    }

    fn bytes(&self, spelling: Spelling) -> TokenBytes {
        let mut table = TokenBytes::default();
        for (_, text, kind) in self.tokens() {
            match kind {
                Kind::Normal => table.push(&spelling.bytes(text), false),
                Kind::Byte => {
                    table.push(&bytes::of_byte_token(text).map_or_else(Vec::new, |byte| vec![byte]), false)
                }
                Kind::UserDefined => table.push(bytes::plain(text, spelling).as_bytes(), false),
                Kind::Control | Kind::Unknown | Kind::Unused => table.push(text.as_bytes(), is_hidden(text)),
            }
        }
        table
    }

    fn added(&self) -> Result<AddedTokens> {
        let name = self.metadata.text("general.name").unwrap_or_default().to_lowercase();
        // Phi-3's own tokenizer.json says so; GGUF has no field for it.
        let is_phi3 = name.contains("phi-3") || name.contains("phi3");
        let matched = |kind| matches!(kind, Kind::Control | Kind::UserDefined | Kind::Unknown);
        let tokens = self.tokens().filter(|(_, _, kind)| matched(*kind)).map(|(id, text, kind)| AddedToken {
            id,
            text: text.to_owned(),
            is_control: kind != Kind::UserDefined || super::chat::ends_answers(text),
            strips_right: is_phi3 && !["<unk>", "<s>", "<|endoftext|>"].contains(&text),
            ..AddedToken::default()
        });
        AddedTokens::new(tokens.collect())
    }
}

/// Control tokens are no part of an answer's text, but for those that mark thoughts and calls of tools.
pub(super) fn is_hidden(text: &str) -> bool {
    !super::chat::MARKS.contains(&text)
}

fn templates(metadata: &Metadata) -> Templates {
    let mut templates =
        Templates { default: metadata.text("tokenizer.chat_template").map(str::to_owned), named: Vec::new() };
    for name in metadata.texts("tokenizer.chat_templates").unwrap_or_default() {
        let Ok(name) = std::str::from_utf8(name) else { continue };
        if let Some(source) = metadata.text(&format!("tokenizer.chat_template.{name}")) {
            templates.named.push((name.to_owned(), source.to_owned()));
        }
    }
    templates
}
