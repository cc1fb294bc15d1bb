//! Guesses at how an answer goes on, from what prompt and answer said before: the model computes a few tokens at once, and
//! those that it would have chosen anyway are kept. Guesses change how long an answer takes, never its tokens.

use std::collections::HashMap;
use std::time::Duration;

/// Tokens that must agree with an earlier place for what followed there to be a guess.
const AGREEING: usize = 3;

/// The most tokens that are guessed at once.
pub(super) const MOST_GUESSED: usize = 8;

/// Steps with guesses before they are judged.
const TRIED: u32 = 3;

/// Tokens without guesses after they didn't pay, the first time and at most.
const PAUSE: [usize; 2] = [16, 512];

/// When guesses are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speculate {
    Never,
    /// As long as tokens come faster with guesses than without.
    WhereItPays,
    #[cfg(test)]
    Always,
}

/// What one answer's guesses are made of, and how well they did.
#[derive(Debug)]
pub(super) struct Speculation {
    when: Speculate,
    /// Where the tokens after some tokens begin in prompt and answer; the last such place.
    places: HashMap<[u32; AGREEING], usize>,
    /// How many tokens of prompt and answer have been looked at.
    seen: usize,
    /// How many tokens are guessed.
    length: usize,
    /// Seconds a token without guesses, and with them.
    pace: [Pace; 2],
    /// Tokens until guesses are made again.
    rest: usize,
    pause: usize,
}

/// Seconds a token, the latest counting most.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    seconds: f64,
    steps: u32,
}

impl Pace {
    fn add(&mut self, seconds: f64) {
        self.seconds = if self.steps == 0 { seconds } else { self.seconds * 0.75 + seconds * 0.25 };
        self.steps += 1;
    }
}

impl Speculation {
    pub(super) fn new(when: Speculate) -> Self {
        Self {
            when,
            places: HashMap::new(),
            seen: 0,
            length: 3,
            pace: [Pace::default(); 2],
            rest: 0,
            pause: PAUSE[0],
        }
    }

    /// Up to `most` tokens that may follow prompt and answer; `known` are sure to be next.
    pub(super) fn guess(&mut self, prompt: &[u32], answer: &[u32], known: &[u32], most: usize) -> Vec<u32> {
        let is_always = match self.when {
            Speculate::Never => return Vec::new(),
            // Without a pace to compare with nobody knows whether guesses pay.
            Speculate::WhereItPays => {
                if self.rest > 0 || self.pace[0].steps == 0 {
                    return Vec::new();
                }
                false
            }
            #[cfg(test)]
            Speculate::Always => true,
        };
        if !known.is_empty() {
            return known[..known.len().min(most)].to_vec();
        }
        self.look(prompt, answer);
        let most = if is_always { most } else { most.min(self.length) };
        let text = |place: usize| match place.checked_sub(prompt.len()) {
            None => prompt.get(place).copied(),
            Some(place) => answer.get(place).copied(),
        };
        let total = prompt.len() + answer.len();
        let Some(place) = last(total, text).and_then(|key| self.places.get(&key)) else { return Vec::new() };
        (*place..total).take(most).map_while(text).collect()
    }

    /// Takes note of tokens that came since.
    fn look(&mut self, prompt: &[u32], answer: &[u32]) {
        let text = |place: usize| match place.checked_sub(prompt.len()) {
            None => prompt.get(place).copied(),
            Some(place) => answer.get(place).copied(),
        };
        // The last tokens themselves are followed by nothing yet.
        for end in self.seen.max(AGREEING)..prompt.len() + answer.len() {
            if let Some(key) = last(end, text) {
                self.places.insert(key, end);
            }
        }
        self.seen = prompt.len() + answer.len();
    }

    /// Learns how long a step took that gave `tokens` tokens, with `guessed` of them guessed at.
    pub(super) fn took(&mut self, time: Duration, tokens: usize, guessed: usize) {
        if tokens == 0 {
            return;
        }
        #[allow(clippy::cast_precision_loss, reason = "a few tokens")]
        let seconds = time.as_secs_f64() / tokens as f64;
        self.pace[usize::from(guessed > 0)].add(seconds);
        if guessed == 0 {
            self.rest = self.rest.saturating_sub(tokens);
            return;
        }
        let kept = tokens - 1;
        self.length = if kept == guessed { (guessed + 2).min(MOST_GUESSED) } else { (kept + 1).max(2) };
        let [without, with] = self.pace;
        if with.steps < TRIED {
            return;
        }
        if with.seconds > without.seconds {
            self.rest = self.pause;
            self.pause = (2 * self.pause).min(PAUSE[1]);
            self.pace[1] = Pace::default();
        } else {
            self.pause = PAUSE[0];
        }
    }
}

/// The last tokens before a place.
fn last(end: usize, text: impl Fn(usize) -> Option<u32>) -> Option<[u32; AGREEING]> {
    let start = end.checked_sub(AGREEING)?;
    let mut key = [0; AGREEING];
    for (place, token) in (start..end).zip(&mut key) {
        *token = text(place)?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_followed_the_same_tokens_before_is_guessed() {
        let mut speculation = Speculation::new(Speculate::Always);
        let prompt = [7, 1, 2, 3, 4, 5, 6, 9, 1, 2];
        assert!(speculation.guess(&prompt, &[], &[], 4).is_empty());
        assert_eq!(speculation.guess(&prompt, &[3], &[], 4), [4, 5, 6, 9]);
        // The latest place counts, and an answer may repeat itself.
        let answer = [3, 8, 8, 8, 8];
        assert_eq!(speculation.guess(&prompt, &answer, &[], 4), [8]);
        assert_eq!(speculation.guess(&prompt, &answer, &[5, 6], 1), [5]);
        assert!(Speculation::new(Speculate::Never).guess(&prompt, &[3], &[5], 4).is_empty());
    }

    #[test]
    fn guesses_that_do_not_pay_pause_longer_each_time_and_good_ones_grow() {
        let step = Duration::from_millis(10);
        let prompt: Vec<u32> = (0..8).chain(0..3).collect();
        let mut speculation = Speculation::new(Speculate::WhereItPays);
        assert!(speculation.guess(&prompt, &[], &[], 8).is_empty());
        speculation.took(step, 1, 0);
        assert_eq!(speculation.guess(&prompt, &[], &[], 8), [3, 4, 5]);
        speculation.took(2 * step, 4, 3);
        assert_eq!(speculation.guess(&prompt, &[], &[], 8).len(), 5);
        for pause in [16, 32] {
            for _ in 0..TRIED + 8 {
                if speculation.rest == 0 {
                    speculation.took(2 * step, 1, 3);
                }
            }
            assert_eq!((speculation.rest, speculation.guess(&prompt, &[], &[], 8)), (pause, vec![]));
            for _ in 0..pause {
                speculation.took(step, 1, 0);
            }
            assert_eq!(speculation.guess(&prompt, &[], &[], 8).len(), 2);
        }
    }
}
