//! What is known about each vendor: one row per vendor, as data.
//!
//! A row says where the API is, which variables hold its key, what it offers and where it departs from
//! OpenAI's protocol. Code branches on the row's fields, never on the vendor's name.

use super::failures;
use crate::error::{Error, Result};
use crate::http::client::Classify;

/// One vendor.
#[derive(Debug)]
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
    /// Whether `dimensions` is understood.
    pub(super) dimensions: bool,
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

/// Chat of a vendor without special habits that serves open models.
const OPEN_MODELS: ChatRules = ChatRules {
    refused: &[],
    reasoning_models_rename_max_tokens: false,
    temperature_floor: 0.0,
    seed_field: "seed",
    schema: SchemaDialect::Standard,
    stream_options: true,
    inline_reasoning: true,
};

const EMBEDDINGS: EmbedRules =
    EmbedRules { max_batch: None, base64: true, dimensions: true, symmetric: false, cuts_inputs: false };

const IMAGES: ImageRules = ImageRules { dialect: ImageDialect::OpenAi, edits: true, max_images: None };

/// A server that the user runs.
const OWN_SERVER: Profile = Profile {
    name: "custom",
    base_url: None,
    base_url_env: &[],
    key_env: &[],
    key_required: false,
    account_env: None,
    hf_provider: None,
    routes_by_suffix: false,
    model_optional: false,
    chat: Some(OPEN_MODELS),
    embeddings: Some(EMBEDDINGS),
    images: Some(IMAGES),
    max_concurrency: None,
    cold_starts: false,
    classify: failures::none,
};

/// A vendor's service that chats with open models and asks for a key.
const SERVICE: Profile = Profile { key_required: true, embeddings: None, images: None, ..OWN_SERVER };

