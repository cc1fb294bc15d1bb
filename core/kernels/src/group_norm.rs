//! GroupNorm over NHWC images, fused with the activation that follows it.
//!
//! Pixels are cut into chunks of a fixed size, whatever the number of threads. Each chunk's sum and squared deviations
//! per channel are computed while it is in the cache; then the chunks are combined in order, in f64. So large images
//! are read from memory twice (once for the statistics), and a mean far from zero costs no accuracy.

use super::Cpu;
use super::buffer::Scratch;
use super::dispatch::dispatch;
use super::math::{Activation, activate};
use super::norm::Scaling;
use super::pool::SharedStart;
use super::rows::Source;
use super::simd::Simd;
use crate::error::{KernelError, Result};

/// Elements of a chunk: in f32 128 KiB, half of the smallest L2 cache. The same for all CPUs, because a result's bits depend
/// on it.
const CHUNK: usize = 1 << 15;

/// `activation((x - mean) / √(variance + ε) · weight + bias)` of `images` images with one channel per weight. Mean and
/// variance are those of a group of neighbouring channels in one image.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if the channels are not whole groups, the pixels not whole images, or a slice
/// has another size.
pub fn group_norm(
    cpu: &Cpu,
    to: &mut [f32],
    source: Source<'_>,
    images: usize,
    groups: usize,
    scaling: Scaling<'_>,
    activation: Activation,
) -> Result<()> {
    scaling.check()?;
    let call = GroupNormCall::new(to, source, images, groups, scaling)?;
    if to.is_empty() {
        return Ok(());
    }
    let channels = call.channels;
    let mut chunks = Scratch::<f32>::take(images * call.chunks * 2 * channels);
    cpu.pool.parallel_chunks(&mut chunks, 2 * channels, |number, sums| {
        let (start, pixels) = call.chunk(number);
        chunk_sums(cpu.isa, call.from.get().wrapping_add(start), pixels, sums);
    });
    let chunks: &[f32] = &chunks;
    let mut factors = Scratch::<f32>::take(images * 2 * channels);
    let width = channels / groups;
    let shared = SharedStart(factors.as_mut_ptr());
    cpu.pool.parallel(images * groups, |number| {
        let (image, group) = (number / groups, number % groups);
        let (mean, factor) = call.statistics(chunks, image, group * width..(group + 1) * width);
        for channel in group * width..(group + 1) * width {
            let place = shared.get().wrapping_add(image * 2 * channels + channel);
            // SAFETY: within the scratch memory, and no other part writes this channel of this image.
            unsafe {
                *place = mean;
                *place.add(channels) = factor * scaling.weight[channel];
            }
        }
    });
    let factors: &[f32] = &factors;
    cpu.pool.parallel(images * call.chunks, |number| {
        let (start, pixels) = call.chunk(number);
        let image = number / call.chunks;
        let factors = &factors[image * 2 * channels..(image + 1) * 2 * channels];
        let (from, to) = (call.from.get().wrapping_add(start), call.to.get().wrapping_add(start));
        apply_chunk(cpu.isa, from, to, pixels, factors, scaling.bias, activation);
    });
    Ok(())
}

/// One call, shared by all threads.
struct GroupNormCall<'a> {
    from: SharedStart<f32>,
    to: SharedStart<f32>,
    channels: usize,
    /// Pixels of an image.
    pixels: usize,
    /// Pixels of a chunk; the last of an image may have fewer.
    at_once: usize,
    /// Chunks of an image.
    chunks: usize,
    scaling: Scaling<'a>,
}

impl<'a> GroupNormCall<'a> {
    fn new(
        to: &mut [f32],
        source: Source<'_>,
        images: usize,
        groups: usize,
        scaling: Scaling<'a>,
    ) -> Result<Self> {
        let (channels, length) = (scaling.weight.len(), to.len());
        if groups == 0 || channels == 0 || !channels.is_multiple_of(groups) {
            return Err(KernelError::shape(format!(
                "{channels} channels do not divide into {groups} groups"
            )));
        }
        let whole = images.checked_mul(channels).is_some_and(|row| row > 0 && length.is_multiple_of(row));
        let is_empty = images == 0 && length == 0;
        if !whole && !is_empty {
            return Err(KernelError::shape(format!(
                "expected {images} images of {channels} channels, found {length} numbers"
            )));
        }
        let from = match source {
            Source::InPlace => to.as_mut_ptr(),
            Source::From(from) if from.len() == length => from.as_ptr().cast_mut(),
            Source::From(from) => {
                let from = from.len();
                return Err(KernelError::shape(format!("expected {length} numbers, found {from}")));
            }
        };
        let pixels = length / (images * channels).max(1);
        let at_once = (CHUNK / channels).max(1);
        let (from, to, chunks) = (SharedStart(from), SharedStart(to.as_mut_ptr()), pixels.div_ceil(at_once));
        Ok(Self { from, to, channels, pixels, at_once, chunks, scaling })
    }

    /// Where a chunk starts, and its pixels; chunks are counted over all images.
    fn chunk(&self, number: usize) -> (usize, usize) {
        let (image, first) = (number / self.chunks, number % self.chunks * self.at_once);
        ((image * self.pixels + first) * self.channels, self.at_once.min(self.pixels - first))
    }

