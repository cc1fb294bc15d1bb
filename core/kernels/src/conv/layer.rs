//! A layer's weights, packed in the order in which the inner loop reads them.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use super::super::buffer::{Aligned, Scratch};
use super::super::dispatch::with_simd;
use super::super::gemm::bf16::Bf16;
use super::super::gemm::element::Element;
use super::super::gemm::f32::F32;
use super::super::gemm::plan::share;
use super::super::gemm::{Precision, Weights};
use super::super::simd::Simd;
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
/// window's rows, columns and channels. Incomplete registers and groups are padded with zeros.
#[derive(Clone)]
pub struct Conv {
    isa: Isa,
    precision: Precision,
    window: Window,
    geometry: Geometry,
    /// Lanes of a register in f32.
    lanes: usize,
    /// Numbers of a pixel in a word.
    group: usize,
    weight_bytes: usize,
    data: Arc<Aligned<u8>>,
    bias: Option<Aligned<f32>>,
}

impl Conv {
    /// Packs `[outputs, inputs, height, width]` weights, as PyTorch orders them.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if the number of weights is another, a size or the stride is zero, or the
    /// precision is int8.
    pub fn new(
        cpu: &Cpu,
        weights: Weights<'_>,
        window: Window,
        geometry: Geometry,
        precision: Precision,
    ) -> Result<Self> {
        fn layout<S: Simd, E: Element<S>>(_: S) -> [usize; 3] {
            [S::LANES, E::GROUP, E::WEIGHT_BYTES]
        }
        let [lanes, group, weight_bytes] = match precision {
            Precision::F32 => with_simd!(cpu.isa, s => layout::<_, F32>(s)),
            Precision::Bf16 => with_simd!(full cpu.isa, s => layout::<_, Bf16>(s)),
            Precision::Int8 => return Err(KernelError::shape("convolutions in int8 are not supported")),
        };
        let sizes = [window.outputs, window.inputs, window.height, window.width, geometry.stride];
        let count = sizes[..4].iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        if count != Some(weights.len()) || sizes.contains(&0) {
            let found = weights.len();
            return Err(KernelError::shape(format!(
                "{window:?}: unexpected {found} weights or stride {}",
                geometry.stride
            )));
        }
        let data = Arc::new(Aligned::EMPTY);
        let (isa, bias) = (cpu.isa, None);
        let mut conv = Self { isa, precision, window, geometry, lanes, group, weight_bytes, data, bias };
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
        self.window.inputs.div_ceil(self.group)
    }

    pub(super) fn panels(&self) -> usize {
        self.window.outputs.div_ceil(2 * self.lanes)
    }

    /// The number of blocks of channels.
    pub(super) fn blocks(&self) -> usize {
        let most = (BLOCK_STEPS / (self.window.height * self.window.width)).max(16);
        self.words().div_ceil(most)
    }

    /// The words of a pixel that a block multiplies.
    pub(super) fn block(&self, number: usize) -> Range<usize> {
        share(self.words(), number, self.blocks())
    }

    fn step_bytes(&self) -> usize {
        2 * self.lanes * self.group * self.weight_bytes
    }

    fn panel_bytes(&self) -> usize {
        self.words() * self.window.height * self.window.width * self.step_bytes()
    }

    /// The weights of a panel and a block.
    pub(super) fn weights(&self, panel: usize, block: usize) -> &[u8] {
        let places = self.window.height * self.window.width;
        let Range { start, end } = self.block(block);
        let of = |words: usize| panel * self.panel_bytes() + words * places * self.step_bytes();
        &self.data[of(start)..of(end)]
    }

    fn fill(&mut self, cpu: &Cpu, weights: Weights<'_>) -> Result<()> {
        let mut data = Aligned::<u8>::zeroed(self.panels() * self.panel_bytes())?;
        let places = self.window.height * self.window.width;
        let channels = 2 * self.lanes;
        cpu.pool.parallel_chunks(&mut data, self.panel_bytes(), |panel, data| {
            let mut filter = Scratch::<f32>::take(self.window.inputs * places);
            let mut values = Scratch::<f32>::take(self.words() * self.group * places);
            for channel in 0..channels.min(self.window.outputs - panel * channels) {
                weights.read_row(panel * channels + channel, &mut filter);
                self.order(&filter, &mut values);
                let group_bytes = self.group * self.weight_bytes;
                let steps = data.chunks_exact_mut(self.step_bytes());
                for (step, values) in steps.zip(values.chunks_exact(self.group)) {
                    let to = &mut step[channel * group_bytes..(channel + 1) * group_bytes];
                    match self.precision {
                        Precision::Bf16 => super::super::gemm::bf16::pack(values, to),
                        _ => to.copy_from_slice(&values[0].to_ne_bytes()),
                    }
                }
            }
        });
        self.data = Arc::new(data);
        Ok(())
    }

    /// A filter `[inputs, positions]` in the order of the steps, one group of channels each.
    fn order(&self, filter: &[f32], to: &mut [f32]) {
        let places = self.window.height * self.window.width;
        let mut groups = to.chunks_exact_mut(self.group);
        for block in 0..self.blocks() {
            for place in 0..places {
                for word in self.block(block) {
                    let Some(to) = groups.next() else { return };
                    for (i, to) in to.iter_mut().enumerate() {
                        *to = filter.get((word * self.group + i) * places + place).copied().unwrap_or(0.0);
                    }
                }
            }
        }
    }
}

impl fmt::Debug for Conv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Window { outputs, inputs, height, width } = self.window;
        let (precision, isa) = (self.precision.name(), self.isa);
        write!(f, "Conv({inputs} → {outputs}, {height} × {width}, {:?}, {precision}, {isa})", self.geometry)
    }
}
