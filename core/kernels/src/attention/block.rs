//! A block of queries, of one head or of the heads that share keys, over all tiles of keys.

use std::f32::consts::LOG2_E;
use std::marker::PhantomData;

use super::super::buffer::Scratch;
use super::super::math::{exp2, tanh};
use super::super::rough::exp2_roughly;
use super::super::simd::{Simd, Work};
use super::pack::{copy, four_columns, join_rows, widen};
use super::tile::Products;
use super::{AttentionCall, Distances, Mask, Span};

/// Keys of a tile: few enough that scores, keys and values stay in the cache. The same for all CPUs, because a result's bits
/// depend on it.
pub(super) const TILE: usize = 128;

/// The most rows of a block.
const MAX_ROWS: usize = 512;

/// Rows of a block: many, so that packing a tile of keys pays, but their queries and sums take at most half of the L2 cache,
/// and 256 KiB. Multiples of 32, so that rows share panels with the same others on all CPUs.
pub(super) fn rows(size: usize, l2_bytes: usize) -> usize {
    let numbers = (l2_bytes / 16).min(1 << 15);
    (numbers / size / 32 * 32).clamp(32, MAX_ROWS)
}

/// One part of the work: rows from `first` on, of one head of keys in one sequence. A row is a query in one head; the
/// heads that share the keys follow each other.
pub(super) struct QueryBlock<'a, P> {
    pub(super) call: &'a AttentionCall<'a>,
    pub(super) sequence: usize,
    pub(super) head: usize,
    pub(super) first: usize,
    pub(super) products: PhantomData<P>,
}

/// The memory of a block. A panel of rows fills two registers.
struct Buffers<'a> {
    /// The queries. For each panel: number 0 of every row, then number 1, and so on.
    queries: &'a mut [f32],
    /// The sums of weighted values so far, in the same order.
    sums: &'a mut [f32],
    /// The maximum score so far of each row.
    most: &'a mut [f32],
    /// The sum of weights so far of each row.
    total: &'a mut [f32],
    /// The first key that each row sees, and the first one past those.
    visible: [&'a mut [f32]; 2],
    /// Scores, later weights: for each key those of all rows of a panel.
    scores: &'a mut [f32],
    keys: &'a mut [f32],
    values: &'a mut [f32],
    /// Added to the scores of each key.
    bias: &'a mut [f32],
    /// Added by distance, starting at a panel's first query and a tile's last key.
    distances: &'a mut [f32],
    /// Staging memory for packing.
    staging: &'a mut [f32],
}

impl<'a> Buffers<'a> {
    /// How many numbers [`new`](Self::new) needs.
    fn length(rows: usize, panel: usize, size: usize) -> usize {
        2 * rows * size + 4 * rows + TILE * (panel + 2 * size + 2) + panel + TILE.max(panel) * size
    }

    fn new(memory: &'a mut [f32], rows: usize, panel: usize, size: usize) -> Self {
        let mut rest = memory;
        let mut take = |length: usize| {
            let (taken, after) = std::mem::take(&mut rest).split_at_mut(length);
            rest = after;
            taken
        };
        Self {
            queries: take(rows * size),
            sums: take(rows * size),
            most: take(rows),
            total: take(rows),
            visible: [take(rows), take(rows)],
            scores: take(TILE * panel),
            keys: take(TILE * size),
            values: take(TILE * size),
            bias: take(TILE),
            distances: take(TILE + panel),
            staging: take(TILE.max(panel) * size),
        }
    }
}

/// The keys that the rows of a panel see: all of them, or some.
#[derive(Clone, Copy)]
struct Reach {
    some: [usize; 2],
    all: [usize; 2],
}

