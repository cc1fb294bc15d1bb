//! The tokenizer of a chat model: from prompts to token ids, and from an answer's ids back to text.

use std::fmt;
use std::sync::Arc;

use tokenizers::normalizer::Range as Span;
use tokenizers::{Model as _, Normalizer as _, OffsetType, PreTokenizedString, PreTokenizer as _, Token};

use super::added::{AddedToken, AddedTokens};
use super::decoder::{TokenBytes, TokenDecoder};
use super::prompt::Prompt;
use super::scored_pairs::ScoredPairs;
use super::{chat_files, gguf};
use crate::error::{Error, Result};
use crate::local::source::ModelFiles;
use crate::local::weights::Metadata;

/// Control tokens that mark thoughts and calls of tools in an answer: its reader needs to see them.
pub(super) const MARKS: [&str; 36] = [
    "<think>",
    "</think>",
    "[THINK]",
    "[/THINK]",
    "<|begin_of_thought|>",
    "<|end_of_thought|>",
    "<seed:think>",
    "</seed:think>",
    "<tool_call>",
    "</tool_call>",
    "<|tool_call|>",
    "<|/tool_call|>",
    "<|tool_call>",
    "<tool_call|>",
    "<|\"|>",
    "<arg_key>",
    "</arg_key>",
    "<arg_value>",
    "</arg_value>",
    "<|python_tag|>",
    "[TOOL_CALLS]",
    "[CALL_ID]",
    "[ARGS]",
    "<|channel|>",
    "<|message|>",
    "<|start|>",
    "<|end|>",
    "<|constrain|>",
    "<|call|>",
    "<|return|>",
    "<|tool_calls_section_begin|>",
    "<|tool_calls_section_end|>",
    "<|tool_call_begin|>",
    "<|tool_call_argument_begin|>",
    "<|tool_call_end|>",
    "<tool_response>",
];

/// Tokens that end an answer wherever a vocabulary has them.
const ENDS: [&str; 18] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<turn|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<end_of_utterance>",
    "<｜end▁of▁sentence｜>",
];

/// Whether a token of that text ends answers.
pub(super) fn ends_answers(text: &str) -> bool {
    ENDS.contains(&text)
}

/// What cuts text without added tokens, and makes ids of it.
pub(super) enum Engine {
    /// The steps of `tokenizer.json`. Its own list of added tokens is not used.
    Pipeline(Box<tokenizers::Tokenizer>),
    /// SentencePiece's byte pairs, with a space before what begins a text or follows an added token.
    ScoredPairs { pairs: ScoredPairs, adds_space: bool },
}

/// The chat templates that come with a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Templates {
    /// The one for conversations.
    pub(crate) default: Option<String>,
    /// Further ones by name, such as `tool_use`.
    pub(crate) named: Vec<(String, String)>,
}

/// The tokenizer of a chat model. Shared by all threads.
pub(crate) struct ChatTokenizer {
    engine: Engine,
    tokens: Arc<TokenBytes>,
    added: AddedTokens,
    /// Whether a space at the beginning of an answer only marks a word's beginning.
    drops_space: bool,
    /// The token before every text.
    pub(super) bos: Option<u32>,
    /// The token after every text.
    pub(super) eos: Option<u32>,
    pub(super) adds_bos: bool,
    /// Whether conversations get it too, if their template does not write it.
    pub(super) adds_bos_to_chat: bool,
    /// The tokens that end an answer, in order.
    ends: Vec<u32>,
    pub(super) templates: Templates,
}

impl ChatTokenizer {
    /// The tokenizer in a GGUF file's metadata.
    ///
    /// # Errors
    /// `model_load` if there is none, or it is damaged; `unsupported` for a kind that is not known.
    pub(crate) fn from_gguf(metadata: &Metadata) -> Result<Self> {
        gguf::read(metadata)
    }

    /// The tokenizer in a model's folder: `tokenizer.json`, with what `tokenizer_config.json`, `generation_config.json`
    /// and the files of templates add.
    ///
    /// # Errors
    /// `model_load` if a file is missing or damaged.
    pub(crate) fn from_files(files: &ModelFiles) -> Result<Self> {
        chat_files::read(files)
    }

    pub(super) fn new(engine: Engine, tokens: TokenBytes, added: AddedTokens, drops_space: bool) -> Self {
        Self {
            engine,
            tokens: Arc::new(tokens),
            added,
            drops_space,
            bos: None,
            eos: None,
            adds_bos: false,
            adds_bos_to_chat: false,
            ends: Vec::new(),
            templates: Templates::default(),
        }
    }

    /// Sets the tokens that end an answer: those that the model names, and those that do so wherever they exist.
    pub(super) fn set_ends(&mut self, mut ends: Vec<u32>) {
        let control = || self.added.tokens().iter().filter(|token| token.is_control);
        ends.extend(control().filter(|token| ends_answers(&token.text)).map(|token| token.id));
        // In gpt-oss's format this ends a message, not the answer.
        let has = |text: &str| control().any(|token| token.text == text);
        if has("<|call|>") && has("<|return|>") || has("<|calls|>") && has("<|flush|>") {
            let message_ends: Vec<u32> =
                control().filter(|token| token.text == "<|end|>").map(|token| token.id).collect();
            ends.retain(|id| !message_ends.contains(id));
        }
        ends.sort_unstable();
        ends.dedup();
        self.ends = ends;
    }

