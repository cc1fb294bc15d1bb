//! Sequences shared out among threads: each takes its own through all layers, and waits for no other in between.

use std::ops::Range;

use ayni_kernels::{Cpu, Pool};

use super::Tensor;
use crate::error::Result;

/// Tokens that a thread must have for this to pay: with fewer, every thread would read all weights for little work.
const MIN_TOKENS: usize = 64;

/// `forward` of some sequences' rows, and which sequences they are, for all of them, one after another. `starts` says
/// where each begins and the last ends.
///
/// The sequences are split among the CPU's threads where that gives all of them as much to do; then `forward` computes
/// on one thread, else on all. Layers give a row the same bits either way.
///
/// # Errors
/// Those of `forward`.
pub fn by_sequences(
    x: Tensor,
    starts: &[usize],
    forward: impl Fn(Tensor, Range<usize>) -> Result<Tensor> + Sync,
) -> Result<Tensor> {
    let device = x.device().clone();
    let groups = if device.is_cpu() { groups(starts, device.cpu.pool.threads()) } else { Vec::new() };
    if groups.len() < 2 {
        return forward(x, 0..starts.len().saturating_sub(1));
    }
    let alone = Cpu { isa: device.cpu.isa, pool: Pool::alone() };
    let mut results: Vec<Result<Option<Tensor>>> = groups.iter().map(|_| Ok(None)).collect();
    device.cpu.pool.parallel_chunks(&mut results, 1, |number, result| {
        let sequences = groups[number].clone();
        let rows = starts[sequences.start]..starts[sequences.end];
        let part = x.narrow(0, rows.start, rows.len()).map(|part| part.on(&alone));
        result[0] = part.and_then(|part| forward(part, sequences)).map(Some);
    });
    let parts: Vec<Tensor> = results.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?;
    Ok(Tensor::stacked(&parts)?.on(&device.cpu))
}

/// The sequences of each thread; none if some would have much less to do than others.
fn groups(starts: &[usize], threads: usize) -> Vec<Range<usize>> {
    let tokens = starts.last().copied().unwrap_or_default();
    if threads < 2 || tokens / threads < MIN_TOKENS {
        return Vec::new();
    }
    // The sequence that begins nearest to each thread's share.
    let nearest = |share: usize| {
        let above = starts.partition_point(|start| *start < share);
        let below = above.saturating_sub(1);
        if starts[above] - share > share - starts[below] { below } else { above }
    };
    let ends: Vec<usize> = (0..=threads).map(|thread| nearest(tokens * thread / threads)).collect();
    let groups = ends.windows(2).map(|ends| ends[0]..ends[1]);
    let groups: Vec<Range<usize>> = groups.filter(|group| !group.is_empty()).collect();
    let most = groups.iter().map(|group| starts[group.end] - starts[group.start]).max().unwrap_or_default();
    // An eighth more than its share is what one thread may take longer than all of them would together.
    if most * threads * 8 <= tokens * 9 { groups } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::ops::{Device, Precision};
    use ayni_kernels::Isa;

    fn starts(lengths: &[usize]) -> Vec<usize> {
        std::iter::once(0)
            .chain(lengths.iter().scan(0, |end, length| {
                *end += length;
                Some(*end)
            }))
            .collect()
    }

    #[test]
    fn threads_share_sequences_where_all_have_as_much_to_do() {
        for (lengths, threads, wanted) in [
            (&[64, 64, 64, 64][..], 2, &[0..2, 2..4][..]),
            (&[256, 256], 2, &[0..1, 1..2]),
            (&[30, 70, 90, 100, 96], 2, &[0..3, 3..5]),
            (&[64; 6], 3, &[0..2, 2..4, 4..6]),
            (&[72; 15], 16, &std::array::from_fn::<_, 15, _>(|i| i..i + 1)),
            // One takes much longer; too little for each; one sequence; one thread.
            (&[100, 300], 2, &[]),
            (&[60, 60], 2, &[]),
            (&[512], 2, &[]),
            (&[64, 64, 64, 64], 1, &[]),
            (&[], 2, &[]),
        ] {
            assert_eq!(groups(&starts(lengths), threads), wanted, "{lengths:?} {threads}");
        }
    }

    #[test]
    fn results_are_those_of_all_sequences_in_order() {
        let device = Device::on_cpu(Cpu::new(Isa::PORTABLE, 2), Precision::F32);
        let lengths = [70, 80, 75, 71];
        let rows: usize = lengths.iter().sum();
        let values: Vec<f32> = (0..rows).map(|row| row as f32).collect();
        let x = Tensor::from_vec(&device, values.clone(), [rows, 1]).unwrap();
        let whole = by_sequences(x.clone(), &starts(&lengths), |x, sequences| {
            assert_eq!((x.device().cpu.pool.threads(), sequences.len()), (1, 2));
            Ok(x)
        });
        let whole = whole.unwrap();
        assert_eq!(whole.values().unwrap(), values);
        assert_eq!(whole.device().cpu.pool.threads(), 2);
        let failed = by_sequences(x, &starts(&lengths), |x, sequences| match sequences.start {
            0 => Ok(x),
            _ => x.narrow(0, 1000, 1),
        });
        assert!(failed.unwrap_err().message().contains("1000"));
    }
}
