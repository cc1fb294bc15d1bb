//! The VAE of Stable Diffusion (`AutoencoderKL`).

use std::fmt;

use serde_json::Value;

use super::Vae;
use super::config::VaeConfig;
use super::resnet::{Groups, Resnet, Upsample, downsample};
use super::strips::{Stage, Strips};
use super::transformer::split;
use crate::error::{Error, ErrorKind, Result};
use crate::local::models::config;
use crate::local::ops::{
    Activation, AttentionOptions, Conv2d, Device, Epilogue, Geometry, Heads, KeyValues, Linear, Norm, Tensor,
    attention, of_candle,
};
use crate::local::weights::{Parameters, Weights, single_file};

/// Epsilon of all norms.
const EPSILON: f64 = 1e-6;

/// What a decoder or an encoder keeps to.
#[derive(Clone, Copy)]
pub(crate) struct Bounds<'a> {
    /// The most bytes that activations may take; `None` for no bound.
    pub(crate) max_bytes: Option<usize>,
    /// Asked between layers.
    pub(crate) should_stop: &'a dyn Fn() -> bool,
}

impl Bounds<'_> {
    /// # Errors
    /// `cancelled` if the work should stop.
    pub(super) fn check(&self) -> Result<()> {
        match (self.should_stop)() {
            true => Err(Error::new(ErrorKind::Cancelled, "the work was stopped")),
            false => Ok(()),
        }
    }
}

impl fmt::Debug for Bounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bounds")
    }
}

/// An `AutoencoderKL`.
#[derive(Debug)]
pub(crate) struct Autoencoder {
    config: VaeConfig,
    encoder: Encoder,
    quant: Option<Linear>,
    post_quant: Option<Linear>,
    decoder: Decoder,
}

#[derive(Debug)]
struct Encoder {
    conv_in: Conv2d,
    levels: Vec<(Vec<Resnet>, Option<Conv2d>)>,
    middle: Middle,
    norm_out: Norm,
    conv_out: Conv2d,
}

#[derive(Debug)]
struct Decoder {
    conv_in: Conv2d,
    middle: Middle,
    levels: Vec<(Vec<Resnet>, Option<Upsample>)>,
    norm_out: Norm,
    conv_out: Conv2d,
}

/// The blocks at the smallest size.
#[derive(Debug)]
struct Middle {
    first: Resnet,
    attention: Attention,
    second: Resnet,
}

/// Attention of all pixels to each other, with one head.
#[derive(Debug)]
struct Attention {
    norm: Norm,
    qkv: Linear,
    out: Linear,
    heads: Heads,
}

impl Autoencoder {
    /// The VAE of `vae/config.json`.
    ///
    /// # Errors
    /// `unsupported` for a variant that is not computed here; `model_load` if a tensor is missing or has another shape.
    pub(crate) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        config::check(config, weights)?;
        let config = VaeConfig::read(config)?;
        let weights = &Parameters::new(weights, device);
        let latent = config.latent_channels;
        let quant = |name: &str, channels: usize| {
            let here = weights.at(name);
            let layer = here.has("weight").then(|| {
                let weight = here.pointwise_weight(channels, channels)?;
                here.linear_in(device.precision_above_int8(), (weight, here.bias("bias", channels)?))
            });
            layer.transpose()
        };
        Ok(Self {
            encoder: Encoder::new(&weights.at("encoder"), &config)?,
            quant: quant("quant_conv", 2 * latent)?,
            post_quant: quant("post_quant_conv", latent)?,
            decoder: Decoder::new(&weights.at("decoder"), &config)?,
            config,
        })
    }
}

fn groups(config: &VaeConfig) -> Groups {
    Groups { count: config.groups, epsilon: EPSILON }
}

/// The blocks of a level, of which the first changes the channels.
fn resnets(
    level: &Parameters<'_>,
    count: usize,
    [inputs, outputs]: [usize; 2],
    config: &VaeConfig,
) -> Result<Vec<Resnet>> {
    let inputs = |block| if block == 0 { inputs } else { outputs };
    let block = |number| {
        Resnet::new(&level.at("resnets").at(number), [inputs(number), outputs], None, groups(config))
    };
    (0..count).map(block).collect()
}

impl Encoder {
    fn new(weights: &Parameters<'_>, config: &VaeConfig) -> Result<Self> {
        let channels = &config.channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut inputs = first;
        let level = |(number, outputs): (usize, &usize)| {
            let here = weights.at("down_blocks").at(number);
            let blocks = resnets(&here, config.blocks, [inputs, *outputs], config)?;
            inputs = *outputs;
            let halves = number + 1 < channels.len();
            // Padded below and right only.
            Ok((blocks, halves.then(|| downsample(&here, *outputs, [0, 1, 0, 1])).transpose()?))
        };
        Ok(Self {
            conv_in: weights.conv("conv_in", [3, first], 3, Geometry::padded(1))?,
            levels: channels.iter().enumerate().map(level).collect::<Result<_>>()?,
            middle: Middle::new(&weights.at("mid_block"), config)?,
            norm_out: weights.group_norm("conv_norm_out", last, config.groups, EPSILON)?,
            conv_out: weights.conv("conv_out", [last, 2 * config.latent_channels], 3, Geometry::padded(1))?,
        })
    }

