//! Configuration of the `tei` backend.

use serde::{Deserialize, Serialize};

use super::Tei;
use crate::embed::Pooling;
use crate::env::Environment;
use crate::error::Result;
use crate::secret::Secret;

/// text-embeddings-inference by its native routes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct TeiConfig {
    /// Where the server is.
    pub base_url: String,
    /// The model that must be served, for the vectors' space. If empty, any model is accepted, and
    /// the server's host stands for the model in the space.
    pub model: String,
    /// The revision of the weights that must be served, as a full commit hash.
    pub revision: Option<String>,
    /// The credential, where the server asks for one; `TEI_API_KEY` by default.
    pub api_key: Option<Secret>,
    /// The width of the vectors: requested from the server, and part of the space.
    pub dimensions: Option<usize>,
    /// How the server pools, as part of the space. The server decides by itself.
    pub pooling: Option<Pooling>,
    /// Whether to ask for vectors of unit length.
    pub normalised: bool,
    /// The name of the prompt that the model puts before queries; "" if it has none.
    pub query_prompt_name: Option<String>,
    /// The name of the prompt that the model puts before documents; "" if it has none.
    pub document_prompt_name: Option<String>,
    /// Most inputs of one request: the server's `--max-client-batch-size`.
    pub max_batch: usize,
}

impl Default for TeiConfig {
    fn default() -> Self {
        Self {
            base_url: String::new(),
            model: String::new(),
            revision: None,
            api_key: None,
            dimensions: None,
            pooling: None,
            normalised: true,
            query_prompt_name: None,
            document_prompt_name: None,
            max_batch: 32,
        }
    }
}

impl TeiConfig {
    /// The server at `base_url`, whatever model it serves.
    pub fn new(base_url: impl Into<String>) -> Self {
        Self { base_url: base_url.into(), ..Self::default() }
    }

    /// Names the model that must be served.
    pub fn with_model(mut self, model: impl Into<String>) -> Self {
        self.model = model.into();
        self
    }

    /// Sets the credential.
    pub fn with_api_key(mut self, api_key: impl Into<Secret>) -> Self {
        self.api_key = Some(api_key.into());
        self
    }

    /// Sets the width of the vectors.
    pub fn with_dimensions(mut self, dimensions: usize) -> Self {
        self.dimensions = Some(dimensions);
        self
    }

    /// Names the prompts for queries and documents; "" for none.
    pub fn with_prompt_names(mut self, query: impl Into<String>, document: impl Into<String>) -> Self {
        self.query_prompt_name = Some(query.into());
        self.document_prompt_name = Some(document.into());
        self
    }

    /// Sets the most inputs of one request.
    pub fn with_max_batch(mut self, inputs: usize) -> Self {
        self.max_batch = inputs;
        self
    }

    /// Opens the backend. Nothing is sent yet.
    ///
    /// # Errors
    /// `config_invalid` naming the field to fix.
    pub fn open(&self, env: &Environment) -> Result<Tei> {
        Tei::open(self.clone(), env)
    }
}
