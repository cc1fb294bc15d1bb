//! CLIP with the names and the config of open_clip: `open_clip_config.json` beside `open_clip_model.safetensors`.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::clip::{Clip, ClipShape, EndOfText};
use super::config::{Sides, load_error, parse};
use super::pre_norm::Shape;
use crate::error::Result;
use crate::local::ops::{Activation, Device};
use crate::local::weights::{KeyMap, Parameters, Weights};

/// What the names of its image tower begin with.
pub(super) const IMAGE_PREFIX: &str = "visual.";

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
pub(super) fn load(config: &Value, weights: &Weights, device: &Device) -> Result<Clip> {
    let config: Config = parse(config)?;
    check("model_cfg", &config.rest)?;
    check("vision_cfg", &config.vision_cfg.rest)?;
    check("text_cfg", &config.text_cfg.rest)?;
    // A text tower that was chosen separately has a prefix.
    let weights =
        weights.with_names(KeyMap::of_open_clip(weights.names().any(|name| name.starts_with("text."))));
    shape(&config)?.build(&Parameters::new(&weights, device))
}

fn shape(config: &Config) -> Result<ClipShape> {
    let (of_text, of_image) = (&config.text_cfg, &config.vision_cfg);
    let text = [of_text.width.unwrap_or(512), of_text.layers.unwrap_or(12), of_text.heads.unwrap_or(8)];
    let (image_size, patch) =
        (of_image.image_size.unwrap_or(Sides::Both(224)), of_image.patch_size.unwrap_or(Sides::Both(16)));
    Ok(ClipShape {
        width: config.embed_dim,
        end: end_of_text(of_text)?,
        text: of_text.kinds.shape(text, config.quick_gelu)?,
        vocabulary: of_text.vocab_size.unwrap_or(49_408),
        window: of_text.context_length.unwrap_or(77),
        image: of_image.shape(config.quick_gelu)?,
        grid: image_size.grid(patch)?,
        has_pre_norm: !of_image.no_ln_pre,
    })
}

fn end_of_text(of: &Texts) -> Result<EndOfText> {
    match (of.pool_type.as_deref(), of.eos_id) {
        (None | Some("argmax"), _) => Ok(EndOfText::Highest),
        (Some("eos"), id) => Ok(EndOfText::Token(id.unwrap_or(2))),
        (Some(kind), _) => {
            Err(load_error(format!("`text_cfg.pool_type` '{kind}' is not supported; valid: argmax, eos")))
        }
    }
}

impl Images {
    fn shape(&self, quick_gelu: bool) -> Result<Shape> {
        if let Some(kind) = self.pool_type.as_deref().filter(|kind| *kind != "tok") {
            return Err(load_error(format!("`vision_cfg.pool_type` '{kind}' is not supported; valid: tok")));
        }
        let Some(layers) = self.layers.as_u64().and_then(|layers| usize::try_from(layers).ok()) else {
            let layers = &self.layers;
            return Err(load_error(format!(
                "`vision_cfg.layers` = {layers} is a ResNet, which is not supported"
            )));
        };
        let width = self.width.unwrap_or(768);
        let heads = width.checked_div(self.head_width.unwrap_or(64)).unwrap_or_default();
        self.kinds.shape([width, layers, heads], quick_gelu)
    }
}
