//! The UNet of Stable Diffusion 1, 2 and XL (`UNet2DConditionModel`).

use std::fmt;

use serde_json::Value;

use super::config::{Level, UNetConfig};
use super::resnet::{Groups, Resnet, Upsample, downsample};
use super::transformer::{Context, Sizes, SpatialTransformer};
use super::{Denoiser, DenoiserInput};
use crate::error::{Error, Result};
use crate::local::models::config;
use crate::local::ops::{Activation, Conv2d, Device, Epilogue, Geometry, Linear, Norm, Tensor, activate};
use crate::local::weights::{Parameters, Weights};

/// A UNet.
#[derive(Debug)]
pub(crate) struct UNet {
    config: UNetConfig,
    time: TimeEmbedding,
    conv_in: Conv2d,
    down: Vec<DownBlock>,
    middle: (Resnet, SpatialTransformer, Resnet),
    up: Vec<UpBlock>,
    norm_out: Norm,
    conv_out: Conv2d,
}

/// The ways down and up, as files name them.
const SIDES: [&str; 2] = ["down_blocks", "up_blocks"];

/// A residual block, and the attention after it where the level has any.
type Block = (Resnet, Option<SpatialTransformer>);

/// Blocks, and then half the size.
#[derive(Debug)]
struct DownBlock {
    blocks: Vec<Block>,
    downsample: Option<Conv2d>,
}

/// The same on the way up, over what the way down left beside it, and then twice the size.
#[derive(Debug)]
struct UpBlock {
    blocks: Vec<Block>,
    upsample: Option<Upsample>,
}

/// The embedding of timestep, guidance and sizes.
#[derive(Debug)]
struct TimeEmbedding {
    channels: usize,
    cosine_first: bool,
    frequency_shift: f64,
    linear_1: Linear,
    linear_2: Linear,
    guidance: Option<Linear>,
    added: Option<(Linear, Linear, usize)>,
}

impl UNet {
    /// The UNet of `unet/config.json`.
    ///
    /// # Errors
    /// `unsupported` for a variant that is not computed here; `model_load` if a tensor is missing or has another shape.
    pub(crate) fn new(config: &Value, weights: &Weights, device: &Device) -> Result<Self> {
        config::check(config, weights)?;
        let config = UNetConfig::read(config)?;
        let unet = Self::build(config, &Parameters::new(weights, device))?;
        weights.check_no_layer_is_left()?;
        Ok(unet)
    }

    fn build(config: UNetConfig, weights: &Parameters<'_>) -> Result<Self> {
        let levels = &config.levels;
        let first = levels.first().map_or(0, |level| level.channels);
        let last = levels.last().ok_or_else(|| config::wrong("a UNet without levels"))?;
        let width = weights.shape("time_embedding.linear_2.weight").and_then(|shape| shape.first().copied());
        let width = width.ok_or_else(|| config::wrong("the UNet has no `time_embedding.linear_2.weight`"))?;
        let parts = Parts { config: &config, width };
        let (middle, block) = (weights.at("mid_block"), [last.channels; 2]);
        // What enters and leaves is not rounded to int8.
        let careful = weights.device.precision_above_int8();
        let outermost = |name, channels| weights.conv_in(careful, name, channels, 3, Geometry::padded(1));
        Ok(Self {
            time: TimeEmbedding::new(weights, &config, [first, width])?,
            conv_in: outermost("conv_in", [config.in_channels, first])?,
            down: parts.down(&weights.at(SIDES[0]))?,
            middle: (
                parts.resnet(&middle.at("resnets.0"), block)?,
                parts.transformer(&middle.at("attentions.0"), last, config.middle)?,
                parts.resnet(&middle.at("resnets.1"), block)?,
            ),
            up: parts.up(&weights.at(SIDES[1]))?,
            norm_out: weights.group_norm("conv_norm_out", first, config.groups, config.epsilon)?,
            conv_out: outermost("conv_out", [first, config.out_channels])?,
            config,
        })
    }

    fn check(&self, input: &DenoiserInput<'_>) -> Result<()> {
        let [rows, height, width, channels] = input.latents.dims_of()?;
        let states = input.states.dims();
        let of_rows = input.extra.pooled.map_or(rows, <[_]>::len) == rows
            && input.extra.guidance.map_or(rows, <[_]>::len) == rows
            && [input.timesteps.len(), input.starts.len().saturating_sub(1)] == [rows; 2];
        let fits = channels == self.config.in_channels && states.last() == Some(&self.config.context);
        if rows > 0 && height > 0 && width > 0 && of_rows && fits {
            return Ok(());
        }
        let (wanted, context) = (self.config.in_channels, self.config.context);
        Err(Error::invalid_request(format!(
            "latents {:?} and conditioning {states:?} do not fit a UNet of {wanted} channels and conditioning of {context}",
            input.latents.dims()
        )))
    }
}

