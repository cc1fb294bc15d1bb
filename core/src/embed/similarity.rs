//! Cosine similarity, and the nearest of many vectors.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::Serialize;

use super::vectors::Vectors;
use crate::error::{Error, Result};

/// Partial sums kept side by side: enough for the widest registers. The order of summation is the same for every vector.
const LANES: usize = 16;

/// Sums of squares below this have lost precision to f32 underflow.
const SMALLEST_SQUARE: f32 = 1e-30;

/// The cosine of the angle between two vectors: from -1 to 1, and 1 for the same direction. For vectors of unit length it
/// is their dot product. With a zero vector it is 0.
///
/// ```
/// # fn main() -> ayni::Result<()> {
/// assert_eq!(ayni::embed::similarity(&[3.0, 4.0], &[6.0, 8.0])?, 1.0);
/// assert_eq!(ayni::embed::similarity(&[1.0, 0.0], &[0.0, 1.0])?, 0.0);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// `invalid_request` if they differ in width, or a number is not finite.
pub fn similarity(a: &[f32], b: &[f32]) -> Result<f32> {
    same_width(a.len(), b.len())?;
    cosine(a, b).ok_or_else(not_finite)
}

/// One of the vectors that are most similar to a query.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[non_exhaustive]
pub struct Match {
    /// Its position among the vectors.
    pub index: usize,
    /// The cosine similarity to the query.
    pub score: f32,
}

impl Vectors {
    /// The `k` vectors most [similar](similarity) to `query`, the best first, and of equals the one with the lower index.
    /// Fewer if there are fewer. Vectors with a number that is not finite are left out.
    ///
    /// ```
    /// # fn main() -> ayni::Result<()> {
    /// let vectors = ayni::Vectors::new(vec![1.0, 0.0, 0.0, 1.0, 0.6, 0.8], 2)?;
    /// let best: Vec<usize> = vectors.top_k(&[0.0, 2.0], 2)?.iter().map(|found| found.index).collect();
    /// assert_eq!(best, [1, 2]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// `invalid_request` if the query differs in width, or one of its numbers is not finite.
    pub fn top_k(&self, query: &[f32], k: usize) -> Result<Vec<Match>> {
        same_width(query.len(), self.width())?;
        if !query.iter().all(|number| number.is_finite()) {
            return Err(not_finite());
        }
        let scores =
            self.iter().enumerate().filter_map(|(index, vector)| Some((index, cosine(query, vector)?)));
        let best = best(scores.map(|(index, score)| Ranked { index, rank: score }), k);
        Ok(best.into_iter().map(|found| Match { index: found.index, score: found.rank }).collect())
    }
}

pub(super) fn same_width(a: usize, b: usize) -> Result<()> {
    match a == b {
        true => Ok(()),
        false => Err(Error::invalid_request(format!("vectors of width {a} and {b} cannot be compared"))),
    }
}

fn not_finite() -> Error {
    Error::invalid_request("a vector to compare holds NaN or infinity")
}

/// A position and its rank, ordered so that the best is the greatest, and of equals the first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranked<R> {
    pub(super) index: usize,
    pub(super) rank: R,
}

/// A rank with a total order.
pub(super) trait Rank: Copy {
    fn order(self, other: Self) -> Ordering;
}

impl Rank for f32 {
    fn order(self, other: Self) -> Ordering {
        self.total_cmp(&other)
    }
}

/// Fewer bits of difference are better.
impl Rank for u32 {
    fn order(self, other: Self) -> Ordering {
        other.cmp(&self)
    }
}

impl<R: Rank> Ord for Ranked<R> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.rank.order(other.rank).then(other.index.cmp(&self.index))
    }
}

impl<R: Rank> PartialOrd for Ranked<R> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<R: Rank> PartialEq for Ranked<R> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<R: Rank> Eq for Ranked<R> {}

/// The `k` best, the best first. Never holds more than `k`.
pub(super) fn best<R: Rank>(all: impl Iterator<Item = Ranked<R>>, k: usize) -> Vec<Ranked<R>> {
    // A heap with the worst candidate on top.
    let mut heap = BinaryHeap::new();
    for candidate in all {
        if heap.len() < k {
            heap.push(std::cmp::Reverse(candidate));
        } else if let Some(mut worst) = heap.peek_mut()
            && candidate > worst.0
        {
            worst.0 = candidate;
        }
    }
    heap.into_sorted_vec().into_iter().map(|entry| entry.0).collect()
}

/// The cosine; `None` if a number is not finite.
fn cosine(a: &[f32], b: &[f32]) -> Option<f32> {
    let [dot, a_squared, b_squared] = sums(a, b);
    // Squares may overflow or underflow f32 although the cosine is fine: then f64.
    let is_exact = |squared: f32| (SMALLEST_SQUARE..f32::INFINITY).contains(&squared);
    if !(is_exact(a_squared) && is_exact(b_squared) && dot.is_finite()) {
        return slow_cosine(a, b);
    }
    Some((dot / (a_squared.sqrt() * b_squared.sqrt())).clamp(-1.0, 1.0))
}

