//! The linear layer: packed weights against the crate `gemm` and candle, which multiply the weights as a file
//! holds them.

use ayni_kernels::KernelError;
use ayni_kernels::gemm::{Epilogue, Packed, Precision, Weights, gemm};
use ayni_kernels::peak::Instruction;
use ayni_kernels::{Cpu, Isa};

use super::measure::{Bench, Case, Limit, Work};
use super::theirs::{gemm_f32, numbers, of_candle, tensor};
use crate::report::Target;

/// The widths of the models that matter.
const WIDTHS: [usize; 7] = [384, 512, 768, 1280, 1536, 3072, 5120];

pub(super) fn run(bench: &mut Bench) -> Result<(), KernelError> {
    let best = bench.cpu.clone();
    for (group, precision, instruction, target) in [
        ("gemm_f32", Precision::F32, Instruction::MultiplyAdd, 0.90),
        ("gemm_bf16", Precision::Bf16, Instruction::Bf16Dot, 0.85),
        ("gemm_int8", Precision::Int8, Instruction::ByteDot, 0.70),
        // Three products for one.
        ("gemm_bf16x3", Precision::Bf16x3, Instruction::Bf16Dot, 0.45 / 3.0),
    ] {
        let is_here = Precision::of(best.isa).contains(&precision);
        if is_here && (precision != Precision::Bf16 || best.isa.has_bf16_dot()) {
            let kind = Kind { group, precision, instruction, target };
            sizes(bench, &best, kind, &[64, 512])?;
        }
    }
    if let Some(isa) = Isa::available().into_iter().find(|isa| isa.name() == "avx2") {
        let cpu = Cpu { isa, pool: best.pool };
        let kind = Kind {
            group: "gemm_f32_avx2",
            precision: Precision::F32,
            instruction: Instruction::MultiplyAdd,
            target: 0.85,
        };
        sizes(bench, &cpu, kind, &[64])?;
    }
    Ok(())
}

#[derive(Clone, Copy)]
struct Kind {
    group: &'static str,
    precision: Precision,
    instruction: Instruction,
    target: f64,
}

/// Every width to every width. In a quick run, only f32 is held against others, and only in some sizes.
fn sizes(bench: &mut Bench, cpu: &Cpu, kind: Kind, rows: &[usize]) -> Result<(), KernelError> {
    if !bench.wants(kind.group) {
        return Ok(());
    }
    for m in rows.iter().copied() {
        for k in WIDTHS {
            let weights = numbers(k * WIDTHS[WIDTHS.len() - 1]);
            for n in WIDTHS {
                // The largest sizes tell nothing that the others do not, and take the longest.
                if bench.quick && m > 64 && k * n > 4 << 20 {
                    continue;
                }
                let compared = kind.group == "gemm_f32" && (!bench.quick || (k == 768 && n <= 3072));
                size(bench, cpu, kind, &weights[..k * n], [m, n, k], compared)?;
            }
        }
    }
    Ok(())
}

fn size(
    bench: &mut Bench,
    cpu: &Cpu,
    kind: Kind,
    weights: &[f32],
    [m, n, k]: [usize; 3],
    compared: bool,
) -> Result<(), KernelError> {
    let packed = Packed::new(cpu, Weights::F32(weights), n, k, kind.precision)?;
    let a = numbers(m * k);
    let (mut c, mut of_gemm) = (vec![0.0; m * n], vec![0.0; m * n]);
    let mut theirs: Vec<(&'static str, Target, Work<'_>)> = Vec::new();
    if compared {
        let threads = cpu.pool.threads();
        let (a, of_gemm) = (&a, &mut of_gemm);
        theirs.push((
            "gemm",
            Target::None,
            Box::new(move || {
                gemm_f32(threads, a, weights, of_gemm, [m, n, k]);
                Ok(())
            }),
        ));
        let (x, w) = (tensor((m, k))?, tensor((n, k))?.t().map_err(of_candle)?);
        theirs.push((
            "candle",
            Target::None,
            Box::new(move || {
                std::hint::black_box(x.matmul(&w).map_err(of_candle)?);
                Ok(())
            }),
        ));
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    let work = (2 * m * n * k) as f64;
    bench.case_on(
        cpu,
        Case {
            group: kind.group,
            name: format!("m{m}_k{k}_n{n}"),
            work,
            limit: Limit::Multiply(kind.instruction),
            target: Target::AtLeast(kind.target),
            ours: Box::new(|| gemm(cpu, &packed, &a, m, &mut c, Epilogue::default())),
            theirs,
        },
    )
}