/// Every vendor.
pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "openai",
        base_url: Some("https://api.openai.com/v1"),
        base_url_env: &["OPENAI_BASE_URL"],
        key_env: &["OPENAI_API_KEY"],
        account_env: Some(["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"]),
        chat: Some(ChatRules {
            refused: &["top_k"],
            reasoning_models_rename_max_tokens: true,
            inline_reasoning: false,
            ..OPEN_MODELS
        }),
        embeddings: Some(EmbedRules { max_batch: Some(2048), symmetric: true, ..EMBEDDINGS }),
        images: Some(ImageRules { max_images: Some(10), ..IMAGES }),
        classify: failures::openai,
        ..SERVICE
    },
    // The router's automatic mode has chat only; embeddings and images go through backend `huggingface`.
    Profile {
        name: "hf-router",
        base_url: Some("https://router.huggingface.co/v1"),
        key_env: &["HF_API_TOKEN", "HF_TOKEN"],
        routes_by_suffix: true,
        classify: failures::hf_router,
        ..SERVICE
    },
    Profile {
        name: "groq",
        base_url: Some("https://api.groq.com/openai/v1"),
        key_env: &["GROQ_API_KEY"],
        hf_provider: Some("groq"),
        chat: Some(ChatRules {
            refused: &["logprobs", "top_logprobs", "logit_bias", "name", "n", "top_k"],
            temperature_floor: 1e-8,
            ..OPEN_MODELS
        }),
        ..SERVICE
    },
    Profile {
        name: "gemini-openai",
        base_url: Some("https://generativelanguage.googleapis.com/v1beta/openai"),
        key_env: &["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        chat: Some(ChatRules {
            refused: &[
                "frequency_penalty",
                "presence_penalty",
                "n",
                "top_k",
                "logprobs",
                "top_logprobs",
                "logit_bias",
            ],
            inline_reasoning: false,
            ..OPEN_MODELS
        }),
        embeddings: Some(EmbedRules { max_batch: Some(100), base64: false, ..EMBEDDINGS }),
        classify: failures::gemini,
        ..SERVICE
    },
    Profile {
        name: "featherless",
        base_url: Some("https://api.featherless.ai/v1"),
        key_env: &["FEATHERLESS_API_KEY"],
        hf_provider: Some("featherless-ai"),
        // The limit of the smallest plan; the configuration raises it for larger ones.
        max_concurrency: Some(2),
        cold_starts: true,
        classify: failures::featherless,
        ..SERVICE
    },
    Profile {
        name: "together",
        base_url: Some("https://api.together.xyz/v1"),
        key_env: &["TOGETHER_API_KEY"],
        hf_provider: Some("together"),
        chat: Some(ChatRules { schema: SchemaDialect::Flattened, ..OPEN_MODELS }),
        embeddings: Some(EmbedRules { base64: false, dimensions: false, ..EMBEDDINGS }),
        images: Some(ImageRules { dialect: ImageDialect::Together, max_images: Some(4), ..IMAGES }),
        ..SERVICE
    },
    Profile {
        name: "fireworks",
        base_url: Some("https://api.fireworks.ai/inference/v1"),
        key_env: &["FIREWORKS_API_KEY"],
        hf_provider: Some("fireworks-ai"),
        chat: Some(ChatRules { schema: SchemaDialect::JsonObject, ..OPEN_MODELS }),
        ..SERVICE
    },
    Profile {
        name: "cerebras",
        base_url: Some("https://api.cerebras.ai/v1"),
        key_env: &["CEREBRAS_API_KEY"],
        hf_provider: Some("cerebras"),
        ..SERVICE
    },
    Profile {
        name: "deepinfra",
        base_url: Some("https://api.deepinfra.com/v1/openai"),
        key_env: &["DEEPINFRA_API_KEY", "DEEPINFRA_TOKEN"],
        hf_provider: Some("deepinfra"),
        embeddings: Some(EmbedRules { base64: false, ..EMBEDDINGS }),
        images: Some(ImageRules { dialect: ImageDialect::DeepInfra, edits: false, ..IMAGES }),
        ..SERVICE
    },
    Profile {
        name: "scaleway",
        base_url: Some("https://api.scaleway.ai/v1"),
        key_env: &["SCW_SECRET_KEY"],
        hf_provider: Some("scaleway"),
        embeddings: Some(EMBEDDINGS),
        ..SERVICE
    },
    Profile {
        name: "nscale",
        base_url: Some("https://inference.api.nscale.com/v1"),
        key_env: &["NSCALE_SERVICE_TOKEN", "NSCALE_API_KEY"],
        hf_provider: Some("nscale"),
        images: Some(ImageRules { dialect: ImageDialect::Nscale, edits: false, ..IMAGES }),
        classify: failures::nscale,
        ..SERVICE
    },
    Profile {
        name: "novita",
        base_url: Some("https://api.novita.ai/v3/openai"),
        key_env: &["NOVITA_API_KEY"],
        hf_provider: Some("novita"),
        ..SERVICE
    },
    Profile {
        name: "cohere",
        base_url: Some("https://api.cohere.com/compatibility/v1"),
        key_env: &["COHERE_API_KEY", "CO_API_KEY"],
        hf_provider: Some("cohere"),
        chat: Some(ChatRules { schema: SchemaDialect::JsonObject, inline_reasoning: false, ..OPEN_MODELS }),
        ..SERVICE
    },
    Profile {
        name: "mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        key_env: &["MISTRAL_API_KEY"],
        // Mistral names the seed differently, refuses `stream_options` and sends usage without being asked.
        chat: Some(ChatRules {
            refused: &["top_k", "logprobs", "top_logprobs", "logit_bias"],
            seed_field: "random_seed",
            stream_options: false,
            inline_reasoning: false,
            ..OPEN_MODELS
        }),
        embeddings: Some(EmbedRules { base64: false, dimensions: false, symmetric: true, ..EMBEDDINGS }),
        ..SERVICE
    },
    Profile {
        name: "ovhcloud",
        base_url: Some("https://oai.endpoints.kepler.ai.cloud.ovh.net/v1"),
        key_env: &["OVH_AI_ENDPOINTS_ACCESS_TOKEN", "OVHCLOUD_API_KEY"],
        hf_provider: Some("ovhcloud"),
        ..SERVICE
    },
    Profile {
        name: "baseten",
        base_url: Some("https://inference.baseten.co/v1"),
        key_env: &["BASETEN_API_KEY"],
        hf_provider: Some("baseten"),
        ..SERVICE
    },
    Profile {
        name: "publicai",
        base_url: Some("https://api.publicai.co/v1"),
        key_env: &["PUBLICAI_API_KEY"],
        hf_provider: Some("publicai"),
        ..SERVICE
    },
    Profile {
        name: "zai",
        base_url: Some("https://api.z.ai/api/paas/v4"),
        key_env: &["ZAI_API_KEY"],
        hf_provider: Some("zai-org"),
        ..SERVICE
    },
    Profile {
        name: "ollama",
        base_url: Some("http://localhost:11434/v1"),
        // Ollama's OpenAI route silently drops `top_k`; its native route takes it.
        chat: Some(ChatRules { refused: &["top_k"], ..OPEN_MODELS }),
        embeddings: Some(EmbedRules { cuts_inputs: true, ..EMBEDDINGS }),
        images: None,
        cold_starts: true,
        ..OWN_SERVER
    },
    Profile {
        name: "vllm",
        base_url: Some("http://localhost:8000/v1"),
        key_env: &["VLLM_API_KEY"],
        images: None,
        ..OWN_SERVER
    },
    Profile {
        name: "llamacpp",
        base_url: Some("http://localhost:8080/v1"),
        key_env: &["LLAMA_API_KEY"],
        model_optional: true,
        images: None,
        cold_starts: true,
        ..OWN_SERVER
    },
    Profile {
        name: "tei",
        base_url: Some("http://localhost:8080/v1"),
        model_optional: true,
        chat: None,
        embeddings: Some(EmbedRules { max_batch: Some(32), cuts_inputs: true, ..EMBEDDINGS }),
        images: None,
        ..OWN_SERVER
    },
    Profile {
        name: "lmstudio",
        base_url: Some("http://localhost:1234/v1"),
        images: None,
        cold_starts: true,
        ..OWN_SERVER
    },
    OWN_SERVER,
];

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
            assert!(profile.base_url.is_some() || profile.name == "custom", "{}", profile.name);
        }
    }

    #[test]
    fn the_documentation_names_every_vendor_and_every_variable() {
        let docs = include_str!("docs.md");
        for profile in PROFILES {
            assert!(docs.contains(&format!("| `{}` |", profile.name)), "{}", profile.name);
            let account = profile.account_env.iter().flatten();
            for variable in profile.key_env.iter().chain(profile.base_url_env).chain(account) {
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
