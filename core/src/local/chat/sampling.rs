//! From logits to the next token: penalties, temperature, the filters that models are used with, and the draw.
//!
//! The order is that of transformers: penalties and biases, temperature, top-k, top-p, min-p, typical, then XTC of llama.cpp.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use ayni_kernels::softmax::softmax;
use ayni_kernels::{Cpu, Isa, Pool, Source};
use serde_json::Value;

use super::candidates::{Candidates, by_weight, draw_of_all};
use crate::chat::ChatRequest;
use crate::error::{Error, Result};
use crate::local::ops::OrFail;
use crate::local::tokenizer::ChatTokenizer;

/// The names of [`ChatRequest::extra`] that are options of sampling.
pub(super) const EXTRA: &[&str] = &[
    "min_p",
    "typical_p",
    "repetition_penalty",
    "logit_bias",
    "xtc_probability",
    "xtc_threshold",
    "dry_multiplier",
    "dry_base",
    "dry_allowed_length",
];

/// What ends a repetition, whatever comes before and after: as llama.cpp has it.
const DRY_BREAKERS: [char; 4] = ['\n', ':', '"', '*'];

/// The inverse of the lowest temperature: lower ones make no difference any more.
const MAX_SCALE: f32 = 1e30;

/// The longest repetition that DRY looks at: longer ones are not less likely.
const DRY_MOST: usize = 64;

/// How the next token is chosen.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct SamplingOptions {
    /// 0 always takes the likeliest token.
    pub(super) temperature: f32,
    /// Only so many of the likeliest tokens.
    pub(super) top_k: Option<usize>,
    /// Only the likeliest tokens that together reach this probability.
    pub(super) top_p: f32,
    /// Only tokens at least this likely, compared with the likeliest.
    pub(super) min_p: f32,
    /// Only the tokens whose surprise is nearest to the expected one, which together reach this probability.
    pub(super) typical_p: f32,
    /// Divides the logits of tokens that occurred in prompt or answer, or multiplies negative ones.
    pub(super) repetition_penalty: f32,
    /// Subtracted for each time that a token occurred in the answer.
    pub(super) frequency_penalty: f32,
    /// Subtracted for tokens that occurred in the answer.
    pub(super) presence_penalty: f32,
    /// How often all but the least likely of the likely tokens are left out.
    pub(super) xtc_probability: f32,
    /// How likely a token is at least for that.
    pub(super) xtc_threshold: f32,
    /// DRY: how strongly tokens are avoided that would go on with a repetition; 0 not at all.
    pub(super) dry_multiplier: f32,
    /// How much more strongly for each token that the repetition is longer.
    pub(super) dry_base: f32,
    /// Repetitions of so many tokens are left alone.
    pub(super) dry_allowed_length: f32,
    /// Added to the logits of tokens.
    pub(super) logit_bias: Vec<(u32, f32)>,
    /// Makes the draws repeatable.
    pub(super) seed: Option<u64>,
}

impl Default for SamplingOptions {
    fn default() -> Self {
        Self {
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
            typical_p: 1.0,
            repetition_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            xtc_probability: 0.0,
            xtc_threshold: 0.1,
            dry_multiplier: 0.0,
            dry_base: 1.75,
            dry_allowed_length: 2.0,
            logit_bias: Vec::new(),
            seed: None,
        }
    }
}

