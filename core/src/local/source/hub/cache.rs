//! One repository in the cache, laid out as Python's `huggingface_hub` lays it out: each content once under its
//! hash in `blobs`, each commit a folder of links in `snapshots`, each branch or tag a commit in `refs`.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::io::{self, ErrorKind as Io};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::disk;
use crate::context::{Context, Progress};
use crate::error::Result;

/// How often to look at a lock that somebody else holds.
const LOCK_POLL_INTERVAL: Duration = Duration::from_millis(50);

/// How many polls pass between two reports of waiting.
const POLLS_PER_REPORT: u32 = 20;

/// A repository's part of the cache.
#[derive(Clone, Debug)]
pub(super) struct CachedRepository {
    cache: PathBuf,
    folder: PathBuf,
    locks: PathBuf,
}

/// The lock of one content. Released when dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// The list of a commit's files that newer versions of Python's library leave beside a snapshot.
#[derive(Deserialize)]
struct Tree {
    format_version: u32,
    files: std::collections::BTreeMap<String, serde::de::IgnoredAny>,
}

/// The version of [`Tree`] that is known.
const TREE_VERSION: u32 = 1;

impl CachedRepository {
    /// The folder of `id` (`org/name`) in a cache.
    pub(super) fn new(cache: &Path, id: &str) -> Self {
        let name = format!("models--{}", id.replace('/', "--"));
        Self { folder: cache.join(&name), locks: cache.join(".locks").join(&name), cache: cache.to_owned() }
    }

    /// The cache that this is a part of.
    pub(super) fn cache(&self) -> &Path {
        &self.cache
    }

    /// The commit of a revision when it was last fetched.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = fs::read_to_string(self.folder.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_plain_name(commit))
    }

    /// Records the current commit of a revision. Call it when the commit's files are complete.
    pub(super) fn set_commit(&self, revision: &str, commit: &str) -> Result<()> {
        if self.commit(revision).as_deref() == Some(commit) {
            return Ok(());
        }
        let path = self.folder.join("refs").join(revision);
        let written = self.folder_of(&path).and_then(|()| {
            let fresh = beside(&path, "tmp");
            fs::write(&fresh, commit)?;
            fs::rename(&fresh, &path)
        });
        written.map_err(|error| disk::unwritable(&self.cache, error))
    }

    /// The folder of a commit's files.
    pub(super) fn snapshot(&self, commit: &str) -> PathBuf {
        self.folder.join("snapshots").join(commit)
    }

    /// The names of a commit's files that are in the cache.
    pub(super) fn present(&self, commit: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        collect(&self.snapshot(commit), "", &mut names);
        names
    }

    /// The names of all files of a commit, if Python's library has left a list of them.
    pub(super) fn listing(&self, commit: &str) -> Option<BTreeSet<String>> {
        let text = fs::read(self.folder.join("trees").join(format!("{commit}.json"))).ok()?;
        let tree: Tree = serde_json::from_slice(&text).ok()?;
        (tree.format_version == TREE_VERSION).then(|| tree.files.into_keys().collect())
    }

    /// Whether it is known that a commit has no such file.
    pub(super) fn is_absent(&self, commit: &str, name: &str) -> bool {
        self.folder.join(".no_exist").join(commit).join(name).exists()
    }

    /// Records that a commit has no such file. It only saves a request to the Hub, so failures are ignored.
    pub(super) fn note_absent(&self, commit: &str, name: &str) {
        let path = self.folder.join(".no_exist").join(commit).join(name);
        if !path.exists() && self.folder_of(&path).is_ok() {
            let _ = File::create(path);
        }
    }

    /// The path of a content once it is complete.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(etag)
    }

    /// The path of a content while it is downloaded.
    pub(super) fn partial(&self, etag: &str) -> PathBuf {
        self.folder.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Whether a content is in the cache, with the expected size.
    pub(super) fn has_blob(&self, etag: &str, size: Option<u64>) -> bool {
        let found = fs::metadata(self.blob(etag)).ok().filter(fs::Metadata::is_file);
        found.is_some_and(|found| size.is_none_or(|size| found.len() == size))
    }

    /// Whether a file of a commit is in the cache.
    pub(super) fn has(&self, commit: &str, name: &str) -> bool {
        self.snapshot(commit).join(name).is_file()
    }

    /// Links a content into a commit's folder.
    pub(super) fn link(&self, etag: &str, commit: &str, name: &str) -> Result<()> {
        let path = self.snapshot(commit).join(name);
        let up = "../".repeat(2 + Path::new(name).components().count() - 1);
        let linked = self.folder_of(&path).and_then(|()| {
            let fresh = beside(&path, "link");
            match symlink(Path::new(&format!("{up}blobs/{etag}")), &fresh) {
                Ok(()) => {}
                // Without permission for symbolic links, a hard link or a copy serves as well.
                Err(_) => fs::hard_link(self.blob(etag), &fresh)
                    .or_else(|_| fs::copy(self.blob(etag), &fresh).map(drop))?,
            }
            fs::rename(&fresh, &path)
        });
        linked.map_err(|error| disk::unwritable(&self.cache, error))
    }

    /// Creates the folders for downloads and locks.
    pub(super) fn make_folders(&self) -> Result<()> {
        let folders = [self.folder.join("blobs"), self.locks.clone()];
        let made = folders.iter().try_for_each(fs::create_dir_all);
        made.map_err(|error| disk::unwritable(&self.cache, error))
    }

    /// Waits until nobody else, in this process or another, fetches the same content.
    ///
    /// # Errors
    /// `model_load` if the cache cannot be written, and what stops the call.
    pub(super) async fn lock(&self, cx: &Context, etag: &str) -> Result<Lock> {
        self.make_folders()?;
        let path = self.locks.join(format!("{etag}.lock"));
        let start = cx.clock().now();
        let mut polls = 0;
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(|error| disk::unwritable(&self.cache, error))?;
            match file.try_lock() {
                // The last holder may have removed the file: a lock on a file without a name protects nothing.
                Ok(()) if is_still_at(&file, &path) => return Ok(Lock { _file: file }),
                Ok(()) => continue,
                Err(TryLockError::WouldBlock) => {}
                // Without locks two processes may fetch the same bytes twice; both end up with a complete file.
                Err(TryLockError::Error(error)) if error.kind() == Io::Unsupported => {
                    return Ok(Lock { _file: file });
                }
                Err(TryLockError::Error(error)) => return Err(disk::unwritable(&self.cache, error)),
            }
            polls += 1;
            if polls % POLLS_PER_REPORT == 0 {
                cx.report(|| Progress::Waiting {
                    reason: "another process or task is fetching the same file".to_owned(),
                    elapsed: cx.clock().now().saturating_duration_since(start),
                });
            }
            cx.sleep(LOCK_POLL_INTERVAL).await?;
        }
    }

    fn folder_of(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(&self.folder))
    }
}

