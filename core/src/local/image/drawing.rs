//! A request's images as they come to be.

use std::collections::HashMap;

use super::encode::{Texts, png};
use super::engine::{Engine, not_finite};
use super::job::{ImageJob, Plan, Start, noise_name};
use super::loras::LoraGroup;
use super::memory::Load;
use super::noise::{Draw, Noise};
use super::pipeline::{Conditioning, DecodeOptions, InpaintInput, Latent, LatentShape, MicroConditions, Row};
use super::receipt::{ImageReceipt, LoraReceipt, sha256};
use super::recipes::Named;
use super::refine::Canvas;
use super::scheduler::Scheduler;
use super::sizes::Size;
use crate::context::Progress;
use crate::error::{Error, Result};
use crate::image::{ImageResponse, ImageSafety};
use crate::info::{Route, Usage};
use crate::local::runtime::thread_lost;
use crate::local::vision::RgbImage;
use crate::media::ImageData;

/// A request, the images of it that are in progress, and those that are done.
pub(super) struct Drawing {
    pub(super) job: ImageJob,
    pub(super) lanes: Vec<Lane>,
    /// By their positions in the request, with what the safety checker said.
    images: HashMap<usize, (ImageData, Option<ImageSafety>)>,
    /// What the steps are conditioned on, once the first image has begun: with the prompt, and without it or against it.
    conditioning: Option<(Conditioning, Option<Conditioning>)>,
    begun: usize,
    steps_done: usize,
}

/// An image in progress.
pub(super) struct Lane {
    /// Its position in the request.
    image: usize,
    pub(super) latent: Latent,
    schedule: Box<dyn Scheduler>,
    /// The step that is next.
    step: usize,
    noise: Noise,
    sizes: MicroConditions,
    /// The image that is changed.
    canvas: Option<Canvas>,
    inpaint: Option<InpaintInput>,
    kept: Option<Kept>,
}

/// What holds the part of an image that a mask leaves out where it is, at each step.
struct Kept {
    mask: Vec<f32>,
    original: Vec<f32>,
    noise: Vec<f32>,
}

impl Lane {
    /// Whether all steps are done.
    pub(super) fn is_drawn(&self) -> bool {
        self.step >= self.schedule.timesteps().len()
    }

    /// What the model sees at the next step.
    pub(super) fn input(&self) -> Result<Latent> {
        Latent::new(self.latent.shape, self.schedule.scale_input(self.step, &self.latent.values))
    }
}

impl Drawing {
    pub(super) fn new(job: ImageJob) -> Self {
        let (lanes, images) = (Vec::new(), HashMap::new());
        Self { job, lanes, images, conditioning: None, begun: 0, steps_done: 0 }
    }

    /// How many of its images have begun.
    pub(super) fn begun(&self) -> usize {
        self.begun
    }

    pub(super) fn has_more(&self) -> bool {
        self.begun < self.job.plan.images.len() && !self.is_over()
    }

    /// Whether it was answered.
    pub(super) fn is_over(&self) -> bool {
        self.job.reply.is_none()
    }

    /// Whether somebody still waits. A deadline that passed, or a cancellation, is told.
    pub(super) fn is_wanted(&mut self) -> bool {
        if self.job.reply.as_ref().is_none_or(tokio::sync::oneshot::Sender::is_closed) {
            return false;
        }
        match self.job.cx.check() {
            Ok(()) => true,
            Err(error) => {
                self.end(Err(error));
                false
            }
        }
    }

    /// Answers it.
    pub(super) fn end(&mut self, answer: Result<ImageResponse>) {
        self.lanes.clear();
        if let Some(reply) = self.job.reply.take() {
            // A caller who stopped waiting needs no answer.
            let _ = reply.send(answer);
        }
    }

