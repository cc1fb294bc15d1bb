//! Convolution over NHWC images without im2col.
//!
//! `layer.rs` packs the weights; `plan.rs` cuts the output into patches; `patch.rs` packs the input of a patch, padded
//! and upsampled where asked; `tile.rs` is the inner loop, in AMX's tiles `tiled.rs`; `finish.rs`
//! what follows the sums.
//!
//! Each output is one sum: over blocks of channels, and in each over the window's rows, columns and channels. This
//! order does not depend on the image's size, the rest of the batch or the threads.

mod finish;
mod layer;
mod patch;
mod plan;
mod tile;
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) mod tiled;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::ops::Range;

use super::Cpu;
use super::buffer::Scratch;
use super::dispatch::with_simd;
use super::gemm::bf16::Bf16;
use super::gemm::element::{Element, RowScale};
use super::gemm::f32::F32;
use super::gemm::int8::Int8;
use super::gemm::plan::share;
use super::gemm::{Precision, Residual};
use super::math::Activation;
use super::pool::SharedStart;
use super::simd::Simd;
use crate::error::{KernelError, Result};
use finish::FinishRow;
use patch::{PackRow, Region};
use plan::Plan;
use tile::{Steps, Tile};

pub use layer::{Conv, Geometry, Window};

/// Images of one size in NHWC order.
#[derive(Clone, Copy, Debug)]
pub struct Images<'a> {
    /// Their numbers.
    pub data: &'a [f32],
    /// How many images.
    pub count: usize,
    /// Rows of each image.
    pub height: usize,
    /// Pixels of a row.
    pub width: usize,
}

/// What follows the sums: `to = residual + scale · activation(sum + bias + per_image)`.
#[derive(Clone, Copy, Debug)]
pub struct Epilogue<'a> {
    /// The activation function.
    pub activation: Activation,
    /// Multiplied with the result.
    pub scale: f32,
    /// Added to it, in the shape of the result.
    pub residual: Residual<'a>,
    /// A second bias, one number per image and channel: the embedding of a time step.
    pub per_image: Option<&'a [f32]>,
}

impl Default for Epilogue<'_> {
    fn default() -> Self {
        Self { activation: Activation::None, scale: 1.0, residual: Residual::None, per_image: None }
    }
}

/// Convolves images into `to`, images of [`Conv::output_size`] with as many channels as the layer has outputs.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if a slice has another size than images and layer say, an image is smaller than
/// the window, or the weights were packed for another instruction set than that of `cpu`.
pub fn conv(
    cpu: &Cpu,
    layer: &Conv,
    images: Images<'_>,
    to: &mut [f32],
    epilogue: Epilogue<'_>,
) -> Result<()> {
    let size = check(cpu, layer, images, to, &epilogue)?;
    if to.is_empty() {
        return Ok(());
    }
    let call = ConvCall::new(cpu, layer, images, size, to, epilogue);
    #[cfg(any(test, target_arch = "x86_64"))]
    if layer.in_tiles() {
        tiled::convolve(&call, cpu);
        return Ok(());
    }
    let isa = layer.isa();
    match layer.precision() {
        Precision::F32 | Precision::Bf16x3 => {
            with_simd!(isa, s => call.run(cpu, |part| call.part::<_, F32>(s, part)))
        }
        Precision::Bf16 => with_simd!(bf16 isa, s => call.run(cpu, |part| call.part::<_, Bf16>(s, part))),
        Precision::Int8 => with_simd!(bytes isa, s => call.run(cpu, |part| call.part::<_, Int8>(s, part))),
    }
    Ok(())
}

fn check(
    cpu: &Cpu,
    layer: &Conv,
    images: Images<'_>,
    to: &[f32],
    epilogue: &Epilogue<'_>,
) -> Result<(usize, usize)> {
    if cpu.isa != layer.isa() {
        let (theirs, ours) = (layer.isa(), cpu.isa);
        return Err(KernelError::shape(format!("expected weights packed for {ours}, found {theirs}")));
    }
    let (height, width) = layer.output_size(images.height, images.width)?;
    let of = |name: &str, found: usize, sizes: [usize; 4]| {
        let wanted = sizes.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
        if wanted == Some(found) {
            return Ok(());
        }
        let [count, height, width, channels] = sizes;
        Err(KernelError::shape(format!(
            "{name}: expected {count} images of {height} × {width} pixels with {channels} channels, found {found} numbers"
        )))
    };
    of("the input", images.data.len(), [images.count, images.height, images.width, layer.window().inputs])?;
    let output = [images.count, height, width, layer.window().outputs];
    of("the result", to.len(), output)?;
    if let Residual::From(residual) = epilogue.residual {
        of("the residual", residual.len(), output)?;
    }
    if let Some(per_image) = epilogue.per_image {
        of("the bias of each image", per_image.len(), [images.count, 1, 1, layer.window().outputs])?;
    }
    Ok((height, width))
}

