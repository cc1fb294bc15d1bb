use super::super::testing::{assert_near, devices, noise, on_gpu};
use super::*;
use crate::error::ErrorKind;
use crate::local::ops::{Device, Distances, KvMemory, KvPrecision, Span};

fn options(span: Span, mask: Mask<'_>) -> Options<'_> {
    Options { scale: 0.25, span, mask, ..Options::default() }
}

/// Queries, keys and values on a device.
fn operands(device: &Device, dims: [&[usize]; 3]) -> [Tensor; 3] {
    let [q, k, v] = dims;
    [noise(q, 1.0).tensor(device), noise(k, 1.0).tensor(device), noise(v, 0.9).tensor(device)]
}

/// Attention of the texts of a batch.
fn of_texts(qkv: &[Tensor; 3], starts: [&[usize]; 2], options: Options<'_>) -> Result<Tensor> {
    let [queries, keys, values] = qkv;
    attention(queries, starts[0], KeyValues::Ragged { keys, values, starts: starts[1] }, options)
}

/// Attention of some new tokens of one text over its cache.
fn over_cache(queries: &Tensor, cache: &KvCache, options: Options<'_>) -> Result<Tensor> {
    attention(
        queries,
        &[0, queries.dims()[0]],
        KeyValues::Caches { caches: &[cache], decoding: usize::from(queries.dims()[0] == 1) },
        options,
    )
}

fn memory(device: &Device) -> KvMemory {
    KvMemory::new(device, KvPrecision::F16)
}

const STARTS: [&[usize]; 2] = [&[0, 3, 3, 20], &[0, 5, 6, 24]];

#[test]
fn texts_of_any_lengths_are_those_that_candle_computes() {
    let dims: [&[usize]; 3] = [&[20, 6, 16], &[24, 2, 16], &[24, 2, 16]];
    let keep: Vec<bool> = (0..24).map(|key| key % 5 != 1).collect();
    let add: Vec<f32> = (0..24_u8).map(|key| f32::from(key % 3)).collect();
    let window = Span { before: Some(2), after: Some(1) };
    // Nothing but what lies ahead, of which the last query has none.
    let ahead = Span { before: Some(0), after: Some(0) };
    let truth_of = operands(&on_gpu(), dims);
    for device in devices() {
        let ours_of = operands(&device, dims);
        for span in [Span::ALL, Span::CAUSAL, window, ahead] {
            for mask in [Mask::None, Mask::Keep(&keep), Mask::Add(&add)] {
                let options = options(span, mask);
                let truth = of_texts(&truth_of, STARTS, options).unwrap();
                let ours = of_texts(&ours_of, STARTS, options).unwrap();
                assert_near(&ours, &truth, 1e-5, &format!("{span:?} {mask:?}"));
            }
        }
    }
}

#[test]
fn queries_that_see_no_key_get_zeros() {
    // Three queries over one key: the first two stand before it.
    let dims: [&[usize]; 3] = [&[3, 1, 8], &[1, 1, 8], &[1, 1, 8]];
    for device in devices().into_iter().chain([on_gpu()]) {
        let qkv = operands(&device, dims);
        let found = of_texts(&qkv, [&[0, 3], &[0, 1]], options(Span::CAUSAL, Mask::None)).unwrap();
        let values = qkv[2].values().unwrap().into_owned();
        assert_eq!(found.values().unwrap().into_owned(), [vec![0.0; 16], values].concat());
        let hidden = Mask::Keep(&[false]);
        let found = of_texts(&qkv, [&[0, 3], &[0, 1]], options(Span::ALL, hidden)).unwrap();
        assert_eq!(found.values().unwrap().into_owned(), [0.0; 24]);
    }
}

#[test]
fn biases_by_distance_are_those_that_candle_computes() {
    let dims: [&[usize]; 3] = [&[20, 3, 16], &[24, 3, 16], &[24, 3, 16]];
    let biases = noise(&[3 * 9], 1.0).values;
    let mask = Mask::Distances(Distances { values: &biases, reach: 4 });
    for device in devices() {
        let (ours_of, truth_of) = (operands(&device, dims), operands(&on_gpu(), dims));
        for span in [Span::ALL, Span::CAUSAL] {
            let truth = of_texts(&truth_of, STARTS, options(span, mask)).unwrap();
            let ours = of_texts(&ours_of, STARTS, options(span, mask)).unwrap();
            assert_near(&ours, &truth, 1e-5, &format!("{span:?}"));
            let none = of_texts(&ours_of, STARTS, options(span, Mask::None)).unwrap();
            assert_ne!(none.values().unwrap(), ours.values().unwrap());
        }
    }
}

#[test]
fn parts_of_a_fused_tensor_are_read_in_place() {
    for device in devices() {
        let fused = noise(&[7, 12, 8], 1.0).tensor(&device);
        let views = [0, 4, 8].map(|first| fused.narrow(1, first, 4).unwrap());
        let copies = views
            .clone()
            .map(|view| Tensor::from_vec(&device, view.values().unwrap().into_owned(), view.dims()).unwrap());
        let all = options(Span::ALL, Mask::None);
        let [viewed, copied] = [views, copies].map(|qkv| of_texts(&qkv, [&[0, 7]; 2], all).unwrap());
        assert_near(&viewed, &copied, 0.0, "views");
    }
}

#[test]
fn a_cache_gives_what_the_whole_text_gives() {
    let dims: [&[usize]; 3] = [&[40, 4, 32], &[40, 2, 32], &[40, 2, 32]];
    for device in devices().into_iter().chain([on_gpu()]) {
        let [q, k, v] = operands(&device, dims);
        for before in [None, Some(11)] {
            let options = options(Span { before, after: Some(0) }, Mask::None);
            let truth = of_texts(&[q.clone(), k.clone(), v.clone()], [&[0, 40]; 2], options).unwrap();
            let mut cache = KvCache::new(&memory(&device), 2, 32, 4).unwrap();
            // A prompt in two pieces, then a token at a time.
            for (first, count) in [(0, 17), (17, 20), (37, 1), (38, 1), (39, 1)] {
                let part = |x: &Tensor| x.narrow(0, first, count).unwrap();
                cache.append(&part(&k), &part(&v)).unwrap();
                let ours = over_cache(&part(&q), &cache, options).unwrap();
                // The cache holds f16.
                assert_near(&ours, &part(&truth), 2e-3, &format!("{before:?} {first}"));
            }
            assert_eq!(cache.len(), 40);
        }
    }
}

#[test]
fn texts_over_their_caches_are_computed_together_as_alone_bit_for_bit() {
    for device in devices().into_iter().chain([on_gpu()]) {
        let caches: Vec<KvCache> = [5, 600, 33]
            .into_iter()
            .map(|length| {
                let mut cache = KvCache::new(&memory(&device), 4, 16, length).unwrap();
                let new = noise(&[length, 4, 16], 1.0).tensor(&device);
                cache.append(&new, &new).unwrap();
                cache
            })
            .collect();
        let all: Vec<&KvCache> = caches.iter().collect();
        let options = options(Span::CAUSAL, Mask::None);
        // One token of each, then some prompts among them and a text without new tokens.
        for (starts, decoding) in [([0, 1, 2, 3], 3), ([0, 4, 9, 12], 0), ([0, 1, 1, 3], 1)] {
            let queries = noise(&[starts[3], 4, 16], 1.0).tensor(&device);
            let together =
                attention(&queries, &starts, KeyValues::Caches { caches: &all, decoding }, options).unwrap();
            for (ends, cache) in starts.windows(2).zip(&caches) {
                let part = |x: &Tensor| x.narrow(0, ends[0], ends[1] - ends[0]).unwrap();
                let alone = over_cache(&part(&queries), cache, options).unwrap();
                assert_near(&part(&together), &alone, 0.0, "together");
            }
        }
    }
}

#[test]
fn a_forked_and_a_shortened_cache_go_on_from_the_same_beginning() {
    for device in devices().into_iter().chain([on_gpu()]) {
        let [q, k, v] = operands(&device, [&[1, 2, 8], &[9, 2, 8], &[9, 2, 8]]);
        let part = |x: &Tensor, first, count| x.narrow(0, first, count).unwrap();
        let mut cache = KvCache::new(&memory(&device), 2, 8, 16).unwrap();
        cache.append(&part(&k, 0, 6), &part(&v, 0, 6)).unwrap();
        let fork = cache.fork(6, 32).unwrap();
        cache.append(&part(&k, 6, 3), &part(&v, 6, 3)).unwrap();
        cache.truncate(6);
        assert_eq!((cache.len(), fork.len(), fork.is_empty()), (6, 6, false));
        let of = |cache: &KvCache| over_cache(&q, cache, options(Span::CAUSAL, Mask::None)).unwrap();
        assert_near(&of(&fork), &of(&cache), 0.0, "fork");
    }
}

#[test]
fn tokens_of_an_answer_have_the_same_bits_given_one_by_one_and_at_once_in_every_dtype() {
    for device in devices() {
        for (precision, bytes) in
            [(KvPrecision::F32, 8), (KvPrecision::F16, 4), (KvPrecision::Bf16, 4), (KvPrecision::Int8, 2)]
        {
            let memory = KvMemory::new(&device, precision);
            let [q, k, v] = operands(&device, [&[200, 4, 32], &[200, 2, 32], &[200, 2, 32]]);
            let part = |x: &Tensor, first, count| x.narrow(0, first, count).unwrap();
            let mut cache = KvCache::new(&memory, 2, 32, 0).unwrap();
            cache.append(&part(&k, 0, 120), &part(&v, 0, 120)).unwrap();
            let mut at_once = cache.fork(120, 0).unwrap();
            let used = memory.used();
            assert_eq!(used, 2 * KvMemory::PAGE * memory.bytes_per_token(2, 32));
            assert!(memory.bytes_per_token(2, 32) >= 2 * 32 * bytes, "{precision:?}");
            // The fork changes the last page in a copy, and takes one more.
            assert_eq!(at_once.growth(9), used);
            at_once.append(&part(&k, 120, 9), &part(&v, 120, 9)).unwrap();
            assert_eq!(memory.used(), 2 * used);
            let options = options(Span::CAUSAL, Mask::None);
            let over = KeyValues::Caches { caches: &[&at_once], decoding: 1 };
            let together = attention(&part(&q, 120, 9), &[0, 9], over, options).unwrap();
            for token in 120..129 {
                cache.append(&part(&k, token, 1), &part(&v, token, 1)).unwrap();
                let one = over_cache(&part(&q, token, 1), &cache, options).unwrap();
                assert_near(&part(&together, token - 120, 1), &one, 0.0, &format!("{precision:?} {token}"));
            }
            // What was written can be read back, without tokens that were forgotten.
            at_once.truncate(123);
            let mut file = Vec::new();
            at_once.write(&mut file).unwrap();
            let mut back = KvCache::new(&memory, 2, 32, 0).unwrap();
            back.read(123, &mut &file[..]).unwrap();
            let of = |cache: &KvCache| over_cache(&part(&q, 122, 1), cache, options).unwrap();
            assert_near(&of(&back), &part(&together, 2, 1), 0.0, &format!("{precision:?} from a file"));
            drop((cache, at_once, back));
            assert_eq!(memory.used(), 0);
        }
    }
}

#[test]
fn operands_that_do_not_belong_together_are_errors() {
    for device in [devices().remove(0), on_gpu()] {
        let all = options(Span::ALL, Mask::None);
        let of = |dims: [&[usize]; 3]| of_texts(&operands(&device, dims), [&[0, 2]; 2], all).unwrap_err();
        let tensor = |dims: &[usize]| noise(dims, 1.0).tensor(&device);
        let mut cache = KvCache::new(&memory(&device), 2, 8, 4).unwrap();
        for error in [
            of([&[2, 2, 8], &[2, 2, 8], &[2, 2, 16]]),
            of([&[2, 3, 8], &[2, 2, 8], &[2, 2, 8]]),
            of([&[1, 2, 8], &[2, 2, 8], &[2, 2, 8]]),
            of([&[2, 16], &[2, 2, 8], &[2, 2, 8]]),
            cache.append(&tensor(&[1, 2, 8]), &tensor(&[2, 2, 8])).unwrap_err(),
            over_cache(&tensor(&[1, 2, 8]), &cache, all).unwrap_err(),
            over_cache(&tensor(&[0, 2, 16]), &cache, all).unwrap_err(),
            attention(
                &tensor(&[2, 2, 8]),
                &[0, 1, 2],
                KeyValues::Caches { caches: &[&cache], decoding: 0 },
                all,
            )
            .unwrap_err(),
            attention(
                &tensor(&[2, 2, 8]),
                &[0, 3],
                KeyValues::Caches { caches: &[&cache], decoding: 0 },
                all,
            )
            .unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
        }
        if device.is_cpu() {
            let error = of([&[2, 2, 1025], &[2, 2, 1025], &[2, 2, 1025]]);
            assert!(error.message().contains("heads of 1 to 1024"), "{error}");
        }
        let masked = options(Span::CAUSAL, Mask::Keep(&[true]));
        assert_eq!(
            over_cache(&tensor(&[0, 2, 8]), &cache, masked).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
}

#[test]
fn caps_and_sinks_are_those_that_candle_computes() {
    let sinks = [0.5, -1.0, 2.0, 0.0];
    let dims: [&[usize]; 3] = [&[20, 4, 16], &[24, 2, 16], &[24, 2, 16]];
    let truth_of = operands(&on_gpu(), dims);
    for (softcap, sinks) in [(Some(0.8), None), (None, Some(&sinks[..])), (Some(0.5), Some(&sinks[..]))] {
        let options = Options { softcap, sinks, ..options(Span::CAUSAL, Mask::None) };
        let truth = of_texts(&truth_of, STARTS, options).unwrap();
        for device in devices() {
            let ours = of_texts(&operands(&device, dims), STARTS, options).unwrap();
            assert_near(&ours, &truth, 1e-5, &format!("{softcap:?} {sinks:?}"));
        }
    }
}
