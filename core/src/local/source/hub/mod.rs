//! Models from the Hub, through the same cache as Python's `huggingface_hub`: either finds what the other fetched.
//!
//! Files appear in a snapshot once they are complete and verified, the weights last. Until then they are `.incomplete`
//! blobs, from which a later call resumes.

use std::collections::BTreeSet;
use std::path::Path;

use crate::context::Context;
use crate::env::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::local::source::{MODEL_INDEX, ModelFiles, samples};

mod cache;
mod client;
mod disk;
mod download;
#[cfg(test)]
mod failure_tests;
mod partial;
mod plan;
mod refusal;
mod settings;
#[cfg(test)]
mod test_server;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use cache::CachedRepository;
pub(crate) use cache::is_commit;
use client::{Listing, Remote};
use download::{Failures, FileDownload};
use plan::{Contents, Plan};
use settings::Settings;
pub(super) use settings::cache_home;

/// The branch of references without a revision.
const MAIN: &str = "main";

/// The Hub and the cache on this machine, as the environment names them.
#[derive(Clone, Debug)]
pub(crate) struct Hub {
    settings: Settings,
    /// Which GGUF file of a repository is wanted, by a part of its name; else its safetensors or pickles.
    gguf: Option<String>,
    /// Whether the safety checker of a diffusers repository is wanted.
    has_safety: bool,
}

/// What the cache has of a model.
enum Found {
    /// All files.
    Whole(ModelFiles),
    /// All files that are known to exist; `names` may exist too, and would change how the model is used.
    Unsure { files: ModelFiles, names: Vec<String>, is_whole_repository: bool },
    /// Not all files, and why.
    Lacking(String),
}

impl Hub {
    /// The Hub that the environment names: `HF_ENDPOINT`, `HF_HOME`, `HF_HUB_CACHE`, `XDG_CACHE_HOME`, `HF_TOKEN`,
    /// `HF_TOKEN_PATH`, `HF_HUB_OFFLINE`, with the meaning that they have in Python.
    ///
    /// # Errors
    /// `config_invalid` if there is no folder for models.
    pub(crate) fn from_env(env: &Environment) -> Result<Self> {
        Ok(Self { settings: Settings::from_env(env)?, gguf: None, has_safety: false })
    }

    /// The same for one GGUF file of a repository.
    pub(crate) fn with_gguf(self, gguf: Option<String>) -> Self {
        Self { gguf, ..self }
    }

    /// The same, with or without the safety checker of a diffusers repository.
    pub(crate) fn with_safety(self, has_safety: bool) -> Self {
        Self { has_safety, ..self }
    }

    /// The files that are needed of a repository.
    fn plan(&self, contents: &Contents<'_>) -> Result<Plan> {
        match &self.gguf {
            variant if contents.names.contains(MODEL_INDEX) => {
                contents.diffusion_plan(variant.as_deref(), self.has_safety)
            }
            Some(gguf) => contents.gguf_plan(gguf),
            None => contents.plan(),
        }
    }

    /// A model's files in a folder, by what was planned.
    fn files_of(&self, folder: &Path, plan: &Plan) -> Result<ModelFiles> {
        let files = ModelFiles::in_folder(folder)?;
        let names_weights = self.gguf.is_some() && !plan.files.iter().any(|name| name == MODEL_INDEX);
        Ok(match plan.files.first().filter(|_| names_weights) {
            Some(weights) => files.with_weights(weights),
            None => files,
        })
    }

    /// Whether no socket may be opened.
    pub(crate) fn is_offline(&self) -> bool {
        self.settings.offline
    }

    /// A model that is in the cache with all files that it needs. Uses no network: for a branch it is the commit that was
    /// fetched last.
    pub(crate) fn cached(&self, id: &str, revision: Option<&str>) -> Option<ModelFiles> {
        match self.find(id, revision.unwrap_or(MAIN)) {
            Found::Whole(files) => Some(files),
            // Offline the Hub can't be asked. A cache with the file that only a download of the whole repository
            // brings has every file.
            Found::Unsure { files, is_whole_repository: true, .. } if self.settings.offline => Some(files),
            Found::Unsure { .. } | Found::Lacking(_) => None,
        }
    }

    /// The error of a model that is not in the cache while offline.
    pub(crate) fn not_cached(&self, id: &str, revision: Option<&str>) -> Error {
        let revision = revision.unwrap_or(MAIN);
        let why = match self.find(id, revision) {
            Found::Lacking(why) => why,
            Found::Unsure { names, .. } => {
                format!("it is not certain that the model has no {}", names.join(", "))
            }
            Found::Whole(_) => "it was completed just now: try again".to_owned(),
        };
        let text = format!(
            "HF_HUB_OFFLINE is set and '{id}' (revision {revision}) is not whole in the cache {}: {why}. Fetch it \
             once without HF_HUB_OFFLINE, or set HF_HOME to where it is{}",
            self.settings.cache.display(),
            samples::advice()
        );
        Error::new(ErrorKind::Offline, text)
    }

