//! The rotary position embeddings that a `config.json` describes, stretched contexts included.

use std::f64::consts::PI;

use serde_json::Value;

use super::config::{unsupported, wrong};
use crate::error::Result;
use crate::local::ops::{Device, Rope, RopeLayout};
use crate::local::weights::Parameters;

/// Where a configuration describes a rope: under `rope_parameters` in transformers 5, under keys of the family before
/// that.
#[derive(Clone, Copy, Debug)]
pub(super) struct RopeKeys {
    /// The kind of layers that it is for, in models with several kinds.
    pub(super) layers: Option<&'static str>,
    /// The older key of the base.
    pub(super) base: &'static str,
    /// Whether the older `rope_scaling` is for these layers.
    pub(super) scaled: bool,
    /// The base where none is given.
    pub(super) default: f64,
}

/// The rope of most decoders.
pub(super) const ROPE: RopeKeys =
    RopeKeys { layers: None, base: "rope_theta", scaled: true, default: 10_000.0 };

/// What a rope is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct RopeShape {
    /// Numbers of a head.
    pub(super) head_size: usize,
    /// The longest text.
    pub(super) positions: usize,
    pub(super) layout: RopeLayout,
}

/// How fast the pairs of a head rotate.
#[derive(Clone, Debug, PartialEq)]
struct Speeds {
    frequencies: Vec<f32>,
    /// What rotated numbers are multiplied by.
    scale: f32,
}

/// The speeds of a rope.
#[derive(Clone, Debug, PartialEq)]
struct Plan {
    speeds: Speeds,
    /// Other speeds for texts longer than so many tokens.
    long: Option<(usize, Speeds)>,
}

/// Ministral 3: queries are the larger the more contexts of the original length lie before them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct QueryScaling {
    beta: f32,
    /// The context that the model was trained with before it was stretched.
    context: f32,
}

impl QueryScaling {
    /// What the queries at some positions are multiplied by.
    #[allow(clippy::cast_precision_loss, reason = "as the model computes it, in f32")]
    pub(super) fn at(self, positions: &[u32]) -> Vec<f32> {
        let scale = |position: &u32| 1.0 + self.beta * (1.0 + (*position as f32 / self.context).floor()).ln();
        positions.iter().map(scale).collect()
    }
}

/// The parameters of a rope, and the key that they are under.
struct RopeParameters<'a> {
    key: &'static str,
    own: Option<&'a Value>,
    config: &'a Value,
}

impl RopeKeys {
    /// The rope of an encoder: heads of `size` numbers, for so many positions.
    ///
    /// # Errors
    /// `unsupported` for context extensions that encoders do not have, `model_load` if a value is not as expected.
    pub(super) fn open(self, config: &Value, device: &Device, size: usize, positions: usize) -> Result<Rope> {
        let parameters = self.parameters(config);
        if !matches!(parameters.kind(), "default" | "linear") {
            let kind = format_args!("of type '{}'", parameters.kind());
            return Err(unsupported(parameters.key, kind, "default, linear"));
        }
        if !size.is_multiple_of(2) {
            return Err(wrong(format_args!("attention heads of {size} numbers cannot be rotated in pairs")));
        }
        let Speeds { frequencies, scale } = self.plan(config, size)?.speeds;
        Ok(Rope::new(device, RopeLayout::Halves, &frequencies, positions, scale))
    }

    /// The rope of a decoder, and the length past which texts use its second half of positions, if it has one.
    ///
    /// # Errors
    /// `unsupported` for context extensions that are not computed here, `model_load` if a value is not as expected.
    pub(super) fn open_stretched(
        self,
        config: &Value,
        weights: &Parameters<'_>,
        shape: RopeShape,
    ) -> Result<(Rope, Option<usize>)> {
        let Plan { mut speeds, long } = self.plan(config, shape.head_size)?;
        let device = weights.device;
        // Llama 3.1 and later in GGUF files: what each frequency is divided by.
        if let Some(divisors) = weights.vector_if_any("rope_freqs.weight", speeds.frequencies.len())? {
            speeds.frequencies.iter_mut().zip(divisors).for_each(|(frequency, by)| *frequency /= by);
        }
        let rope = |Speeds { frequencies, scale }: &Speeds| {
            Rope::new(device, shape.layout, frequencies, shape.positions, *scale)
        };
        match long {
            // No text is that long.
            Some((length, _)) if length >= shape.positions => Ok((rope(&speeds), None)),
            Some((length, speeds_of_long)) => {
                Ok((rope(&speeds).followed_by(&rope(&speeds_of_long))?, Some(length)))
            }
            None => Ok((rope(&speeds), None)),
        }
    }

