//! Many conversations at once, token by token.
//!
//! The model's thread computes in steps. A step has the next token of every answer in progress and, in what room is left,
//! pieces of prompts: so a long prompt holds the others up by one piece at most, and a new request starts with the next
//! step. Whatever a step holds, each conversation gets the bits that it would get alone.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::PoisonError;

use super::conversation::{ChatJob, Conversation};
use super::model::ChatModel;
use super::prefix::{MIN_REUSED, PrefixStore, common};
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::{Cached, TextCache, Tokens};
use crate::local::ops::Tensor;
use crate::local::runtime::{Queued, Work, thread_lost};

/// Tokens of prompts in a step that answers wait for.
const PREFILL_BESIDE_ANSWERS: usize = 256;

/// Tokens of prompts in a step without answers.
const PREFILL_ALONE: usize = 512;

/// A prompt gets at least so many tokens of a step.
const MIN_PIECE: usize = 32;

impl Work for ChatModel {
    type Job = ChatJob;

    fn work(&self, first: ChatJob, more: &mut Queued<'_, ChatJob>) {
        let mut line = Line { model: self, waiting: VecDeque::from([first]), running: Vec::new() };
        loop {
            while let Some(job) = more.next() {
                line.waiting.push_back(job);
            }
            line.leave();
            let mut prefixes = self.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
            line.admit(&mut prefixes);
            drop(prefixes);
            if line.running.is_empty() {
                return;
            }
            line.step();
        }
    }
}

/// The conversations in progress, and the requests that wait.
struct Line<'a> {
    model: &'a ChatModel,
    waiting: VecDeque<ChatJob>,
    running: Vec<Conversation>,
}

impl Line<'_> {
    /// Lets those go that are over, or that nobody waits for; what others may go on from is kept.
    fn leave(&mut self) {
        self.waiting.retain(ChatJob::is_wanted);
        let mut rest = Vec::new();
        for conversation in self.running.drain(..) {
            if !conversation.is_over() && conversation.job.is_wanted() {
                rest.push(conversation);
                continue;
            }
            let prefilled = conversation.prefilled();
            let Conversation { job, cache, .. } = conversation;
            let mut prefixes = self.model.prefixes.lock().unwrap_or_else(PoisonError::into_inner);
            prefixes.keep(job.prompt, prefilled, cache);
        }
        self.running = rest;
    }

    /// Takes in requests in their order, as long as there is memory for the longest answers that they may get.
    fn admit(&mut self, prefixes: &mut PrefixStore) {
        while self.running.len() < self.model.limits.running
            && let Some(job) = self.waiting.front()
        {
            let capacity = job.capacity();
            let reserved: usize = self.running.iter().map(|other| other.job.capacity()).sum();
            let room = self.model.limits.cache_tokens.saturating_sub(reserved);
            if capacity > room && !self.running.is_empty() {
                return;
            }
            let Some(job) = self.waiting.pop_front() else { return };
            // The last token is computed in any case: its logits are needed. Where all are, nothing is reused.
            let usable =
                if job.scores_prompt { 0 } else { job.whole_images(job.prompt.len().saturating_sub(1)) };
            match self.begin(&job.prompt[..usable], capacity, room, prefixes) {
                Ok(cache) => self.running.push(Conversation::new(job, cache)),
                Err(error) => job.end(Err(error)),
            }
        }
    }

    /// A cache for a new conversation, with as much of the prompt in it as others have.
    fn begin(
        &self,
        usable: &[u32],
        capacity: usize,
        room: usize,
        prefixes: &mut PrefixStore,
    ) -> Result<TextCache> {
        let model = &self.model.model;
        if capacity > room {
            let text = format!(
                "the conversation may have {capacity} tokens and there is memory for {room}: raise `cache_bytes`, or lower \
                 `max_tokens`"
            );
            return Err(Error::new(ErrorKind::OutOfMemory, text));
        }
        let fits = |cache: &TextCache| model.fits(cache, capacity);
        let of_running = self
            .running
            .iter()
            .filter(|other| fits(&other.cache))
            .max_by_key(|other| common(&other.job.prompt[..other.prefilled()], usable));
        let shared = of_running.map_or(0, |other| common(&other.job.prompt[..other.prefilled()], usable));
        let stored = prefixes.longest(usable, fits);
        let cache = if stored >= MIN_REUSED.max(shared) {
            prefixes.take(usable, stored, capacity, fits)?
        } else if shared >= MIN_REUSED {
            of_running.map(|other| other.cache.fork(shared, capacity)).transpose()?
        } else {
            None
        };
        while prefixes.tokens() + capacity > room && prefixes.evict() {}
        cache.map_or_else(|| model.new_cache(capacity), Ok)
    }

    /// Computes one step.
    fn step(&mut self) {
        // Answers first, as the kernels want them.
        self.running.sort_by_key(|conversation| !conversation.is_decoding());
        let answers = self.running.iter().take_while(|conversation| conversation.is_decoding()).count();
        let budget = if answers > 0 { PREFILL_BESIDE_ANSWERS } else { PREFILL_ALONE };
        let prompts = self.running.len() - answers;
        let piece = (budget / prompts.max(1)).max(MIN_PIECE);
        // The piece of each; those that find no room wait for the next step.
        let mut rest = budget;
        let mut pieces = Vec::new();
        for conversation in &self.running {
            let length = match conversation.is_decoding() {
                true => 1,
                // An image is not cut: the last piece of a step may be longer than the rest by one.
                false => conversation.next_tokens(piece.min(rest)).len(),
            };
            if !conversation.is_decoding() {
                rest = rest.saturating_sub(length);
            }
            pieces.push(length);
        }
        let members: Vec<usize> = (0..pieces.len()).filter(|index| pieces[*index] > 0).collect();
        if self.compute(&members, &pieces).is_err() && members.len() > 1 {
            // Whoever's fault it is: alone, the others go on with the same bits.
            for member in &members {
                if let Err(error) = self.compute(&[*member], &pieces) {
                    self.running[*member].fail(error);
                }
            }
        }
        // Prompts that were first are last the next time.
        if prompts > 1 {
            self.running[answers..].rotate_left(1);
        }
    }

    /// Computes some conversations together, by the pieces that they get. If that fails they are as they were; a single
    /// one ends with the error.
    fn compute(&mut self, members: &[usize], pieces: &[usize]) -> Result<()> {
        let mut chosen: Vec<&mut Conversation> = Vec::new();
        for (index, conversation) in self.running.iter_mut().enumerate() {
            if members.contains(&index) {
                chosen.push(conversation);
            }
        }
        let known: Vec<usize> = chosen.iter().map(|conversation| conversation.known()).collect();
        let computed = catch_unwind(AssertUnwindSafe(|| {
            let lengths = members.iter().map(|member| pieces[*member]);
            logits(self.model, &mut chosen, lengths)
        }));
        let computed = computed.unwrap_or_else(|_| Err(thread_lost())).and_then(|(logits, rows)| {
            let width = self.model.model.vocab_size();
            let values = logits.values()?;
            let mut next: Vec<Option<&[f32]>> = vec![None; chosen.len()];
            for (logits, (member, place)) in values.chunks_exact(width.max(1)).zip(rows) {
                match place {
                    Some(place) => chosen[member].score(place, logits, &self.model.tokenizer),
                    None => next[member] = Some(logits),
                }
            }
            let mut pairs: Vec<_> =
                chosen.iter_mut().zip(next).filter_map(|(one, logits)| Some((one, logits?))).collect();
            // Choosing tokens takes a while with large vocabularies and grammars.
            self.model.device.cpu.pool.parallel_chunks(&mut pairs, 1, |_, pairs| {
                for (conversation, logits) in pairs {
                    advance(conversation, logits, self.model);
                }
            });
            Ok(())
        });
        if let Err(error) = computed {
            for (conversation, known) in chosen.iter_mut().zip(known) {
                conversation.cache.truncate(known);
            }
            match chosen.as_mut_slice() {
                [only] => only.fail(error),
                _ => return Err(error),
            }
        }
        Ok(())
    }
}

