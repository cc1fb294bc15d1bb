//! Model architectures, one file each, written over [`ops`](super::ops) and configured by the model's own
//! `config.json`. What several share is in `encoder.rs`, `decoder.rs` and `dual/`.
//!
//! What a model computes is a trait here: [`TextEncoder`], [`DualEncoder`] and [`CausalLm`]; those of images are in
//! `diffusion/`.

mod bert;
mod causal;
mod config;
mod decoder;
pub(crate) mod diffusion;
mod distilbert;
mod dual;
mod encoder;
mod experts;
mod gemma2;
mod gemma3;
mod gemma3_images;
mod gguf_config;
mod gpt_oss;
mod granite;
mod gte;
mod llama;
mod modernbert;
mod mpnet;
mod nomic_bert;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_moe;
mod roberta;
mod rope;
mod smollm3;
mod static_embedding;
mod stock;
mod text_cache;

#[cfg(test)]
mod causal_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod head_size_tests;
#[cfg(test)]
mod quantised_tests;

use std::fmt;
use std::ops::Range;

use ayni_kernels::gemm::Precision;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Device, Tensor, by_sequences};
use crate::local::weights::{Parameters, Weights};

pub(crate) use causal::{CausalLm, LoadOptions, causal_lm, check_causal_lm, is_stock};
pub(crate) use dual::{ConceptScores, PromptEncoder, SafetyChecker, open_dual_encoder};
pub(crate) use gemma3_images::ImageEncoder;
pub(crate) use gguf_config::config_of_gguf;
pub(crate) use static_embedding::{MODEL2VEC, static_config};
pub(crate) use text_cache::{Cached, TextCache};

/// Texts of so few tokens leave the rounding of int8 nothing to cancel against: their activations are not rounded to
/// bytes, but multiplied in two steps ([`Tensor::in_two_steps`]). The weights stay in int8.
const SHORT_TEXT: usize = 8;

/// The token ids of several texts, one text after another, without padding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens {
    ids: Vec<u32>,
    /// Where each text begins, and where the last one ends.
    starts: Vec<usize>,
    /// Images among them, in order.
    images: Vec<ImageStates>,
}

/// An image among the tokens of texts.
#[derive(Clone, Debug)]
struct ImageStates {
    /// The tokens in whose place it stands; all are of one text.
    rows: Range<usize>,
    /// What the decoder takes in place of their embeddings: `[token, hidden]`.
    states: Tensor,
}

/// Neighbouring tokens of a text that see by one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Piece {
    text: usize,
    rows: Range<usize>,
    /// Whether they are an image: each sees all others of it.
    is_image: bool,
}

