//! Many images at once, step by step.
//!
//! The model's thread computes in steps. A step moves every image in progress on by one of its own steps, those of one size
//! in one pass over the weights; images begin and leave between two steps. Whatever else a step holds, each image gets the
//! bits that it would get alone. An image that fails, or panics, ends its request and no other.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use super::drawing::{Drawing, Lane};
use super::job::ImageJob;
use super::loras::LoraGroup;
use super::memory::{Load, Memory};
use super::model::ImageModel;
use super::pipeline::{Facts, Latent, LatentShape, Row};
use super::receipt::sha256_of_files;
use super::recipes::Recipes;
use super::sizes::{Size, Sizes};
use crate::error::{Error, ErrorKind, Result};
use crate::info::BackendInfo;
use crate::local::SafetyMode;
use crate::local::ops::KeptMemory;
use crate::local::runtime::{Queued, Work, thread_lost};
use ayni_kernels::Cpu;

/// A loaded model, and what requests to it must keep to.
pub(crate) struct Engine {
    pub(super) model: Box<dyn ImageModel>,
    pub(super) recipes: Recipes,
    pub(super) sizes: Sizes,
    pub(super) memory: Memory,
    pub(super) cpu: Cpu,
    pub(super) info: BackendInfo,
    /// The most images in progress.
    pub(super) max_batch: usize,
    pub(super) has_receipts: bool,
    pub(super) safety: SafetyMode,
    pub(super) weights: Arc<WeightHash>,
}

/// The files of a model's weights, and their hash once it is known.
#[derive(Debug)]
pub(super) struct WeightHash {
    files: Vec<PathBuf>,
    sha256: OnceLock<String>,
}

impl WeightHash {
    /// Begins to hash files on a thread of its own: gigabytes take seconds.
    pub(super) fn begin(files: Vec<PathBuf>) -> Arc<Self> {
        let weights = Arc::new(Self { files, sha256: OnceLock::new() });
        let background = Arc::clone(&weights);
        // Without a thread the first receipt waits for it.
        let _ = std::thread::Builder::new().name("ayni-hash".to_owned()).spawn(move || {
            background.sha256();
        });
        weights
    }

    /// The hash in hex; empty if the files can't be read any more.
    pub(super) fn sha256(&self) -> &str {
        self.sha256.get_or_init(|| sha256_of_files(&self.files).unwrap_or_default())
    }
}

impl Engine {
    pub(super) fn facts(&self) -> &Facts {
        self.model.facts()
    }

    /// What an image of a size is for the memory.
    ///
    /// # Errors
    /// `invalid_request` for sides that the model does not have.
    pub(super) fn load(&self, size: Size, rows: usize) -> Result<Load> {
        Ok(Load { shape: self.facts().latent_shape(size.height, size.width)?, rows, encodes: false })
    }

    /// Makes the layers with a group of LoRAs ready. False if there is no room for them beside those in use.
    ///
    /// # Errors
    /// Those of loading.
    pub(super) fn prepare(&self, loras: &LoraGroup, in_use: &[&LoraGroup]) -> Result<bool> {
        let groups = self.model.prepare(loras, in_use, self.memory.most_groups())?;
        groups.into_iter().for_each(|groups| self.memory.set_groups(groups));
        Ok(groups.is_some())
    }

    /// Whether there is memory for an image of this size.
    ///
    /// # Errors
    /// `out_of_memory` with the figures.
    pub(super) fn fits(&self, size: Size, rows: usize) -> Result<()> {
        self.memory.check(&[self.load(size, rows)?])
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Engine({}, {})", self.info.model, self.recipes.usual.name)
    }
}

impl Work for Engine {
    type Job = ImageJob;

    fn work(&self, first: ImageJob, more: &mut Queued<'_, ImageJob>) {
        self.memory.look();
        // Until all are drawn: memory of an image's size comes page by page, which takes as long as a layer.
        let _kept = KeptMemory::up_to(self.memory.kept_bytes());
        let mut line = Line { engine: self, drawings: vec![Drawing::new(first)] };
        loop {
            while let Some(job) = more.next() {
                line.drawings.push(Drawing::new(job));
            }
            line.leave();
            line.begin();
            if line.drawings.is_empty() {
                return;
            }
            line.step();
            line.finish();
        }
    }
}

/// The requests that wait or are in progress, in the order in which they came.
struct Line<'a> {
    engine: &'a Engine,
    drawings: Vec<Drawing>,
}

