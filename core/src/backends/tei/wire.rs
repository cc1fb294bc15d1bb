//! The native routes' JSON.

use serde::{Deserialize, Serialize};

/// The body of `POST /embed`.
#[derive(Debug, Serialize)]
pub(super) struct EmbedBody<'a> {
    pub(super) inputs: Vec<&'a str>,
    pub(super) truncate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) prompt_name: Option<&'a str>,
    pub(super) normalize: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dimensions: Option<usize>,
}

/// The fields of `GET /info` that are used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServerInfo {
    pub(super) model_id: Option<String>,
    pub(super) model_sha: Option<String>,
    pub(super) served_model_name: Option<String>,
    pub(super) max_client_batch_size: Option<usize>,
}
