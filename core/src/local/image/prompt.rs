//! Prompts: words with weights, cut into pieces that the text encoders take.

use serde_json::Value;

use super::loras::LoraGroup;
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::ModelFiles;
use crate::local::tokenizer::{Cleaning, Tokenizer};

/// The most tokens of a prompt.
pub(crate) const MAX_PROMPT_TOKENS: usize = 75 * 8;

/// The most bytes: no tokenizer of CLIP makes so few tokens of so much text, white space aside.
const MAX_BYTES: usize = MAX_PROMPT_TOKENS * 64;

/// What round and square brackets multiply a weight with.
const STRONGER: f32 = 1.1;
const WEAKER: f32 = 1.0 / 1.1;

/// A prompt to be encoded.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Prompt {
    pub(crate) text: String,
    /// Whether `(word:1.2)`, `(word)` and `[word]` are weights; else they are text.
    pub(crate) weighted: bool,
    /// How many of the last layers of the text encoder are left out: 0 is diffusers' default for the family.
    pub(crate) clip_skip: usize,
    /// The LoRAs of its request.
    pub(crate) loras: LoraGroup,
}

/// The tokenizer of one text encoder.
#[derive(Debug)]
pub(super) struct PromptTokenizer {
    tokenizer: Tokenizer,
    start: u32,
    end: u32,
    padding: u32,
    window: usize,
}

/// A prompt's tokens, in pieces of the encoder's window, each with start and end.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PromptTokens {
    pub(super) pieces: Vec<Vec<u32>>,
    /// The weight of each token of each piece; empty if all are one.
    pub(super) weights: Vec<f32>,
    /// How many tokens the prompt itself has.
    pub(super) count: usize,
}

impl PromptTokenizer {
    /// The tokenizer in a folder, for an encoder with such a window and vocabulary.
    ///
    /// # Errors
    /// `model_load` if there is none, or it does not fit the encoder.
    pub(super) fn new(files: &ModelFiles, window: usize, vocabulary: usize) -> Result<Self> {
        let wrong = |why: String| Error::new(ErrorKind::ModelLoad, why);
        let tokenizer = Tokenizer::of_model(files, Cleaning::None)?;
        let (&[start], &[end]) = tokenizer.special_ids() else {
            return Err(wrong("the tokenizer does not put one token before and one after a text".to_owned()));
        };
        if tokenizer.highest_id() as usize >= vocabulary || window < 3 {
            return Err(wrong(format!(
                "the tokenizer's ids go up to {}, the text encoder knows {vocabulary}",
                tokenizer.highest_id()
            )));
        }
        let padding = padding(files, &tokenizer)?.unwrap_or(end);
        Ok(Self { tokenizer, start, end, padding, window })
    }

    /// A prompt's tokens.
    ///
    /// # Errors
    /// `invalid_request` for one that is too long.
    pub(super) fn tokens(&self, prompt: &Prompt) -> Result<PromptTokens> {
        let length = prompt.text.len();
        if length > MAX_BYTES {
            return Err(Error::invalid_request(format!(
                "the prompt has {length} bytes; at most {MAX_BYTES} are taken, and {MAX_PROMPT_TOKENS} tokens"
            )));
        }
        let parts = match prompt.weighted {
            true => weighted_parts(&prompt.text),
            false => vec![(prompt.text.clone(), 1.0)],
        };
        let (mut ids, mut weights) = (Vec::new(), Vec::new());
        for (text, weight) in &parts {
            ids.extend(self.tokenizer.plain_ids(text)?);
            weights.resize(ids.len(), *weight);
        }
        let count = ids.len();
        if count > MAX_PROMPT_TOKENS {
            return Err(Error::invalid_request(format!(
                "the prompt has {count} tokens; at most {MAX_PROMPT_TOKENS} are taken"
            )));
        }
        let room = self.window - 2;
        let mut pieces: Vec<Vec<u32>> = ids.chunks(room).map(|ids| self.piece(ids)).collect();
        if pieces.is_empty() {
            pieces.push(self.piece(&[]));
        }
        let is_weighted = weights.iter().any(|weight| *weight != 1.0);
        let of_piece = |weights: &[f32]| {
            let mut all = vec![1.0; self.window];
            all[1..=weights.len()].copy_from_slice(weights);
            all
        };
        let weights =
            if is_weighted { weights.chunks(room).flat_map(of_piece).collect() } else { Vec::new() };
        Ok(PromptTokens { pieces, weights, count })
    }

    fn piece(&self, ids: &[u32]) -> Vec<u32> {
        let mut piece = [&[self.start], ids, &[self.end]].concat();
        piece.resize(self.window, self.padding);
        piece
    }
}

