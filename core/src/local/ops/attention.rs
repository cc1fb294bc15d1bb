//! Attention over texts of any lengths, and over a cache.

use candle_core::{D, DType, Storage, Tensor};
use half::{bf16, f16};

use super::Place;
use super::cache::KvCache;
use super::tensor::{OrFail, filled, is_on_cpu};
use crate::error::{Error, ErrorKind, Result};
use ayni_kernels::attention::{
    self, Batch, Cache, Distances, Heads, Mask, Numbers, Options, Span, Starts, Strided,
};
use ayni_kernels::gemm::Precision;

/// `softmax(scale · q · kᵀ + mask) · v` within each sequence of a batch without padding, into `[query, head, size]`.
///
/// Queries are `[query, head, size]`; keys and values `[key, head, size]` with as many heads or a divisor of that, in f32,
/// f16 or bf16. They may be parts of one fused tensor: nothing is copied. A query that sees no key gets zeros. In a place of
/// another precision than f32, products are of numbers in bf16 where the CPU has instructions for that.
///
/// # Errors
/// `invalid_request` if the shapes, starts or mask do not belong together, or heads are no multiple of 8 numbers.
pub fn attention(
    place: &Place,
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    starts: Starts<'_>,
    options: Options<'_>,
) -> Result<Tensor> {
    let heads = heads_of(queries, keys, values)?;
    if !is_on_cpu(queries) {
        return plain::batch(queries, keys, values, starts, options);
    }
    with_strided(queries, |queries| {
        let Numbers::F32(numbers) = queries.data else {
            return Err(Error::invalid_request("the queries must be f32 on the CPU"));
        };
        let queries = Strided { data: numbers, token: queries.token, head: queries.head };
        with_strided(keys, |keys| {
            with_strided(values, |values| {
                filled(result_shape(starts.queries, heads), |to| {
                    let batch = Batch { queries, keys, values, starts };
                    match place.precision {
                        Precision::F32 => {
                            attention::attention(&place.cpu, heads, batch, options, to).or_fail()
                        }
                        Precision::Bf16 | Precision::Int8 => {
                            attention::attention_bf16(&place.cpu, heads, batch, options, to).or_fail()
                        }
                    }
                })
            })
        })
    })
}

/// Attention of a prompt's next tokens, `[token, head, size]`, over a cache that holds their keys and values already.
/// Each sees itself and what came before, at most `before` tokens if that is given.
///
/// # Errors
/// `invalid_request` if the cache has other heads, or fewer tokens than there are queries.
pub fn attention_cached(
    place: &Place,
    queries: &Tensor,
    cache: &KvCache,
    scale: f32,
    before: Option<usize>,
) -> Result<Tensor> {
    let tokens = queries.dims().first().copied().unwrap_or(0);
    if tokens > cache.len() {
        let length = cache.len();
        return Err(Error::invalid_request(format!("{tokens} queries over a cache of {length} tokens")));
    }
    if tokens == 1 {
        return decode_attention(place, queries, &[cache], scale, before);
    }
    let starts = Starts { queries: &[0, tokens], keys: &[0, cache.len()] };
    let options = Options { scale, span: Span { before, after: Some(0) }, mask: Mask::None };
    if let Some((keys, values)) = cache.tensors() {
        return plain::batch(queries, &keys, &values, starts, options);
    }
    let heads = Heads { queries: queries.dims().get(1).copied().unwrap_or(0), ..cache.heads() };
    check_queries(queries, heads)?;
    let (keys, values) = cache.strided();
    with_strided(queries, |queries| {
        let Numbers::F32(numbers) = queries.data else {
            return Err(Error::invalid_request("the queries must be f32 on the CPU"));
        };
        let queries = Strided { data: numbers, token: queries.token, head: queries.head };
        filled(result_shape(starts.queries, heads), |to| {
            attention::attention(&place.cpu, heads, Batch { queries, keys, values, starts }, options, to)
                .or_fail()
        })
    })
}

/// Attention of one new token of each of several texts, `[text, head, size]`, each over its own cache.
///
/// # Errors
/// `invalid_request` if there are not as many caches, or one has other heads than the others.
pub fn decode_attention(
    place: &Place,
    queries: &Tensor,
    caches: &[&KvCache],
    scale: f32,
    before: Option<usize>,
) -> Result<Tensor> {
    let Some(first) = caches.first() else {
        return queries.zeros_like().or_fail();
    };
    let heads = Heads { queries: queries.dims().get(1).copied().unwrap_or(0), ..first.heads() };
    check_queries(queries, heads)?;
    if queries.dims().first() != Some(&caches.len())
        || caches.iter().any(|cache| cache.heads() != first.heads())
    {
        return Err(Error::invalid_request("queries and caches do not belong together"));
    }
    if first.tensors().is_some() {
        return plain::decode(queries, caches, scale, before);
    }
    let caches: Vec<Cache<'_>> = caches
        .iter()
        .map(|cache| {
            let (keys, values) = cache.strided();
            Cache { keys, values, length: cache.len(), before }
        })
        .collect();
    with_strided(queries, |queries| {
        let Numbers::F32(numbers) = queries.data else {
            return Err(Error::invalid_request("the queries must be f32 on the CPU"));
        };
        let queries = Strided { data: numbers, token: queries.token, head: queries.head };
        filled((caches.len(), heads.queries, heads.size), |to| {
            attention::decode(&place.cpu, heads, queries, &caches, scale, to).or_fail()
        })
    })
}

