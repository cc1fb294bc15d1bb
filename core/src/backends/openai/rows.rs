//! Every vendor: one row each.

use super::failures;
use super::profiles::{ChatRules, EmbedRules, ImageDialect, ImageRules, KeyPlace, Profile, SchemaDialect};
use crate::wire::openai::chat::{FileDialect, MessageRules, ReasoningReturn};

/// Messages of a service that serves open models: nothing of an answer that the protocol does not know goes back.
const OPEN_MESSAGES: MessageRules = MessageRules {
    developer_role: false,
    message_data: &[],
    files: FileDialect::MediaUrls,
    ..MessageRules::OPENAI
};

/// Messages of a server that may be a proxy for any vendor: what some of them need goes back.
const ANY_MESSAGES: MessageRules = MessageRules {
    message_data: &["extra_content", "reasoning_details"],
    call_data: &["extra_content", "function"],
    tool_media: true,
    ..OPEN_MESSAGES
};

/// Messages of Google's models: their signatures go back.
const GOOGLE_MESSAGES: MessageRules = MessageRules {
    message_data: &["extra_content"],
    call_data: &["extra_content"],
    tool_media: true,
    files: FileDialect::OpenAi,
    ..OPEN_MESSAGES
};

/// Chat of a vendor without special habits that serves open models.
const OPEN_MODELS: ChatRules = ChatRules {
    refused: &[],
    reasoning_models_rename_max_tokens: false,
    temperature_floor: 0.0,
    seed_field: "seed",
    schema: SchemaDialect::Standard,
    stream_options: true,
    inline_reasoning: true,
    max_completion_tokens: false,
    messages: OPEN_MESSAGES,
    responses: false,
    completions: true,
};

const EMBEDDINGS: EmbedRules = EmbedRules {
    max_batch: None,
    base64: true,
    dimensions: true,
    dimensions_field: "dimensions",
    role_field: None,
    truncation_field: None,
    symmetric: false,
    cuts_inputs: false,
};

const IMAGES: ImageRules = ImageRules { dialect: ImageDialect::OpenAi, edits: true, max_images: None };

/// Chat of a server that the user runs.
const OWN_CHAT: ChatRules = ChatRules { messages: ANY_MESSAGES, responses: true, ..OPEN_MODELS };

/// OpenAI's own chat.
const OPENAI_CHAT: ChatRules = ChatRules {
    refused: &["top_k"],
    reasoning_models_rename_max_tokens: true,
    inline_reasoning: false,
    messages: MessageRules::OPENAI,
    responses: true,
    ..OPEN_MODELS
};

/// A server that the user runs.
const OWN_SERVER: Profile = Profile {
    name: "custom",
    base_url: None,
    base_url_env: &[],
    key_env: &[],
    key_required: false,
    key_place: KeyPlace::Bearer,
    api_version_env: &[],
    has_deployments: false,
    account_env: None,
    hf_provider: None,
    routes_by_suffix: false,
    model_optional: false,
    chat: Some(OWN_CHAT),
    embeddings: Some(EMBEDDINGS),
    images: Some(IMAGES),
    max_concurrency: None,
    cold_starts: false,
    classify: failures::none,
};

/// A vendor's service that chats with open models and asks for a key.
const SERVICE: Profile =
    Profile { key_required: true, chat: Some(OPEN_MODELS), embeddings: None, images: None, ..OWN_SERVER };

