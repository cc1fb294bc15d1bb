//! One answer as it comes to be: from sampled tokens to the events that the caller reads.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedSender;

use super::grammar::Constraint;
use super::images::{self, PromptImage};
use super::output::OutputReader;
use super::sampling::{Sampler, log_probabilities};
use super::speculation::{Speculate, Speculation};
use crate::chat::{ChatEvent, FinishReason, TokenLogprob};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::info::Usage;
use crate::local::models::TextCache;
use crate::local::runtime::Ticket;
use crate::local::tokenizer::{ChatTokenizer, TokenDecoder};

/// Where the events of an answer go; closed when nobody reads them any more.
pub(super) type EventSender = UnboundedSender<Result<ChatEvent>>;

/// Tokens of a prompt whose logits are computed at once: all logits of each are.
const SCORED_TOKENS: usize = 32;

/// Tokens of an interrupted answer that are computed again at once.
const REPEATED_TOKENS: usize = 16;

/// What is asked, ready for the model's thread. Dropping it without an end tells the caller that it was lost.
#[derive(Debug)]
pub(crate) struct ChatJob {
    pub(super) cx: Context,
    /// Smaller numbers come first.
    pub(super) priority: i64,
    pub(super) prompt: Vec<u32>,
    /// The images of the prompt, in order.
    pub(super) images: Vec<PromptImage>,
    pub(super) reader: OutputReader,
    pub(super) decoder: TokenDecoder,
    pub(super) sampler: Sampler,
    pub(super) max_tokens: usize,
    /// Whether the log-probabilities of the prompt's own tokens are told.
    pub(super) scores_prompt: bool,
    /// What the answer must keep to.
    pub(super) constraint: Option<Constraint>,
    /// How many alternatives to each token are told, if log-probabilities are.
    pub(super) logprobs: Option<usize>,
    /// The most tokens of thoughts.
    pub(super) thinking_budget: Option<usize>,
    pub(super) events: EventSender,
    #[expect(dead_code, reason = "dropping it gives the place in line back")]
    pub(super) ticket: Ticket,
}

impl ChatJob {
    /// How many tokens prompt and answer may have together.
    pub(super) fn capacity(&self) -> usize {
        self.prompt.len() + self.max_tokens
    }

    /// The most tokens of the prompt, up to `end`, that cut no image.
    pub(super) fn whole_images(&self, end: usize) -> usize {
        let cut = self.images.iter().find(|image| image.tokens.start < end && end < image.tokens.end);
        cut.map_or(end, |image| image.tokens.start)
    }

    /// Whether somebody still waits. A deadline that passed, or a cancellation, is told.
    pub(super) fn is_wanted(&self) -> bool {
        if self.events.is_closed() {
            return false;
        }
        match self.cx.check() {
            Ok(()) => true,
            Err(error) => {
                self.end(Err(error));
                false
            }
        }
    }

    /// Sends what ends the answer.
    pub(super) fn end(&self, end: Result<ChatEvent>) {
        // A caller who stopped reading needs no end.
        let _ = self.events.send(end);
    }
}

/// An answer in progress, or one that waits.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) job: ChatJob,
    /// Without tokens while it waits.
    pub(super) cache: TextCache,
    /// The answer's tokens. All but the last are in the cache, unless it was interrupted.
    generated: Vec<u32>,
    /// Tokens that come next whatever the model would say.
    forced: VecDeque<u32>,
    /// How many tokens of the prompt were in the cache from the start.
    reused: Option<usize>,
    /// How many tokens of the prompt have been scored.
    scored: usize,
    reasoning: usize,
    is_over: bool,
    since: Instant,
    pub(super) speculation: Speculation,
}

impl Conversation {
    /// An answer that waits.
    pub(super) fn new(job: ChatJob, speculate: Speculate) -> Self {
        Self {
            cache: TextCache::default(),
            generated: Vec::new(),
            forced: VecDeque::new(),
            reused: None,
            scored: 0,
            reasoning: 0,
            is_over: false,
            since: Instant::now(),
            speculation: Speculation::new(speculate),
            job,
        }
    }