/// What builds the blocks.
struct Parts<'a> {
    config: &'a UNetConfig,
    /// The width of the embedding of timesteps.
    width: usize,
}

impl Parts<'_> {
    fn resnet(&self, weights: &Parameters<'_>, channels: [usize; 2]) -> Result<Resnet> {
        let groups = Groups { count: self.config.groups, epsilon: self.config.epsilon };
        Resnet::new(weights, channels, Some(self.width), groups)
    }

    fn transformer(
        &self,
        weights: &Parameters<'_>,
        level: &Level,
        layers: usize,
    ) -> Result<SpatialTransformer> {
        let heads = config::heads(level.channels, level.heads)?;
        let sizes = Sizes { channels: level.channels, heads, layers, context: self.config.context };
        SpatialTransformer::new(weights, sizes, self.config.groups)
    }

    fn attention(
        &self,
        weights: &Parameters<'_>,
        level: &Level,
        depths: Option<&Vec<usize>>,
        block: usize,
    ) -> Result<Option<SpatialTransformer>> {
        let layers = depths.and_then(|depths| depths.get(block)).copied();
        let layers = layers.filter(|layers| *layers > 0);
        layers.map(|layers| self.transformer(&weights.at("attentions").at(block), level, layers)).transpose()
    }

    fn down(&self, weights: &Parameters<'_>) -> Result<Vec<DownBlock>> {
        let levels = &self.config.levels;
        let mut inputs = levels.first().map_or(0, |level| level.channels);
        let block = |(number, level): (usize, &Level)| {
            let here = weights.at(number);
            let mut blocks = Vec::new();
            for block in 0..level.blocks {
                let resnet = self.resnet(&here.at("resnets").at(block), [inputs, level.channels])?;
                blocks.push((resnet, self.attention(&here, level, level.down.as_ref(), block)?));
                inputs = level.channels;
            }
            let halves = number + 1 < levels.len();
            let downsample = halves.then(|| downsample(&here, level.channels, [1; 4])).transpose()?;
            Ok(DownBlock { blocks, downsample })
        };
        levels.iter().enumerate().map(block).collect()
    }

    fn up(&self, weights: &Parameters<'_>) -> Result<Vec<UpBlock>> {
        let levels: Vec<&Level> = self.config.levels.iter().rev().collect();
        let mut before = levels.first().map_or(0, |level| level.channels);
        let block = |(number, level): (usize, &&Level)| {
            let here = weights.at(number);
            // The last of what the way down left is of the level before.
            let above = levels.get(number + 1).or(levels.last()).map_or(0, |level| level.channels);
            let mut blocks = Vec::new();
            for block in 0..=level.blocks {
                let skipped = if block == level.blocks { above } else { level.channels };
                let resnet =
                    self.resnet(&here.at("resnets").at(block), [before + skipped, level.channels])?;
                blocks.push((resnet, self.attention(&here, level, level.up.as_ref(), block)?));
                before = level.channels;
            }
            let doubles = number + 1 < levels.len();
            let upsample = doubles.then(|| Upsample::new(&here, level.channels)).transpose()?;
            Ok(UpBlock { blocks, upsample })
        };
        levels.iter().enumerate().map(block).collect()
    }
}

/// Is told each part's place, as diffusers names it, and what it gave.
type See<'a> = &'a mut dyn FnMut(fmt::Arguments<'_>, &Tensor);

impl UNet {
    /// The prediction, part by part.
    pub(crate) fn predict_seen(&self, input: &DenoiserInput<'_>, see: See<'_>) -> Result<Tensor> {
        self.check(input)?;
        let time = activate(self.time.forward(input)?, Activation::Silu)?;
        let context = Context { states: &input.states, starts: input.starts };
        let block =
            |(resnet, attention): &Block, x: Tensor, [side, level, block]: [usize; 3], see: See<'_>| {
                let x = resnet.forward(x, Some(&time))?;
                see(format_args!("{}.{level}.resnets.{block}", SIDES[side]), &x);
                let Some(attention) = attention else { return Ok(x) };
                let x = attention.forward(x, context)?;
                see(format_args!("{}.{level}.attentions.{block}", SIDES[side]), &x);
                Ok(x)
            };
        let mut x = self.conv_in.forward(&input.latents)?;
        let mut skipped = vec![x.clone()];
        for (number, level) in self.down.iter().enumerate() {
            for (place, parts) in level.blocks.iter().enumerate() {
                x = block(parts, x, [0, number, place], see)?;
                skipped.push(x.clone());
            }
            if let Some(downsample) = &level.downsample {
                x = downsample.forward(x)?;
                see(format_args!("{}.{number}.downsamplers.0", SIDES[0]), &x);
                skipped.push(x.clone());
            }
        }
        let (first, attention, second) = &self.middle;
        x = attention.forward(first.forward(x, Some(&time))?, context)?;
        see(format_args!("mid_block.attentions.0"), &x);
        x = second.forward(x, Some(&time))?;
        see(format_args!("mid_block.resnets.1"), &x);
        for (number, level) in self.up.iter().enumerate() {
            for (place, parts) in level.blocks.iter().enumerate() {
                let skip = skipped.pop().ok_or_else(|| Error::invalid_request("a UNet whose ways differ"))?;
                x = block(parts, Tensor::side_by_side(&[&x, &skip])?, [1, number, place], see)?;
            }
            if let Some(upsample) = &level.upsample {
                let size = skipped.last().map(|skip| skip.dims_of::<4>()).transpose()?;
                x = upsample.forward(x, size.map(|[_, height, width, _]| [height, width]))?;
                see(format_args!("{}.{number}.upsamplers.0", SIDES[1]), &x);
            }
        }
        self.conv_out.forward(self.norm_out.forward_with(x, Activation::Silu)?)
    }
}

