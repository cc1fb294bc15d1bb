//! Beginnings of prompts whose keys and values are still there, so that a shared instruction or an earlier turn is not
//! computed again. Those that memory has no room for go to a folder, if there is one.
//!
//! Only what was computed as a prompt is kept. Tokens of an answer are computed one at a time, whose last bits may differ;
//! a conversation must not depend on what another one left.

use super::spill::{Spill, SpilledCache};
use crate::error::Result;
use crate::local::models::TextCache;

/// A shorter beginning is not worth keeping.
pub(super) const MIN_REUSED: usize = 32;

/// The beginnings, the longest unused first.
#[derive(Debug, Default)]
pub(super) struct PrefixStore {
    stored: Vec<StoredPrefix>,
    spill: Option<Spill>,
    /// How many were read back.
    pub(super) read_back: u64,
}

#[derive(Debug)]
struct StoredPrefix {
    tokens: Vec<u32>,
    place: Place,
    /// As a [`TextCache`] has it.
    is_long: bool,
}

#[derive(Debug)]
enum Place {
    Memory(TextCache),
    Spilled(SpilledCache),
}

/// How many tokens two texts begin with together.
pub(super) fn common(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

impl PrefixStore {
    /// No beginnings, and where those go that memory has no room for.
    pub(super) fn new(spill: Option<Spill>) -> Self {
        Self { stored: Vec::new(), spill, read_back: 0 }
    }

    /// Keeps the first `length` tokens of a text.
    pub(super) fn keep(&mut self, tokens: &[u32], length: usize, mut cache: TextCache) {
        if length < MIN_REUSED {
            return;
        }
        let (tokens, is_long) = (&tokens[..length], cache.is_long());
        let mut alike = self.stored.iter().filter(|stored| stored.is_long == is_long);
        // A longer text with this beginning serves as well, and makes shorter ones needless.
        if alike.any(|stored| stored.tokens.starts_with(tokens)) {
            return;
        }
        self.stored.retain(|stored| stored.is_long != is_long || !tokens.starts_with(&stored.tokens));
        cache.truncate(length);
        self.stored.push(StoredPrefix { tokens: tokens.to_vec(), place: Place::Memory(cache), is_long });
    }

    /// How much of a prompt is stored at most, for texts that are rotated as long ones or not, and how many tokens will be read
    /// back for that. What has it counts as used just now.
    pub(super) fn find(&mut self, prompt: &[u32], is_long: bool) -> (usize, usize) {
        let fitting = self.stored.iter().enumerate().filter(|(_, stored)| stored.is_long == is_long);
        let longest = fitting.map(|(index, stored)| (common(&stored.tokens, prompt), index)).max();
        let Some((length, index)) = longest.filter(|(length, _)| *length >= MIN_REUSED) else {
            return (0, 0);
        };
        let stored = self.stored.remove(index);
        let to_read = if matches!(stored.place, Place::Memory(_)) { 0 } else { stored.tokens.len() };
        self.stored.push(stored);
        (length, to_read)
    }

    /// What [`find`](Self::find) found last: a cache with the first `length` tokens of the prompt for a text of up to
    /// `capacity`; `empty` is one without tokens. Nothing if it was dropped since, or can't be read back.
    ///
    /// # Errors
    /// `out_of_memory` if a GPU has not so much.
    pub(super) fn take(
        &mut self,
        prompt: &[u32],
        length: usize,
        capacity: usize,
        empty: impl FnOnce() -> Result<TextCache>,
    ) -> Result<Option<TextCache>> {
        let serves = |stored: &mut StoredPrefix| common(&stored.tokens, prompt) >= length;
        let Some(mut stored) = self.stored.pop_if(serves) else { return Ok(None) };
        if let Place::Spilled(spilled) = &stored.place {
            let mut cache = empty()?;
            if let Err(error) = spilled.read(stored.tokens.len(), &mut cache) {
                tracing::warn!(%error, "the beginning of a conversation could not be read back");
                return Ok(None);
            }
            stored.place = Place::Memory(cache);
            self.read_back += 1;
        }
        let Place::Memory(cache) = &stored.place else { return Ok(None) };
        let fork = cache.fork(length, capacity);
        self.stored.push(stored);
        fork.map(Some)
    }

    /// Takes what was longest unused out of memory; says whether there was something.
    pub(super) fn evict(&mut self) -> bool {
        let is_here = |stored: &StoredPrefix| matches!(stored.place, Place::Memory(_));
        let Some(index) = self.stored.iter().position(is_here) else { return false };
        let Some(spill) = &self.spill else {
            self.stored.remove(index);
            return true;
        };
        let Place::Memory(cache) = &self.stored[index].place else { return false };
        match spill.write(cache) {
            Ok(spilled) => self.stored[index].place = Place::Spilled(spilled),
            Err(error) => {
                tracing::warn!(%error, "the beginning of a conversation could not be written to `spill`");
                self.stored.remove(index);
            }
        }
        while spill.is_full()
            && let Some(oldest) = self.stored.iter().position(|stored| !is_here(stored))
        {
            self.stored.remove(oldest);
        }
        true
    }
}
