//! From a text to the token ids that a model takes.
//!
//! The repository's own tokenizer makes the ids. Special tokens, truncation and padding are applied here: what
//! `tokenizer.json` says about the last two is left over from other uses.

use std::fmt;

use serde_json::Value;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, Replace, Sequence, Strip};
use tokenizers::{ModelWrapper, NormalizerWrapper};

use super::vocabulary;
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::ModelFiles;
use ayni_kernels::Pool;

/// How many texts a thread takes at a time.
const TEXTS_PER_TASK: usize = 4;

/// Texts with fewer bytes in all are encoded on the calling thread.
const MIN_PARALLEL_BYTES: usize = 2000;

/// Makes token ids of texts. Shared by all threads.
pub(crate) struct Tokenizer {
    inner: tokenizers::Tokenizer,
    /// The special tokens before every text.
    prefix: Vec<u32>,
    /// The special tokens after it.
    suffix: Vec<u32>,
    /// The most tokens of a text, special ones included.
    window: usize,
    /// How short texts are padded to the window, for models that were trained so.
    padding: Option<Padding>,
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
        let mut inner = tokenizers::Tokenizer::from_bytes(bytes)
            .map_err(|error| unusable(&format!("{} cannot be used: {error}", named(files))))?;
        inner.with_truncation(None).map_err(|error| unusable(&error.to_string()))?;
        inner.with_padding(None);
        let mut steps = cleaning_steps(cleaning, &inner).map_err(|error| unusable(&error.to_string()))?;
        if !steps.is_empty() {
            steps.extend(inner.get_normalizer().cloned());
            inner
                .with_normalizer(Some(Sequence::new(steps)))
                .map_err(|error| unusable(&error.to_string()))?;
        }
        let (prefix, suffix) = special_tokens(&inner)
            .ok_or_else(|| unusable(&format!("{} puts no special tokens around a text", named(files))))?;
        Ok(Self { inner, prefix, suffix, window: usize::MAX, padding: None })
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

    /// How many tokens a prompt puts before a text, special tokens included.
    pub(crate) fn prompt_length(&self, prompt: &str) -> Result<usize> {
        Ok(self.content(prompt)?.len() + self.prefix.len())
    }

    /// A text's tokens, cut to the window with the special tokens kept.
    ///
    /// # Errors
    /// `invalid_request` if it cannot be tokenised.
    pub(crate) fn encode(&self, prompt: &str, text: &str) -> Result<Encoded> {
        let encoding = match prompt {
            "" => self.content(text)?,
            _ => self.content(&format!("{prompt}{text}"))?,
        };
        let content = encoding.get_ids();
        let kept = &content[..content.len().min(self.window - self.special())];
        let mut ids = Vec::with_capacity(kept.len() + self.special());
        ids.extend_from_slice(&self.prefix);
        ids.extend_from_slice(kept);
        ids.extend_from_slice(&self.suffix);
        if let Some(Padding { id, is_left }) = self.padding {
            let missing = self.window.saturating_sub(ids.len());
            ids.resize(self.window, id);
            ids.rotate_right(if is_left { missing } else { 0 });
        }
        Ok(Encoded { ids, is_truncated: kept.len() < content.len() })
    }

    /// The tokens of many texts, several at a time.
    ///
    /// # Errors
    /// `invalid_request` if one cannot be tokenised.
    pub(crate) fn encode_all(&self, pool: &Pool, prompt: &str, texts: &[&str]) -> Result<Vec<Encoded>> {
        let length: usize = texts.iter().map(|text| text.len()).sum();
        if length < MIN_PARALLEL_BYTES {
            return texts.iter().map(|text| self.encode(prompt, text)).collect();
        }
        let mut results: Vec<Result<Encoded>> = texts.iter().map(|_| Ok(Encoded::default())).collect();
        pool.parallel_chunks(&mut results, TEXTS_PER_TASK, |part, results| {
            for (result, text) in results.iter_mut().zip(&texts[part * TEXTS_PER_TASK..]) {
                *result = self.encode(prompt, text);
            }
        });
        results.into_iter().collect()
    }

    fn content(&self, text: &str) -> Result<tokenizers::Encoding> {
        let encoded = self.inner.encode_fast(text, false);
        encoded.map_err(|_| Error::invalid_request("a text cannot be tokenised by the model's tokenizer"))
    }

    fn special(&self) -> usize {
        self.prefix.len() + self.suffix.len()
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
