//! On every instruction set against f64; bits against the number of threads and the other sequences.

use half::{bf16, f16};
use proptest::prelude::*;

use super::super::testing::{
    L2_BYTES, assert_close, bits, cpus_and_model as cpus, noise, with_l2_bytes, with_threads,
};
use super::*;

/// A batch whose queries, keys and values lie side by side in one row a token.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) heads: Heads,
    pub(super) lengths: Vec<(usize, usize)>,
    pub(super) span: Span,
    pub(super) queries: Vec<f32>,
    pub(super) keys: Vec<f32>,
    pub(super) mask: Option<Vec<f32>>,
    /// Reach and values of a bias by distance.
    distances: Option<(usize, Vec<f32>)>,
    /// Whether products are of bf16.
    narrow: bool,
    softcap: Option<f32>,
    /// For each head of queries.
    sinks: Option<Vec<f32>>,
}

const SCALE: f32 = 0.3;

fn starts(lengths: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut starts = vec![0];
    lengths.for_each(|length| starts.push(starts[starts.len() - 1] + length));
    starts
}

impl Case {
    fn new(queries: usize, keys: usize, size: usize, lengths: &[(usize, usize)], span: Span) -> Self {
        let heads = Heads { queries, keys, size };
        let tokens: usize = lengths.iter().map(|(queries, _)| queries).sum();
        let known: usize = lengths.iter().map(|(_, keys)| keys).sum();
        Self {
            heads,
            lengths: lengths.to_vec(),
            span,
            queries: noise(tokens * (queries * size + 3), 1),
            // Keys, then values, in one row.
            keys: noise(known * 2 * keys * size, 2),
            mask: None,
            distances: None,
            narrow: false,
            softcap: None,
            sinks: None,
        }
    }

    fn narrow(&self) -> Self {
        Self { narrow: true, ..self.clone() }
    }

    fn both(&self) -> [Self; 2] {
        [self.clone(), self.narrow()]
    }

    fn run_as(&self, cpu: &Cpu, keys: Numbers<'_>, values: Numbers<'_>) -> Vec<f32> {
        let Heads { queries, keys: shared, size } = self.heads;
        let (of_queries, of_keys) =
            (starts(self.lengths.iter().map(|l| l.0)), starts(self.lengths.iter().map(|l| l.1)));
        let mut to = vec![f32::NAN; of_queries[self.lengths.len()] * queries * size];
        let token = 2 * shared * size;
        let attend = if self.narrow { attention_bf16 } else { attention };
        attend(
            cpu,
            self.heads,
            Batch {
                queries: Strided { data: &self.queries, token: queries * size + 3, head: size },
                keys: Strided { data: keys, token, head: size },
                values: Strided { data: values, token, head: size },
                starts: Starts { queries: &of_queries, keys: &of_keys },
            },
            Options {
                scale: SCALE,
                span: self.span,
                mask: self.mask(),
                softcap: self.softcap,
                sinks: self.sinks.as_deref(),
            },
            &mut to,
        )
        .unwrap();
        to
    }

