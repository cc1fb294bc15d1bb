//! From a text to the token ids that a model takes.
//!
//! The repository's own tokenizer makes the ids. Special tokens, truncation and padding are applied here: what
//! `tokenizer.json` says about the last two is left over from other uses.

use std::fmt;

use serde_json::Value;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, Replace, Sequence, Strip};
use tokenizers::{ModelWrapper, NormalizerWrapper};

use super::{check, vocabulary};
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::ModelFiles;
use ayni_kernels::Pool;

/// How many texts a thread takes at a time.
const TEXTS_PER_TASK: usize = 4;

/// Texts with fewer bytes in all are encoded on the calling thread.
const MIN_PARALLEL_BYTES: usize = 2000;

/// Characters of several scripts, with accents and emoji: a tokenizer must make something of each.
const PROBE: &str = "a Ω 1,5 – é\u{301} 字 ع 😀\u{200d}\n\t.";

/// Makes token ids of texts. Shared by all threads.
#[derive(Clone)]
pub(crate) struct Tokenizer {
    pub(super) inner: tokenizers::Tokenizer,
    /// The special tokens before every text.
    prefix: Vec<u32>,
    /// The special tokens after it.
    suffix: Vec<u32>,
    /// The most tokens of a text, special ones included.
    window: usize,
    /// How short texts are padded to the window, for models that were trained so.
    padding: Option<Padding>,
    /// Where longer texts are cut.
    pub(super) side: Side,
    /// The highest id of a token.
    highest_id: u32,
}

/// The side on which a text is cut that is longer than the window.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    /// The text's end goes.
    #[default]
    End,
    /// The text's start goes.
    Start,
}

/// How texts are normalised before the tokenizer's own steps, where its file does not say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cleaning {
    /// Nothing.
    #[default]
    None,
    /// Lower case.
    LowerCase,
    /// As SigLIP was trained: lower case. For models with unigrams also without ASCII punctuation and with single spaces;
    /// SigLIP 2, with Gemma's byte pairs, keeps both.
    Siglip,
}

/// The token that texts are padded with, and on which side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Padding {
    pub(crate) id: u32,
    /// Before the text, not after it.
    pub(crate) is_left: bool,
}

/// A text's tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Encoded {
    /// The ids, special tokens included.
    pub(crate) ids: Vec<u32>,
    /// Whether the text was longer than the window.
    pub(crate) is_truncated: bool,
}

