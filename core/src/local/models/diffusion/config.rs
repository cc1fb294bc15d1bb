//! `config.json` of UNets and VAEs; for single-file checkpoints, what the shapes of their tensors say.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::config::{only, read, unsupported, wrong};
use crate::error::Result;
use crate::local::weights::Weights;

/// The most levels, layers of a level, and blocks of a transformer.
const MAX_PARTS: usize = 64;

/// One value for all levels, or one for each.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum Each<T> {
    // First, because any JSON is a value.
    Level(Vec<T>),
    All(T),
}

impl<T: Clone> Each<T> {
    fn per_level(&self, key: &str, levels: usize) -> Result<Vec<T>> {
        match self {
            Self::All(value) => Ok(vec![value.clone(); levels]),
            Self::Level(values) if values.len() == levels => Ok(values.clone()),
            Self::Level(values) => {
                Err(wrong(format_args!("`{key}` has {} entries for {levels} levels", values.len())))
            }
        }
    }
}

#[derive(Deserialize)]
struct UNetFile {
    sample_size: Option<Each<usize>>,
    in_channels: Option<usize>,
    out_channels: Option<usize>,
    block_out_channels: Vec<usize>,
    down_block_types: Vec<String>,
    up_block_types: Vec<String>,
    layers_per_block: Option<Each<usize>>,
    cross_attention_dim: Option<Each<usize>>,
    attention_head_dim: Option<Each<usize>>,
    num_attention_heads: Option<Each<usize>>,
    transformer_layers_per_block: Option<Each<Value>>,
    reverse_transformer_layers_per_block: Option<Each<Value>>,
    norm_num_groups: Option<usize>,
    norm_eps: Option<f64>,
    flip_sin_to_cos: Option<bool>,
    freq_shift: Option<f64>,
    time_cond_proj_dim: Option<usize>,
    addition_embed_type: Option<String>,
    addition_time_embed_dim: Option<usize>,
    projection_class_embeddings_input_dim: Option<usize>,
}

/// A UNet's layout.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UNetConfig {
    /// Height and width of the latents that it was trained with.
    pub(crate) sample_size: usize,
    pub(crate) in_channels: usize,
    pub(crate) out_channels: usize,
    pub(crate) levels: Vec<Level>,
    /// Transformer blocks in the middle.
    pub(super) middle: usize,
    /// The width of the conditioning's states.
    pub(crate) context: usize,
    pub(super) groups: usize,
    pub(super) epsilon: f64,
    /// Whether cosines come before sines in embeddings of timesteps.
    pub(super) cosine_first: bool,
    pub(super) frequency_shift: f64,
    /// The width of the embedding of the guidance scale, where the model takes it.
    pub(crate) guidance_width: Option<usize>,
    /// The widths of the embedding of one size, and of all that is added to the timestep (SDXL).
    pub(crate) added: Option<[usize; 2]>,
}

/// One level of a UNet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) channels: usize,
    pub(crate) heads: usize,
    /// Residual blocks on the way down.
    pub(super) blocks: usize,
    /// Transformer blocks after each residual block, on the way down and (with one block more) up; none without attention.
    pub(super) down: Option<Vec<usize>>,
    pub(super) up: Option<Vec<usize>>,
}

/// Keys that may have one value only.
const ONLY: [(&str, Value); 17] = [
    ("act_fn", Value::Null),
    ("mid_block_type", Value::Null),
    ("resnet_time_scale_shift", Value::Null),
    ("time_embedding_type", Value::Null),
    ("center_input_sample", Value::Bool(false)),
    ("dual_cross_attention", Value::Bool(false)),
    ("only_cross_attention", Value::Bool(false)),
    ("mid_block_only_cross_attention", Value::Null),
    ("class_embed_type", Value::Null),
    ("num_class_embeds", Value::Null),
    ("encoder_hid_dim", Value::Null),
    ("encoder_hid_dim_type", Value::Null),
    ("time_embedding_act_fn", Value::Null),
    ("timestep_post_act", Value::Null),
    ("resnet_skip_time_act", Value::Bool(false)),
    ("class_embeddings_concat", Value::Bool(false)),
    ("cross_attention_norm", Value::Null),
];

/// The values of the first of them that are not `null`.
const NAMED: [(&str, &str); 4] = [
    ("act_fn", "silu"),
    ("mid_block_type", "UNetMidBlock2DCrossAttn"),
    ("resnet_time_scale_shift", "default"),
    ("time_embedding_type", "positional"),
];

