//! The two towers of a dual encoder: texts to states, and images to states.

use super::super::Tokens;
use super::pre_norm::{Keep, Shape, Transformer};
use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{
    Embedding, Epilogue, Linear, Norm, Span, Tensor, of_candle, patches, weight_of_patches,
};
use crate::local::weights::Parameters;
use candle_core::DType;

/// Where each of so many sequences of one length starts, and where the last ends.
pub(super) fn starts_of(sequences: usize, length: usize) -> Vec<usize> {
    (0..=sequences).map(|number| number * length).collect()
}

/// Makes one state of a text: that of its last token.
#[derive(Debug)]
pub(super) struct TextTower {
    pub(super) token_embedding: Embedding,
    pub(super) position_embedding: Embedding,
    pub(super) transformer: Transformer,
    pub(super) norm: Norm,
}

impl TextTower {
    /// The tower with a vocabulary and a window of these sizes.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape.
    pub(super) fn new(
        weights: &Parameters<'_>,
        [vocabulary, window]: [usize; 2],
        shape: &Shape,
        span: Span,
    ) -> Result<Self> {
        let embeddings = weights.at("embeddings");
        Ok(Self {
            token_embedding: embeddings.embedding("token_embedding", vocabulary, shape.width)?,
            position_embedding: embeddings.embedding("position_embedding", window, shape.width)?,
            transformer: Transformer::new(weights, shape, span)?,
            norm: weights.layer_norm("final_layer_norm", shape.width, shape.epsilon)?,
        })
    }

    /// The most tokens of a text.
    pub(super) fn window(&self) -> usize {
        self.position_embedding.count()
    }

    /// How many ids of tokens there are.
    pub(super) fn vocabulary(&self) -> usize {
        self.token_embedding.count()
    }

    /// The normed state of the last token of each text: `[text, width]`.
    ///
    /// # Errors
    /// `invalid_request` if there is no text, one is empty or longer than the window, or a token is not in the table.
    pub(super) fn last_states(&self, tokens: &Tokens) -> Result<Tensor> {
        if tokens.ids().is_empty() || tokens.texts().any(<[u32]>::is_empty) {
            return Err(Error::invalid_request("there is no text, or one without tokens"));
        }
        let window = self.window();
        if let Some(text) = tokens.texts().find(|text| text.len() > window) {
            let length = text.len();
            return Err(Error::new(
                ErrorKind::ContextTooLong,
                format!("a text of {length} tokens is longer than the model's window of {window}"),
            ));
        }
        let positions = tokens.positions(0);
        let parts = [(&self.token_embedding, tokens.ids()), (&self.position_embedding, &positions)];
        let last = tokens.by_length(Embedding::sum(&parts)?, false, |x, tokens| {
            self.transformer.forward(x, tokens.starts(), Keep::Last)
        })?;
        self.norm.forward(last)
    }
}

/// Makes states of an image: one a patch, after that of the class token where the model has one.
#[derive(Debug)]
pub(in super::super) struct ImageTower {
    pub(super) patches: Patches,
    pub(super) transformer: Transformer,
    pub(super) norm: Norm,
}

impl ImageTower {
    /// The normed states, of which some of each image are kept: `[state, width]`.
    ///
    /// # Errors
    /// `invalid_request` if the images are not as the model needs them.
    pub(super) fn states(&self, pixels: &Tensor, keep: Keep) -> Result<Tensor> {
        let (x, starts) = self.first_states(pixels)?;
        self.norm.forward(self.transformer.forward(x, &starts, keep)?)
    }

    /// What the layers take, and where the states of each image begin.
    fn first_states(&self, pixels: &Tensor) -> Result<(Tensor, Vec<usize>)> {
        let images = pixels.dims().first().copied().unwrap_or_default();
        Ok((self.patches.forward(pixels)?, starts_of(images, self.patches.states())))
    }

