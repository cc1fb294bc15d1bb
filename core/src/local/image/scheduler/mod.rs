//! Schedulers: at which timesteps the model is asked, and what its output does to the latent. The numbers are those of
//! diffusers.
//!
//! `betas.rs` computes timesteps and sigmas; the steps themselves are in `signal.rs` (DDIM, DDPM, PNDM, LCM, TCD),
//! `sigma.rs` (Euler, Heun, flow matching) and `multistep.rs` (DPM-Solver, UniPC).

mod betas;
mod config;
mod multistep;
mod sigma;
mod signal;

#[cfg(test)]
mod tests;

use std::fmt;

pub(crate) use config::{BetaSchedule, Prediction, SchedulerConfig, SchedulerKind, Solver, Spacing};

use crate::error::{Error, ErrorKind, Result};

/// The most steps that a user may ask for.
const MAX_STEPS: usize = 1000;

/// The schedule and state of one image. Step numbers count calls of the model, from 0 to `timesteps().len()`: Heun and
/// PNDM call it more often than the user asked for steps.
pub(crate) trait Scheduler: Send + fmt::Debug {
    /// The timestep of each call of the model, after `strength` cut the first ones off.
    fn timesteps(&self) -> &[f32];

    /// What the first noise is multiplied by (text to image).
    fn init_noise_sigma(&self) -> f32 {
        1.0
    }

    /// The model's input at a step.
    fn scale_input(&self, step: usize, sample: &[f32]) -> Vec<f32> {
        let _ = step;
        sample.to_vec()
    }

    /// Whether a step needs noise.
    fn needs_noise(&self, step: usize) -> bool {
        let _ = step;
        false
    }

    /// Moves the sample on, in place. Steps are done in order, each once.
    ///
    /// # Errors
    /// `unexpected` if noise is missing, or lengths differ.
    fn step(&mut self, step: usize, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) -> Result<()>;

    /// An image's latent with the noise of the first step (refine), or of a later one (inpainting without an inpainting
    /// UNet).
    fn add_noise(&self, step: usize, original: &[f32], noise: &[f32]) -> Vec<f32>;
}

impl SchedulerConfig {
    /// The steps of one image: `steps` as users count them, of which the last `strength` part is done (1.0 for all).
    ///
    /// # Errors
    /// `invalid_request` for no steps, more than the scheduler can take, or a strength that leaves none.
    pub(crate) fn schedule(&self, steps: usize, strength: f32) -> Result<Box<dyn Scheduler>> {
        let most = MAX_STEPS.min(self.train_steps);
        if !(1..=most).contains(&steps) {
            return Err(Error::invalid_request(format!("`steps` is {steps}; valid: 1 to {most}")));
        }
        if !(strength > 0.0 && strength <= 1.0) {
            return Err(Error::invalid_request(format!("`strength` is {strength}; valid: above 0 up to 1")));
        }
        // As Python multiplies: 0.7 is the nearest f64, not the nearest f32.
        let exact: f64 = strength.to_string().parse().unwrap_or(f64::from(strength));
        let done = ((steps as f64 * exact) as usize).min(steps);
        if done == 0 {
            return Err(Error::invalid_request(format!(
                "a `strength` of {strength} leaves none of {steps} steps; at least {} steps or a strength of {} does one",
                (1.0 / exact).ceil(),
                1.0 / steps as f64
            )));
        }
        let first = steps - done;
        Ok(match self.kind {
            SchedulerKind::Ddim
            | SchedulerKind::Ddpm
            | SchedulerKind::Pndm
            | SchedulerKind::Lcm
            | SchedulerKind::Tcd => Box::new(signal::SignalScheduler::new(self, steps, first)?),
            SchedulerKind::Euler
            | SchedulerKind::EulerAncestral
            | SchedulerKind::Heun
            | SchedulerKind::FlowMatchEuler => Box::new(sigma::SigmaScheduler::new(self, steps, first)),
            SchedulerKind::DpmMultistep | SchedulerKind::UniPc => {
                Box::new(multistep::MultistepScheduler::new(self, steps, first))
            }
        })
    }
}

/// `Σ factor · values` into `to`.
fn combine(to: &mut [f32], terms: &[(f64, &[f32])]) {
    for (index, to) in to.iter_mut().enumerate() {
        let sum: f64 = terms.iter().map(|(factor, values)| factor * f64::from(values[index])).sum();
        *to = sum as f32;
    }
}

/// The same as a new vector.
fn combined(terms: &[(f64, &[f32])]) -> Vec<f32> {
    let mut sum = vec![0.0; terms.first().map_or(0, |(_, values)| values.len())];
    combine(&mut sum, terms);
    sum
}

/// Checks what a step is given.
fn check(output: &[f32], sample: &[f32], noise: Option<&[f32]>, needs_noise: bool) -> Result<()> {
    let fits = |values: &[f32]| values.len() == sample.len();
    let is_right = fits(output) && noise.is_none_or(fits) && (noise.is_some() || !needs_noise);
    match is_right {
        true => Ok(()),
        false => {
            Err(Error::new(ErrorKind::Unexpected, "a step of a scheduler got other numbers than it needs"))
        }
    }
}