    fn mask(&self) -> Mask<'_> {
        match (&self.mask, &self.distances) {
            (Some(mask), _) => Mask::Add(mask),
            (_, Some((reach, values))) => Mask::Distances(Distances { values, reach: *reach }),
            _ => Mask::None,
        }
    }

    /// What is added to a score of a head.
    fn added(&self, head: usize, key: usize, distance: isize) -> f64 {
        let of_key = self.mask.as_ref().map_or(0.0, |mask| f64::from(mask[key]));
        let of_distance = self.distances.as_ref().map_or(0.0, |(reach, values)| {
            let furthest = *reach as isize;
            let place = (distance.clamp(-furthest, furthest) + furthest) as usize;
            f64::from(values[head * (2 * reach + 1) + place])
        });
        of_key + of_distance
    }

    fn run(&self, cpu: &Cpu) -> Vec<f32> {
        let offset = self.heads.keys * self.heads.size;
        let values = if self.keys.is_empty() { &self.keys[..] } else { &self.keys[offset..] };
        self.run_as(cpu, (&self.keys[..]).into(), values.into())
    }

    fn truth(&self) -> Vec<f64> {
        let Heads { queries, keys: shared, size } = self.heads;
        let (mut result, mut token, mut first) = (Vec::new(), 0, 0);
        for &(count, known) in &self.lengths {
            for query in 0..count {
                let position = query as isize + known as isize - count as isize;
                for head in 0..queries {
                    let q = &self.queries[(token + query) * (queries * size + 3) + head * size..][..size];
                    let place = |key: usize, value: usize| {
                        ((first + key) * 2 + value) * shared * size + head / (queries / shared) * size
                    };
                    let score = |key: usize| {
                        let k = &self.keys[place(key, 0)..][..size];
                        let dot: f64 = q.iter().zip(k).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                        let score = dot * f64::from(SCALE);
                        let score = self
                            .softcap
                            .map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh());
                        score + self.added(head, first + key, key as isize - position)
                    };
                    let seen = |key: &usize| {
                        let distance = *key as isize - position;
                        self.span.before.is_none_or(|before| -distance as i128 <= before as i128)
                            && self.span.after.is_none_or(|after| distance as i128 <= after as i128)
                    };
                    let keys: Vec<usize> =
                        (0..known).filter(seen).filter(|key| score(*key) > f64::NEG_INFINITY).collect();
                    let sink = self.sinks.as_ref().map_or(f64::NEG_INFINITY, |sinks| f64::from(sinks[head]));
                    let most = keys.iter().map(|key| score(*key)).fold(sink, f64::max);
                    let total: f64 = keys.iter().map(|key| (score(*key) - most).exp()).sum();
                    let total = total + if self.sinks.is_some() { (sink - most).exp() } else { 0.0 };
                    for i in 0..size {
                        let sum: f64 = keys
                            .iter()
                            .map(|key| (score(*key) - most).exp() * f64::from(self.keys[place(*key, 1) + i]))
                            .sum();
                        result.push(if keys.is_empty() { 0.0 } else { sum / total });
                    }
                }
            }
            token += count;
            first += known;
        }
        result
    }

    /// Only one of the sequences.
    fn only(&self, number: usize) -> Self {
        let before = &self.lengths[..number];
        let (token, first): (usize, usize) =
            (before.iter().map(|l| l.0).sum(), before.iter().map(|l| l.1).sum());
        let (count, known) = self.lengths[number];
        let (row, wide) = (self.heads.queries * self.heads.size + 3, 2 * self.heads.keys * self.heads.size);
        Self {
            lengths: vec![(count, known)],
            queries: self.queries[token * row..(token + count) * row].to_vec(),
            keys: self.keys[first * wide..(first + known) * wide].to_vec(),
            mask: self.mask.as_ref().map(|mask| mask[first..first + known].to_vec()),
            ..self.clone()
        }
    }
}

fn check(batch: &Case) {
    let truth = batch.truth();
    for cpu in cpus() {
        let what = format!("{cpu:?}, {:?}, {:?}, {:?}", batch.heads, batch.lengths, batch.span);
        let exact = batch.run(&cpu);
        assert_close(&exact, &truth, 3e-6, &what);
        let narrow = batch.narrow().run(&cpu);
        assert_close(&narrow, &truth, 2e-2, &format!("{what}, in bf16"));
        // Sets without such an instruction gain nothing by rounding.
        assert!(cpu.isa.has_bf16_dot() || bits(&narrow) == bits(&exact), "{what}");
    }
}

#[test]
fn heads_of_every_size_attend() {
    let sizes = (1..=48).chain([60, 63, 64, 65, 72, 80, 100, 127, 128, 160, 200, 250, 255, 256, 512]);
    for size in sizes {
        check(&Case::new(2, 2, size, &[(9, 9), (1, 33)], Span::ALL));
    }
}

/// Memory is reused between calls: what an earlier one left must not reach the padding of a head.
#[test]
fn the_padding_of_a_head_is_not_read() {
    for size in [3, 12, 26, 39] {
        let whole = Case::new(2, 2, 40, &[(20, 150)], Span::ALL);
        let poison = Case {
            queries: vec![f32::NAN; whole.queries.len()],
            keys: vec![f32::NAN; whole.keys.len()],
            ..whole.clone()
        };
        for cpu in cpus() {
            poison.run(&cpu);
            poison.narrow().run(&cpu);
            for case in Case::new(2, 1, size, &[(20, 150), (3, 3)], Span::CAUSAL).both() {
                assert!(case.run(&cpu).iter().all(|x| x.is_finite()), "{cpu:?}: {size}");
            }
        }
    }
}