/// Goes on by a token; whatever breaks, breaks this conversation alone.
fn advance(conversation: &mut Conversation, logits: &[f32], model: &ChatModel) {
    let advanced = catch_unwind(AssertUnwindSafe(|| conversation.advance(logits, &model.tokenizer)));
    if advanced.is_err() {
        conversation.fail(thread_lost());
    }
}

/// Whose logits a row has, and of which token of the prompt; without one, of the next token of the answer.
type Row = (usize, Option<usize>);

/// The logits of those whose prompt is complete, and of prompts that are scored.
fn logits(
    model: &ChatModel,
    chosen: &mut [&mut Conversation],
    lengths: impl Iterator<Item = usize>,
) -> Result<(Tensor, Vec<Row>)> {
    let lengths: Vec<usize> = lengths.collect();
    let texts = chosen.iter().zip(&lengths).map(|(conversation, length)| conversation.next_tokens(*length));
    let mut tokens = Tokens::new(texts);
    let (mut rows, mut members, mut end) = (Vec::new(), Vec::new(), 0_u32);
    for (member, (conversation, length)) in chosen.iter().zip(&lengths).enumerate() {
        let start = end;
        end += u32::try_from(*length).unwrap_or(u32::MAX);
        let (known, prompt) = (conversation.known(), conversation.job.prompt.len());
        if !conversation.is_decoding() {
            for image in conversation.images_in(known..known + length) {
                tokens.put_image(start as usize + image.tokens.start - known, image.states.clone());
            }
        }
        if conversation.job.scores_prompt && !conversation.is_decoding() {
            let places = (known + 1..prompt).take(*length);
            members.extend(places.clone().map(|place| (member, Some(place))));
            rows.extend((start..).take(places.len()));
        }
        if conversation.is_decoding() || known + length == prompt {
            rows.push(end - 1);
            members.push((member, None));
        }
    }
    let decoding = chosen.iter().take_while(|conversation| conversation.is_decoding()).count();
    let mut caches: Vec<&mut TextCache> =
        chosen.iter_mut().map(|conversation| &mut conversation.cache).collect();
    let cached = Cached { caches: &mut caches, decoding };
    let logits = model.model.logits(&tokens, Some(cached), &rows)?;
    Ok((logits, members))
}

#[cfg(test)]
#[path = "scheduler_tests.rs"]
mod tests;
