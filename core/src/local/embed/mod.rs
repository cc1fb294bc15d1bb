//! What turns a local model into an [`Embedder`]: repositories, tokens, batches, pooling.

mod batches;
mod model;
mod parity;
mod pooling;
mod repository;

use std::borrow::Cow;

use tokio::sync::oneshot;

pub use parity::{Parity, ProbeParity};

use batches::Job;
use model::Model;
use repository::Repository;

use super::LocalConfig;
use super::ops::{Device, DeviceChoice, PrecisionChoice};
use super::runtime::{Worker, thread_lost};
use super::source::{Hub, Located, ModelFiles, ModelReference, Wanted, here, is_commit, locate};
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace};
use crate::env::Environment;
use crate::error::Operation;
use crate::error::{Error, ErrorKind, Result};
use crate::info::BackendInfo;

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
    /// What it was opened with, to open it in another precision too.
    config: LocalConfig,
    env: Environment,
}

impl LocalEmbedder {
    /// Starts to load a model. What can be known without loading is checked here.
    ///
    /// # Errors
    /// `config_invalid` for a model, device or precision that is misspelt; `model_load` for files on this machine
    /// that make no model; `device_unavailable`.
    pub fn open(config: &LocalConfig, env: &Environment) -> Result<Self> {
        let device = device(config, env)?;
        let reference: ModelReference = config.model.parse()?;
        let dimensions = config.dimensions;
        if dimensions == Some(0) {
            return Err(Error::config("`dimensions` is 0; a vector needs at least one number"));
        }
        let source = Source::find(&reference, env)?;
        let named = Named(config.space.clone());
        let expected = named.space(source.space(dimensions))?;
        let info = BackendInfo::new("local", expected.model.as_str()).with_device(device.name());
        let verify = config.verify.then(|| config.precision.as_deref().unwrap_or("auto") == "auto");
        let load = move |cx: &Context| {
            let repository = source.repository(cx)?;
            let mut model = match verify {
                Some(is_auto) => parity::load(cx, &repository, &device, dimensions, is_auto)?,
                None => Model::load(&repository, &device, dimensions)?,
            };
            model.space = named.space(model.space)?;
            Ok(model)
        };
        let worker = Worker::start(expected.model.clone(), load)?;
        Ok(Self { info, expected, worker, config: config.clone(), env: env.clone() })
    }

    /// Measures how near the vectors are to those that the same weights make in f32 on the CPU, on texts in several
    /// languages and, where the model takes them, images. Loads a second copy of the weights for that time.
    ///
    /// # Errors
    /// Those of loading and embedding. Vectors that are too far off are no error here: ask [`Parity::ensure`].
    pub async fn verify(&self, cx: &Context) -> Result<Parity> {
        self.ready(cx).await?;
        let config = self.config.clone().with_precision("f32").with_device("cpu").with_verify(false);
        let reference = Self::open(&config, &self.env)?;
        let (precision, takes_images) = {
            let model = self.loaded()?;
            (model.precision(), model.takes_images())
        };
        let probes = parity::probes(takes_images);
        let request = EmbedRequest::new(probes.iter().map(|(_, input)| input.clone()));
        let exact = reference.embed(cx, request.clone()).await?.vectors;
        drop(reference);
        let own = self.embed(cx, request).await?.vectors;
        Ok(Parity::measure(precision, &probes, &own, &exact))
    }

    /// Waits until the model is loaded; the context's sink hears how far it is.
    ///
    /// # Errors
    /// Those of loading: `model_load`, `out_of_memory`, those of the download.
    pub async fn ready(&self, cx: &Context) -> Result<()> {
        cx.guard(self.worker.ready(cx)).await.map(|_| ()).map_err(|error| self.own(self.named_if_late(error)))
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
        let conflict = || Error::new(ErrorKind::Conflict, "the model is not loaded yet; await `ready` first");
        self.worker.loaded().ok_or_else(conflict)
    }

    async fn work(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.worker.ready(cx).await?.check(&request)?;
        let (reply, answer) = oneshot::channel();
        self.worker.submit(cx, Job { cx: cx.clone(), request, reply }).await?;
        answer.await.map_err(|_| thread_lost())?
    }