    /// Begins with its next image. False if there is no room beside those in progress.
    ///
    /// # Errors
    /// What is wrong with the image or the prompt; `out_of_memory` if there would be no room for it alone.
    pub(super) fn begin(&mut self, engine: &Engine, loads: &[Load], in_use: &[&LoraGroup]) -> Result<bool> {
        let image = self.begun;
        let is_given = matches!(self.job.plan.images.get(image), Some(Start::Image(..)));
        let named = |error: Error| if is_given { error.about_input(image) } else { error };
        let size = self.expected_size(engine, image)?;
        let own = Load { encodes: is_given, ..engine.load(size, self.job.plan.rows())? };
        let all: Vec<Load> = loads.iter().copied().chain([own]).collect();
        if let Err(error) = engine.memory.check(&all) {
            return if loads.is_empty() { Err(named(error)) } else { Ok(false) };
        }
        if !engine.prepare(self.job.plan.loras(), in_use)? {
            return Ok(false);
        }
        if self.conditioning.is_none() {
            self.conditioning = Some(conditioning(engine, &self.job.plan)?);
        }
        let lane = self.lane(engine, image, &all).map_err(|error| self.job.cx.check().err().unwrap_or(error));
        self.lanes.push(lane.map_err(named)?);
        self.begun += 1;
        Ok(true)
    }

    /// The size of an image before it is decoded.
    fn expected_size(&self, engine: &Engine, image: usize) -> Result<Size> {
        Ok(match self.job.plan.images.get(image).ok_or_else(thread_lost)? {
            Start::Noise(size) | Start::Image(_, Some(size)) => *size,
            Start::Image(data, None) => {
                // Without a size in its header it is none, which decoding says.
                let (width, height) = data.dimensions().unwrap_or((1, 1));
                engine.sizes.around(engine.sizes.of_image(width as usize, height as usize))
            }
        })
    }

    fn lane(&self, engine: &Engine, image: usize, loads: &[Load]) -> Result<Lane> {
        let plan = &self.job.plan;
        let noise = Noise::new(plan.seed.wrapping_add(image as u64), plan.noise);
        let schedule = plan.steps.scheduler.schedule(plan.steps.count as usize, plan.strength)?;
        match plan.images.get(image).ok_or_else(thread_lost)? {
            Start::Noise(size) => of_noise(engine, image, *size, noise, schedule),
            Start::Image(data, size) => self.of_image(engine, image, (data, *size), noise, schedule, loads),
        }
    }

    fn of_image(
        &self,
        engine: &Engine,
        image: usize,
        (data, size): (&ImageData, Option<Size>),
        mut noise: Noise,
        schedule: Box<dyn Scheduler>,
        loads: &[Load],
    ) -> Result<Lane> {
        let (plan, facts) = (&self.job.plan, engine.facts());
        let canvas = Canvas::new(&engine.cpu, &engine.sizes, data, plan.mask.as_ref(), size)?;
        let (height, width) = (canvas.image.height(), canvas.image.width());
        let shape = facts.latent_shape(height, width)?;
        let mut encode = |pixels: &RgbImage| {
            let draw = noise.latent(shape, Draw::Image);
            let options = DecodeOptions { max_bytes: engine.memory.for_vae(loads) };
            engine.model.encode_image(pixels, Some(&draw), options, &|| self.is_unwanted())
        };
        let original = encode(&canvas.image)?;
        let masked_image = if facts.is_inpaint { Some(encode(&canvas.masked_image()?)?) } else { None };
        let drawn = noise.latent(shape, Draw::Initial);
        // Where nothing of the image is to be left, its colours are not to show through either.
        let begins_anew = facts.is_inpaint && plan.strength >= 1.0;
        let latent = if begins_anew {
            Latent::new(shape, drawn.clone())?.scaled(schedule.init_noise_sigma())
        } else {
            Latent::new(shape, schedule.add_noise(0, &original.values, &drawn))?
        };
        let mask = canvas.latent_mask(facts.scale);
        let kept = (canvas.mask.is_some() && !facts.is_inpaint).then(|| Kept {
            mask: mask.clone(),
            original: original.values,
            noise: drawn,
        });
        let inpaint = masked_image.map(|masked_image| InpaintInput { mask, masked_image });
        let sizes = MicroConditions::plain(height, width);
        Ok(Lane { image, latent, schedule, step: 0, noise, sizes, canvas: Some(canvas), inpaint, kept })
    }

    fn is_unwanted(&self) -> bool {
        let is_closed = self.job.reply.as_ref().is_none_or(tokio::sync::oneshot::Sender::is_closed);
        is_closed || self.job.cx.check().is_err()
    }

