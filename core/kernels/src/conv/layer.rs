//! A layer's weights, packed in the order in which the inner loop reads them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::super::buffer::{Aligned, Scratch};
use super::super::gemm::int8::{quantise_channel, sum_of_bytes};
use super::super::gemm::pack::interleave;
use super::super::gemm::packed::{PanelLayout, TILE_WORDS};
use super::super::gemm::plan::share;
use super::super::gemm::{Precision, Weights};
use super::super::{Cpu, Isa};
use crate::error::{KernelError, Result};

/// Steps of a block: a panel's weights, 128 bytes per step with AVX-512, stay in the L2 cache beside the input of a
/// patch.
const BLOCK_STEPS: usize = 1152;

/// The channels and size of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Channels of the result.
    pub outputs: usize,
    /// Channels of the input.
    pub inputs: usize,
    /// Rows that a window covers.
    pub height: usize,
    /// Columns that a window covers.
    pub width: usize,
}

/// Stride, padding and upsampling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// The stride, in rows and columns.
    pub stride: usize,
    /// Padding with zeros: rows above and below, columns left and right.
    pub padding: [usize; 4],
    /// Whether the image is first upsampled by two (nearest neighbour).
    pub doubled: bool,
}

impl Default for Geometry {
    fn default() -> Self {
        Self { stride: 1, padding: [0; 4], doubled: false }
    }
}

impl Geometry {
    /// Stride 1 with the same padding on all sides.
    pub fn padded(padding: usize) -> Self {
        Self { padding: [padding; 4], ..Self::default() }
    }
}

/// A convolution's weights, packed once for one instruction set, with its bias if it has one.
///
/// Panels of two registers of output channels follow each other; in each, blocks of input channels; in a block, the
/// window's rows, columns and channels. Incomplete registers and groups are padded with zeros, and for tiles each position to
/// whole steps.
///
/// In int8, each position of a block is followed by the sums of its weights, and a panel by the scales of its channels.
/// Activations are quantised pixel by pixel: at each position of the window, exact integer sums become f32.
#[derive(Clone)]
pub struct Conv {
    isa: Isa,
    precision: Precision,
    window: Window,
    geometry: Geometry,
    layout: PanelLayout,
    data: Arc<Aligned<u8>>,
    bias: Option<Aligned<f32>>,
}

impl Conv {
    /// Packs `[outputs, inputs, height, width]` weights, as PyTorch orders them. In bf16x3 they stay f32.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if the number of weights is another, a size or the stride is zero, or in
    /// int8 a weight is not finite.
    pub fn new(
        cpu: &Cpu,
        weights: Weights<'_>,
        window: Window,
        geometry: Geometry,
        precision: Precision,
    ) -> Result<Self> {
        let sizes = [window.outputs, window.inputs, window.height, window.width, geometry.stride];
        let count = sizes[..4].iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        if count != Some(weights.len()) || sizes.contains(&0) {
            let found = weights.len();
            return Err(KernelError::shape(format!(
                "{window:?}: unexpected {found} weights or stride {}",
                geometry.stride
            )));
        }
        let isa = cpu.isa;
        precision.check(isa)?;
        let precision = if precision == Precision::Bf16x3 { Precision::F32 } else { precision };
        // A pixel of few channels is mostly padding in tiles.
        let best = PanelLayout::best(isa, precision);
        let is_wide = 2 * window.inputs.div_ceil(best.group) >= best.words(window.inputs);
        let layout = if is_wide { best } else { PanelLayout::of(isa, precision) };
        let data = Arc::new(Aligned::EMPTY);
        let mut conv = Self { isa, precision, window, geometry, layout, data, bias: None };
        conv.fill(cpu, weights)?;
        Ok(conv)
    }

    /// Adds a bias, one number per output.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if there are not as many as outputs.
    pub fn with_bias(mut self, bias: &[f32]) -> Result<Self> {
        if bias.len() != self.window.outputs {
            let (found, outputs) = (bias.len(), self.window.outputs);
            return Err(KernelError::shape(format!("bias: expected {outputs} numbers, found {found}")));
        }
        self.bias = Some(Aligned::from_slice(bias)?);
        Ok(self)
    }

