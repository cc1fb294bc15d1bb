//! One answer as it comes to be: from sampled tokens to the events that the caller reads.

use std::collections::VecDeque;
use std::ops::Range;

use tokio::sync::mpsc::UnboundedSender;

use super::grammar::Constraint;
use super::images::PromptImage;
use super::output::OutputReader;
use super::sampling::{Sampler, log_probabilities};
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

/// What is asked, ready for the model's thread. Dropping it without an end tells the caller that it was lost.
#[derive(Debug)]
pub(crate) struct ChatJob {
    pub(super) cx: Context,
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

/// An answer in progress.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) job: ChatJob,
    pub(super) cache: TextCache,
    /// The answer's tokens. All but the last are in the cache.
    generated: Vec<u32>,
    /// Tokens that come next whatever the model would say.
    forced: VecDeque<u32>,
    /// How many tokens of the prompt were in the cache from the start.
    reused: usize,
    reasoning: usize,
    is_over: bool,
}

impl Conversation {
    /// An answer whose cache holds the first tokens of the prompt.
    pub(super) fn new(job: ChatJob, cache: TextCache) -> Self {
        Self {
            reused: cache.len(),
            cache,
            generated: Vec::new(),
            forced: VecDeque::new(),
            reasoning: 0,
            is_over: false,
            job,
        }
    }

    /// Whether its answer goes on by the token that came last.
    pub(super) fn is_decoding(&self) -> bool {
        !self.generated.is_empty()
    }

    /// The tokens that are computed next, of a prompt at most `most`, or an image if that has more.
    pub(super) fn next_tokens(&self, most: usize) -> &[u32] {
        match self.generated.last() {
            Some(last) => std::slice::from_ref(last),
            None => {
                let known = self.cache.len();
                let most = if self.job.scores_prompt { most.min(SCORED_TOKENS) } else { most };
                let most = self.job.prompt.len().min(known.saturating_add(most));
                let end = match self.job.whole_images(most) {
                    end if end > known || most == known => end,
                    start => self.images_in(start..start + 1).next().map_or(most, |image| image.tokens.end),
                };
                &self.job.prompt[known..end]
            }
        }
    }

    /// The images that begin among these tokens of the prompt.
    pub(super) fn images_in(&self, tokens: Range<usize>) -> impl Iterator<Item = &PromptImage> {
        self.job.images.iter().filter(move |image| tokens.contains(&image.tokens.start))
    }

    /// How many tokens the cache holds before what is computed next.
    pub(super) fn known(&self) -> usize {
        match self.generated.len() {
            0 => self.cache.len().min(self.job.prompt.len()),
            count => self.job.prompt.len() + count - 1,
        }
    }

    /// How many tokens of the prompt are in the cache, computed as a prompt.
    pub(super) fn prefilled(&self) -> usize {
        self.known().min(self.job.prompt.len())
    }

    /// Whether it has ended.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
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
    pub(super) fn score(&self, place: usize, logits: &[f32], tokenizer: &ChatTokenizer) {
        if let Some(token) = self.job.prompt.get(place) {
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
        usage.cached_tokens = count(self.reused);
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
