//! LoRAs: small matrices whose products are added to a model's weights when it is loaded.
//!
//! Files name the layers in the ways of several trainers: kohya's (`lora_unet_…_to_q.lora_down`, with the names of
//! diffusers or of single-file checkpoints), PEFT's (`unet.….lora_A`) and that of the first diffusers
//! (`….processor.to_q_lora.down`). [`Lora::read`] finds the layers of a model that are meant.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Read;

use candle_core::{DType, Device, Tensor};
use serde_json::Value;

use super::tensor::StoredTensor;
use super::{Weights, load_error, single_file};
use crate::error::{Error, Result};
use crate::local::ops::of_candle;
use crate::local::source::ModelFiles;

/// What a LoRA changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum LoraPart {
    Unet,
    /// A text encoder by its place.
    Text(usize),
}

/// What the names of a part's layers begin with, in the files of all trainers; the longest first.
const PREFIXES: [(&str, LoraPart); 11] = [
    ("lora_unet_", LoraPart::Unet),
    ("lora_te1_", LoraPart::Text(0)),
    ("lora_te2_", LoraPart::Text(1)),
    ("lora_te_", LoraPart::Text(0)),
    ("text_encoder_2.", LoraPart::Text(1)),
    ("text_encoder.", LoraPart::Text(0)),
    ("base_model.model.unet.", LoraPart::Unet),
    ("base_model.model.", LoraPart::Unet),
    ("diffusion_model.", LoraPart::Unet),
    ("unet.", LoraPart::Unet),
    ("", LoraPart::Unet),
];

/// What a tensor of a LoRA is, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Down,
    Up,
    Alpha,
}

const ROLES: [(&str, Role); 13] = [
    (".lora_down.weight", Role::Down),
    (".lora_up.weight", Role::Up),
    (".lora_A.weight", Role::Down),
    (".lora_B.weight", Role::Up),
    (".lora_A.default.weight", Role::Down),
    (".lora_B.default.weight", Role::Up),
    ("_lora.down.weight", Role::Down),
    ("_lora.up.weight", Role::Up),
    (".lora.down.weight", Role::Down),
    (".lora.up.weight", Role::Up),
    (".lora_linear_layer.down.weight", Role::Down),
    (".lora_linear_layer.up.weight", Role::Up),
    (".alpha", Role::Alpha),
];

/// Relatives of LoRA that are not computed here, by what their tensors' names contain.
const OTHERS: [(&str, &str); 7] = [
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    ("hada_", "LoHa"),
    ("lokr_", "LoKr"),
    ("lora_mid", "LoCon with a Tucker core"),
    ("oft_", "OFT"),
    (".diff", "a LoRA with full differences"),
];

/// The longest header of a safetensors file.
const MAX_HEADER_BYTES: u64 = 100_000_000;

/// A LoRA's matrices by layer.
#[derive(Debug)]
pub(crate) struct Lora {
    layers: Vec<(LoraPart, String, Delta)>,
}

/// What is added to one layer's weight: `scale · up · down`.
#[derive(Clone, Debug)]
struct Delta {
    down: StoredTensor,
    up: StoredTensor,
    scale: f32,
}

/// What LoRAs add to the weights of one part, by the names of its tensors.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deltas(HashMap<String, Vec<Delta>>);

/// A part's layers by their names with `_` for `.`: what all trainers' names come down to.
pub(crate) type FlatNames = HashMap<String, String>;

/// The matrices of a layer as they are found.
#[derive(Default)]
struct Found {
    down: Option<StoredTensor>,
    up: Option<StoredTensor>,
    alpha: Option<f32>,
}