impl SamplingOptions {
    /// The options of a request, over the model's own.
    ///
    /// # Errors
    /// `invalid_request` naming the option whose value makes no sense.
    pub(super) fn of_request(request: &ChatRequest, defaults: &Self, vocab_size: usize) -> Result<Self> {
        let extra = |key: &str, default: f32| match request.extra.get(key) {
            None | Some(Value::Null) => Ok(default),
            #[allow(clippy::cast_possible_truncation, reason = "probabilities and penalties")]
            Some(value) => value
                .as_f64()
                .map(|number| number as f32)
                .ok_or_else(|| Error::invalid_request(format!("`{key}` is {value}; it must be a number"))),
        };
        let options = Self {
            temperature: request.temperature.unwrap_or(defaults.temperature),
            top_k: match request.top_k {
                Some(k) => usize::try_from(k).ok(),
                None => defaults.top_k,
            },
            top_p: request.top_p.unwrap_or(defaults.top_p),
            min_p: extra("min_p", defaults.min_p)?,
            typical_p: extra("typical_p", defaults.typical_p)?,
            repetition_penalty: extra("repetition_penalty", defaults.repetition_penalty)?,
            frequency_penalty: request.frequency_penalty.unwrap_or(0.0),
            presence_penalty: request.presence_penalty.unwrap_or(0.0),
            xtc_probability: extra("xtc_probability", defaults.xtc_probability)?,
            xtc_threshold: extra("xtc_threshold", defaults.xtc_threshold)?,
            dry_multiplier: extra("dry_multiplier", 0.0)?,
            dry_base: extra("dry_base", defaults.dry_base)?,
            dry_allowed_length: extra("dry_allowed_length", defaults.dry_allowed_length)?,
            logit_bias: logit_bias(request.extra.get("logit_bias"), vocab_size)?,
            seed: request.seed,
        };
        options.check()?;
        Ok(options)
    }

    pub(super) fn check(&self) -> Result<()> {
        let finite = |name: &str, value: f32, fits: bool, wanted: &str| match value.is_finite() && fits {
            true => Ok(()),
            false => Err(Error::invalid_request(format!("`{name}` is {value}; it must be {wanted}"))),
        };
        let share = |name: &str, value: f32| {
            finite(name, value, (0.0..=1.0).contains(&value), "a number from 0 to 1")
        };
        finite("temperature", self.temperature, self.temperature >= 0.0, "a number from 0 up")?;
        share("top_p", self.top_p)?;
        share("min_p", self.min_p)?;
        share("typical_p", self.typical_p)?;
        share("xtc_probability", self.xtc_probability)?;
        share("xtc_threshold", self.xtc_threshold)?;
        let penalty = self.repetition_penalty;
        finite("repetition_penalty", penalty, penalty > 0.0, "a number above 0")?;
        let dry = |name: &str, value: f32, least: f32| {
            finite(name, value, value >= least, &format!("a number from {least} up"))
        };
        dry("dry_multiplier", self.dry_multiplier, 0.0)?;
        dry("dry_base", self.dry_base, 1.0)?;
        dry("dry_allowed_length", self.dry_allowed_length, 0.0)?;
        finite("frequency_penalty", self.frequency_penalty, true, "a finite number")?;
        finite("presence_penalty", self.presence_penalty, true, "a finite number")
    }
}

/// `{"token id": number}`, as OpenAI has it.
#[allow(clippy::cast_possible_truncation, reason = "biases are small")]
fn logit_bias(value: Option<&Value>, vocab_size: usize) -> Result<Vec<(u32, f32)>> {
    let wrong = || Error::invalid_request("`logit_bias` must be an object of numbers by token id");
    let all = match value {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(value) => value.as_object().ok_or_else(wrong)?,
    };
    let one = |(token, bias): (&String, &Value)| {
        let token: u32 = token.parse().map_err(|_| wrong())?;
        let bias = bias.as_f64().filter(|bias| bias.is_finite()).ok_or_else(wrong)? as f32;
        if token as usize >= vocab_size {
            return Err(Error::invalid_request(format!(
                "`logit_bias` names token {token}; the model has {vocab_size}"
            )));
        }
        Ok((token, bias))
    };
    all.iter().map(one).collect()
}

/// Chooses the tokens of one answer.
#[derive(Debug)]
pub(super) struct Sampler {
    options: SamplingOptions,
    random: Random,
    /// How often each token occurred in the answer; zero for those of the prompt alone.
    seen: HashMap<u32, u32>,
    /// Logits that differ from the model's, reused from token to token.
    changed: Vec<f32>,
    /// The probability of each token, reused as well.
    weights: Vec<f32>,
    /// What computes them.
    cpu: Cpu,
    /// Prompt and answer, where DRY looks for repetitions; nothing in place of tokens that end one.
    history: Vec<Option<u32>>,
}