impl Line<'_> {
    /// Lets those go that are over, or that nobody waits for.
    fn leave(&mut self) {
        self.drawings.retain_mut(Drawing::is_wanted);
    }

    /// Begins images as long as there is room for them: the most urgent request first, then the one with the fewest images
    /// begun, then the one that came first.
    fn begin(&mut self) {
        loop {
            let lanes: usize = self.drawings.iter().map(|drawing| drawing.lanes.len()).sum();
            if lanes >= self.engine.max_batch {
                return;
            }
            let open = self.drawings.iter().enumerate().filter(|(_, drawing)| drawing.has_more());
            let Some((index, _)) = open.min_by_key(|(index, drawing)| {
                (std::cmp::Reverse(drawing.job.plan.priority), drawing.begun(), *index)
            }) else {
                return;
            };
            let loads = self.loads();
            let busy = self.drawings.iter().filter(|drawing| !drawing.lanes.is_empty());
            let in_use: Vec<LoraGroup> = busy.map(|drawing| drawing.job.plan.loras().clone()).collect();
            let in_use: Vec<&LoraGroup> = in_use.iter().collect();
            let drawing = &mut self.drawings[index];
            match guarded(|| drawing.begin(self.engine, &loads, &in_use)) {
                Ok(true) => {}
                // No room now.
                Ok(false) => return,
                Err(error) => drawing.end(Err(error)),
            }
            self.leave();
        }
    }

    /// What the images in progress are for the memory.
    fn loads(&self) -> Vec<Load> {
        let lanes = self.drawings.iter().flat_map(|drawing| {
            let rows = drawing.job.plan.rows();
            drawing.lanes.iter().map(move |lane| Load { shape: lane.latent.shape, rows, encodes: false })
        });
        lanes.collect()
    }

    /// Moves every image on by a step, those of one size together.
    fn step(&mut self) {
        let mut sizes: Vec<(LatentShape, Vec<(usize, usize)>)> = Vec::new();
        for (number, drawing) in self.drawings.iter().enumerate() {
            for (lane, image) in drawing.lanes.iter().enumerate().filter(|(_, lane)| !lane.is_drawn()) {
                match sizes.iter_mut().find(|(shape, _)| *shape == image.latent.shape) {
                    Some((_, members)) => members.push((number, lane)),
                    None => sizes.push((image.latent.shape, vec![(number, lane)])),
                }
            }
        }
        for (_, members) in sizes {
            self.step_together(&members);
        }
    }

    fn step_together(&mut self, members: &[(usize, usize)]) {
        // A request with images of several sizes may have ended by one of another size.
        let members: Vec<_> =
            members.iter().copied().filter(|member| !self.drawings[member.0].is_over()).collect();
        match self.predict(&members) {
            Ok(outputs) => {
                for (member, output) in members.iter().zip(outputs) {
                    self.advance(*member, output);
                }
            }
            Err(error) if members.len() == 1 => self.drawings[members[0].0].end(Err(error)),
            // Whoever's fault it is: alone, the others go on with the same bits.
            Err(_) => {
                for member in &members {
                    if self.drawings[member.0].is_over() {
                        continue;
                    }
                    match self.predict(&[*member]) {
                        Ok(outputs) => outputs.into_iter().for_each(|output| self.advance(*member, output)),
                        Err(error) => self.drawings[member.0].end(Err(error)),
                    }
                }
            }
        }
    }

    /// What the model says of some images at their steps.
    fn predict(&self, members: &[(usize, usize)]) -> Result<Vec<Vec<f32>>> {
        guarded(|| {
            let lanes: Vec<(&Drawing, &Lane)> = members
                .iter()
                .map(|(drawing, lane)| (&self.drawings[*drawing], &self.drawings[*drawing].lanes[*lane]))
                .collect();
            let inputs = lanes.iter().map(|(_, lane)| lane.input()).collect::<Result<Vec<Latent>>>()?;
            let mut rows: Vec<Row<'_>> = Vec::new();
            for ((drawing, lane), input) in lanes.iter().zip(&inputs) {
                rows.extend(drawing.rows(self.engine, lane, input)?);
            }
            let mut outputs = self.engine.model.denoise(&rows)?.into_iter();
            let mut next = || outputs.next().map(|latent| latent.values).ok_or_else(thread_lost);
            lanes
                .iter()
                .map(|(drawing, _)| match drawing.job.plan.steps.is_guided {
                    false => next(),
                    true => Ok(guided(next()?, &next()?, drawing.job.plan.steps.guidance)),
                })
                .collect()
        })
    }

    fn advance(&mut self, (drawing, lane): (usize, usize), output: Vec<f32>) {
        let (engine, drawing) = (self.engine, &mut self.drawings[drawing]);
        if drawing.is_over() {
            return;
        }
        if let Err(error) = guarded(|| drawing.advance(engine, lane, &output)) {
            drawing.end(Err(error));
        }
    }

    /// Makes pixels of the images whose steps are done, and answers the requests that have all of theirs.
    fn finish(&mut self) {
        for number in 0..self.drawings.len() {
            while let Some(lane) = self.drawings[number].lanes.iter().position(Lane::is_drawn) {
                let loads = self.loads();
                let (engine, drawing) = (self.engine, &mut self.drawings[number]);
                if !drawing.is_wanted() {
                    break;
                }
                if let Err(error) = guarded(|| drawing.decode(engine, lane, &loads)) {
                    drawing.end(Err(error));
                    break;
                }
            }
        }
        self.leave();
    }
}

/// `negative + guidance · (positive - negative)`.
fn guided(positive: Vec<f32>, negative: &[f32], guidance: f32) -> Vec<f32> {
    let mut output = positive;
    for (positive, negative) in output.iter_mut().zip(negative) {
        *positive = negative + guidance * (*positive - negative);
    }
    output
}

/// A panic as an error.
fn guarded<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(thread_lost()))
}

/// The error of latents that are no numbers any more.
pub(super) fn not_finite(precision: &str) -> Error {
    let text =
        format!("the model's numbers overflowed in {precision}; try precision f32, or a VAE made for it");
    Error::new(ErrorKind::ResponseInvalid, text)
}

#[cfg(test)]
#[path = "engine_tests.rs"]
mod tests;
