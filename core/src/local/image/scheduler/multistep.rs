//! Solvers that use the outputs of earlier steps: DPM-Solver++ (2M, its SDE form, third order) and UniPC.

use super::betas::{alphas_cumprod, sigma_steps, sigmas};
use super::{Prediction, Scheduler, SchedulerConfig, SchedulerKind, Solver, check, combine, combined};
use crate::error::{Error, Result};

/// One image's schedule.
#[derive(Clone, Debug)]
pub(super) struct MultistepScheduler {
    config: SchedulerConfig,
    timesteps: Vec<f32>,
    pub(super) sigmas: Vec<f32>,
    first: usize,
    /// The predicted images of the last steps, the newest last.
    images: Vec<Vec<f32>>,
    /// How many steps are done, up to the order.
    done: usize,
    /// UniPC: the sample before the last step, and that step's order.
    last: Option<(Vec<f32>, usize)>,
}

/// Signal, noise, and half the logarithm of their ratio at a step.
#[derive(Clone, Copy, Debug)]
struct Point {
    alpha: f64,
    sigma: f64,
    lambda: f64,
}

impl MultistepScheduler {
    pub(super) fn new(config: &SchedulerConfig, steps: usize, first: usize) -> Self {
        let (timesteps, sigmas) = sigma_steps(config, &sigmas(&alphas_cumprod(config)), steps);
        let config = config.clone();
        Self { config, timesteps, sigmas, first, images: Vec::new(), done: 0, last: None }
    }

    fn point(&self, index: usize) -> Point {
        let sigma = self.sigmas.get(index).map_or(0.0, |sigma| f64::from(*sigma));
        let alpha = 1.0 / (sigma * sigma + 1.0).sqrt();
        let sigma = sigma * alpha;
        Point { alpha, sigma, lambda: alpha.ln() - sigma.ln() }
    }

    /// The image of `back` steps ago; 1 is the newest.
    fn image(&self, back: usize) -> &[f32] {
        self.images
            .len()
            .checked_sub(back)
            .and_then(|index| self.images.get(index))
            .map_or(&[], Vec::as_slice)
    }

    fn predicted(&self, index: usize, output: &[f32], sample: &[f32]) -> Vec<f32> {
        let Point { alpha, sigma, .. } = self.point(index);
        match self.config.prediction {
            Prediction::Sample => output.to_vec(),
            Prediction::VPrediction => combined(&[(alpha, sample), (-sigma, output)]),
            Prediction::Epsilon | Prediction::Flow => {
                combined(&[(1.0 / alpha, sample), (-sigma / alpha, output)])
            }
        }
    }

    fn remember(&mut self, image: Vec<f32>) {
        self.images.push(image);
        let too_many = self.images.len().saturating_sub(self.config.solver_order);
        self.images.drain(..too_many);
    }

    fn dpm(&mut self, index: usize, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) {
        let config = &self.config;
        let (count, order) = (self.timesteps.len(), config.solver_order);
        let is_short = config.lower_order_final && count < 15;
        let is_last = index + 1 == count && (config.euler_at_final || is_short || config.final_sigma_zero);
        let is_second_last = index + 2 == count && is_short;
        let image = self.predicted(index, output, sample);
        self.remember(image);
        let order = match self.done {
            _ if order == 1 || is_last => 1,
            0 => 1,
            1 => 2,
            _ if is_second_last => 2,
            _ => order,
        };
        self.dpm_move(index, order, sample, noise);
        self.done = (self.done + 1).min(self.config.solver_order);
    }

    /// A step of an order, in the form of Lu et al.: the newest image and its first and second differences.
    fn dpm_move(&self, index: usize, order: usize, sample: &mut [f32], noise: Option<&[f32]>) {
        let Solver::Dpm { heun, sde } = self.config.solver else { return };
        let (to, from) = (self.point(index + 1), self.point(index));
        let h = to.lambda - from.lambda;
        // With noise the same formulas hold for twice the distance.
        let (k, keep) = match sde {
            true => (2.0 * h, to.sigma / from.sigma * (-h).exp()),
            false => (h, to.sigma / from.sigma),
        };
        let decay = (-k).exp() - 1.0;
        let of_image = -to.alpha * decay;
        let third = order == 3;
        let of_first = match heun || third {
            true => to.alpha * (decay / k + 1.0),
            false => 0.5 * of_image,
        };
        let before = sample.to_vec();
        let mut terms: Vec<(f64, &[f32])> = vec![(keep, &before), (of_image, self.image(1))];
        // The differences by the ratios of distances.
        if order >= 2 {
            let back = from.lambda - self.point(index - 1).lambda;
            let r0 = back / h;
            if third {
                let r1 = (self.point(index - 1).lambda - self.point(index - 2).lambda) / h;
                let of_second = match sde {
                    true => to.alpha * ((1.0 - (-k).exp() - k) / (k * k) - 0.5),
                    false => -to.alpha * ((decay + k) / (k * k) - 0.5),
                };
                // first = d0 + r0 / (r0 + r1) · (d0 - d1), second = (d0 - d1) / (r0 + r1)
                let (d0, d1) = (
                    of_first * (1.0 + r0 / (r0 + r1)) + of_second / (r0 + r1),
                    -of_first * r0 / (r0 + r1) - of_second / (r0 + r1),
                );
                terms.extend([
                    (d0 / r0, self.image(1)),
                    (-d0 / r0 + d1 / r1, self.image(2)),
                    (-d1 / r1, self.image(3)),
                ]);
            } else {
                terms.extend([(of_first / r0, self.image(1)), (-of_first / r0, self.image(2))]);
            }
        }
        if let Some(noise) = noise.filter(|_| sde) {
            terms.push((to.sigma * (1.0 - (-2.0 * h).exp()).max(0.0).sqrt(), noise));
        }
        combine(sample, &terms);
    }

