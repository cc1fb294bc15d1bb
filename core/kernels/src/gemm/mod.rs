//! `C = epilogue(A · Wᵀ)` with weights packed once: the linear layer.
//!
//! The precisions are `f32.rs`, `bf16.rs` and `int8.rs`, each over the vectors of any instruction set (`../simd/`);
//! `pack.rs` and `packed.rs` pack weights and `activations.rs` rows; `plan.rs` cuts the work into parts; `part.rs` multiplies some
//! rows by some panels; `tile.rs` is the inner loop, `epilogue.rs` what follows it.
//!
//! A sum runs over its row in one order, whatever the other rows, threads and blocks are: the same row gives the same
//! bits alone and in any batch.

mod activations;
pub(super) mod bf16;
#[cfg(any(test, target_arch = "x86_64"))]
mod bf16x3;
pub(super) mod element;
mod epilogue;
pub(super) mod f32;
pub(super) mod int8;
pub(super) mod pack;
pub(super) mod packed;
mod part;
pub(super) mod plan;
mod tile;
#[cfg(any(test, target_arch = "x86_64"))]
pub(super) mod tiled;

#[cfg(test)]
mod tests;

use std::ops::Range;

use super::Cpu;
use super::buffer::Scratch;
use super::dispatch::with_simd;
use super::math::Activation;
use super::pool::SharedStart;
use super::simd::Simd;
use crate::error::{KernelError, Result};
use activations::{RowMemory, RowStart};
use element::Element;
use part::GemmPart;
use plan::{Plan, share};

pub use epilogue::{Epilogue, Residual};
pub use pack::Weights;
pub use packed::{Packed, Precision};

/// Multiplies `rows` rows of `a` by the packed weights into `c`, which gets rows of `packed.outputs()` numbers.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if `a`, `c` or the residual have another size than the layer says, or if the
/// weights were packed for another instruction set than that of `cpu`.
pub fn gemm(
    cpu: &Cpu,
    packed: &Packed,
    a: &[f32],
    rows: usize,
    c: &mut [f32],
    epilogue: Epilogue<'_>,
) -> Result<()> {
    check_isa(cpu, packed)?;
    check_size("`a`", a.len(), rows, packed.inputs())?;
    check_results(packed, rows, c, &epilogue)?;
    GemmCall::new(cpu, packed, a, rows, c, epilogue).run_all(cpu);
    Ok(())
}

/// `second` applied to `activation(first(a))`: the two layers of a feed-forward network. Has the bits of two calls of
/// [`gemm`]; what lies between the layers takes half the memory where the second multiplies pairs of bf16.
///
/// # Errors
/// As [`gemm`], for either layer; [`Shape`](crate::KernelError::Shape) if `second` takes another number of inputs than
/// `first` gives.
pub fn gemm_through(
    cpu: &Cpu,
    [first, second]: [&Packed; 2],
    a: &[f32],
    rows: usize,
    activation: Activation,
    c: &mut [f32],
    epilogue: Epilogue<'_>,
) -> Result<()> {
    let width = first.outputs();
    if second.inputs() != width {
        let inputs = second.inputs();
        return Err(KernelError::shape(format!("a layer of {inputs} inputs after one of {width} outputs")));
    }
    let numbers = rows.checked_mul(width).ok_or_else(|| KernelError::shape("too many rows"))?;
    let between = Epilogue::activation(activation);
    // Whole words, so that rows begin with one.
    if second.layout.group == 2 && second.precision() == Precision::Bf16 && width.is_multiple_of(2) {
        check_isa(cpu, first)?;
        check_isa(cpu, second)?;
        check_size("`a`", a.len(), rows, first.inputs())?;
        check_results(second, rows, c, &epilogue)?;
        let mut hidden = Scratch::<u32>::take(numbers / 2);
        let to = Results::Bf16(SharedStart(hidden.as_mut_ptr().cast()));
        GemmCall::of(cpu, first, Rows::F32(a), rows, to, between).run_all(cpu);
        let to = Results::F32(SharedStart(c.as_mut_ptr()));
        GemmCall::of(cpu, second, Rows::Bf16(&hidden), rows, to, epilogue).run_all(cpu);
        return Ok(());
    }
    let mut hidden = Scratch::<f32>::take(numbers);
    gemm(cpu, first, a, rows, &mut hidden, between)?;
    gemm(cpu, second, &hidden, rows, c, epilogue)
}