impl Sampler {
    /// For the answer to a prompt.
    pub(super) fn new(
        options: SamplingOptions,
        prompt: &[u32],
        tokenizer: Option<&ChatTokenizer>,
        isa: Isa,
    ) -> Self {
        let seed = options.seed.unwrap_or_else(|| RandomState::new().hash_one(0));
        let of_prompt = if has_effect(options.repetition_penalty, 1.0) { prompt } else { &[] };
        Self {
            seen: of_prompt.iter().map(|token| (*token, 0)).collect(),
            random: Random(seed),
            changed: Vec::new(),
            weights: Vec::new(),
            cpu: Cpu { isa, pool: Pool::alone() },
            history: match options.dry_multiplier > 0.0 {
                true => prompt.iter().map(|token| unless_breaker(*token, tokenizer)).collect(),
                false => Vec::new(),
            },
            options,
        }
    }

    /// Takes note of a token of the answer.
    pub(super) fn accept(&mut self, token: u32, tokenizer: Option<&ChatTokenizer>) {
        *self.seen.entry(token).or_default() += 1;
        if self.options.dry_multiplier > 0.0 {
            self.history.push(unless_breaker(token, tokenizer));
        }
    }

    /// The next token. `mask` has a bit for each token that may come, where some may not.
    ///
    /// # Errors
    /// `response_invalid` if the model gave no number to choose by, or nothing is allowed.
    pub(super) fn sample(&mut self, logits: &[f32], mask: Option<&[u32]>) -> Result<u32> {
        let mut changed = std::mem::take(&mut self.changed);
        let changes = self.changes();
        let logits = match changes || mask.is_some() {
            false => logits,
            true => {
                changed.clear();
                changed.extend_from_slice(logits);
                if changes {
                    self.change(&mut changed);
                }
                if let Some(mask) = mask {
                    forbid(&mut changed, mask);
                }
                &changed
            }
        };
        let token = self.choose(logits);
        self.changed = changed;
        token
    }