impl<S: Simd, P: Products<S>> Work<S> for QueryBlock<'_, P> {
    type Output = ();

    #[inline(always)]
    fn run(self, s: S) {
        let panel = 2 * S::LANES;
        let (queries, keys) = self.call.sequence(self.sequence);
        let size = self.size::<S>();
        let total = queries.len() * self.call.heads.group();
        let count = self.call.rows_of_block.min(total - self.first);
        // SAFETY: whoever chose the products answers for it; the block is this thread's only work.
        let mut products = unsafe { P::start() };
        let padded = count.next_multiple_of(panel);
        let mut memory = Scratch::<f32>::take(Buffers::length(padded, panel, size));
        let mut buffers = Buffers::new(&mut memory, padded, panel, size);
        buffers.sums.fill(0.0);
        self.start_softmax(count, &mut buffers);
        let panels = count.div_ceil(panel);
        let mut reaches = [Reach { some: [0; 2], all: [0; 2] }; MAX_ROWS / 8];
        let mut needed = [usize::MAX, 0];
        for (number, reach) in reaches.iter_mut().enumerate().take(panels) {
            *reach = self.reach(number * panel..count.min((number + 1) * panel), panel, &mut buffers);
            needed = [needed[0].min(reach.some[0]), needed[1].max(reach.some[1])];
        }
        let tile = |start: usize| keys.start + start..keys.start + keys.len().min(start + TILE);
        self.prefetch(s, tile(needed[0].min(keys.len()) / TILE * TILE));
        self.pack_queries(s, count, &mut buffers);
        // Tiles start at the sequence's first key, so that a row's sums are cut the same way in any block.
        let mut start = needed[0] / TILE * TILE;
        while start < needed[1] {
            let end = keys.len().min(start + TILE);
            self.pack_tile(s, keys.start + start, end - start, &mut buffers);
            if end < needed[1] {
                self.prefetch(s, tile(end));
            }
            for (number, reach) in reaches.iter().enumerate().take(panels) {
                if reach.some[0] >= end || reach.some[1] <= start {
                    continue;
                }
                // Keys that no row of the panel sees add nothing.
                let end = end.min(reach.some[1]);
                let partly = reach.all[0] > start || reach.all[1] < end;
                let tile = Tile { number, start, count: end - start, partly };
                if count - number * panel > S::LANES {
                    self.tile::<S, 2>(s, &mut products, tile, &mut buffers);
                } else {
                    self.tile::<S, 1>(s, &mut products, tile, &mut buffers);
                }
            }
            start = end.max(start + 1);
        }
        for number in 0..panels {
            self.finish(s, number, count.min((number + 1) * panel) - number * panel, &mut buffers);
        }
    }
}

/// A panel of rows and a tile of keys.
#[derive(Clone, Copy)]
struct Tile {
    /// The panel.
    number: usize,
    /// The tile's first key.
    start: usize,
    /// How many keys it has.
    count: usize,
    /// Whether some of them are hidden from some rows.
    partly: bool,
}