fn result_shape(starts: &[usize], heads: Heads) -> (usize, usize, usize) {
    (starts.last().copied().unwrap_or(0), heads.queries, heads.size)
}

fn check_queries(queries: &Tensor, heads: Heads) -> Result<()> {
    match queries.dims() {
        [_, _, size] if *size == heads.size => Ok(()),
        dims => {
            Err(Error::invalid_request(format!("queries {dims:?} over a cache of heads of {}", heads.size)))
        }
    }
}

fn heads_of(queries: &Tensor, keys: &Tensor, values: &Tensor) -> Result<Heads> {
    match (queries.dims(), keys.dims(), values.dims()) {
        (&[_, queries, size], &[known, keys, key_size], &[valued, values, value_size])
            if key_size == size && value_size == size && values == keys && valued == known =>
        {
            Ok(Heads { queries, keys, size })
        }
        (queries, keys, values) => Err(Error::invalid_request(format!(
            "queries {queries:?}, keys {keys:?} and values {values:?} do not belong together"
        ))),
    }
}

/// Heads of tokens where they lie, if the numbers of a head lie side by side; else copied.
fn with_strided<R>(x: &Tensor, work: impl FnOnce(Strided<Numbers<'_>>) -> Result<R>) -> Result<R> {
    let copied = if x.stride().last() == Some(&1) { x.clone() } else { x.contiguous().or_fail()? };
    let (storage, layout) = copied.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else {
        return Err(Error::invalid_request("an operand of attention is not on the CPU, as the others are"));
    };
    // Heads of no tokens lie nowhere.
    let start = if copied.elem_count() == 0 { 0 } else { layout.start_offset() };
    let misplaced = || Error::new(ErrorKind::Unexpected, "a tensor does not lie in its storage");
    let data = match copied.dtype() {
        DType::F32 => Numbers::F32(storage.as_slice::<f32>().or_fail()?.get(start..).ok_or_else(misplaced)?),
        DType::F16 => Numbers::F16(storage.as_slice::<f16>().or_fail()?.get(start..).ok_or_else(misplaced)?),
        DType::BF16 => {
            Numbers::Bf16(storage.as_slice::<bf16>().or_fail()?.get(start..).ok_or_else(misplaced)?)
        }
        other => {
            let other = other.as_str();
            return Err(Error::invalid_request(format!("attention cannot read {other}")));
        }
    };
    match *layout.stride() {
        [token, head, _] => work(Strided { data, token, head }),
        _ => Err(misplaced()),
    }
}

/// The same by candle's own operations.
pub(super) mod plain {
    use super::*;

    /// Queries at a time, so that scores do not fill the memory.
    const MOST_SCORES: usize = 1 << 26;

    /// A batch without padding.
    pub(in super::super) fn batch(
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        starts: Starts<'_>,
        options: Options<'_>,
    ) -> Result<Tensor> {
        let mut results = Vec::new();
        for (of_queries, of_keys) in starts.queries.windows(2).zip(starts.keys.windows(2)) {
            let (&[first, end], &[first_key, end_key]) = (of_queries, of_keys) else { continue };
            if end == first {
                continue;
            }
            let part = |x: &Tensor, from: usize, to: usize| x.narrow(0, from, to - from).or_fail();
            let keep = mask(options.mask, first_key..end_key);
            results.push(sequence(
                &part(queries, first, end)?,
                &part(keys, first_key, end_key)?,
                &part(values, first_key, end_key)?,
                options,
                &keep?,
            )?);
        }
        if results.is_empty() { queries.zeros_like().or_fail() } else { Tensor::cat(&results, 0).or_fail() }
    }

    /// One token of each text.
    pub(in super::super) fn decode(
        queries: &Tensor,
        caches: &[&KvCache],
        scale: f32,
        before: Option<usize>,
    ) -> Result<Tensor> {
        let options = Options { scale, span: Span { before, after: Some(0) }, mask: Mask::None };
        let mut results = Vec::new();
        for (text, cache) in caches.iter().enumerate() {
            let query = queries.narrow(0, text, 1).or_fail()?;
            match cache.tensors() {
                Some((keys, values)) if !cache.is_empty() => {
                    let nothing = vec![0.0; cache.len()];
                    results.push(sequence(&query, &keys, &values, options, &nothing)?);
                }
                _ => results.push(query.zeros_like().or_fail()?),
            }
        }
        Tensor::cat(&results, 0).or_fail()
    }

    /// What is added to the scores of each key; -∞ hides it.
    fn mask(mask: Mask<'_>, keys: std::ops::Range<usize>) -> Result<Vec<f32>> {
        let short = || Error::invalid_request("the mask has not a value for every key");
        Ok(match mask {
            Mask::None | Mask::Distances(_) => vec![0.0; keys.len()],
            Mask::Keep(keep) => {
                let hidden = |keep: &bool| if *keep { 0.0 } else { f32::NEG_INFINITY };
                keep.get(keys).ok_or_else(short)?.iter().map(hidden).collect()
            }
            Mask::Add(add) => add.get(keys).ok_or_else(short)?.to_vec(),
        })
    }

    /// One text: `[query, head, size]` over `[key, head, size]`.
    fn sequence(
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        options: Options<'_>,
        of_keys: &[f32],
    ) -> Result<Tensor> {
        let (tokens, heads, _) = queries.dims3().or_fail()?;
        let at_once = (MOST_SCORES / (heads * of_keys.len()).max(1)).max(1);
        let mut results = Vec::new();
        for first in (0..tokens).step_by(at_once) {
            let count = at_once.min(tokens - first);
            let some = queries.narrow(0, first, count).or_fail()?;
            let all = first..first + count;
            let added = match options.mask {
                Mask::Distances(distances) => {
                    let of_head = |head| {
                        let by_distance = Some((distances, head));
                        added(options.span, all.clone(), tokens, of_keys, by_distance)
                    };
                    (0..heads).flat_map(of_head).collect()
                }
                _ => added(options.span, all, tokens, of_keys, None),
            };
            results.push(block(&some, keys, values, options.scale, added).or_fail()?);
        }
        Tensor::cat(&results, 0).or_fail()
    }

    /// What is added to each score of some queries, in a head if the distance counts.
    fn added(
        span: Span,
        queries: std::ops::Range<usize>,
        tokens: usize,
        of_keys: &[f32],
        by_distance: Option<(Distances<'_>, usize)>,
    ) -> Vec<f32> {
        let keys = of_keys.len();
        let mut added = Vec::with_capacity(queries.len() * keys);
        for query in queries {
            // The last query stands at the last key.
            let position = (query + keys).checked_sub(tokens);
            let sees = |key: usize| match position {
                Some(position) => {
                    span.before.is_none_or(|before| key + before >= position)
                        && span.after.is_none_or(|after| key <= position + after)
                }
                None => {
                    let ahead = tokens - keys - query;
                    span.after.is_none_or(|after| key + ahead <= after)
                }
            };
            let of_distance = |key: usize| {
                by_distance.map_or(0.0, |(distances, head)| {
                    let distance = (key + tokens).cast_signed() - (query + keys).cast_signed();
                    distances.of_head(head).get(distances.place(distance)).copied().unwrap_or_default()
                })
            };
            let of_key = |key: usize| {
                if sees(key) { of_keys[key] + of_distance(key) } else { f32::NEG_INFINITY }
            };
            added.extend((0..keys).map(of_key));
        }
        added
    }

    fn block(
        queries: &Tensor,
        keys: &Tensor,
        values: &Tensor,
        scale: f32,
        added: Vec<f32>,
    ) -> candle_core::Result<Tensor> {
        let (count, heads, size) = queries.dims3()?;
        let (known, of_keys, _) = keys.dims3()?;
        let dtype = queries.dtype();
        // Every head of keys once for each head of queries that shares it.
        let spread = |x: &Tensor| {
            let x = x.to_dtype(dtype)?.transpose(0, 1)?.unsqueeze(1)?;
            x.broadcast_as((of_keys, heads / of_keys, known, size))?
                .contiguous()?
                .reshape((heads, known, size))
        };
        let (keys, values) = (spread(keys)?, spread(values)?);
        let keep: Vec<f32> = added.iter().map(|added| f32::from(*added > f32::NEG_INFINITY)).collect();
        // Hidden scores must stay finite, or a row of them would be NaN.
        let added: Vec<f32> = added.iter().map(|added| added.max(-1e30)).collect();
        // One for all heads, or one for each.
        let planes = added.len() / (count * known).max(1);
        let on_device = |values: Vec<f32>| Tensor::from_vec(values, (planes, count, known), queries.device());
        let (keep, added) = (on_device(keep)?, on_device(added)?);
        let queries = queries.transpose(0, 1)?.contiguous()?;
        let scores = queries.matmul(&keys.transpose(1, 2)?.contiguous()?)?.to_dtype(DType::F32)?;
        let scores = (scores * f64::from(scale))?.broadcast_add(&added)?;
        let powers = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?.broadcast_mul(&keep)?;
        let sums = powers.sum_keepdim(D::Minus1)?.maximum(1e-30)?;
        let weights = powers.broadcast_div(&sums)?.to_dtype(dtype)?;
        weights.matmul(&values)?.transpose(0, 1)?.contiguous()
    }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
