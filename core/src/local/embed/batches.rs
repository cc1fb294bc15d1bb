//! From requests of any size to batches of one size, and back.
//!
//! The model's thread works on all requests that wait, one batch at a time. A batch holds inputs of the first request
//! in line and, where there is room, of those behind it; then the next one is first. So small requests are computed
//! together without waiting for each other, and none waits for the end of a large one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::model::Model;
use super::pooling::to_unit_length;
use crate::context::{Context, Progress};
use crate::embed::{EmbedInput, EmbedRequest, EmbedResponse, Truncation, Vectors};
use crate::error::{Error, ErrorKind, Result};
use crate::info::{Route, Usage};
use crate::local::runtime::{Queued, Work, copy_of, thread_lost};

/// Requests worked on at a time; more wait in the queue.
const REQUESTS: usize = 64;

/// Most inputs of a request that are tokenised ahead of their batch, and most bytes of text.
const INPUTS_AHEAD: usize = 256;
const BYTES_AHEAD: usize = 1 << 20;

/// Most images of a batch, and of a request decoded ahead.
const IMAGES: usize = 16;

/// A request and whoever waits for its answer.
#[derive(Debug)]
pub(crate) struct Job {
    /// The caller's context.
    pub(crate) cx: Context,
    /// What is asked.
    pub(crate) request: EmbedRequest,
    /// Closed when nobody waits any more.
    pub(crate) reply: oneshot::Sender<Result<EmbedResponse>>,
}

impl Work for Model {
    type Job = Job;

    fn work(&self, first: Job, more: &mut Queued<'_, Job>) {
        let mut line = VecDeque::from([Active::new(self, first)]);
        self.line_up(more, &mut line);
        loop {
            line.retain_mut(|request| request.goes_on(self));
            if line.is_empty() {
                return;
            }
            let batch = Batch::take(&mut line, self.batch_tokens);
            match batch.compute(self) {
                Ok(vectors) => batch.deliver(self, &vectors, &mut line),
                Err(error) => batch.fail(&error, &mut line),
            }
            // Who came meanwhile stands before who has just had a turn.
            self.line_up(more, &mut line);
            line.rotate_left(1);
        }
    }
}

impl Model {
    /// Takes in the requests that wait.
    fn line_up(&self, more: &mut Queued<'_, Job>, line: &mut VecDeque<Active>) {
        while line.len() < REQUESTS
            && let Some(job) = more.next()
        {
            line.push_back(Active::new(self, job));
        }
    }
}

/// A request being worked on.
struct Active {
    job: Option<Job>,
    /// The first input that is not prepared yet.
    next: usize,
    /// Prepared texts, the longest last: position and tokens.
    texts: Vec<(usize, Vec<u32>)>,
    /// Their tokens in all.
    tokens_ahead: usize,
    /// Prepared images, the first last: position and pixels.
    images: Vec<(usize, Vec<f32>)>,
    /// Tokens at the front of each text that are its prompt and do not count.
    skip: usize,
    /// The vectors, as far as they are computed.
    numbers: Vec<f32>,
    width: usize,
    done: usize,
    truncated: Vec<usize>,
    tokens: u64,
}

impl Active {
    fn new(model: &Model, job: Job) -> Self {
        let width = job.request.dimensions.unwrap_or_else(|| model.dimensions());
        Self {
            numbers: vec![0.0; width * job.request.inputs.len()],
            width,
            skip: model.skip(job.request.role),
            job: Some(job),
            next: 0,
            texts: Vec::new(),
            tokens_ahead: 0,
            images: Vec::new(),
            done: 0,
            truncated: Vec::new(),
            tokens: 0,
        }
    }

    /// Whether there is something of it to compute, which is then prepared. Whoever waits for a request that is done,
    /// cancelled or failed has been answered.
    fn goes_on(&mut self, model: &Model) -> bool {
        let Some(job) = &self.job else { return false };
        if job.reply.is_closed() {
            return false;
        }
        if let Err(error) = job.cx.check() {
            self.reply(Err(error));
            return false;
        }
        while self.needs_more(model) {
            if let Err(error) = self.prepare(model) {
                self.reply(Err(error));
                return false;
            }
        }
        if self.texts.is_empty() && self.images.is_empty() {
            let response = self.response(model);
            self.reply(response);
            return false;
        }
        true
    }

    /// Whether less is prepared than fits into a batch, though there is more.
    fn needs_more(&self, model: &Model) -> bool {
        let inputs = self.job.as_ref().map_or(0, |job| job.request.inputs.len());
        self.next < inputs && self.tokens_ahead < model.batch_tokens && self.images.len() < IMAGES
    }

