use super::super::testing::{assert_near, noise, numbers, places};
use super::*;

fn options(span: Span, mask: Mask<'_>) -> Options<'_> {
    Options { scale: 0.25, span, mask }
}

#[test]
fn sequences_of_any_lengths_are_those_that_candle_computes() {
    let (queries, keys, values) =
        (noise(&[20, 6, 16]), noise(&[24, 2, 16]), (noise(&[24, 2, 16]) * 0.9).unwrap());
    let starts = Starts { queries: &[0, 3, 3, 20], keys: &[0, 5, 6, 24] };
    let keep: Vec<bool> = (0..24).map(|key| key % 5 != 1).collect();
    let add: Vec<f32> = (0..24_u8).map(|key| f32::from(key % 3)).collect();
    let window = Span { before: Some(2), after: Some(1) };
    for place in places() {
        for span in [Span::ALL, Span::CAUSAL, window] {
            for mask in [Mask::None, Mask::Keep(&keep), Mask::Add(&add)] {
                let options = options(span, mask);
                let truth = plain::batch(&queries, &keys, &values, starts, options).unwrap();
                let ours = attention(&place, &queries, &keys, &values, starts, options).unwrap();
                assert_near(&ours, &truth, 1e-5, &format!("{span:?} {mask:?}"));
            }
        }
    }
}

#[test]
fn biases_by_distance_are_those_that_candle_computes() {
    let (queries, keys, values) = (noise(&[20, 3, 16]), noise(&[24, 3, 16]), noise(&[24, 3, 16]));
    let starts = Starts { queries: &[0, 3, 3, 20], keys: &[0, 5, 6, 24] };
    let values_of = numbers(&noise(&[3 * 9]));
    let mask = Mask::Distances(Distances { values: &values_of, reach: 4 });
    for place in places() {
        for span in [Span::ALL, Span::CAUSAL] {
            let truth = plain::batch(&queries, &keys, &values, starts, options(span, mask)).unwrap();
            let ours = attention(&place, &queries, &keys, &values, starts, options(span, mask)).unwrap();
            assert_near(&ours, &truth, 1e-5, &format!("{span:?}"));
            let none =
                attention(&place, &queries, &keys, &values, starts, options(span, Mask::None)).unwrap();
            assert_ne!(numbers(&none), numbers(&ours));
        }
    }
}

#[test]
fn parts_of_a_fused_tensor_are_read_where_they_lie() {
    let fused = noise(&[7, 3 * 32]);
    let part = |number: usize| fused.narrow(1, 32 * number, 32).unwrap().reshape((7, 4, 8));
    let [queries, keys, values] = [part(0).unwrap(), part(1).unwrap(), part(2).unwrap()];
    let views: Vec<Tensor> =
        (0..3).map(|number| fused.reshape((7, 12, 8)).unwrap().narrow(1, 4 * number, 4).unwrap()).collect();
    let starts = Starts { queries: &[0, 7], keys: &[0, 7] };
    for place in places() {
        let options = options(Span::ALL, Mask::None);
        let copied = attention(&place, &queries, &keys, &values, starts, options).unwrap();
        let viewed = attention(&place, &views[0], &views[1], &views[2], starts, options).unwrap();
        assert_near(&viewed, &copied, 0.0, "views");
    }
}

#[test]
fn a_cache_gives_what_the_whole_text_gives() {
    let (queries, keys, values) =
        (noise(&[40, 4, 32]), noise(&[40, 2, 32]), (noise(&[40, 2, 32]) * 0.9).unwrap());
    let starts = Starts { queries: &[0, 40], keys: &[0, 40] };
    for place in places() {
        for before in [None, Some(11)] {
            let options = options(Span { before, after: Some(0) }, Mask::None);
            let truth = attention(&place, &queries, &keys, &values, starts, options).unwrap();
            let mut cache = KvCache::new(&place, 2, 32, 4).unwrap();
            // A prompt in two pieces, then a token at a time.
            for (first, count) in [(0, 17), (17, 20), (37, 1), (38, 1), (39, 1)] {
                let part = |x: &Tensor| x.narrow(0, first, count).unwrap();
                cache.append(&part(&keys), &part(&values)).unwrap();
                let ours = attention_cached(&place, &part(&queries), &cache, 0.25, before).unwrap();
                // The cache holds f16.
                assert_near(&ours, &part(&truth), 2e-3, &format!("{before:?} {first}"));
            }
            assert_eq!(cache.len(), 40);
        }
    }
}

#[test]
fn a_cache_of_tensors_grows_and_gives_the_same() {
    let (queries, keys, values) = (noise(&[12, 4, 16]), noise(&[12, 2, 16]), noise(&[12, 2, 16]));
    let place = places().remove(0);
    let mut ours = KvCache::new(&place, 2, 16, 12).unwrap();
    let mut as_on_gpu = KvCache::as_on_gpu(&place, 2, 16);
    for (first, count) in [(0, 1), (1, 7), (8, 1), (9, 3)] {
        let part = |x: &Tensor| x.narrow(0, first, count).unwrap();
        for cache in [&mut ours, &mut as_on_gpu] {
            cache.append(&part(&keys), &part(&values)).unwrap();
        }
        for before in [None, Some(3)] {
            let of =
                |cache: &KvCache| attention_cached(&place, &part(&queries), cache, 0.25, before).unwrap();
            assert_near(&of(&as_on_gpu), &of(&ours), 2e-3, &format!("{first} {before:?}"));
        }
    }
    as_on_gpu.truncate(5);
    assert_eq!(as_on_gpu.tensors().unwrap().0.dims(), [5, 2, 16]);
}

#[test]
fn texts_are_decoded_together_as_alone_bit_for_bit() {
    let queries = noise(&[3, 4, 16]);
    for place in places() {
        let mut caches = Vec::new();
        for length in [5, 600, 33] {
            let mut cache = KvCache::new(&place, 4, 16, length).unwrap();
            cache.append(&noise(&[length, 4, 16]), &noise(&[length, 4, 16])).unwrap();
            caches.push(cache);
        }
        let all: Vec<&KvCache> = caches.iter().collect();
        let together = decode_attention(&place, &queries, &all, 0.25, None).unwrap();
        for (text, cache) in caches.iter().enumerate() {
            let query = queries.narrow(0, text, 1).unwrap();
            let alone = decode_attention(&place, &query, &[cache], 0.25, None).unwrap();
            assert_near(&together.narrow(0, text, 1).unwrap(), &alone, 0.0, "decode");
        }
    }
}

#[test]
fn a_forked_and_a_shortened_cache_go_on_from_the_same_beginning() {
    let (keys, values, query) = (noise(&[9, 2, 8]), noise(&[9, 2, 8]), noise(&[1, 2, 8]));
    for place in places() {
        let mut cache = KvCache::new(&place, 2, 8, 16).unwrap();
        cache.append(&keys.narrow(0, 0, 6).unwrap(), &values.narrow(0, 0, 6).unwrap()).unwrap();
        let fork = cache.fork(&place, 32).unwrap();
        cache.append(&keys.narrow(0, 6, 3).unwrap(), &values.narrow(0, 6, 3).unwrap()).unwrap();
        cache.truncate(6);
        assert_eq!((cache.len(), fork.len(), fork.is_empty()), (6, 6, false));
        let of = |cache: &KvCache| decode_attention(&place, &query, &[cache], 0.3, None).unwrap();
        assert_near(&of(&fork), &of(&cache), 0.0, "fork");
    }
}

#[test]
fn operands_that_do_not_belong_together_are_errors() {
    let place = places().remove(0);
    let starts = Starts { queries: &[0, 2], keys: &[0, 2] };
    let all = options(Span::ALL, Mask::None);
    let of = |dims: [&[usize]; 3]| {
        attention(&place, &noise(dims[0]), &noise(dims[1]), &noise(dims[2]), starts, all)
    };
    let mut cache = KvCache::new(&place, 2, 8, 4).unwrap();
    for error in [
        of([&[2, 2, 8], &[2, 2, 8], &[2, 2, 16]]).unwrap_err(),
        of([&[2, 3, 8], &[2, 2, 8], &[2, 2, 8]]).unwrap_err(),
        of([&[2, 2, 12], &[2, 2, 12], &[2, 2, 12]]).unwrap_err(),
        of([&[1, 2, 8], &[2, 2, 8], &[2, 2, 8]]).unwrap_err(),
        of([&[2, 16], &[2, 2, 8], &[2, 2, 8]]).unwrap_err(),
        cache.append(&noise(&[1, 2, 8]), &noise(&[2, 2, 8])).unwrap_err(),
        attention_cached(&place, &noise(&[1, 2, 8]), &cache, 1.0, None).unwrap_err(),
        decode_attention(&place, &noise(&[2, 2, 8]), &[&cache], 1.0, None).unwrap_err(),
        decode_attention(&place, &noise(&[1, 2, 16]), &[&cache], 1.0, None).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    }
}
