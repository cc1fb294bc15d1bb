//! Gated activations (SwiGLU, GEGLU) where a layer does not fuse them: `activation(gate) · up`.

use super::dispatch::dispatch;
use super::math::{Activation, activate};
use super::pool::SharedStart;
use super::rows::whole_rows;
use super::simd::Simd;
use super::{Cpu, Isa};
use crate::error::{KernelError, Result};

/// Elements per task.
const CHUNK: usize = 1 << 14;

/// Which half of a row is the gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Gate {
    /// The first: Phi's `gate_up`.
    First,
    /// The second: the GEGLU of diffusers.
    Second,
}

/// `gate[i] = activation(gate[i]) · up[i]`.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if the slices differ in length.
pub fn gate_assign(cpu: &Cpu, gate: &mut [f32], up: &[f32], activation: Activation) -> Result<()> {
    if gate.len() != up.len() {
        let (gate, up) = (gate.len(), up.len());
        return Err(KernelError::shape(format!("expected {gate} numbers for as many gates, found {up}")));
    }
    cpu.pool.parallel_chunks(gate, CHUNK, |number, gate| {
        let up = up[number * CHUNK..][..gate.len()].as_ptr();
        gate_slice(cpu.isa, gate.as_ptr(), up, gate, activation);
    });
    Ok(())
}

/// From rows of `2 · width` numbers, of which one half gates the other, to rows of `width`.
///
/// # Errors
/// [`Shape`](crate::KernelError::Shape) if `to` is not whole rows of `width`, or `from` not twice as long.
pub fn gate_halves(
    cpu: &Cpu,
    from: &[f32],
    to: &mut [f32],
    width: usize,
    gate: Gate,
    activation: Activation,
) -> Result<()> {
    if from.len() != 2 * to.len() {
        let (from, to) = (from.len(), to.len());
        return Err(KernelError::shape(format!("expected twice {to} numbers, found {from}")));
    }
    if to.is_empty() {
        return Ok(());
    }
    let rows = whole_rows(to.len(), width)?;
    let at_once = (CHUNK / width).max(1);
    let start = SharedStart(to.as_mut_ptr());
    let row = |isa: Isa, number: usize| {
        let from = &from[2 * number * width..][..2 * width];
        let (first, second) = from.split_at(width);
        let (gates, ups) = if gate == Gate::First { (first, second) } else { (second, first) };
        // SAFETY: within the result, and each row is written once.
        let to = unsafe { std::slice::from_raw_parts_mut(start.get().add(number * width), width) };
        gate_slice(isa, gates.as_ptr(), ups.as_ptr(), to, activation);
    };
    cpu.pool.parallel(rows.div_ceil(at_once), |part| {
        (part * at_once..rows.min((part + 1) * at_once)).for_each(|number| row(cpu.isa, number));
    });
    Ok(())
}

dispatch! {
    fn gate_slice(gate: *const f32, up: *const f32, to: &mut [f32], activation: Activation) = gate_with;
}

/// As many numbers are readable at `gate` (which may be `to`) and `up` as `to` has room for.
#[inline(always)]
fn gate_with<S: Simd>(s: S, gate: *const f32, up: *const f32, to: &mut [f32], activation: Activation) {
    let (length, to) = (to.len(), to.as_mut_ptr());
    let mut at = 0;
    while at < length {
        let rest = length - at;
        // SAFETY: no more lanes are touched than there are left.
        unsafe {
            if rest >= S::LANES {
                let gate = activate(s, activation, s.load_ptr(gate.add(at)));
                s.store_ptr(to.add(at), s.mul(gate, s.load_ptr(up.add(at))));
            } else {
                let gate = activate(s, activation, s.load_first_ptr(gate.add(at), rest));
                s.store_first_ptr(to.add(at), s.mul(gate, s.load_first_ptr(up.add(at), rest)), rest);
            }
        }
        at += S::LANES;
    }
}

#[cfg(test)]
#[path = "gated_tests.rs"]
mod tests;