/// Every vendor.
pub(super) static PROFILES: &[Profile] = &[
    Profile {
        name: "openai",
        base_url: Some("https://api.openai.com/v1"),
        base_url_env: &["OPENAI_BASE_URL"],
        key_env: &["OPENAI_API_KEY"],
        account_env: Some(["OPENAI_ORG_ID", "OPENAI_PROJECT_ID"]),
        chat: Some(OPENAI_CHAT),
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
        chat: Some(ChatRules { responses: true, completions: false, ..OPEN_MODELS }),
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
            messages: MessageRules {
                developer_role: true,
                reasoning: ReasoningReturn::Field("reasoning"),
                tool_media: true,
                ..OPEN_MESSAGES
            },
            responses: true,
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
            messages: GOOGLE_MESSAGES,
            completions: false,
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
        chat: Some(ChatRules {
            schema: SchemaDialect::JsonObject,
            inline_reasoning: false,
            completions: false,
            ..OPEN_MODELS
        }),
        ..SERVICE
    },
    Profile {
        name: "mistral",
        base_url: Some("https://api.mistral.ai/v1"),
        key_env: &["MISTRAL_API_KEY"],
        // Mistral names the seed differently, refuses `stream_options` and sends usage without being asked.
        chat: Some(ChatRules {
            refused: &["logit_bias"],
            seed_field: "random_seed",
            stream_options: false,
            inline_reasoning: false,
            messages: MessageRules {
                reasoning: ReasoningReturn::ThinkingPart,
                files: FileDialect::Mistral,
                tool_media: true,
                ..OPEN_MESSAGES
            },
            completions: false,
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
        name: "azure",
        base_url_env: &["AZURE_OPENAI_ENDPOINT"],
        key_env: &["AZURE_OPENAI_API_KEY"],
        key_place: KeyPlace::Header("api-key"),
        api_version_env: &["OPENAI_API_VERSION"],
        has_deployments: true,
        chat: Some(OPENAI_CHAT),
        embeddings: Some(EmbedRules { max_batch: Some(2048), symmetric: true, ..EMBEDDINGS }),
        images: Some(ImageRules { max_images: Some(10), ..IMAGES }),
        classify: failures::openai,
        ..SERVICE
    },
    // Google Cloud's address names project and region, so only the user knows it; the key is an access token.
    Profile {
        name: "vertex",
        base_url_env: &["VERTEX_BASE_URL"],
        key_env: &["VERTEX_ACCESS_TOKEN"],
        chat: Some(ChatRules {
            refused: &["top_k", "logit_bias"],
            inline_reasoning: false,
            messages: GOOGLE_MESSAGES,
            completions: false,
            ..OPEN_MODELS
        }),
        classify: failures::gemini,
        ..SERVICE
    },
    Profile {
        name: "openrouter",
        base_url: Some("https://openrouter.ai/api/v1"),
        key_env: &["OPENROUTER_API_KEY"],
        chat: Some(ChatRules {
            inline_reasoning: false,
            messages: MessageRules {
                developer_role: true,
                message_data: &["reasoning_details"],
                call_data: &["extra_content"],
                files: FileDialect::OpenRouter,
                tool_media: true,
                cache_points: true,
                ..OPEN_MESSAGES
            },
            responses: true,
            ..OPEN_MODELS
        }),
        embeddings: Some(EmbedRules { base64: false, ..EMBEDDINGS }),
        ..SERVICE
    },
    Profile {
        name: "deepseek",
        base_url: Some("https://api.deepseek.com/v1"),
        key_env: &["DEEPSEEK_API_KEY"],
        chat: Some(ChatRules {
            inline_reasoning: false,
            messages: MessageRules {
                reasoning: ReasoningReturn::WithToolCalls("reasoning_content"),
                ..OPEN_MESSAGES
            },
            completions: false,
            ..OPEN_MODELS
        }),
        ..SERVICE
    },
    // The address names the account.
    Profile {
        name: "snowflake",
        base_url_env: &["SNOWFLAKE_BASE_URL"],
        key_env: &["SNOWFLAKE_PAT"],
        chat: Some(ChatRules { max_completion_tokens: true, completions: false, ..OPEN_MODELS }),
        ..SERVICE
    },
    Profile {
        name: "crusoe",
        base_url: Some("https://managed-inference-api-proxy.crusoecloud.com/v1"),
        base_url_env: &["CRUSOE_API_BASE"],
        key_env: &["CRUSOE_API_KEY"],
        ..SERVICE
    },
    Profile {
        name: "sambanova",
        base_url: Some("https://api.sambanova.ai/v1"),
        key_env: &["SAMBANOVA_API_KEY"],
        chat: Some(ChatRules { completions: false, ..OPEN_MODELS }),
        embeddings: Some(EmbedRules { base64: false, dimensions: false, ..EMBEDDINGS }),
        ..SERVICE
    },
    Profile {
        name: "nebius",
        base_url: Some("https://api.tokenfactory.nebius.com/v1"),
        key_env: &["NEBIUS_API_KEY"],
        embeddings: Some(EmbedRules { base64: false, ..EMBEDDINGS }),
        ..SERVICE
    },
    Profile {
        name: "voyage",
        base_url: Some("https://api.voyageai.com/v1"),
        key_env: &["VOYAGE_API_KEY"],
        chat: None,
        embeddings: Some(EmbedRules {
            max_batch: Some(1000),
            dimensions_field: "output_dimension",
            role_field: Some("input_type"),
            truncation_field: Some("truncation"),
            ..EMBEDDINGS
        }),
        ..SERVICE
    },
    Profile {
        name: "ollama",
        base_url: Some("http://localhost:11434/v1"),
        // Ollama's OpenAI route silently drops `top_k`; its native route takes it.
        chat: Some(ChatRules { refused: &["top_k"], ..OWN_CHAT }),
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
