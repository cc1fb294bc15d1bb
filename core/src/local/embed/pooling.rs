//! From the states of a text's tokens to the text's vector.
//!
//! A text's numbers are added in the order of its tokens, whatever else is in the batch: its vector has the same bits
//! alone and among others.

use crate::embed::Pooling;
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Activation, Device, Epilogue, Linear, Tensor};

/// One way of making one vector of many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// The first token's.
    Cls,
    /// The largest, number by number.
    Max,
    /// The mean.
    Mean,
    /// The sum over the square root of the count.
    MeanOverRoot,
    /// The mean, the n-th token counting n times.
    WeightedMean,
    /// The last token's.
    LastToken,
}

/// Every mode by its name in a repository, and by the older switch that means the same; in the order in which several
/// are put side by side.
pub(crate) const MODES: [(Mode, &str, &str); 6] = [
    (Mode::Cls, "cls", "pooling_mode_cls_token"),
    (Mode::Max, "max", "pooling_mode_max_tokens"),
    (Mode::Mean, "mean", "pooling_mode_mean_tokens"),
    (Mode::MeanOverRoot, "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens"),
    (Mode::WeightedMean, "weightedmean", "pooling_mode_weightedmean_tokens"),
    (Mode::LastToken, "lasttoken", "pooling_mode_lasttoken"),
];

impl Mode {
    /// The mode that an embedding space names.
    pub(crate) fn of(pooling: Pooling) -> Self {
        match pooling {
            Pooling::Mean => Self::Mean,
            Pooling::Cls => Self::Cls,
            Pooling::LastToken => Self::LastToken,
            Pooling::Max => Self::Max,
            Pooling::WeightedMean => Self::WeightedMean,
        }
    }
}

/// How a model pools.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pooler {
    /// What is put side by side; usually one.
    pub(crate) modes: Vec<Mode>,
    /// Whether a prompt's tokens count.
    pub(crate) includes_prompt: bool,
}

impl Pooler {
    /// Pools in one way, prompts included.
    pub(crate) fn of(mode: Mode) -> Self {
        Self { modes: vec![mode], includes_prompt: true }
    }

    /// Numbers in a vector made of states of `width`.
    pub(crate) fn width(&self, width: usize) -> usize {
        self.modes.len() * width
    }

    /// The names of the modes, as repositories write them.
    pub(crate) fn mode_names(&self) -> impl Iterator<Item = &'static str> {
        self.modes
            .iter()
            .filter_map(|mode| MODES.iter().find(|(own, ..)| own == mode).map(|(_, name, _)| *name))
    }

    /// What the embedding space calls it, where it has a name.
    pub(crate) fn pooling(&self) -> Option<Pooling> {
        match self.modes.as_slice() {
            [Mode::Cls] => Some(Pooling::Cls),
            [Mode::Max] => Some(Pooling::Max),
            [Mode::Mean] => Some(Pooling::Mean),
            [Mode::WeightedMean] => Some(Pooling::WeightedMean),
            [Mode::LastToken] => Some(Pooling::LastToken),
            _ => None,
        }
    }

    /// One vector a text. `starts` says where texts begin and the last ends; `skips`, how many tokens at the front
    /// of each are its prompt. A text without tokens gets zeros.
    pub(crate) fn pool(&self, states: &[f32], width: usize, starts: &[usize], skips: &[usize]) -> Vec<f32> {
        let mut vectors = vec![0.0; self.width(width) * skips.len()];
        let texts = starts.windows(2).zip(skips);
        for ((ends, skip), vector) in texts.zip(vectors.chunks_exact_mut(self.width(width))) {
            let (start, end) = (ends[0], ends[1]);
            // A text that is nothing but its prompt would leave nothing to pool.
            let skip = if self.includes_prompt || *skip >= end - start { 0 } else { *skip };
            let states = &states[(start + skip) * width..end * width];
            for (mode, vector) in self.modes.iter().zip(vector.chunks_exact_mut(width)) {
                mode.pool(states, skip, vector);
            }
        }
        vectors
    }
}

