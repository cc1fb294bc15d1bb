//! Attention of one new token over a cache of keys and values, bound by memory bandwidth.
//!
//! Caches are cut into chunks of a fixed size, whatever the number of threads; the results of a sequence's chunks are
//! combined in order. Heads that share keys are computed together, so that the cache is read once.

use std::f32::consts::LOG2_E;

use super::super::Cpu;
use super::super::buffer::Scratch;
use super::super::dispatch::{dispatch, with_simd};
use super::super::math::{exp2, tanh};
use super::super::simd::{Simd, Work};
use super::Options;
use super::pack::widen;
use super::view::{Heads, Numbers, Strided, has};
use crate::error::Result;

/// Keys of a chunk. The same for all CPUs, because a result's bits depend on it.
const CHUNK: usize = 512;

/// Keys that are widened to f32 at once.
const TILE: usize = 32;

/// Fewer multiplications than this are done by one thread.
const MIN_PARALLEL_WORK: usize = 1 << 15;

/// The keys and values of one sequence.
#[derive(Clone, Copy, Debug)]
pub struct Cache<'a> {
    /// The keys.
    pub keys: Strided<Numbers<'a>>,
    /// The values.
    pub values: Strided<Numbers<'a>>,
    /// How many tokens there are, including the new one.
    pub length: usize,
    /// How many tokens before the new one are seen; `None` for all.
    pub before: Option<usize>,
}

impl Cache<'_> {
    fn visible(&self) -> std::ops::Range<usize> {
        let first = self.before.map_or(0, |before| self.length.saturating_sub(before.saturating_add(1)));
        first..self.length
    }

    /// The chunks with visible keys; chunk 0 starts at the sequence's first key.
    fn chunks(&self) -> std::ops::Range<usize> {
        let visible = self.visible();
        if visible.is_empty() { 0..0 } else { visible.start / CHUNK..visible.end.div_ceil(CHUNK) }
    }
}

/// `softmax(scale · q · kᵀ) · v` for one token of each cache, into `[token, head, size]`, with the options' scale, soft cap
/// and sinks. The caches say what is seen; span and mask are not used.
///
/// A token whose cache is empty gets zeros.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if a head is empty or too large, the heads of queries are not a multiple of those
/// of keys or a slice too short.
pub fn decode(
    cpu: &Cpu,
    heads: Heads,
    queries: Strided<&[f32]>,
    caches: &[Cache<'_>],
    options: Options<'_>,
    to: &mut [f32],
) -> Result<()> {
    heads.check()?;
    options.check(heads)?;
    queries.check("the queries", caches.len(), heads.queries, heads.size)?;
    let width = heads.queries * heads.size;
    has("the result", to.len(), caches.len().checked_mul(width))?;
    let mut parts = Vec::new();
    for (sequence, cache) in caches.iter().enumerate() {
        cache.keys.check_all("the keys", cache.length, heads.keys, heads.size)?;
        cache.values.check_all("the values", cache.length, heads.keys, heads.size)?;
        for head in 0..heads.keys {
            parts.extend(cache.chunks().map(|chunk| (sequence, head, chunk)));
        }
    }
    let length = heads.group() * (heads.size + 2);
    let mut results = Scratch::<f32>::take(parts.len() * length);
    let work = |part: usize, to: &mut [f32]| {
        let (sequence, head, chunk) = parts[part];
        let cache = &caches[sequence];
        let visible = cache.visible();
        let first = visible.start.max(chunk * CHUNK);
        let count = visible.end.min((chunk + 1) * CHUNK) - first;
        let query = &queries.data[queries.place(sequence, head * heads.group())..];
        let chunk = Chunk { cache, heads, head, first, count, query, stride: queries.head, options, to };
        with_simd!(cpu.isa, s => s.call(chunk));
    };
    let numbers = caches.iter().map(|cache| cache.visible().len().saturating_mul(width));
    if numbers.fold(0, usize::saturating_add) < MIN_PARALLEL_WORK {
        results.chunks_exact_mut(length).enumerate().for_each(|(part, to)| work(part, to));
    } else {
        cpu.pool.parallel_chunks(&mut results, length, work);
    }
    to.fill(0.0);
    let mut start = 0;
    while start < parts.len() {
        let (sequence, head, _) = parts[start];
        let chunks = caches[sequence].chunks().len();
        let place = (sequence * heads.queries + head * heads.group()) * heads.size;
        let to = &mut to[place..place + heads.group() * heads.size];
        let sinks = options.sinks.map(|sinks| &sinks[head * heads.group()..(head + 1) * heads.group()]);
        merge(cpu.isa, &results[start * length..(start + chunks) * length], chunks, heads.size, sinks, to);
        start += chunks;
    }
    Ok(())
}

/// Some keys of a cache, and the heads of queries that share them.
struct Chunk<'a> {
    cache: &'a Cache<'a>,
    heads: Heads,
    head: usize,
    /// The first key.
    first: usize,
    /// How many keys, at most [`CHUNK`].
    count: usize,
    /// The first head of the queries.
    query: &'a [f32],
    /// From one head of the queries to the next.
    stride: usize,
    options: Options<'a>,
    /// The sums of each head of the queries; then for each head the maximum score and the sum of weights.
    to: &'a mut [f32],
}