    /// The tokens of a prompt. Words of users that are spelled like control tokens are plain text, and the model's first
    /// token stands before it once where the model wants it.
    ///
    /// # Errors
    /// `invalid_request` if the text cannot be tokenised.
    pub(crate) fn encode(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        let (text, guard) = prompt.guarded();
        let mut ids = self.encode_text(text, guard)?;
        let wants_bos = if prompt.is_chat() { self.adds_bos_to_chat } else { self.adds_bos };
        if let Some(bos) = self.bos {
            let found = ids.iter().take_while(|id| **id == bos).count();
            if found > 1 {
                ids.drain(1..found);
            } else if found == 0 && wants_bos {
                ids.insert(0, bos);
            }
        }
        Ok(ids)
    }

    /// The tokens of a piece of an answer, control tokens included.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_fragment(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_text(text, None)
    }

    /// The tokens of a text, without one before or after it.
    fn encode_text(&self, text: &str, guard: Option<char>) -> Result<Vec<u32>> {
        let pieces = self.added.split(text, guard);
        // What the models see has no guards.
        let (mut clean, mut parts) = (String::with_capacity(text.len()), Vec::with_capacity(pieces.len()));
        for piece in pieces {
            let start = clean.len();
            clean.extend(text[piece.range].chars().filter(|character| Some(*character) != guard));
            parts.push((start..clean.len(), piece.token));
        }
        match &self.engine {
            Engine::Pipeline(tokenizer) => pipeline(tokenizer, &clean, &parts)
                .map_err(|_| Error::invalid_request("a text cannot be tokenised by the model's tokenizer")),
            Engine::ScoredPairs { pairs, adds_space } => {
                let mut ids = Vec::new();
                for (range, token) in parts {
                    match token {
                        Some(token) => ids.push(token),
                        None => {
                            let spaced = clean[range].replace(' ', "▁");
                            let spaced = if *adds_space { format!("▁{spaced}") } else { spaced };
                            pairs.encode(&spaced, &mut ids);
                        }
                    }
                }
                Ok(ids)
            }
        }
    }

    /// Makes text of an answer's tokens.
    pub(crate) fn decoder(&self) -> TokenDecoder {
        TokenDecoder::new(Arc::clone(&self.tokens), self.drops_space)
    }

    /// How many tokens the vocabulary has. A model may have more rows, which are never text.
    pub(crate) fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// Whether a token ends the answer.
    pub(crate) fn is_end(&self, token: u32) -> bool {
        self.ends.binary_search(&token).is_ok()
    }

    /// The tokens that end an answer.
    pub(crate) fn ends(&self) -> &[u32] {
        &self.ends
    }

    /// The bytes that a token stands for; its name for a control token, and none for one that does not exist.
    pub(crate) fn bytes_of(&self, token: u32) -> &[u8] {
        self.tokens.get(token)
    }

    /// The token before every text.
    pub(crate) fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The token after every text.
    pub(crate) fn eos(&self) -> Option<u32> {
        self.eos
    }

    /// The control tokens, and those that the vocabulary was extended by.
    pub(crate) fn added(&self) -> &[AddedToken] {
        self.added.tokens()
    }

    /// The chat templates that come with the model.
    pub(crate) fn templates(&self) -> &Templates {
        &self.templates
    }
}

/// The steps of `tokenizer.json`, with parts of the text already made tokens.
fn pipeline(
    tokenizer: &tokenizers::Tokenizer,
    text: &str,
    parts: &[(std::ops::Range<usize>, Option<u32>)],
) -> tokenizers::Result<Vec<u32>> {
    let mut cut = PreTokenizedString::from(text);
    cut.split(|_, whole| {
        let parts = parts.iter().filter_map(|(range, token)| {
            let part = whole.slice(Span::Original(range.clone()))?;
            let token = token.map(|id| vec![Token::new(id, String::new(), (0, range.len()))]);
            Some((part, token))
        });
        Ok(parts.collect::<Vec<_>>())
    })?;
    if let Some(normalizer) = tokenizer.get_normalizer() {
        cut.normalize(|part| normalizer.normalize(part))?;
    }
    if let Some(pre_tokenizer) = tokenizer.get_pre_tokenizer() {
        pre_tokenizer.pre_tokenize(&mut cut)?;
    }
    cut.tokenize(|part| tokenizer.get_model().tokenize(part.get()))?;
    Ok(cut.into_encoding(None, 0, OffsetType::None)?.get_ids().to_vec())
}

impl fmt::Debug for ChatTokenizer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ChatTokenizer({} tokens, ends: {:?})", self.vocab_size(), self.ends)
    }
}

#[cfg(test)]
#[path = "chat_tests.rs"]
mod tests;