/// One convolution, shared by all threads.
struct ConvCall<'a> {
    layer: &'a Conv,
    images: Images<'a>,
    /// Rows and columns of the result.
    height: usize,
    width: usize,
    to: SharedStart<f32>,
    /// Null for none. A part reads it only where it writes.
    residual: SharedStart<f32>,
    epilogue: Epilogue<'a>,
    plan: Plan,
}

/// The packed input of a part, and in int8 the scale of each pixel.
struct Input {
    words: Scratch<u32>,
    scales: Scratch<RowScale>,
}

impl Input {
    /// Packs a region, with so many more pixels of zeros after it.
    fn pack<S: Simd, E: Element<S>>(s: S, region: &Region<'_>, spare: usize) -> Self {
        let (pixels, pitch) = (region.rows * region.columns, region.columns * region.pitch);
        let mut input = Self {
            words: Scratch::take((pixels + spare) * region.pitch),
            scales: Scratch::take(if E::HAS_SCALES { pixels + spare } else { 0 }),
        };
        input.words[pixels * region.pitch..].fill(0);
        for row in 0..region.rows {
            let scales = if E::HAS_SCALES { row * region.columns..(row + 1) * region.columns } else { 0..0 };
            s.call(PackRow::<E> {
                region,
                row,
                to: &mut input.words[row * pitch..(row + 1) * pitch],
                scales: &mut input.scales[scales],
                element: PhantomData,
            });
        }
        input
    }
}

/// One part of the work: some output pixels and panels of channels.
struct ConvPart {
    image: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    panels: Range<usize>,
}

impl<'a> ConvCall<'a> {
    /// For operands that were checked. `height` and `width` are those of the result.
    fn new(
        cpu: &Cpu,
        layer: &'a Conv,
        images: Images<'a>,
        (height, width): (usize, usize),
        to: &'a mut [f32],
        epilogue: Epilogue<'a>,
    ) -> Self {
        // Windows of single pixels: the image as one row.
        let flat = layer.is_pointwise() && epilogue.per_image.is_none();
        let (images, height, width) = if flat {
            (
                Images { count: 1, height: 1, width: images.count * height * width, ..images },
                1,
                images.count * height * width,
            )
        } else {
            (images, height, width)
        };
        let to = to.as_mut_ptr();
        let residual = match epilogue.residual {
            Residual::None => std::ptr::null_mut(),
            Residual::InPlace => to,
            Residual::From(residual) => residual.as_ptr().cast_mut(),
        };
        let plan = Plan::new(cpu, layer, images, height, width);
        Self {
            layer,
            images,
            height,
            width,
            to: SharedStart(to),
            residual: SharedStart(residual),
            epilogue,
            plan,
        }
    }

    fn run(&self, cpu: &Cpu, work: impl Fn(usize) + Sync) {
        let parts = self.plan.parts();
        if self.plan.is_small { (0..parts).for_each(work) } else { cpu.pool.parallel(parts, work) }
    }

    fn part<S: Simd, E: Element<S>>(&self, s: S, number: usize) {
        let part = self.plan.part(number, self.height, self.width, self.layer.panels());
        let region = Region::new(self.layer, self.images, &part);
        let input = Input::pack::<S, E>(s, &region, 0);
        let pixels = part.rows.len() * part.columns.len();
        let mut sums = Scratch::<u32>::take(pixels * 2 * S::LANES);
        for panel in part.panels.clone() {
            for block in 0..self.layer.blocks() {
                self.block::<S, E>(s, &part, &region, &input, panel, block, &mut sums);
            }
            for (row, sums) in sums.chunks_exact(part.columns.len() * 2 * S::LANES).enumerate() {
                self.finish(s, &part, [row, 0], panel, sums);
            }
        }
    }

