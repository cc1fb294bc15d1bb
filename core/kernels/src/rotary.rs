//! Rotary position embeddings: pairs of numbers in every head are rotated by an angle that grows with the position.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::Cpu;
use super::buffer::Aligned;
use super::dispatch::dispatch;
use super::pool::SharedStart;
use super::simd::Simd;
use crate::error::{KernelError, Result};

/// Which numbers of a head form a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// Neighbours: 0 and 1, 2 and 3. The original layout; GPT-J, GGUF files of Llama.
    Interleaved,
    /// A number of the first half with its counterpart of the second. GPT-NeoX, Hugging Face's Llama and Qwen.
    Halves,
}

/// Positions of a table's first part. Each later part has as many as all before it.
const FIRST_POSITIONS: usize = 512;

/// Parts that hold every `u32` position.
const PARTS: usize = (u32::BITS - FIRST_POSITIONS.ilog2()) as usize + 1;

/// Cosines and sines of every position, computed once per model. They are made part by part, as far as texts reach: a
/// model may claim a window of millions of positions.
#[derive(Clone)]
pub struct Table {
    layout: Layout,
    frequencies: Arc<[f32]>,
    positions: usize,
    scale: f32,
    /// The frequencies and the scale from a position on, where the counting starts again.
    then: Option<(usize, Arc<[f32]>, f32)>,
    parts: Arc<[OnceLock<Part>; PARTS]>,
}

/// The cosines and sines of some successive positions.
struct Part {
    /// The first of the positions.
    first: usize,
    cosines: Aligned<f32>,
    sines: Aligned<f32>,
}

impl Table {
    /// For positions below `positions`. The angle of a pair is its frequency times the position; everything is
    /// multiplied by `scale`, which is 1 except in some context extensions. Angles are products in f32, as in training.
    pub fn new(layout: Layout, frequencies: &[f32], positions: usize, scale: f32) -> Self {
        let parts = Arc::new([const { OnceLock::new() }; PARTS]);
        Self { layout, frequencies: frequencies.into(), positions, scale, then: None, parts }
    }

    /// The same table with the positions of another after its own: position `p` of `other` is number `positions() + p`
    /// here.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if the two rotate other numbers of a head, or this is two tables already.
    pub fn followed_by(&self, other: &Self) -> Result<Self> {
        if (self.layout, self.width()) != (other.layout, other.width()) || self.then.is_some() {
            return Err(KernelError::shape(format!("{self:?} and {other:?} cannot be one table")));
        }
        Ok(Self {
            positions: self.positions + other.positions,
            then: Some((self.positions, Arc::clone(&other.frequencies), other.scale)),
            parts: Arc::new([const { OnceLock::new() }; PARTS]),
            ..self.clone()
        })
    }

    /// The frequencies and the scale at a position, and the position as they count it.
    fn speeds(&self, position: usize) -> (&[f32], f32, usize) {
        match &self.then {
            Some((first, frequencies, scale)) if position >= *first => {
                (frequencies, *scale, position - first)
            }
            _ => (&self.frequencies, self.scale, position),
        }
    }

    /// The usual frequencies: `base^(-2i / width)` for every pair of `width` numbers.
    pub fn frequencies(width: usize, base: f32) -> Vec<f32> {
        let frequency = |pair: usize| (1.0 / f64::from(base).powf((2 * pair) as f64 / width as f64)) as f32;
        (0..width / 2).map(frequency).collect()
    }

    /// How many positions there are.
    pub fn positions(&self) -> usize {
        self.positions
    }

    /// How many numbers of a head are rotated.
    fn width(&self) -> usize {
        2 * self.frequencies.len()
    }

    /// Numbers for each position in either table. For neighbours, each is there twice, the sines with their signs.
    fn row(&self) -> usize {
        self.repeat() * self.frequencies.len()
    }

    fn repeat(&self) -> usize {
        if self.layout == Layout::Interleaved { 2 } else { 1 }
    }

