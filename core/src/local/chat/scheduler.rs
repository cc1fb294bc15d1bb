//! Many conversations at once, token by token.
//!
//! The model's thread computes in steps. A step has the next token of every answer in progress and, in what room is left,
//! pieces of prompts: so a long prompt holds the others up by one piece at most, and a new request starts with the next
//! step. Whatever a step holds, each conversation gets the bits that it would get alone.
//!
//! Requests are let in while there is memory for their prompts. Where answers then need more than there is, stored beginnings
//! go first, and then the newest answer waits: its tokens are computed again later, with the same bits.

use std::collections::{HashSet, VecDeque};
use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use super::conversation::{ChatJob, Conversation};
use super::model::ChatModel;
use super::prefix::{MIN_REUSED, PrefixStore, common};
use super::step::Piece;
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::TextCache;
use crate::local::ops::KvMemory;
use crate::local::runtime::{Queued, Work};

impl Work for ChatModel {
    type Job = ChatJob;

    fn work(&self, first: ChatJob, more: &mut Queued<'_, ChatJob>) {
        let mut line = Line { model: self, waiting: VecDeque::new(), running: Vec::new() };
        line.enqueue(first);
        loop {
            while let Some(job) = more.next() {
                line.enqueue(job);
            }
            {
                let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
                line.leave(&mut prefixes);
                line.admit(&mut prefixes);
            }
            if line.running.is_empty() {
                return;
            }
            line.step();
        }
    }
}

/// The conversations in progress, in the order in which they were let in, and the requests that wait.
pub(super) struct Line<'a> {
    pub(super) model: &'a ChatModel,
    waiting: VecDeque<Conversation>,
    pub(super) running: Vec<Conversation>,
}