/// The same without an epilogue, for weights in int8 whose activations shall not be rounded to bytes: what the rounding
/// leaves is multiplied too, which takes twice as long.
///
/// # Errors
/// As [`gemm`]; [`Shape`](crate::KernelError::Shape) for gated weights.
pub fn gemm_in_two_steps(cpu: &Cpu, packed: &Packed, a: &[f32], rows: usize, c: &mut [f32]) -> Result<()> {
    if packed.is_gated() {
        return Err(KernelError::shape("gated weights cannot be multiplied in two steps"));
    }
    gemm(cpu, packed, a, rows, c, Epilogue::default())?;
    let (inputs, mut rest, mut bias) =
        (packed.inputs().max(1), vec![0.0; a.len()], vec![0.0; packed.outputs()]);
    for (row, to) in a.chunks_exact(inputs).zip(rest.chunks_exact_mut(inputs)) {
        int8::rounding_error(row, to);
    }
    // Both products add the bias; the product of nothing is the bias.
    gemm(cpu, packed, &rest, rows, c, Epilogue { residual: Residual::InPlace, ..Epilogue::default() })?;
    gemm(
        cpu,
        packed,
        &vec![0.0; packed.inputs()],
        1,
        &mut bias,
        Epilogue { scale: -1.0, ..Epilogue::default() },
    )?;
    super::elementwise::add_row(cpu, c, &bias)
}

/// Checks that the weights are for this CPU.
fn check_isa(cpu: &Cpu, packed: &Packed) -> Result<()> {
    if cpu.isa == packed.isa() {
        return Ok(());
    }
    let (theirs, ours) = (packed.isa(), cpu.isa);
    Err(KernelError::shape(format!("expected weights packed for {ours}, found {theirs}")))
}

/// Checks the size of a result and of the residual.
fn check_results(packed: &Packed, rows: usize, c: &[f32], epilogue: &Epilogue<'_>) -> Result<()> {
    check_size("`c`", c.len(), rows, packed.outputs())?;
    match epilogue.residual {
        Residual::From(residual) => check_size("the residual", residual.len(), rows, packed.outputs()),
        Residual::None | Residual::InPlace => Ok(()),
    }
}

fn check_size(name: &str, found: usize, rows: usize, width: usize) -> Result<()> {
    if rows.checked_mul(width) == Some(found) {
        return Ok(());
    }
    Err(KernelError::shape(format!("{name}: expected {rows} rows of {width} numbers, found {found} numbers")))
}

/// The most rows whose sums fit the registers, beside two registers of weights and one of activations.
pub(super) const fn max_rows(lanes: usize) -> usize {
    match lanes {
        16 => 14,
        4 => 12,
        _ => 6,
    }
}

/// How many panels are multiplied at once by so few rows, for enough independent sums.
const fn panels_at_once(lanes: usize, rows: usize) -> usize {
    match (lanes, rows) {
        (4 | 16, 1..=3) | (_, 1) => 4,
        (4 | 16, 4..=6) | (_, 2..=3) => 2,
        _ => 1,
    }
}

/// Whether a tile of this size is used, by [`max_rows`] and [`panels_at_once`].
const fn is_used(lanes: usize, rows: usize, panels: usize) -> bool {
    rows <= max_rows(lanes) && (panels == 1 || panels == panels_at_once(lanes, rows))
}

/// The rows that are multiplied.
#[derive(Clone, Copy)]
enum Rows<'a> {
    F32(&'a [f32]),
    /// Rounded to bf16; every two numbers are a word.
    Bf16(&'a [u32]),
}

impl<'a> Rows<'a> {
    fn start(self) -> *const u8 {
        match self {
            Self::F32(numbers) => numbers.as_ptr().cast(),
            Self::Bf16(words) => words.as_ptr().cast(),
        }
    }

    /// Some of the rows, which have `inputs` numbers each.
    fn of(self, rows: Range<usize>, inputs: usize) -> Self {
        match self {
            Self::F32(numbers) => Self::F32(&numbers[rows.start * inputs..rows.end * inputs]),
            Self::Bf16(words) => Self::Bf16(&words[rows.start * inputs / 2..rows.end * inputs / 2]),
        }
    }
}

/// Where results go.
#[derive(Clone, Copy)]
enum Results<F, B> {
    F32(F),
    Bf16(B),
}

/// One multiplication, shared by all threads.
struct GemmCall<'a> {
    packed: &'a Packed,
    a: Rows<'a>,
    rows: usize,
    c: Results<SharedStart<f32>, SharedStart<half::bf16>>,
    /// Null for none. A part reads it only where it writes.
    residual: SharedStart<f32>,
    epilogue: Epilogue<'a>,
    plan: Plan,
}

