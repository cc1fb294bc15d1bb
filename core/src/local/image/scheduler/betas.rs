//! What all schedulers compute first: the noise of the training steps, which of them are taken, and their sigmas. In the
//! arithmetic that torch and numpy use there (f32 tables, f64 in between), so that the numbers are theirs.

use super::{BetaSchedule, SchedulerConfig, SchedulerKind, Spacing};
use crate::error::{Error, Result};

/// ρ of Karras' schedule.
const RHO: f64 = 7.0;

/// What replaces a last cumulative product of zero: otherwise its sigma were infinite.
const SMALLEST_SIGNAL: f32 = 1.0 / (1 << 24) as f32;

/// The cumulative products of (1 - β), one a training step.
pub(super) fn alphas_cumprod(config: &SchedulerConfig) -> Vec<f32> {
    let mut betas = betas(config);
    if config.rescale_zero_snr {
        betas = with_zero_snr(&betas);
    }
    let mut products = cumulative_products(betas.iter().map(|beta| 1.0 - beta));
    if config.rescale_zero_snr && config.kind.uses_sigmas() {
        products.iter_mut().last().into_iter().for_each(|last| *last = SMALLEST_SIGNAL);
    }
    products
}

fn betas(config: &SchedulerConfig) -> Vec<f32> {
    let (count, start, end) = (config.train_steps, config.beta_start, config.beta_end);
    if let Some(betas) = &config.trained_betas {
        return betas.clone();
    }
    match config.beta_schedule {
        BetaSchedule::Linear => linspace_f32(start, end, count),
        BetaSchedule::ScaledLinear => {
            linspace_f32(start.sqrt(), end.sqrt(), count).into_iter().map(|root| root * root).collect()
        }
        BetaSchedule::SquaredcosCapV2 => {
            let signal = |t: f64| ((t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2).cos().powi(2);
            let at = |step: usize| signal(step as f64 / count as f64);
            (0..count).map(|step| (1.0 - at(step + 1) / at(step)).min(0.999) as f32).collect()
        }
    }
}

/// `torch.linspace` in f32: from both ends to the middle.
fn linspace_f32(start: f64, end: f64, count: usize) -> Vec<f32> {
    let (start, end) = (start as f32, end as f32);
    let step = (end - start) / (count.max(2) - 1) as f32;
    let at = |index: usize| match index < count / 2 {
        true => step.mul_add(index as f32, start),
        false => (-step).mul_add((count - index - 1) as f32, end),
    };
    (0..count).map(at).collect()
}

/// `torch.cumprod`: accumulated in f64, stored in f32.
fn cumulative_products(factors: impl Iterator<Item = f32>) -> Vec<f32> {
    let mut product = 1.0_f64;
    factors
        .map(|factor| {
            product *= f64::from(factor);
            product as f32
        })
        .collect()
}

/// Betas shifted and scaled so that the last step has no signal.
fn with_zero_snr(betas: &[f32]) -> Vec<f32> {
    let mut roots: Vec<f32> =
        cumulative_products(betas.iter().map(|beta| 1.0 - beta)).into_iter().map(f32::sqrt).collect();
    let (Some(&first), Some(&last)) = (roots.first(), roots.last()) else { return Vec::new() };
    roots.iter_mut().for_each(|root| *root = (*root - last) * (first / (first - last)));
    let products: Vec<f32> = roots.iter().map(|root| root * root).collect();
    let before = std::iter::once(1.0).chain(products.iter().copied());
    products.iter().zip(before).map(|(product, before)| 1.0 - product / before).collect()
}

/// The sigma of each training step.
pub(super) fn sigmas(alphas_cumprod: &[f32]) -> Vec<f32> {
    alphas_cumprod.iter().map(|alpha| ((1.0 - alpha) / alpha).sqrt()).collect()
}

/// `numpy.linspace`.
fn linspace(start: f64, end: f64, count: usize) -> Vec<f64> {
    let step = (end - start) / (count.max(2) - 1) as f64;
    let last = count.saturating_sub(1);
    (0..count)
        .map(|index| if index == last && index > 0 { end } else { start + index as f64 * step })
        .collect()
}

/// `numpy.arange(count, 0, -count / steps)`, rounded, less one.
fn trailing(count: usize, steps: usize) -> Vec<f64> {
    let count = count as f64;
    let step = count / steps as f64;
    let (length, delta) = ((count / step).ceil() as usize, (count - step) - count);
    (0..length).map(|index| (count + index as f64 * delta).round_ties_even() - 1.0).collect()
}

/// The timesteps of a spacing, from the noisiest on.
pub(super) fn spaced(config: &SchedulerConfig, steps: usize) -> Vec<f64> {
    let count = config.train_steps;
    let leading = |steps: usize, ratio: usize| -> Vec<f64> {
        (0..steps).rev().map(|index| (index * ratio + config.steps_offset) as f64).collect()
    };
    match (config.spacing, config.kind) {
        (Spacing::Trailing, _) => trailing(count, steps),
        (spacing, SchedulerKind::DpmMultistep | SchedulerKind::UniPc) => {
            // One more, of which the last is left out.
            let mut all = match spacing {
                Spacing::Leading => leading(steps + 1, count / (steps + 1)),
                _ => rounded(linspace(0.0, (count - 1) as f64, steps + 1)).into_iter().rev().collect(),
            };
            all.truncate(steps);
            all
        }
        (Spacing::Leading, _) => leading(steps, count / steps),
        (Spacing::Linspace, kind) => {
            let all = linspace(0.0, (count - 1) as f64, steps);
            let all = match kind {
                SchedulerKind::Euler | SchedulerKind::EulerAncestral | SchedulerKind::Heun => {
                    all.into_iter().map(|t| f64::from(t as f32)).collect()
                }
                _ => rounded(all),
            };
            all.into_iter().rev().collect()
        }
    }
}

fn rounded(values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(f64::round_ties_even).collect()
}

/// The timesteps of consistency models: evenly spaced among those that the model was distilled with.
///
/// # Errors
/// `invalid_request` for more steps than those.
pub(super) fn distilled(config: &SchedulerConfig, steps: usize) -> Result<Vec<f64>> {
    let original = config.original_steps;
    if steps > original {
        return Err(Error::invalid_request(format!(
            "{steps} steps are more than the {original} that the model was distilled with"
        )));
    }
    let ratio = config.train_steps / original;
    let step = original as f64 / steps as f64;
    Ok((0..steps)
        .map(|index| (index as f64 * step) as usize)
        .map(|index| ((original - index) * ratio - 1) as f64)
        .collect())
}

/// Timesteps and sigmas of schedulers that count by sigmas; the last sigma is that after the last step.
pub(super) fn sigma_steps(config: &SchedulerConfig, table: &[f32], steps: usize) -> (Vec<f32>, Vec<f32>) {
    let timesteps = spaced(config, steps);
    let is_multistep = matches!(config.kind, SchedulerKind::DpmMultistep | SchedulerKind::UniPc);
    let interpolated: Vec<f64> = timesteps.iter().map(|t| interpolate(table, *t)).collect();
    let ends = |config_end: Option<f64>, of_table: Option<&f32>, of_steps: Option<&f64>| {
        let found = if is_multistep { of_table.map(|sigma| f64::from(*sigma)) } else { of_steps.copied() };
        config_end.or(found).unwrap_or_default()
    };
    let low = ends(config.sigma_min, table.first(), interpolated.last());
    let high = ends(config.sigma_max, table.last(), interpolated.first());
    let ramp = linspace(0.0, 1.0, steps);
    let sigmas: Vec<f64> = match (config.karras, config.exponential) {
        (true, _) => {
            let (low, high) = (low.powf(1.0 / RHO), high.powf(1.0 / RHO));
            ramp.iter().map(|part| (high + part * (low - high)).powf(RHO)).collect()
        }
        (_, true) => linspace(high.ln(), low.ln(), steps).into_iter().map(f64::exp).collect(),
        _ => interpolated,
    };
    let timesteps = match config.karras || config.exponential {
        false => timesteps,
        true => {
            let times = sigmas.iter().map(|sigma| timestep_of(table, *sigma));
            match (is_multistep, config.karras) {
                (true, true) => times.map(f64::round_ties_even).collect(),
                // Cast to whole numbers.
                (true, false) => times.map(f64::trunc).collect(),
                _ => times.collect(),
            }
        }
    };
    let last = match config.final_sigma_zero {
        true => 0.0,
        false if config.kind == SchedulerKind::UniPc && (config.karras || config.exponential) => {
            sigmas.last().copied().unwrap_or_default()
        }
        false => table.first().map(|sigma| f64::from(*sigma)).unwrap_or_default(),
    };
    let sigmas = sigmas.into_iter().chain([last]).map(|sigma| sigma as f32).collect();
    (timesteps.into_iter().map(|t| t as f32).collect(), sigmas)
}

/// `numpy.interp` over the table's indices.
fn interpolate(table: &[f32], at: f64) -> f64 {
    let last = table.len().saturating_sub(1);
    let low = (at.max(0.0) as usize).min(last);
    let value = |index: usize| table.get(index).map(|sigma| f64::from(*sigma)).unwrap_or_default();
    match low == last {
        true => value(last),
        false => (value(low + 1) - value(low)) * (at - low as f64) + value(low),
    }
}

/// The timestep of a sigma between those of the table.
fn timestep_of(table: &[f32], sigma: f64) -> f64 {
    let log = sigma.max(1e-10).ln();
    let logs = |index: usize| table.get(index).map(|sigma| sigma.ln()).unwrap_or_default();
    let below = table.partition_point(|sigma| f64::from(sigma.ln()) <= log);
    let low = below.saturating_sub(1).min(table.len().saturating_sub(2));
    let (from, to) = (logs(low), logs(low + 1));
    let part = ((f64::from(from) - log) / f64::from(from - to)).clamp(0.0, 1.0);
    (1.0 - part) * low as f64 + part * (low + 1) as f64
}

/// Timesteps and sigmas of flow matching.
pub(super) fn flow_steps(config: &SchedulerConfig, steps: usize) -> (Vec<f32>, Vec<f32>) {
    let (count, shift) = (config.train_steps as f32, config.flow_shift);
    let shifted = |sigma: f64| shift * sigma / (1.0 + (shift - 1.0) * sigma);
    // The ends are those of a table in f32.
    let end = |sigma: f32| {
        let shift = shift as f32;
        f64::from(shift * sigma / (1.0 + (shift - 1.0) * sigma))
    };
    let (high, low, count_f64) = (end(1.0), end(1.0 / count), f64::from(count));
    let times = linspace(high * count_f64, low * count_f64, steps);
    let sigmas: Vec<f32> = times.into_iter().map(|t| shifted(t / count_f64) as f32).collect();
    let timesteps = sigmas.iter().map(|sigma| sigma * count).collect();
    (timesteps, sigmas.into_iter().chain([0.0]).collect())
}