impl Tokenizer {
    /// The tokenizer of a repository.
    ///
    /// # Errors
    /// `model_load` if it has none, or one that cannot be used; the message says what to do.
    pub(crate) fn of_model(files: &ModelFiles, cleaning: Cleaning) -> Result<Self> {
        let bytes = match files.read("tokenizer.json")? {
            Some(bytes) => bytes,
            None => vocabulary::as_tokenizer_json(files)?,
        };
        let wrong = |why: &dyn fmt::Display| unusable(&format!("{} cannot be used: {why}", named(files)));
        let highest = check::check(&bytes).map_err(|why| wrong(&why))?;
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes).map_err(|error| wrong(&error))?;
        inner.with_truncation(None).map_err(|error| wrong(&error))?;
        inner.with_padding(None);
        let mut steps = cleaning_steps(cleaning, &inner).map_err(|error| wrong(&error))?;
        if !steps.is_empty() {
            steps.extend(inner.get_normalizer().cloned());
            inner.with_normalizer(Some(Sequence::new(steps))).map_err(|error| wrong(&error))?;
        }
        inner.encode_fast(PROBE, false).map_err(|error| wrong(&error))?;
        let (prefix, suffix) = special_tokens(&inner)
            .ok_or_else(|| unusable(&format!("{} puts no special tokens around a text", named(files))))?;
        let added = inner.get_added_tokens_decoder().into_keys();
        let highest_id = added.chain(prefix.iter().chain(&suffix).copied()).fold(highest, u32::max);
        let side = side(files)?;
        Ok(Self { inner, prefix, suffix, window: usize::MAX, padding: None, side, highest_id })
    }

    /// The highest id that a text may get.
    pub(crate) fn highest_id(&self) -> u32 {
        self.highest_id
    }

    /// Whether every text gets this special token.
    pub(crate) fn always_adds(&self, id: u32) -> bool {
        self.prefix.contains(&id) || self.suffix.contains(&id)
    }

    /// Sets the most tokens of a text.
    ///
    /// # Errors
    /// `model_load` if special tokens leave no room for a text.
    pub(crate) fn with_window(self, window: usize) -> Result<Self> {
        if window <= self.special() {
            return Err(unusable(&format!("a window of {window} tokens leaves no room for a text")));
        }
        Ok(Self { window, ..self })
    }

    /// Puts no special tokens around texts.
    pub(crate) fn without_special_tokens(self) -> Self {
        Self { prefix: Vec::new(), suffix: Vec::new(), ..self }
    }

    /// Cuts longer texts on this side.
    #[cfg(test)]
    pub(super) fn with_side(self, side: Side) -> Self {
        Self { side, ..self }
    }

    /// Pads short texts to the window with this token.
    pub(crate) fn with_padding(self, padding: Padding) -> Self {
        Self { padding: Some(padding), ..self }
    }

    /// The padding that `tokenizer_config.json` describes. The default side is that of transformers: left for tokenizers of
    /// Gemma's kind, else right.
    ///
    /// # Errors
    /// `model_load` if it names no token.
    pub(crate) fn padding(&self, files: &ModelFiles) -> Result<Padding> {
        let config: Value = files.json("tokenizer_config.json")?.unwrap_or_default();
        let text = |name: &str| config.get(name).and_then(Value::as_str);
        let class = text("tokenizer_class").unwrap_or_default().trim_end_matches("Fast");
        let usual = if ["GemmaTokenizer", "Siglip2Tokenizer"].contains(&class) { "left" } else { "right" };
        let is_left = text("padding_side").unwrap_or(usual) == "left";
        let token = config.get("pad_token").map(|token| token.get("content").unwrap_or(token));
        let id = token.and_then(Value::as_str).and_then(|token| self.inner.token_to_id(token));
        id.map(|id| Padding { id, is_left }).ok_or_else(|| {
            unusable("tokenizer_config.json names no `pad_token` of the tokenizer, which the model needs")
        })
    }

    /// The id of a token, if there is one of this spelling.
    pub(crate) fn id_of(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The special tokens before and after every text.
    pub(crate) fn special_ids(&self) -> (&[u32], &[u32]) {
        (&self.prefix, &self.suffix)
    }

    /// All tokens of a text, without special ones. The caller bounds its length.
    ///
    /// # Errors
    /// `invalid_request` if it cannot be tokenised.
    pub(crate) fn plain_ids(&self, text: &str) -> Result<Vec<u32>> {
        Ok(self.content(text)?.get_ids().to_vec())
    }

    /// The most tokens of a text, special ones included.
    pub(crate) fn window(&self) -> usize {
        self.window
    }

    /// How many tokens a text has before it is cut, special ones included.
    ///
    /// # Errors
    /// `invalid_request` if it cannot be tokenised.
    pub(crate) fn count(&self, text: &str) -> Result<usize> {
        Ok(self.content(text)?.len() + self.special())
    }

    /// All tokens of a text, special ones included, before it is cut.
    ///
    /// # Errors
    /// `invalid_request` if it cannot be tokenised.
    pub(crate) fn all_tokens(&self, text: &str) -> Result<Vec<u32>> {
        let content = self.content(text)?;
        Ok([&self.prefix[..], content.get_ids(), &self.suffix].concat())
    }

    /// The text that tokens stand for, without special ones.
    ///
    /// # Errors
    /// `invalid_request` for a number that is no token.
    pub(crate) fn text_of(&self, tokens: &[u32]) -> Result<String> {
        if let Some(unknown) = tokens.iter().find(|token| self.inner.id_to_token(**token).is_none()) {
            return Err(Error::invalid_request(format!("{unknown} is no token of the model")));
        }
        let text = self.inner.decode(tokens, true);
        text.map_err(|_| Error::invalid_request("these tokens stand for no text"))
    }

    /// How many tokens a prompt puts before a text, special tokens included.
    pub(crate) fn prompt_length(&self, prompt: &str) -> Result<usize> {
        Ok(self.content(prompt)?.len() + self.prefix.len())
    }

    /// A text's tokens, cut to the window with the special tokens kept.
    ///
    /// # Errors
    /// `invalid_request` if it cannot be tokenised.
    pub(crate) fn encode(&self, prompt: &str, text: &str) -> Result<Encoded> {
        let content = match prompt {
            "" => self.content_in_window(text)?,
            _ => self.content_in_window(&format!("{prompt}{text}"))?,
        };
        let mut ids = Vec::with_capacity(content.ids.len() + self.special());
        ids.extend_from_slice(&self.prefix);
        ids.extend_from_slice(&content.ids);
        ids.extend_from_slice(&self.suffix);
        if let Some(Padding { id, is_left }) = self.padding {
            let missing = self.window.saturating_sub(ids.len());
            ids.resize(self.window, id);
            ids.rotate_right(if is_left { missing } else { 0 });
        }
        Ok(Encoded { ids, is_truncated: content.is_cut })
    }

    /// The tokens of many texts, several at a time.
    ///
    /// # Errors
    /// `invalid_request` if one cannot be tokenised.
    pub(crate) fn encode_all(&self, pool: &Pool, prompt: &str, texts: &[&str]) -> Result<Vec<Encoded>> {
        let length: usize = texts.iter().map(|text| text.len().min(self.max_bytes())).sum();
        if length < MIN_PARALLEL_BYTES {
            let encode = |(index, text): (usize, &&str)| {
                self.encode(prompt, text).map_err(|error| error.about_input(index))
            };
            return texts.iter().enumerate().map(encode).collect();
        }
        let mut results: Vec<Result<Encoded>> = texts.iter().map(|_| Ok(Encoded::default())).collect();
        pool.parallel_chunks(&mut results, TEXTS_PER_TASK, |part, results| {
            for (result, text) in results.iter_mut().zip(&texts[part * TEXTS_PER_TASK..]) {
                *result = self.encode(prompt, text);
            }
        });
        let named =
            |(index, result): (usize, Result<Encoded>)| result.map_err(|error| error.about_input(index));
        results.into_iter().enumerate().map(named).collect()
    }

    /// All tokens of a text, without special ones.
    pub(super) fn content(&self, text: &str) -> Result<tokenizers::Encoding> {
        self.inner.encode_fast(text, false).map_err(|_| not_tokenised())
    }

    /// The most tokens of a text, without special ones.
    pub(super) fn room(&self) -> usize {
        self.window - self.special()
    }

    fn special(&self) -> usize {
        self.prefix.len() + self.suffix.len()
    }
}