    /// The normed states of all patches of images, `[image · patch, width]`, unless `check` fails before a layer.
    ///
    /// # Errors
    /// `invalid_request` if the images are not as the model needs them, and those of `check`.
    pub(in super::super) fn all_states(
        &self,
        pixels: &Tensor,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Tensor> {
        let (x, starts) = self.first_states(pixels)?;
        self.norm.forward(self.transformer.forward_while(x, &starts, Keep::All, check)?)
    }

    /// The width of a state.
    pub(in super::super) fn width(&self) -> usize {
        self.patches.layer.outputs()
    }

    /// How many patches images have from top to bottom, and from left to right.
    pub(in super::super) fn rows_and_columns(&self) -> [usize; 2] {
        self.patches.grid.image.map(|side| side / self.patches.grid.patch)
    }

    /// Height and width of the images.
    pub(in super::super) fn image_size(&self) -> [usize; 2] {
        self.patches.image_size()
    }
}

/// Images as the first states of a transformer: a linear layer over their patches, positions added.
#[derive(Debug)]
pub(super) struct Patches {
    layer: Linear,
    /// What is added to the states, the class token with its position first where there is one: `[1, state, width]`.
    added: Tensor,
    norm: Option<Norm>,
    /// Whether there is a class token.
    leading: usize,
    grid: Grid,
}

/// The sizes of images and patches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    /// Height and width.
    pub(super) image: [usize; 2],
    /// Of each side.
    pub(super) patch: usize,
}

impl Grid {
    /// How many whole patches an image has.
    pub(super) fn patches(self) -> usize {
        self.image.iter().map(|side| side.checked_div(self.patch).unwrap_or_default()).product()
    }
}

/// The tensors of [`Patches`], as they are stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct PatchNames<'a> {
    /// The weight of the convolution.
    pub(super) weight: &'a str,
    /// The other tensor.
    pub(super) besides: Besides<'a>,
    /// The positions, the class token's first.
    pub(super) positions: &'a str,
}

/// What a model has besides the weight over patches, and the name of its tensor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Besides<'a> {
    /// A token before the patches, as CLIP does.
    ClassToken(&'a str),
    /// The bias of the layer, as SigLIP does.
    Bias(&'a str),
}

impl Patches {
    /// The layer over patches, and what is added to it; `norm` follows.
    ///
    /// # Errors
    /// `model_load` if a tensor is missing or has another shape, or there is no whole patch in an image.
    pub(super) fn new(
        weights: &Parameters<'_>,
        names: PatchNames<'_>,
        grid: Grid,
        width: usize,
        norm: Option<Norm>,
    ) -> Result<Self> {
        let (patch, count) = (grid.patch, grid.patches());
        if count == 0 {
            let text = format!("images of {:?} have no patch of {patch} × {patch}", grid.image);
            return Err(Error::new(ErrorKind::ModelLoad, text));
        }
        let weight = weight_of_patches(&weights.tensor(names.weight, &[width, 3, patch, patch])?)?;
        let (bias, class) = match names.besides {
            Besides::Bias(name) => (Some(weights.tensor(name, &[width])?), None),
            Besides::ClassToken(name) => (None, Some(wide(weights.tensor(name, &[width])?)?)),
        };
        let layer = weights.linear_in(weights.device.precision_above_int8(), (weight, bias))?;
        let leading = usize::from(class.is_some());
        let mut added = wide(weights.tensor(names.positions, &[leading + count, width])?)?;
        if let Some(class) = class {
            // Its row among the patches is zeros, of which the layer makes zeros.
            let class = class.reshape((1, width)).and_then(|class| class.pad_with_zeros(0, 0, count));
            added = class.and_then(|class| added + class).map_err(of_candle)?;
        }
        let added = Tensor::from_weight(weights.device, &added.unsqueeze(0).map_err(of_candle)?)?;
        Ok(Self { layer, added, norm, leading, grid })
    }

    /// Height and width of the images.
    pub(super) fn image_size(&self) -> [usize; 2] {
        self.grid.image
    }

    /// How many states an image has.
    pub(super) fn states(&self) -> usize {
        self.leading + self.grid.patches()
    }

    fn forward(&self, pixels: &Tensor) -> Result<Tensor> {
        let [height, width] = self.grid.image;
        let count = match *pixels.dims() {
            [count, h, w, 3] if h == height && w == width && count > 0 => count,
            ref dims => {
                return Err(Error::invalid_request(format!(
                    "the images are {dims:?}; the model needs [image, {height}, {width}, 3]"
                )));
            }
        };
        let cut = patches(pixels, self.grid.patch, self.leading)?;
        let x = self.layer.forward_with(cut, Epilogue::residual(self.added.repeat(count)?))?;
        let x = x.reshape([count * self.states(), self.layer.outputs()])?;
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => Ok(x),
        }
    }
}

fn wide(x: candle_core::Tensor) -> Result<candle_core::Tensor> {
    x.to_dtype(DType::F32).map_err(of_candle)
}