impl<S: Simd> Work<S> for Chunk<'_> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let (size, group) = (self.heads.size, self.heads.group());
        let mut scores = Scratch::<f32>::take(group * CHUNK);
        let mut staging = Scratch::<f32>::take(TILE * size);
        let (sums, totals) = self.to.split_at_mut(group * size);
        for start in (0..self.count).step_by(TILE) {
            let count = TILE.min(self.count - start);
            let (keys, stride) =
                near(s, &self.cache.keys, self.first + start, self.head, count, &mut staging);
            for row in 0..group {
                let query = self.query[row * self.stride..][..size].as_ptr();
                let scores = &mut scores[row * CHUNK + start..][..count];
                // SAFETY: keys and query hold `size` numbers each.
                unsafe { dots(s, query, keys, stride, size, scores) };
            }
        }
        for row in 0..group {
            let scores = &mut scores[row * CHUNK..][..self.count];
            let (most, total) = weights(s, scores, self.options.scale * LOG2_E, self.options.softcap);
            totals[2 * row] = most;
            totals[2 * row + 1] = total;
        }
        sums.fill(0.0);
        for start in (0..self.count).step_by(TILE) {
            let count = TILE.min(self.count - start);
            let (values, stride) =
                near(s, &self.cache.values, self.first + start, self.head, count, &mut staging);
            for row in 0..group {
                let weights = &scores[row * CHUNK + start..][..count];
                let sums = &mut sums[row * size..][..size];
                // SAFETY: as many values as weights, of as many numbers as sums.
                unsafe { add_weighted(s, weights, values, stride, sums) };
            }
        }
    }
}

/// Keys or values as f32, in the cache itself or widened, and their stride.
#[inline(always)]
fn near<S: Simd>(
    s: S,
    data: &Strided<Numbers<'_>>,
    first: usize,
    head: usize,
    count: usize,
    staging: &mut [f32],
) -> (*const f32, usize) {
    if let Numbers::F32(values) = data.data {
        return (values.as_ptr().wrapping_add(data.place(first, head)), data.token);
    }
    let size = staging.len() / TILE;
    for (i, row) in staging.chunks_exact_mut(size).take(count).enumerate() {
        // SAFETY: the caller of `decode` gave as many tokens as the cache's length.
        unsafe { widen(s, data, first + i, head, row) };
    }
    (staging.as_ptr(), size)
}