impl<'a> GemmCall<'a> {
    fn new(
        cpu: &Cpu,
        packed: &'a Packed,
        a: &'a [f32],
        rows: usize,
        c: &'a mut [f32],
        epilogue: Epilogue<'a>,
    ) -> Self {
        Self::of(cpu, packed, Rows::F32(a), rows, Results::F32(SharedStart(c.as_mut_ptr())), epilogue)
    }

    fn of(
        cpu: &Cpu,
        packed: &'a Packed,
        a: Rows<'a>,
        rows: usize,
        c: Results<SharedStart<f32>, SharedStart<half::bf16>>,
        epilogue: Epilogue<'a>,
    ) -> Self {
        let residual = match (epilogue.residual, &c) {
            (Residual::InPlace, Results::F32(c)) => c.get(),
            (Residual::From(residual), _) => residual.as_ptr().cast_mut(),
            _ => std::ptr::null_mut(),
        };
        Self {
            packed,
            a,
            rows,
            c,
            residual: SharedStart(residual),
            epilogue,
            plan: Plan::new(cpu, packed, rows),
        }
    }

    /// The first channel of a panel in a row of the result, and in the residual if there is one.
    fn place(&self, row: usize, panel: usize) -> (Results<*mut f32, *mut half::bf16>, *const f32) {
        let place = row * self.packed.outputs() + panel * self.packed.panel_outputs();
        let residual = self.residual.get();
        let residual = if residual.is_null() { residual } else { residual.wrapping_add(place) };
        let to = match &self.c {
            Results::F32(c) => Results::F32(c.get().wrapping_add(place)),
            Results::Bf16(c) => Results::Bf16(c.get().wrapping_add(place)),
        };
        (to, residual)
    }

    /// Multiplies with the instruction set of the weights.
    fn run_all(&self, cpu: &Cpu) {
        if self.rows * self.packed.outputs() == 0 {
            return;
        }
        #[cfg(any(test, target_arch = "x86_64"))]
        if self.packed.layout.in_tiles {
            return tiled::multiply(self, cpu);
        }
        match self.packed.precision() {
            Precision::F32 => with_simd!(self.packed.isa(), s => self.run::<_, f32::F32>(s, cpu)),
            // bf16x3 is in tiles wherever it is.
            Precision::Bf16 | Precision::Bf16x3 => {
                with_simd!(bf16 self.packed.isa(), s => self.run::<_, bf16::Bf16>(s, cpu));
            }
            Precision::Int8 => with_simd!(bytes self.packed.isa(), s => self.run::<_, int8::Int8>(s, cpu)),
        }
    }

    fn run<S: Simd, E: Element<S>>(&self, s: S, cpu: &Cpu) {
        let plan = self.plan;
        if !plan.packs_first {
            cpu.pool.parallel(plan.parts(), |number| self.part::<S, E>(s, number, None));
            return;
        }
        let mut memory = RowMemory::take(self.rows, self.packed.words());
        let shared = memory.start();
        let blocks = self.rows.div_ceil(plan.row_groups).div_ceil(max_rows(S::LANES));
        cpu.pool.parallel(plan.row_groups * blocks, |number| {
            let rows = share(self.rows, number / blocks, plan.row_groups);
            let start = shared.of_row(rows.start, self.packed.words());
            GemmPart::new::<S>(self, rows, 0..0, &start).pack::<S, E>(s, number % blocks);
        });
        cpu.pool.parallel(plan.parts(), |number| self.part::<S, E>(s, number, Some(&shared)));
    }

    /// Multiplies a group of rows by a group of panels. The rows are packed already if their memory is given.
    fn part<S: Simd, E: Element<S>>(&self, s: S, number: usize, packed_rows: Option<&RowStart>) {
        let rows = share(self.rows, number / self.plan.panel_groups, self.plan.row_groups);
        let panels = share(self.packed.panels(), number % self.plan.panel_groups, self.plan.panel_groups);
        if rows.is_empty() || panels.is_empty() {
            return;
        }
        match packed_rows {
            Some(shared) => {
                let start = shared.of_row(rows.start, self.packed.words());
                GemmPart::new::<S>(self, rows, panels, &start).multiply::<S, E>(s, true);
            }
            None => {
                let mut memory = RowMemory::take(rows.len(), self.packed.words());
                let start = memory.start();
                GemmPart::new::<S>(self, rows, panels, &start).multiply::<S, E>(s, false);
            }
        }
    }
}