impl Lora {
    /// Reads a file and finds the layers of a model that it changes. `names` has the layers of each part.
    ///
    /// # Errors
    /// `model_load` for a damaged file, or one that was made for another base; `unsupported` for DoRA, LoHa and others.
    pub(crate) fn read(files: &ModelFiles, scale: f32, names: &HashMap<LoraPart, FlatNames>) -> Result<Self> {
        let weights = Weights::open(files)?;
        let mut found: BTreeMap<String, Found> = BTreeMap::new();
        for (name, tensor) in &weights.tensors {
            if let Some((_, kind)) = OTHERS.iter().find(|(mark, _)| name.contains(mark)) {
                return Err(Error::unsupported(format!(
                    "{kind} is not supported (`{name}`); LoRA and LoCon are"
                )));
            }
            let end = ROLES.iter().find_map(|(end, role)| Some((name.strip_suffix(end)?, *role)));
            let Some((layer, role)) = end else {
                return Err(load_error(format!("`{name}` is not a tensor of a LoRA")));
            };
            let found = found.entry(layer.to_owned()).or_default();
            match role {
                Role::Down => found.down = Some(tensor.clone()),
                Role::Up => found.up = Some(tensor.clone()),
                Role::Alpha => found.alpha = Some(number(name, tensor)?),
            }
        }
        if found.is_empty() {
            return Err(load_error("the LoRA has no tensors"));
        }
        let adapters = Adapters::read(files)?;
        let layers = found.into_iter().map(|(layer, found)| {
            let (part, name) = target(&layer, names).ok_or_else(|| {
                load_error(format!(
                    "the LoRA changes `{layer}`, which this model does not have: it was made for another base"
                ))
            })?;
            let (Some(down), Some(up)) = (found.down, found.up) else {
                return Err(load_error(format!("the LoRA has only one of the two matrices of `{layer}`")));
            };
            let rank = down.shape().first().copied().filter(|rank| *rank > 0);
            let rank = rank.ok_or_else(|| load_error(format!("`{layer}` of the LoRA is empty")))?;
            let scale =
                scale * found.alpha.map_or_else(|| adapters.scale(part, rank), |alpha| alpha / rank as f32);
            Ok((part, name, Delta { down, up, scale }))
        });
        Ok(Self { layers: layers.collect::<Result<_>>()? })
    }

    /// How many layers it changes.
    pub(crate) fn len(&self) -> usize {
        self.layers.len()
    }

    /// Its highest rank.
    pub(crate) fn rank(&self) -> usize {
        self.layers.iter().filter_map(|(_, _, delta)| delta.down.shape().first().copied()).max().unwrap_or(0)
    }

    /// What several of them add to a part, in their order; `None` for nothing.
    pub(crate) fn deltas(all: &[Self], part: LoraPart) -> Option<Deltas> {
        let mut deltas = Deltas::default();
        for (_, name, delta) in all.iter().flat_map(|lora| &lora.layers).filter(|(of, _, _)| *of == part) {
            deltas.0.entry(format!("{name}.weight")).or_default().push(delta.clone());
        }
        (!deltas.0.is_empty()).then_some(deltas)
    }
}

/// What PEFT's LoRAs say in the header of their file, where they say it: `unet.lora_alpha` and the like.
#[derive(Default)]
struct Adapters(Value);

impl Adapters {
    /// What the header holds. It was read before as one of tensors, so damage is no question here.
    fn read(files: &ModelFiles) -> Result<Self> {
        const KEY: &str = "lora_adapter_metadata";
        let header = files.weight_files()?.names.first().and_then(|name| {
            let mut file = File::open(files.path(name)).ok()?;
            let mut length = [0; 8];
            file.read_exact(&mut length).ok()?;
            let length = u64::from_le_bytes(length);
            let mut header = Vec::new();
            (length <= MAX_HEADER_BYTES).then(|| file.take(length).read_to_end(&mut header).ok())??;
            serde_json::from_slice::<Value>(&header).ok()
        });
        let text = header.as_ref().and_then(|header| header.get("__metadata__")?.get(KEY)?.as_str());
        let Some(text) = text else { return Ok(Self::default()) };
        let adapters: Value =
            serde_json::from_str(text).map_err(|error| load_error(format!("the LoRA's `{KEY}`: {error}")))?;
        let entries = adapters.as_object().into_iter().flatten();
        let is_pattern = |key: &str| key.ends_with("alpha_pattern");
        match entries
            .into_iter()
            .find(|(key, value)| is_pattern(key) && value.as_object().is_some_and(|map| !map.is_empty()))
        {
            Some((key, _)) => Err(Error::unsupported(format!("the LoRA's `{key}` is not supported"))),
            None => Ok(Self(adapters)),
        }
    }

    /// What a layer's product is multiplied by: alpha / rank, or by the square root of the rank.
    fn scale(&self, part: LoraPart, rank: usize) -> f32 {
        let part = match part {
            LoraPart::Unet => "unet",
            LoraPart::Text(0) => "text_encoder",
            LoraPart::Text(_) => "text_encoder_2",
        };
        let get = |key: &str| self.0.get(format!("{part}.{key}"));
        let Some(alpha) = get("lora_alpha").and_then(Value::as_f64) else { return 1.0 };
        let rank = rank as f64;
        let is_root = get("use_rslora").and_then(Value::as_bool).unwrap_or(false);
        (alpha / if is_root { rank.sqrt() } else { rank }) as f32
    }
}