/// The products of a query with keys.
///
/// # Safety
/// `size` numbers are readable at the query and at each of as many keys as there are scores, `stride` apart.
#[inline(always)]
unsafe fn dots<S: Simd>(
    s: S,
    query: *const f32,
    keys: *const f32,
    stride: usize,
    size: usize,
    scores: &mut [f32],
) {
    const AT_ONCE: usize = 8;
    let mut eights = scores.chunks_exact_mut(AT_ONCE);
    let mut keys = keys;
    for scores in eights.by_ref() {
        // SAFETY: the caller's promise.
        let products = unsafe { dot::<S, AT_ONCE>(s, query, keys, stride, size) };
        scores.copy_from_slice(&products);
        keys = keys.wrapping_add(AT_ONCE * stride);
    }
    for score in eights.into_remainder() {
        // SAFETY: the caller's promise.
        *score = unsafe { dot::<S, 1>(s, query, keys, stride, size) }[0];
        keys = keys.wrapping_add(stride);
    }
}

/// The products of a query with `COUNT` keys. Their number does not change the order of any sum.
///
/// # Safety
/// `size` numbers are readable at the query and at each key.
#[inline(always)]
unsafe fn dot<S: Simd, const COUNT: usize>(
    s: S,
    query: *const f32,
    keys: *const f32,
    stride: usize,
    size: usize,
) -> [f32; COUNT] {
    let mut sums = [s.zero(); COUNT];
    let whole = size / S::LANES * S::LANES;
    let mut at = 0;
    // SAFETY: whole registers, then as many numbers as a head has left.
    unsafe {
        while at < whole {
            let query = s.load_ptr(query.add(at));
            let mut i = 0;
            while i < COUNT {
                sums[i] = s.mul_add(query, s.load_ptr(keys.add(i * stride + at)), sums[i]);
                i += 1;
            }
            at += S::LANES;
        }
        if at < size {
            let query = s.load_first_ptr(query.add(at), size - at);
            let mut i = 0;
            while i < COUNT {
                let key = s.load_first_ptr(keys.add(i * stride + at), size - at);
                sums[i] = s.mul_add(query, key, sums[i]);
                i += 1;
            }
        }
    }
    let mut products = [0.0; COUNT];
    let mut i = 0;
    while i + 4 <= COUNT {
        let four = s.reduce_add4([sums[i], sums[i + 1], sums[i + 2], sums[i + 3]]);
        products[i..i + 4].copy_from_slice(&four);
        i += 4;
    }
    while i < COUNT {
        products[i] = s.reduce_add(sums[i]);
        i += 1;
    }
    products
}

/// Turns scores into weights; returns the maximum score, in powers of two, and the sum of weights.
#[inline(always)]
fn weights<S: Simd>(s: S, scores: &mut [f32], scale: f32, softcap: Option<f32>) -> (f32, f32) {
    let (scale, lowest) = (s.splat(scale), s.splat(f32::NEG_INFINITY));
    let mut most = lowest;
    for register in scores.chunks_mut(S::LANES) {
        let mut score = s.mul(s.load_first(register), scale);
        if let Some(cap) = softcap {
            let cap = cap * LOG2_E;
            score = s.mul(tanh(s, s.mul(score, s.splat(1.0 / cap))), s.splat(cap));
        }
        most = s.max(s.select(s.first(register.len()), score, lowest), most);
        s.store_first(register, score);
    }
    let most = s.reduce_max(most);
    let less = s.splat(if most == f32::NEG_INFINITY { 0.0 } else { most });
    let mut total = s.zero();
    for register in scores.chunks_mut(S::LANES) {
        let weight = exp2(s, s.sub(s.load_first(register), less));
        total = s.add(total, s.select(s.first(register.len()), weight, s.zero()));
        s.store_first(register, weight);
    }
    (most, s.reduce_add(total))
}