    /// Makes the parts that hold these positions.
    fn prepare(&self, positions: &[u32]) -> Result<()> {
        let mut needed = [false; PARTS];
        positions.iter().for_each(|position| needed[part_of(*position as usize)] = true);
        for (number, part) in self.parts.iter().enumerate().filter(|(number, _)| needed[*number]) {
            if part.get().is_none() {
                // Another thread may have been faster.
                let _ = part.set(self.part(number)?);
            }
        }
        Ok(())
    }

    fn part(&self, number: usize) -> Result<Part> {
        let first = if number == 0 { 0 } else { FIRST_POSITIONS << (number - 1) };
        let end = (FIRST_POSITIONS << number).min(self.positions);
        let (row, repeat) = (self.row(), self.repeat());
        let count = end.saturating_sub(first).checked_mul(row);
        let count = count.ok_or_else(|| KernelError::shape("a rotary table does not fit memory"))?;
        let (mut cosines, mut sines) = (Aligned::zeroed(count)?, Aligned::zeroed(count)?);
        for position in first..end {
            let (frequencies, scale, counted) = self.speeds(position);
            for (pair, frequency) in frequencies.iter().enumerate() {
                let (sine, cosine) = f64::from(counted as f32 * frequency).sin_cos();
                let (sine, cosine) = (sine as f32 * scale, cosine as f32 * scale);
                let place = (position - first) * row + repeat * pair;
                cosines[place..place + repeat].fill(cosine);
                sines[place + repeat - 1] = sine;
                if repeat == 2 {
                    sines[place] = -sine;
                }
            }
        }
        Ok(Part { first, cosines, sines })
    }

    /// The cosines and sines of a position whose part is made.
    fn at(&self, position: usize) -> (&[f32], &[f32]) {
        let row = self.row();
        let Some(part) = self.parts[part_of(position)].get() else { return (&[], &[]) };
        let place = (position - part.first) * row..(position - part.first + 1) * row;
        (&part.cosines[place.clone()], &part.sines[place])
    }
}

/// Which part holds a position.
fn part_of(position: usize) -> usize {
    (position / FIRST_POSITIONS).checked_ilog2().map_or(0, |doublings| doublings as usize + 1)
}

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Table({:?}, {} of a head, {} positions)", self.layout, self.width(), self.positions)
    }
}

/// Some heads of each token: head `h` of token `t` starts at `t · stride + h · size`.
#[derive(Clone, Copy, Debug)]
pub struct TokenHeads {
    /// How many heads of each token.
    pub count: usize,
    /// Numbers of a head. Those past the table's width are not rotated.
    pub size: usize,
    /// From one token to the next.
    pub stride: usize,
}

impl TokenHeads {
    /// Checks that a slice of `length` numbers holds the heads of `tokens` tokens, and that they do not overlap.
    pub(super) fn check(self, tokens: usize, length: usize) -> Result<()> {
        let Some(last) = tokens.checked_sub(1) else { return Ok(()) };
        let needed = self.count.checked_mul(self.size).filter(|row| *row <= self.stride);
        let needed = needed.and_then(|row| last.checked_mul(self.stride)?.checked_add(row));
        if needed.is_some_and(|needed| needed <= length) {
            return Ok(());
        }
        Err(KernelError::shape(format!("{length} numbers are too few for {self:?} of {tokens} tokens")))
    }

    /// Calls `work` with each token, on all threads if there are many.
    pub(super) fn for_each(self, cpu: &Cpu, tokens: usize, work: impl Fn(usize) + Sync) {
        let at_once = (CHUNK / (self.count * self.size).max(1)).max(1);
        cpu.pool.parallel(tokens.div_ceil(at_once), |part| {
            (part * at_once..tokens.min((part + 1) * at_once)).for_each(&work);
        });
    }
}

