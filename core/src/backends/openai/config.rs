//! Configuration of the `openai` backend.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::OpenAi;
use crate::embed::EmbeddingSpace;
use crate::env::Environment;
use crate::error::Result;
use crate::secret::Secret;
use crate::wire::openai::chat::InlineReasoning;

/// Any OpenAI-compatible API: OpenAI itself, the Hugging Face router, Groq, Ollama, vLLM and so on.
///
/// ```
/// use ayni::Environment;
/// use ayni::backends::openai::OpenAiConfig;
///
/// let config = OpenAiConfig::vendor("hf-router", "Qwen/Qwen2.5-7B-Instruct:together").with_api_key("hf_…");
/// let chat = config.open(&Environment::empty())?;
/// assert_eq!(chat.base_url(), "https://router.huggingface.co/v1");
/// # Ok::<_, ayni::Error>(())
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct OpenAiConfig {
    /// The vendor: `openai` (the default), `azure`, `hf-router`, `openrouter`, `groq`, `gemini-openai`, `vertex`,
    /// `featherless`, `together`, `fireworks`, `cerebras`, `deepinfra`, `deepseek`, `scaleway`, `nscale`, `nebius`,
    /// `novita`, `cohere`, `mistral`, `ovhcloud`, `baseten`, `publicai`, `zai`, `snowflake`, `crusoe`, `sambanova`,
    /// `voyage`, `ollama`, `vllm`, `llamacpp`, `tei`, `lmstudio`, or `custom` for any other server at `base_url`.
    pub vendor: String,
    /// The model, as the vendor spells it. At `hf-router` a suffix chooses the provider: `:fastest`,
    /// `:cheapest`, `:preferred` or a provider's name. May be empty where the server has one model.
    pub model: String,
    /// Where the API is, up to and including `/v1`; the vendor's own address by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The credential; the vendor's environment variable by default. With a Hugging Face token (`hf_…`) a
    /// vendor that Hugging Face bills for is called through its router.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_key: Option<Secret>,
    /// The version of the API (`?api-version=`), where the vendor's address names one: `OPENAI_API_VERSION` at Azure
    /// by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// Which of OpenAI's APIs chats.
    pub chat_api: ChatApi,
    /// Whether the provider keeps the answers, by the API `responses` only; its own default without it. A stored
    /// answer is continued by its id, so that earlier messages need not be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<bool>,
    /// The organisation that pays (`OpenAI-Organization`); `OPENAI_ORG_ID` at OpenAI by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub organization: Option<String>,
    /// The project that pays (`OpenAI-Project`); `OPENAI_PROJECT_ID` at OpenAI by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The Hugging Face organisation that pays (`X-HF-Bill-To`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bill_to: Option<String>,
    /// Further header fields of every request. Credentials are refused here: they belong in `api_key`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Shortens embeddings to this width, for models trained to allow it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dimensions: Option<usize>,
    /// The embedding space; by default the model's, with unit-length vectors of `dimensions` numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub space: Option<EmbeddingSpace>,
    /// The text that the embedding model wants before queries; "" if it wants none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_prompt: Option<String>,
    /// The text that the embedding model wants before documents; "" if it wants none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document_prompt: Option<String>,
    /// Most inputs of one embedding request; the vendor's limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_batch: Option<usize>,
    /// Most requests in flight for this credential; the vendor's limit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrency: Option<usize>,
    /// The field in which an assistant message's reasoning is sent back (`reasoning_content`, `reasoning`).
    /// By default as the vendor's row says: most do not take it back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_field: Option<String>,
    /// Further fields of an answer's message and tool calls that the server wants back with the next request.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub returned_fields: Vec<String>,
    /// Where reasoning stands if the server does not keep it apart from the text.
    pub inline_reasoning: InlineReasoning,
}

/// Which of OpenAI's APIs chats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ChatApi {
    /// `/chat/completions`, which every vendor has.
    #[default]
    ChatCompletions,
    /// `/responses`: reasoning goes back to the model, answers may be stored, the provider's own tools run.
    Responses,
    /// `/completions`, the older API: a text is continued.
    Completions,
}

impl Default for OpenAiConfig {
    fn default() -> Self {
        Self {
            vendor: "openai".to_owned(),
            model: String::new(),
            base_url: None,
            api_key: None,
            api_version: None,
            chat_api: ChatApi::default(),
            store: None,
            organization: None,
            project: None,
            bill_to: None,
            headers: BTreeMap::new(),
            dimensions: None,
            space: None,
            query_prompt: None,
            document_prompt: None,
            max_batch: None,
            max_concurrency: None,
            reasoning_field: None,
            returned_fields: Vec::new(),
            inline_reasoning: InlineReasoning::Auto,
        }
    }
}

impl OpenAiConfig {
    /// A model at OpenAI.
    pub fn new(model: impl Into<String>) -> Self {
        Self { model: model.into(), ..Self::default() }
    }

    /// A model at any vendor.
    pub fn vendor(vendor: impl Into<String>, model: impl Into<String>) -> Self {
        Self { vendor: vendor.into(), ..Self::new(model) }
    }

    /// Sets where the API is.
    pub fn with_base_url(mut self, base_url: impl Into<String>) -> Self {
        self.base_url = Some(base_url.into());
        self
    }

    /// Sets the credential.
    pub fn with_api_key(mut self, api_key: impl Into<Secret>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// Chooses which of OpenAI's APIs chats.
    pub fn with_chat_api(mut self, chat_api: ChatApi) -> Self {
        self.chat_api = chat_api;
        self
    }

    /// Says whether the provider keeps the answers.
    pub fn with_store(mut self, store: bool) -> Self {
        self.store = Some(store);
        self
    }

    /// Sets the Hugging Face organisation that pays.
    pub fn with_bill_to(mut self, organization: impl Into<String>) -> Self {
        self.bill_to = Some(organization.into());
        self
    }

    /// Adds a header field to every request.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.insert(name.into(), value.into());
        self
    }

    /// Shortens embeddings.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Sets the texts before queries and documents for the embedding model; "" for none.
    pub fn with_prompts(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        self.query_prompt = Some(query.into());
        self.document_prompt = Some(document.into());
        self
    }

    /// Names the embedding space.
    pub fn with_space(mut self, space: EmbeddingSpace) -> Self {
        self.space = Some(space);
        self
    }

    /// Opens the backend. Nothing is sent.
    ///
    /// # Errors
    /// `config_invalid` naming the field or variable to fix.
    pub fn open(&self, env: &Environment) -> Result<OpenAi> {
        OpenAi::open(self, env)
    }
}