    /// A model's files at the current commit of a revision; what the cache lacks is fetched.
    ///
    /// Writes and hashes what arrives on the thread that polls it. Run it on a thread of its own with a current-thread
    /// runtime, as the loader does.
    ///
    /// # Errors
    /// `offline` without opening a socket if `HF_HUB_OFFLINE` is set and the cache lacks something;
    /// `unauthenticated`, `permission_denied`, `not_found`, `rate_limited`, `unavailable`, `timeout`, `interrupted`
    /// as the Hub and the network fail; `model_load` if the cache cannot be written, the disk is full, a file came
    /// damaged, or the repository has no weights that can be read.
    pub(crate) async fn fetch(&self, cx: &Context, id: &str, revision: Option<&str>) -> Result<ModelFiles> {
        if self.settings.offline {
            return self.cached(id, revision).ok_or_else(|| self.not_cached(id, revision));
        }
        let revision = revision.unwrap_or(MAIN);
        let remote = Remote::new(&self.settings.endpoint, self.settings.token()?.as_ref(), id)?;
        let repository = CachedRepository::new(&self.settings.cache, id);
        let listing = list(cx, &remote, revision).await?;
        let commit = listing.commit.clone();
        let plan = self.complete(cx, &remote, &repository, &listing).await?;
        for name in &plan.absent {
            repository.note_absent(&commit, name);
        }
        // Until the new commit is complete, the branch stays at the old one.
        if revision != commit {
            repository.set_commit(revision, &commit)?;
        }
        let files = self.files_of(&repository.snapshot(&commit), &plan)?;
        Ok(files.named(id, Some(commit)))
    }

    /// Fetches the missing files of a commit: first those that name others, last the weights.
    async fn complete(
        &self,
        cx: &Context,
        remote: &Remote,
        repository: &CachedRepository,
        listing: &Listing,
    ) -> Result<Plan> {
        let commit = listing.commit.as_str();
        let names: BTreeSet<String> = listing.files.keys().cloned().collect();
        let get = async |name: &str| match listing.files.get(name) {
            Some(entry) => FileDownload { remote, repository, commit, name }.run(cx, entry).await,
            None => Ok(()),
        };
        for name in plan::naming(&names) {
            get(name).await?;
        }
        let read = |name: &str| read_from(repository, commit, name);
        let plan = self.plan(&Contents { names: &names, read: &read })?;
        for name in &plan.files {
            get(name).await?;
        }
        Ok(plan)
    }

    /// What the cache holds of a model.
    fn find(&self, id: &str, revision: &str) -> Found {
        let repository = CachedRepository::new(&self.settings.cache, id);
        let lacking = Found::Lacking;
        let Some(commit) = repository.commit(revision) else {
            return lacking("this revision was never fetched".to_owned());
        };
        let folder = repository.snapshot(&commit);
        let present = repository.present(&commit);
        let listing = repository.listing(&commit);
        let names = listing.as_ref().unwrap_or(&present);
        let read = |name: &str| read_from(&repository, &commit, name);
        let plan = match self.plan(&Contents { names, read: &read }) {
            Ok(plan) => plan,
            Err(error) => return lacking(error.message().to_owned()),
        };
        let Ok(files) = self.files_of(&folder, &plan) else {
            return lacking(format!("there is no folder {}", folder.display()));
        };
        let missing: Vec<String> = plan.files.into_iter().filter(|name| !present.contains(name)).collect();
        if !missing.is_empty() {
            return lacking(format!("{} is missing in {}", missing.join(", "), folder.display()));
        }
        let unsure = plan.absent.into_iter().filter(|name| !repository.is_absent(&commit, name));
        let unsure: Vec<String> = unsure.filter(|_| listing.is_none()).collect();
        let files = files.named(id, Some(commit));
        match unsure.is_empty() {
            true => Found::Whole(files),
            false => Found::Unsure {
                files,
                names: unsure,
                is_whole_repository: present.contains(".gitattributes"),
            },
        }
    }
}

/// A file of a commit, if it is here.
fn read_from(repository: &CachedRepository, commit: &str, name: &str) -> Result<Option<Vec<u8>>> {
    match ModelFiles::in_folder(&repository.snapshot(commit)) {
        Ok(files) => files.read(name),
        Err(_) => Ok(None),
    }
}

async fn list(cx: &Context, remote: &Remote, revision: &str) -> Result<Listing> {
    let mut failures = Failures::default();
    loop {
        match remote.list(cx, revision).await {
            Ok(listing) => return Ok(listing),
            Err(error) => failures.wait_after(cx, error).await?,
        }
    }
}
