//! Schedulers that count by the signal that is left (ᾱ): DDIM, DDPM, PNDM, and those of consistency models, LCM and TCD.

use super::betas::{alphas_cumprod, distilled, spaced};
use super::{Prediction, Scheduler, SchedulerConfig, SchedulerKind, check, combine, combined};
use crate::error::{Error, Result};

/// One image's schedule.
#[derive(Clone, Debug)]
pub(super) struct SignalScheduler {
    config: SchedulerConfig,
    /// ᾱ of each training step.
    signal: Vec<f32>,
    /// All timesteps, and the first that is done.
    timesteps: Vec<f32>,
    first: usize,
    /// How many steps the user asked for.
    steps: usize,
    pndm: Pndm,
}

/// What PNDM remembers.
#[derive(Clone, Debug, Default)]
struct Pndm {
    outputs: Vec<Vec<f32>>,
    /// The sample before the steps that are averaged.
    sample: Vec<f32>,
    /// The weighted sum of a Runge-Kutta step's outputs so far.
    sum: Vec<f32>,
    counter: usize,
    /// How many calls of the model are Runge-Kutta steps.
    runge_kutta: usize,
}

impl SignalScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: usize, first: usize) -> Result<Self> {
        let signal = alphas_cumprod(config);
        let mut pndm = Pndm::default();
        let timesteps = match config.kind {
            SchedulerKind::Lcm | SchedulerKind::Tcd => distilled(config, steps)?,
            SchedulerKind::Pndm => pndm_timesteps(config, steps, &mut pndm)?,
            _ => spaced(config, steps),
        };
        if config.rescale_zero_snr && config.prediction == Prediction::Epsilon {
            return Err(Error::invalid_request(format!(
                "betas without signal at the end (`rescale_betas_zero_snr`) can't be used with {} and a model that \
                 predicts noise; an Euler scheduler can",
                config.kind.class_name()
            )));
        }
        let timesteps = timesteps.into_iter().map(|t| t as f32).collect();
        Ok(Self { config: config.clone(), signal, timesteps, first, steps, pndm })
    }

    /// ᾱ at a timestep; after the last one, what the configuration says.
    fn signal(&self, timestep: i64) -> f64 {
        let last = match (self.config.kind, self.config.set_alpha_to_one) {
            (SchedulerKind::Ddpm, _) | (_, true) => 1.0,
            _ => self.signal.first().copied().unwrap_or(1.0),
        };
        let found =
            usize::try_from(timestep).ok().map(|t| self.signal.get(t).or(self.signal.last()).copied());
        f64::from(found.flatten().unwrap_or(last))
    }

    fn timestep(&self, index: usize) -> Option<i64> {
        self.timesteps.get(index).map(|t| *t as i64)
    }

    /// The predicted image and the predicted noise.
    fn predicted(&self, signal: f64, output: &[f32], sample: &[f32]) -> (Vec<f32>, Vec<f32>) {
        let (a, b) = (signal.sqrt(), (1.0 - signal).sqrt());
        let (mut image, noise) = match self.config.prediction {
            Prediction::Sample => (output.to_vec(), combined(&[(1.0 / b, sample), (-a / b, output)])),
            Prediction::VPrediction => {
                (combined(&[(a, sample), (-b, output)]), combined(&[(a, output), (b, sample)]))
            }
            Prediction::Epsilon | Prediction::Flow => {
                (combined(&[(1.0 / a, sample), (-b / a, output)]), output.to_vec())
            }
        };
        if let Some(range) = self.config.clip.filter(|_| self.config.kind != SchedulerKind::Tcd) {
            let range = range as f32;
            image.iter_mut().for_each(|value| *value = value.clamp(-range, range));
        }
        (image, noise)
    }

    fn ddim(&self, timestep: i64, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) {
        let before = timestep - (self.config.train_steps / self.steps) as i64;
        let (signal, next) = (self.signal(timestep), self.signal(before));
        let (image, predicted_noise) = self.predicted(signal, output, sample);
        let variance = (1.0 - next) / (1.0 - signal) * (1.0 - signal / next);
        let deviation = self.config.eta * variance.max(0.0).sqrt();
        let direction = (1.0 - next - deviation * deviation).max(0.0).sqrt();
        let noise = noise.unwrap_or(&predicted_noise);
        combine(sample, &[(next.sqrt(), &image), (direction, &predicted_noise), (deviation, noise)]);
    }

    fn ddpm(&self, index: usize, timestep: i64, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) {
        let signal = self.signal(timestep);
        let next = self.timestep(index + 1).map_or(1.0, |next| self.signal(next));
        let (image, _) = self.predicted(signal, output, sample);
        let (alpha, rest) = (signal / next, 1.0 - signal);
        let of_image = next.sqrt() * (1.0 - alpha) / rest;
        let of_sample = alpha.sqrt() * (1.0 - next) / rest;
        let variance = match self.config.large_variance {
            true => 1.0 - alpha,
            false => ((1.0 - next) / rest * (1.0 - alpha)).max(1e-20),
        };
        let old = sample.to_vec();
        let (deviation, noise) = noise.map_or((0.0, &old[..]), |noise| (variance.sqrt(), noise));
        combine(sample, &[(of_image, &image), (of_sample, &old), (deviation, noise)]);
    }

    fn lcm(&self, index: usize, timestep: i64, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) {
        const DATA_VARIANCE: f64 = 0.25;
        let (image, _) = self.predicted(self.signal(timestep), output, sample);
        let scaled = timestep as f64 * self.config.timestep_scaling;
        let sum = scaled * scaled + DATA_VARIANCE;
        let denoised = combined(&[(scaled / sum.sqrt(), &image), (DATA_VARIANCE / sum, sample)]);
        match noise.filter(|_| self.needs_noise(index - self.first)) {
            Some(noise) => {
                let next = self.signal(self.timestep(index + 1).unwrap_or(timestep));
                combine(sample, &[(next.sqrt(), &denoised), ((1.0 - next).sqrt(), noise)]);
            }
            None => sample.copy_from_slice(&denoised),
        }
    }

    fn tcd(&self, index: usize, timestep: i64, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) {
        let before = self.timestep(index + 1).unwrap_or(0);
        // In f32, as torch multiplies.
        let middle = ((1.0 - self.config.eta) as f32 * before as f32).floor() as i64;
        let (next, middle) = (self.signal(before), self.signal(middle));
        let (image, predicted_noise) = self.predicted(self.signal(timestep), output, sample);
        let noised = combined(&[(middle.sqrt(), &image), ((1.0 - middle).sqrt(), &predicted_noise)]);
        match noise.filter(|_| self.needs_noise(index - self.first)) {
            Some(noise) => {
                let part = next / middle;
                combine(sample, &[(part.sqrt(), &noised), ((1.0 - part).max(0.0).sqrt(), noise)]);
            }
            None => sample.copy_from_slice(&noised),
        }
    }

    /// One call of PNDM: formula (9) of its paper between two timesteps.
    fn pndm_move(&self, [from, to]: [i64; 2], output: &[f32], sample: &[f32], result: &mut [f32]) {
        let (signal, next) = (self.signal(from), self.signal(to));
        let (rest, rest_next) = (1.0 - signal, 1.0 - next);
        let noise = match self.config.prediction {
            Prediction::VPrediction => combined(&[(signal.sqrt(), output), (rest.sqrt(), sample)]),
            _ => output.to_vec(),
        };
        let denominator = signal * rest_next.sqrt() + (signal * rest * next).sqrt();
        combine(result, &[((next / signal).sqrt(), sample), (-(next - signal) / denominator, &noise)]);
    }

    fn pndm(&mut self, timestep: i64, output: &[f32], sample: &mut [f32]) {
        let distance = (self.config.train_steps / self.steps) as i64;
        let counter = self.pndm.counter;
        self.pndm.counter += 1;
        if counter < self.pndm.runge_kutta {
            return self.runge_kutta(counter, timestep, distance, output, sample);
        }
        let (mut from, mut to) = (timestep, timestep - distance);
        if counter == 1 {
            (from, to) = (timestep + distance, timestep);
        } else {
            let outputs = &mut self.pndm.outputs;
            outputs.drain(..outputs.len().saturating_sub(3));
            outputs.push(output.to_vec());
        }
        let outputs = &self.pndm.outputs;
        let last = |back: usize| outputs[outputs.len() - back].as_slice();
        let averaged = match (outputs.len(), counter) {
            (1, 1) => {
                let averaged = combined(&[(0.5, output), (0.5, last(1))]);
                let before = std::mem::take(&mut self.pndm.sample);
                self.pndm_move([from, to], &averaged, &before, sample);
                return;
            }
            (1, _) => output.to_vec(),
            (2, _) => combined(&[(1.5, last(1)), (-0.5, last(2))]),
            (3, _) => combined(&[(23.0 / 12.0, last(1)), (-16.0 / 12.0, last(2)), (5.0 / 12.0, last(3))]),
            _ => combined(&[
                (55.0 / 24.0, last(1)),
                (-59.0 / 24.0, last(2)),
                (37.0 / 24.0, last(3)),
                (-9.0 / 24.0, last(4)),
            ]),
        };
        if counter == 0 {
            self.pndm.sample = sample.to_vec();
        }
        let before = sample.to_vec();
        self.pndm_move([from, to], &averaged, &before, sample);
    }

    fn runge_kutta(
        &mut self,
        counter: usize,
        timestep: i64,
        distance: i64,
        output: &[f32],
        sample: &mut [f32],
    ) {
        let to = timestep - if counter.is_multiple_of(2) { distance / 2 } else { 0 };
        let from = self.timestep(counter / 4 * 4).unwrap_or(timestep);
        let weight = if matches!(counter % 4, 0 | 3) { 1.0 / 6.0 } else { 1.0 / 3.0 };
        if counter.is_multiple_of(4) {
            self.pndm.outputs.push(output.to_vec());
            self.pndm.sample = sample.to_vec();
            self.pndm.sum = combined(&[(weight, output)]);
        } else {
            self.pndm.sum = combined(&[(1.0, &self.pndm.sum), (weight, output)]);
        }
        let output = if counter % 4 == 3 { std::mem::take(&mut self.pndm.sum) } else { output.to_vec() };
        let before = self.pndm.sample.clone();
        self.pndm_move([from, to], &output, &before, sample);
    }
}