impl Mode {
    /// Pools states into zeros; `skip` tokens went before them.
    fn pool(self, states: &[f32], skip: usize, vector: &mut [f32]) {
        let width = vector.len();
        let tokens = states.chunks_exact(width);
        let (Some(first), Some(last)) = (tokens.clone().next(), tokens.clone().next_back()) else { return };
        match self {
            Self::Cls => vector.copy_from_slice(first),
            Self::LastToken => vector.copy_from_slice(last),
            Self::Max => {
                vector.copy_from_slice(first);
                tokens.for_each(|state| vector.iter_mut().zip(state).for_each(|(y, x)| *y = y.max(*x)));
            }
            Self::Mean | Self::MeanOverRoot => {
                let count = as_f32(tokens.len());
                tokens.for_each(|state| vector.iter_mut().zip(state).for_each(|(y, x)| *y += x));
                let divisor = if self == Self::Mean { count } else { count.sqrt() };
                vector.iter_mut().for_each(|y| *y /= divisor);
            }
            Self::WeightedMean => {
                let mut weights = 0.0;
                for (state, position) in tokens.zip(skip + 1..) {
                    let weight = as_f32(position);
                    weights += weight;
                    vector.iter_mut().zip(state).for_each(|(y, x)| *y += weight * x);
                }
                vector.iter_mut().for_each(|y| *y /= weights);
            }
        }
    }
}

/// What a model does with pooled vectors.
#[derive(Debug)]
pub(crate) enum Step {
    /// Another layer.
    Dense(Dense),
    /// Scales to unit length.
    Normalise,
}

/// A layer over vectors.
#[derive(Debug)]
pub(crate) struct Dense {
    /// The weights.
    pub(crate) linear: Linear,
    /// What follows them.
    pub(crate) activation: Activation,
    /// Where it computes.
    pub(crate) device: Device,
}

impl Dense {
    fn apply(&self, vectors: Vec<f32>) -> Result<Vec<f32>> {
        let width = self.linear.inputs();
        let rows = vectors.len() / width;
        let x = Tensor::from_vec(&self.device, vectors, [rows, width])?;
        let y = self.linear.forward_with(x, Epilogue::activation(self.activation))?;
        Ok(y.values()?.into_owned())
    }
}

/// Everything between the states of tokens and the vectors that callers get.
#[derive(Debug)]
pub(crate) struct Head {
    /// How tokens become one vector.
    pub(crate) pooler: Pooler,
    /// What follows.
    pub(crate) steps: Vec<Step>,
}

impl Head {
    /// Numbers in a vector, for states of `width`.
    pub(crate) fn width(&self, width: usize) -> usize {
        let dense = self.steps.iter().rev().find_map(|step| match step {
            Step::Dense(dense) => Some(dense.linear.outputs()),
            Step::Normalise => None,
        });
        dense.unwrap_or_else(|| self.pooler.width(width))
    }

    /// Fails unless every part takes what the one before it gives.
    ///
    /// # Errors
    /// `model_load`.
    pub(crate) fn check(&self, width: usize) -> Result<()> {
        let mut found = self.pooler.width(width);
        for step in &self.steps {
            if let Step::Dense(dense) = step {
                let expected = dense.linear.inputs();
                if expected != found {
                    return Err(Error::new(
                        ErrorKind::ModelLoad,
                        format!("a dense layer after pooling: expected {expected} inputs, found {found}"),
                    ));
                }
                found = dense.linear.outputs();
            }
        }
        Ok(())
    }

    /// One vector a text, from `[token, width]`.
    pub(crate) fn vectors(&self, states: &Tensor, starts: &[usize], skips: &[usize]) -> Result<Vec<f32>> {
        let [tokens, width] = states.dims_of()?;
        if starts.last() != Some(&tokens) || starts.len() != skips.len() + 1 {
            return Err(Error::response_invalid("the model gave another number of states than of tokens"));
        }
        let mut vectors = self.pooler.pool(&states.values()?, width, starts, skips);
        for step in &self.steps {
            match step {
                Step::Dense(dense) => vectors = dense.apply(vectors)?,
                Step::Normalise => {
                    let width = vectors.len() / skips.len().max(1);
                    vectors.chunks_exact_mut(width.max(1)).for_each(to_unit_length);
                }
            }
        }
        Ok(vectors)
    }
}

