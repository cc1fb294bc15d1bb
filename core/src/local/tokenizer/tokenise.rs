//! From a text to the token ids that a model takes.
//!
//! The repository's own tokenizer makes the ids; special tokens, the window and padding are put on here, because
//! what `tokenizer.json` says about the last two is what somebody once used for something else.

use std::fmt;

use serde_json::Value;
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{Lowercase, Replace, Sequence, Strip};
use tokenizers::{ModelWrapper, NormalizerWrapper, Tokenizer};

use super::vocabulary;
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::ModelFiles;
use ayni_kernels::Pool;

/// Texts in a part of the work that one thread takes.
const TEXTS_A_PART: usize = 4;

/// Texts that are together shorter than this are not worth sharing among threads.
const SHORT: usize = 2000;

/// Makes token ids of texts. Shared by all threads.
pub(crate) struct Tokeniser {
    inner: Tokenizer,
    /// The special tokens in front of every text.
    before: Vec<u32>,
    /// Those behind it.
    after: Vec<u32>,
    /// The most tokens of a text, special ones included.
    window: usize,
    /// What short texts are filled up with, for models that were trained so.
    padding: Option<Padding>,
}

/// What happens to texts before the tokenizer's own steps, though its file does not say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Cleaning {
    /// Nothing.
    #[default]
    None,
    /// They are made lower case.
    LowerCase,
    /// What SigLIP was trained with: lower case; and for the first models, which have unigrams, no punctuation of ASCII
    /// and single spaces only, which the later ones, with Gemma's byte pairs, keep.
    Siglip,
}

/// The token that fills texts up, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Padding {
    pub(crate) id: u32,
    /// In front of the text, not behind it.
    pub(crate) is_in_front: bool,
}

/// A text's tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokenised {
    /// The ids, special tokens included.
    pub(crate) ids: Vec<u32>,
    /// Whether the text was longer than the window.
    pub(crate) is_cut: bool,
}

impl Tokeniser {
    /// The tokenizer of a repository.
    ///
    /// # Errors
    /// `model_load` if it has none, or one that cannot be used; the message says what to do.
    pub(crate) fn of_model(files: &ModelFiles, cleaning: Cleaning) -> Result<Self> {
        let bytes = match files.read("tokenizer.json")? {
            Some(bytes) => bytes,
            None => vocabulary::as_tokenizer_json(files)?,
        };
        let mut inner = Tokenizer::from_bytes(bytes)
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
        let (before, after) = special_tokens(&inner)
            .ok_or_else(|| unusable(&format!("{} puts no special tokens around a text", named(files))))?;
        Ok(Self { inner, before, after, window: usize::MAX, padding: None })
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

    /// Fills short texts up to the window with this token.
    pub(crate) fn with_padding(self, padding: Padding) -> Self {
        Self { padding: Some(padding), ..self }
    }

    /// What `tokenizer_config.json` fills texts up with, and where; where it does not say, behind the text, but in front
    /// of it for tokenizers of Gemma's kind, as transformers does.
    ///
    /// # Errors
    /// `model_load` if it names no token.
    pub(crate) fn padding(&self, files: &ModelFiles) -> Result<Padding> {
        let config: Value = files.json("tokenizer_config.json")?.unwrap_or_default();
        let text = |name: &str| config.get(name).and_then(Value::as_str);
        let class = text("tokenizer_class").unwrap_or_default().trim_end_matches("Fast");
        let usual = if ["GemmaTokenizer", "Siglip2Tokenizer"].contains(&class) { "left" } else { "right" };
        let is_in_front = text("padding_side").unwrap_or(usual) == "left";
        let token = config.get("pad_token").map(|token| token.get("content").unwrap_or(token));
        let id = token.and_then(Value::as_str).and_then(|token| self.inner.token_to_id(token));
        id.map(|id| Padding { id, is_in_front }).ok_or_else(|| {
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

    /// How many tokens a prompt puts in front of a text, the special ones before it included.
    pub(crate) fn prompt_length(&self, prompt: &str) -> Result<usize> {
        Ok(self.content(prompt)?.len() + self.before.len())
    }

    /// A text's tokens, cut to the window with the special tokens kept.
    ///
    /// # Errors
    /// `invalid_request` if it cannot be tokenised.
    pub(crate) fn tokenise(&self, prompt: &str, text: &str) -> Result<Tokenised> {
        let encoding = match prompt {
            "" => self.content(text)?,
            _ => self.content(&format!("{prompt}{text}"))?,
        };
        let content = encoding.get_ids();
        let kept = &content[..content.len().min(self.window - self.special())];
        let mut ids = Vec::with_capacity(kept.len() + self.special());
        ids.extend_from_slice(&self.before);
        ids.extend_from_slice(kept);
        ids.extend_from_slice(&self.after);
        if let Some(Padding { id, is_in_front }) = self.padding {
            let missing = self.window.saturating_sub(ids.len());
            ids.resize(self.window, id);
            ids.rotate_right(if is_in_front { missing } else { 0 });
        }
        Ok(Tokenised { ids, is_cut: kept.len() < content.len() })
    }

    /// The tokens of many texts, several at a time.
    ///
    /// # Errors
    /// `invalid_request` if one cannot be tokenised.
    pub(crate) fn tokenise_all(&self, pool: &Pool, prompt: &str, texts: &[&str]) -> Result<Vec<Tokenised>> {
        let length: usize = texts.iter().map(|text| text.len()).sum();
        if length < SHORT {
            return texts.iter().map(|text| self.tokenise(prompt, text)).collect();
        }
        let mut results: Vec<Result<Tokenised>> = texts.iter().map(|_| Ok(Tokenised::default())).collect();
        pool.parallel_chunks(&mut results, TEXTS_A_PART, |part, results| {
            for (result, text) in results.iter_mut().zip(&texts[part * TEXTS_A_PART..]) {
                *result = self.tokenise(prompt, text);
            }
        });
        results.into_iter().collect()
    }

    fn content(&self, text: &str) -> Result<tokenizers::Encoding> {
        let encoded = self.inner.encode_fast(text, false);
        encoded.map_err(|_| Error::invalid_request("a text cannot be tokenised by the model's tokenizer"))
    }

    fn special(&self) -> usize {
        self.before.len() + self.after.len()
    }
}

/// The steps of a cleaning; each changes nothing where the tokenizer has it too.
fn cleaning_steps(cleaning: Cleaning, tokenizer: &Tokenizer) -> tokenizers::Result<Vec<NormalizerWrapper>> {
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

/// What the tokenizer puts before and behind a text, read off a text that it was put around.
fn special_tokens(tokenizer: &Tokenizer) -> Option<(Vec<u32>, Vec<u32>)> {
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

impl fmt::Debug for Tokeniser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokeniser").field("window", &self.window).finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "tokenise_tests.rs"]
mod tests;