    /// The longest text, which may be longer than the configuration says.
    ///
    /// # Errors
    /// As [`open_stretched`](Self::open_stretched).
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "positive lengths far below 2^53"
    )]
    pub(super) fn positions(self, config: &Value, positions: usize) -> Result<usize> {
        let parameters = self.parameters(config);
        if parameters.kind() != "yarn" {
            return Ok(positions);
        }
        let original = parameters.optional("original_max_position_embeddings")?.unwrap_or(positions as f64);
        Ok(positions.max((original * parameters.needed("factor")?) as usize))
    }

    /// What scales queries by their position, if anything does.
    ///
    /// # Errors
    /// `model_load` if a value is not as expected.
    #[allow(clippy::cast_possible_truncation, reason = "models compute in f32 with what they write in f64")]
    pub(super) fn query_scaling(self, config: &Value) -> Result<Option<QueryScaling>> {
        let parameters = self.parameters(config);
        let Some(beta) = parameters.optional("llama_4_scaling_beta")? else { return Ok(None) };
        let context = parameters.original_context()? as f32;
        Ok(Some(QueryScaling { beta: beta as f32, context }))
    }

    #[allow(clippy::cast_possible_truncation, reason = "models compute in f32 with what they write in f64")]
    fn plan(self, config: &Value, head_size: usize) -> Result<Plan> {
        let parameters = self.parameters(config);
        let base = match parameters.optional("rope_theta")? {
            Some(base) => base,
            None => parameters.of_config(self.base)?.unwrap_or(self.default),
        };
        let width = rotated_numbers(&parameters, head_size)?;
        let plain = Rope::frequencies(width, base as f32);
        let one = |frequencies, scale| Plan { speeds: Speeds { frequencies, scale }, long: None };
        Ok(match parameters.kind() {
            "default" => one(plain, 1.0),
            "linear" => {
                let factor = parameters.needed("factor")? as f32;
                one(plain.into_iter().map(|frequency| frequency / factor).collect(), 1.0)
            }
            "llama3" => one(llama3(&parameters, &plain)?, 1.0),
            "yarn" => {
                let (frequencies, scale) = yarn(&parameters, &plain, base)?;
                one(frequencies, scale)
            }
            "longrope" | "su" => longrope(&parameters, &plain)?,
            kind => {
                let kind = format_args!("of type '{kind}'");
                return Err(unsupported(parameters.key, kind, "default, linear, llama3, yarn, longrope"));
            }
        })
    }

    /// The parameters for these layers.
    fn parameters(self, config: &Value) -> RopeParameters<'_> {
        let (key, own) = match config.get("rope_parameters") {
            Some(all @ Value::Object(_)) => {
                let own = self.layers.and_then(|layers| all.get(layers)).filter(|own| own.is_object());
                ("rope_parameters", Some(own.unwrap_or(all)))
            }
            _ if self.scaled => ("rope_scaling", config.get("rope_scaling").filter(|own| own.is_object())),
            _ => ("rope_scaling", None),
        };
        RopeParameters { key, own, config }
    }
}