#[test]
fn sequences_of_every_length_attend() {
    for length in [1, 2, 7, 15, 16, 17, 31, 32, 33, 63, 65, 127, 128, 129, 300] {
        check(&Case::new(1, 1, 16, &[(length, length)], Span::ALL));
        check(&Case::new(1, 1, 8, &[(length, length)], Span::CAUSAL));
    }
    check(&Case::new(2, 1, 8, &[], Span::ALL));
    check(&Case::new(2, 1, 8, &[(0, 0), (3, 0), (0, 5), (2, 2)], Span::ALL));
}

#[test]
fn spans_hide_what_is_too_far() {
    let lengths = [(140, 140), (20, 150), (5, 3), (1, 1)];
    let spans = [
        (None, Some(0)),
        (Some(0), Some(0)),
        (Some(5), Some(0)),
        (Some(130), Some(0)),
        (Some(3), Some(2)),
        (None, Some(7)),
        (Some(9), None),
        (Some(usize::MAX), Some(usize::MAX)),
    ];
    for (before, after) in spans {
        check(&Case::new(2, 2, 8, &lengths, Span { before, after }));
    }
}

#[test]
fn heads_that_share_keys_attend() {
    for (queries, keys) in [(6, 2), (8, 1), (14, 2), (3, 3), (40, 1)] {
        check(&Case::new(queries, keys, 16, &[(11, 11), (1, 70)], Span::CAUSAL));
    }
}

#[test]
fn masks_are_added_and_hide() {
    let mut batch = Case::new(2, 1, 24, &[(7, 150), (4, 4), (3, 9)], Span::ALL);
    let mut mask = noise(163, 7);
    mask[3..140].fill(f32::NEG_INFINITY);
    // A sequence that sees nothing.
    mask[150..154].fill(f32::NEG_INFINITY);
    batch.mask = Some(mask);
    check(&batch);
    for (cpu, batch) in cpus().into_iter().flat_map(|cpu| batch.both().map(|batch| (cpu.clone(), batch))) {
        assert!(batch.run(&cpu)[7 * 48..11 * 48].iter().all(|x| x.to_bits() == 0));
        // What is hidden may be anything.
        let mut padded = batch.clone();
        for key in (3..140).chain(150..154) {
            padded.keys[key * 48..(key + 1) * 48].fill(f32::NAN);
        }
        assert_eq!(bits(&padded.run(&cpu)), bits(&batch.run(&cpu)));
    }
}

#[test]
fn a_query_that_sees_no_key_gets_zeros_however_large_the_values_are() {
    let mut batch = Case::new(1, 1, 8, &[(5, 3)], Span::CAUSAL);
    batch.keys.iter_mut().for_each(|value| *value *= 1e30);
    for (cpu, batch) in cpus().into_iter().flat_map(|cpu| batch.both().map(|batch| (cpu.clone(), batch))) {
        assert!(batch.run(&cpu)[..2 * 8].iter().all(|x| x.to_bits() == 0), "{cpu:?}");
    }
}

fn with_distances(heads: usize, reach: usize, lengths: &[(usize, usize)], span: Span) -> Case {
    let values = noise(heads * (2 * reach + 1), 11).iter().map(|value| 4.0 * value).collect();
    Case { distances: Some((reach, values)), ..Case::new(heads, heads, 16, lengths, span) }
}

#[test]
fn distances_add_what_their_head_says() {
    let lengths = [(140, 140), (1, 1), (20, 150), (33, 33), (5, 3)];
    for reach in [0, 1, 7, 128, 400] {
        for span in [Span::ALL, Span::CAUSAL, Span { before: Some(3), after: Some(2) }] {
            check(&with_distances(3, reach, &lengths, span));
        }
    }
}

#[test]
fn scores_are_capped_and_sinks_take_their_share() {
    let lengths = [(140, 300), (1, 1), (5, 3), (33, 33)];
    let sinks = vec![0.5, -2.0, 3.0, 0.0, 1.0, 7.0];
    for (softcap, sinks) in [(Some(1.5), None), (None, Some(sinks.clone())), (Some(0.7), Some(sinks))] {
        for span in [Span::CAUSAL, Span { before: Some(9), after: Some(0) }] {
            let mut batch = Case::new(6, 2, 16, &lengths, span);
            batch.queries.iter_mut().for_each(|number| *number *= 4.0);
            check(&Case { softcap, sinks: sinks.clone(), ..batch });
        }
    }
}

