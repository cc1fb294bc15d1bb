//! Weights, packed in the order in which the inner loop reads them.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use super::super::buffer::{Aligned, Scratch};
use super::super::dispatch::with_simd;
use super::super::simd::Simd;
use super::super::{Cpu, Isa};
use super::bf16::Bf16;
use super::element::Element;
use super::f32::F32;
use super::int8::{self, Int8};
use super::pack::{Weights, interleave, split_row};
use crate::error::{KernelError, Result};

/// The precision in which a layer multiplies. Activations are f32 before and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// f32 throughout.
    F32,
    /// Weights in bf16, sums in f32.
    Bf16,
    /// Weights in int8 with a scale per channel, activations quantised per row, exact integer sums.
    Int8,
    /// f32 as the sum of two bf16, by three products of them: 16 bits of each number count. With tiles only, for linear
    /// layers; everything else is in f32.
    Bf16x3,
}

impl Precision {
    /// Every precision.
    pub const ALL: &'static [Self] = &[Self::F32, Self::Bf16, Self::Int8, Self::Bf16x3];

    /// The precisions that an instruction set has.
    pub fn of(isa: Isa) -> &'static [Self] {
        if isa.has_tiles() { Self::ALL } else { &Self::ALL[..3] }
    }

    /// Fails unless the instruction set has the precision.
    pub(in super::super) fn check(self, isa: Isa) -> Result<()> {
        if Self::of(isa).contains(&self) {
            return Ok(());
        }
        Err(KernelError::unsupported(format!("{} needs AMX; the instruction set is {isa}", self.name())))
    }

    /// The precision's name as a configuration spells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Bf16x3 => "bf16x3",
        }
    }
}

/// How panels of a precision are laid out for an instruction set.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct PanelLayout {
    /// Lanes of a register in f32. A panel is two registers of channels.
    pub(in super::super) lanes: usize,
    /// Numbers in a word of activations.
    pub(in super::super) group: usize,
    /// Bytes of a weight.
    weight_bytes: usize,
    /// Words for each that the numbers of a row need: two where a number is the sum of two.
    parts: usize,
    /// Whether rows have whole steps of [`TILE_WORDS`] words, for tiles.
    pub(in super::super) in_tiles: bool,
}

/// Words of a row in a tile.
pub(in super::super) const TILE_WORDS: usize = 16;

impl PanelLayout {
    /// That of vectors.
    pub(in super::super) fn of(isa: Isa, precision: Precision) -> Self {
        fn layout<S: Simd, E: Element<S>>(_: S) -> PanelLayout {
            let (lanes, group) = (S::LANES, E::GROUP);
            PanelLayout { lanes, group, weight_bytes: E::WEIGHT_BYTES, parts: 1, in_tiles: false }
        }
        match precision {
            Precision::F32 | Precision::Bf16x3 => with_simd!(isa, s => layout::<_, F32>(s)),
            Precision::Bf16 => with_simd!(bf16 isa, s => layout::<_, Bf16>(s)),
            Precision::Int8 => with_simd!(bytes isa, s => layout::<_, Int8>(s)),
        }
    }

    /// That of tiles where the instruction set has them, else that of vectors.
    pub(in super::super) fn best(isa: Isa, precision: Precision) -> Self {
        let layout = Self::of(isa, precision);
        match precision {
            Precision::Bf16 if isa.has_tiles() => Self { group: 2, in_tiles: true, ..layout },
            Precision::Int8 if isa.has_tiles() => Self { in_tiles: true, ..layout },
            Precision::Bf16x3 => Self { group: 2, weight_bytes: 2, parts: 2, in_tiles: true, ..layout },
            _ => layout,
        }
    }

    /// Words of so many activations.
    pub(in super::super) fn words(self, inputs: usize) -> usize {
        let words = inputs.div_ceil(self.group);
        self.parts * if self.in_tiles { words.max(1).next_multiple_of(TILE_WORDS) } else { words }
    }

    /// How many of these words a precision fills; the others are zero.
    #[cfg(any(test, target_arch = "x86_64"))]
    pub(super) fn filled_words(self, inputs: usize) -> usize {
        if self.parts == 1 { inputs.div_ceil(self.group) } else { self.words(inputs) }
    }

    /// Rows that are multiplied by a panel at once.
    pub(super) fn block_rows(self) -> usize {
        if self.in_tiles { 2 * TILE_WORDS } else { super::max_rows(self.lanes) }
    }

