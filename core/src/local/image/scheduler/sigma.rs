//! Schedulers that count by sigmas, one or two calls of the model a step: Euler, Euler ancestral, Heun, and Euler for flow
//! matching.

use super::betas::{alphas_cumprod, flow_steps, sigma_steps, sigmas};
use super::{Prediction, Scheduler, SchedulerConfig, SchedulerKind, Spacing, check, combine, combined};
use crate::error::{Error, Result};

/// One image's schedule.
#[derive(Clone, Debug)]
pub(super) struct SigmaScheduler {
    config: SchedulerConfig,
    timesteps: Vec<f32>,
    /// That of each call, and the one after the last.
    pub(super) sigmas: Vec<f32>,
    first: usize,
    /// What the first half of Heun's step leaves to the second: derivative, distance and sample.
    half: Option<(Vec<f32>, f64, Vec<f32>)>,
}

impl SigmaScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: usize, first: usize) -> Self {
        let (mut timesteps, mut sigmas) = match config.kind {
            SchedulerKind::FlowMatchEuler => flow_steps(config, steps),
            _ => sigma_steps(config, &sigmas(&alphas_cumprod(config)), steps),
        };
        let mut first = first;
        if config.kind == SchedulerKind::Heun {
            // Every step but the first at the end of the one before it too.
            let twice = |values: &[f32]| -> Vec<f32> {
                values
                    .iter()
                    .enumerate()
                    .flat_map(|(i, value)| vec![*value; if i == 0 { 1 } else { 2 }])
                    .collect()
            };
            timesteps = twice(&timesteps);
            let last = sigmas.pop();
            sigmas = twice(&sigmas).into_iter().chain(last).collect();
            first *= 2;
        }
        Self { config: config.clone(), timesteps, sigmas, first, half: None }
    }

    fn sigma(&self, index: usize) -> f64 {
        self.sigmas.get(index).map_or(0.0, |sigma| f64::from(*sigma))
    }

    /// The predicted image at a sigma.
    fn image(&self, sigma: f64, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let square = sigma * sigma + 1.0;
        let mut image = match self.config.prediction {
            Prediction::Sample => output.to_vec(),
            Prediction::VPrediction => combined(&[(-sigma / square.sqrt(), output), (1.0 / square, sample)]),
            Prediction::Epsilon | Prediction::Flow => combined(&[(1.0, sample), (-sigma, output)]),
        };
        if let Some(range) = self.config.clip.filter(|_| self.config.kind == SchedulerKind::Heun) {
            let range = range as f32;
            image.iter_mut().for_each(|value| *value = value.clamp(-range, range));
        }
        image
    }

    fn heun(&mut self, index: usize, output: &[f32], sample: &mut [f32]) {
        match self.half.take() {
            None => {
                let (sigma, next) = (self.sigma(index), self.sigma(index + 1));
                let image = self.image(sigma, output, sample);
                let derivative = combined(&[(1.0 / sigma, sample), (-1.0 / sigma, &image)]);
                let before = sample.to_vec();
                combine(sample, &[(1.0, &before), (next - sigma, &derivative)]);
                self.half = Some((derivative, next - sigma, before));
            }
            Some((first, distance, before)) => {
                let sigma = self.sigma(index);
                let image = self.image(sigma, output, sample);
                let second = combined(&[(1.0 / sigma, sample), (-1.0 / sigma, &image)]);
                combine(sample, &[(1.0, &before), (distance / 2.0, &first), (distance / 2.0, &second)]);
            }
        }
    }

    fn euler(&self, index: usize, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) {
        let (sigma, next) = (self.sigma(index), self.sigma(index + 1));
        let image = self.image(sigma, output, sample);
        let (up, down) = match noise {
            Some(_) => {
                let (from, to) = (sigma * sigma, next * next);
                let up = to * (from - to) / from;
                (up.max(0.0).sqrt(), (to - up).max(0.0).sqrt())
            }
            None => (0.0, next),
        };
        // x + (x - image) / σ · (down - σ)
        let part = (down - sigma) / sigma;
        let before = sample.to_vec();
        combine(sample, &[(1.0 + part, &before), (-part, &image), (up, noise.unwrap_or(&before))]);
    }
}

impl Scheduler for SigmaScheduler {
    fn timesteps(&self) -> &[f32] {
        self.timesteps.get(self.first..).unwrap_or_default()
    }

    fn init_noise_sigma(&self) -> f32 {
        let most = self.sigmas.iter().copied().fold(0.0, f32::max);
        match (self.config.kind, self.config.spacing) {
            (SchedulerKind::FlowMatchEuler, _) => 1.0,
            (_, Spacing::Leading) => (most * most + 1.0).sqrt(),
            _ => most,
        }
    }

    fn scale_input(&self, step: usize, sample: &[f32]) -> Vec<f32> {
        if self.config.kind == SchedulerKind::FlowMatchEuler {
            return sample.to_vec();
        }
        let sigma = self.sigma(step + self.first) as f32;
        let scale = (sigma * sigma + 1.0).sqrt();
        sample.iter().map(|value| value / scale).collect()
    }

    fn needs_noise(&self, _: usize) -> bool {
        self.config.kind == SchedulerKind::EulerAncestral
    }

    fn step(&mut self, step: usize, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) -> Result<()> {
        check(output, sample, noise, self.needs_noise(step))?;
        let index = step + self.first;
        if index >= self.timesteps.len() {
            return Err(Error::invalid_request("no step is left"));
        }
        match self.config.kind {
            SchedulerKind::Heun => self.heun(index, output, sample),
            SchedulerKind::FlowMatchEuler => {
                let distance = self.sigma(index + 1) - self.sigma(index);
                let before = sample.to_vec();
                combine(sample, &[(1.0, &before), (distance, output)]);
            }
            SchedulerKind::EulerAncestral => self.euler(index, output, sample, noise),
            _ => self.euler(index, output, sample, None),
        }
        Ok(())
    }

    fn add_noise(&self, step: usize, original: &[f32], noise: &[f32]) -> Vec<f32> {
        let sigma = self.sigma(step + self.first);
        let signal = if self.config.kind == SchedulerKind::FlowMatchEuler { 1.0 - sigma } else { 1.0 };
        combined(&[(signal, original), (sigma, noise)])
    }
}
