//! What a call costs beyond its arithmetic: a few rows times a small layer.

use ayni_kernels::KernelError;
use ayni_kernels::gemm::{Epilogue, Packed, Precision, Weights, gemm};
use ayni_kernels::peak::{self, Instruction};

use super::measure::{Bench, Work, in_turns};
use super::theirs::numbers;
use crate::report::Target;

/// Inputs and outputs of the layer.
const WIDTH: usize = 384;

/// The arithmetic of a call is what takes longer: to multiply at the peak, or to read the weights from the cache.
pub(super) fn run(bench: &mut Bench) -> Result<(), KernelError> {
    if !bench.wants("small") {
        return Ok(());
    }
    let cpu = bench.cpu.clone();
    for rows in [1, 4, 8, 16] {
        let weights = numbers(WIDTH * WIDTH);
        let packed = Packed::new(&cpu, Weights::F32(&weights), WIDTH, WIDTH, Precision::F32)?;
        let (a, mut c) = (numbers(rows * WIDTH), vec![0.0; rows * WIDTH]);
        let words = vec![1_u32; WIDTH * WIDTH];
        const ROUNDS: usize = 40_000;
        let operations = peak::multiply(&cpu, Instruction::MultiplyAdd, ROUNDS).unwrap_or(0);
        let multiply: Work<'_> = Box::new(|| {
            peak::multiply(&cpu, Instruction::MultiplyAdd, ROUNDS);
            Ok(())
        });
        // In one thread, so that the reading has no call's cost of its own; all threads read so much faster.
        let alone = ayni_kernels::Cpu::new(cpu.isa, 1);
        let read: Work<'_> = Box::new(|| {
            std::hint::black_box(peak::read(&alone, &words));
            Ok(())
        });
        let ours: Work<'_> = Box::new(|| gemm(&cpu, &packed, &a, rows, &mut c, Epilogue::default()));
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let pieces = vec![(1.0, ours), (operations as f64, multiply), (1.0, read)];
        let speeds = in_turns(bench, pieces)?;
        let &[calls, operations_a_second, reads] = speeds.as_slice() else { continue };
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let (work, threads) = ((2 * rows * WIDTH * WIDTH) as f64, cpu.pool.threads() as f64);
        let arithmetic = (work / operations_a_second).max(1.0 / reads / threads);
        let name = format!("small_m{rows}_k{WIDTH}_n{WIDTH}");
        bench.report.figure(&name, 1e6 / calls, "µs", Target::None);
        let overhead = (1.0 / calls - arithmetic) * 1e6;
        bench.report.figure(&format!("{name}_overhead"), overhead, "µs", Target::AtMost(3.0));
    }
    Ok(())
}
