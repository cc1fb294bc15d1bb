//! Reading the `config.json` files of models.

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result};
use crate::local::ops::{Activation, Heads};
use crate::local::weights::Weights;

/// Reads what a model needs of its `config.json`; other keys are ignored.
///
/// # Errors
/// `model_load` if a key is missing or not as expected; the message names it.
pub(super) fn read<T: DeserializeOwned>(config: &Value) -> Result<T> {
    T::deserialize(config).map_err(|error| wrong(error.to_string()))
}

/// What a configuration calls its count of layers.
const LAYERS: [&str; 5] = ["num_hidden_layers", "n_layer", "n_layers", "num_layers", "layers"];

/// The largest size or count: the product of any two fits a `usize`, so that no shape overflows before it is compared with
/// the tensor in the file.
const MAX_SIZE: u64 = 0x7fff_ffff;

/// Checks the numbers of a `config.json` against the weights before anything is made of them.
///
/// # Errors
/// `model_load` for a size beyond any model's, or more layers than there are tensors.
pub(crate) fn check(config: &Value, weights: &Weights) -> Result<()> {
    let Some(object) = config.as_object() else { return Ok(()) };
    for (key, value) in object {
        check(value, weights)?;
        let Some(number) = value.as_u64() else { continue };
        if number > MAX_SIZE {
            return Err(wrong(format_args!("`{key}` is {number}; at most {MAX_SIZE} makes sense")));
        }
        let tensors = weights.len();
        let fits = usize::try_from(number).is_ok_and(|layers| (1..=tensors).contains(&layers));
        if LAYERS.contains(&key.as_str()) && !fits {
            return Err(wrong(format_args!("`{key}` is {number}, the weights have {tensors} tensors")));
        }
    }
    Ok(())
}

/// The configuration of a model's text: with images, it is within.
pub(super) fn of_text(config: &Value) -> &Value {
    config.get("text_config").filter(|own| own.is_object()).unwrap_or(config)
}

/// A configuration that contradicts itself or lacks something.
pub(super) fn wrong(what: impl std::fmt::Display) -> Error {
    Error::new(ErrorKind::ModelLoad, format!("config.json is not as expected: {what}"))
}

/// A value that a published model may have, but that is not computed here.
pub(super) fn unsupported(key: &str, value: impl std::fmt::Display, supported: &str) -> Error {
    Error::unsupported(format!("`{key}` is {value} in config.json; supported: {supported}"))
}

/// Checks a key that may have one value only, if it is there at all.
///
/// # Errors
/// `unsupported` for anything else.
pub(super) fn only(config: &Value, key: &str, supported: &Value) -> Result<()> {
    match config.get(key) {
        None | Some(Value::Null) => Ok(()),
        Some(value) if value == supported => Ok(()),
        Some(value) => Err(unsupported(key, value, &supported.to_string())),
    }
}

/// An activation by the name that transformers gives it.
///
/// # Errors
/// `unsupported` for one that is not computed here.
pub(super) fn activation(key: &str, name: &str) -> Result<Activation> {
    match name {
        "gelu" | "gelu_python" => Ok(Activation::Gelu),
        "gelu_new" | "gelu_fast" | "gelu_pytorch_tanh" | "gelu_python_tanh" => Ok(Activation::GeluTanh),
        "quick_gelu" => Ok(Activation::QuickGelu),
        "relu" => Ok(Activation::Relu),
        "silu" | "swish" => Ok(Activation::Silu),
        "tanh" => Ok(Activation::Tanh),
        "sigmoid" => Ok(Activation::Sigmoid),
        "linear" => Ok(Activation::None),
        _ => Err(unsupported(
            key,
            format_args!("'{name}'"),
            "gelu, gelu_new, gelu_fast, gelu_pytorch_tanh, quick_gelu, relu, silu, tanh, sigmoid, linear",
        )),
    }
}

/// The `count` heads of a width.
///
/// # Errors
/// `model_load` if they do not divide it evenly, `unsupported` for heads that attention does not compute.
pub(super) fn heads(width: usize, count: usize) -> Result<Heads> {
    if count == 0 || width == 0 || !width.is_multiple_of(count) {
        return Err(wrong(format_args!("{count} attention heads do not divide a width of {width} evenly")));
    }
    grouped_heads(Heads::equal(count, width / count))
}

