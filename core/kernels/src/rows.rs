//! Kernels over rows: their source, and how rows are shared among threads.

use super::pool::SharedStart;
use super::{Cpu, Isa};
use crate::error::{KernelError, Result};

/// Elements per task: enough that taking one costs nothing, few enough to share evenly.
const CHUNK: usize = 1 << 14;

/// Where a kernel reads the rows that it writes.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// The destination itself.
    InPlace,
    /// A slice as long as the destination.
    From(&'a [f32]),
}

/// The rows of one task.
#[derive(Clone, Copy)]
pub(crate) struct Rows {
    /// The source; may be the same as `to`.
    pub(crate) from: *const f32,
    /// The destination.
    pub(crate) to: *mut f32,
    /// How many there are.
    pub(crate) count: usize,
    /// How long each is.
    pub(crate) width: usize,
}

impl Rows {
    /// Source and destination of a row. Pointers past the last row must not be used.
    #[inline(always)]
    pub(crate) fn row(self, number: usize) -> (*const f32, *mut f32) {
        (self.from.wrapping_add(number * self.width), self.to.wrapping_add(number * self.width))
    }
}

/// Calls `work` with all rows of `width` elements, some at a time, on all threads. No two calls get the same row.
pub(crate) fn in_rows(
    cpu: &Cpu,
    to: &mut [f32],
    source: Source<'_>,
    width: usize,
    work: impl Fn(Isa, Rows) + Sync,
) -> Result<()> {
    if to.is_empty() {
        return Ok(());
    }
    let rows = whole_rows(to.len(), width)?;
    let from = match source {
        Source::InPlace => to.as_mut_ptr(),
        Source::From(from) if from.len() == to.len() => from.as_ptr().cast_mut(),
        Source::From(from) => {
            let (from, to) = (from.len(), to.len());
            return Err(KernelError::shape(format!("expected {to} numbers, found {from}")));
        }
    };
    let (from, to) = (SharedStart(from), SharedStart(to.as_mut_ptr()));
    let at_once = (CHUNK / width).max(1);
    cpu.pool.parallel(rows.div_ceil(at_once), |part| {
        let first = part * at_once;
        let all = Rows { from: from.get(), to: to.get(), count: rows, width };
        let (from, to) = all.row(first);
        work(cpu.isa, Rows { from, to, count: at_once.min(rows - first), width });
    });
    Ok(())
}

/// How many rows of `width` elements there are.
pub(crate) fn whole_rows(length: usize, width: usize) -> Result<usize> {
    if width > 0 && length.is_multiple_of(width) {
        return Ok(length / width);
    }
    Err(KernelError::shape(format!("expected whole rows of {width} numbers, found {length}")))
}

/// Checks the length of a slice with one number per column.
pub(crate) fn of_width(name: &str, found: usize, width: usize) -> Result<()> {
    if found == width {
        return Ok(());
    }
    Err(KernelError::shape(format!("{name}: expected {width} numbers, found {found}")))
}