    /// The same weights with another stride, padding or upsampling; they are shared.
    pub fn with_geometry(&self, geometry: Geometry) -> Self {
        Self { geometry, ..self.clone() }
    }

    /// Rows and columns of the result for an image.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if a window is larger than the image with its padding.
    pub fn output_size(&self, height: usize, width: usize) -> Result<(usize, usize)> {
        let [above, below, left, right] = self.geometry.padding;
        let times = if self.geometry.doubled { 2 } else { 1 };
        let size = |length: usize, padding: [usize; 2], window: usize| {
            let padded = length.checked_mul(times)?.checked_add(padding[0])?.checked_add(padding[1])?;
            Some(padded.checked_sub(window)? / self.geometry.stride + 1)
        };
        let rows = size(height, [above, below], self.window.height);
        rows.zip(size(width, [left, right], self.window.width)).ok_or_else(|| {
            let window = self.window;
            KernelError::shape(format!("an image of {height} × {width} pixels is smaller than {window:?}"))
        })
    }

    /// The channels and size of the window.
    pub fn window(&self) -> Window {
        self.window
    }

    /// Stride, padding and upsampling.
    pub fn geometry(&self) -> Geometry {
        self.geometry
    }

    /// The precision in which the layer multiplies.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// The instruction set that the weights are packed for.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Memory of the weights in bytes.
    pub fn bytes(&self) -> usize {
        self.data.len() + self.bias.as_ref().map_or(0, |bias| size_of_val::<[f32]>(bias))
    }

    /// Whether each result depends only on the pixel at its own position.
    pub(super) fn is_pointwise(&self) -> bool {
        self.window.height == 1 && self.window.width == 1 && self.geometry == Geometry::default()
    }

    pub(super) fn bias(&self) -> Option<&[f32]> {
        self.bias.as_deref()
    }

    /// Words of a pixel.
    pub(super) fn words(&self) -> usize {
        self.layout.words(self.window.inputs)
    }

    /// Whether the layer is multiplied in tiles.
    pub(super) fn in_tiles(&self) -> bool {
        self.layout.in_tiles
    }

    pub(super) fn panels(&self) -> usize {
        self.window.outputs.div_ceil(self.layout.channels())
    }

    /// Positions of a window.
    pub(super) fn places(&self) -> usize {
        self.window.height * self.window.width
    }

    /// The number of blocks of channels.
    pub(super) fn blocks(&self) -> usize {
        let most = (BLOCK_STEPS / self.places()).max(16);
        self.words().div_ceil(most)
    }

    /// The words of a pixel that a block multiplies: in tiles, whole steps.
    pub(super) fn block(&self, number: usize) -> Range<usize> {
        let step = if self.in_tiles() { TILE_WORDS } else { 1 };
        let steps = share(self.words() / step, number, self.blocks());
        steps.start * step..steps.end * step
    }

    /// Bytes of one number of each channel of a panel, in int8: the sums of a position's weights, or the scales.
    pub(super) fn number_bytes(&self) -> usize {
        if self.precision == Precision::Int8 { 4 * self.layout.channels() } else { 0 }
    }

    /// Bytes of a panel before a block.
    fn bytes_before(&self, block: usize) -> usize {
        let words = if block < self.blocks() { self.block(block).start } else { self.words() };
        self.places() * (words * self.layout.step_bytes() + block * self.number_bytes())
    }

    fn panel_bytes(&self) -> usize {
        self.bytes_before(self.blocks()) + self.number_bytes()
    }

    /// Where a panel's weights of a block and a position are, without the sums that follow them.
    fn segment(&self, block: usize, place: usize) -> Range<usize> {
        let bytes = self.block(block).len() * self.layout.step_bytes();
        let start = self.bytes_before(block) + place * (bytes + self.number_bytes());
        start..start + bytes
    }

    /// The weights of a panel and a block.
    pub(super) fn weights(&self, panel: usize, block: usize) -> &[u8] {
        let of = |block: usize| panel * self.panel_bytes() + self.bytes_before(block);
        &self.data[of(block)..of(block + 1)]
    }

