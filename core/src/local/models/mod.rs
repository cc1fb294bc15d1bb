//! Model architectures, one file each, written over [`ops`](super::ops) and configured by the model's own
//! `config.json`.

mod dual;

use std::fmt;

use candle_core::Tensor;

use crate::error::Result;

pub(crate) use dual::{dual_encoder, open_dual_encoder};

/// The token ids of several texts, one text after another, without padding.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    ids: Vec<u32>,
    /// Where each text begins, and where the last one ends.
    starts: Vec<usize>,
}

impl Tokens {
    /// Texts one after another.
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut tokens = Self { ids: Vec::new(), starts: vec![0] };
        for text in texts {
            tokens.ids.extend_from_slice(text);
            tokens.starts.push(tokens.ids.len());
        }
        tokens
    }

    /// The ids of all texts.
    pub(crate) fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Where each text begins, and where the last one ends: one more than there are texts.
    pub(crate) fn starts(&self) -> &[usize] {
        &self.starts
    }

    /// The ids of each text.
    pub(crate) fn texts(&self) -> impl ExactSizeIterator<Item = &[u32]> {
        self.starts.windows(2).map(|ends| &self.ids[ends[0]..ends[1]])
    }

    /// The position of each token in its text, counted from `first`.
    pub(crate) fn positions(&self, first: u32) -> Vec<u32> {
        self.texts().flat_map(|text| (first..).take(text.len())).collect()
    }
}

/// A model that gives one state a token; what makes one vector of them is not its business.
pub(crate) trait TextEncoder: Send + Sync + fmt::Debug {
    /// Numbers in a state.
    fn width(&self) -> usize;

    /// The most tokens of a text.
    fn window(&self) -> usize;

    /// The states of all tokens: `[token, width]`.
    fn encode(&self, tokens: &Tokens) -> Result<Tensor>;
}

/// A model that puts texts and images into one space.
pub(crate) trait DualEncoder: Send + Sync + fmt::Debug {
    /// Numbers in a vector.
    fn width(&self) -> usize;

    /// The most tokens of a text.
    fn window(&self) -> usize;

    /// Whether texts must be padded up to the window, with the id that the tokenizer pads with; a text that is not is an
    /// error. Else padding changes nothing.
    fn fills_window(&self) -> bool {
        false
    }

    /// Height and width of the images.
    fn image_size(&self) -> [usize; 2];

    /// One vector a text, not normalised: `[text, width]`.
    fn embed_texts(&self, tokens: &Tokens) -> Result<Tensor>;

    /// One vector an image, not normalised: `[image, width]`, from `[image, height, width, 3]`.
    fn embed_images(&self, pixels: &Tensor) -> Result<Tensor>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_lie_one_after_another() {
        let tokens = Tokens::new([&[5, 6, 7][..], &[], &[8]]);
        assert_eq!(tokens.ids(), [5, 6, 7, 8]);
        assert_eq!(tokens.starts(), [0, 3, 3, 4]);
        assert_eq!(tokens.positions(2), [2, 3, 4, 2]);
        assert_eq!(tokens.texts().collect::<Vec<_>>(), [&[5, 6, 7][..], &[], &[8]]);
    }
}