impl<P> QueryBlock<'_, P> {
    /// The size of a head in memory. Numbers past its own are zeros.
    fn size<S: Simd>(&self) -> usize
    where
        P: Products<S>,
    {
        self.call.heads.size.next_multiple_of(P::MULTIPLE)
    }

    /// The query and the head of a row of this block.
    fn query(&self, row: usize) -> (usize, usize) {
        let group = self.call.heads.group();
        let row = self.first + row;
        (row / group, self.head * group + row % group)
    }

    /// The maximum score and the sum of weights before any key: a sink weighs one, and adds nothing to the sums.
    fn start_softmax(&self, count: usize, buffers: &mut Buffers<'_>) {
        buffers.most.fill(f32::NEG_INFINITY);
        buffers.total.fill(0.0);
        let Some(sinks) = self.call.options.sinks else { return };
        for row in 0..count {
            buffers.most[row] = sinks[self.query(row).1] * LOG2_E;
            buffers.total[row] = 1.0;
        }
    }

    /// Writes which keys each row of a panel sees; returns the range for the whole panel.
    fn reach(&self, rows: std::ops::Range<usize>, panel: usize, buffers: &mut Buffers<'_>) -> Reach {
        let (queries, keys) = self.call.sequence(self.sequence);
        let mut reach = Reach { some: [usize::MAX, 0], all: [0, usize::MAX] };
        let first = rows.start;
        if self.call.options.span == Span::ALL {
            buffers.visible[0][first..first + panel].fill(0.0);
            buffers.visible[1][first..first + panel].fill(keys.len() as f32);
            return Reach { some: [0, keys.len()], all: [0, keys.len()] };
        }
        for lane in 0..panel {
            // Rows past the last are copies of it, so that they do not widen the range.
            let (query, _) = self.query((first + lane).min(rows.end - 1));
            let position = query as isize + keys.len() as isize - queries.len() as isize;
            let visible = self.call.options.span.visible(position, keys.len());
            buffers.visible[0][first + lane] = visible.start as f32;
            buffers.visible[1][first + lane] = visible.end as f32;
            reach.all = [reach.all[0].max(visible.start), reach.all[1].min(visible.end)];
            if !visible.is_empty() {
                reach.some = [reach.some[0].min(visible.start), reach.some[1].max(visible.end)];
            }
        }
        reach
    }

    /// Packs the queries, multiplied by the scale. Scores are in powers of two, whose exponential is faster.
    #[inline(always)]
    fn pack_queries<S: Simd>(&self, s: S, count: usize, buffers: &mut Buffers<'_>)
    where
        P: Products<S>,
    {
        let (panel, width, size) = (2 * S::LANES, self.call.heads.size, self.size::<S>());
        let queries = &self.call.queries;
        let token = self.call.sequence(self.sequence).0.start;
        let mut row = 0;
        while row < buffers.most.len() {
            let at = |i: usize| {
                let (query, head) = self.query((row + i).min(count - 1));
                queries.data.as_ptr().wrapping_add(queries.place(token + query, head))
            };
            let rows = [at(0), at(1), at(2), at(3)];
            let place = row / panel * panel * size + row % panel;
            // SAFETY: heads of queries lie within the data, and the columns of a panel within its own.
            unsafe { four_columns(s, rows, width, buffers.queries.as_mut_ptr().add(place), panel) };
            row += 4;
        }
        if width < size {
            for queries in buffers.queries.chunks_exact_mut(panel * size) {
                queries[panel * width..].fill(0.0);
            }
        }
        let factor = s.splat(self.call.options.scale * LOG2_E);
        for register in buffers.queries.chunks_exact_mut(S::LANES) {
            let scaled = s.mul(s.load(register), factor);
            s.store(register, scaled);
        }
        if P::PAIRS {
            for panel in buffers.queries.chunks_exact_mut(panel * size) {
                // SAFETY: `size` rows, which is even; each is a panel wide.
                unsafe { join_rows(s, panel.as_mut_ptr(), size, 2 * S::LANES) };
            }
        }
    }

    /// Prefetches the keys and values of some tokens: their stride is too large for the hardware prefetcher.
    #[inline(always)]
    fn prefetch<S: Simd>(&self, s: S, tokens: std::ops::Range<usize>) {
        for token in tokens {
            for data in [&self.call.keys, &self.call.values] {
                let (head, bytes) = data.bytes(token, self.head, self.call.heads.size);
                for line in (0..bytes).step_by(64) {
                    s.prefetch(head.wrapping_add(line));
                }
            }
        }
    }

    /// Packs keys and values of a tile from token `first` on.
    #[inline(always)]
    fn pack_tile<S: Simd>(&self, s: S, first: usize, count: usize, buffers: &mut Buffers<'_>)
    where
        P: Products<S>,
    {
        let (width, size) = (self.call.heads.size, self.size::<S>());
        for (i, bias) in buffers.bias.iter_mut().take(count).enumerate() {
            *bias = match self.call.options.mask {
                Mask::None | Mask::Distances(_) => 0.0,
                Mask::Keep(keep) => {
                    if keep[first + i] {
                        0.0
                    } else {
                        f32::NEG_INFINITY
                    }
                }
                Mask::Add(add) => add[first + i] * LOG2_E,
            };
        }
        let values = &self.call.values;
        // SAFETY: keys and values lie within their data; the buffers have room for a whole tile.
        unsafe {
            let Buffers { keys, staging, .. } = &mut *buffers;
            P::pack_keys(s, &self.call.keys, first, self.head, [count, width, size], staging, keys);
            for (i, row) in buffers.values.chunks_exact_mut(size).take(count).enumerate() {
                if buffers.bias[i] == f32::NEG_INFINITY {
                    // Zero times NaN would be NaN.
                    row.fill(0.0);
                } else {
                    let (row, padding) = row.split_at_mut(width);
                    widen(s, values, first + i, self.head, row);
                    padding.fill(0.0);
                }
            }
            P::arrange_values(s, &mut buffers.values, &mut buffers.staging, count, size);
        }
    }

    /// A panel times a tile: scores, their exponentials, and the sums of values weighted by them.
    #[inline(always)]
    fn tile<S: Simd, const REGISTERS: usize>(
        &self,
        s: S,
        products: &mut P,
        tile: Tile,
        buffers: &mut Buffers<'_>,
    ) where
        P: Products<S>,
    {
        let (panel, size) = (2 * S::LANES, self.size::<S>());
        let queries = buffers.queries[tile.number * panel * size..][..panel * size].as_ptr();
        let scores = buffers.scores.as_mut_ptr();
        let sums = buffers.sums[tile.number * panel * size..][..panel * size].as_mut_ptr();
        let (keys, values) = (buffers.keys.as_ptr(), buffers.values.as_ptr());
        // SAFETY: keys are packed, and scores have room, for a whole tile.
        unsafe { products.scores::<REGISTERS>(s, size, tile.count, keys, queries, scores) };
        if let Some(cap) = self.call.options.softcap {
            soft_cap::<S, REGISTERS>(s, tile, cap * LOG2_E, buffers);
        }
        let masked = tile.partly || matches!(self.call.options.mask, Mask::Keep(_) | Mask::Add(_));
        if let Mask::Distances(distances) = self.call.options.mask {
            self.add_distances::<S, REGISTERS>(s, tile, distances, buffers);
        }
        let keep = weights::<S, P, REGISTERS>(s, tile, masked, buffers);
        let spare = buffers.staging.as_mut_ptr();
        // SAFETY: values and weights are there for `count` keys, and sums for the panel; nothing is in the staging memory.
        unsafe { products.add_values::<REGISTERS>(s, size, tile.count, values, scores, keep, sums, spare) };
    }

    /// Adds the biases by distance. The rows of a panel are successive queries, so a key's biases for them are
    /// contiguous, one place further for the key before it.
    #[inline(always)]
    fn add_distances<S: Simd, const REGISTERS: usize>(
        &self,
        s: S,
        tile: Tile,
        distances: Distances<'_>,
        buffers: &mut Buffers<'_>,
    ) {
        let panel = 2 * S::LANES;
        let (queries, keys) = self.call.sequence(self.sequence);
        let query = (self.first + tile.number * panel + keys.len()) as isize - queries.len() as isize;
        let farthest = (tile.start + tile.count - 1) as isize - query;
        let values = distances.of_head(self.head);
        for (i, to) in buffers.distances[..tile.count + panel].iter_mut().enumerate() {
            *to = values[distances.place(farthest - i as isize)] * LOG2_E;
        }
        for key in 0..tile.count {
            let added = &buffers.distances[tile.count - 1 - key..][..panel];
            for r in 0..REGISTERS {
                let scores = &mut buffers.scores[key * panel + r * S::LANES..][..S::LANES];
                let sum = s.add(s.load(scores), s.load(&added[r * S::LANES..]));
                s.store(scores, sum);
            }
        }
    }

    /// Divides the sums of a panel by the sums of weights and writes the rows.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, number: usize, count: usize, buffers: &mut Buffers<'_>)
    where
        P: Products<S>,
    {
        let (panel, width, size) = (2 * S::LANES, self.call.heads.size, self.size::<S>());
        let sums = buffers.sums[number * panel * size..][..panel * size].as_mut_ptr();
        let staging = &mut buffers.staging[..panel * size];
        for half in 0..2 {
            let total = s.load(&buffers.total[number * panel + half * S::LANES..]);
            // The sum of weights is zero where no key was seen.
            let inverse = s.select(s.eq(total, s.zero()), s.zero(), s.div(s.splat(1.0), total));
            let column = half * S::LANES;
            let mut at = 0;
            while at < size {
                // SAFETY: the sums of `size` numbers of a panel; the staging has room for its rows.
                unsafe {
                    let mut rows = [std::ptr::null(); 4];
                    let mut i = 0;
                    while i < 4 {
                        let row = sums.add((at + i) * panel + column);
                        s.store_ptr(row, s.mul(s.load_ptr(row), inverse));
                        rows[i] = row.cast_const().cast();
                        i += 1;
                    }
                    s.transpose4_ptr(rows, staging.as_mut_ptr().add(column * size + at).cast(), size);
                }
                at += 4;
            }
        }
        let token = self.call.sequence(self.sequence).0.start;
        for (i, row) in staging.chunks_exact(size).take(count).enumerate() {
            let (query, head) = self.query(number * panel + i);
            let place = ((token + query) * self.call.heads.queries + head) * width;
            // SAFETY: within the result, and no other block has this row.
            unsafe { copy(s, row.as_ptr(), self.call.to.get().add(place), width) };
        }
    }
}

/// `cap · tanh(score / cap)` for the scores of a tile.
#[inline(always)]
fn soft_cap<S: Simd, const REGISTERS: usize>(s: S, tile: Tile, cap: f32, buffers: &mut Buffers<'_>) {
    let (cap, inverse) = (s.splat(cap), s.splat(1.0 / cap));
    for scores in buffers.scores.chunks_exact_mut(2 * S::LANES).take(tile.count) {
        for scores in scores.chunks_exact_mut(S::LANES).take(REGISTERS) {
            let capped = s.mul(tanh(s, s.mul(s.load(scores), inverse)), cap);
            s.store(scores, capped);
        }
    }
}

/// Turns the scores of a tile into weights relative to the maximum score so far, and returns the factor for the sums of
/// earlier tiles. In pairs, the weights of two keys share a word.
#[inline(always)]
fn weights<S: Simd, P: Products<S>, const REGISTERS: usize>(
    s: S,
    tile: Tile,
    masked: bool,
    buffers: &mut Buffers<'_>,
) -> [S::F32; REGISTERS] {
    let panel = 2 * S::LANES;
    let row = tile.number * panel;
    let lowest = s.splat(f32::NEG_INFINITY);
    let mut keep = [s.zero(); REGISTERS];
    let mut r = 0;
    while r < REGISTERS {
        let place = row + r * S::LANES;
        let scores = buffers.scores.as_mut_ptr().wrapping_add(r * S::LANES);
        let (first, end) = (s.load(&buffers.visible[0][place..]), s.load(&buffers.visible[1][place..]));
        let before = s.load(&buffers.most[place..]);
        let mut most = before;
        if masked {
            for key in 0..tile.count {
                let (number, bias) = (s.splat((tile.start + key) as f32), buffers.bias[key]);
                // SAFETY: scores are there for `count` keys.
                unsafe {
                    let at = scores.add(key * panel);
                    let score =
                        if bias == f32::NEG_INFINITY { lowest } else { s.add(s.load_ptr(at), s.splat(bias)) };
                    let score = s.select(s.lt(number, end), score, lowest);
                    let score = s.select(s.le(first, number), score, lowest);
                    s.store_ptr(at, score);
                    most = s.max(score, most);
                }
            }
        } else {
            for key in 0..tile.count {
                // SAFETY: as above.
                most = s.max(unsafe { s.load_ptr(scores.add(key * panel)) }, most);
            }
        }
        // Any finite number does where no key was seen yet.
        let less = s.select(s.eq(most, lowest), s.zero(), most);
        let mut total = s.zero();
        if P::PAIRS {
            for pair in 0..tile.count.div_ceil(2) {
                // SAFETY: as above; what is written was read before.
                unsafe {
                    let at = scores.add(2 * pair * panel);
                    let low = exp2_roughly(s, s.sub(s.load_ptr(at), less));
                    let high = if 2 * pair + 1 < tile.count {
                        exp2_roughly(s, s.sub(s.load_ptr(at.add(panel)), less))
                    } else {
                        s.zero()
                    };
                    s.store_ptr(scores.add(pair * panel), s.from_bits(s.join_bf16(low, high)));
                    total = s.add(total, s.add(low, high));
                }
            }
        } else {
            for key in 0..tile.count {
                // SAFETY: as above.
                unsafe {
                    let at = scores.add(key * panel);
                    let weight = exp2(s, s.sub(s.load_ptr(at), less));
                    s.store_ptr(at, weight);
                    total = s.add(total, weight);
                }
            }
        }
        keep[r] = exp2(s, s.sub(before, less));
        let total = s.mul_add(s.load(&buffers.total[place..]), keep[r], total);
        s.store(&mut buffers.total[place..], total);
        s.store(&mut buffers.most[place..], most);
        r += 1;
    }
    keep
}