/// Rotates the heads of tokens in place; `positions` has one entry for each token.
///
/// Queries and keys that lie side by side are rotated in one call.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if a position is past the table, a head narrower than it, or the slice too
/// short; [`OutOfMemory`](crate::KernelError::OutOfMemory) if there is none for a part of the table.
pub fn rotate(cpu: &Cpu, x: &mut [f32], heads: TokenHeads, table: &Table, positions: &[u32]) -> Result<()> {
    if positions.is_empty() {
        return Ok(());
    }
    if table.width() > heads.size {
        let (width, size) = (table.width(), heads.size);
        return Err(KernelError::shape(format!("{width} numbers cannot be rotated in heads of {size}")));
    }
    heads.check(positions.len(), x.len())?;
    if let Some(position) = positions.iter().find(|position| **position as usize >= table.positions) {
        let most = table.positions;
        return Err(KernelError::shape(format!("position {position} is past the table of {most}")));
    }
    table.prepare(positions)?;
    let start = SharedStart(x.as_mut_ptr());
    heads.for_each(cpu, positions.len(), |token| {
        let x = start.get().wrapping_add(token * heads.stride);
        rotate_token(cpu.isa, x, heads, table, positions[token] as usize);
    });
    Ok(())
}

/// Numbers per task of the thread pool.
const CHUNK: usize = 1 << 14;

dispatch! {
    fn rotate_token(x: *mut f32, heads: TokenHeads, table: &Table, position: usize) = rotate_with;
}

#[inline(always)]
fn rotate_with<S: Simd>(s: S, x: *mut f32, heads: TokenHeads, table: &Table, position: usize) {
    let (cosines, sines) = table.at(position);
    for head in 0..heads.count {
        let x = x.wrapping_add(head * heads.size);
        // SAFETY: a head holds at least as many numbers as the table turns, and both tables a row.
        unsafe {
            match table.layout {
                Layout::Halves => rotate_halves(s, x, cosines, sines),
                Layout::Interleaved => rotate_pairs(s, x, cosines, sines),
            }
        }
    }
}

/// # Safety
/// Twice as many numbers are writable at `x` as there are cosines; there are as many sines.
#[inline(always)]
unsafe fn rotate_halves<S: Simd>(s: S, x: *mut f32, cosines: &[f32], sines: &[f32]) {
    let half = cosines.len();
    let mut at = 0;
    while at < half {
        let rest = half - at;
        // SAFETY: no more lanes are touched than each half has left.
        unsafe {
            let (low, high) = (x.add(at), x.add(half + at));
            if rest >= S::LANES {
                let (a, b) = (s.load_ptr(low), s.load_ptr(high));
                let (c, z) = (s.load_ptr(cosines.as_ptr().add(at)), s.load_ptr(sines.as_ptr().add(at)));
                s.store_ptr(low, s.neg_mul_add(b, z, s.mul(a, c)));
                s.store_ptr(high, s.mul_add(a, z, s.mul(b, c)));
            } else {
                let (a, b) = (s.load_first_ptr(low, rest), s.load_first_ptr(high, rest));
                let (c, z) = (s.load_first(&cosines[at..]), s.load_first(&sines[at..]));
                s.store_first_ptr(low, s.neg_mul_add(b, z, s.mul(a, c)), rest);
                s.store_first_ptr(high, s.mul_add(a, z, s.mul(b, c)), rest);
            }
        }
        at += S::LANES;
    }
}

/// # Safety
/// As many numbers are writable at `x` as there are cosines; there are as many sines.
#[inline(always)]
unsafe fn rotate_pairs<S: Simd>(s: S, x: *mut f32, cosines: &[f32], sines: &[f32]) {
    let width = cosines.len();
    let mut at = 0;
    while at < width {
        let rest = width - at;
        // SAFETY: no more lanes are touched than there are left; pairs are whole, for the width is even.
        unsafe {
            let x = x.add(at);
            if rest >= S::LANES {
                let a = s.load_ptr(x);
                let (c, z) = (s.load_ptr(cosines.as_ptr().add(at)), s.load_ptr(sines.as_ptr().add(at)));
                s.store_ptr(x, s.mul_add(s.swap_pairs(a), z, s.mul(a, c)));
            } else {
                let a = s.load_first_ptr(x, rest);
                let (c, z) = (s.load_first(&cosines[at..]), s.load_first(&sines[at..]));
                s.store_first_ptr(x, s.mul_add(s.swap_pairs(a), z, s.mul(a, c)), rest);
            }
        }
        at += S::LANES;
    }
}

#[cfg(test)]
#[path = "rotary_tests.rs"]
mod tests;
