//! Schedulers: at which timesteps the model is asked, and what its output does to the latent. The numbers are those of
//! diffusers.

use serde::Deserialize;

use crate::error::{Error, Result};

/// `scheduler_config.json` of diffusers, or made by a recipe. Fields are those of diffusers; what is missing in the file
/// is the default of its `_class_name`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SchedulerConfig {
    pub(crate) kind: SchedulerKind,
    pub(crate) prediction: Prediction,
    pub(crate) spacing: Spacing,
    pub(crate) steps_offset: usize,
    /// Karras' sigmas, where the kind takes them.
    pub(crate) karras: bool,
    /// Betas are rescaled so that the last step has no signal.
    pub(crate) rescale_zero_snr: bool,
    // betas: start, end, schedule, train steps, trained_betas … (filled in by the scheduler's own file)
}

/// A scheduler by its class in diffusers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum SchedulerKind {
    Ddim,
    Ddpm,
    Pndm,
    Euler,
    EulerAncestral,
    Heun,
    /// `DPMSolverMultistepScheduler`, `dpmsolver++`.
    DpmPlusPlus2M,
    /// `DPMSolverMultistepScheduler`, `sde-dpmsolver++`.
    DpmPlusPlus2MSde,
    UniPc,
    Lcm,
    Tcd,
    FlowMatchEuler,
}

/// What the model predicts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Prediction {
    Epsilon,
    VPrediction,
    Sample,
    /// Of flow matching.
    Flow,
}

/// Which timesteps are taken of those of training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spacing {
    Linspace,
    Leading,
    Trailing,
}

impl SchedulerConfig {
    /// The configuration of a scheduler's file.
    ///
    /// # Errors
    /// `unsupported` for a class or value that is not computed here; `model_load` for a file that is not as expected.
    pub(crate) fn from_json(config: &serde_json::Value) -> Result<Self> {
        let _ = config;
        Err(Error::unsupported("being written"))
    }

    /// The same betas with another scheduler (and that one's defaults): what
    /// `OtherScheduler.from_config(pipe.scheduler.config)` does.
    pub(crate) fn with_kind(&self, kind: SchedulerKind) -> Self {
        Self { kind, ..self.clone() }
    }

    /// The steps of one image: `steps` as users count them, of which the last `strength` part is done (1.0 for all).
    ///
    /// # Errors
    /// `invalid_request` for no steps, more than the scheduler can take, or a strength that leaves none.
    pub(crate) fn schedule(&self, steps: usize, strength: f32) -> Result<Box<dyn Scheduler>> {
        let _ = (steps, strength);
        Err(Error::unsupported("being written"))
    }
}

/// The schedule and state of one image. Step numbers count calls of the model, from 0 to `timesteps().len()`: Heun and
/// PNDM call it more often than the user asked for steps.
pub(crate) trait Scheduler: Send + std::fmt::Debug {
    /// The timestep of each call of the model, after `strength` cut the first ones off.
    fn timesteps(&self) -> &[f32];

    /// What the first noise is multiplied by (text to image).
    fn init_noise_sigma(&self) -> f32;

    /// The model's input at a step.
    fn scale_input(&self, step: usize, sample: &[f32]) -> Vec<f32>;

    /// Whether a step needs noise.
    fn needs_noise(&self, step: usize) -> bool;

    /// Moves the sample on, in place. Steps are done in order, each once.
    ///
    /// # Errors
    /// `unexpected` if noise is missing, or lengths differ.
    fn step(&mut self, step: usize, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) -> Result<()>;

    /// An image's latent with the noise of the first step (refine), or of a later one (inpainting without an inpainting
    /// UNet).
    fn add_noise(&self, step: usize, original: &[f32], noise: &[f32]) -> Vec<f32>;
}
