//! A text in a model of candle: its tokens, and candle's state after some of them.
//!
//! Logits have the same bits however a prompt is cut and whatever else is computed: which tokens candle gets at once follows
//! from their places in the text alone.

use std::fmt;

use super::{Stock, StockModel};
use crate::error::Result;
use crate::local::ops::of_candle;

/// The most tokens that candle gets at once; they begin at multiples of it.
const CHUNK: usize = 128;

/// A text so far.
#[derive(Default)]
pub(in super::super) struct StockText {
    ids: Vec<u32>,
    /// Where what candle got at once ended, each time.
    steps: Vec<usize>,
    /// The state after the last of them.
    state: Option<Box<dyn StockModel>>,
}

impl StockText {
    /// How many tokens there are.
    pub(in super::super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Forgets all tokens past the first `length`. What is computed next begins with the text once more.
    pub(in super::super) fn truncate(&mut self, length: usize) {
        if length >= self.ids.len() {
            return;
        }
        self.ids.truncate(length);
        if self.computed() > length {
            self.steps.retain(|end| *end <= length);
            self.state = None;
        }
    }

    /// The first `length` tokens for another text, which computes them again: in the same steps as if nobody had before it.
    pub(in super::super) fn fork(&self, length: usize) -> Self {
        let is_whole = |(number, end): &(usize, usize)| *end == CHUNK * (number + 1) && *end <= length;
        let whole = self.steps.iter().copied().enumerate().take_while(is_whole);
        let steps = whole.map(|(_, end)| end).collect();
        Self { ids: self.ids.iter().copied().take(length).collect(), steps, state: None }
    }

    fn computed(&self) -> usize {
        self.steps.last().copied().unwrap_or_default()
    }

    /// Adds tokens. Gives the logits of what follows those with these numbers, one after another.
    pub(super) fn advance(&mut self, model: &Stock, ids: &[u32], wanted: &[usize]) -> Result<Vec<f32>> {
        let before = self.ids.len();
        self.resume(model)?;
        self.ids.extend_from_slice(ids);
        let last = ids.len().checked_sub(1);
        let mut logits = Vec::new();
        if !wanted.is_empty() && wanted != last.as_slice() {
            // Candle gives the last token's only.
            while self.computed() < self.ids.len() {
                let (at, found) = (self.computed(), self.step(model, 1)?);
                if at.checked_sub(before).is_some_and(|at| wanted.contains(&at)) {
                    logits.extend(found);
                }
            }
            return Ok(logits);
        }
        while let Some(count) = self.next_step(model, !wanted.is_empty()) {
            logits = self.step(model, count)?;
        }
        if wanted.is_empty() {
            logits.clear();
        }
        Ok(logits)
    }

    /// How many tokens candle gets next, if any: all up to the next multiple of a chunk, or to the end of a prompt.
    fn next_step(&self, model: &Stock, is_end: bool) -> Option<usize> {
        let (computed, known) = (self.computed(), self.ids.len());
        let rest = known - computed;
        let to_boundary = CHUNK - computed % CHUNK;
        match rest {
            0 => None,
            _ if computed > 0 && !model.continues => Some(1),
            _ if rest >= to_boundary => Some(to_boundary),
            _ => is_end.then_some(rest),
        }
    }

    /// Makes the state again where there is none, in the same steps.
    fn resume(&mut self, model: &Stock) -> Result<()> {
        if self.state.is_some() {
            return Ok(());
        }
        let mut state = model.new_state()?;
        let mut start = 0;
        for end in &self.steps {
            forward(&mut *state, model, &self.ids[start..*end], start)?;
            start = *end;
        }
        self.state = Some(state);
        Ok(())
    }

    /// The logits after the next `count` tokens.
    fn step(&mut self, model: &Stock, count: usize) -> Result<Vec<f32>> {
        let start = self.computed();
        // Without a state, should this fail: candle may have kept a part.
        let mut state = match self.state.take() {
            Some(state) => state,
            None => model.new_state()?,
        };
        let logits = forward(&mut *state, model, &self.ids[start..start + count], start)?;
        self.state = Some(state);
        self.steps.push(start + count);
        Ok(logits)
    }
}

fn forward(state: &mut dyn StockModel, model: &Stock, ids: &[u32], offset: usize) -> Result<Vec<f32>> {
    let logits = candle_core::Tensor::new(ids, &model.device.of_candle())
        .and_then(|ids| state.forward(&ids.unsqueeze(0)?, offset))
        .and_then(|logits| logits.flatten_all()?.to_vec1())
        .map_err(of_candle)?;
    debug_assert_eq!(logits.len(), model.shape.vocab_size, "one token's logits");
    Ok(logits)
}

impl fmt::Debug for StockText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StockText({} of {} tokens computed)", self.computed(), self.ids.len())
    }
}
