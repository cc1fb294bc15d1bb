//! Attention over texts of any lengths, or over their caches.

use ayni_kernels::attention::{self as kernel, Batch, Cache, Heads, Mask, Numbers, Options, Starts, Strided};
use ayni_kernels::gemm::Precision;

use super::error::OrFail;
use super::{KvCache, Tensor, gpu};
use crate::error::{Error, Result};

/// The keys and values that queries attend to.
#[derive(Clone, Copy, Debug)]
pub enum KeyValues<'a> {
    /// Those of texts one after another, without padding.
    Ragged {
        /// `[key, head, size]`, with as many heads as the queries or a divisor of that.
        keys: &'a Tensor,
        /// As the keys.
        values: &'a Tensor,
        /// Where each text's keys start, and where the last's end.
        starts: &'a [usize],
    },
    /// A cache for each text, which holds the keys and values of the text's queries already.
    Caches {
        /// The caches.
        caches: &'a [&'a KvCache],
        /// How many texts at the front are answers. Their tokens get the bits that each gets as the last of its text, given
        /// alone; a prompt's tokens get others. A token's bits depend on which of both it is, and on nothing else.
        decoding: usize,
    },
}

/// `softmax(scale · q · kᵀ + mask) · v` within each text, into `[query, head · size]`.
///
/// Queries are `[query, head, size]`, one text after another; `starts` says where each text's start, and where the
/// last's end. The last query of a text stands at its last key. A query that sees no key gets zeros. Queries, keys and
/// values may be views of one fused tensor: nothing is copied. On a device of another precision than f32, products of
/// ragged texts are in bf16 where the CPU has instructions for that.
///
/// # Errors
/// `invalid_request` if shapes, starts, caches or mask do not belong together, or a head is empty or too large;
/// `unsupported` for a mask over caches.
pub fn attention(
    queries: &Tensor,
    starts: &[usize],
    over: KeyValues<'_>,
    options: Options<'_>,
) -> Result<Tensor> {
    match over {
        KeyValues::Ragged { keys, values, starts: of_keys } => {
            ragged(queries, keys, values, Starts { queries: starts, keys: of_keys }, options)
        }
        KeyValues::Caches { caches, decoding } => cached(queries, starts, caches, decoding, options),
    }
}

fn ragged(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    starts: Starts<'_>,
    options: Options<'_>,
) -> Result<Tensor> {
    let ([tokens, count, size], [known, of_keys, _]) = (queries.dims_of()?, keys.dims_of()?);
    if [keys, values].iter().any(|x| x.dims() != [known, of_keys, size]) {
        let (queries, keys, values) = (queries.dims(), keys.dims(), values.dims());
        return Err(Error::invalid_request(format!(
            "queries {queries:?}, keys {keys:?} and values {values:?} do not belong together"
        )));
    }
    check_starts("queries", starts.queries, tokens)?;
    check_starts("keys", starts.keys, known)?;
    if starts.queries.len() != starts.keys.len() {
        return Err(Error::invalid_request("queries and keys differ in their number of texts"));
    }
    let heads = Heads { queries: count, keys: of_keys, size };
    check_heads(heads, size)?;
    let device = queries.device();
    if !device.is_cpu() {
        let [keys, values] = [keys.expect_gpu("the keys")?, values.expect_gpu("the values")?];
        let texts = starts.keys.windows(2).map(|ends| {
            let part = |x: &candle_core::Tensor| x.narrow(0, ends[0], ends[1] - ends[0]).or_fail();
            Ok((part(keys)?, part(values)?, ends[0]))
        });
        return on_gpu(queries, starts.queries, options, texts);
    }
    let batch = Batch {
        queries: strided(queries)?,
        keys: numbers(strided(keys)?),
        values: numbers(strided(values)?),
        starts,
    };
    Tensor::build(device, [tokens, heads.width()], |to| match device.precision {
        Precision::F32 | Precision::Bf16x3 => {
            kernel::attention(&device.cpu, heads, batch, options, to).or_fail()
        }
        Precision::Bf16 | Precision::Int8 => {
            kernel::attention_bf16(&device.cpu, heads, batch, options, to).or_fail()
        }
    })
}