/// The timesteps of PNDM: with the second one twice, or with Runge-Kutta steps first.
fn pndm_timesteps(config: &SchedulerConfig, steps: usize, pndm: &mut Pndm) -> Result<Vec<f64>> {
    let mut all = spaced(config, steps);
    if config.skip_prk_steps {
        if let Some(second) = all.get(1).copied() {
            all.insert(1, second);
        } else if let Some(only) = all.first().copied() {
            all = vec![only];
        }
        return Ok(all);
    }
    if steps < 4 {
        return Err(Error::invalid_request("PNDM with Runge-Kutta steps needs at least 4 steps"));
    }
    // The steps at the front, each with the one half a step after it, in the order in which they are visited.
    let half = (config.train_steps / steps / 2) as f64;
    let pairs: Vec<f64> = all[..4].iter().rev().flat_map(|t| [*t, t + half]).collect();
    let doubled: Vec<f64> = pairs[..7].iter().flat_map(|t| [*t, *t]).collect();
    let mut timesteps: Vec<f64> = doubled[1..13].iter().rev().copied().collect();
    pndm.runge_kutta = timesteps.len();
    timesteps.extend(&all[3..]);
    Ok(timesteps)
}

impl Scheduler for SignalScheduler {
    fn timesteps(&self) -> &[f32] {
        self.timesteps.get(self.first..).unwrap_or_default()
    }