impl RopeParameters<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.own.and_then(|own| own.get(name)).filter(|value| !value.is_null())
    }

    fn kind(&self) -> &str {
        self.get("rope_type").or_else(|| self.get("type")).and_then(Value::as_str).unwrap_or("default")
    }

    fn optional(&self, name: &str) -> Result<Option<f64>> {
        self.get(name).map(|value| positive(name, value)).transpose()
    }

    fn needed(&self, name: &str) -> Result<f64> {
        self.optional(name)?.ok_or_else(|| wrong(format_args!("`{}` has no `{name}`", self.key)))
    }

    fn of_config(&self, name: &str) -> Result<Option<f64>> {
        self.config.get(name).filter(|value| !value.is_null()).map(|value| positive(name, value)).transpose()
    }

    /// The context that the model was trained with before it was stretched.
    fn original_context(&self) -> Result<f64> {
        let name = "original_max_position_embeddings";
        match self.optional(name)?.map_or_else(|| self.of_config(name), |length| Ok(Some(length)))? {
            Some(length) => Ok(length),
            None => self
                .of_config("max_position_embeddings")?
                .ok_or_else(|| wrong("there is no `max_position_embeddings`")),
        }
    }

    #[allow(clippy::cast_possible_truncation, reason = "models compute in f32 with what they write in f64")]
    fn factors(&self, name: &str, count: usize) -> Result<Vec<f32>> {
        let all = self.get(name).and_then(Value::as_array).filter(|all| all.len() == count);
        let all = all.ok_or_else(|| wrong(format_args!("`{name}` is not a list of {count} numbers")))?;
        all.iter().map(|value| positive(name, value).map(|value| value as f32)).collect()
    }
}

fn positive(name: &str, value: &Value) -> Result<f64> {
    let value = value.as_f64().filter(|value| value.is_finite() && *value > 0.0);
    value.ok_or_else(|| wrong(format_args!("`{name}` is not a positive number")))
}

/// How many numbers of a head are rotated.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "heads have at most thousands of numbers"
)]
fn rotated_numbers(parameters: &RopeParameters<'_>, head_size: usize) -> Result<usize> {
    let name = "partial_rotary_factor";
    let part =
        parameters.optional(name)?.map_or_else(|| parameters.of_config(name), |part| Ok(Some(part)))?;
    let width = (head_size as f64 * part.unwrap_or(1.0)) as usize;
    if width > head_size || !width.is_multiple_of(2) {
        return Err(wrong(format_args!("`{name}` rotates {width} numbers of heads of {head_size}")));
    }
    Ok(width)
}

/// Llama 3.1: slow pairs are slowed down, fast ones stay, those between are mixed.
#[allow(clippy::cast_possible_truncation, reason = "models compute in f32 with what they write in f64")]
fn llama3(parameters: &RopeParameters<'_>, plain: &[f32]) -> Result<Vec<f32>> {
    let (factor, original) = (parameters.needed("factor")?, parameters.original_context()?);
    let (low, high) = (parameters.needed("low_freq_factor")?, parameters.needed("high_freq_factor")?);
    let scaled = |frequency: &f32| {
        let frequency = f64::from(*frequency);
        let wavelength = 2.0 * PI / frequency;
        let scaled = if wavelength > original / low {
            frequency / factor
        } else if wavelength < original / high {
            frequency
        } else {
            let smooth = (original / wavelength - low) / (high - low);
            (1.0 - smooth) * frequency / factor + smooth * frequency
        };
        scaled as f32
    };
    Ok(plain.iter().map(scaled).collect())
}