    /// Mean and `1 / √(variance + ε)` of some channels of an image, from the sums of its chunks.
    fn statistics(&self, chunks: &[f32], image: usize, group: std::ops::Range<usize>) -> (f32, f32) {
        let length = 2 * self.channels;
        let of_image = &chunks[image * self.chunks * length..(image + 1) * self.chunks * length];
        let count = (self.pixels * group.len()) as f64;
        let sums = of_image.chunks_exact(length).flat_map(|chunk| &chunk[group.clone()]);
        let mean = sums.map(|sum| f64::from(*sum)).sum::<f64>() / count;
        let mut squares = 0.0;
        for (number, chunk) in of_image.chunks_exact(length).enumerate() {
            let pixels = self.chunk(number).1 as f64;
            let inverse = 1.0 / pixels;
            for channel in group.clone() {
                let off = f64::from(chunk[channel]) * inverse - mean;
                squares += f64::from(chunk[self.channels + channel]) + pixels * off * off;
            }
        }
        let variance = squares / count + f64::from(self.scaling.epsilon);
        (mean as f32, (1.0 / variance.sqrt()) as f32)
    }
}

dispatch! { fn chunk_sums(from: *const f32, pixels: usize, to: &mut [f32]) = chunk_sums_with; }
dispatch! {
    fn apply_chunk(
        from: *const f32,
        to: *mut f32,
        pixels: usize,
        factors: &[f32],
        bias: Option<&[f32]>,
        activation: Activation,
    ) = apply_chunk_with;
}

/// Writes the sum of each channel of a chunk to the first half of `to`, and the sums of squared deviations from the
/// chunk's own mean to the second.
#[inline(always)]
fn chunk_sums_with<S: Simd>(s: S, from: *const f32, pixels: usize, to: &mut [f32]) {
    let (sums, squares) = to.split_at_mut(to.len() / 2);
    let mut channel = 0;
    while channel + 4 * S::LANES <= sums.len() {
        channel_sums::<S, 4>(s, from, pixels, channel, sums, squares);
        channel += 4 * S::LANES;
    }
    while channel < sums.len() {
        channel_sums::<S, 1>(s, from, pixels, channel, sums, squares);
        channel += S::LANES;
    }
}

/// The same for `COUNT` registers of channels, of which only the last may reach past the last channel.
#[inline(always)]
fn channel_sums<S: Simd, const COUNT: usize>(
    s: S,
    from: *const f32,
    pixels: usize,
    channel: usize,
    sums: &mut [f32],
    squares: &mut [f32],
) {
    let channels = sums.len();
    let inverse = s.splat(1.0 / pixels as f32);
    let (mut total, mut mean, mut square) = ([s.zero(); COUNT], [s.zero(); COUNT], [s.zero(); COUNT]);
    for pass in 0..2 {
        for pixel in 0..pixels {
            let row = from.wrapping_add(pixel * channels);
            let mut i = 0;
            while i < COUNT {
                let at = channel + i * S::LANES;
                // SAFETY: within the pixel's channels.
                let value = unsafe {
                    if COUNT > 1 {
                        s.load_ptr(row.add(at))
                    } else {
                        s.load_first_ptr(row.add(at), channels - at)
                    }
                };
                if pass == 0 {
                    total[i] = s.add(total[i], value);
                } else {
                    let off = s.sub(value, mean[i]);
                    square[i] = s.mul_add(off, off, square[i]);
                }
                i += 1;
            }
        }
        let mut i = 0;
        while i < COUNT {
            mean[i] = s.mul(total[i], inverse);
            i += 1;
        }
    }
    let mut i = 0;
    while i < COUNT {
        s.store_first(&mut sums[channel + i * S::LANES..], total[i]);
        s.store_first(&mut squares[channel + i * S::LANES..], square[i]);
        i += 1;
    }
}

#[inline(always)]
fn apply_chunk_with<S: Simd>(
    s: S,
    from: *const f32,
    to: *mut f32,
    pixels: usize,
    factors: &[f32],
    bias: Option<&[f32]>,
    activation: Activation,
) {
    let (means, factors) = factors.split_at(factors.len() / 2);
    let channels = means.len();
    let whole = channels / S::LANES * S::LANES;
    for pixel in 0..pixels {
        let (from, to) = (from.wrapping_add(pixel * channels), to.wrapping_add(pixel * channels));
        let mut at = 0;
        while at < whole {
            // SAFETY: a register from `at` lies within the pixel and within what there is a channel.
            unsafe {
                let bias = match bias {
                    Some(bias) => s.load_ptr(bias.as_ptr().add(at)),
                    None => s.zero(),
                };
                let value = s.sub(s.load_ptr(from.add(at)), s.load_ptr(means.as_ptr().add(at)));
                let value = s.mul_add(value, s.load_ptr(factors.as_ptr().add(at)), bias);
                s.store_ptr(to.add(at), activate(s, activation, value));
            }
            at += S::LANES;
        }
        if at < channels {
            let rest = channels - at;
            // SAFETY: no more lanes are touched than the pixel has left.
            unsafe {
                let bias = match bias {
                    Some(bias) => s.load_first(&bias[at..]),
                    None => s.zero(),
                };
                let value = s.sub(s.load_first_ptr(from.add(at), rest), s.load_first(&means[at..]));
                let value = s.mul_add(value, s.load_first(&factors[at..]), bias);
                s.store_first_ptr(to.add(at), activate(s, activation, value), rest);
            }
        }
    }
}

#[cfg(test)]
#[path = "group_norm_tests.rs"]
mod tests;