/// Scales a vector to unit length; a zero vector stays zero.
pub(crate) fn to_unit_length(vector: &mut [f32]) {
    let length = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum::<f64>().sqrt();
    if length > 0.0 {
        let factor = 1.0 / length;
        #[allow(clippy::cast_possible_truncation, reason = "computed in f64, kept in f32")]
        vector.iter_mut().for_each(|x| *x = (f64::from(*x) * factor) as f32);
    }
}

#[allow(clippy::cast_precision_loss, reason = "windows are far below 2^24 tokens")]
fn as_f32(count: usize) -> f32 {
    count as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two texts of three and one tokens, states of two numbers.
    const STATES: [f32; 8] = [1.0, -2.0, 3.0, 4.0, 5.0, 1.0, 7.0, 8.0];
    const STARTS: [usize; 3] = [0, 3, 4];

    fn pooled(modes: &[Mode], includes_prompt: bool, skips: &[usize]) -> Vec<f32> {
        Pooler { modes: modes.to_vec(), includes_prompt }.pool(&STATES, 2, &STARTS, skips)
    }

    #[test]
    fn every_mode_pools_each_text_by_itself() {
        let root = 3_f32.sqrt();
        for (mode, expected) in [
            (Mode::Cls, [1.0, -2.0, 7.0, 8.0]),
            (Mode::LastToken, [5.0, 1.0, 7.0, 8.0]),
            (Mode::Max, [5.0, 4.0, 7.0, 8.0]),
            (Mode::Mean, [3.0, 1.0, 7.0, 8.0]),
            (Mode::MeanOverRoot, [9.0 / root, 3.0 / root, 7.0, 8.0]),
            (Mode::WeightedMean, [22.0 / 6.0, 9.0 / 6.0, 7.0, 8.0]),
        ] {
            assert_eq!(pooled(&[mode], true, &[0, 0]), expected, "{mode:?}");
        }
    }

    #[test]
    fn several_modes_lie_side_by_side() {
        assert_eq!(
            pooled(&[Mode::Cls, Mode::Mean], true, &[0, 0]),
            [1.0, -2.0, 3.0, 1.0, 7.0, 8.0, 7.0, 8.0]
        );
    }

    #[test]
    fn a_prompt_counts_unless_the_model_says_no() {
        assert_eq!(pooled(&[Mode::Mean], true, &[1, 0]), [3.0, 1.0, 7.0, 8.0]);
        assert_eq!(pooled(&[Mode::Mean], false, &[1, 0]), [4.0, 2.5, 7.0, 8.0]);
        assert_eq!(pooled(&[Mode::Cls], false, &[2, 0]), [5.0, 1.0, 7.0, 8.0]);
        // The weights go on counting where the prompt ended.
        assert_eq!(pooled(&[Mode::WeightedMean], false, &[1, 0]), [21.0 / 5.0, 11.0 / 5.0, 7.0, 8.0]);
        // Nothing but a prompt is pooled as it is.
        assert_eq!(pooled(&[Mode::Cls], false, &[1, 1]), [3.0, 4.0, 7.0, 8.0]);
    }

    #[test]
    fn a_text_without_tokens_is_a_zero_vector() {
        for (mode, ..) in MODES {
            assert_eq!(Pooler::of(mode).pool(&STATES[..2], 2, &[0, 0, 1], &[0, 0])[..2], [0.0, 0.0]);
        }
        let mut zero = [0.0; 3];
        to_unit_length(&mut zero);
        assert_eq!(zero, [0.0; 3]);
    }

    #[test]
    fn unit_length_is_exact_to_the_last_bits() {
        let mut vector: Vec<f32> = (1..400).map(|i| as_f32(i).sin()).collect();
        to_unit_length(&mut vector);
        let length: f64 = vector.iter().map(|x| f64::from(*x).powi(2)).sum();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
    }
}
