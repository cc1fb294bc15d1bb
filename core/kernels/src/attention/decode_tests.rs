//! One token over caches, on every instruction set against f64; bits against threads and the other caches.

use half::{bf16, f16};

use super::super::testing::{assert_close, bits, cpus, noise, with_threads};
use super::*;

/// Keys and values `[head, capacity, size]`.
struct Stored {
    keys: Vec<f32>,
    values: Vec<f32>,
    length: usize,
    before: Option<usize>,
}

const CAPACITY: usize = 1500;

const OPTIONS: Options<'_> =
    Options { scale: 0.25, span: Span::ALL, mask: Mask::None, softcap: None, sinks: None };

fn stored(heads: Heads, length: usize, before: Option<usize>) -> Stored {
    let count = heads.keys * CAPACITY * heads.size;
    Stored { keys: noise(count, length as u64), values: noise(count, length as u64 + 1), length, before }
}

fn strided<'a>(heads: Heads, data: impl Into<Numbers<'a>>) -> Strided<Numbers<'a>> {
    Strided { data: data.into(), token: heads.size, head: CAPACITY * heads.size }
}

impl Stored {
    fn cache(&self, heads: Heads) -> Cache<'_> {
        let (keys, values) = (strided(heads, &self.keys[..]), strided(heads, &self.values[..]));
        Cache { keys, values, length: self.length, before: self.before }
    }

    fn truth(&self, heads: Heads, query: &[f32]) -> Vec<f64> {
        self.truth_with(heads, query, OPTIONS)
    }

    fn truth_with(&self, heads: Heads, query: &[f32], options: Options<'_>) -> Vec<f64> {
        let first = self.before.map_or(0, |before| self.length.saturating_sub(before + 1));
        let mut result = Vec::new();
        for (head, query) in query.chunks_exact(heads.size).enumerate() {
            let place = |key: usize| (head / heads.group() * CAPACITY + key) * heads.size;
            let score = |key: usize| -> f64 {
                let key = &self.keys[place(key)..][..heads.size];
                let dot: f64 = query.iter().zip(key).map(|(q, k)| f64::from(*q) * f64::from(*k)).sum();
                let score = f64::from(options.scale) * dot;
                options.softcap.map(f64::from).map_or(score, |cap| cap * (score / cap).tanh())
            };
            let total: f64 = (first..self.length).map(|key| score(key).exp()).sum();
            let total = total + options.sinks.map_or(0.0, |sinks| f64::from(sinks[head]).exp());
            for i in 0..heads.size {
                let value = |key: usize| f64::from(self.values[place(key) + i]);
                let sum: f64 = (first..self.length).map(|key| score(key).exp() * value(key)).sum();
                result.push(if first == self.length { 0.0 } else { sum / total });
            }
        }
        result
    }
}