    /// A deadline that passed before the model was loaded, told as that: the next call may well be in time.
    fn named_if_late(&self, error: Error) -> Error {
        let is_total =
            error.context().iter().any(|(name, value)| (*name, value.as_str()) == ("phase", "total"));
        if error.kind() != ErrorKind::Timeout || !is_total || self.worker.loaded().is_some() {
            return error;
        }
        let text = format!(
            "the deadline of the whole call has passed and {} is not loaded yet; loading goes on: await `ready` \
             before the first call, or give that more time",
            self.expected.model
        );
        Error::new(ErrorKind::Timeout, text)
            .with_persistence(error.persistence())
            .with_context("phase", "total")
            .with_sent(error.sent())
            .with_source(error)
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
        cx.guard(self.work(cx, request)).await.map_err(|error| self.own(self.named_if_late(error)))
    }
}

/// The name that the configuration gives a space.
struct Named(Option<EmbeddingSpace>);

impl Named {
    /// # Errors
    /// `config_invalid` naming the fields in which the configuration and the files do not agree.
    fn space(&self, own: EmbeddingSpace) -> Result<EmbeddingSpace> {
        self.0.as_ref().map_or(Ok(own.clone()), |declared| own.declared_as(declared))
    }
}

/// Where and how the model computes.
fn device(config: &LocalConfig, env: &Environment) -> Result<Device> {
    let device: DeviceChoice = config.device.as_deref().unwrap_or("auto").parse()?;
    let precision: PrecisionChoice = config.precision.as_deref().unwrap_or("auto").parse()?;
    Device::open(device, precision, env)
}

/// Where a model comes from.
enum Source {
    /// Files on this machine, read already.
    Here(Box<Repository>),
    /// The Hub.
    Hub { hub: Hub, id: String, revision: Option<String> },
}

impl Source {
    /// Looks for a model on this machine.
    fn find(reference: &ModelReference, env: &Environment) -> Result<Self> {
        let read = |files: &ModelFiles| Ok(Self::Here(Box::new(Repository::read(files)?)));
        if let ModelReference::File(file) = reference
            && file.extension().is_some_and(|ending| ending == "gguf")
        {
            return Err(Error::config("embedders are read from safetensors; a GGUF file is for chat models"));
        }
        if let Some(files) = here(reference)? {
            return read(&files);
        }
        let hub = Hub::from_env(env)?;
        match locate(reference, &hub, &Wanted::Model)? {
            Located::Here(files) => read(&files),
            Located::ToFetch { id, revision } => Ok(Self::Hub { hub, id, revision }),
        }
    }

    /// What is known of the space before the model is loaded.
    fn space(&self, dimensions: Option<usize>) -> EmbeddingSpace {
        match self {
            Self::Here(repository) => repository.space(dimensions.or_else(|| repository.width())),
            Self::Hub { id, revision, .. } => {
                // A branch is a commit that nobody knows yet: nothing may be taken for it before it is fetched.
                let wanted = revision.as_deref().unwrap_or("main");
                let revision =
                    if is_commit(wanted) { wanted.to_owned() } else { format!("{wanted}, not fetched yet") };
                EmbeddingSpace::new(id.as_str())
                    .with_revision(revision)
                    .with_dimensions(dimensions)
                    .completed()
            }
        }
    }

    /// The repository, fetched if it is not here. Blocks: for the model's own thread.
    fn repository(&self, cx: &Context) -> Result<Cow<'_, Repository>> {
        match self {
            Self::Here(repository) => Ok(Cow::Borrowed(repository)),
            Self::Hub { hub, id, revision } => {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                let runtime = runtime.map_err(|error| {
                    Error::new(ErrorKind::Unavailable, format!("no runtime for the download: {error}"))
                        .with_source(error)
                })?;
                let fetch = hub.fetch(cx, id, revision.as_deref(), &Wanted::Model);
                Ok(Cow::Owned(Repository::read(&runtime.block_on(fetch)?)?))
            }
        }
    }
}
