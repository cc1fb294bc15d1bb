//! Tokens that may come next with their weights, the filters that leave some out, and the draw.
//!
//! A vocabulary has tens of thousands of tokens. Filters look closely at few of them: a list of all, or a selection over it,
//! would take longer than many a model takes for a token.

use std::cmp::Ordering;

use super::sampling::SamplingOptions;

/// Tokens and their weights: probabilities, but for a common factor.
pub(super) struct Candidates {
    pub(super) all: Vec<(u32, f64)>,
    /// Whether the likeliest come first.
    is_sorted: bool,
}

/// The likelier first, of equals the one with the lower number.
pub(super) fn by_weight(a: &(u32, f64), b: &(u32, f64)) -> Ordering {
    b.1.total_cmp(&a.1).then(a.0.cmp(&b.0))
}

impl Candidates {
    /// What top-k, else top-p, else min-p leaves, and of the first two the one after the other.
    pub(super) fn new(weights: &[f32], options: &SamplingOptions) -> Self {
        if let Some(k) = options.top_k.filter(|k| *k > 0) {
            let mut candidates = Self::top(weights, k);
            if options.top_p < 1.0 {
                candidates.keep_nucleus(options.top_p, candidates.total());
            }
            return candidates;
        }
        if options.top_p < 1.0 {
            let total = sum(weights);
            // All that are less likely have not enough together.
            #[allow(clippy::cast_precision_loss, reason = "the size of a vocabulary")]
            let least = (1.0 - f64::from(options.top_p)) * total / weights.len() as f64;
            let mut candidates = Self::at_least(weights, least);
            candidates.keep_nucleus(options.top_p, total);
            return candidates;
        }
        let most = weights.iter().copied().fold(0.0, f32::max);
        Self::at_least(weights, f64::from(options.min_p) * f64::from(most))
    }

    /// Those that are at least so likely, and may be drawn at all.
    fn at_least(weights: &[f32], least: f64) -> Self {
        let all = (0..).zip(weights).filter(|(_, weight)| **weight > 0.0 && f64::from(**weight) >= least);
        Self { all: all.map(|(token, weight)| (token, f64::from(*weight))).collect(), is_sorted: false }
    }

    fn total(&self) -> f64 {
        self.all.iter().map(|(_, weight)| weight).sum()
    }

    /// The `count` likeliest, in order.
    fn top(weights: &[f32], count: usize) -> Self {
        let mut found = Self { all: Vec::new(), is_sorted: false };
        let room = count.saturating_mul(2).saturating_add(64);
        let mut least = 0.0;
        for (token, weight) in (0..).zip(weights) {
            // Of as many that are likely, those with lower numbers are there already.
            if *weight > least {
                found.all.push((token, f64::from(*weight)));
                if found.all.len() == room {
                    found.all.select_nth_unstable_by(count, by_weight);
                    found.all.truncate(count);
                    let weights = found.all.iter().map(|(_, weight)| *weight);
                    #[allow(clippy::cast_possible_truncation, reason = "it was f32")]
                    {
                        least = weights.fold(f64::INFINITY, f64::min) as f32;
                    }
                }
            }
        }
        found.all.sort_unstable_by(by_weight);
        found.all.truncate(count);
        found.is_sorted = true;
        found
    }

    /// Keeps the likeliest that together reach a probability, at least one.
    fn keep_nucleus(&mut self, probability: f32, total: f64) {
        let wanted = f64::from(probability) * total;
        let reached = |sorted: &[(u32, f64)]| {
            let mut sum = 0.0;
            sorted.iter().position(|(_, weight)| {
                sum += weight;
                sum >= wanted
            })
        };
        // Few tokens have the probability.
        let mut sorted = if self.is_sorted { self.all.len() } else { 256.min(self.all.len()) };
        loop {
            if !self.is_sorted {
                if sorted < self.all.len() {
                    self.all.select_nth_unstable_by(sorted, by_weight);
                }
                self.all[..sorted].sort_unstable_by(by_weight);
            }
            match reached(&self.all[..sorted]) {
                Some(last) => self.all.truncate(last + 1),
                None if sorted < self.all.len() => {
                    sorted = (8 * sorted).min(self.all.len());
                    continue;
                }
                None => {}
            }
            self.is_sorted = true;
            return;
        }
    }

    /// Keeps those that are likely enough, compared with the likeliest.
    pub(super) fn keep_at_least(&mut self, share: f32) {
        let least = f64::from(share) * self.all.iter().map(|(_, weight)| *weight).fold(0.0, f64::max);
        self.all.retain(|(_, weight)| *weight >= least);
    }

    /// Keeps those whose surprise is nearest to the expected one, which together reach a probability.
    pub(super) fn keep_typical(&mut self, probability: f32) {
        let total = self.total();
        let surprise = |weight: f64| -(weight / total).ln();
        let expected: f64 = self
            .all
            .iter()
            .filter(|(_, weight)| *weight > 0.0)
            .map(|(_, weight)| weight / total * surprise(*weight))
            .sum();
        let distance = |weight: f64| (surprise(weight) - expected).abs();
        self.all.sort_by(|a, b| distance(a.1).total_cmp(&distance(b.1)).then(a.0.cmp(&b.0)));
        let (wanted, mut sum) = (f64::from(probability) * total, 0.0);
        let last = self.all.iter().position(|(_, weight)| {
            sum += weight;
            sum >= wanted
        });
        self.all.truncate(last.map_or(self.all.len(), |last| last + 1));
        self.is_sorted = false;
    }

    /// Leaves out all likely tokens but the least likely of them.
    pub(super) fn leave_out_likely(&mut self, threshold: f32) {
        let least = f64::from(threshold) * self.total();
        let likely = self.all.iter().filter(|(_, weight)| *weight >= least);
        let Some(kept) = likely.clone().max_by(|a, b| by_weight(a, b)).copied() else { return };
        self.all.retain(|candidate| candidate.1 < least || candidate.0 == kept.0);
    }

    /// The token at a place between 0 and 1.
    pub(super) fn draw(&self, place: f64) -> Option<u32> {
        let mut rest = place * self.total();
        let found = self.all.iter().find(|(_, weight)| {
            rest -= weight;
            rest < 0.0
        });
        found.or(self.all.last()).map(|(token, _)| *token)
    }
}

/// The sum of weights, several at a time.
fn sum(weights: &[f32]) -> f64 {
    let (chunks, rest) = weights.as_chunks::<8>();
    let mut sums = [0.0_f64; 8];
    for chunk in chunks {
        for (sum, weight) in sums.iter_mut().zip(chunk) {
            *sum += f64::from(*weight);
        }
    }
    sums.iter().sum::<f64>() + rest.iter().copied().map(f64::from).sum::<f64>()
}

/// The token at a place between 0 and 1, of all.
pub(super) fn draw_of_all(weights: &[f32], place: f64) -> Option<u32> {
    const CHUNK: usize = 1024;
    let mut rest = place * sum(weights);
    let mut last = None;
    for (chunk, first) in weights.chunks(CHUNK).zip((0_u32..).step_by(CHUNK)) {
        let here = sum(chunk);
        if rest >= here {
            rest -= here;
            // Where roundings leave something after the last: that is drawn which could be at last.
            last = (first..)
                .zip(chunk)
                .filter(|(_, weight)| **weight > 0.0)
                .last()
                .map_or(last, |(t, _)| Some(t));
            continue;
        }
        for (token, weight) in (first..).zip(chunk).filter(|(_, weight)| **weight > 0.0) {
            rest -= f64::from(*weight);
            last = Some(token);
            if rest < 0.0 {
                return last;
            }
        }
    }
    last
}
