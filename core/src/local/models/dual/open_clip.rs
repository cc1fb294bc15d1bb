//! CLIP with the names and the config of open_clip: `open_clip_config.json` beside `open_clip_model.safetensors`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::clip::{Clip, EndOfText};
use super::config::{Sides, load_error, parse};
use super::pre_norm::{Naming, Shape, Transformer};
use super::towers::{Besides, ImageTower, PatchNames, Patches, TextTower};
use crate::error::Result;
use crate::local::ops::{Activation, Device, Linear, Span, of_candle};
use crate::local::weights::{Biases, Parameters, Tensors};

/// `model_cfg` of `open_clip_config.json`.
#[derive(Deserialize)]
struct Config {
    embed_dim: usize,
    vision_cfg: Images,
    text_cfg: Texts,
    #[serde(default)]
    quick_gelu: bool,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// Settings that both halves have.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Kinds {
    act_kwargs: Option<ActivationKind>,
    norm_kwargs: Option<NormKind>,
    mlp_ratio: Option<f64>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ActivationKind {
    approximate: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct NormKind {
    eps: Option<f64>,
}

#[derive(Deserialize)]
struct Images {
    #[serde(default = "twelve")]
    layers: Value,
    width: Option<usize>,
    head_width: Option<usize>,
    patch_size: Option<Sides>,
    image_size: Option<Sides>,
    #[serde(default)]
    no_ln_pre: bool,
    pool_type: Option<String>,
    #[serde(flatten)]
    kinds: Kinds,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

#[derive(Deserialize)]
struct Texts {
    context_length: Option<usize>,
    vocab_size: Option<usize>,
    width: Option<usize>,
    heads: Option<usize>,
    layers: Option<usize>,
    pool_type: Option<String>,
    eos_id: Option<u32>,
    #[serde(flatten)]
    kinds: Kinds,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

fn twelve() -> Value {
    Value::from(12)
}

/// Settings that change nothing here: of training, of tokenizing, of towers that the model has not, and of how tensors
/// came to be that are stored now.
const WITHOUT_EFFECT: &[&str] = &[
    "attn_pooler_heads",
    "attn_pooler_queries",
    "custom_text",
    "final_ln_after_pool",
    "hf_model_pretrained",
    "hf_pooler_type",
    "hf_proj_type",
    "hf_tokenizer_name",
    "init_logit_bias",
    "init_logit_scale",
    "nonscalar_logit_scale",
    "output_dict",
    "output_tokens",
    "pad_id",
    "patch_dropout",
    "pos_embed_type",
    "timm_drop",
    "timm_drop_path",
    "timm_model_pretrained",
    "timm_pool",
    "timm_proj",
    "timm_proj_bias",
    "tokenizer_kwargs",
    "tokenizer_mode",
];

/// Refuses what would make another model of the same tensors.
fn check(part: &str, rest: &Map<String, Value>) -> Result<()> {
    let is_plain = |name: &str, value: &Value| match (name, value) {
        (_, Value::Null | Value::Bool(false)) => true,
        ("block_type", Value::String(kind)) => kind == "default",
        ("proj_type", Value::String(kind)) => kind == "linear",
        _ => WITHOUT_EFFECT.contains(&name),
    };
    match rest.iter().find(|(name, value)| !is_plain(name, value)) {
        Some((name, value)) => Err(load_error(format!(
            "`{part}.{name}` = {value} is not supported: of open_clip's models, those with its own plain vision and \
             text transformers are"
        ))),
        None => Ok(()),
    }
}

impl Kinds {
    /// Completes a shape whose inner width, activation and epsilon these settings say.
    fn shape(&self, [width, layers, heads]: [usize; 3], quick_gelu: bool) -> Result<Shape> {
        let approximate = self.act_kwargs.as_ref().and_then(|kind| kind.approximate.as_deref());
        let activation = match (quick_gelu, approximate) {
            (true, None) => Activation::QuickGelu,
            (false, None | Some("none")) => Activation::Gelu,
            (false, Some("tanh")) => Activation::GeluTanh,
            (_, Some(kind)) => {
                return Err(load_error(format!(
                    "`act_kwargs.approximate` '{kind}' is unknown; valid: none, tanh"
                )));
            }
        };
        let epsilon = self.norm_kwargs.as_ref().and_then(|kind| kind.eps).unwrap_or(1e-5);
        let inner = times(width, self.mlp_ratio.unwrap_or(4.0));
        Ok(Shape { width, inner, layers, heads, activation, epsilon })
    }
}

/// Rounded down, as Python does it.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "widths are small, and a ratio without sense gives a width that no tensor has"
)]
fn times(width: usize, ratio: f64) -> usize {
    (width as f64 * ratio) as usize
}

/// The model of an `open_clip_config.json`.
///
/// # Errors
/// `model_load` if the config asks for what is not supported, or a tensor is missing or has another shape.
pub(super) fn load(config: &Value, weights: &Tensors, device: &Device) -> Result<Clip> {
    let config: Config = parse(config)?;
    check("model_cfg", &config.rest)?;
    check("vision_cfg", &config.vision_cfg.rest)?;
    check("text_cfg", &config.text_cfg.rest)?;
    let weights = Parameters::new(weights, device).biased(Biases::All);
    let width = config.embed_dim;
    let (images, image_projection) = image_tower(&config, &weights.at("visual"), width)?;
    // Models whose text half was chosen apart have it under a name of its own.
    let (texts, text_projection) = text_tower(&config, &weights.at_any(&["text"]), width)?;
    let end = match (config.text_cfg.pool_type.as_deref(), config.text_cfg.eos_id) {
        (None | Some("argmax"), _) => EndOfText::Highest,
        (Some("eos"), id) => EndOfText::Token(id.unwrap_or(2)),
        (Some(kind), _) => {
            return Err(load_error(format!(
                "`text_cfg.pool_type` '{kind}' is not supported; valid: argmax, eos"
            )));
        }
    };
    Ok(Clip { texts, end, text_projection, images, image_projection })
}

fn image_tower(config: &Config, weights: &Parameters<'_>, width: usize) -> Result<(ImageTower, Linear)> {
    let of = &config.vision_cfg;
    if let Some(kind) = of.pool_type.as_deref().filter(|kind| *kind != "tok") {
        return Err(load_error(format!("`vision_cfg.pool_type` '{kind}' is not supported; valid: tok")));
    }
    let Some(layers) = of.layers.as_u64().and_then(|layers| usize::try_from(layers).ok()) else {
        let layers = &of.layers;
        return Err(load_error(format!(
            "`vision_cfg.layers` = {layers} is a ResNet, which is not supported"
        )));
    };
    let inside = of.width.unwrap_or(768);
    let heads = inside.checked_div(of.head_width.unwrap_or(64)).unwrap_or_default();
    let shape = of.kinds.shape([inside, layers, heads], config.quick_gelu)?;
    let norm = |name| weights.layer_norm(name, inside, shape.epsilon);
    let names = PatchNames {
        weight: "conv1.weight",
        besides: Besides::ClassToken("class_embedding"),
        positions: "positional_embedding",
    };
    let (image, patch) =
        (of.image_size.unwrap_or(Sides::Both(224)), of.patch_size.unwrap_or(Sides::Both(16)));
    let before = if of.no_ln_pre { None } else { Some(norm("ln_pre")?) };
    let tower = ImageTower {
        patches: Patches::new(weights, names, image.grid(patch)?, inside, before)?,
        transformer: Transformer::new(weights, Naming::OpenClip, &shape, Span::ALL)?,
        norm: norm("ln_post")?,
    };
    Ok((tower, projection(weights, "proj", inside, width)?))
}

fn text_tower(config: &Config, weights: &Parameters<'_>, width: usize) -> Result<(TextTower, Linear)> {
    let of = &config.text_cfg;
    let inside = of.width.unwrap_or(512);
    let shape = [inside, of.layers.unwrap_or(12), of.heads.unwrap_or(8)];
    let shape = of.kinds.shape(shape, config.quick_gelu)?;
    let window = of.context_length.unwrap_or(77);
    let tower = TextTower {
        token_embedding: weights.embedding("token_embedding", of.vocab_size.unwrap_or(49_408), inside)?,
        position_embedding: weights.table("positional_embedding", window, inside)?,
        transformer: Transformer::new(weights, Naming::OpenClip, &shape, Span::CAUSAL)?,
        norm: weights.layer_norm("ln_final", inside, shape.epsilon)?,
    };
    Ok((tower, projection(weights, "text_projection", inside, width)?))
}

/// open_clip multiplies by its projections from the right, so they are stored the other way round.
fn projection(weights: &Parameters<'_>, name: &str, inputs: usize, outputs: usize) -> Result<Linear> {
    let weight = weights.tensor(name, &[inputs, outputs])?;
    let weight = weight.t().and_then(|weight| weight.contiguous()).map_err(of_candle)?;
    weights.linear_in(weights.device.precision_above_int8(), (weight, None))
}