impl Tokens {
    /// Texts one after another.
    pub(crate) fn new<'a>(texts: impl IntoIterator<Item = &'a [u32]>) -> Self {
        let mut tokens = Self { ids: Vec::new(), starts: vec![0], images: Vec::new() };
        for text in texts {
            tokens.ids.extend_from_slice(text);
            tokens.starts.push(tokens.ids.len());
        }
        tokens
    }

    /// Puts the states of an image in the place of the tokens from number `first` on. Images come in order.
    pub(crate) fn put_image(&mut self, first: usize, states: Tensor) {
        let rows = first..first + states.dims().first().copied().unwrap_or_default();
        // What stood for the image need not be a token of the vocabulary.
        self.ids.get_mut(rows.clone()).unwrap_or_default().fill(0);
        self.images.push(ImageStates { rows, states });
    }

    /// The embeddings of all tokens, with those of images in their places.
    fn with_images(&self, x: Tensor) -> Result<Tensor> {
        let (mut parts, mut end) = (Vec::new(), 0);
        for ImageStates { rows, states } in &self.images {
            parts.extend([x.narrow(0, end, rows.start - end)?, states.clone()]);
            end = rows.end;
        }
        if end == 0 {
            return Ok(x);
        }
        parts.push(x.narrow(0, end, self.ids.len() - end)?);
        Tensor::stacked(&parts)
    }

    /// The texts, cut where images begin and end.
    fn pieces(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (text, ends) in self.starts.windows(2).enumerate() {
            let mut start = ends[0];
            let is_here = |image: &&ImageStates| (ends[0]..ends[1]).contains(&image.rows.start);
            for ImageStates { rows, .. } in self.images.iter().filter(is_here) {
                pieces.push(Piece { text, rows: start..rows.start, is_image: false });
                pieces.push(Piece { text, rows: rows.clone(), is_image: true });
                start = rows.end;
            }
            pieces.push(Piece { text, rows: start..ends[1], is_image: false });
        }
        pieces.retain(|piece| !piece.rows.is_empty());
        pieces
    }

    /// Some of the texts, which have no images.
    fn some(&self, texts: Range<usize>) -> Self {
        Self::new(self.texts().skip(texts.start).take(texts.len()))
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

    /// Has `forward` compute the states of all texts, in int8 those of short texts and of longer ones by themselves, because
    /// the former are multiplied in two steps. What it makes of `x` has a row a token, or a row a text.
    fn by_length(
        &self,
        x: Tensor,
        has_row_a_token: bool,
        forward: impl Fn(Tensor, &Self) -> Result<Tensor> + Sync,
    ) -> Result<Tensor> {
        let forward = |x: Tensor, tokens: &Self| {
            by_sequences(x, tokens.starts(), |x, texts| match texts.len() == tokens.texts().len() {
                true => forward(x, tokens),
                false => forward(x, &tokens.some(texts)),
            })
        };
        if !x.device().is_cpu() || x.device().precision != Precision::Int8 {
            return forward(x, self);
        }
        let texts: Vec<&[u32]> = self.texts().collect();
        let (short, longer): (Vec<usize>, Vec<usize>) =
            (0..texts.len()).partition(|text| texts[*text].len() <= SHORT_TEXT);
        if short.is_empty() {
            return forward(x, self);
        }
        if longer.is_empty() {
            return forward(x.in_two_steps(), self);
        }
        let device = x.device().clone();
        let rows = |numbers: &[usize]| -> Vec<usize> {
            numbers.iter().flat_map(|text| self.starts[*text]..self.starts[text + 1]).collect()
        };
        let (mut values, mut width) = (Vec::new(), 0);
        for (numbers, is_short) in [(short, true), (longer, false)] {
            let places = rows(&numbers);
            let part: Vec<u32> = places
                .iter()
                .map(|row| u32::try_from(*row))
                .collect::<Result<_, _>>()
                .map_err(|_| Error::invalid_request("a batch has more than 2³² tokens"))?;
            let part = x.select_rows(&part)?;
            let tokens = Self::new(numbers.iter().map(|text| texts[*text]));
            let found = forward(if is_short { part.in_two_steps() } else { part }, &tokens)?;
            let (places, count) =
                if has_row_a_token { (places, self.ids.len()) } else { (numbers, texts.len()) };
            width = found.dims().last().copied().unwrap_or_default();
            values.resize(count * width, 0.0);
            for (row, state) in places.into_iter().zip(found.values()?.chunks_exact(width.max(1))) {
                values[row * width..(row + 1) * width].copy_from_slice(state);
            }
        }
        let rows = values.len() / width.max(1);
        Tensor::from_vec(&device, values, [rows, width])
    }

    /// Checks that no text is longer than a model takes.
    ///
    /// # Errors
    /// `context_too_long` if one is.
    fn check(&self, window: usize) -> Result<()> {
        self.check_after(std::iter::repeat(0), window)
    }

    /// The same where `before` tokens of each text were given earlier.
    fn check_after(&self, before: impl IntoIterator<Item = usize>, window: usize) -> Result<()> {
        let lengths = self.texts().zip(before).map(|(text, before)| before + text.len());
        match lengths.into_iter().find(|length| *length > window) {
            Some(length) => Err(Error::new(
                ErrorKind::ContextTooLong,
                format!("a text of {length} tokens does not fit the model's window of {window}"),
            )),
            None => Ok(()),
        }
    }

    /// The position of each token in its text, counted from `first`.
    pub(crate) fn positions(&self, first: u32) -> Vec<u32> {
        self.texts().flat_map(|text| (first..).take(text.len())).collect()
    }

    /// The position of each token in its text, of which `before` tokens were given earlier.
    fn positions_after(&self, before: impl IntoIterator<Item = usize>) -> Vec<u32> {
        let first = |before| u32::try_from(before).unwrap_or(u32::MAX);
        let texts = self.texts().zip(before);
        texts.flat_map(|(text, before)| (first(before)..).take(text.len())).collect()
    }
}

/// A model that gives a state for each token. Pooling makes one vector of them.
pub(crate) trait TextEncoder: Send + Sync + fmt::Debug {
    /// The width of a state.
    fn width(&self) -> usize;

    /// The most tokens of a text.
    fn window(&self) -> usize;

    /// How many ids of tokens there are.
    fn vocabulary(&self) -> usize;

    /// Whether it is a table of vectors, which takes texts without special tokens.
    fn is_table(&self) -> bool {
        false
    }

    /// The states of all tokens: `[token, width]`.
    fn encode(&self, tokens: &Tokens) -> Result<Tensor>;
}

type Opened = Result<Box<dyn TextEncoder>>;

/// A family of text encoders: what `model_type` and the classes in `architectures` call it, and what reads it.
struct Family {
    types: &'static [&'static str],
    /// Whether its tokens see only those before them, unless the configuration says otherwise.
    is_causal: bool,
    /// What the classes are called before `Model`, `ForMaskedLM` and the like.
    classes: &'static [&'static str],
    open: fn(&Value, &Weights, &Device) -> Opened,
}

