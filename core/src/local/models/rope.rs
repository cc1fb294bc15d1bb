//! The rotary position embeddings that a `config.json` describes.

use serde_json::Value;

use super::config::{unsupported, wrong};
use crate::error::Result;
use crate::local::ops::{Device, Rope, RopeLayout};

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

impl RopeKeys {
    /// The rope of heads of `size` numbers, for so many positions.
    ///
    /// # Errors
    /// `unsupported` for context extensions that are not computed here, `model_load` if a value is not as expected.
    pub(super) fn open(self, config: &Value, device: &Device, size: usize, positions: usize) -> Result<Rope> {
        let frequencies = self.frequencies(config, size)?;
        if !size.is_multiple_of(2) {
            return Err(wrong(format_args!("attention heads of {size} numbers cannot be rotated in pairs")));
        }
        Ok(Rope::new(device, RopeLayout::Halves, &frequencies, positions, 1.0))
    }

    #[allow(clippy::cast_possible_truncation, reason = "models compute in f32 with what they write in f64")]
    fn frequencies(self, config: &Value, size: usize) -> Result<Vec<f32>> {
        let (key, parameters) = self.parameters(config);
        let of = |name: &str| parameters.and_then(|parameters| parameters.get(name));
        let kind = of("rope_type").or_else(|| of("type")).and_then(Value::as_str).unwrap_or("default");
        let positive = |name: &str, value: &Value| {
            let value = value.as_f64().filter(|value| value.is_finite() && *value > 0.0);
            value.ok_or_else(|| wrong(format_args!("`{name}` is not a positive number")))
        };
        let factor = match (kind, of("factor")) {
            ("default", _) => 1.0,
            ("linear", Some(factor)) => positive("factor", factor)?,
            _ => return Err(unsupported(key, format_args!("of type '{kind}'"), "default, linear")),
        };
        let base = match of("rope_theta").or_else(|| config.get(self.base)) {
            None | Some(Value::Null) => self.default,
            Some(base) => positive(self.base, base)?,
        };
        let divided = |frequency: f32| frequency / factor as f32;
        Ok(Rope::frequencies(size, base as f32).into_iter().map(divided).collect())
    }

    /// The parameters for these layers, and the key that they are under.
    fn parameters(self, config: &Value) -> (&'static str, Option<&Value>) {
        match config.get("rope_parameters") {
            Some(all @ Value::Object(_)) => {
                let own = self.layers.and_then(|layers| all.get(layers)).filter(|own| own.is_object());
                ("rope_parameters", Some(own.unwrap_or(all)))
            }
            _ if self.scaled => ("rope_scaling", config.get("rope_scaling").filter(|own| own.is_object())),
            _ => ("rope_scaling", None),
        }
    }
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
        rope.frequencies(config, 4).unwrap()[1]
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
        let config = json!({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}});
        let scaled = RopeKeys { scaled: true, ..LOCAL };
        let error = scaled.frequencies(&config, 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("`rope_scaling` is of type 'yarn'"), "{error}");
        assert_eq!(second(LOCAL, &config), second(LOCAL, &json!({})));
        let config = json!({"rope_scaling": {"type": "linear", "factor": 4.0}});
        assert_eq!(second(scaled, &config), (0.1_f32).sqrt() / 4.0);
        let error = scaled.frequencies(&json!({"local_rope_theta": "x"}), 4).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
    }
}