    fn forward(&self, pixels: Tensor, bounds: &Bounds<'_>) -> Result<Tensor> {
        let mut x = self.conv_in.forward(pixels)?;
        for (blocks, downsample) in &self.levels {
            for block in blocks {
                bounds.check()?;
                x = block.forward(x, None)?;
            }
            if let Some(downsample) = downsample {
                x = downsample.forward(x)?;
            }
        }
        x = self.middle.forward(x, bounds)?;
        self.conv_out.forward(self.norm_out.forward_with(x, Activation::Silu)?)
    }
}

impl Decoder {
    fn new(weights: &Parameters<'_>, config: &VaeConfig) -> Result<Self> {
        let channels = &config.channels;
        let (first, last) = (channels[0], channels[channels.len() - 1]);
        let mut inputs = last;
        let level = |(number, outputs): (usize, &usize)| {
            let here = weights.at("up_blocks").at(number);
            let blocks = resnets(&here, config.blocks + 1, [inputs, *outputs], config)?;
            inputs = *outputs;
            let doubles = number + 1 < channels.len();
            Ok((blocks, doubles.then(|| Upsample::new(&here, *outputs)).transpose()?))
        };
        Ok(Self {
            conv_in: weights.conv("conv_in", [config.latent_channels, last], 3, Geometry::padded(1))?,
            middle: Middle::new(&weights.at("mid_block"), config)?,
            levels: channels.iter().rev().enumerate().map(level).collect::<Result<_>>()?,
            norm_out: weights.group_norm("conv_norm_out", first, config.groups, EPSILON)?,
            conv_out: weights.conv("conv_out", [first, 3], 3, Geometry::padded(1))?,
        })
    }

    fn forward(&self, latent: Tensor, channels: &[usize], bounds: &Bounds<'_>) -> Result<Tensor> {
        let [_, height, width, _] = latent.dims_of()?;
        let whole = self.whole_levels(channels, [height, width], bounds.max_bytes)?;
        let mut x = self.middle.forward(self.conv_in.forward(latent)?, bounds)?;
        let mut rest = Vec::new();
        for (number, (blocks, upsample)) in self.levels.iter().enumerate() {
            if number >= whole {
                rest.extend(blocks.iter().map(Stage::Resnet));
            } else {
                for block in blocks {
                    bounds.check()?;
                    x = block.forward(x, None)?;
                }
            }
            match upsample {
                // What doubles the size belongs to the level after it.
                Some(upsample) if number + 1 >= whole => rest.push(Stage::Upsample(upsample)),
                Some(upsample) => {
                    bounds.check()?;
                    x = upsample.forward(x, None)?;
                }
                None => {}
            }
        }
        bounds.check()?;
        if whole < self.levels.len() {
            return Strips::new(x, rest, (&self.norm_out, &self.conv_out), bounds)?.forward();
        }
        self.conv_out.forward(self.norm_out.forward_with(x, Activation::Silu)?)
    }

    /// How many levels are computed whole, so that no more than `max_bytes` are needed; the others are done in strips.
    fn whole_levels(&self, channels: &[usize], size: [usize; 2], max_bytes: Option<usize>) -> Result<usize> {
        let levels = self.levels.len();
        let Some(max_bytes) = max_bytes else { return Ok(levels) };
        let needed = decoder_bytes(channels, size);
        let whole = needed.iter().take_while(|bytes| **bytes <= max_bytes).count();
        match whole {
            0 => Err(Error::new(
                ErrorKind::OutOfMemory,
                format!("decoding needs {} bytes for its smallest level; {max_bytes} are allowed", needed[0]),
            )),
            whole => Ok(whole.min(levels)),
        }
    }
}

/// Bytes of activations while each level of a decoder is computed whole, for a latent of a size. `channels` are those of the
/// levels on the way down.
pub(crate) fn decoder_bytes(channels: &[usize], [height, width]: [usize; 2]) -> Vec<usize> {
    let mut before = channels.last().copied().unwrap_or(0);
    let of_level = |(number, channels): (usize, &usize)| {
        // In the first block its input, a shortcut and what lies between them; later three of one size.
        let most = (before + 2 * channels).max(3 * channels);
        before = *channels;
        (height << number).saturating_mul(width << number).saturating_mul(most * size_of::<f32>())
    };
    channels.iter().rev().enumerate().map(of_level).collect()
}

impl Middle {
    fn new(weights: &Parameters<'_>, config: &VaeConfig) -> Result<Self> {
        let channels = config.channels[config.channels.len() - 1];
        let resnet = |number: usize| {
            Resnet::new(&weights.at("resnets").at(number), [channels; 2], None, groups(config))
        };
        Ok(Self {
            first: resnet(0)?,
            attention: Attention::new(&weights.at("attentions.0"), channels, config.groups)?,
            second: resnet(1)?,
        })
    }