/// The part and the layer that a LoRA's name means.
fn target(layer: &str, names: &HashMap<LoraPart, FlatNames>) -> Option<(LoraPart, String)> {
    PREFIXES.iter().filter_map(|(prefix, part)| Some((layer.strip_prefix(prefix)?, *part))).find_map(
        |(rest, part)| {
            let names = names.get(&part)?;
            let flat = rest.replace(".processor.", ".").replace('.', "_");
            let of_checkpoint = single_file::unet_name(&flat, '_').unwrap_or_default();
            let of_attention = match part {
                LoraPart::Unet => format!("{}_to_out_0", flat.strip_suffix("_to_out").unwrap_or("-")),
                // The first diffusers called the projections of text encoders as those of UNets.
                LoraPart::Text(_) => ["q", "k", "v", "out"]
                    .iter()
                    .find_map(|name| {
                        Some(format!("{}_{name}_proj", flat.strip_suffix(&format!("_to_{name}"))?))
                    })
                    .unwrap_or_default(),
            };
            let found = [flat, of_checkpoint, of_attention].into_iter().find_map(|flat| names.get(&flat));
            found.map(|name| (part, name.clone()))
        },
    )
}

fn number(name: &str, tensor: &StoredTensor) -> Result<f32> {
    let values = wide(tensor.to_tensor(&Device::Cpu)?)?.flatten_all().and_then(|x| x.to_vec1::<f32>());
    match values.map_err(of_candle)?.as_slice() {
        [value] if value.is_finite() => Ok(*value),
        _ => Err(load_error(format!("`{name}` of the LoRA is not one number"))),
    }
}

fn wide(x: Tensor) -> Result<Tensor> {
    x.to_dtype(DType::F32).map_err(of_candle)
}

/// The names of layers by their flat forms.
pub(crate) fn flat_names<'a>(layers: impl IntoIterator<Item = &'a str>) -> FlatNames {
    layers.into_iter().map(|layer| (layer.replace('.', "_"), layer.to_owned())).collect()
}

impl Deltas {
    /// Whether anything is added to a weight.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A weight with what is added to it, in f32.
    ///
    /// # Errors
    /// `model_load` for matrices that do not fit.
    pub(super) fn add_to(&self, name: &str, weight: Tensor) -> Result<Tensor> {
        let Some(deltas) = self.0.get(name) else { return Ok(weight) };
        let dims = weight.dims().to_vec();
        let (outputs, inputs) = (dims.first().copied().unwrap_or(0), dims.iter().skip(1).product::<usize>());
        let mut sum = wide(weight)?.reshape((outputs, inputs)).map_err(of_candle)?;
        for Delta { down, up, scale } in deltas {
            let rank = down.shape().first().copied().unwrap_or(0);
            let sizes = [down, up].map(|matrix| matrix.shape().iter().product::<usize>());
            let fits = sizes == [rank.saturating_mul(inputs), outputs.saturating_mul(rank)]
                && up.shape().first() == Some(&outputs)
                && (down.shape().len() == 2 || dims.len() != 4 || down.shape()[1..] == dims[1..]);
            if !fits {
                let (down, up) = (down.shape(), up.shape());
                return Err(load_error(format!(
                    "the LoRA's matrices {up:?} and {down:?} do not fit `{name}`, which is {dims:?}: it was made for \
                     another base"
                )));
            }
            let matrix = |x: &StoredTensor, shape: (usize, usize)| {
                wide(x.to_tensor(&Device::Cpu)?)?.reshape(shape).map_err(of_candle)
            };
            let (down, up) = (matrix(down, (rank, inputs))?, matrix(up, (outputs, rank))?);
            let product = up.matmul(&down).and_then(|product| product * f64::from(*scale));
            sum = product.and_then(|product| sum + product).map_err(of_candle)?;
        }
        let values = sum.flatten_all().and_then(|x| x.to_vec1::<f32>()).map_err(of_candle)?;
        if !values.iter().all(|value| value.is_finite()) {
            return Err(load_error(format!("the LoRA makes `{name}` infinite or NaN")));
        }
        sum.reshape(dims).map_err(of_candle)
    }
}
