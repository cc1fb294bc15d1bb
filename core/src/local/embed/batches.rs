//! Embedding requests in batches: texts by their tokens, images by their number.

use std::time::Duration;

use super::decoders::Decoding;
use super::model::Model;
use super::pooling::to_unit_length;
use crate::context::Progress;
use crate::embed::{EmbedInput, EmbedRequest, EmbedResponse, Truncation, Vectors};
use crate::error::{Error, ErrorKind, Result};
use crate::info::{Route, Usage};
use crate::local::runtime::{BatchModel, Budget};

/// The most inputs of a request, and bytes of text, that are tokenised ahead of their batch.
const MAX_INPUTS_AHEAD: usize = 256;
const MAX_BYTES_AHEAD: usize = 1 << 20;

/// The most images of a batch, and of a request that are decoded ahead.
const MAX_IMAGES: usize = 16;

/// How often to look whether an image has been decoded, while there is nothing else to do.
const DECODING_POLL_INTERVAL: Duration = Duration::from_micros(200);

/// A request in progress.
#[derive(Debug)]
pub(crate) struct Task {
    request: EmbedRequest,
    /// The first input that is not prepared yet.
    next: usize,
    /// Prepared texts, the longest last: position and tokens.
    texts: Vec<(usize, Vec<u32>)>,
    /// Their tokens in all.
    tokens_ahead: usize,
    /// Prepared images: position and pixels.
    images: Vec<(usize, Vec<f32>)>,
    decoding: Decoding,
    /// Tokens at the front of each text that belong to its prompt and are not pooled.
    skip: usize,
    /// The vectors, as far as they are computed.
    numbers: Vec<f32>,
    width: usize,
    done: usize,
    truncated: Vec<usize>,
    tokens: u64,
}

/// Inputs computed together: texts or images, each with the index of its task and its position in the request.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    members: Vec<(usize, usize)>,
    texts: Vec<Vec<u32>>,
    skips: Vec<usize>,
    images: Vec<Vec<f32>>,
}

impl BatchModel for Model {
    type Request = EmbedRequest;
    type Response = EmbedResponse;
    type Task = Task;
    type Batch = Batch;
    type Output = Vec<f32>;

    fn start(&self, request: EmbedRequest) -> Task {
        let width = request.dimensions.unwrap_or_else(|| self.dimensions());
        Task {
            numbers: vec![0.0; width * request.inputs.len()],
            width,
            skip: self.skip(request.role),
            request,
            next: 0,
            texts: Vec::new(),
            tokens_ahead: 0,
            images: Vec::new(),
            decoding: Decoding::default(),
            done: 0,
            truncated: Vec::new(),
            tokens: 0,
        }
    }

    fn prepare(&self, task: &mut Task) -> Result<Option<EmbedResponse>> {
        task.take_decoded()?;
        if task.needs_more(self) {
            task.prepare(self)?;
        }
        match task.is_done() {
            true => task.response(self).map(Some),
            false => Ok(None),
        }
    }

    fn is_ready(&self, task: &Task) -> bool {
        !task.needs_more(self) && (!task.texts.is_empty() || task.decoding.pending == 0)
    }

    fn wait(&self) {
        if self.decoders().is_some_and(|decoders| decoders.is_busy()) {
            std::thread::sleep(DECODING_POLL_INTERVAL);
        }
    }

    fn take(&self, tasks: &mut [&mut Task]) -> Batch {
        match tasks.first().is_some_and(|first| first.texts.is_empty()) {
            true => Batch::of_images(tasks),
            false => Batch::of_texts(tasks, self.batch_tokens),
        }
    }

    fn tasks_of(batch: &Batch) -> Vec<usize> {
        let mut tasks: Vec<usize> = batch.members.iter().map(|(task, _)| *task).collect();
        tasks.dedup();
        tasks
    }

    fn compute(&self, batch: &Batch) -> Result<Vec<f32>> {
        self.check_files()?;
        let vectors = match batch.images.is_empty() {
            true => self.embed_texts(&batch.texts, &batch.skips)?,
            false => self.embed_images(&batch.images)?,
        };
        if vectors.len() != batch.members.len() * self.width() {
            return Err(Error::response_invalid("the model gave another number of vectors than of inputs"));
        }
        Ok(vectors)
    }

