//! Beginnings of prompts whose keys and values are still there, so that a shared instruction or an earlier turn is not
//! computed again.
//!
//! Only what was computed as a prompt is kept. Tokens of an answer are computed one at a time, whose last bits may differ;
//! a conversation must not depend on what another one left.

use crate::error::Result;
use crate::local::models::TextCache;

/// A shorter beginning is not worth a copy.
pub(super) const MIN_REUSED: usize = 32;

/// The beginnings, the longest unused first.
#[derive(Debug, Default)]
pub(super) struct PrefixStore {
    stored: Vec<StoredPrefix>,
}

#[derive(Debug)]
struct StoredPrefix {
    tokens: Vec<u32>,
    cache: TextCache,
}

/// How many tokens two texts begin with together.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl PrefixStore {
    /// How many tokens are stored.
    pub(super) fn tokens(&self) -> usize {
        self.stored.iter().map(|stored| stored.tokens.len()).sum()
    }

    /// Keeps the first `length` tokens of a text.
    pub(super) fn keep(&mut self, mut tokens: Vec<u32>, length: usize, mut cache: TextCache) {
        if length < MIN_REUSED {
            return;
        }
        tokens.truncate(length);
        // A longer text with this beginning serves as well, and makes shorter ones needless.
        if self.stored.iter().any(|stored| stored.tokens.starts_with(&tokens)) {
            return;
        }
        self.stored.retain(|stored| !tokens.starts_with(&stored.tokens));
        cache.truncate(length);
        cache.shrink();
        self.stored.push(StoredPrefix { tokens, cache });
    }

    /// How much of a prompt is stored at most.
    pub(super) fn longest(&self, prompt: &[u32], fits: impl Fn(&TextCache) -> bool) -> usize {
        let fitting = self.stored.iter().filter(|stored| fits(&stored.cache));
        fitting.map(|stored| common(&stored.tokens, prompt)).max().unwrap_or(0)
    }

    /// A cache that holds the first `length` tokens of a prompt, with room for `capacity`. A text that the whole prompt
    /// goes on from gives its own away.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub(super) fn take(
        &mut self,
        prompt: &[u32],
        length: usize,
        capacity: usize,
        fits: impl Fn(&TextCache) -> bool,
    ) -> Result<Option<TextCache>> {
        let serves = |stored: &StoredPrefix| fits(&stored.cache) && common(&stored.tokens, prompt) >= length;
        let Some(index) = self.stored.iter().position(serves) else { return Ok(None) };
        let stored = self.stored.remove(index);
        if stored.tokens.len() == length {
            let mut cache = stored.cache;
            cache.reserve(capacity);
            return Ok(Some(cache));
        }
        let cache = stored.cache.fork(length, capacity);
        // Used just now.
        self.stored.push(stored);
        cache.map(Some)
    }

    /// Drops what was longest unused; says whether there was something.
    pub(super) fn evict(&mut self) -> bool {
        if self.stored.is_empty() {
            return false;
        }
        self.stored.remove(0);
        true
    }
}
