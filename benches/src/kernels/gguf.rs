//! Weights of GGUF files: one token, bound by reading them, and a prompt, bound by multiplying them.

use std::borrow::Cow;
use std::sync::Arc;

use ayni_kernels::KernelError;
use ayni_kernels::gguf::{Format, QuantisedWeights};
use ayni_kernels::peak::Instruction;
use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module};

use super::measure::{Bench, Case, Limit, Work};
use super::theirs::{numbers, of_candle, tensor};
use crate::report::Target;

const INPUTS: usize = 4096;
/// With so many rows, no cache holds the weights.
const OUTPUTS_READ: usize = 32_768;
const OUTPUTS_MULTIPLIED: usize = 4096;
const PROMPT: usize = 512;

const FORMATS: [(Format, GgmlDType, &str); 5] = [
    (Format::Q4_0, GgmlDType::Q4_0, "q4_0"),
    (Format::Q4K, GgmlDType::Q4K, "q4_k"),
    (Format::Q5_0, GgmlDType::Q5_0, "q5_0"),
    (Format::Q6K, GgmlDType::Q6K, "q6_k"),
    (Format::Q8_0, GgmlDType::Q8_0, "q8_0"),
];

pub(super) fn run(bench: &mut Bench) -> Result<(), KernelError> {
    for kind in FORMATS {
        let shape = [1, OUTPUTS_READ];
        let target = Target::AtLeast(0.85);
        size(bench, "gguf_decode", kind, shape, Limit::Memory, target)?;
    }
    for kind in FORMATS {
        let target = match kind.0 {
            Format::Q4_0 | Format::Q4K | Format::Q8_0 => Target::AtLeast(0.45),
            _ => Target::None,
        };
        let shape = [PROMPT, OUTPUTS_MULTIPLIED];
        size(bench, "gguf_prefill", kind, shape, Limit::Multiply(Instruction::ByteDot), target)?;
    }
    Ok(())
}

fn size(
    bench: &mut Bench,
    group: &'static str,
    (format, dtype, name): (Format, GgmlDType, &str),
    [rows, outputs]: [usize; 2],
    limit: Limit,
    target: Target,
) -> Result<(), KernelError> {
    if !bench.wants(group) {
        return Ok(());
    }
    let cpu = bench.cpu.clone();
    let bytes = file_bytes(dtype, outputs)?;
    let weights = QuantisedWeights::from_ggml(&cpu, format, &[&bytes], outputs, INPUTS)?;
    let x = numbers(rows * INPUTS);
    let mut y = vec![0.0; rows * outputs];
    let ours: Work<'_> = Box::new(|| weights.matmul(&cpu, &x, rows, &mut y));
    // Where it reads, the work is the file's bytes, whatever ours became.
    #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    let work = match limit {
        Limit::Memory => bytes.len() as f64,
        Limit::Multiply(_) => (2 * rows * outputs * INPUTS) as f64,
    };
    let mut theirs = Vec::new();
    // candle multiplies Q5_0 a number at a time: that takes seconds.
    if !(bench.quick && rows > 1 && format == Format::Q5_0) {
        theirs.push(("candle", Target::None, candle(dtype, &bytes, [rows, outputs])?));
    }
    drop(bytes);
    let name = format!("{name}_m{rows}_k{INPUTS}_n{outputs}");
    bench.case(Case { group, name, work, limit, target, ours, theirs })
}

/// The same weights multiplied by candle.
fn candle(dtype: GgmlDType, bytes: &[u8], [rows, outputs]: [usize; 2]) -> Result<Work<'static>, KernelError> {
    let storage = QStorage::from_data(Cow::Borrowed(bytes), &Device::Cpu, dtype).map_err(of_candle)?;
    let weights = QTensor::new(storage, (outputs, INPUTS)).map_err(of_candle)?;
    let weights = QMatMul::from_arc(Arc::new(weights)).map_err(of_candle)?;
    let input = tensor((rows, INPUTS))?;
    Ok(Box::new(move || {
        std::hint::black_box(weights.forward(&input).map_err(of_candle)?);
        Ok(())
    }))
}

/// Some rows quantised by candle, again and again.
fn file_bytes(dtype: GgmlDType, outputs: usize) -> Result<Vec<u8>, KernelError> {
    const DIFFERENT: usize = 64;
    let tensor = QTensor::quantize(&tensor((DIFFERENT, INPUTS))?, dtype).map_err(of_candle)?;
    Ok(tensor.data().map_err(of_candle)?.repeat(outputs / DIFFERENT))
}