/// The token that texts are padded with, as either of the two files says it.
fn padding(files: &ModelFiles, tokenizer: &Tokenizer) -> Result<Option<u32>> {
    for name in ["tokenizer_config.json", "special_tokens_map.json"] {
        let config: Option<Value> = files.json(name)?;
        let token = config.as_ref().and_then(|config| config.get("pad_token"));
        let token = token.map(|token| token.get("content").unwrap_or(token)).and_then(Value::as_str);
        if let Some(id) = token.and_then(|token| tokenizer.id_of(token)) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// A prompt as A1111 reads it: `(a)` is 1.1 times as strong, `[a]` as weak, `(a:1.3)` is 1.3 times as strong; a backslash
/// before a bracket makes it text. Brackets that don't close reach to the end.
fn weighted_parts(prompt: &str) -> Vec<(String, f32)> {
    let mut parts: Vec<(String, f32)> = Vec::new();
    let (mut round, mut square) = (Vec::new(), Vec::new());
    let multiply = |parts: &mut [(String, f32)], from: usize, factor: f32| {
        parts.iter_mut().skip(from).for_each(|(_, weight)| *weight *= factor);
    };
    let mut rest = prompt;
    while let Some(first) = rest.chars().next() {
        let mut length = first.len_utf8();
        match first {
            '\\' => {
                let next = rest[length..].chars().next().filter(|next| "()[]\\".contains(*next));
                length += next.map_or(0, char::len_utf8);
                parts.push((next.unwrap_or('\\').to_string(), 1.0));
            }
            '(' => round.push(parts.len()),
            '[' => square.push(parts.len()),
            ')' if !round.is_empty() => multiply(&mut parts, round.pop().unwrap_or(0), STRONGER),
            ']' if !square.is_empty() => multiply(&mut parts, square.pop().unwrap_or(0), WEAKER),
            ':' if !round.is_empty() => match weight(&rest[length..]) {
                Some((weight, taken)) => {
                    multiply(&mut parts, round.pop().unwrap_or(0), weight);
                    length += taken;
                }
                None => parts.push((":".to_owned(), 1.0)),
            },
            ')' | ']' | ':' => parts.push((first.to_string(), 1.0)),
            _ => {
                length = rest.find(['\\', '(', ')', '[', ']', ':']).unwrap_or(rest.len());
                parts.push((rest[..length].to_owned(), 1.0));
            }
        }
        rest = &rest[length..];
    }
    round.into_iter().for_each(|from| multiply(&mut parts, from, STRONGER));
    square.into_iter().for_each(|from| multiply(&mut parts, from, WEAKER));
    let mut merged: Vec<(String, f32)> = Vec::new();
    for (text, weight) in parts {
        match merged.last_mut().filter(|(_, last)| *last == weight) {
            Some((before, _)) => before.push_str(&text),
            None => merged.push((text, weight)),
        }
    }
    merged
}

/// The number before a closing bracket, and how many bytes both take.
fn weight(text: &str) -> Option<(f32, usize)> {
    let end = text.find(')')?;
    let weight: f32 = text[..end].trim().parse().ok()?;
    // What a parser of numbers takes besides digits is no weight.
    let is_plain = text[..end].trim().bytes().all(|byte| byte.is_ascii_digit() || b"+-.".contains(&byte));
    (weight.is_finite() && is_plain).then_some((weight, end + 1))
}

/// Multiplies each token's states with its weight, and restores their mean, as A1111 does.
pub(super) fn apply_weights(states: &mut [f32], width: usize, weights: &[f32]) {
    let mean =
        |states: &[f32]| states.iter().map(|x| f64::from(*x)).sum::<f64>() / states.len().max(1) as f64;
    let before = mean(states);
    for (state, weight) in states.chunks_exact_mut(width.max(1)).zip(weights) {
        state.iter_mut().for_each(|value| *value *= weight);
    }
    let factor = before / mean(states);
    if factor.is_finite() {
        states.iter_mut().for_each(|value| *value = (f64::from(*value) * factor) as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(prompt: &str) -> Vec<(String, f32)> {
        let rounded = |(text, weight): (String, f32)| (text, (weight * 1000.0).round() / 1000.0);
        weighted_parts(prompt).into_iter().map(rounded).collect()
    }

    #[test]
    fn weights_are_read_as_a1111_reads_them() {
        // The examples of its own documentation.
        let plain = |text: &str| vec![(text.to_owned(), 1.0)];
        assert_eq!(parts("normal text"), plain("normal text"));
        assert_eq!(
            parts("an (important) word"),
            [("an ".to_owned(), 1.0), ("important".to_owned(), 1.1), (" word".to_owned(), 1.0)]
        );
        assert_eq!(parts("(unbalanced"), [("unbalanced".to_owned(), 1.1)]);
        assert_eq!(parts("\\(literal\\]"), plain("(literal]"));
        assert_eq!(parts("(unnecessary)(parens)"), [("unnecessaryparens".to_owned(), 1.1)]);
        assert_eq!(
            parts("a (((house:1.3)) [on] a (hill:0.5), sun, (((sky)))."),
            [
                ("a ".to_owned(), 1.0),
                ("house".to_owned(), 1.573),
                (" ".to_owned(), 1.1),
                ("on".to_owned(), 1.0),
                (" a ".to_owned(), 1.1),
                ("hill".to_owned(), 0.55),
                (", sun, ".to_owned(), 1.1),
                ("sky".to_owned(), 1.464),
                (".".to_owned(), 1.1),
            ]
        );
        assert_eq!(
            parts("a:b (c:d) 1:2"),
            [("a:b ".to_owned(), 1.0), ("c:d".to_owned(), 1.1), (" 1:2".to_owned(), 1.0)]
        );
        assert_eq!(parts("(x:nan) (y:1e9)").len(), 3, "no numbers");
    }

    #[test]
    fn weights_keep_the_mean() {
        let mut states = [1.0, 2.0, 3.0, 6.0];
        apply_weights(&mut states, 2, &[1.0, 0.5]);
        assert!((states.iter().sum::<f32>() - 12.0).abs() < 1e-5);
        assert!((states[1] / states[0] - 2.0).abs() < 1e-6 && (states[2] / states[0] - 1.5).abs() < 1e-6);
    }
}