    /// What the model is asked about an image: with the prompt and, where there is guidance, without it.
    pub(super) fn rows<'a>(
        &'a self,
        engine: &Engine,
        lane: &'a Lane,
        input: &'a Latent,
    ) -> Result<Vec<Row<'a>>> {
        let (positive, negative) = self.conditioning.as_ref().ok_or_else(thread_lost)?;
        let timestep = *lane.schedule.timesteps().get(lane.step).ok_or_else(thread_lost)?;
        let guidance = engine.facts().embeds_guidance.then_some(self.job.plan.steps.guidance);
        let row = |conditioning| Row {
            latent: input,
            timestep,
            conditioning,
            loras: self.job.plan.loras(),
            sizes: lane.sizes,
            guidance,
            inpaint: lane.inpaint.as_ref(),
        };
        Ok([Some(positive), negative.as_ref()].into_iter().flatten().map(row).collect())
    }

    /// Moves an image on by what the model said.
    ///
    /// # Errors
    /// `response_invalid` if there are no numbers any more.
    pub(super) fn advance(&mut self, engine: &Engine, lane: usize, output: &[f32]) -> Result<()> {
        let lane = self.lanes.get_mut(lane).ok_or_else(thread_lost)?;
        let (step, shape) = (lane.step, lane.latent.shape);
        let noise = lane.schedule.needs_noise(step).then(|| lane.noise.latent(shape, Draw::Step(step)));
        lane.schedule.step(step, output, &mut lane.latent.values, noise.as_deref())?;
        lane.step += 1;
        if let Some(kept) = &lane.kept {
            kept.restore(&*lane.schedule, lane.step, &mut lane.latent.values);
        }
        if !lane.latent.values.iter().all(|value| value.is_finite()) {
            return Err(not_finite(engine.facts().precision));
        }
        self.steps_done += 1;
        let of = lane.schedule.timesteps().len() * self.job.plan.images.len();
        let preview = match self.job.plan.has_previews {
            true => Some(png(&engine.model.preview(&lane.latent)?, None)?.bytes().clone()),
            false => None,
        };
        let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        let (step, of) = (number(self.steps_done), number(of));
        self.job.cx.report(|| Progress::ImageStep { step, of, preview });
        Ok(())
    }

    /// Makes an image of latents whose steps are done, and answers the request if it was the last one.
    ///
    /// # Errors
    /// Those of the VAE and of writing the file.
    pub(super) fn decode(&mut self, engine: &Engine, lane: usize, loads: &[Load]) -> Result<()> {
        let lane = self.lanes.remove(lane);
        let options = DecodeOptions { max_bytes: engine.memory.for_vae(loads) };
        let drawn = engine.model.decode(&lane.latent, options, &|| self.is_unwanted());
        let drawn = drawn.map_err(|error| self.job.cx.check().err().unwrap_or(error))?;
        let drawn = match &lane.canvas {
            Some(canvas) => canvas.finish(&drawn)?,
            None => drawn,
        };
        let (drawn, safety) = engine.checked(drawn)?;
        let plan = &self.job.plan;
        let has_receipt = engine.has_receipts && plan.has_receipts;
        let texts = has_receipt.then(|| texts(engine, plan, &lane, (&drawn, safety.as_ref())));
        let file = plan.format.encode(&drawn, texts.as_ref())?;
        self.images.insert(lane.image, (file, safety));
        if self.images.len() == plan.images.len() {
            let response = self.response(engine);
            self.end(Ok(response));
        }
        Ok(())
    }

    fn response(&mut self, engine: &Engine) -> ImageResponse {
        let mut images = std::mem::take(&mut self.images);
        let plan = &self.job.plan;
        let (images, safety): (Vec<_>, Vec<_>) =
            (0..plan.images.len()).filter_map(|index| images.remove(&index)).unzip();
        let tokens = self.conditioning.as_ref().and_then(|(positive, _)| u64::try_from(positive.tokens).ok());
        ImageResponse::new(images, Route::new(&engine.info))
            .with_seed(Some(plan.seed))
            .with_schedule(Some(Named::of(&plan.steps.scheduler).name.to_owned()), Some(plan.steps.count))
            .with_safety(safety.into_iter().flatten().collect())
            .with_usage(Usage::new(tokens, None))
    }
}