    fn uni_pc(&mut self, index: usize, output: &[f32], sample: &mut [f32]) {
        let image = self.predicted(index, output, sample);
        if let Some((last, order)) = self.last.take().filter(|_| index > 0) {
            let corrected = self.uni_move(index - 1, order, &last, Some(&image));
            sample.copy_from_slice(&corrected);
        }
        self.remember(image);
        let left = self.timesteps.len() - index;
        let order = match self.config.lower_order_final {
            true => self.config.solver_order.min(left),
            false => self.config.solver_order,
        };
        let order = order.min(self.done + 1);
        let moved = self.uni_move(index, order, sample, None);
        self.last = Some((sample.to_vec(), order));
        sample.copy_from_slice(&moved);
        self.done = (self.done + 1).min(self.config.solver_order);
    }

    /// A step of UniPC from `index` to the next: the predictor, or with the image that was predicted there the corrector.
    fn uni_move(&self, index: usize, order: usize, sample: &[f32], there: Option<&[f32]>) -> Vec<f32> {
        let (to, from) = (self.point(index + 1), self.point(index));
        let h = to.lambda - from.lambda;
        let k = -h;
        let decay = k.exp_m1();
        let b = if self.config.solver == (Solver::UniPc { bh1: true }) { k } else { decay };
        let mut ratios: Vec<f64> =
            (1..order).map(|back| (self.point(index - back).lambda - from.lambda) / h).collect();
        ratios.push(1.0);
        let (mut phi, mut factorial) = (decay / k - 1.0, 1.0);
        let mut right = Vec::new();
        for power in 1..=order {
            right.push(phi * factorial / b);
            factorial *= (power + 1) as f64;
            phi = phi / k - 1.0 / factorial;
        }
        let rows = |size: usize| -> Vec<Vec<f64>> {
            (0..size)
                .map(|power| ratios[..size].iter().map(|ratio| ratio.powi(power as i32)).collect())
                .collect()
        };
        let weights = match (there.is_some(), order) {
            (false, 1) => Vec::new(),
            (false, 2) | (true, 1) => vec![0.5],
            (false, _) => solve(rows(order - 1), right[..order - 1].to_vec()),
            (true, _) => solve(rows(order), right),
        };
        let mut terms: Vec<(f64, &[f32])> =
            vec![(to.sigma / from.sigma, sample), (-to.alpha * decay, self.image(1))];
        let scale = -to.alpha * b;
        for back in 1..order {
            let factor = scale * weights.get(back - 1).copied().unwrap_or_default() / ratios[back - 1];
            terms.extend([(factor, self.image(back + 1)), (-factor, self.image(1))]);
        }
        if let (Some(there), Some(weight)) = (there, weights.last()) {
            terms.extend([(scale * weight, there), (-scale * weight, self.image(1))]);
        }
        combined(&terms)
    }
}

/// Solves a small system of equations by elimination.
fn solve(mut rows: Vec<Vec<f64>>, mut right: Vec<f64>) -> Vec<f64> {
    let size = right.len();
    for column in 0..size {
        let best = (column..size).max_by(|a, b| rows[*a][column].abs().total_cmp(&rows[*b][column].abs()));
        rows.swap(column, best.unwrap_or(column));
        right.swap(column, best.unwrap_or(column));
        for row in (0..size).filter(|row| *row != column) {
            let factor = rows[row][column] / rows[column][column];
            let pivot = rows[column].clone();
            for (value, of_pivot) in rows[row].iter_mut().zip(&pivot).skip(column) {
                *value -= factor * of_pivot;
            }
            right[row] -= factor * right[column];
        }
    }
    right.iter().enumerate().map(|(index, value)| value / rows[index][index]).collect()
}

impl Scheduler for MultistepScheduler {
    fn timesteps(&self) -> &[f32] {
        self.timesteps.get(self.first..).unwrap_or_default()
    }

    fn needs_noise(&self, _: usize) -> bool {
        self.config.kind == SchedulerKind::DpmMultistep
            && matches!(self.config.solver, Solver::Dpm { sde: true, .. })
    }

    fn step(&mut self, step: usize, output: &[f32], sample: &mut [f32], noise: Option<&[f32]>) -> Result<()> {
        check(output, sample, noise, self.needs_noise(step))?;
        let index = step + self.first;
        if index >= self.timesteps.len() {
            return Err(Error::invalid_request("no step is left"));
        }
        match self.config.kind {
            SchedulerKind::UniPc => self.uni_pc(index, output, sample),
            _ => self.dpm(index, output, sample, noise),
        }
        Ok(())
    }

    fn add_noise(&self, step: usize, original: &[f32], noise: &[f32]) -> Vec<f32> {
        let Point { alpha, sigma, .. } = self.point(step + self.first);
        combined(&[(alpha, original), (sigma, noise)])
    }
}