const FAMILIES: &[Family] = &[
    Family {
        types: &["bert"],
        is_causal: false,
        classes: &["Bert"],
        open: |config, weights, device| Ok(Box::new(bert::Bert::new(config, weights, device)?)),
    },
    Family {
        types: &["roberta", "xlm-roberta", "camembert"],
        is_causal: false,
        classes: &["Roberta", "XLMRoberta", "Camembert"],
        open: |config, weights, device| Ok(Box::new(roberta::open(config, weights, device)?)),
    },
    Family {
        types: &["distilbert"],
        is_causal: false,
        classes: &["DistilBert"],
        open: |config, weights, device| Ok(Box::new(distilbert::DistilBert::new(config, weights, device)?)),
    },
    Family {
        types: &["mpnet"],
        is_causal: false,
        classes: &["MPNet"],
        open: |config, weights, device| Ok(Box::new(mpnet::MpNet::new(config, weights, device)?)),
    },
    Family {
        types: &["modernbert"],
        is_causal: false,
        classes: &["ModernBert"],
        open: |config, weights, device| Ok(Box::new(modernbert::ModernBert::new(config, weights, device)?)),
    },
    Family {
        types: &["nomic_bert"],
        is_causal: false,
        classes: &["NomicBert"],
        open: |config, weights, device| Ok(Box::new(nomic_bert::NomicBert::new(config, weights, device)?)),
    },
    Family {
        types: &["gte", "new"],
        is_causal: false,
        classes: &["Gte", "New"],
        open: |config, weights, device| Ok(Box::new(gte::Gte::new(config, weights, device)?)),
    },
    Family {
        types: &[MODEL2VEC],
        is_causal: false,
        classes: &[],
        open: |config, weights, device| {
            Ok(Box::new(static_embedding::StaticEmbedding::new(config, weights, device)?))
        },
    },
    Family {
        types: &["qwen3"],
        is_causal: true,
        classes: &["Qwen3"],
        open: |config, weights, device| Ok(Box::new(qwen3::open(config, &Parameters::new(weights, device))?)),
    },
    Family {
        types: &["gemma3_text"],
        is_causal: true,
        classes: &["Gemma3Text"],
        open: |config, weights, device| {
            Ok(Box::new(gemma3::open(config, &Parameters::new(weights, device))?))
        },
    },
];

/// Reads the text encoder that a `config.json` describes.
///
/// # Errors
/// `unsupported` for another architecture, or a variant that is not supported; `model_load` if the configuration or a
/// tensor is not as expected; the messages name what.
pub(crate) fn text_encoder(config: &Value, weights: &Weights, device: &Device) -> Opened {
    let family = family(config)?;
    config::check(config, weights)?;
    let encoder = (family.open)(config, weights, device)?;
    weights.check_no_layer_is_left()?;
    Ok(encoder)
}

/// Checks that a `config.json` describes a text encoder that is supported.
///
/// # Errors
/// `unsupported` if it does not.
pub(crate) fn check_text_encoder(config: &Value) -> Result<()> {
    family(config).map(|_| ())
}

/// The `model_type` of every text encoder that is supported.
pub(crate) fn text_architectures() -> impl Iterator<Item = &'static str> {
    FAMILIES.iter().flat_map(|family| family.types).copied()
}

/// Whether a `config.json` describes a model whose tokens see only those before them.
pub(crate) fn is_causal(config: &Value) -> bool {
    family(config).is_ok_and(|family| family.is_causal)
}

fn family(config: &Value) -> Result<&'static Family> {
    let of_type = config.get("model_type").and_then(Value::as_str);
    let classes = config.get("architectures").and_then(Value::as_array);
    let class = classes.and_then(|classes| classes.first()).and_then(Value::as_str);
    // The name of the family, which comes before what the class is for.
    let stem = class.map(|class| {
        ["Model", "For"].iter().filter_map(|end| class.find(end)).min().map_or(class, |end| &class[..end])
    });
    let by_type = |family: &&Family| of_type.is_some_and(|name| family.types.contains(&name));
    let by_class = |family: &&Family| stem.is_some_and(|name| family.classes.contains(&name));
    FAMILIES.iter().find(by_type).or_else(|| FAMILIES.iter().find(by_class)).ok_or_else(|| {
        let valid: Vec<&str> = text_architectures().collect();
        let name = of_type.or(class).unwrap_or("nothing");
        Error::unsupported(format!(
            "config.json describes '{name}' (`model_type`, `architectures`), which is not a supported text encoder; valid: {}",
            valid.join(", ")
        ))
    })
}

/// A model that puts texts and images into one space.
pub(crate) trait DualEncoder: Send + Sync + fmt::Debug {
    /// The width of a vector.
    fn width(&self) -> usize;

    /// The most tokens of a text.
    fn window(&self) -> usize;

    /// How many ids of tokens there are.
    fn vocabulary(&self) -> usize;

    /// The token without which a text has no vector, where there is one.
    fn end_of_text(&self) -> Option<u32> {
        None
    }

    /// Whether texts must be padded up to the window, with the id that the tokenizer pads with; a text that is not
    /// padded is then an error. Where this is false, padding changes nothing.
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
        assert_eq!(tokens.positions_after([4, 9, 1]), [4, 5, 6, 1]);
        assert!(tokens.check(3).is_ok() && tokens.check_after([0, 3, 2], 3).is_ok());
        assert_eq!(tokens.check_after([1, 0, 0], 3).unwrap_err().kind(), ErrorKind::ContextTooLong);
        assert_eq!(tokens.texts().collect::<Vec<_>>(), [&[5, 6, 7][..], &[], &[8]]);
    }
}