    /// The scales of a panel's channels, f32 as bytes; empty unless int8.
    pub(super) fn scales(&self, panel: usize) -> &[u8] {
        let end = (panel + 1) * self.panel_bytes();
        &self.data[end - self.number_bytes()..end]
    }

    fn fill(&mut self, cpu: &Cpu, weights: Weights<'_>) -> Result<()> {
        let bytes = self.panels().checked_mul(self.panel_bytes());
        let bytes = bytes.ok_or_else(|| KernelError::shape("the weights do not fit memory"))?;
        let mut data = Aligned::<u8>::zeroed(bytes)?;
        let (channels, is_flawed) = (self.layout.channels(), AtomicBool::new(false));
        cpu.pool.parallel_chunks(&mut data, self.panel_bytes(), |panel, data| {
            let (words, places) = (self.words(), self.places());
            let row_bytes = places * words * self.layout.group_bytes();
            let mut filter = Scratch::<f32>::take(self.window.inputs * places);
            let mut ordered = Scratch::<f32>::take(places * words * self.layout.group);
            let mut rows = Scratch::<u8>::take(channels * row_bytes);
            for (channel, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
                if panel * channels + channel >= self.window.outputs {
                    row.fill(0);
                    continue;
                }
                weights.read_row(panel * channels + channel, &mut filter);
                if self.precision == Precision::Int8 {
                    let Some(scale) = quantise_channel(&mut filter) else {
                        is_flawed.store(true, Ordering::Relaxed);
                        continue;
                    };
                    let place = data.len() - self.number_bytes() + 4 * channel;
                    data[place..place + 4].copy_from_slice(&scale.to_ne_bytes());
                }
                by_place(&filter, places, &mut ordered);
                self.precision.convert(&ordered, row);
                if self.precision == Precision::Int8 {
                    self.write_sums(row, channel, data);
                }
            }
            let group_bytes = self.layout.group_bytes();
            for (block, place) in self.segments() {
                let start = (place * words + self.block(block).start) * group_bytes;
                let to = &mut data[self.segment(block, place)];
                interleave(&rows[start..], row_bytes, channels, group_bytes, to);
            }
        });
        if is_flawed.into_inner() {
            return Err(KernelError::shape("int8: a weight is not finite"));
        }
        self.data = Arc::new(data);
        Ok(())
    }

    fn segments(&self) -> impl Iterator<Item = (usize, usize)> {
        let places = self.places();
        (0..self.blocks()).flat_map(move |block| (0..places).map(move |place| (block, place)))
    }

    /// Writes the sum of a channel's packed weights at each position of each block.
    fn write_sums(&self, row: &[u8], channel: usize, panel: &mut [u8]) {
        for (block, place) in self.segments() {
            let (words, start) = (self.block(block), place * self.words());
            let [first, end] = [words.start, words.end].map(|word| (start + word) * self.layout.group);
            let to = self.segment(block, place).end + 4 * channel;
            // Below 2²⁴, so that f32 has it exactly.
            let sum = sum_of_bytes(&row[first..end]) as f32;
            panel[to..to + 4].copy_from_slice(&sum.to_ne_bytes());
        }
    }
}

/// The weights of a filter, `[inputs, positions]`, position by position, each with zeros after its last input.
fn by_place(filter: &[f32], places: usize, to: &mut [f32]) {
    let (inputs, padded) = (filter.len() / places, to.len() / places);
    if places == 1 {
        to[..inputs].copy_from_slice(filter);
    }
    for (place, to) in to.chunks_exact_mut(padded).enumerate() {
        if places > 1 {
            for (to, window) in to.iter_mut().zip(filter.chunks_exact(places)) {
                *to = window[place];
            }
        }
        to[inputs..].fill(0.0);
    }
}

impl fmt::Debug for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { outputs, inputs, height, width } = self.window;
        let (precision, isa) = (self.precision.name(), self.isa);
        write!(f, "Conv({inputs} → {outputs}, {height} × {width}, {:?}, {precision}, {isa})", self.geometry)
    }
}