    /// Channels of a panel.
    pub(in super::super) fn channels(self) -> usize {
        2 * self.lanes
    }

    /// Bytes of a channel's weights per word of activations.
    pub(in super::super) fn group_bytes(self) -> usize {
        self.group * self.weight_bytes
    }

    /// Bytes of a panel's weights per word of activations.
    pub(in super::super) fn step_bytes(self) -> usize {
        self.channels() * self.group_bytes()
    }
}

/// The weights of a linear layer, packed once for one instruction set, with its bias if it has one.
///
/// Panels of two registers of channels follow each other. In a panel come the weights of all its channels for the first
/// positions of a row, then for the next, and so on. Incomplete panels and groups are padded with zeros.
#[derive(Clone)]
pub struct Packed {
    isa: Isa,
    precision: Precision,
    outputs: usize,
    inputs: usize,
    gated: bool,
    pub(super) layout: PanelLayout,
    pub(super) data: Aligned<u8>,
    /// One number per channel, in the order of the panels.
    pub(super) bias: Option<Aligned<f32>>,
    /// The scale of each channel; empty unless int8.
    pub(super) scales: Aligned<f32>,
    /// What the offset of unsigned activations adds to each channel; empty unless int8.
    pub(super) corrections: Aligned<i32>,
}

impl Packed {
    /// Packs `[outputs, inputs]` weights for the instruction set of `cpu`.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if there are not `outputs · inputs` weights, or in int8 if one is not
    /// finite or a row is too long for exact sums; [`Unsupported`](crate::KernelError::Unsupported) for a precision that the
    /// instruction set lacks.
    pub fn new(
        cpu: &Cpu,
        weights: Weights<'_>,
        outputs: usize,
        inputs: usize,
        precision: Precision,
    ) -> Result<Self> {
        Self::pack(cpu, [weights, weights], false, [outputs, inputs], precision)
    }

    /// Packs the two layers of a gated one (SwiGLU, GEGLU), so that it yields `activation(gate) · up`.
    ///
    /// # Errors
    /// As [`new`](Self::new), for either layer.
    pub fn gated(
        cpu: &Cpu,
        gate: Weights<'_>,
        up: Weights<'_>,
        outputs: usize,
        inputs: usize,
        precision: Precision,
    ) -> Result<Self> {
        Self::pack(cpu, [gate, up], true, [outputs, inputs], precision)
    }

    /// Adds a bias, one number per output. It is added before the activation.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if the layer is gated or the number of outputs is another.
    pub fn with_bias(self, bias: &[f32]) -> Result<Self> {
        if self.gated {
            return Err(KernelError::shape("a gated layer has two biases: use `with_gated_bias`"));
        }
        self.biased([bias, bias])
    }

    /// Adds the biases of a gated layer.
    ///
    /// # Errors
    /// [`Shape`](crate::KernelError::Shape) if the layer is not gated or the number of outputs is another.
    pub fn with_gated_bias(self, gate: &[f32], up: &[f32]) -> Result<Self> {
        if !self.gated {
            return Err(KernelError::shape("this layer has one bias: use `with_bias`"));
        }
        self.biased([gate, up])
    }

    /// Output features.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Input features.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Whether the layer is gated.
    pub fn is_gated(&self) -> bool {
        self.gated
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
        let bias = self.bias.as_ref().map_or(0, |bias| size_of_val::<[f32]>(bias));
        self.data.len() + bias + size_of_val::<[f32]>(&self.scales) + size_of_val::<[i32]>(&self.corrections)
    }

    /// Words of activations per row.
    pub(super) fn words(&self) -> usize {
        self.layout.words(self.inputs)
    }

    /// Outputs of a panel.
    pub(super) fn panel_outputs(&self) -> usize {
        if self.gated { self.layout.lanes } else { self.layout.channels() }
    }

    pub(super) fn panels(&self) -> usize {
        self.outputs.div_ceil(self.panel_outputs())
    }

    pub(super) fn panel_bytes(&self) -> usize {
        self.words() * self.layout.step_bytes()
    }

    /// The matrix and row of a panel's channel.
    fn source_of(&self, panel: usize, channel: usize) -> Option<(usize, usize)> {
        let lanes = self.layout.lanes;
        let (matrix, row) = if self.gated {
            (channel / lanes, panel * lanes + channel % lanes)
        } else {
            (0, panel * self.layout.channels() + channel)
        };
        (row < self.outputs).then_some((matrix, row))
    }