    fn deliver(&self, batch: Batch, vectors: Vec<f32>, tasks: &mut [&mut Task]) {
        for ((task, position), vector) in batch.members.into_iter().zip(vectors.chunks_exact(self.width())) {
            tasks[task].put(self, position, vector);
        }
    }

    fn progress(&self, task: &Task) -> Progress {
        Progress::Inputs { done: task.done, of: task.request.inputs.len() }
    }
}

impl Task {
    /// Whether every input was taken by a batch.
    fn is_done(&self) -> bool {
        let is_taken = self.texts.is_empty() && self.images.is_empty() && self.decoding.pending == 0;
        self.next == self.request.inputs.len() && is_taken
    }

    /// Whether less is prepared than fits into a batch, though there is more.
    fn needs_more(&self, model: &Model) -> bool {
        let inputs = self.request.inputs.len();
        let images = self.images.len() + self.decoding.pending;
        self.next < inputs && self.tokens_ahead < model.batch_tokens && images < MAX_IMAGES
    }

    /// Takes in the images that have been decoded.
    fn take_decoded(&mut self) -> Result<()> {
        for (position, pixels) in self.decoding.arrived() {
            self.images.push((position, pixels.map_err(|error| error.about_input(position))?));
        }
        Ok(())
    }

    /// Prepares the next inputs: so many that it takes no longer than some batches do.
    fn prepare(&mut self, model: &Model) -> Result<()> {
        let (mut texts, mut images, mut bytes) = (Vec::new(), Vec::new(), 0);
        let (start, mut next) = (self.next, self.next);
        for input in &self.request.inputs[start..] {
            if next - start == MAX_INPUTS_AHEAD || bytes > MAX_BYTES_AHEAD || images.len() == MAX_IMAGES {
                break;
            }
            match input {
                EmbedInput::Text(text) => {
                    bytes += text.len().min(model.tokenizer.max_bytes());
                    texts.push((next, text.as_str()));
                }
                EmbedInput::Image(image) => images.push((next, image)),
            }
            next += 1;
        }
        let refuses = self.request.truncation == Truncation::Refuse;
        let tokenised = model.tokenise(self.request.role, &texts)?;
        if let (Some(decoders), false) = (model.decoders(), images.is_empty()) {
            decoders.start(&images, &mut self.decoding)?;
        }
        for ((position, _), text) in texts.iter().zip(tokenised) {
            if text.is_truncated && refuses {
                return Err(too_long(*position, model.tokenizer.window()));
            }
            if text.is_truncated {
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
}

impl Batch {
    /// As many texts as have room, from the first task on.
    fn of_texts(tasks: &mut [&mut Task], max_tokens: usize) -> Self {
        let (mut batch, mut budget) = (Self::default(), Budget::new(max_tokens));
        for (index, task) in tasks.iter_mut().enumerate() {
            while let Some((position, ids)) = task.texts.pop_if(|(_, ids)| budget.take(ids.len())) {
                task.tokens_ahead -= ids.len();
                batch.members.push((index, position));
                batch.skips.push(task.skip);
                batch.texts.push(ids);
            }
        }
        batch
    }

    /// As many images as have room, from the first task on.
    fn of_images(tasks: &mut [&mut Task]) -> Self {
        let mut batch = Self::default();
        for (index, task) in tasks.iter_mut().enumerate() {
            let count = task.images.len().min(MAX_IMAGES - batch.images.len());
            for (position, pixels) in task.images.drain(task.images.len() - count..).rev() {
                batch.members.push((index, position));
                batch.images.push(pixels);
            }
        }
        batch
    }
}

fn too_long(position: usize, window: usize) -> Error {
    let text = format!("input {position} is longer than the model's window of {window} tokens");
    Error::new(ErrorKind::ContextTooLong, text).about_input(position)
}

#[cfg(test)]
#[path = "batches_tests.rs"]
mod tests;