    /// Prepares the next inputs.
    fn prepare(&mut self, model: &Model) -> Result<()> {
        let Some(job) = &self.job else { return Ok(()) };
        let (mut texts, mut images, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (start, mut next) = (self.next, self.next);
        for input in &job.request.inputs[start..] {
            if next - start == INPUTS_AHEAD || bytes > BYTES_AHEAD || images.len() == IMAGES {
                break;
            }
            match input {
                EmbedInput::Text(text) => {
                    bytes += text.len();
                    texts.push((next, text.as_str()));
                }
                EmbedInput::Image(image) => images.push((next, image)),
            }
            next += 1;
        }
        let refuses = job.request.truncation == Truncation::Refuse;
        let tokenised = model.tokenise(job.request.role, &texts)?;
        let pixels = model.pixels(&images)?;
        for ((position, _), text) in texts.iter().zip(tokenised) {
            if text.is_cut && refuses {
                return Err(too_long(*position, model.tokeniser.window()));
            }
            if text.is_cut {
                self.truncated.push(*position);
            }
            self.tokens += text.ids.len() as u64;
            self.tokens_ahead += text.ids.len();
            // A text without tokens is a zero vector, which is there already.
            match text.ids.is_empty() {
                true => self.done += 1,
                false => self.texts.push((*position, text.ids)),
            }
        }
        self.images.extend(images.iter().map(|(position, _)| *position).zip(pixels).rev());
        self.texts.sort_by_key(|(position, ids)| (ids.len(), std::cmp::Reverse(*position)));
        self.next = next;
        Ok(())
    }

    /// Keeps a vector, cut to the width that was asked for.
    fn put(&mut self, model: &Model, position: usize, vector: &[f32]) {
        let kept = &mut self.numbers[position * self.width..][..self.width];
        kept.copy_from_slice(&vector[..self.width]);
        if self.width < vector.len() && model.space.normalised {
            to_unit_length(kept);
        }
        self.done += 1;
    }

    fn response(&mut self, model: &Model) -> Result<EmbedResponse> {
        let mut truncated = std::mem::take(&mut self.truncated);
        truncated.sort_unstable();
        let vectors = Vectors::new(std::mem::take(&mut self.numbers), self.width)?;
        Ok(EmbedResponse::new(vectors, Route::new(&model.info))
            .with_truncated(truncated)
            .with_usage(Usage::new(self.tokens, None)))
    }

    fn reply(&mut self, response: Result<EmbedResponse>) {
        if let Some(job) = self.job.take() {
            // Whoever stopped waiting wants no answer.
            let _ = job.reply.send(response);
        }
    }
}

/// Inputs computed together: texts or images, each with the place in line of its request and its position there.
#[derive(Default)]
struct Batch {
    places: Vec<(usize, usize)>,
    texts: Vec<Vec<u32>>,
    skips: Vec<usize>,
    images: Vec<Vec<f32>>,
}

impl Batch {
    /// As much as fits, from the first request in line and those behind it; at least one input.
    fn take(line: &mut VecDeque<Active>, room: usize) -> Self {
        let mut batch = Self::default();
        let takes_images = line.front().is_some_and(|first| first.texts.is_empty());
        let mut tokens = 0;
        for (place, request) in line.iter_mut().enumerate() {
            if takes_images {
                let count = request.images.len().min(IMAGES - batch.images.len());
                for (position, pixels) in request.images.drain(request.images.len() - count..).rev() {
                    batch.places.push((place, position));
                    batch.images.push(pixels);
                }
                continue;
            }
            let fits = |batch: &Self, tokens: usize, ids: &[u32]| {
                batch.texts.is_empty() || tokens + ids.len() <= room
            };
            while let Some((position, ids)) = request.texts.pop_if(|(_, ids)| fits(&batch, tokens, ids)) {
                tokens += ids.len();
                request.tokens_ahead -= ids.len();
                batch.places.push((place, position));
                batch.skips.push(request.skip);
                batch.texts.push(ids);
            }
        }
        batch
    }

    /// Their vectors, one after another.
    fn compute(&self, model: &Model) -> Result<Vec<f32>> {
        let compute = AssertUnwindSafe(|| match self.images.is_empty() {
            true => model.embed_texts(&self.texts, &self.skips),
            false => model.embed_images(&self.images),
        });
        let vectors = catch_unwind(compute).unwrap_or_else(|_| Err(thread_lost()))?;
        if vectors.len() != self.places.len() * model.width() {
            return Err(Error::response_invalid("the model gave another number of vectors than of inputs"));
        }
        Ok(vectors)
    }

    fn deliver(&self, model: &Model, vectors: &[f32], line: &mut VecDeque<Active>) {
        for ((place, position), vector) in self.places.iter().zip(vectors.chunks_exact(model.width())) {
            line[*place].put(model, *position, vector);
        }
        for place in self.requests() {
            let request = &line[place];
            if let Some(job) = &request.job {
                let of = job.request.inputs.len();
                job.cx.report(|| Progress::Inputs { done: request.done, of });
            }
        }
    }

    fn fail(&self, error: &Error, line: &mut VecDeque<Active>) {
        for place in self.requests() {
            line[place].reply(Err(copy_of(error)));
        }
    }

    /// The places in line of the requests that it holds inputs of.
    fn requests(&self) -> Vec<usize> {
        let mut places: Vec<usize> = self.places.iter().map(|(place, _)| *place).collect();
        places.dedup();
        places
    }
}

fn too_long(position: usize, window: usize) -> Error {
    let text = format!("input {position} is longer than the model's window of {window} tokens");
    Error::new(ErrorKind::ContextTooLong, text)
}

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;
