//! What turns a local model into an [`Embedder`]: repositories, tokens, batches, pooling.

mod batches;
mod decoders;
mod fingerprint;
mod model;
mod parity;
mod pooling;
mod repository;

use std::sync::{Arc, OnceLock};

use model::Model;
use repository::Repository;

use super::LocalEmbedderConfig;
use super::models::text_architectures;
use super::ops::{Device, DeviceChoice, PrecisionChoice};
use super::runtime::{Worker, log_loaded};
use super::source::{DUAL_TYPES, Located, locate};
use super::vision::Limits;
use crate::context::Context;
use crate::embed::{EmbedRequest, EmbedResponse, EmbedRole, Embedder, EmbeddingSpace, Parity};
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::info::BackendInfo;
use crate::transport::Transport;

/// The architectures of embedding models that run in this process, as `model_type` names them: those of texts, then those
/// of texts and images.
pub fn embedding_architectures() -> Vec<&'static str> {
    text_architectures().chain(DUAL_TYPES).collect()
}

/// An embedding model in this process.
///
/// It loads in the background; calls wait for it. Any number of callers share it: what they ask for at the same time
/// is computed together, and a vector has the same bits whatever it is computed with. Dropping a call's future, or
/// cancelling it, ends its work after the batch in hand.
#[derive(Debug)]
pub struct LocalEmbedder {
    /// What is known before the model is loaded, like the two below.
    info: BackendInfo,
    /// The space by the configuration files alone.
    expected: EmbeddingSpace,
    /// The space with its fingerprint, once it was asked for, where the files are on this machine.
    identified: OnceLock<EmbeddingSpace>,
    repository: Option<Repository>,
    worker: Worker<Model>,
    /// What it was opened with, to open it in another precision too.
    config: LocalEmbedderConfig,
    env: Environment,
}

impl LocalEmbedder {
    /// Starts to load a model. What can be known without loading is checked here.
    ///
    /// # Errors
    /// `config_invalid` for a model, device or precision that is misspelt; `model_load` for files on this machine
    /// that make no model; `device_unavailable`.
    pub fn open(config: &LocalEmbedderConfig, env: &Environment) -> Result<Self> {
        Self::open_over(config, env, None)
    }

    /// The same, with a transport for downloads.
    pub(crate) fn open_over(
        config: &LocalEmbedderConfig,
        env: &Environment,
        transport: Option<&Arc<dyn Transport>>,
    ) -> Result<Self> {
        config.source.check()?;
        let device = device(config, env)?;
        let (dimensions, pooling) = (config.dimensions, config.pooling);
        if dimensions == Some(0) {
            return Err(Error::config("`dimensions` is 0; a vector needs at least one number"));
        }
        let limits = Limits::new(config.max_image_pixels, env)?;
        let copies = config.source.copies_weights()?;
        let located = locate(&config.source, env)?;
        let named = Named(config.space.clone());
        let (repository, expected) = match &located {
            // Read now, so that what is wrong with the files is an error of opening.
            Located::Local(files) => {
                let files = files.clone().with_copied_weights(copies);
                let repository = Repository::read(&files, named.model(), pooling)?;
                let space =
                    repository.space(dimensions.or(repository.truncate_dim).or_else(|| repository.width()));
                (Some(repository), space)
            }
            // Nothing compares with the revision of a branch that is not fetched: it may be any commit.
            Located::Remote(model) => {
                let space = EmbeddingSpace::new(model.id.as_str()).with_revision(model.expected_revision());
                (None, space.with_dimensions(dimensions).completed())
            }
        };
        let expected = named.space(expected)?;
        let info = info_of(&expected.model, &device, repository.as_ref());
        let verify = config.verify.then(|| config.source.precision.as_deref().unwrap_or("auto") == "auto");
        let transport = transport.cloned();
        let (local, name) = (repository.clone(), expected.model.clone());
        let load = move |cx: &Context| {
            let cx = &cx.clone().with_default_transport(transport.as_ref());
            let repository = match &local {
                Some(repository) => repository.clone(),
                None => {
                    let files = located.files(cx)?.with_copied_weights(copies);
                    Repository::read(&files, named.model(), pooling)?
                }
            };
            let mut model = match verify {
                Some(is_auto) => parity::load(cx, &repository, &device, (dimensions, limits), is_auto)?,
                None => Model::load(&repository, &device, dimensions, limits)?,
            };
            model.space = named.space(model.space.with_fingerprint(repository.fingerprint()?))?;
            model.info = info_of(&name, model.device(), Some(&repository));
            log_loaded(&model.info);
            Ok(model)
        };
        let worker = Worker::start(expected.model.clone(), load)?;
        let (config, env, identified) = (config.clone(), env.clone(), OnceLock::new());
        Ok(Self { info, expected, identified, repository, worker, config, env })
    }