#[test]
fn distances_of_another_number_of_heads_are_refused() {
    let cpu = &cpus()[0];
    for (queries, keys, values) in [(2, 2, 9), (2, 1, 10)] {
        let case =
            Case { distances: Some((2, vec![0.0; values])), ..Case::new(queries, keys, 8, &[], Span::ALL) };
        let heads = Heads { queries, keys, size: 8 };
        let of = |data| Strided { data, token: 16, head: 8 };
        let starts = Starts { queries: &[0], keys: &[0] };
        let (numbers, options) = (Numbers::F32(&[]), Options { mask: case.mask(), ..Options::default() });
        let queries = Strided { data: &[][..], token: 16, head: 8 };
        let batch = Batch { queries, keys: of(numbers), values: of(numbers), starts };
        assert!(attention(cpu, heads, batch, options, &mut []).is_err());
    }
}

#[test]
fn keeping_keys_is_adding_nothing_or_minus_infinity() {
    let cpu = &cpus()[0];
    let (q, kv) = (noise(5 * 8, 1), noise(5 * 8, 2));
    let keep = [true, false, true, true, false];
    let add = keep.map(|keep| if keep { 0.0 } else { f32::NEG_INFINITY });
    let run = |mask| {
        let mut to = vec![0.0; 40];
        let heads = Heads { queries: 1, keys: 1, size: 8 };
        let keys = Strided { data: Numbers::F32(&kv), token: 8, head: 8 };
        let queries = Strided { data: &q[..], token: 8, head: 8 };
        let options = Options { mask, ..Options::default() };
        let starts = Starts { queries: &[0, 5], keys: &[0, 5] };
        attention(cpu, heads, Batch { queries, keys, values: keys, starts }, options, &mut to).unwrap();
        to
    };
    assert_eq!(run(Mask::Keep(&keep)), run(Mask::Add(&add)));
    assert_ne!(run(Mask::Keep(&keep)), run(Mask::None));
}

#[test]
fn the_size_of_the_cache_does_not_change_a_bit() {
    assert_eq!(L2_BYTES.map(|l2_bytes| block::rows(64, l2_bytes)), [128, 512, 512, 512]);
    for span in [Span::ALL, Span::CAUSAL] {
        for case in Case::new(2, 1, 64, &[(290, 300)], span).both() {
            for cpu in cpus() {
                let found = L2_BYTES.map(|l2_bytes| bits(&case.run(&with_l2_bytes(&cpu, l2_bytes))));
                assert!(found.iter().all(|bits| bits == &found[0]), "{cpu:?} {span:?} {}", case.narrow);
            }
        }
    }
}

#[test]
fn narrow_caches_are_widened() {
    for size in [5, 8, 24, 26, 40] {
        let batch = Case::new(4, 2, size, &[(9, 20), (3, 3)], Span::CAUSAL);
        let half: Vec<f16> = batch.keys.iter().map(|x| f16::from_f32(*x)).collect();
        let brain: Vec<bf16> = batch.keys.iter().map(|x| bf16::from_f32(*x)).collect();
        let offset = 2 * size;
        for cpu in cpus() {
            let widened = Case { keys: half.iter().map(|x| x.to_f32()).collect(), ..batch.clone() };
            assert_eq!(batch.run_as(&cpu, (&half[..]).into(), half[offset..].into()), widened.run(&cpu));
            let widened = Case { keys: brain.iter().map(|x| x.to_f32()).collect(), ..batch.clone() };
            assert_eq!(batch.run_as(&cpu, (&brain[..]).into(), brain[offset..].into()), widened.run(&cpu));
        }
    }
}

#[test]
fn a_sequence_has_the_same_bits_alone_and_in_any_batch_with_any_threads() {
    for span in [Span::ALL, Span::CAUSAL, Span { before: Some(40), after: Some(0) }] {
        let batch = Case::new(6, 2, 40, &[(30, 30), (151, 151), (1, 200), (17, 90)], span);
        for (cpu, batch) in cpus().into_iter().flat_map(|cpu| batch.both().map(|batch| (cpu.clone(), batch)))
        {
            let all = bits(&batch.run(&cpu));
            for threads in [1, 5] {
                assert_eq!(bits(&batch.run(&with_threads(&cpu, threads))), all);
            }
            let mut start = 0;
            for number in 0..4 {
                let alone = bits(&batch.only(number).run(&cpu));
                assert_eq!(alone, all[start..start + alone.len()], "{cpu:?}: sequence {number}");
                start += alone.len();
            }
        }
    }
}