    /// Adds the products of a block of channels to all pixels of a part and one panel.
    #[allow(clippy::too_many_arguments, reason = "what the loops around it know")]
    fn block<S: Simd, E: Element<S>>(
        &self,
        s: S,
        part: &ConvPart,
        region: &Region<'_>,
        input: &Input,
        panel: usize,
        block: usize,
        sums: &mut [u32],
    ) {
        let steps = Steps::new(self.layer, region, block, E::HAS_SCALES);
        let weights = self.layer.weights(panel, block);
        let columns = part.columns.len();
        let tiles = columns.div_ceil(super::gemm::max_rows(S::LANES));
        let stride = self.layer.geometry().stride;
        // The first tiles prefetch the weights that follow, one cache line per step.
        let (next, mut ahead) = (weights.as_ptr_range().end, 0);
        for row in 0..part.rows.len() {
            for tile in 0..tiles {
                let pixels = share(columns, tile, tiles);
                let first = row * stride * region.columns + pixels.start * stride;
                let near = if ahead < weights.len() { next.wrapping_add(ahead) } else { weights.as_ptr() };
                ahead += 64 * steps.total();
                let place = (row * columns + pixels.start) * 2 * S::LANES;
                let tile = Inner {
                    steps,
                    input: input.words[first * region.pitch + steps.first..].as_ptr(),
                    pixel: stride * region.pitch,
                    scales: input.scales.as_ptr().wrapping_add(first),
                    stride,
                    weights: weights.as_ptr(),
                    sums: sums[place..place + pixels.len() * 2 * S::LANES].as_mut_ptr(),
                    fresh: block == 0,
                    ahead: near,
                };
                tile.run::<S, E>(s, pixels.len());
            }
        }
    }

    /// Turns the sums of pixels side by side into results. The first is at a row and column of the part.
    #[inline(always)]
    fn finish<S: Simd>(&self, s: S, part: &ConvPart, [row, column]: [usize; 2], panel: usize, sums: &[u32]) {
        let outputs = self.layer.window().outputs;
        let channel = panel * 2 * S::LANES;
        let row = (part.image * self.height + part.rows.start + row) * self.width;
        let pixel = row + part.columns.start + column;
        let residual = self.residual.get();
        let place = pixel * outputs + channel;
        let per_image = self.epilogue.per_image.map(|bias| &bias[part.image * outputs + channel..]);
        s.call(FinishRow {
            sums,
            scales: self.layer.scales(panel),
            channels: (outputs - channel).min(2 * S::LANES),
            outputs,
            bias: self.layer.bias().map(|bias| &bias[channel..]),
            per_image,
            activation: self.epilogue.activation,
            scale: self.epilogue.scale,
            to: self.to.get().wrapping_add(place),
            residual: if residual.is_null() { residual } else { residual.wrapping_add(place) },
        });
    }
}

/// A tile whose size is known at run time.
struct Inner {
    steps: Steps,
    input: *const u32,
    pixel: usize,
    scales: *const RowScale,
    stride: usize,
    weights: *const u8,
    sums: *mut u32,
    fresh: bool,
    ahead: *const u8,
}

impl Inner {
    fn run<S: Simd, E: Element<S>>(self, s: S, pixels: usize) {
        macro_rules! choose {
            ($($pixels:literal)*) => {
                match pixels {
                    // Not compiled for instruction sets with too few registers.
                    $($pixels if const { $pixels <= super::gemm::max_rows(S::LANES) } => {
                        self.tile::<S, E, $pixels>(s);
                    })*
                    _ => assert!(pixels == 0, "there is no tile of {pixels} pixels"),
                }
            };
        }
        choose! { 1 2 3 4 5 6 7 8 9 10 11 12 13 14 }
    }

    fn tile<S: Simd, E: Element<S>, const PIXELS: usize>(self, s: S) {
        s.call(Tile::<E, PIXELS> {
            steps: self.steps,
            input: self.input,
            pixel: self.pixel,
            scales: self.scales,
            stride: self.stride,
            weights: self.weights,
            sums: self.sums,
            fresh: self.fresh,
            ahead: self.ahead,
            element: PhantomData,
        });
    }
}