/// Checks heads whose size is in the configuration.
///
/// # Errors
/// As [`heads`].
pub(super) fn grouped_heads(heads: Heads) -> Result<Heads> {
    let Heads { queries, keys, size } = heads;
    if queries == 0 || keys == 0 || !queries.is_multiple_of(keys) {
        return Err(wrong(format_args!("{queries} attention heads cannot share {keys} heads of keys")));
    }
    match size {
        1..=Heads::MAX_SIZE => Ok(heads),
        0 => Err(wrong("attention heads of no numbers")),
        _ => Err(unsupported("head_dim", size, &format!("1 to {}", Heads::MAX_SIZE))),
    }
}

/// Which layers see only near tokens, by `layer_types`.
///
/// # Errors
/// `unsupported` for other kinds of layers, `model_load` if there is not one for each.
pub(super) fn sliding_layers(types: &[String], layers: usize) -> Result<Vec<bool>> {
    if types.len() != layers {
        return Err(wrong(format_args!("`layer_types` has {} entries for {layers} layers", types.len())));
    }
    let is_sliding = |kind: &String| match kind.as_str() {
        "sliding_attention" => Ok(true),
        "full_attention" => Ok(false),
        _ => Err(unsupported("layer_types", format_args!("'{kind}'"), "sliding_attention, full_attention")),
    };
    types.iter().map(is_sliding).collect()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;

    #[test]
    fn missing_keys_and_wrong_types_are_named() {
        #[derive(Debug, Deserialize)]
        struct Wanted {
            #[expect(dead_code, reason = "only read")]
            hidden_size: usize,
        }
        let error = read::<Wanted>(&json!({"other": 1})).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ModelLoad);
        assert!(error.message().contains("hidden_size"), "{error}");
        assert!(read::<Wanted>(&json!({"hidden_size": "x"})).is_err());
        assert!(read::<Wanted>(&json!({"hidden_size": 1, "other": 1})).is_ok());
    }

    #[test]
    fn numbers_that_no_model_has_are_named_before_anything_is_made() {
        let weights = Weights::default();
        for (config, key) in [
            (json!({"max_position_embeddings": 1_u64 << 63}), "`max_position_embeddings`"),
            (json!({"text_config": {"hidden_size": 1_u64 << 31}}), "`hidden_size`"),
            (json!({"num_hidden_layers": 2}), "`num_hidden_layers` is 2, the weights have 0 tensors"),
            (json!({"vision_cfg": {"layers": 0}}), "`layers`"),
        ] {
            let error = check(&config, &weights).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ModelLoad);
            assert!(error.message().contains(key), "{error}");
        }
        assert!(
            check(&json!({"layers": [3, 4, 6, 3], "vocab_size": 30_522, "eps": 1e300}), &weights).is_ok()
        );
    }

    #[test]
    fn unsupported_values_name_their_key_and_what_is_supported() {
        let config = json!({"position_embedding_type": "relative_key", "is_decoder": false});
        let error = only(&config, "position_embedding_type", &json!("absolute")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("`position_embedding_type` is \"relative_key\""), "{error}");
        assert!(only(&config, "is_decoder", &json!(false)).is_ok());
        assert!(only(&config, "absent", &json!(1)).is_ok());
        let error = activation("hidden_act", "mish").unwrap_err();
        assert!(error.message().contains("`hidden_act` is 'mish'"), "{error}");
    }

    #[test]
    fn heads_share_the_width_evenly() {
        assert_eq!(heads(384, 12).unwrap().size, 32);
        assert_eq!(heads(312, 12).unwrap().size, 26);
        assert_eq!(heads(384, 0).unwrap_err().kind(), ErrorKind::ModelLoad);
        assert_eq!(heads(384, 5).unwrap_err().kind(), ErrorKind::ModelLoad);
        assert_eq!(heads(0, 1).unwrap_err().kind(), ErrorKind::ModelLoad);
        assert_eq!(heads(4096, 2).unwrap_err().kind(), ErrorKind::Unsupported);
        assert_eq!(grouped_heads(Heads::equal(2, 0)).unwrap_err().kind(), ErrorKind::ModelLoad);
        let uneven = Heads { queries: 6, keys: 4, size: 8 };
        assert_eq!(grouped_heads(uneven).unwrap_err().kind(), ErrorKind::ModelLoad);
    }
}