impl UNetConfig {
    /// Reads `unet/config.json`.
    ///
    /// # Errors
    /// `unsupported` for a variant that is not computed here; `model_load` for a file that is not as expected.
    pub(crate) fn read(config: &Value) -> Result<Self> {
        for (key, value) in &ONLY {
            let named = NAMED.iter().find(|(name, _)| name == key);
            only(config, key, &named.map_or(value.clone(), |(_, value)| json!(value)))?;
        }
        for (key, value) in [("conv_in_kernel", 3), ("conv_out_kernel", 3), ("downsample_padding", 1)] {
            only(config, key, &json!(value))?;
        }
        let file: UNetFile = read(config)?;
        let channels = &file.block_out_channels;
        let levels = channels.len();
        if !(1..=MAX_PARTS).contains(&levels)
            || [file.down_block_types.len(), file.up_block_types.len()] != [levels; 2]
            || channels.contains(&0)
        {
            return Err(wrong("`block_out_channels`, `down_block_types` and `up_block_types` differ"));
        }
        let heads = file.num_attention_heads.as_ref().or(file.attention_head_dim.as_ref());
        let heads = heads.unwrap_or(&Each::All(8)).per_level("attention_head_dim", levels)?;
        let blocks = file.layers_per_block.unwrap_or(Each::All(2)).per_level("layers_per_block", levels)?;
        let depths = file.transformer_layers_per_block.unwrap_or(Each::All(json!(1)));
        let depths = depths.per_level("transformer_layers_per_block", levels)?;
        let reversed = match file.reverse_transformer_layers_per_block {
            Some(depths) => depths.per_level("reverse_transformer_layers_per_block", levels)?,
            None => depths.iter().rev().cloned().collect(),
        };
        let level = |number: usize| {
            let blocks = blocks[number];
            if !(1..=MAX_PARTS).contains(&blocks) {
                return Err(wrong(format_args!("`layers_per_block` is {blocks}")));
            }
            let down = has_attention(&file.down_block_types[number], "CrossAttnDownBlock2D", "DownBlock2D")?;
            let up = levels - 1 - number;
            let is_up = has_attention(&file.up_block_types[up], "CrossAttnUpBlock2D", "UpBlock2D")?;
            Ok(Level {
                channels: channels[number],
                heads: heads[number],
                blocks,
                down: down.then(|| depth_of(&depths[number], blocks)).transpose()?,
                up: is_up.then(|| depth_of(&reversed[up], blocks + 1)).transpose()?,
            })
        };
        let context =
            file.cross_attention_dim.unwrap_or(Each::All(1280)).per_level("cross_attention_dim", levels)?;
        if context.iter().any(|width| *width != context[0]) {
            return Err(unsupported(
                "cross_attention_dim",
                format_args!("{context:?}"),
                "one width for all levels",
            ));
        }
        let added = match file.addition_embed_type.as_deref() {
            None => None,
            Some("text_time") => Some(
                [file.addition_time_embed_dim, file.projection_class_embeddings_input_dim]
                    .map(Option::unwrap_or_default),
            ),
            Some(other) => return Err(unsupported("addition_embed_type", other, "text_time")),
        };
        let middle = depths.last().map(|depth| depth_of(depth, 1)).transpose()?;
        Ok(Self {
            sample_size: match file.sample_size {
                Some(Each::All(size)) => size,
                Some(Each::Level(sizes)) => sizes.first().copied().unwrap_or(64),
                None => 64,
            },
            in_channels: file.in_channels.unwrap_or(4),
            out_channels: file.out_channels.unwrap_or(4),
            levels: (0..levels).map(level).collect::<Result<_>>()?,
            middle: middle.and_then(|depths| depths.last().copied()).unwrap_or(1),
            context: context[0],
            groups: file.norm_num_groups.unwrap_or(32),
            epsilon: file.norm_eps.unwrap_or(1e-5),
            cosine_first: file.flip_sin_to_cos.unwrap_or(true),
            frequency_shift: file.freq_shift.unwrap_or(0.0),
            guidance_width: file.time_cond_proj_dim,
            added,
        })
    }
}

fn has_attention(kind: &str, with: &str, without: &str) -> Result<bool> {
    match kind {
        _ if kind == with => Ok(true),
        _ if kind == without => Ok(false),
        _ => Err(unsupported("down_block_types, up_block_types", kind, &format!("{with}, {without}"))),
    }
}

/// Transformer blocks after each of so many residual blocks.
fn depth_of(depth: &Value, blocks: usize) -> Result<Vec<usize>> {
    let one = |depth: &Value| {
        let count = depth.as_u64().and_then(|count| usize::try_from(count).ok());
        count
            .filter(|count| *count <= MAX_PARTS)
            .ok_or_else(|| wrong(format_args!("`transformer_layers_per_block` has {depth}")))
    };
    match depth {
        Value::Array(depths) if depths.len() >= blocks => depths.iter().take(blocks).map(one).collect(),
        Value::Array(depths) => depths.last().map_or(Ok(vec![1]), |last| Ok(vec![one(last)?; blocks])),
        depth => Ok(vec![one(depth)?; blocks]),
    }
}

#[derive(Deserialize)]
struct VaeFile {
    in_channels: Option<usize>,
    block_out_channels: Vec<usize>,
    layers_per_block: Option<usize>,
    latent_channels: Option<usize>,
    norm_num_groups: Option<usize>,
    scaling_factor: Option<f32>,
    shift_factor: Option<f32>,
}

/// The layout of an `AutoencoderKL`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VaeConfig {
    pub(crate) channels: Vec<usize>,
    pub(super) blocks: usize,
    pub(crate) latent_channels: usize,
    pub(super) groups: usize,
    pub(super) scaling: f32,
    pub(super) shift: f32,
}

