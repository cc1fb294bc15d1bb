//! Attention over long sequences, and of one token over a cache.

use ayni_kernels::KernelError;
use ayni_kernels::attention::{Batch, Cache, Heads, Numbers, Options, Starts, Strided, attention, decode};
use ayni_kernels::peak::Instruction;
use candle_core::Tensor;
use half::f16;

use super::measure::{Bench, Case, Limit, Work, bytes_of};
use super::theirs::{numbers, of_candle, tensor};
use crate::report::Target;

pub(super) fn run(bench: &mut Bench) -> Result<(), KernelError> {
    if bench.wants("attention") {
        for size in [40, 64, 128] {
            long(bench, 4096, size)?;
        }
    }
    if bench.wants("attention_decode") {
        cached(bench)?;
    }
    Ok(())
}

/// Eight heads over so many tokens, as in the largest layer of Stable Diffusion.
fn long(bench: &mut Bench, tokens: usize, size: usize) -> Result<(), KernelError> {
    const HEADS: usize = 8;
    let cpu = bench.cpu.clone();
    let width = HEADS * size;
    let [q, k, v] = [(); 3].map(|()| numbers(tokens * width));
    let mut to = vec![0.0; tokens * width];
    #[allow(clippy::cast_precision_loss, reason = "a small number")]
    let scale = 1.0 / (size as f32).sqrt();
    let ours: Work<'_> = Box::new(|| {
        let at = |data| Strided { data, token: width, head: size };
        let numbers = |data| Strided { data: Numbers::F32(data), token: width, head: size };
        let heads = Heads { queries: HEADS, keys: HEADS, size };
        let starts = Starts { queries: &[0, tokens], keys: &[0, tokens] };
        let options = Options { scale, ..Options::default() };
        let batch = Batch { queries: at(q.as_slice()), keys: numbers(&k), values: numbers(&v), starts };
        attention(&cpu, heads, batch, options, &mut to)
    });
    let [q, k, v] =
        [tensor((HEADS, tokens, size))?, tensor((HEADS, tokens, size))?, tensor((HEADS, tokens, size))?];
    let k = k.t().map_err(of_candle)?;
    let candle: Work<'_> = Box::new(move || {
        std::hint::black_box(materialised(&q, &k, &v, scale).map_err(of_candle)?);
        Ok(())
    });
    #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    let work = (4 * tokens * tokens * width) as f64;
    bench.case(Case {
        group: "attention",
        name: format!("s{tokens}_h{HEADS}_d{size}"),
        work,
        limit: Limit::Multiply(Instruction::MultiplyAdd),
        target: Target::AtLeast(0.55),
        ours,
        theirs: vec![("candle", Target::AtLeast(3.0), candle)],
    })
}

/// As candle's models do it: all scores in memory.
fn materialised(q: &Tensor, k: &Tensor, v: &Tensor, scale: f32) -> candle_core::Result<Tensor> {
    let scores = (q.matmul(k)? * f64::from(scale))?;
    candle_nn::ops::softmax_last_dim(&scores)?.matmul(v)
}

/// One token for each of several texts, over caches that no CPU's cache holds.
fn cached(bench: &mut Bench) -> Result<(), KernelError> {
    const TEXTS: usize = 8;
    const LENGTH: usize = 4096;
    let cpu = bench.cpu.clone();
    let heads = Heads { queries: 32, keys: 8, size: 128 };
    let width = heads.keys * heads.size;
    let store: Vec<f16> = numbers(2 * TEXTS * LENGTH * width).into_iter().map(f16::from_f32).collect();
    let queries = numbers(TEXTS * heads.queries * heads.size);
    let mut to = vec![0.0; queries.len()];
    let at = |half: usize| Strided {
        data: Numbers::F16(&store[half * LENGTH * width..(half + 1) * LENGTH * width]),
        token: width,
        head: heads.size,
    };
    let caches: Vec<Cache<'_>> = (0..TEXTS)
        .map(|text| Cache { keys: at(2 * text), values: at(2 * text + 1), length: LENGTH, before: None })
        .collect();
    let ours: Work<'_> = Box::new(|| {
        let queries =
            Strided { data: queries.as_slice(), token: heads.queries * heads.size, head: heads.size };
        decode(&cpu, heads, queries, &caches, Options { scale: 0.09, ..Options::default() }, &mut to)
    });
    bench.case(Case {
        group: "attention_decode",
        name: format!("t{TEXTS}_s{LENGTH}_h{}of{}_d{}_f16", heads.keys, heads.queries, heads.size),
        work: bytes_of(&store),
        limit: Limit::Memory,
        target: Target::None,
        ours,
        theirs: Vec::new(),
    })
}