    /// Begins, or goes on, over a cache that holds the first tokens of the prompt.
    pub(super) fn start(&mut self, cache: TextCache) {
        self.reused.get_or_insert(cache.len());
        self.cache = cache;
    }

    /// What is larger for those that should rather wait: the less urgent, then the newer.
    pub(super) fn precedence(&self) -> (i64, Instant) {
        (self.job.priority, self.since)
    }

    /// What of the prompt need not be computed if it is in a cache: the last token's logits are needed for the first token of
    /// the answer, and all for a score.
    pub(super) fn reusable(&self) -> &[u32] {
        let prompt = &self.job.prompt;
        match (self.job.scores_prompt, self.generated.is_empty()) {
            (true, _) => &prompt[..self.scored],
            (false, true) => &prompt[..prompt.len().saturating_sub(1)],
            (false, false) => prompt,
        }
    }

    /// How many tokens prompt and answer have so far.
    pub(super) fn tokens(&self) -> usize {
        self.job.prompt.len() + self.generated.len()
    }

    /// Whether tokens of its answer are computed next.
    pub(super) fn is_decoding(&self) -> bool {
        !self.generated.is_empty() && self.known() >= self.job.prompt.len()
    }

    /// What is computed next: of a prompt at most `most` tokens, or an image if that has more, of an answer its last one and up
    /// to `guesses` that may follow; how many were guessed is told too.
    pub(super) fn next_tokens(&mut self, most: usize, guesses: usize) -> (Vec<u32>, usize) {
        let known = self.known();
        if !self.is_decoding() {
            let most = if self.job.scores_prompt { most.min(SCORED_TOKENS) } else { most };
            let most = self.job.prompt.len().min(known.saturating_add(most));
            let end = match self.job.whole_images(most) {
                end if end > known || most == known => end,
                start => self.images_in(start..start + 1).next().map_or(most, |image| image.tokens.end),
            };
            return (self.job.prompt[known..end].to_vec(), 0);
        }
        let mut tokens = self.generated[known - self.job.prompt.len()..].to_vec();
        if tokens.len() > 1 {
            tokens.truncate(REPEATED_TOKENS);
            return (tokens, 0);
        }
        // The last token is never followed by another.
        let guesses = guesses.min((self.job.max_tokens - self.generated.len()).saturating_sub(1));
        let known = self.forced.make_contiguous();
        let mut guessed = self.speculation.guess(&self.job.prompt, &self.generated, known, guesses);
        // What stands for an image in the prompt is no token of an answer.
        guessed.truncate(guessed.iter().take_while(|id| !images::is_image(**id)).count());
        tokens.extend(&guessed);
        (tokens, guessed.len())
    }

    /// The images that begin among these tokens of the prompt.
    pub(super) fn images_in(&self, tokens: Range<usize>) -> impl Iterator<Item = &PromptImage> {
        self.job.images.iter().filter(move |image| tokens.contains(&image.tokens.start))
    }

    /// How many tokens the cache holds.
    pub(super) fn known(&self) -> usize {
        self.cache.len()
    }