    fn pack(
        cpu: &Cpu,
        matrices: [Weights<'_>; 2],
        gated: bool,
        [outputs, inputs]: [usize; 2],
        precision: Precision,
    ) -> Result<Self> {
        for matrix in matrices {
            let (found, wanted) = (matrix.len(), outputs.checked_mul(inputs));
            if wanted != Some(found) {
                return Err(KernelError::shape(format!(
                    "expected {outputs} × {inputs} weights, found {found}"
                )));
            }
        }
        precision.check(cpu.isa)?;
        if precision == Precision::Int8 && inputs > int8::MAX_K {
            let most = int8::MAX_K;
            return Err(KernelError::shape(format!("int8: expected at most {most} inputs, found {inputs}")));
        }
        let layout = PanelLayout::best(cpu.isa, precision);
        let mut packed = Self {
            isa: cpu.isa,
            precision,
            outputs,
            inputs,
            gated,
            layout,
            data: Aligned::EMPTY,
            bias: None,
            scales: Aligned::EMPTY,
            corrections: Aligned::EMPTY,
        };
        packed.fill(cpu, matrices)?;
        Ok(packed)
    }

    fn fill(&mut self, cpu: &Cpu, matrices: [Weights<'_>; 2]) -> Result<()> {
        let (panels, channels) = (self.panels(), self.layout.channels());
        let bytes = panels.checked_mul(self.panel_bytes());
        let bytes = bytes.ok_or_else(|| KernelError::shape("the weights do not fit memory"))?;
        let mut data = Aligned::<u8>::zeroed(bytes)?;
        let quantised = self.precision == Precision::Int8;
        let numbers = if quantised { panels * channels } else { 0 };
        let scales = Mutex::new((Aligned::<f32>::zeroed(numbers)?, Aligned::<i32>::zeroed(numbers)?));
        let flawed = AtomicBool::new(false);
        let row_bytes = self.words() * self.layout.group_bytes();
        cpu.pool.parallel_chunks(&mut data, self.panel_bytes(), |panel, data| {
            let mut row = Scratch::<f32>::take(self.words() * self.layout.group);
            let mut rows = Scratch::<u8>::take(channels * row_bytes);
            for (channel, to) in rows.chunks_exact_mut(row_bytes.max(1)).enumerate() {
                let Some((matrix, number)) = self.source_of(panel, channel) else {
                    to.fill(0);
                    continue;
                };
                matrices[matrix].read_row(number, &mut row[..self.inputs]);
                row[self.inputs..].fill(0.0);
                if self.precision == Precision::Bf16x3 {
                    split_row(&mut row);
                }
                let scale = if quantised { int8::quantise_channel(&mut row) } else { Some(1.0) };
                let Some(scale) = scale else {
                    flawed.store(true, Ordering::Relaxed);
                    continue;
                };
                self.precision.convert(&row, to);
                if quantised {
                    let mut scales = scales.lock().unwrap_or_else(PoisonError::into_inner);
                    scales.0[panel * channels + channel] = scale;
                    scales.1[panel * channels + channel] = int8::sum_of_bytes(to);
                }
            }
            interleave(&rows, row_bytes, channels, self.layout.group_bytes(), data);
        });
        if flawed.into_inner() {
            return Err(KernelError::shape("int8: a weight is not finite"));
        }
        (self.scales, self.corrections) = scales.into_inner().unwrap_or_else(PoisonError::into_inner);
        self.data = data;
        Ok(())
    }

    fn biased(mut self, biases: [&[f32]; 2]) -> Result<Self> {
        for bias in biases {
            if bias.len() != self.outputs {
                let (found, outputs) = (bias.len(), self.outputs);
                return Err(KernelError::shape(format!("bias: expected {outputs} numbers, found {found}")));
            }
        }
        let channels = self.layout.channels();
        let mut ordered = Aligned::<f32>::zeroed(self.panels() * channels)?;
        for (number, value) in ordered.iter_mut().enumerate() {
            if let Some((matrix, row)) = self.source_of(number / channels, number % channels) {
                *value = biases[matrix][row];
            }
        }
        self.bias = Some(ordered);
        Ok(self)
    }
}

impl fmt::Debug for Packed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gated = if self.gated { "gated " } else { "" };
        let (outputs, inputs, precision, isa) = (self.outputs, self.inputs, self.precision.name(), self.isa);
        write!(f, "Packed({gated}{outputs} × {inputs}, {precision}, {isa})")
    }
}