/// Adds values, multiplied by their weights.
///
/// # Safety
/// As many values as weights are readable, of as many numbers as there are sums, `stride` apart.
#[inline(always)]
unsafe fn add_weighted<S: Simd>(s: S, weights: &[f32], values: *const f32, stride: usize, sums: &mut [f32]) {
    let size = sums.len();
    let sums = sums.as_mut_ptr();
    let mut at = 0;
    // SAFETY: whole registers, then as many numbers as a head has left.
    unsafe {
        while at + 4 * S::LANES <= size {
            add_columns::<S, 4>(s, weights, values.add(at), stride, sums.add(at));
            at += 4 * S::LANES;
        }
        while at + S::LANES <= size {
            add_columns::<S, 1>(s, weights, values.add(at), stride, sums.add(at));
            at += S::LANES;
        }
        if at < size {
            let mut total = s.load_first_ptr(sums.add(at), size - at);
            for (key, weight) in weights.iter().enumerate() {
                let value = s.load_first_ptr(values.add(key * stride + at), size - at);
                total = s.mul_add(s.splat(*weight), value, total);
            }
            s.store_first_ptr(sums.add(at), total, size - at);
        }
    }
}

/// The same for `COUNT` registers of the numbers.
///
/// # Safety
/// As many values as weights are readable, `stride` apart, and the sums.
#[inline(always)]
unsafe fn add_columns<S: Simd, const COUNT: usize>(
    s: S,
    weights: &[f32],
    values: *const f32,
    stride: usize,
    sums: *mut f32,
) {
    let mut total = [s.zero(); COUNT];
    // SAFETY: the caller's promise.
    unsafe {
        let mut i = 0;
        while i < COUNT {
            total[i] = s.load_ptr(sums.add(i * S::LANES));
            i += 1;
        }
        let mut value = values;
        for weight in weights {
            let weight = s.splat(*weight);
            let mut i = 0;
            while i < COUNT {
                total[i] = s.mul_add(weight, s.load_ptr(value.add(i * S::LANES)), total[i]);
                i += 1;
            }
            value = value.wrapping_add(stride);
        }
        let mut i = 0;
        while i < COUNT {
            s.store_ptr(sums.add(i * S::LANES), total[i]);
            i += 1;
        }
    }
}

/// `2ˣ`, in every lane and as one number.
#[inline(always)]
fn power<S: Simd>(s: S, x: f32) -> (S::F32, f32) {
    let power = exp2(s, s.splat(x));
    let mut one = [0.0];
    s.store_first(&mut one, power);
    (power, one[0])
}

dispatch! {
    fn merge(results: &[f32], chunks: usize, size: usize, sinks: Option<&[f32]>, to: &mut [f32]) = merge_with;
}

/// Combines the results of `chunks` chunks for each head of `to`.
#[inline(always)]
fn merge_with<S: Simd>(
    s: S,
    results: &[f32],
    chunks: usize,
    size: usize,
    sinks: Option<&[f32]>,
    to: &mut [f32],
) {
    let group = to.len() / size;
    let length = results.len() / chunks;
    for row in 0..group {
        let of = |chunk: usize| {
            let place = chunk * length + group * size + 2 * row;
            (results[place], results[place + 1])
        };
        let to = &mut to[row * size..(row + 1) * size];
        let sink = sinks.map_or(f32::NEG_INFINITY, |sinks| sinks[row] * LOG2_E);
        let mut most = sink;
        for chunk in 0..chunks {
            most = most.max(of(chunk).0);
        }
        let less = if most == f32::NEG_INFINITY { 0.0 } else { most };
        let mut total = power(s, sink - less).1;
        for chunk in 0..chunks {
            let (keep, one) = power(s, of(chunk).0 - less);
            total += one * of(chunk).1;
            let from = &results[chunk * length + row * size..][..size];
            for (to, from) in to.chunks_mut(S::LANES).zip(from.chunks(S::LANES)) {
                let sum = s.mul_add(keep, s.load_first(from), s.load_first(to));
                s.store_first(to, sum);
            }
        }
        let inverse = s.splat(if total == 0.0 { 0.0 } else { 1.0 / total });
        for to in to.chunks_mut(S::LANES) {
            let value = s.mul(s.load_first(to), inverse);
            s.store_first(to, value);
        }
    }
}