/// Whether a revision is the full hash of a commit, which never changes.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether a name from a server can be one component of a path.
pub(super) fn is_plain_name(name: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    !name.is_empty() && name.len() <= 128 && !name.starts_with('.') && name.chars().all(is_plain)
}

/// A path next to `path` that no other process or task uses.
fn beside(path: &Path, ending: &str) -> PathBuf {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}-{number}.{ending}", std::process::id()));
    path.with_file_name(name)
}

/// Adds the files under a folder, without broken links.
fn collect(folder: &Path, prefix: &str, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        let (name, path) = (format!("{prefix}{name}"), entry.path());
        match fs::metadata(&path) {
            Ok(found) if found.is_dir() => collect(&path, &format!("{name}/"), names),
            Ok(_) => drop(names.insert(name)),
            Err(_) => {}
        }
    }
}

#[cfg(unix)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, link)
}

#[cfg(windows)]
fn symlink(target: &Path, link: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target.to_string_lossy().replace('/', "\\"), link)
}

#[cfg(not(any(unix, windows)))]
fn symlink(_: &Path, _: &Path) -> io::Result<()> {
    Err(Io::Unsupported.into())
}

#[cfg(unix)]
fn is_still_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |found: fs::Metadata| (found.dev(), found.ino());
    file.metadata().ok().map(identity) == fs::metadata(path).ok().map(identity)
}

#[cfg(not(unix))]
fn is_still_at(_: &File, _: &Path) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_lie_where_python_polls_for_them() {
        let cache = tempfile::tempdir().unwrap();
        let repository = CachedRepository::new(cache.path(), "org/name");
        let commit = "0123456789012345678901234567890123456789";
        repository.make_folders().unwrap();
        fs::write(repository.blob("abc"), "x").unwrap();
        repository.link("abc", commit, "1_Pooling/config.json").unwrap();
        repository.link("abc", commit, "config.json").unwrap();
        repository.set_commit("refs/pr/1", commit).unwrap();
        repository.note_absent(commit, "modules.json");
        let root = cache.path().join("models--org--name");
        let link = |name: &str| fs::read_link(root.join("snapshots").join(commit).join(name)).unwrap();
        assert_eq!(link("config.json"), Path::new("../../blobs/abc"));
        assert_eq!(link("1_Pooling/config.json"), Path::new("../../../blobs/abc"));
        assert_eq!(fs::read_to_string(root.join("refs/refs/pr/1")).unwrap(), commit);
        assert_eq!(repository.commit("refs/pr/1").as_deref(), Some(commit));
        assert!(root.join(".no_exist").join(commit).join("modules.json").is_file());
        let names = ["1_Pooling/config.json", "config.json"].map(str::to_owned);
        assert_eq!(repository.present(commit), BTreeSet::from(names));
        fs::remove_file(repository.blob("abc")).unwrap();
        assert_eq!(repository.present(commit), BTreeSet::new(), "links that lead nowhere are no files");
    }

    #[test]
    fn names_of_contents_are_plain() {
        for name in ["", "..", ".hidden", "a/b", "a b", "\"quoted\""] {
            assert!(!is_plain_name(name), "{name}");
        }
    }

    #[tokio::test]
    async fn a_lock_waits_for_its_holder_and_for_nobody_else() {
        let cache = tempfile::tempdir().unwrap();
        let repository = CachedRepository::new(cache.path(), "org/name");
        let cx = Context::new();
        let first = repository.lock(&cx, "a").await.unwrap();
        let other = repository.lock(&cx, "b").await.unwrap();
        let hurried = Context::new().with_timeout(Duration::from_millis(120));
        assert!(repository.lock(&hurried, "a").await.is_err());
        drop((first, other));
        repository.lock(&cx, "a").await.unwrap();
        assert!(cache.path().join(".locks/models--org--name/a.lock").is_file());
    }
}