impl Kept {
    /// Puts the part that the mask leaves out back, with the noise that belongs to a step.
    fn restore(&self, schedule: &dyn Scheduler, step: usize, latent: &mut [f32]) {
        let noised = match step < schedule.timesteps().len() {
            true => schedule.add_noise(step, &self.original, &self.noise),
            false => self.original.clone(),
        };
        let channels = (latent.len() / self.mask.len().max(1)).max(1);
        let pixels = latent.chunks_exact_mut(channels).zip(noised.chunks_exact(channels));
        for ((pixel, original), mask) in pixels.zip(&self.mask) {
            if *mask < 0.5 {
                pixel.copy_from_slice(original);
            }
        }
    }
}

fn of_noise(
    engine: &Engine,
    image: usize,
    size: Size,
    mut noise: Noise,
    schedule: Box<dyn Scheduler>,
) -> Result<Lane> {
    let shape: LatentShape = engine.facts().latent_shape(size.height, size.width)?;
    let drawn = noise.latent(shape, Draw::Initial);
    let latent = Latent::new(shape, drawn)?.scaled(schedule.init_noise_sigma());
    let sizes = MicroConditions::plain(size.height, size.width);
    Ok(Lane { image, latent, schedule, step: 0, noise, sizes, canvas: None, inpaint: None, kept: None })
}

/// What the steps of a request are conditioned on. Prompts of different lengths are made of the same one by the model.
fn conditioning(engine: &Engine, plan: &Plan) -> Result<(Conditioning, Option<Conditioning>)> {
    let positive = engine.model.encode(&plan.prompt)?;
    let negative = match plan.steps.is_guided {
        true => Some(engine.model.encode_negative(plan.negative.as_ref(), plan.loras())?),
        false => None,
    };
    Ok((positive, negative))
}

fn texts(
    engine: &Engine,
    plan: &Plan,
    lane: &Lane,
    (drawn, safety): (&RgbImage, Option<&ImageSafety>),
) -> Texts {
    let facts = engine.facts();
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let scheduler = Named::of(&plan.steps.scheduler);
    let (input, is_resized) = match plan.images.get(lane.image) {
        Some(Start::Image(data, size)) => (Some(sha256(data.bytes())), size.is_some()),
        _ => (None, false),
    };
    let loras = plan.loras().members().filter_map(|(place, weight)| {
        let lora = facts.loras.get(place)?;
        Some(LoraReceipt::new(lora.name.clone(), weight, lora.sha256.clone()))
    });
    let receipt = ImageReceipt {
        engine: concat!("ayni ", env!("CARGO_PKG_VERSION")).to_owned(),
        operation: if input.is_some() { "refine" } else { "generate" }.to_owned(),
        model: engine.info.model.to_string(),
        model_sha256: engine.weights.sha256().to_owned(),
        loras: loras.collect(),
        recipe: plan.recipe.clone(),
        device: facts.device.clone(),
        precision: facts.precision.to_owned(),
        prompt: plan.prompt.text.clone(),
        negative_prompt: plan.negative.as_ref().map(|prompt| prompt.text.clone()),
        seed: plan.seed.wrapping_add(lane.image as u64),
        noise: noise_name(plan.noise).to_owned(),
        width: number(drawn.width()),
        height: number(drawn.height()),
        steps: plan.steps.count,
        guidance: plan.steps.guidance,
        scheduler: scheduler.name.to_owned(),
        clip_skip: number(plan.prompt.clip_skip),
        weighted: plan.prompt.weighted,
        strength: input.is_some().then_some(plan.strength),
        input_sha256: input,
        mask_sha256: plan.mask.as_ref().map(|mask| sha256(mask.bytes())),
        drawn_size: lane
            .canvas
            .as_ref()
            .and_then(Canvas::drawn_size)
            .map(|size| (number(size.width), number(size.height))),
        is_resized,
        is_flagged: safety.is_some_and(|safety| safety.flagged),
        is_blanked: safety.is_some_and(|safety| safety.blanked),
    };
    Texts { parameters: receipt.parameters(scheduler.label), receipt: receipt.to_json() }
}
