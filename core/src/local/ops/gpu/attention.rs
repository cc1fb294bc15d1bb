//! Attention by products and a softmax. candle has no fused kernel for it that is built with candle alone.

use std::ops::Range;

use ayni_kernels::attention::{Distances, Mask, Options, Span};
use candle_core::{DType, Result, Tensor};

/// The most scores that are in memory at once.
const MAX_SCORES: usize = 1 << 26;

/// `softmax(scale · q · kᵀ + mask) · v` of one text: `[query, head, size]` over `[key, head, size]`, into `[query,
/// head, size]`. `first_key` is where the text's keys begin in the mask; the mask has a value for each of them.
pub(in super::super) fn attention(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    options: Options<'_>,
    first_key: usize,
) -> Result<Tensor> {
    let (tokens, heads, size) = queries.dims3()?;
    let known = keys.dim(0)?;
    if tokens == 0 || known == 0 {
        return Tensor::zeros((tokens, heads, size), queries.dtype(), queries.device());
    }
    let (keys, values) = (spread(keys, queries, heads)?, spread(values, queries, heads)?);
    let scores = Scores { options, first_key, tokens, known, heads };
    let at_once = (MAX_SCORES / (heads * known)).max(1);
    let parts: Result<Vec<Tensor>> = (0..tokens)
        .step_by(at_once)
        .map(|first| {
            let rows = first..tokens.min(first + at_once);
            block(&queries.narrow(0, first, rows.len())?, &keys, &values, options, scores.added(rows))
        })
        .collect();
    match parts?.as_slice() {
        [all] => Ok(all.clone()),
        parts => Tensor::cat(parts, 0),
    }
}

/// Keys or values as `[head, key, size]`, each head once for every head of queries that shares it.
fn spread(x: &Tensor, queries: &Tensor, heads: usize) -> Result<Tensor> {
    let (known, of_keys, size) = x.dims3()?;
    let x = x.to_dtype(queries.dtype())?.transpose(0, 1)?.unsqueeze(1)?;
    x.broadcast_as((of_keys, heads / of_keys, known, size))?.contiguous()?.reshape((heads, known, size))
}

/// Some queries over all keys.
fn block(
    queries: &Tensor,
    keys: &Tensor,
    values: &Tensor,
    options: Options<'_>,
    added: Option<Added>,
) -> Result<Tensor> {
    let (count, heads, _) = queries.dims3()?;
    let known = keys.dim(1)?;
    let queries_first = queries.transpose(0, 1)?.contiguous()?;
    let scores = queries_first.matmul(&keys.transpose(1, 2)?.contiguous()?)?.to_dtype(DType::F32)?;
    let mut scores = (scores * f64::from(options.scale))?;
    if let Some(cap) = options.softcap {
        scores = ((scores / f64::from(cap))?.tanh()? * f64::from(cap))?;
    }
    let mut seeing = None;
    if let Some(added) = added {
        // One plane for all heads, or one for each.
        let planes = added.scores.len() / (count * known);
        let on_device =
            |values: Vec<f32>, width| Tensor::from_vec(values, (planes, count, width), queries.device());
        scores = scores.broadcast_add(&on_device(added.scores, known)?)?;
        seeing = added.seeing.map(|rows| on_device(rows, 1)).transpose()?;
    }
    let mut weights = match options.sinks {
        None => candle_nn::ops::softmax_last_dim(&scores)?,
        Some(sinks) => {
            let sinks = Tensor::new(sinks, queries.device())?.reshape((heads, 1, 1))?;
            let sinks = sinks.broadcast_as((heads, count, 1))?.contiguous()?;
            candle_nn::ops::softmax_last_dim(&Tensor::cat(&[&scores, &sinks], 2)?)?.narrow(2, 0, known)?
        }
    };
    if let Some(seeing) = seeing {
        weights = weights.broadcast_mul(&seeing)?;
    }
    weights.to_dtype(queries.dtype())?.contiguous()?.matmul(values)?.transpose(0, 1)?.contiguous()
}

/// What is added to the scores of some queries.
struct Added {
    /// A row of keys for each query, for one head after the other if heads differ. Hidden keys have a number so low
    /// that they weigh nothing, but finite: a row of nothing else must not become NaN.
    scores: Vec<f32>,
    /// 0 for each query that sees no key, else 1; `None` if all see some.
    seeing: Option<Vec<f32>>,
}

const HIDDEN: f32 = -1e30;

/// The scores of a text: of `tokens` queries over `known` keys.
struct Scores<'a> {
    options: Options<'a>,
    first_key: usize,
    tokens: usize,
    known: usize,
    heads: usize,
}

impl Scores<'_> {
    /// What is added to those of some queries, if anything.
    fn added(&self, queries: Range<usize>) -> Option<Added> {
        let Options { span, mask, .. } = self.options;
        if span == Span::ALL && matches!(mask, Mask::None) {
            return None;
        }
        let scores: Vec<f32> = match mask {
            Mask::Distances(distances) => (0..self.heads)
                .flat_map(|head| queries.clone().map(move |query| (head, query)))
                .flat_map(|(head, query)| self.row(query, Some((distances, head))))
                .collect(),
            _ => queries.flat_map(|query| self.row(query, None)).collect(),
        };
        let sees = |row: &[f32]| f32::from(row.iter().any(|added| *added > HIDDEN));
        let seeing: Vec<f32> = scores.chunks_exact(self.known).map(sees).collect();
        Some(Added { scores, seeing: seeing.contains(&0.0).then_some(seeing) })
    }

    /// What is added to the scores of a query, key by key. The last query stands at the last key.
    fn row<'a>(
        &'a self,
        query: usize,
        distances: Option<(Distances<'a>, usize)>,
    ) -> impl Iterator<Item = f32> + 'a {
        let Span { before, after } = self.options.span;
        (0..self.known).map(move |key| {
            // Both counted from the same point.
            let (query, key_at) = (query + self.known, key + self.tokens);
            if before.is_some_and(|before| key_at + before < query)
                || after.is_some_and(|after| key_at > query + after)
            {
                return HIDDEN;
            }
            let of_distance = distances.map_or(0.0, |(distances, head)| {
                let distance = key_at.cast_signed() - query.cast_signed();
                distances.of_head(head).get(distances.place(distance)).copied().unwrap_or_default()
            });
            (self.of_key(self.first_key + key) + of_distance).max(HIDDEN)
        })
    }

    /// What the mask says of a key by itself.
    fn of_key(&self, key: usize) -> f32 {
        match self.options.mask {
            Mask::None | Mask::Distances(_) => 0.0,
            Mask::Keep(keep) => {
                if keep.get(key) == Some(&true) {
                    0.0
                } else {
                    HIDDEN
                }
            }
            Mask::Add(add) => add.get(key).copied().unwrap_or(HIDDEN),
        }
    }
}