impl Denoiser for UNet {
    fn predict(&self, input: &DenoiserInput<'_>) -> Result<Tensor> {
        self.predict_seen(input, &mut |_, _| {})
    }
}

impl TimeEmbedding {
    fn new(weights: &Parameters<'_>, config: &UNetConfig, [channels, width]: [usize; 2]) -> Result<Self> {
        let precision = weights.device.precision_above_int8();
        let linear = |name: &str, inputs: usize| {
            let here = weights.at(name);
            here.linear_in(
                precision,
                (here.tensor("weight", &[width, inputs])?, Some(here.tensor("bias", &[width])?)),
            )
        };
        let guidance = config.guidance_width.map(|inputs| {
            let here = weights.at("time_embedding.cond_proj");
            here.linear_in(precision, (here.tensor("weight", &[channels, inputs])?, None))
        });
        let added = config.added.map(|[size, inputs]| {
            Ok::<_, Error>((
                linear("add_embedding.linear_1", inputs)?,
                linear("add_embedding.linear_2", width)?,
                size,
            ))
        });
        Ok(Self {
            channels,
            cosine_first: config.cosine_first,
            frequency_shift: config.frequency_shift,
            linear_1: linear("time_embedding.linear_1", channels)?,
            linear_2: linear("time_embedding.linear_2", width)?,
            guidance: guidance.transpose()?,
            added: added.transpose()?,
        })
    }

    /// A row an image.
    fn forward(&self, input: &DenoiserInput<'_>) -> Result<Tensor> {
        let device = input.latents.device();
        let rows = input.timesteps.len();
        let of = |t: &f32| sinusoid(*t, self.channels, self.cosine_first, self.frequency_shift);
        let times =
            Tensor::from_vec(device, input.timesteps.iter().flat_map(of).collect(), [rows, self.channels])?;
        let times = match (&self.guidance, input.extra.guidance) {
            (None, _) => times,
            (Some(layer), Some(scales)) => {
                // The scale less one, in thousandths, with sines first.
                let width = layer.inputs();
                let of = |scale: &f32| sinusoid((scale - 1.0) * 1000.0, width, false, 1.0);
                let scales = Tensor::from_vec(device, scales.iter().flat_map(of).collect(), [rows, width])?;
                layer.forward_with(scales, Epilogue::residual(times))?
            }
            (Some(_), None) => {
                return Err(Error::invalid_request("the model takes the guidance scale as an input"));
            }
        };
        let silu = || Epilogue::activation(Activation::Silu);
        let embedded = self.linear_2.forward(self.linear_1.forward_with(times, silu())?)?;
        let Some((linear_1, linear_2, size)) = &self.added else { return Ok(embedded) };
        let Some(pooled) = input.extra.pooled else {
            return Err(Error::invalid_request("the model needs the pooled text and sizes"));
        };
        let mut values = Vec::with_capacity(rows * linear_1.inputs());
        for (text, sizes) in pooled {
            values.extend_from_slice(text);
            values.extend(
                sizes
                    .iter()
                    .flat_map(|value| sinusoid(*value, *size, self.cosine_first, self.frequency_shift)),
            );
        }
        let added = Tensor::from_vec(device, values, [rows, linear_1.inputs()])?;
        linear_2.forward_with(linear_1.forward_with(added, silu())?, Epilogue::residual(embedded))
    }
}

/// Sines and cosines of a number at falling frequencies, in f32 as diffusers computes them.
fn sinusoid(value: f32, width: usize, cosine_first: bool, shift: f64) -> Vec<f32> {
    let half = width / 2;
    let log = -(10_000.0_f64.ln() as f32);
    let angle = |index: usize| {
        let exponent = log * index as f32 / (half as f64 - shift) as f32;
        value * exponent.exp()
    };
    let sines = (0..half).map(|index| angle(index).sin());
    let cosines = (0..half).map(|index| angle(index).cos());
    let mut values: Vec<f32> = match cosine_first {
        true => cosines.chain(sines).collect(),
        false => sines.chain(cosines).collect(),
    };
    values.resize(width, 0.0);
    values
}
