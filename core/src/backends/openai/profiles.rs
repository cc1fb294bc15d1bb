//! What is known about each vendor: one row per vendor, as data.
//!
//! A row says where the API is, which variables hold its key, what it offers and where it departs from
//! OpenAI's protocol. Code branches on the row's fields, never on the vendor's name.

use super::rows::PROFILES;
use crate::error::{Error, Result};
use crate::http::client::Classify;
use crate::wire::openai::chat::MessageRules;

/// One vendor.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    /// The vendor's name in configuration, errors, logs and metrics.
    pub(super) name: &'static str,
    /// Where the API is, route prefix included; `None` where only the user knows.
    pub(super) base_url: Option<&'static str>,
    /// Variables that may hold another base URL.
    pub(super) base_url_env: &'static [&'static str],
    /// Variables that may hold the key; the first that is set wins.
    pub(super) key_env: &'static [&'static str],
    /// Whether the API needs a key.
    pub(super) key_required: bool,
    /// Where the key goes.
    pub(super) key_place: KeyPlace,
    /// Variables that may hold the version of the API, where its address names one (`?api-version=`).
    pub(super) api_version_env: &'static [&'static str],
    /// Whether the address may be a resource's alone, to which the path of a deployment is added.
    pub(super) has_deployments: bool,
    /// Variables that may hold the organisation and the project.
    pub(super) account_env: Option<[&'static str; 2]>,
    /// The vendor's name at the Hugging Face router, which is called if the key is a Hugging Face token.
    pub(super) hf_provider: Option<&'static str>,
    /// Whether a suffix of the model (`:together`) chooses the provider behind a router.
    pub(super) routes_by_suffix: bool,
    /// Whether the server has one model, so that the configuration need not name it.
    pub(super) model_optional: bool,
    /// Chat, where it is offered.
    pub(super) chat: Option<ChatRules>,
    /// Embeddings, where they are offered.
    pub(super) embeddings: Option<EmbedRules>,
    /// Images, where they are offered.
    pub(super) images: Option<ImageRules>,
    /// Most requests in flight for one key, where a plan or a server limits them.
    pub(super) max_concurrency: Option<usize>,
    /// Whether a first request may wait for a model to load.
    pub(super) cold_starts: bool,
    /// What the vendor's failures mean where the common table of statuses is wrong.
    pub(super) classify: Classify,
}

/// Where the key goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum KeyPlace {
    /// `Authorization: Bearer …`
    Bearer,
    /// A header of the vendor's own.
    Header(&'static str),
}

/// How a vendor's chat departs from OpenAI's.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChatRules {
    /// Fields of the body, and `name` of a message, that the vendor answers with 400.
    pub(super) refused: &'static [&'static str],
    /// Whether OpenAI's reasoning models are served, which take `max_completion_tokens` only.
    pub(super) reasoning_models_rename_max_tokens: bool,
    /// What a lower temperature is raised to.
    pub(super) temperature_floor: f32,
    /// The seed's name in the body.
    pub(super) seed_field: &'static str,
    /// How a JSON Schema is asked for.
    pub(super) schema: SchemaDialect,
    /// Whether `stream_options` is understood.
    pub(super) stream_options: bool,
    /// Whether reasoning may stand in the text between `<think>` and `</think>`.
    pub(super) inline_reasoning: bool,
    /// Whether `max_completion_tokens` stands for `max_tokens` with every model.
    pub(super) max_completion_tokens: bool,
    /// How messages depart from OpenAI's, and what of them goes back.
    pub(super) messages: MessageRules,
    /// Whether the API `responses` is offered too.
    pub(super) responses: bool,
    /// Whether the older API `completions` is offered too.
    pub(super) completions: bool,
}

/// How a JSON Schema for the answer is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SchemaDialect {
    /// `{"type": "json_schema", "json_schema": {"name", "schema", "strict"}}`
    Standard,
    /// `{"type": "json_schema", "schema": …}`
    Flattened,
    /// `{"type": "json_object", "schema": …}`
    JsonObject,
}

/// How a vendor's embeddings depart from OpenAI's.
#[derive(Clone, Copy, Debug)]
pub(super) struct EmbedRules {
    /// Most inputs of one request.
    pub(super) max_batch: Option<usize>,
    /// Whether vectors are requested as base64. Lists of numbers are read in any case.
    pub(super) base64: bool,
    /// Whether vectors can be shortened.
    pub(super) dimensions: bool,
    /// The name of the width in the body.
    pub(super) dimensions_field: &'static str,
    /// The field that says which side of a search the inputs are on, where there is one.
    pub(super) role_field: Option<&'static str>,
    /// The field that says whether long inputs may be cut, where there is one.
    pub(super) truncation_field: Option<&'static str>,
    /// Whether every model embeds queries and documents alike, so that a role changes nothing.
    pub(super) symmetric: bool,
    /// Whether the server silently cuts longer inputs; others refuse them.
    pub(super) cuts_inputs: bool,
}

/// How a vendor's images depart from OpenAI's.
#[derive(Clone, Copy, Debug)]
pub(super) struct ImageRules {
    /// The form of the request.
    pub(super) dialect: ImageDialect,
    /// Whether images can be edited.
    pub(super) edits: bool,
    /// Most images of one request.
    pub(super) max_images: Option<usize>,
}

/// The form of an image request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageDialect {
    /// OpenAI's own.
    OpenAi,
    /// Together: `width`, `height`, `steps`, `seed`, `response_format: "base64"`.
    Together,
    /// Nscale: `size` and `response_format: "b64_json"` only.
    Nscale,
    /// DeepInfra: `size`, `n`, `response_format: "b64_json"`.
    DeepInfra,
}

/// The row of a vendor.
///
/// # Errors
/// `config_invalid` naming every vendor there is.
pub(super) fn find(vendor: &str) -> Result<&'static Profile> {
    PROFILES.iter().find(|profile| profile.name == vendor).ok_or_else(|| {
        let valid = PROFILES.iter().map(|profile| profile.name).collect::<Vec<_>>().join(", ");
        Error::config(format!("vendor '{vendor}' is unknown; valid: {valid}")).with_context("field", "vendor")
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_its_own_name_and_a_usable_address() {
        let names: BTreeSet<_> = PROFILES.iter().map(|profile| profile.name).collect();
        assert_eq!(names.len(), PROFILES.len());
        for profile in PROFILES {
            if let Some(base_url) = profile.base_url {
                crate::http::client::ApiClient::new(profile.name, base_url).expect(profile.name);
            }
            assert!(!profile.key_required || !profile.key_env.is_empty(), "{}", profile.name);
            let has_address = profile.base_url.is_some() || !profile.base_url_env.is_empty();
            assert!(has_address || profile.name == "custom", "{}", profile.name);
        }
    }

    #[test]
    fn the_documentation_names_every_vendor_and_every_variable() {
        let docs = include_str!("docs.md");
        for profile in PROFILES {
            assert!(docs.contains(&format!("| `{}` |", profile.name)), "{}", profile.name);
            let account = profile.account_env.iter().flatten();
            let variables = profile.key_env.iter().chain(profile.base_url_env).chain(profile.api_version_env);
            for variable in variables.chain(account) {
                assert!(docs.contains(&format!("`{variable}`")), "{variable}");
            }
        }
    }

    #[test]
    fn an_unknown_vendor_is_refused_with_the_valid_ones() {
        let error = find("grok").expect_err("no such vendor");
        assert_eq!(error.kind(), crate::ErrorKind::ConfigInvalid);
        for name in ["'grok'", "groq", "hf-router", "custom"] {
            assert!(error.message().contains(name), "{error}");
        }
    }
}
