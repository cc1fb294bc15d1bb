//! What turns a local model into an [`Embedder`]: repositories, tokens, batches, pooling.

mod batches;
mod catalogue;
mod model;
mod pooling;
mod repository;
mod tokenise;
mod vocabulary;

use std::sync::Arc;

use tokio::sync::oneshot;

use batches::Job;
use model::Model;
use repository::Repository;

use super::LocalConfig;
use super::ops::{DeviceChoice, Place, PrecisionChoice};
use super::weights::{ModelFiles, ModelReference};
use super::worker::{Worker, thread_lost};
use crate::config::Environment;
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace};
use crate::error::{Error, Result};
use crate::info::{BackendInfo, Operation};

/// An embedding model in this process.
///
/// It loads in the background; calls wait for it. Any number of callers share it: what they ask for at the same time
/// is computed together, and a vector has the same bits whatever it is computed with. Dropping a call's future, or
/// cancelling it, ends its work after the batch in hand.
#[derive(Debug)]
pub struct LocalEmbedder {
    info: BackendInfo,
    /// What is known of the space before the model is loaded.
    expected: EmbeddingSpace,
    worker: Worker<Model>,
}

impl LocalEmbedder {
    /// Starts to load a model. What can be known without loading is checked here.
    ///
    /// # Errors
    /// `config_invalid` for a model, device or precision that is misspelt; `model_load` for files on this machine
    /// that make no model; `device_unavailable`.
    pub fn open(config: &LocalConfig, env: &Environment) -> Result<Self> {
        let place = Arc::new(place(config)?);
        let reference: ModelReference = config.model.parse()?;
        let repository = Repository::read(&files(&reference)?)?;
        let dimensions = config.dimensions;
        if dimensions == Some(0) {
            return Err(Error::config("`dimensions` is 0; a vector needs at least one number"));
        }
        let expected = repository.space(dimensions);
        let info = BackendInfo::new("local", expected.model.as_str());
        let name = expected.model.clone();
        let worker = Worker::start(name, move |_| Model::load(&repository, &place, dimensions))?;
        Ok(Self { info, expected, worker })
    }

    /// Waits until the model is loaded; the context's sink hears how far it is.
    ///
    /// # Errors
    /// Those of loading: `model_load`, `out_of_memory`, those of the download.
    pub async fn ready(&self, cx: &Context) -> Result<()> {
        cx.guard(self.worker.ready(cx)).await.map(|_| ()).map_err(|error| self.own(error))
    }

    /// How many tokens a text has for this model, its prompt and special tokens included, before it is cut to
    /// [`window`](Self::window). Computed on the calling thread.
    ///
    /// # Errors
    /// `conflict` before the model is [`ready`](Self::ready).
    pub fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        self.loaded()?.count_tokens(role, text)
    }

    /// The most tokens of a text; longer ones are cut.
    ///
    /// # Errors
    /// `conflict` before the model is [`ready`](Self::ready).
    pub fn window(&self) -> Result<usize> {
        Ok(self.loaded()?.tokeniser.window())
    }

    fn loaded(&self) -> Result<&Model> {
        let conflict = || Error::new(crate::ErrorKind::Conflict, "the model is not loaded yet; await `ready` first");
        self.worker.loaded().ok_or_else(conflict)
    }

    async fn work(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.worker.ready(cx).await?.check(&request)?;
        let (reply, answer) = oneshot::channel();
        self.worker.submit(cx, Job { cx: cx.clone(), request, reply }).await?;
        answer.await.map_err(|_| thread_lost())?
    }

    fn own(&self, error: Error) -> Error {
        error.with_backend(&*self.info.backend).with_operation(Operation::Embed)
    }
}

#[deny(clippy::missing_trait_methods)]
impl Embedder for LocalEmbedder {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        self.worker.loaded().map_or(&self.expected, |model| &model.space)
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        request.check(None)?;
        cx.guard(self.work(cx, request)).await.map_err(|error| self.own(error))
    }
}

/// Where and how the model computes.
fn place(config: &LocalConfig) -> Result<Place> {
    let device: DeviceChoice = config.device.as_deref().unwrap_or("auto").parse()?;
    let precision: PrecisionChoice = config.precision.as_deref().unwrap_or("auto").parse()?;
    Place::open(device, precision)
}

fn files(reference: &ModelReference) -> Result<ModelFiles> {
    match reference {
        ModelReference::Folder(folder) => ModelFiles::in_folder(folder),
        other => Err(Error::unsupported(format!("`{other}` is not supported yet"))),
    }
}
