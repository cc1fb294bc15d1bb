//! The server: where it is, what it serves, what its failures mean.

use tokio::sync::OnceCell;

use super::config::TeiConfig;
use super::wire::ServerInfo;
use crate::context::Context;
use crate::embed::EmbeddingSpace;
use crate::embed::prompt_set;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::http::client::{ApiClient, Auth};
use crate::http::status::{Failure, Verdict};
use crate::info::{BackendInfo, Limits};

/// A text-embeddings-inference server.
#[derive(Debug)]
pub struct Tei {
    pub(super) api: ApiClient,
    pub(super) info: BackendInfo,
    pub(super) space: EmbeddingSpace,
    pub(super) config: TeiConfig,
    server: OnceCell<ServerInfo>,
}

impl Tei {
    pub(super) fn open(mut config: TeiConfig, env: &Environment) -> Result<Self> {
        if config.max_batch == 0 {
            return Err(Error::config("`max_batch` is 0; a request needs at least one input"));
        }
        if config.dimensions == Some(0) {
            return Err(Error::config("`dimensions` is 0; a vector needs at least one number"));
        }
        let key =
            config.api_key.take().filter(|key| !key.is_empty()).or_else(|| env.secret(&["TEI_API_KEY"]));
        let api = ApiClient::new("tei", &config.base_url)?
            .with_auth(Auth::bearer(key.as_ref()))?
            .with_classify(classify);
        let host = api.host();
        let model = if config.model.trim().is_empty() { host.clone() } else { config.model.clone() };
        let info = BackendInfo::new("tei", model.as_str())
            .with_cold_starts(host.ends_with(".endpoints.huggingface.cloud"))
            .with_host(host)
            .with_limits(Limits::default().with_max_batch(config.max_batch))
            .with_credential(api.credential());
        let mut space = EmbeddingSpace::new(model)
            .with_revision(config.revision.clone())
            .with_dimensions(config.dimensions)
            .with_normalised(config.normalised);
        space.pooling = config.pooling;
        space.prompt_set =
            prompt_set(config.query_prompt_name.as_deref(), config.document_prompt_name.as_deref());
        Ok(Self { api, info, space, config, server: OnceCell::new() })
    }

    /// The server's `/info`, fetched once. A server without it is assumed to be as configured.
    pub(super) async fn server(&self, cx: &Context) -> Result<&ServerInfo> {
        cx.guard(self.server.get_or_try_init(|| self.ask_server(cx))).await
    }

    async fn ask_server(&self, cx: &Context) -> Result<ServerInfo> {
        let answer = self.api.get("/info").json_reply::<ServerInfo>(cx).await;
        let server = match answer {
            Ok(reply) => reply.value,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Unsupported) => {
                ServerInfo::default()
            }
            Err(error) => return Err(error),
        };
        self.check_served(&server)?;
        Ok(server)
    }

    /// Vectors of another model or revision would look just like the expected ones.
    fn check_served(&self, server: &ServerInfo) -> Result<()> {
        let wanted = self.config.model.trim();
        let told = || [&server.model_id, &server.served_model_name].into_iter().filter_map(Option::as_deref);
        let is_wanted = wanted.is_empty() || told().any(|name| name.eq_ignore_ascii_case(wanted));
        // A server that loaded weights from a folder does not know which model they are.
        let other = told().next().filter(|name| !is_wanted && !name.starts_with(['/', '.']));
        if let Some(told) = other {
            return Err(self.other_served("model", wanted, told));
        }
        match (self.config.revision.as_deref(), server.model_sha.as_deref()) {
            (Some(wanted), Some(told)) if wanted != told => Err(self.other_served("revision", wanted, told)),
            _ => Ok(()),
        }
    }

    fn other_served(&self, field: &'static str, wanted: &str, told: &str) -> Error {
        Error::config(format!("`{field}` is '{wanted}', but the server serves '{told}'"))
            .with_context("field", field)
    }
}

/// Failures whose status alone says too little.
fn classify(failure: &Failure<'_>) -> Option<Verdict> {
    let says = |text: &str| failure.body.message.as_deref().is_some_and(|message| message.contains(text));
    match failure.status {
        413 | 422 if says("maximum allowed batch size") => Some(Verdict::new(
            ErrorKind::InvalidRequest,
            "the server takes fewer inputs a request: set `max_batch` to its `--max-client-batch-size`",
        )),
        413 | 422 if says("must have less than") && says("tokens") => Some(Verdict::new(
            ErrorKind::ContextTooLong,
            "an input is longer than the model's window, and the request says not to cut it",
        )),
        429 => Some(Verdict::new(ErrorKind::RateLimited, "the server's queue is full for the moment")),
        _ => None,
    }
}