    /// Whether logits are changed before the choice.
    fn changes(&self) -> bool {
        let options = &self.options;
        !options.logit_bias.is_empty()
            || has_effect(options.repetition_penalty, 1.0)
            || has_effect(options.frequency_penalty, 0.0)
            || has_effect(options.presence_penalty, 0.0)
            || options.dry_multiplier > 0.0
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of tokens in an answer")]
    fn change(&self, logits: &mut [f32]) {
        let options = &self.options;
        for (token, count) in &self.seen {
            let Some(logit) = logits.get_mut(*token as usize) else { continue };
            let penalty = options.repetition_penalty;
            *logit = if *logit > 0.0 { *logit / penalty } else { *logit * penalty };
            if *count > 0 {
                *logit -= options.presence_penalty + options.frequency_penalty * *count as f32;
            }
        }
        for (token, length) in self.repetitions() {
            let beyond = length as f32 - options.dry_allowed_length;
            if let Some(logit) = logits.get_mut(token as usize)
                && beyond >= 0.0
            {
                *logit -= options.dry_multiplier * options.dry_base.powf(beyond);
            }
        }
        for (token, bias) in &options.logit_bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
    }

    /// The tokens that would go on with a repetition of what came last, and how long it is.
    fn repetitions(&self) -> HashMap<u32, usize> {
        let mut longest = HashMap::new();
        let Some((Some(last), before)) = self.history.split_last() else { return longest };
        let ends = before.iter().enumerate().filter(|(_, token)| **token == Some(*last));
        for (end, _) in ends {
            let Some(Some(next)) = self.history.get(end + 1) else { continue };
            let earlier = before[..end].iter().rev().zip(before.iter().rev());
            let same = earlier.take(DRY_MOST).take_while(|(a, b)| a == b && a.is_some()).count();
            let length = longest.entry(*next).or_insert(0);
            *length = (*length).max(same + 1);
        }
        longest
    }

    fn choose(&mut self, logits: &[f32]) -> Result<u32> {
        let (best, most) = likeliest(logits);
        if !most.is_finite() {
            return Err(Error::response_invalid("the model gave no token that may come next"));
        }
        if self.options.temperature == 0.0 {
            return Ok(best);
        }
        let mut weights = std::mem::take(&mut self.weights);
        weights.resize(logits.len(), 0.0);
        let scale = (1.0 / self.options.temperature).min(MAX_SCALE);
        softmax(&self.cpu, &mut weights, Source::From(logits), logits.len(), scale).or_fail()?;
        let token = self.draw(&weights).unwrap_or(best);
        self.weights = weights;
        Ok(token)
    }

    /// Draws one of the tokens that the filters leave.
    fn draw(&mut self, weights: &[f32]) -> Option<u32> {
        let options = &self.options;
        let leaves_out = options.xtc_probability > 0.0;
        let filters = options.top_k.is_some_and(|k| k > 0)
            || options.top_p < 1.0
            || options.min_p > 0.0
            || options.typical_p < 1.0;
        if !filters && !leaves_out {
            return draw_of_all(weights, self.random.next());
        }
        let mut candidates = Candidates::new(weights, options);
        if options.min_p > 0.0 {
            candidates.keep_at_least(options.min_p);
        }
        if options.typical_p < 1.0 {
            candidates.keep_typical(options.typical_p);
        }
        if leaves_out && self.random.next() < f64::from(options.xtc_probability) {
            candidates.leave_out_likely(options.xtc_threshold);
        }
        candidates.draw(self.random.next())
    }
}

/// Nothing for a token that ends a repetition.
fn unless_breaker(token: u32, tokenizer: Option<&ChatTokenizer>) -> Option<u32> {
    let text = tokenizer.map_or(&[][..], |tokenizer| tokenizer.bytes_of(token));
    let breaks = DRY_BREAKERS.iter().any(|breaker| text.contains(&(*breaker as u8)));
    (!breaks).then_some(token)
}

#[allow(clippy::float_cmp, reason = "exactly the number that changes nothing")]
fn has_effect(value: f32, none: f32) -> bool {
    value != none
}

/// Leaves only tokens whose bit is set. A vocabulary has tens of thousands, of which a grammar mostly allows few or all.
fn forbid(logits: &mut [f32], mask: &[u32]) {
    let known = logits.len().min(mask.len() * 32);
    logits[known..].fill(f32::NEG_INFINITY);
    for (logits, word) in logits.chunks_mut(32).zip(mask) {
        match *word {
            u32::MAX => {}
            0 => logits.fill(f32::NEG_INFINITY),
            word => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// The first token with the greatest logit, and that; NaN if one is not a number.
#[allow(clippy::float_cmp, reason = "a logit is looked for that was found")]
fn likeliest(logits: &[f32]) -> (u32, f32) {
    // Side by side, so that the compiler compares many at once.
    let (mut most, mut is_nan) = ([f32::NEG_INFINITY; 16], [false; 16]);
    let (chunks, rest) = logits.as_chunks::<16>();
    for chunk in chunks {
        for (lane, logit) in chunk.iter().enumerate() {
            most[lane] = if *logit > most[lane] { *logit } else { most[lane] };
            is_nan[lane] |= logit.is_nan();
        }
    }
    if is_nan.contains(&true) || rest.iter().any(|logit| logit.is_nan()) {
        return (0, f32::NAN);
    }
    let most = most.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max);
    let first = (0..).zip(logits).find(|(_, logit)| **logit == most);
    (first.map_or(0, |(token, _)| token), most)
}

/// SplitMix64: as good as needed, and the same on every machine.
#[derive(Debug)]
struct Random(u64);

impl Random {
    /// A number from 0 up to 1.
    #[allow(clippy::cast_precision_loss, reason = "53 bits, which f64 holds exactly")]
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
        (x >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// How likely a token was by the model's own logits, and the likeliest tokens.
#[allow(clippy::float_cmp, reason = "a logit is compared with itself")]
pub(super) fn log_probabilities(logits: &[f32], token: u32, top: usize) -> (f64, Vec<(u32, f64)>) {
    let most = f64::from(likeliest(logits).1);
    let total: f64 = logits.iter().map(|logit| (f64::from(*logit) - most).exp()).sum();
    let normal = most + total.ln();
    let of =
        |token: u32| logits.get(token as usize).map_or(f64::NEG_INFINITY, |logit| f64::from(*logit) - normal);
    let mut all: Vec<(u32, f64)> = Vec::new();
    if top > 0 {
        all = (0..).zip(logits).map(|(token, logit)| (token, f64::from(*logit) - normal)).collect();
        if top < all.len() {
            all.select_nth_unstable_by(top, by_weight);
            all.truncate(top);
        }
        all.sort_unstable_by(by_weight);
    }
    (of(token), all)
}

#[cfg(test)]
#[path = "sampling_tests.rs"]
mod tests;