/// `a·b`, `a·a` and `b·b` in one pass.
fn sums(a: &[f32], b: &[f32]) -> [f32; 3] {
    let mut lanes = [[0.0f32; LANES]; 3];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a_parts.remainder(), b_parts.remainder());
    for (a, b) in a_parts.zip(b_parts) {
        for lane in 0..LANES {
            lanes[0][lane] += a[lane] * b[lane];
            lanes[1][lane] += a[lane] * a[lane];
            lanes[2][lane] += b[lane] * b[lane];
        }
    }
    for (lane, (a, b)) in a_rest.iter().zip(b_rest).enumerate() {
        lanes[0][lane] += a * b;
        lanes[1][lane] += a * a;
        lanes[2][lane] += b * b;
    }
    lanes.map(|lanes| lanes.iter().sum())
}

/// The cosine in f64, which holds the square of every f32.
fn slow_cosine(a: &[f32], b: &[f32]) -> Option<f32> {
    let [mut dot, mut a_squared, mut b_squared] = [0.0f64; 3];
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        dot += a * b;
        a_squared += a * a;
        b_squared += b * b;
    }
    if !(dot.is_finite() && a_squared.is_finite() && b_squared.is_finite()) {
        return None;
    }
    let lengths = a_squared.sqrt() * b_squared.sqrt();
    #[allow(clippy::cast_possible_truncation, reason = "between -1 and 1")]
    Some(if lengths == 0.0 { 0.0 } else { (dot / lengths).clamp(-1.0, 1.0) as f32 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn indices(found: &[Match]) -> Vec<usize> {
        found.iter().map(|found| found.index).collect()
    }

    /// Numbers between -1 and 1 without a pattern.
    fn random(count: usize, seed: u32) -> Vec<f32> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn the_quick_cosine_is_the_exact_one() {
        for width in [1, 2, 15, 16, 17, 384, 1000] {
            let (a, b) = (random(width, 1), random(width, 2));
            let exact = slow_cosine(&a, &b).unwrap();
            assert!((similarity(&a, &b).unwrap() - exact).abs() < 1e-6, "{width}");
            assert!((similarity(&a, &a).unwrap() - 1.0).abs() < 1e-6, "{width}");
        }
    }

    #[test]
    fn extreme_numbers_have_a_cosine_too() {
        for size in [1e30f32, 1e-30, 1e-40, f32::MAX] {
            assert_eq!(similarity(&[size, 0.0], &[size, 0.0]).unwrap(), 1.0, "{size}");
            assert_eq!(similarity(&[size, 0.0], &[-size, 0.0]).unwrap(), -1.0, "{size}");
        }
        assert_eq!(similarity(&[0.0, 0.0], &[1.0, 2.0]).unwrap(), 0.0);
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        for (a, b) in [
            (&[1.0][..], &[1.0, 2.0][..]),
            (&[f32::NAN, 0.0], &[1.0, 2.0]),
            (&[1.0, 2.0], &[f32::INFINITY, 0.0]),
        ] {
            assert_eq!(similarity(a, b).unwrap_err().kind(), ErrorKind::InvalidRequest, "{a:?} {b:?}");
        }
        let vectors = Vectors::new(vec![1.0, 0.0], 2).unwrap();
        assert_eq!(vectors.top_k(&[1.0], 1).unwrap_err().kind(), ErrorKind::InvalidRequest);
        assert_eq!(vectors.top_k(&[f32::NAN, 1.0], 1).unwrap_err().kind(), ErrorKind::InvalidRequest);
    }

    #[test]
    fn the_best_are_those_that_sorting_everything_would_put_first() {
        let width = 20;
        let vectors = Vectors::new(random(width * 500, 3), width).unwrap();
        let query = random(width, 4);
        let mut sorted: Vec<(usize, f32)> =
            vectors.iter().map(|vector| similarity(&query, vector).unwrap()).enumerate().collect();
        sorted.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        for k in [0, 1, 2, 10, 499, 500, 1000] {
            let found = vectors.top_k(&query, k).unwrap();
            let expected: Vec<usize> = sorted.iter().take(k).map(|(index, _)| *index).collect();
            assert_eq!(indices(&found), expected, "{k}");
            assert!(found.iter().all(|found| sorted.contains(&(found.index, found.score))));
        }
    }

    #[test]
    fn of_equals_the_first_are_kept_in_their_order() {
        let vectors = Vectors::new([1.0, 0.0].repeat(10), 2).unwrap();
        assert_eq!(indices(&vectors.top_k(&[1.0, 0.0], 4).unwrap()), [0, 1, 2, 3]);
    }

    #[test]
    fn vectors_that_are_not_numbers_are_never_found() {
        let nan = f32::NAN;
        let numbers = vec![nan, nan, 0.0, 1.0, f32::INFINITY, 0.0, -1.0, 0.0, 0.0, 0.0];
        let vectors = Vectors::new(numbers, 2).unwrap();
        assert_eq!(indices(&vectors.top_k(&[1.0, 1.0], 9).unwrap()), [1, 4, 3]);
    }
}