#[test]
fn a_prompt_has_the_same_bits_in_one_piece_and_in_two() {
    let whole = Case::new(2, 1, 32, &[(201, 201)], Span::CAUSAL);
    for (cpu, whole) in cpus().into_iter().flat_map(|cpu| whole.both().map(|whole| (cpu.clone(), whole))) {
        let all = bits(&whole.run(&cpu));
        let row = 2 * 32 + 3;
        let second =
            Case { lengths: vec![(77, 201)], queries: whole.queries[124 * row..].to_vec(), ..whole.clone() };
        assert_eq!(bits(&second.run(&cpu)), all[124 * 64..], "{cpu:?}");
    }
}

#[test]
fn nan_infinity_and_huge_scores_go_through() {
    for (cpu, narrow) in cpus().into_iter().flat_map(|cpu| [false, true].map(|narrow| (cpu.clone(), narrow)))
    {
        let mut batch = Case { narrow, ..Case::new(1, 1, 8, &[(3, 3), (2, 2)], Span::ALL) };
        batch.queries[11 + 1] = f32::NAN;
        let found = batch.run(&cpu);
        assert!(found[8..16].iter().all(|x| x.is_nan()), "{cpu:?}");
        assert!(found[..8].iter().chain(&found[16..]).all(|x| x.is_finite()), "{cpu:?}");
        let mut batch = Case { narrow, ..Case::new(1, 1, 8, &[(40, 40)], Span::ALL) };
        batch.queries.iter_mut().for_each(|x| *x *= 1e18);
        batch.keys.iter_mut().for_each(|x| *x *= 1e18);
        assert!(batch.run(&cpu).iter().all(|x| x.is_finite()), "{cpu:?}");
        batch.keys.iter_mut().for_each(|x| *x = 1e-40);
        assert!(batch.run(&cpu).iter().all(|x| x.is_finite()), "{cpu:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let run = |heads: Heads, q: &[usize], k: &[usize], mask: Mask<'_>, length: usize| {
        let data = [0.0_f32; 64];
        let queries = Strided { data: &data[..], token: 16, head: 8 };
        let keys = Strided { data: Numbers::F32(&data), token: 16, head: 8 };
        let starts = Starts { queries: q, keys: k };
        let options = Options { mask, ..Options::default() };
        attention(
            &cpus()[0],
            heads,
            Batch { queries, keys, values: keys, starts },
            options,
            &mut vec![0.0; length],
        )
    };
    let heads = Heads { queries: 2, keys: 2, size: 8 };
    assert!(run(heads, &[0, 4], &[0, 4], Mask::None, 64).is_ok());
    assert!(run(Heads { size: 7, ..heads }, &[0, 4], &[0, 4], Mask::None, 56).is_ok());
    let large = Heads { size: Heads::MAX_SIZE + 1, ..heads };
    let error = run(large, &[0, 0], &[0, 0], Mask::None, 0).unwrap_err();
    assert!(error.to_string().contains("heads of 1 to 1024 numbers, found 1025"), "{error}");
    assert!(run(Heads { size: 0, ..heads }, &[0, 4], &[0, 4], Mask::None, 0).is_err());
    assert!(run(Heads { keys: 0, ..heads }, &[0, 4], &[0, 4], Mask::None, 64).is_err());
    assert!(run(Heads { queries: 3, ..heads }, &[0, 4], &[0, 4], Mask::None, 96).is_err());
    assert!(run(heads, &[0, 4], &[0, 4], Mask::None, 63).is_err());
    assert!(run(heads, &[0, 5], &[0, 4], Mask::None, 80).is_err());
    assert!(run(heads, &[0, 4], &[0, 5], Mask::None, 64).is_err());
    assert!(run(heads, &[0, 4], &[0, 2, 4], Mask::None, 64).is_err());
    assert!(run(heads, &[0, 4, 3], &[0, 4, 4], Mask::None, 48).is_err());
    assert!(run(heads, &[1, 4], &[0, 4], Mask::None, 64).is_err());
    assert!(run(heads, &[], &[], Mask::None, 0).is_err());
    assert!(run(heads, &[0, 4], &[0, 4], Mask::Keep(&[true; 3]), 64).is_err());
    assert!(
        run(Heads { queries: usize::MAX / 2, keys: 1, size: 8 }, &[0, 4], &[0, 4], Mask::None, 64).is_err()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_batch_attends(
        shape in (1_usize..4, 1_usize..3, 1_usize..72),
        lengths in prop::collection::vec((0_usize..40, 0_usize..160), 0..4),
        before in prop::option::of(0_usize..170),
        after in prop::option::of(0_usize..50),
    ) {
        check(&Case::new(shape.0 * shape.1, shape.1, shape.2, &lengths, Span { before, after }));
    }
}
