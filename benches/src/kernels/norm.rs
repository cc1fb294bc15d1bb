//! Norms, softmax, rotary embeddings and activations on rows that the caches hold.

use ayni_kernels::KernelError;
use ayni_kernels::elementwise::activate;
use ayni_kernels::group_norm::group_norm;
use ayni_kernels::math::Activation;
use ayni_kernels::norm::{Scaling, layer_norm, rms_norm};
use ayni_kernels::rotary::{Layout, Table, TokenHeads, rotate};
use ayni_kernels::softmax::softmax;
use ayni_kernels::{Cpu, Source};
use candle_core::Tensor;

use super::measure::{Bench, Case, Limit, Work};
use super::theirs::{numbers, of_candle, tensor};
use crate::report::Target;

const ROWS: usize = 256;
const WIDTH: usize = 768;

pub(super) fn run(bench: &mut Bench) -> Result<(), KernelError> {
    let cpu = &bench.cpu.clone();
    let (x, weight, bias) = (numbers(ROWS * WIDTH), numbers(WIDTH), numbers(WIDTH));
    let scaling = Scaling { weight: &weight, bias: Some(&bias), epsilon: 1e-5 };
    let rows = tensor((ROWS, WIDTH))?;
    let [gain, shift] = [tensor(WIDTH)?, tensor(WIDTH)?];

    let mut to = vec![0.0; x.len()];
    let ours: Work<'_> = Box::new(|| layer_norm(cpu, &mut to, Source::From(&x), scaling));
    case(bench, "layer_norm", ours, || candle_nn::ops::layer_norm(&rows, &gain, &shift, 1e-5))?;

    let mut to = vec![0.0; x.len()];
    let scaling = Scaling { bias: None, ..scaling };
    let ours: Work<'_> = Box::new(|| rms_norm(cpu, &mut to, Source::From(&x), scaling));
    case(bench, "rms_norm", ours, || candle_nn::ops::rms_norm(&rows, &gain, 1e-5))?;

    let mut to = vec![0.0; x.len()];
    let ours: Work<'_> = Box::new(|| softmax(cpu, &mut to, Source::From(&x), WIDTH, 1.0));
    case(bench, "softmax", ours, || candle_nn::ops::softmax_last_dim(&rows))?;

    rotary(bench, cpu)?;
    groups(bench, cpu)?;
    activations(bench, cpu)
}

/// Bytes read and written by a pass over all rows.
fn case<'a>(
    bench: &mut Bench,
    group: &'static str,
    ours: Work<'a>,
    theirs: impl Fn() -> candle_core::Result<Tensor> + 'a,
) -> Result<(), KernelError> {
    let name = format!("{ROWS}x{WIDTH}");
    sized_case(bench, group, name, Target::AtLeast(0.7), ROWS * WIDTH, ours, theirs)
}

fn sized_case<'a>(
    bench: &mut Bench,
    group: &'static str,
    name: String,
    target: Target,
    length: usize,
    ours: Work<'a>,
    theirs: impl Fn() -> candle_core::Result<Tensor> + 'a,
) -> Result<(), KernelError> {
    #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    let work = (2 * length * size_of::<f32>()) as f64;
    let candle: Work<'a> = Box::new(move || {
        std::hint::black_box(theirs().map_err(of_candle)?);
        Ok(())
    });
    let theirs = vec![("candle", Target::None, candle)];
    bench.case(Case { group, name, work, limit: Limit::Memory, target, ours, theirs })
}

fn rotary(bench: &mut Bench, cpu: &Cpu) -> Result<(), KernelError> {
    const SIZE: usize = 64;
    let heads = TokenHeads { count: WIDTH / SIZE, size: SIZE, stride: WIDTH };
    let table = Table::new(Layout::Halves, &Table::frequencies(SIZE, 10_000.0), ROWS, 1.0);
    let positions: Vec<u32> = (0..).take(ROWS).collect();
    let mut x = numbers(ROWS * WIDTH);
    let ours: Work<'_> = Box::new(|| rotate(cpu, &mut x, heads, &table, &positions));
    let [q, cosines, sines] =
        [tensor((1, heads.count, ROWS, SIZE))?, tensor((ROWS, SIZE / 2))?, tensor((ROWS, SIZE / 2))?];
    case(bench, "rotary", ours, || candle_nn::rotary_emb::rope(&q, &cosines, &sines))
}

fn groups(bench: &mut Bench, cpu: &Cpu) -> Result<(), KernelError> {
    const SIDE: usize = 32;
    const CHANNELS: usize = 320;
    let (weight, bias) = (numbers(CHANNELS), numbers(CHANNELS));
    let scaling = Scaling { weight: &weight, bias: Some(&bias), epsilon: 1e-5 };
    let x = numbers(SIDE * SIDE * CHANNELS);
    let mut to = vec![0.0; x.len()];
    let ours: Work<'_> =
        Box::new(|| group_norm(cpu, &mut to, Source::From(&x), 1, 32, scaling, Activation::Silu));
    let image = tensor((1, CHANNELS, SIDE, SIDE))?;
    let norm = candle_nn::GroupNorm::new(tensor(CHANNELS)?, tensor(CHANNELS)?, CHANNELS, 32, 1e-5);
    let norm = norm.map_err(of_candle)?;
    let name = format!("{SIDE}x{SIDE}x{CHANNELS}_silu");
    let candle = || candle_nn::Module::forward(&norm, &image)?.silu();
    sized_case(bench, "group_norm", name, Target::AtLeast(0.7), x.len(), ours, candle)
}

fn activations(bench: &mut Bench, cpu: &Cpu) -> Result<(), KernelError> {
    let theirs = tensor((ROWS, WIDTH))?;
    for (name, activation) in
        [("gelu", Activation::Gelu), ("gelu_tanh", Activation::GeluTanh), ("silu", Activation::Silu)]
    {
        let mut x = numbers(ROWS * WIDTH);
        let ours: Work<'_> = Box::new(|| {
            activate(cpu, &mut x, activation);
            Ok(())
        });
        let candle = || match activation {
            Activation::Gelu => theirs.gelu_erf(),
            Activation::GeluTanh => theirs.gelu(),
            _ => theirs.silu(),
        };
        let size = format!("{name}_{ROWS}x{WIDTH}");
        sized_case(bench, "activation", size, Target::None, ROWS * WIDTH, ours, candle)?;
    }
    Ok(())
}