fn run(cpu: &Cpu, heads: Heads, query: &[f32], caches: &[Cache<'_>]) -> Vec<f32> {
    let mut to = vec![f32::NAN; query.len()];
    let queries = Strided { data: query, token: heads.queries * heads.size, head: heads.size };
    decode(cpu, heads, queries, caches, OPTIONS, &mut to).unwrap();
    to
}

#[test]
fn tokens_attend_over_caches_of_every_length() {
    for (queries, keys, size) in
        [(2, 2, 1), (3, 1, 7), (2, 2, 8), (4, 2, 26), (6, 2, 40), (4, 1, 64), (1, 1, 135), (1, 1, 136)]
    {
        let heads = Heads { queries, keys, size };
        let lengths = [0, 1, 3, 31, 33, 511, 512, 513, 1500];
        let mut all: Vec<Stored> = lengths.into_iter().map(|length| stored(heads, length, None)).collect();
        all.extend(
            [(1400, 0), (1400, 30), (1400, 600), (1024, 511), (9, 20)]
                .map(|(length, before)| stored(heads, length, Some(before))),
        );
        let query = noise(all.len() * queries * size, 3);
        let rows = all.iter().zip(query.chunks_exact(queries * size));
        let truth: Vec<f64> = rows.flat_map(|(stored, query)| stored.truth(heads, query)).collect();
        let caches: Vec<Cache<'_>> = all.iter().map(|stored| stored.cache(heads)).collect();
        for cpu in cpus() {
            let found = run(&cpu, heads, &query, &caches);
            assert_close(&found, &truth, 3e-6, &format!("{cpu:?}, {heads:?}"));
            for threads in [1, 3] {
                assert_eq!(bits(&run(&with_threads(&cpu, threads), heads, &query, &caches)), bits(&found));
            }
            let (row, one) = (queries * size, caches.len() - 1);
            assert_eq!(
                bits(&run(&cpu, heads, &query[one * row..], &caches[one..])),
                bits(&found[one * row..])
            );
        }
    }
}

/// Numbers in pages of so many, and in one piece as f32.
fn check_pages<T>(values: &[T], page: usize, wide: impl Fn(&T) -> f32, check: impl Fn(Numbers<'_>, &[f32]))
where
    for<'a> &'a [T]: Into<Numbers<'a>>,
{
    let pages: Vec<Numbers<'_>> = values.chunks(page).map(Into::into).collect();
    check(Numbers::Pages(&pages, 6), &values.iter().map(wide).collect::<Vec<_>>());
}

/// Numbers `[token, head, size]` in pages of 64 tokens of one dtype, and as f32 in one piece.
fn in_pages(dtype: &str, heads: Heads, values: &[f32], check: impl Fn(Numbers<'_>, &[f32])) {
    let page = 64 * heads.kv_width();
    match dtype {
        "f32" => check_pages(values, page, |x| *x, check),
        "f16" => {
            let halves: Vec<f16> = values.iter().map(|x| f16::from_f32(*x)).collect();
            check_pages(&halves, page, |x| x.to_f32(), check);
        }
        "bf16" => {
            let brains: Vec<bf16> = values.iter().map(|x| bf16::from_f32(*x)).collect();
            check_pages(&brains, page, |x| x.to_f32(), check);
        }
        _ => {
            let scales: Vec<f32> = (0..values.len() / heads.size).map(|head| 0.5 + head as f32).collect();
            let bytes: Vec<i8> = values.iter().map(|x| (x * 127.0).round() as i8).collect();
            let pages: Vec<Numbers<'_>> = bytes
                .chunks(page)
                .zip(scales.chunks(64 * heads.keys))
                .map(|(values, scales)| Numbers::Int8(values, scales))
                .collect();
            let wide = bytes.iter().enumerate().map(|(i, x)| f32::from(*x) * scales[i / heads.size]);
            check(Numbers::Pages(&pages, 6), &wide.collect::<Vec<_>>());
        }
    }
}

#[test]
fn pages_of_any_numbers_are_read_as_if_they_were_f32_in_one_piece() {
    for (size, length, before) in [(24, 700, None), (64, 65, None), (7, 1300, Some(600)), (16, 64, Some(0))] {
        let heads = Heads { queries: 4, keys: 2, size };
        let values = noise(length * heads.kv_width(), 5);
        let query = noise(3 * heads.width(), 6);
        fn of(data: Numbers<'_>, heads: Heads) -> Strided<Numbers<'_>> {
            Strided { data, token: heads.kv_width(), head: heads.size }
        }
        for dtype in ["f32", "f16", "bf16", "int8"] {
            in_pages(dtype, heads, &values, |pages, wide| {
                for cpu in cpus() {
                    let found = [pages, Numbers::F32(wide)].map(|data| {
                        let (keys, values) = (of(data, heads), of(data, heads));
                        let cache = Cache { keys, values, length, before };
                        let one = run(&cpu, heads, &query[..heads.width()], &[cache]);
                        // A piece of a prompt.
                        let queries = Strided { data: &query[..], token: heads.width(), head: size };
                        let starts = Starts { queries: &[0, 3], keys: &[0, length] };
                        let batch = Batch { queries, keys, values, starts };
                        let span = Span { before, after: Some(0) };
                        let mut piece = vec![f32::NAN; query.len()];
                        attention(&cpu, heads, batch, Options { span, ..OPTIONS }, &mut piece).unwrap();
                        [bits(&one), bits(&piece)]
                    });
                    assert_eq!(found[0], found[1], "{cpu:?}, {dtype}, {size}");
                }
            });
        }
    }
}

#[test]
fn nan_stays_in_its_head_and_what_lies_past_the_end_is_not_read() {
    let heads = Heads { queries: 2, keys: 2, size: 16 };
    let mut stored = stored(heads, 600, None);
    stored.keys[599 * 16] = f32::NAN;
    for head in 0..2 {
        let past = (head * CAPACITY + 600) * 16..(head + 1) * CAPACITY * 16;
        stored.keys[past.clone()].fill(f32::NAN);
        stored.values[past].fill(f32::NAN);
    }
    for cpu in cpus() {
        let found = run(&cpu, heads, &noise(32, 1), &[stored.cache(heads)]);
        assert!(found[..16].iter().all(|x| x.is_nan()), "{cpu:?}");
        assert!(found[16..].iter().all(|x| x.is_finite()), "{cpu:?}");
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let heads = Heads { queries: 2, keys: 1, size: 8 };
    let data = [0.0_f32; 80];
    let numbers = Strided { data: Numbers::F32(&data), token: 8, head: 80 };
    let cache = |length| Cache { keys: numbers, values: numbers, length, before: None };
    let run = |heads: Heads, caches: &[Cache<'_>], length: usize| {
        let queries = Strided { data: &data[..16], token: 16, head: 8 };
        decode(&cpus()[0], heads, queries, caches, OPTIONS, &mut vec![0.0; length])
    };
    assert!(run(heads, &[cache(10)], 16).is_ok());
    assert!(run(heads, &[], 0).is_ok());
    assert!(run(heads, &[cache(11)], 16).is_err());
    assert!(run(heads, &[cache(10); 2], 32).is_err());
    assert!(run(heads, &[cache(10)], 15).is_err());
    assert!(run(Heads { size: 12, ..heads }, &[cache(10)], 24).is_err());
    let (whole, few) = ([Numbers::F32(&data[..64]); 2], [Numbers::F32(&data[..56]); 2]);
    let bytes = [0_i8; 80];
    for (numbers, is_ok) in [
        (Numbers::Pages(&whole, 3), true),
        (Numbers::Pages(&few, 3), false),
        (Numbers::Pages(&whole[..1], 3), false),
        (Numbers::Pages(&[Numbers::Pages(&whole, 3); 2], 3), false),
        (Numbers::Pages(&whole, 64), false),
        (Numbers::Int8(&bytes, &data[..10]), true),
        (Numbers::Int8(&bytes, &data[..9]), false),
    ] {
        let numbers = Strided { data: numbers, token: 8, head: 8 };
        let cache = Cache { keys: numbers, values: numbers, length: 10, before: None };
        assert_eq!(run(heads, &[cache], 16).is_ok(), is_ok, "{numbers:?}");
    }
    let numbers = Strided { data: Numbers::Int8(&bytes, &data[..10]), token: 8, head: 80 };
    assert!(run(heads, &[Cache { keys: numbers, values: numbers, length: 10, before: None }], 16).is_err());
}

#[test]
fn scores_are_capped_and_sinks_take_their_share() {
    let heads = Heads { queries: 6, keys: 2, size: 40 };
    let all = [0, 1, 33, 1300].map(|length| stored(heads, length, None));
    let query: Vec<f32> = noise(all.len() * 240, 9).into_iter().map(|x| 4.0 * x).collect();
    let caches: Vec<Cache<'_>> = all.iter().map(|stored| stored.cache(heads)).collect();
    let sinks = [0.5, -2.0, 3.0, 0.0, 1.0, 7.0];
    for (softcap, sinks) in [(Some(2.0), None), (None, Some(&sinks[..])), (Some(0.7), Some(&sinks[..]))] {
        let options = Options { softcap, sinks, ..OPTIONS };
        let truth: Vec<f64> = all
            .iter()
            .zip(query.chunks_exact(240))
            .flat_map(|(stored, query)| stored.truth_with(heads, query, options))
            .collect();
        for cpu in cpus() {
            let mut to = vec![f32::NAN; query.len()];
            let queries = Strided { data: &query[..], token: 240, head: 40 };
            decode(&cpu, heads, queries, &caches, options, &mut to).unwrap();
            assert_close(&to, &truth, 3e-6, &format!("{cpu:?}, {softcap:?}, {sinks:?}"));
        }
    }
    let wrong = [Options { softcap: Some(0.0), ..OPTIONS }, Options { sinks: Some(&sinks[..5]), ..OPTIONS }];
    for options in wrong {
        let queries = Strided { data: &query[..], token: 240, head: 40 };
        assert!(decode(&cpus()[0], heads, queries, &caches, options, &mut vec![0.0; query.len()]).is_err());
    }
}
