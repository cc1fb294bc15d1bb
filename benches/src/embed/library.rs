//! What does the works: our embedder, or another library in its place.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use ayni::local::LocalEmbedderConfig;
use ayni::{
    AnyEmbedder, Context, EmbedRequest, EmbedderConfig, Environment, Error, ErrorKind, ImageData, Vectors,
};
use tokio::runtime::Runtime;

use super::works::{Model, Task, Work};

/// A work, ready to be done again and again.
pub(super) type Once = Box<dyn FnMut() -> Result<Vectors, Error>>;

/// Who does works.
pub(super) trait Library {
    /// Loads what the work needs. `None` if the library does not do this work.
    fn prepare(&mut self, work: &Work) -> Result<Option<Once>, Error>;
}

/// Where the models are.
#[derive(Clone, Debug)]
pub(super) struct Folders {
    /// all-MiniLM-L6-v2.
    pub(super) minilm: PathBuf,
    /// What the peers' preparation makes: `clip/`, `images/`, `inputs.json`.
    pub(super) prepared: PathBuf,
}

impl Folders {
    fn of(&self, model: Model) -> PathBuf {
        match model {
            Model::MiniLm => self.minilm.clone(),
            Model::Clip => self.prepared.join("clip"),
        }
    }
}

/// Reads a file, naming it if that fails.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| Error::config(format!("could not read {}: {error}", path.display())))
}

/// Our embedder, as its user calls it: texts and encoded images in.
pub(super) struct Ours {
    precision: String,
    folders: Folders,
    runtime: Rc<Runtime>,
    embedders: HashMap<Model, AnyEmbedder>,
}

impl Ours {
    /// In `auto`, `f32`, `bf16` or `int8`.
    pub(super) fn new(precision: &str, folders: Folders) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| Error::config(format!("no runtime: {error}")))?;
        let precision = precision.to_owned();
        Ok(Self { precision, folders, runtime: Rc::new(runtime), embedders: HashMap::new() })
    }

    /// The embedder of this model, opened at the first call.
    pub(super) fn embedder(&mut self, model: Model) -> Result<AnyEmbedder, Error> {
        if let Some(embedder) = self.embedders.get(&model) {
            return Ok(embedder.clone());
        }
        let mut config = LocalEmbedderConfig::new(self.folders.of(model).display().to_string());
        config.source.precision = Some(self.precision.clone());
        let embedder = EmbedderConfig::from(config).open(&Environment::process())?;
        self.embedders.insert(model, embedder.clone());
        Ok(embedder)
    }

    /// What its calls run on.
    pub(super) fn runtime(&self) -> Rc<Runtime> {
        Rc::clone(&self.runtime)
    }

    /// Embeds.
    pub(super) fn embed(&mut self, model: Model, request: EmbedRequest) -> Result<Vectors, Error> {
        let embedder = self.embedder(model)?;
        let response = self.runtime.block_on(embedder.embed(&Context::new(), request))?;
        Ok(response.vectors)
    }

    fn request(&self, work: &Work) -> Result<EmbedRequest, Error> {
        if let Task::Texts(_) = work.task {
            return Ok(EmbedRequest::texts(work.texts()));
        }
        let images = self.folders.prepared.join("images");
        let read_one = |name| Ok(ImageData::with_media_type(read(&images.join(name))?, "image/bmp"));
        Ok(EmbedRequest::images(work.images().into_iter().map(read_one).collect::<Result<Vec<_>, Error>>()?))
    }
}

impl Library for Ours {
    fn prepare(&mut self, work: &Work) -> Result<Option<Once>, Error> {
        if matches!(work.task, Task::Preprocess) {
            return super::preprocess::prepare(&self.folders).map(Some);
        }
        let request = self.request(work)?;
        let embedder = self.embedder(work.model)?;
        let runtime = Rc::clone(&self.runtime);
        let response = runtime.block_on(embedder.embed(&Context::new(), request.clone()))?;
        check_lengths(work, response.usage.input_tokens, &response.truncated)?;
        Ok(Some(Box::new(move || {
            Ok(runtime.block_on(embedder.embed(&Context::new(), request.clone()))?.vectors)
        })))
    }
}

/// Fails if the embedder did not see what everybody else sees.
fn check_lengths(work: &Work, counted: Option<u64>, truncated: &[usize]) -> Result<(), Error> {
    let Task::Texts(lengths) = &work.task else { return Ok(()) };
    let expected = lengths.iter().sum::<usize>() as u64;
    match counted {
        Some(counted) if counted != expected => Err(Error::new(
            ErrorKind::Unexpected,
            format!("the texts of {} have {counted} tokens; they should have {expected}", work.name),
        )),
        _ if !truncated.is_empty() => {
            Err(Error::new(ErrorKind::Unexpected, format!("texts of {} were cut", work.name)))
        }
        _ => Ok(()),
    }
}