fn cached(
    queries: &Tensor,
    starts: &[usize],
    caches: &[&KvCache],
    decoding: usize,
    options: Options<'_>,
) -> Result<Tensor> {
    let [tokens, count, size] = queries.dims_of()?;
    check_starts("queries", starts, tokens)?;
    let heads = caches.first().map_or(Heads::equal(count, size), |cache| cache.heads(count));
    let fits = |(ends, cache): (&[usize], &&KvCache)| {
        ends[1] - ends[0] <= cache.len() && cache.heads(count) == heads
    };
    if starts.len() != caches.len() + 1 || !starts.windows(2).zip(caches).all(fits) {
        return Err(Error::invalid_request("queries and caches do not belong together"));
    }
    if decoding > caches.len() {
        return Err(Error::invalid_request("there are more answers than texts"));
    }
    check_heads(heads, size)?;
    if !matches!(options.mask, Mask::None) {
        return Err(Error::unsupported("a mask over caches"));
    }
    let device = queries.device();
    if !device.is_cpu() {
        let texts = caches.iter().map(|cache| cache.gpu().map(|(keys, values)| (keys, values, 0)));
        return on_gpu(queries, starts, options, texts);
    }
    let queries = strided(queries)?;
    let width = count * size;
    let numbers: Vec<_> = caches.iter().map(|cache| cache.numbers()).collect();
    let views = caches.iter().zip(&numbers).map(|(cache, numbers)| cache.view(numbers, options.span.before));
    let views: Vec<Cache<'_>> = views.collect();
    // Each token of an answer is the last of what it sees.
    let mut answers = Vec::new();
    for (ends, view) in starts.windows(2).zip(&views).take(decoding) {
        let tokens = ends[1] - ends[0];
        answers.extend((0..tokens).map(|token| Cache { length: view.length - tokens + token + 1, ..*view }));
    }
    Tensor::build(device, [tokens, width], |to| {
        let cpu = &device.cpu;
        let (decoded, prompts) = to.split_at_mut(answers.len() * width);
        if !answers.is_empty() {
            kernel::decode(cpu, heads, queries, &answers, options, decoded).or_fail()?;
        }
        for (ends, cache) in starts.windows(2).zip(&views).skip(decoding) {
            let tokens = ends[1] - ends[0];
            if tokens == 0 {
                continue;
            }
            let data = queries.data.get(ends[0] * queries.token..).unwrap_or_default();
            let queries = Strided { data, ..queries };
            let starts = Starts { queries: &[0, tokens], keys: &[0, cache.length] };
            let batch = Batch { queries, keys: cache.keys, values: cache.values, starts };
            let to = &mut prompts[(ends[0] - answers.len()) * width..(ends[1] - answers.len()) * width];
            kernel::attention(cpu, heads, batch, options, to).or_fail()?;
        }
        Ok(())
    })
}

/// `texts` has the keys and values of each text, and where its keys begin in a mask.
fn on_gpu(
    queries: &Tensor,
    starts: &[usize],
    options: Options<'_>,
    texts: impl Iterator<Item = Result<(candle_core::Tensor, candle_core::Tensor, usize)>>,
) -> Result<Tensor> {
    let [tokens, heads, size] = queries.dims_of()?;
    let all = queries.expect_gpu("the queries")?;
    let of_texts = starts.windows(2).zip(texts).map(|(ends, text)| {
        let (keys, values, first_key) = text?;
        let queries = all.narrow(0, ends[0], ends[1] - ends[0]).or_fail()?;
        gpu::attention::attention(&queries, &keys, &values, options, first_key).or_fail()
    });
    let joined = match of_texts.collect::<Result<Vec<_>>>()?.as_slice() {
        [] => all.zeros_like(),
        [only] => Ok(only.clone()),
        several => candle_core::Tensor::cat(several, 0),
    };
    Tensor::from_gpu(queries.device(), joined.and_then(|x| x.reshape((tokens, heads * size))))
}

/// Checks what the kernels check too, but candle does not.
fn check_heads(heads: Heads, size: usize) -> Result<()> {
    if heads.size == size && heads.keys > 0 && heads.queries.is_multiple_of(heads.keys) {
        return Ok(());
    }
    Err(Error::invalid_request(format!("queries of {size} numbers do not belong to {heads:?}")))
}

fn check_starts(name: &str, starts: &[usize], rows: usize) -> Result<()> {
    if starts.first() == Some(&0) && starts.is_sorted() && starts.last() == Some(&rows) {
        return Ok(());
    }
    Err(Error::invalid_request(format!("{starts:?} do not say where the texts of {rows} {name} start")))
}

/// Heads as the kernels read them.
fn strided(x: &Tensor) -> Result<Strided<&[f32]>> {
    match x.strided("an operand of attention")? {
        (data, &[token, head, 1]) => Ok(Strided { data, token, head }),
        (_, strides) => Err(Error::invalid_request(format!("heads with strides of {strides:?}"))),
    }
}

fn numbers(Strided { data, token, head }: Strided<&[f32]>) -> Strided<Numbers<'_>> {
    Strided { data: Numbers::F32(data), token, head }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