impl Line<'_> {
    /// Puts a request after those that are as urgent or more so.
    fn enqueue(&mut self, job: ChatJob) {
        let place = self.waiting.partition_point(|other| other.job.priority <= job.priority);
        self.waiting.insert(place, Conversation::new(job, self.model.speculate));
    }

    /// Lets those go that are over, or that nobody waits for; what others may go on from is kept.
    fn leave(&mut self, prefixes: &mut PrefixStore) {
        self.waiting.retain(|conversation| conversation.job.is_wanted());
        let is_here =
            |conversation: &mut Conversation| !conversation.is_over() && conversation.job.is_wanted();
        for gone in self.running.extract_if(.., |conversation| !is_here(conversation)) {
            if self.model.model.reuses() {
                let prefilled = gone.prefilled();
                prefixes.keep(&gone.job.prompt, prefilled, gone.cache);
            }
        }
    }

    /// Takes in requests in their order, as long as there is memory for their prompts.
    fn admit(&mut self, prefixes: &mut PrefixStore) {
        while self.running.len() < self.model.limits.running
            && let Some(mut next) = self.waiting.pop_front()
        {
            match self.begin(&next, prefixes) {
                Ok(Some(cache)) => {
                    next.start(cache);
                    self.running.push(next);
                }
                Ok(None) => return self.waiting.push_front(next),
                Err(error) => next.fail(error),
            }
        }
    }

    /// A cache for a conversation, with as much of the prompt in it as others have; nothing as long as there is no room.
    fn begin(&self, next: &Conversation, prefixes: &mut PrefixStore) -> Result<Option<TextCache>> {
        let (model, limits) = (&self.model.model, self.model.limits);
        let (capacity, prompt) = (next.job.capacity(), next.reusable());
        if capacity > limits.cache_tokens {
            let text = format!(
                "the conversation may have {capacity} tokens and there is memory for {}: raise `cache_bytes`, or lower \
                 `max_tokens`",
                limits.cache_tokens
            );
            return Err(Error::new(ErrorKind::OutOfMemory, text));
        }
        let is_long = model.is_long(capacity);
        let of_running = self
            .running
            .iter()
            .filter(|other| model.reuses() && other.cache.is_long() == is_long)
            .map(|other| (common(&other.job.prompt[..other.prefilled()], prompt), other))
            .max_by_key(|(shared, _)| *shared);
        let shared = of_running.map_or(0, |(shared, _)| shared);
        let needed = self.needed(next, if shared >= MIN_REUSED { shared } else { 0 });
        let (held, coming) = self.held();
        // Some will need another page soon, and nobody should be let in only to be interrupted.
        let spare = self.running.len().div_ceil(4) * KvMemory::PAGE * model.cache_bytes_per_token();
        if held + coming + needed + spare > limits.cache_bytes && !self.running.is_empty() {
            return Ok(None);
        }
        let (stored, to_read) = prefixes.find(prompt, is_long);
        let empty = || model.new_cache(capacity);
        let room = |prefixes: &mut PrefixStore, needed: usize| {
            while model.cache_bytes() + coming + needed > limits.cache_bytes && prefixes.evict() {}
        };
        // Others make room for what is read back.
        let reading = to_read.div_ceil(KvMemory::PAGE) * KvMemory::PAGE * model.cache_bytes_per_token();
        let is_stored = stored >= MIN_REUSED.max(shared) && {
            room(prefixes, reading);
            model.cache_bytes() + reading <= limits.cache_bytes
        };
        if !is_stored {
            room(prefixes, needed);
            return match of_running.filter(|(shared, _)| *shared >= MIN_REUSED) {
                Some((shared, other)) => other.cache.fork(shared, capacity).map(Some),
                None => empty().map(Some),
            };
        }
        let cache =
            prefixes.take(prompt, stored, capacity, empty)?.filter(|cache| cache.is_long() == is_long);
        room(prefixes, self.needed(next, cache.as_ref().map_or(0, TextCache::len)));
        match cache {
            Some(cache) => Ok(Some(cache)),
            None => empty().map(Some),
        }
    }

    /// How much memory a conversation takes at first, in bytes, beside the first `reused` tokens, which it shares. On a GPU it
    /// takes all at once.
    fn needed(&self, conversation: &Conversation, reused: usize) -> usize {
        let per_token = self.model.model.cache_bytes_per_token();
        if !self.model.model.is_paged() {
            return conversation.job.capacity() * per_token;
        }
        let pages = (conversation.tokens() + 1).div_ceil(KvMemory::PAGE) - reused / KvMemory::PAGE;
        pages * KvMemory::PAGE * per_token
    }

    /// How much memory those in progress have, in bytes, and how much more their prompts will need.
    fn held(&self) -> (usize, usize) {
        let per_token = self.model.model.cache_bytes_per_token();
        if !self.model.model.is_paged() {
            let capacities = self.running.iter().map(|conversation| conversation.job.capacity());
            return (capacities.sum::<usize>() * per_token, 0);
        }
        let pages: HashSet<usize> = self.running.iter().flat_map(|one| one.cache.pages()).collect();
        let rest = |one: &Conversation| one.cache.growth((one.tokens() + 1).saturating_sub(one.known()));
        (pages.len() * KvMemory::PAGE * per_token, self.running.iter().map(rest).sum())
    }

    /// Makes room for what the next step adds to those in progress: beginnings go first, then the newest of those that are the
    /// least urgent waits, and its piece is nobody's.
    pub(super) fn make_room(&mut self, pieces: &mut Vec<Piece>) {
        let mut prefixes = self.model.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_short = |line: &Self, pieces: &[Piece]| {
            let each = line.running.iter().zip(pieces);
            let growth: usize = each.map(|(one, piece)| one.cache.growth(piece.tokens.len())).sum();
            line.model.model.cache_bytes() + growth > line.model.limits.cache_bytes
        };
        while is_short(self, pieces) {
            if prefixes.evict() {
                continue;
            }
            let newest = (0..self.running.len()).max_by_key(|index| self.running[*index].precedence());
            let Some(newest) = newest.filter(|_| self.running.len() > 1) else { return };
            pieces.remove(newest);
            let mut conversation = self.running.remove(newest);
            self.model.counts.interrupted.fetch_add(1, Ordering::Relaxed);
            let prefilled = conversation.prefilled();
            prefixes.keep(&conversation.job.prompt, prefilled, std::mem::take(&mut conversation.cache));
            // It goes on before those that are as urgent.
            let place = self.waiting.partition_point(|other| other.job.priority < conversation.job.priority);
            self.waiting.insert(place, conversation);
        }
    }
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
