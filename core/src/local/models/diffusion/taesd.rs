//! TAESD (`AutoencoderTiny`): a small autoencoder of convolutions, for previews and quick drafts.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Bounds, Vae};
use crate::error::Result;
use crate::local::models::config::{check, only, read, wrong};
use crate::local::ops::{Activation, Conv2d, Device, Epilogue, Geometry, Tensor, activate};
use crate::local::weights::{Parameters, Weights};

#[derive(Deserialize)]
struct File {
    encoder_block_out_channels: Option<Vec<usize>>,
    decoder_block_out_channels: Option<Vec<usize>>,
    num_encoder_blocks: Option<Vec<usize>>,
    num_decoder_blocks: Option<Vec<usize>>,
    latent_channels: Option<usize>,
    scaling_factor: Option<f32>,
}

/// An `AutoencoderTiny`.
#[derive(Debug)]
pub(crate) struct TinyAutoencoder {
    channels: Vec<usize>,
    latent_channels: usize,
    scaling: f32,
    encoder: Vec<Layer>,
    decoder: Vec<Layer>,
}

#[derive(Debug)]
enum Layer {
    Conv(Conv2d),
    /// Three convolutions with ReLUs between, added to their input, and a ReLU.
    Block([Conv2d; 3]),
    Relu,
}

impl TinyAutoencoder {
    /// The autoencoder of `config.json`.
    ///
    /// # Errors
    /// `unsupported` for a variant that is not computed here; `model_load` if a tensor is missing or has another shape.
    pub(crate) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        check(config, weights)?;
        for (key, value) in [
            ("act_fn", json!("relu")),
            ("upsample_fn", json!("nearest")),
            ("upsampling_scaling_factor", json!(2)),
            ("in_channels", json!(3)),
            ("out_channels", json!(3)),
        ] {
            only(config, key, &value)?;
        }
        let file: File = read(config)?;
        let encoder_channels = file.encoder_block_out_channels.unwrap_or(vec![64; 4]);
        let channels = file.decoder_block_out_channels.unwrap_or(vec![64; 4]);
        let down = file.num_encoder_blocks.unwrap_or(vec![1, 3, 3, 3]);
        let up = file.num_decoder_blocks.unwrap_or(vec![3, 3, 3, 1]);
        // Blocks keep their channels, so all levels have as many.
        let is_even =
            |channels: &[usize]| channels.first().is_some_and(|first| channels.iter().all(|c| c == first));
        if [encoder_channels.len(), down.len(), up.len()] != [channels.len(); 3]
            || !(1..=8).contains(&channels.len())
            || down.iter().chain(&up).any(|blocks| *blocks > 64)
            || !is_even(&channels)
            || !is_even(&encoder_channels)
        {
            return Err(wrong("a tiny autoencoder's levels differ"));
        }
        let latent_channels = file.latent_channels.unwrap_or(4);
        let weights = Parameters::new(weights, device);
        let encoder = Layers { weights: weights.at("encoder.layers"), next: 0, layers: Vec::new() };
        let decoder = Layers { weights: weights.at("decoder.layers"), next: 0, layers: Vec::new() };
        Ok(Self {
            latent_channels,
            scaling: file.scaling_factor.unwrap_or(1.0),
            encoder: encoder.down(&down, encoder_channels[0], latent_channels)?,
            decoder: decoder.up(&up, channels[0], latent_channels)?,
            channels,
        })
    }
}

/// Builds layers that are numbered through.
struct Layers<'a> {
    weights: Parameters<'a>,
    next: usize,
    layers: Vec<Layer>,
}

impl Layers<'_> {
    fn conv(&mut self, channels: [usize; 2], geometry: Geometry) -> Result<()> {
        let conv = self.weights.conv(&self.next.to_string(), channels, 3, geometry)?;
        self.next += 1;
        self.layers.push(Layer::Conv(conv));
        Ok(())
    }

    fn blocks(&mut self, count: usize, channels: usize) -> Result<()> {
        for _ in 0..count {
            let here = self.weights.at(self.next).at("conv");
            let conv = |number: usize| here.conv(&number.to_string(), [channels; 2], 3, Geometry::padded(1));
            self.layers.push(Layer::Block([conv(0)?, conv(2)?, conv(4)?]));
            self.next += 1;
        }
        Ok(())
    }

    fn down(mut self, blocks: &[usize], channels: usize, latent: usize) -> Result<Vec<Layer>> {
        let padded = Geometry::padded(1);
        for (level, count) in blocks.iter().enumerate() {
            match level {
                0 => self.conv([3, channels], padded)?,
                _ => self.conv([channels; 2], Geometry { stride: 2, ..padded })?,
            }
            self.blocks(*count, channels)?;
        }
        self.conv([channels, latent], padded)?;
        Ok(self.layers)
    }

    fn up(mut self, blocks: &[usize], channels: usize, latent: usize) -> Result<Vec<Layer>> {
        let padded = Geometry::padded(1);
        self.conv([latent, channels], padded)?;
        self.next += 1;
        self.layers.push(Layer::Relu);
        for (level, count) in blocks.iter().enumerate() {
            self.blocks(*count, channels)?;
            if level + 1 < blocks.len() {
                // The upsampling before it has a number too.
                self.next += 1;
                self.conv([channels; 2], Geometry { doubled: true, ..padded })?;
            } else {
                self.conv([channels, 3], padded)?;
            }
        }
        Ok(self.layers)
    }
}

fn forward(layers: &[Layer], mut x: Tensor, bounds: &Bounds<'_>) -> Result<Tensor> {
    let relu = || Epilogue::activation(Activation::Relu);
    for layer in layers {
        bounds.check()?;
        x = match layer {
            Layer::Conv(conv) => conv.forward(x)?,
            Layer::Relu => activate(x, Activation::Relu)?,
            Layer::Block([first, second, third]) => {
                let hidden = second.forward_with(first.forward_with(&x, relu(), None)?, relu(), None)?;
                activate(third.forward_with(hidden, Epilogue::residual(x), None)?, Activation::Relu)?
            }
        };
    }
    Ok(x)
}

/// The same shape with every number changed.
fn mapped(x: &Tensor, change: impl Fn(f32) -> f32) -> Result<Tensor> {
    Tensor::from_vec(x.device(), x.values()?.iter().map(|x| change(*x)).collect(), x.dims())
}

impl Vae for TinyAutoencoder {
    fn decode(&self, latent: Tensor, bounds: &Bounds<'_>) -> Result<Tensor> {
        let scaling = self.scaling;
        let bounded = mapped(&latent, |x| (x / scaling / 3.0).tanh() * 3.0)?;
        mapped(&forward(&self.decoder, bounded, bounds)?, |x| 2.0 * x - 1.0)
    }

    fn encode(&self, pixels: Tensor, bounds: &Bounds<'_>) -> Result<(Tensor, Option<Tensor>)> {
        let pixels = mapped(&pixels, |x| (x + 1.0) / 2.0)?;
        Ok(((forward(&self.encoder, pixels, bounds)? * self.scaling)?, None))
    }

    fn channels(&self) -> &[usize] {
        &self.channels
    }

    fn latent_channels(&self) -> usize {
        self.latent_channels
    }

    fn scale(&self) -> usize {
        1 << (self.channels.len() - 1)
    }
}
