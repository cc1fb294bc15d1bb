//! How tokens are chosen where a request does not say: as the model's files want it, or as llama.cpp does.

use serde_json::{Map, Value, json};

use super::sampling::SamplingOptions;
use crate::chat::{ChatRequest, ResponseMetadata};
use crate::local::weights::Metadata;

/// The options that files may give: their names here and in `generation_config.json`, and what follows `general.sampling.`
/// in GGUF.
const NAMES: &[(&str, &str)] = &[
    ("temperature", "temp"),
    ("top_k", "top_k"),
    ("top_p", "top_p"),
    ("min_p", "min_p"),
    ("typical_p", ""),
    ("repetition_penalty", "penalty_repeat"),
    ("xtc_probability", "xtc_probability"),
    ("xtc_threshold", "xtc_threshold"),
];

/// What llama.cpp does with a file that says nothing.
const LLAMA_CPP: &[(&str, f64)] = &[("temperature", 0.8), ("top_k", 40.0), ("top_p", 0.95), ("min_p", 0.05)];

/// The options of requests that leave them open.
#[derive(Clone, Debug, Default)]
pub(super) struct SamplingDefaults {
    pub(super) options: SamplingOptions,
    given: Vec<Given>,
}

/// An option, and who gave it.
#[derive(Clone, Debug, PartialEq)]
struct Given {
    name: &'static str,
    value: f64,
    from: &'static str,
}

impl SamplingDefaults {
    /// What `generation_config.json` says, or else a GGUF file with llama.cpp's own for what that leaves open. Values of another
    /// type are as if they were not there.
    pub(super) fn of(generation: Option<&Value>, metadata: Option<&Metadata>) -> Self {
        let given = match (generation, metadata) {
            (Some(config), _) => of_generation_config(config),
            (None, Some(metadata)) => of_gguf(metadata),
            (None, None) => Vec::new(),
        };
        let mut options = SamplingOptions::default();
        for Given { name, value, .. } in &given {
            set(&mut options, name, *value);
        }
        // A model's file that makes no sense is no reason not to serve the model.
        match options.check() {
            Ok(()) => Self { options, given },
            Err(error) => {
                tracing::warn!(%error, "the sampling options of the model's files are not used");
                Self::default()
            }
        }
    }

    /// What is told with the answer to a request: the options that it left open and that were given otherwise.
    pub(super) fn told(&self, request: &ChatRequest) -> Option<ResponseMetadata> {
        let open = self.given.iter().filter(|given| !has(request, given.name));
        let told: Map<String, Value> = open
            .map(|Given { name, value, from }| {
                let value = if *name == "top_k" { json!(tokens(*value)) } else { json!(shortest(*value)) };
                ((*name).to_owned(), json!({ "value": value, "from": from }))
            })
            .collect();
        let mut metadata = ResponseMetadata::default();
        metadata.further.insert("sampling_defaults".to_owned(), Value::Object(told.clone()));
        (!told.is_empty()).then_some(metadata)
    }
}

fn of_generation_config(config: &Value) -> Vec<Given> {
    let is_greedy = config.get("do_sample").and_then(Value::as_bool) == Some(false);
    let given = NAMES.iter().filter_map(|(name, _)| {
        let value = match *name {
            "temperature" if is_greedy => 0.0,
            _ => config.get(*name)?.as_f64()?,
        };
        Some(Given { name, value, from: "generation_config.json" })
    });
    given.collect()
}

fn of_gguf(metadata: &Metadata) -> Vec<Given> {
    let given = NAMES.iter().filter_map(|(name, key)| {
        let in_file = metadata.number(&format!("general.sampling.{key}"));
        let of_file = in_file.map(|value| Given { name, value, from: "the GGUF file" });
        let usual = LLAMA_CPP.iter().find(|(other, _)| other == name);
        of_file.or_else(|| usual.map(|(_, value)| Given { name, value: *value, from: "llama.cpp" }))
    });
    given.collect()
}

/// How many tokens a number means; none where it is negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the conversion saturates")]
fn tokens(value: f64) -> usize {
    value as usize
}

/// The number that is used, in as few digits as tell it from others: files of GGUF hold 0.15 in f32.
#[allow(clippy::cast_possible_truncation, reason = "options are used in f32")]
fn shortest(value: f64) -> f64 {
    (value as f32).to_string().parse().unwrap_or(value)
}

#[allow(clippy::cast_possible_truncation, reason = "probabilities and temperatures")]
fn set(options: &mut SamplingOptions, name: &str, value: f64) {
    let number = value as f32;
    match name {
        "temperature" => options.temperature = number,
        "top_k" => options.top_k = Some(tokens(value)),
        "top_p" => options.top_p = number,
        "min_p" => options.min_p = number,
        "typical_p" => options.typical_p = number,
        "repetition_penalty" => options.repetition_penalty = number,
        "xtc_probability" => options.xtc_probability = number,
        "xtc_threshold" => options.xtc_threshold = number,
        _ => {}
    }
}

/// Whether a request gives an option itself.
fn has(request: &ChatRequest, name: &str) -> bool {
    match name {
        "temperature" => request.temperature.is_some(),
        "top_k" => request.top_k.is_some(),
        "top_p" => request.top_p.is_some(),
        _ => request.extra.get(name).is_some_and(|value| !value.is_null()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::weights::Weights;

    #[test]
    fn a_generation_config_is_the_default_and_is_told_where_it_decided() {
        let config = json!({"temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": "x", "eos_token_id": 2});
        let defaults = SamplingDefaults::of(Some(&config), None);
        assert_eq!((defaults.options.temperature, defaults.options.top_k), (0.6, Some(20)));
        assert_eq!(defaults.options.repetition_penalty, 1.0);
        let request = ChatRequest::user("?").with_temperature(0.1);
        let told = defaults.told(&request).unwrap().further;
        let from = "generation_config.json";
        let expected = json!({"top_k": {"value": 20, "from": from}, "top_p": {"value": 0.95, "from": from}});
        assert_eq!(told["sampling_defaults"], expected);
        let greedy = SamplingDefaults::of(Some(&json!({"do_sample": false, "temperature": 0.6})), None);
        assert_eq!(greedy.options.temperature, 0.0);
        for nothing in [json!({}), json!({"top_p": 7.0})] {
            let defaults = SamplingDefaults::of(Some(&nothing), None);
            assert_eq!(defaults.options, SamplingOptions::default());
            assert!(defaults.told(&request).is_none());
        }
    }

    /// A file that llama.cpp's package `gguf` wrote.
    #[test]
    fn a_gguf_file_says_what_it_is_sampled_with_and_llama_cpp_the_rest() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/causal/ministral3/model.gguf");
        let weights = Weights::open_files(&[file.into()]).unwrap();
        let defaults = SamplingDefaults::of(None, weights.metadata());
        let expected = SamplingOptions {
            temperature: 0.15,
            top_k: Some(0),
            top_p: 0.95,
            min_p: 0.05,
            repetition_penalty: 1.1,
            ..SamplingOptions::default()
        };
        assert_eq!(defaults.options, expected);
        let told = &defaults.told(&ChatRequest::user("?")).unwrap().further["sampling_defaults"];
        assert_eq!(told["temperature"], json!({"value": 0.15, "from": "the GGUF file"}));
        assert_eq!(told["top_p"], json!({"value": 0.95, "from": "llama.cpp"}));
        // A `generation_config.json` beside it decides alone.
        let beside = SamplingDefaults::of(Some(&json!({"top_p": 0.5})), weights.metadata());
        assert_eq!(beside.options, SamplingOptions { top_p: 0.5, ..SamplingOptions::default() });
    }
}