    /// The space of a model that is not loaded yet, with its fingerprint where the files are here.
    fn space_before_loading(&self) -> &EmbeddingSpace {
        let Some(repository) = &self.repository else { return &self.expected };
        self.identified.get_or_init(|| {
            let named = Named(self.config.space.clone());
            let fingerprint = repository.fingerprint();
            let space =
                fingerprint.and_then(|print| named.space(self.expected.clone().with_fingerprint(print)));
            // What is wrong with the files fails the loading, which says so.
            space.unwrap_or_else(|_| self.expected.clone())
        })
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
            (model.device().precision, model.takes_images())
        };
        let probes = parity::probes(takes_images);
        let request = EmbedRequest::new(probes.iter().map(|(_, input)| input.clone()));
        let exact = reference.embed(cx, request.clone()).await?.vectors;
        drop(reference);
        let own = self.embed(cx, request).await?.vectors;
        Ok(parity::measure(precision, &probes, &own, &exact))
    }

    fn loaded(&self) -> Result<&Model> {
        let conflict = || Error::new(ErrorKind::Conflict, "the model is not loaded yet; await `ready` first");
        self.worker.loaded().ok_or_else(conflict)
    }

    async fn work(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        self.worker.ready(cx).await?.check(&request)?;
        self.worker.call(cx, request).await
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
}

#[deny(clippy::missing_trait_methods)]
impl Embedder for LocalEmbedder {
    fn info(&self) -> &BackendInfo {
        self.worker.loaded().map_or(&self.info, |model| &model.info)
    }

    fn space(&self) -> &EmbeddingSpace {
        self.worker.loaded().map_or_else(|| self.space_before_loading(), |model| &model.space)
    }

    async fn embed(&self, cx: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        request.check(None)?;
        cx.guard(self.work(cx, request)).await.map_err(|error| self.named_if_late(error))
    }

    /// The context's sink hears how far the loading is.
    async fn ready(&self, cx: &Context) -> Result<()> {
        cx.guard(self.worker.ready(cx)).await.map(|_| ()).map_err(|error| self.named_if_late(error))
    }

    fn window(&self) -> Option<usize> {
        self.worker.loaded().map(|model| model.tokenizer.window())
    }

    fn count_tokens(&self, role: Option<EmbedRole>, text: &str) -> Result<usize> {
        self.loaded()?.count_tokens(role, text)
    }

    fn tokens(&self, text: &str) -> Result<Vec<u32>> {
        self.loaded()?.tokens(text)
    }

    fn text_of_tokens(&self, tokens: &[u32]) -> Result<String> {
        self.loaded()?.text_of_tokens(tokens)
    }

    async fn verify(&self, cx: &Context) -> Result<Parity> {
        Self::verify(self, cx).await
    }
}

/// Who computes, as far as it is known.
fn info_of(model: &str, device: &Device, repository: Option<&Repository>) -> BackendInfo {
    let info = BackendInfo::new("local", model)
        .with_device(device.name())
        .with_precision(device.precision.name(), device.precision_reason);
    match repository {
        Some(repository) => info.with_prompts(repository.prompt_origin.name()),
        None => info,
    }
}

/// The name that the configuration gives a space.
struct Named(Option<EmbeddingSpace>);

impl Named {
    /// The model that the configuration says it is.
    fn model(&self) -> Option<&str> {
        self.0.as_ref().map(|space| space.model.as_str()).filter(|model| !model.is_empty())
    }

    /// # Errors
    /// `config_invalid` naming the fields in which the configuration and the files do not agree.
    fn space(&self, own: EmbeddingSpace) -> Result<EmbeddingSpace> {
        self.0.as_ref().map_or(Ok(own.clone()), |declared| own.declared_as(declared))
    }
}

/// Where and how the model computes.
fn device(config: &LocalEmbedderConfig, env: &Environment) -> Result<Device> {
    let device: DeviceChoice = config.source.device.as_deref().unwrap_or("auto").parse()?;
    let precision: PrecisionChoice = config.source.precision.as_deref().unwrap_or("auto").parse()?;
    Device::open(device, precision, env)
}