    fn needs_noise(&self, step: usize) -> bool {
        let index = step + self.first;
        match self.config.kind {
            SchedulerKind::Ddim => self.config.eta > 0.0,
            SchedulerKind::Ddpm => self.timestep(index).is_some_and(|t| t > 0),
            SchedulerKind::Lcm => index + 1 < self.steps,
            SchedulerKind::Tcd => self.config.eta > 0.0 && index + 1 < self.steps,
            _ => false,
        }
    }

    fn step(&mut self, step: usize, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) -> Result<()> {
        check(output, sample, noise, self.needs_noise(step))?;
        let index = step + self.first;
        let timestep = self.timestep(index).ok_or_else(|| Error::invalid_request("no step is left"))?;
        match self.config.kind {
            SchedulerKind::Ddpm => self.ddpm(index, timestep, output, sample, noise),
            SchedulerKind::Lcm => self.lcm(index, timestep, output, sample, noise),
            SchedulerKind::Tcd => self.tcd(index, timestep, output, sample, noise),
            SchedulerKind::Pndm => self.pndm(timestep, output, sample),
            _ => self.ddim(timestep, output, sample, noise),
        }
        Ok(())
    }

    fn add_noise(&self, step: usize, original: &[f32], noise: &[f32]) -> Vec<f32> {
        let signal = self.signal(self.timestep(step + self.first).unwrap_or(0));
        combined(&[(signal.sqrt(), original), ((1.0 - signal).sqrt(), noise)])
    }
}