    fn forward(&self, x: Tensor, bounds: &Bounds<'_>) -> Result<Tensor> {
        let x = self.first.forward(x, None)?;
        bounds.check()?;
        let x = self.attention.forward(x)?;
        bounds.check()?;
        self.second.forward(x, None)
    }
}

impl Attention {
    fn new(weights: &Parameters<'_>, channels: usize, groups: usize) -> Result<Self> {
        // As layers over pixels, which older files store as convolutions.
        let dense = |name: &str| {
            let here = weights.at(name);
            Ok::<_, Error>((here.pointwise_weight(channels, channels)?, here.tensor("bias", &[channels])?))
        };
        let parts = ["to_q", "to_k", "to_v"].iter().map(|name| dense(name)).collect::<Result<Vec<_>>>()?;
        let (matrices, biases): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let weight = candle_core::Tensor::cat(&matrices, 0).map_err(of_candle)?;
        let bias = candle_core::Tensor::cat(&biases, 0).map_err(of_candle)?;
        Ok(Self {
            norm: weights.group_norm("group_norm", channels, groups, EPSILON)?,
            qkv: weights.linear_of((weight, Some(bias)))?,
            out: weights.pointwise("to_out.0", channels, channels)?,
            heads: config::heads(channels, 1)?,
        })
    }

    fn forward(&self, x: Tensor) -> Result<Tensor> {
        let [images, height, width, channels] = x.dims_of()?;
        let pixels = height * width;
        let (starts, flat) =
            ((0..=images).map(|image| image * pixels).collect::<Vec<_>>(), [images * pixels, channels]);
        let normal = self.norm.forward(&x)?.reshape(flat)?;
        let [queries, keys, values] = split(self.qkv.forward(normal)?, self.heads)?;
        let over = KeyValues::Ragged { keys: &keys, values: &values, starts: &starts };
        let options = AttentionOptions { scale: self.heads.scale(), ..AttentionOptions::default() };
        let attended = attention(&queries, &starts, over, options)?;
        self.out
            .forward_with(attended, Epilogue::residual(x.reshape(flat)?))?
            .reshape([images, height, width, channels])
    }
}

impl Vae for Autoencoder {
    fn decode(&self, latent: Tensor, bounds: &Bounds<'_>) -> Result<Tensor> {
        let VaeConfig { scaling, shift, .. } = self.config;
        let mut x = (latent * (1.0 / scaling))?;
        if shift != 0.0 {
            let device = x.device().clone();
            let shifts = vec![shift; x.dims().iter().product()];
            x = (x.clone() + &Tensor::from_vec(&device, shifts, x.dims())?)?;
        }
        let x = self.post_quant.as_ref().map_or(Ok(x.clone()), |layer| layer.forward(&x))?;
        self.decoder.forward(x, &self.config.channels, bounds)
    }

    fn encode(&self, pixels: Tensor, bounds: &Bounds<'_>) -> Result<(Tensor, Option<Tensor>)> {
        let [_, height, width, _] = pixels.dims_of()?;
        let first = self.config.channels.first().copied().unwrap_or(0);
        let needed = height.saturating_mul(width).saturating_mul(3 * first * size_of::<f32>());
        if let Some(max_bytes) = bounds.max_bytes.filter(|max_bytes| needed > *max_bytes) {
            return Err(Error::new(
                ErrorKind::OutOfMemory,
                format!("encoding {width}×{height} pixels needs {needed} bytes; {max_bytes} are allowed"),
            ));
        }
        let moments = self.encoder.forward(pixels, bounds)?;
        let moments = self.quant.as_ref().map_or(Ok(moments.clone()), |layer| layer.forward(&moments))?;
        let VaeConfig { scaling, shift, latent_channels, .. } = self.config;
        let mut dims = moments.dims().to_vec();
        let (device, values) = (moments.device().clone(), moments.values()?);
        dims.iter_mut().last().into_iter().for_each(|last| *last = latent_channels);
        let (mut means, mut deviations) = (Vec::new(), Vec::new());
        for pixel in values.chunks_exact(2 * latent_channels) {
            let (mean, log_variance) = pixel.split_at(latent_channels);
            means.extend(mean.iter().map(|mean| (mean - shift) * scaling));
            deviations.extend(log_variance.iter().map(|log| (0.5 * log.clamp(-30.0, 20.0)).exp() * scaling));
        }
        let tensor = |values| Tensor::from_vec(&device, values, &dims);
        Ok((tensor(means)?, Some(tensor(deviations)?)))
    }

    fn channels(&self) -> &[usize] {
        &self.config.channels
    }

    fn latent_channels(&self) -> usize {
        self.config.latent_channels
    }

    fn scale(&self) -> usize {
        1 << (self.config.channels.len() - 1)
    }
}

/// The same weights with the names that diffusers gives the parts of attention today.
pub(crate) fn with_today_s_names(weights: &Weights) -> Weights {
    const ATTENTION: &str = ".mid_block.attentions.0.";
    weights.renamed(|name| {
        Some(match name.split_once(ATTENTION) {
            Some((side, rest)) => format!("{side}{ATTENTION}{}", single_file::vae_attention(rest)),
            None => name.to_owned(),
        })
    })
}