pub(super) fn not_tokenised() -> Error {
    Error::invalid_request("a text cannot be tokenised by the model's tokenizer")
}

/// The side that `tokenizer_config.json` names.
fn side(files: &ModelFiles) -> Result<Side> {
    let config: Value = files.json("tokenizer_config.json")?.unwrap_or_default();
    match config.get("truncation_side").and_then(Value::as_str) {
        None | Some("right") => Ok(Side::End),
        Some("left") => Ok(Side::Start),
        Some(other) => Err(unusable(&format!(
            "`truncation_side` is '{other}' in tokenizer_config.json; valid: right, left"
        ))),
    }
}

/// The steps of a cleaning; a step that the tokenizer has too changes nothing.
fn cleaning_steps(
    cleaning: Cleaning,
    tokenizer: &tokenizers::Tokenizer,
) -> tokenizers::Result<Vec<NormalizerWrapper>> {
    let is_unigram = matches!(tokenizer.get_model(), ModelWrapper::Unigram(_));
    let pattern = |text: &str| ReplacePattern::Regex(text.to_owned());
    Ok(match cleaning {
        Cleaning::None => Vec::new(),
        Cleaning::Siglip if is_unigram => vec![
            Replace::new(ReplacePattern::String("▁".to_owned()), " ")?.into(),
            Lowercase.into(),
            Replace::new(pattern(r"[!-/:-@\[-`{-~]"), "")?.into(),
            Replace::new(pattern(r"\s+"), " ")?.into(),
            Strip::new(true, true).into(),
        ],
        Cleaning::LowerCase | Cleaning::Siglip => vec![Lowercase.into()],
    })
}

/// The special tokens before and after a text, found by encoding one with and without them.
fn special_tokens(tokenizer: &tokenizers::Tokenizer) -> Option<(Vec<u32>, Vec<u32>)> {
    let with = tokenizer.encode_fast("a b", true).ok()?;
    let without = tokenizer.encode_fast("a b", false).ok()?;
    let (with, without) = (with.get_ids(), without.get_ids());
    let at = with.windows(without.len().max(1)).position(|part| part == without)?;
    Some((with[..at].to_vec(), with[at + without.len()..].to_vec()))
}

fn named(files: &ModelFiles) -> String {
    files.path("tokenizer.json").display().to_string()
}

fn unusable(message: &str) -> Error {
    Error::new(ErrorKind::ModelLoad, message)
}

impl fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokenizer").field("window", &self.window).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
mod tests;