    /// How many tokens of the prompt are in the cache, computed as a prompt.
    pub(super) fn prefilled(&self) -> usize {
        self.known().min(self.job.prompt.len())
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// The answer's last token.
    pub(super) fn last(&self) -> Option<u32> {
        self.generated.last().copied()
    }

    /// Goes on by the token that these logits give.
    pub(super) fn advance(&mut self, logits: &[f32], tokenizer: &ChatTokenizer) {
        if let Err(error) = self.try_advance(logits, tokenizer) {
            self.fail(error);
        }
    }

    /// Ends with an error.
    pub(super) fn fail(&mut self, error: Error) {
        self.is_over = true;
        self.job.end(Err(error.with_context("output_tokens", self.generated.len().to_string())));
    }

    /// Tells how likely the token at a place of the prompt was, by the logits of the one before it.
    pub(super) fn score(&mut self, place: usize, logits: &[f32], tokenizer: &ChatTokenizer) {
        if let Some(token) = self.job.prompt.get(place).filter(|_| place > self.scored) {
            self.scored = place;
            let top = self.job.logprobs.unwrap_or_default();
            self.send(vec![ChatEvent::Logprobs(vec![logprob(logits, *token, top, tokenizer)])]);
        }
    }

    fn try_advance(&mut self, logits: &[f32], tokenizer: &ChatTokenizer) -> Result<()> {
        if self.job.max_tokens == 0 {
            self.finish(FinishReason::Length);
            return Ok(());
        }
        let token = match self.forced.pop_front() {
            Some(token) => token,
            None => match &mut self.job.constraint {
                None => self.job.sampler.sample(logits, None)?,
                Some(constraint) => {
                    let mask = constraint.mask()?;
                    self.job.sampler.sample(logits, Some(mask.words()))?
                }
            },
        };
        if tokenizer.is_end(token) {
            self.finish(FinishReason::Stop);
            return Ok(());
        }
        if let Some(constraint) = &mut self.job.constraint {
            constraint.accept(token)?;
        }
        self.job.sampler.accept(token, Some(tokenizer));
        self.generated.push(token);
        self.reasoning += usize::from(self.job.reader.is_thinking());
        let piece = self.job.decoder.push(token);
        let events = self.job.reader.push(&piece);
        self.send(events);
        if let Some(top) = self.job.logprobs {
            self.send(vec![ChatEvent::Logprobs(vec![logprob(logits, token, top, tokenizer)])]);
        }
        let is_complete = self.job.constraint.as_ref().is_some_and(Constraint::is_done);
        if self.job.reader.is_stopped() || is_complete {
            self.finish(FinishReason::Stop);
        } else if self.generated.len() >= self.job.max_tokens {
            self.finish(FinishReason::Length);
        } else {
            self.end_thought_at_budget(tokenizer)?;
        }
        Ok(())
    }

    /// Goes on as if the model had ended its thought, once the budget for it is spent.
    fn end_thought_at_budget(&mut self, tokenizer: &ChatTokenizer) -> Result<()> {
        let is_spent = self.job.thinking_budget.is_some_and(|budget| self.reasoning >= budget);
        if is_spent
            && self.forced.is_empty()
            && let Some(end) = self.job.reader.thought_end()
        {
            self.forced.extend(tokenizer.encode_fragment(&end)?);
        }
        Ok(())
    }

    fn finish(&mut self, reason: FinishReason) {
        self.is_over = true;
        let piece = self.job.decoder.finish();
        let mut events = self.job.reader.push(&piece);
        events.extend(self.job.reader.finish());
        self.send(events);
        let reason = match reason {
            FinishReason::Stop if self.job.reader.calls() > 0 => FinishReason::ToolCalls,
            reason => reason,
        };
        let count = |tokens: usize| u64::try_from(tokens).ok();
        let mut usage = Usage::new(count(self.job.prompt.len()), count(self.generated.len()));
        usage.cached_tokens = count(self.reused.unwrap_or_default());
        usage.reasoning_tokens = count(self.reasoning).filter(|tokens| *tokens > 0);
        self.job.end(Ok(ChatEvent::finish(reason, usage)));
    }

    fn send(&self, events: Vec<ChatEvent>) {
        for event in events {
            // A caller who stopped reading is noticed before the next token.
            let _ = self.job.events.send(Ok(event));
        }
    }
}

/// How likely a token was, by the model's own numbers.
fn logprob(logits: &[f32], token: u32, top: usize, tokenizer: &ChatTokenizer) -> TokenLogprob {
    let text = |token: u32| String::from_utf8_lossy(tokenizer.bytes_of(token)).into_owned();
    let (own, top) = log_probabilities(logits, token, top);
    let top = top.into_iter().map(|(token, logprob)| (text(token), logprob)).collect();
    TokenLogprob::new(text(token), own).with_top(top)
}
