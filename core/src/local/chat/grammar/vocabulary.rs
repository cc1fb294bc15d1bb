//! A tokenizer as the grammar library sees it: the bytes of every token.

use std::sync::Arc;

use llguidance::toktrie::{TokEnv, TokRxInfo, TokTrie, TokenizerEnv};

use crate::local::tokenizer::ChatTokenizer;

struct Vocabulary(TokTrie);

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<u32> {
        self.0.greedy_tokenize(bytes)
    }

    /// What is tokenised greedily is not what the model would write, so nothing is forced by it.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

/// The tokens of a tokenizer, with control tokens as such.
///
/// # Errors
/// If no token ends an answer.
pub(super) fn environment(tokenizer: &ChatTokenizer) -> Result<TokEnv, String> {
    let size = u32::try_from(tokenizer.vocab_size()).unwrap_or(u32::MAX);
    let mut words: Vec<Vec<u8>> = (0..size).map(|token| tokenizer.bytes_of(token).to_vec()).collect();
    for token in tokenizer.added().iter().filter(|token| token.is_control) {
        if let Some(word) = words.get_mut(token.id as usize) {
            *word = [&[TokTrie::SPECIAL_TOKEN_MARKER], token.text.as_bytes()].concat();
        }
    }
    let ends: Vec<u32> = tokenizer.ends().iter().copied().filter(|end| *end < size).collect();
    let Some(first) = ends.first() else {
        return Err("no token ends an answer".to_owned());
    };
    let trie = TokTrie::from(&TokRxInfo::new(size, *first), &words).with_eos_tokens(&ends);
    Ok(Arc::new(Vocabulary(trie)))
}