impl VaeConfig {
    /// Reads `vae/config.json`.
    ///
    /// # Errors
    /// `unsupported` for a variant that is not computed here; `model_load` for a file that is not as expected.
    pub(crate) fn read(config: &Value) -> Result<Self> {
        for (key, value) in [
            ("act_fn", json!("silu")),
            ("mid_block_add_attention", json!(true)),
            ("latents_mean", Value::Null),
            ("latents_std", Value::Null),
            ("out_channels", json!(3)),
        ] {
            only(config, key, &value)?;
        }
        let file: VaeFile = read(config)?;
        let levels = file.block_out_channels.len();
        let blocks = file.layers_per_block.unwrap_or(1);
        let scaling = file.scaling_factor.unwrap_or(0.18215);
        let is_sound = (1..=8).contains(&levels)
            && (1..=MAX_PARTS).contains(&blocks)
            && !file.block_out_channels.contains(&0)
            && scaling.is_finite()
            && scaling != 0.0;
        if !is_sound || file.in_channels.is_some_and(|channels| channels != 3) {
            return Err(wrong("a VAE's levels, blocks or scaling make no sense"));
        }
        Ok(Self {
            channels: file.block_out_channels,
            blocks,
            latent_channels: file.latent_channels.unwrap_or(4),
            groups: file.norm_num_groups.unwrap_or(32),
            scaling,
            shift: file.shift_factor.unwrap_or(0.0),
        })
    }
}

/// What `unet/config.json` would say about tensors with the names of diffusers. `heads` is how many heads all levels have;
/// without it heads have 64 numbers.
pub(crate) fn unet_of_tensors(weights: &Weights, heads: Option<usize>) -> Result<Value> {
    let shape =
        |name: &str| weights.shape(name).ok_or_else(|| wrong(format_args!("the UNet has no `{name}`")));
    let dim =
        |name: &str, at: usize| Ok::<_, crate::error::Error>(shape(name)?.get(at).copied().unwrap_or(0));
    let levels = (0..MAX_PARTS)
        .take_while(|n| weights.has(&format!("down_blocks.{n}.resnets.0.conv1.weight")))
        .count();
    let channels = (0..levels).map(|n| dim(&format!("down_blocks.{n}.resnets.0.conv1.weight"), 0));
    let channels = channels.collect::<Result<Vec<usize>>>()?;
    let depth = |place: &str| {
        (0..MAX_PARTS)
            .take_while(|n| weights.has(&format!("{place}.attentions.0.transformer_blocks.{n}.norm1.weight")))
            .count()
    };
    let mut depths: Vec<usize> = (0..levels).map(|n| depth(&format!("down_blocks.{n}"))).collect();
    let kinds = |side: &str, with: &str, without: &str| -> Vec<String> {
        let has = |n: usize| depth(&format!("{side}.{n}")) > 0;
        (0..levels).map(|n| if has(n) { with } else { without }.to_owned()).collect()
    };
    let down = kinds("down_blocks", "CrossAttnDownBlock2D", "DownBlock2D");
    let up = kinds("up_blocks", "CrossAttnUpBlock2D", "UpBlock2D");
    // The middle has as many as the last level.
    depths.iter_mut().last().into_iter().for_each(|last| *last = depth("mid_block").max(1));
    let context = dim("mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight", 1)?;
    let heads = channels.iter().map(|channels| heads.unwrap_or(channels / 64).max(1)).collect::<Vec<_>>();
    let added = weights.shape("add_embedding.linear_1.weight").and_then(|shape| shape.get(1).copied());
    Ok(json!({
        "in_channels": dim("conv_in.weight", 1)?,
        "out_channels": dim("conv_out.weight", 0)?,
        "block_out_channels": channels,
        "down_block_types": down,
        "up_block_types": up,
        "layers_per_block": 2,
        "cross_attention_dim": context,
        "attention_head_dim": heads,
        "transformer_layers_per_block": depths,
        "addition_embed_type": added.map(|_| "text_time"),
        "addition_time_embed_dim": added.map(|_| 256),
        "projection_class_embeddings_input_dim": added,
        "sample_size": match (added, context) { (Some(_), _) => 128, (_, 1024) => 96, _ => 64 },
    }))
}

/// What `vae/config.json` would say about tensors with the names of diffusers.
pub(crate) fn vae_of_tensors(weights: &Weights, scaling: f32) -> Result<Value> {
    let channels: Vec<usize> = (0..MAX_PARTS)
        .map_while(|n| {
            weights.shape(&format!("encoder.down_blocks.{n}.resnets.0.conv1.weight"))?.first().copied()
        })
        .collect();
    let blocks = (0..MAX_PARTS)
        .take_while(|n| weights.has(&format!("encoder.down_blocks.0.resnets.{n}.conv1.weight")));
    let latent = weights.shape("decoder.conv_in.weight").and_then(|shape| shape.get(1).copied());
    Ok(json!({
        "block_out_channels": channels,
        "layers_per_block": blocks.count(),
        "latent_channels": latent,
        "scaling_factor": scaling,
    }))
}