/// YaRN: pairs that turn often in the original context stay, those that turn seldom are stretched, and scores are scaled.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "models compute in f32 with what they write in f64; heads have at most thousands of numbers"
)]
fn yarn(parameters: &RopeParameters<'_>, plain: &[f32], base: f64) -> Result<(Vec<f32>, f32)> {
    let (factor, original) = (parameters.needed("factor")?, parameters.original_context()?);
    let fast = parameters.optional("beta_fast")?.unwrap_or(32.0);
    let slow = parameters.optional("beta_slow")?.unwrap_or(1.0);
    let width = 2.0 * plain.len() as f64;
    // The pair that turns so many times in the original context.
    let pair = |turns: f64| width * (original / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
    let (mut first, mut last) = (pair(fast), pair(slow));
    if parameters.get("truncate").and_then(Value::as_bool).unwrap_or(true) {
        (first, last) = (first.floor(), last.ceil());
    }
    (first, last) = (first.max(0.0), last.min(width - 1.0));
    if first == last {
        last += 0.001;
    }
    let stretched = |(pair, frequency): (usize, &f32)| {
        let share = ((pair as f64 - first) / (last - first)).clamp(0.0, 1.0);
        let frequency = f64::from(*frequency);
        (frequency / factor * share + frequency * (1.0 - share)) as f32
    };
    let magnitude = |of: f64| if factor <= 1.0 { 1.0 } else { 0.1 * of * factor.ln() + 1.0 };
    let own = [parameters.optional("mscale")?, parameters.optional("mscale_all_dim")?];
    let scale = match (parameters.optional("attention_factor")?, own) {
        (Some(scale), _) => scale,
        (None, [Some(scale), Some(of_all)]) => magnitude(scale) / magnitude(of_all),
        (None, _) => magnitude(1.0),
    };
    Ok((plain.iter().enumerate().map(stretched).collect(), scale as f32))
}

/// LongRoPE: a factor for each pair, others for texts past the original context, and scores are scaled.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "models compute in f32 with what they write in f64; lengths are positive and far below 2^53"
)]
fn longrope(parameters: &RopeParameters<'_>, plain: &[f32]) -> Result<Plan> {
    let original = parameters.original_context()?;
    let factor = match parameters.of_config("max_position_embeddings")? {
        Some(positions) => positions / original,
        None => parameters.needed("factor")?,
    };
    let scale = match parameters.optional("attention_factor")? {
        Some(scale) => scale,
        None if factor <= 1.0 => 1.0,
        None => (1.0 + factor.ln() / original.ln()).sqrt(),
    } as f32;
    let speeds = |name: &str| {
        let factors = parameters.factors(name, plain.len())?;
        let frequencies = plain.iter().zip(factors).map(|(frequency, factor)| frequency / factor).collect();
        Ok::<_, crate::Error>(Speeds { frequencies, scale })
    };
    Ok(Plan { speeds: speeds("short_factor")?, long: Some((original as usize, speeds("long_factor")?)) })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::error::ErrorKind;

    const LOCAL: RopeKeys = RopeKeys {
        layers: Some("sliding_attention"),
        base: "local_rope_theta",
        scaled: false,
        default: 10.0,
    };

    fn second(rope: RopeKeys, config: &Value) -> f32 {
        rope.plan(config, 4).unwrap().speeds.frequencies[1]
    }

    #[test]
    fn bases_are_found_in_both_forms() {
        assert_eq!(second(LOCAL, &json!({})), (0.1_f32).sqrt());
        assert_eq!(second(LOCAL, &json!({"local_rope_theta": 1e4})), 0.01);
        let both = json!({"rope_parameters": {
            "sliding_attention": {"rope_theta": 100.0, "rope_type": "default"},
            "full_attention": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0},
        }});
        assert_eq!(second(LOCAL, &both), 0.1);
        let global = RopeKeys { layers: Some("full_attention"), ..LOCAL };
        assert_eq!(second(global, &both), 0.005);
        let one = json!({"rope_parameters": {"rope_theta": 100.0, "rope_type": "default"}});
        assert_eq!(second(RopeKeys { layers: None, ..LOCAL }, &one), 0.1);
    }

    #[test]
    fn unsupported_context_extensions_are_refused_by_their_key() {
        let config = json!({"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}});
        let scaled = RopeKeys { scaled: true, ..LOCAL };
        let error = scaled.plan(&config, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("`rope_scaling` is of type 'dynamic'"), "{error}");
        assert_eq!(second(LOCAL, &config), second(LOCAL, &json!({})));
        let config = json!({"rope_scaling": {"type": "linear", "factor": 4.0}});
        assert_eq!(second(scaled, &config), (0.1_f32).sqrt() / 4.0);
        let error = scaled.plan(&json!({"local_rope_theta": "x"}), 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        let error = scaled.plan(&json!({"rope_scaling": {"type": "linear"}}), 4).unwrap_err();
        assert!(error.message().contains("`rope_scaling` has no `factor`"), "{error}");
    }

    #[test]
    fn part_of_a_head_may_rotate() {
        let rope = |part: f64| ROPE.plan(&json!({ "partial_rotary_factor": part }), 16);
        assert_eq!(rope(0.5).unwrap().speeds.frequencies.len(), 4);
        assert_eq!(rope(1.0).unwrap().speeds.frequencies.len(), 8);
        assert_eq!(rope(1.5).unwrap_err().kind(), ErrorKind::ModelLoad);
    }
}
