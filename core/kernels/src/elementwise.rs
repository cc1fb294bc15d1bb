//! Elementwise operations on slices.
//!
//! Also the pattern for new kernels: a function generic over `S: Simd` for one range, `dispatch!` to compile it for
//! every instruction set, and a public function that checks lengths and shares the work among threads.

use super::dispatch::dispatch;
use super::math::{self, Activation};
use super::rows::{Source, in_rows};
use super::simd::Simd;
use super::{Cpu, Isa};
use crate::error::{KernelError, Result};

/// Elements per task: enough that taking one costs nothing, few enough to share evenly.
const CHUNK: usize = 1 << 14;

/// `to[i] = to[i] + by[i]`.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if the slices differ in length.
pub fn add_assign(cpu: &Cpu, to: &mut [f32], by: &[f32]) -> Result<()> {
    same_length(to.len(), by.len())?;
    in_chunks(cpu, to, |isa, start, chunk| add_chunk(isa, chunk, &by[start..start + chunk.len()]));
    Ok(())
}

/// `to[i] = to[i] · by[i]`.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if the slices differ in length.
pub fn mul_assign(cpu: &Cpu, to: &mut [f32], by: &[f32]) -> Result<()> {
    same_length(to.len(), by.len())?;
    in_chunks(cpu, to, |isa, start, chunk| mul_chunk(isa, chunk, &by[start..start + chunk.len()]));
    Ok(())
}

/// `to[i] = to[i] + factor · by[i]`: a scaled residual, a step of a sampler.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if the slices differ in length.
pub fn add_scaled(cpu: &Cpu, to: &mut [f32], by: &[f32], factor: f32) -> Result<()> {
    same_length(to.len(), by.len())?;
    in_chunks(cpu, to, |isa, start, chunk| {
        add_scaled_chunk(isa, chunk, &by[start..start + chunk.len()], factor);
    });
    Ok(())
}

/// Adds one number per column to every row: a bias, or the embedding of a time step.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if `to` is not whole rows as wide as `row`.
pub fn add_row(cpu: &Cpu, to: &mut [f32], row: &[f32]) -> Result<()> {
    in_rows(cpu, to, Source::InPlace, row.len(), |isa, rows| {
        for number in 0..rows.count {
            // SAFETY: the row is writable by this thread alone.
            let to = unsafe { std::slice::from_raw_parts_mut(rows.row(number).1, rows.width) };
            add_chunk(isa, to, row);
        }
    })
}

/// Multiplies every row by one number per column.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if `to` is not whole rows as wide as `row`.
pub fn mul_row(cpu: &Cpu, to: &mut [f32], row: &[f32]) -> Result<()> {
    in_rows(cpu, to, Source::InPlace, row.len(), |isa, rows| {
        for number in 0..rows.count {
            // SAFETY: the row is writable by this thread alone.
            let to = unsafe { std::slice::from_raw_parts_mut(rows.row(number).1, rows.width) };
            mul_chunk(isa, to, row);
        }
    })
}

/// `to[i] = to[i] · factor`.
pub fn scale(cpu: &Cpu, to: &mut [f32], factor: f32) {
    in_chunks(cpu, to, |isa, _, chunk| scale_chunk(isa, chunk, factor));
}

/// `to[i] = activation(to[i])`.
pub fn activate(cpu: &Cpu, to: &mut [f32], activation: Activation) {
    in_chunks(cpu, to, |isa, _, chunk| activate_slice(isa, chunk, activation));
}

fn same_length(to: usize, by: usize) -> Result<()> {
    if to == by {
        return Ok(());
    }
    Err(KernelError::shape(format!("expected slices of one length, found {to} and {by} elements")))
}

/// Calls `work` with each chunk and its start, on all threads if there are several.
fn in_chunks(cpu: &Cpu, to: &mut [f32], work: impl Fn(Isa, usize, &mut [f32]) + Sync) {
    cpu.pool.parallel_chunks(to, CHUNK, |number, chunk| work(cpu.isa, number * CHUNK, chunk));
}

#[inline(always)]
fn add_with<S: Simd>(s: S, to: &mut [f32], by: &[f32]) {
    let mut chunks = to.chunks_exact_mut(S::LANES);
    let mut others = by.chunks_exact(S::LANES);
    for (to, by) in chunks.by_ref().zip(others.by_ref()) {
        let sum = s.add(s.load(to), s.load(by));
        s.store(to, sum);
    }
    let (to, by) = (chunks.into_remainder(), others.remainder());
    let sum = s.add(s.load_first(to), s.load_first(by));
    s.store_first(to, sum);
}

#[inline(always)]
fn mul_with<S: Simd>(s: S, to: &mut [f32], by: &[f32]) {
    let mut chunks = to.chunks_exact_mut(S::LANES);
    let mut others = by.chunks_exact(S::LANES);
    for (to, by) in chunks.by_ref().zip(others.by_ref()) {
        let product = s.mul(s.load(to), s.load(by));
        s.store(to, product);
    }
    let (to, by) = (chunks.into_remainder(), others.remainder());
    let product = s.mul(s.load_first(to), s.load_first(by));
    s.store_first(to, product);
}

#[inline(always)]
fn add_scaled_with<S: Simd>(s: S, to: &mut [f32], by: &[f32], factor: f32) {
    let factor = s.splat(factor);
    let mut chunks = to.chunks_exact_mut(S::LANES);
    let mut others = by.chunks_exact(S::LANES);
    for (to, by) in chunks.by_ref().zip(others.by_ref()) {
        let sum = s.mul_add(s.load(by), factor, s.load(to));
        s.store(to, sum);
    }
    let (to, by) = (chunks.into_remainder(), others.remainder());
    let sum = s.mul_add(s.load_first(by), factor, s.load_first(to));
    s.store_first(to, sum);
}

#[inline(always)]
fn scale_with<S: Simd>(s: S, to: &mut [f32], factor: f32) {
    let factor = s.splat(factor);
    let mut chunks = to.chunks_exact_mut(S::LANES);
    for to in chunks.by_ref() {
        let product = s.mul(s.load(to), factor);
        s.store(to, product);
    }
    let to = chunks.into_remainder();
    let product = s.mul(s.load_first(to), factor);
    s.store_first(to, product);
}

#[inline(always)]
fn activate_with<S: Simd>(s: S, to: &mut [f32], activation: Activation) {
    let mut chunks = to.chunks_exact_mut(S::LANES);
    for to in chunks.by_ref() {
        let active = math::activate(s, activation, s.load(to));
        s.store(to, active);
    }
    let to = chunks.into_remainder();
    let active = math::activate(s, activation, s.load_first(to));
    s.store_first(to, active);
}

dispatch! { fn add_chunk(to: &mut [f32], by: &[f32]) = add_with; }
dispatch! { fn mul_chunk(to: &mut [f32], by: &[f32]) = mul_with; }
dispatch! { fn add_scaled_chunk(to: &mut [f32], by: &[f32], factor: f32) = add_scaled_with; }
dispatch! { fn scale_chunk(to: &mut [f32], factor: f32) = scale_with; }
dispatch! { pub(crate) fn activate_slice(to: &mut [f32], activation: Activation) = activate_with; }

#[cfg(test)]
#[path = "elementwise_tests.rs"]
mod tests;
