//! Convolutions of Stable Diffusion 1.5 and its autoencoder.

use ayni_kernels::KernelError;
use ayni_kernels::conv::{Conv, Epilogue, Geometry, Images, Window, conv};
use ayni_kernels::gemm::{Precision, Weights};
use ayni_kernels::peak::Instruction;

use super::measure::{Bench, Case, Limit, Work};
use super::theirs::{numbers, of_candle, tensor};
use crate::report::Target;

/// Channels and side of square images.
const SHAPES: [[usize; 2]; 6] = [[320, 64], [640, 32], [1280, 16], [512, 64], [256, 256], [128, 512]];

pub(super) fn run(bench: &mut Bench) -> Result<(), KernelError> {
    let has_bf16 = bench.cpu.isa.has_bf16_dot();
    for (group, precision, instruction, target) in [
        ("conv3x3_f32", Precision::F32, Instruction::MultiplyAdd, 0.90),
        ("conv3x3_bf16", Precision::Bf16, Instruction::Bf16Dot, 0.85),
    ] {
        if precision == Precision::Bf16 && !has_bf16 || !bench.wants(group) {
            continue;
        }
        for [channels, side] in SHAPES {
            let limit = Limit::Multiply(instruction);
            shape(bench, group, precision, limit, Target::AtLeast(target), [channels, side])?;
        }
    }
    Ok(())
}

fn shape(
    bench: &mut Bench,
    group: &'static str,
    precision: Precision,
    limit: Limit,
    target: Target,
    [channels, side]: [usize; 2],
) -> Result<(), KernelError> {
    let cpu = bench.cpu.clone();
    let window = Window { outputs: channels, inputs: channels, height: 3, width: 3 };
    let weights = numbers(channels * channels * 9);
    let layer = Conv::new(&cpu, Weights::F32(&weights), window, Geometry::padded(1), precision)?;
    drop(weights);
    let x = numbers(side * side * channels);
    let mut to = vec![0.0; x.len()];
    let images = Images { data: &x, count: 1, height: side, width: side };
    let ours: Work<'_> = Box::new(|| conv(&cpu, &layer, images, &mut to, Epilogue::default()));
    let mut theirs: Vec<(&'static str, Target, Work<'_>)> = Vec::new();
    // candle takes seconds for the large ones.
    if precision == Precision::F32 && !(bench.quick && side > 64) {
        let (image, kernel) = (tensor((1, channels, side, side))?, tensor((channels, channels, 3, 3))?);
        let candle: Work<'_> = Box::new(move || {
            std::hint::black_box(image.conv2d(&kernel, 1, 1, 1, 1).map_err(of_candle)?);
            Ok(())
        });
        theirs.push(("candle", Target::None, candle));
    }
    #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    let work = (2 * 9 * channels * channels * side * side) as f64;
    bench.case(Case { group, name: format!("c{channels}_{side}x{side}"), work, limit, target, ours, theirs })
}
