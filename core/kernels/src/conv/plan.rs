//! How a convolution is cut: into patches whose input stays in the cache, and panels of channels.

use super::super::Cpu;
use super::super::gemm::plan::share;
use super::layer::Conv;
use super::{ConvPart, Images};

/// Fewer multiplications than this are done by one thread, because waking another costs as much.
const MIN_PARALLEL_WORK: usize = 1 << 21;

/// The most input pixels of a patch.
const PIXELS: usize = 700;

/// Columns of a patch.
const COLUMNS: usize = 64;

/// At least so many parts per thread, so that none waits long at the end.
const PARTS: usize = 4;

/// How each image is cut into rows and columns of patches, and the channels into groups of panels.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    images: usize,
    rows: usize,
    columns: usize,
    groups: usize,
    /// Whether the parts of one group of panels follow each other, so that large weights are read once.
    weights_first: bool,
    /// Whether one thread does it all.
    pub(super) is_small: bool,
}

impl Plan {
    pub(super) fn new(cpu: &Cpu, layer: &Conv, images: Images<'_>, height: usize, width: usize) -> Self {
        let (window, stride) = (layer.window(), layer.geometry().stride);
        // The words of a patch per block take 2/5 of the L2 cache, beside a block of weights.
        let words = cpu.pool.l2_bytes() / 1024 * 100;
        let pixels = (words / layer.block(0).len().max(1)).clamp(COLUMNS, PIXELS);
        let most = if window.width == 1 { pixels } else { COLUMNS };
        let columns = width.div_ceil(most);
        let region = (width.div_ceil(columns) - 1) * stride + window.width;
        let at_once = (pixels / region).saturating_sub(window.height) / stride + 1;
        let rows = height.div_ceil(at_once);
        let (patches, threads) = (images.count * rows * columns, cpu.pool.threads());
        let groups = if threads == 1 { 1 } else { (PARTS * threads).div_ceil(patches).min(layer.panels()) };
        let weights_first = layer.bytes() > size_of_val(images.data);
        let work = images.count * height * width * window.height * window.width * window.inputs;
        let is_small = work.saturating_mul(window.outputs) < MIN_PARALLEL_WORK;
        Self { images: images.count, rows, columns, groups, weights_first, is_small }
    }

    pub(super) fn parts(&self) -> usize {
        self.images * self.rows * self.columns * self.groups
    }

    pub(super) fn part(&self, number: usize, height: usize, width: usize, panels: usize) -> ConvPart {
        let patches = self.images * self.rows * self.columns;
        let (patch, group) = if self.weights_first {
            (number % patches, number / patches)
        } else {
            (number / self.groups, number % self.groups)
        };
        ConvPart {
            image: patch / (self.rows * self.columns),
            rows: share(height, patch / self.columns % self.rows, self.rows),
            columns: share(width, patch % self.columns, self.columns),
            panels: share(panels, group, self.groups),
        }
    }
}
