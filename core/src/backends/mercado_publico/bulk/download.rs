//! Downloading a month: only if it has changed, and from where an earlier call was interrupted.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use ::http::header::{ACCEPT_ENCODING, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::super::client::{MercadoPublico, NAME};
use super::super::fetch::exhausted;
use super::partial::PartialFile;
use super::{BulkSet, UnknownColumns};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::body::Body;
use crate::http::client::ApiReply;
use crate::http::{HeaderMap, HeaderText};
use crate::policy::backoff::{Backoff, wait_for_attempt};
use crate::procure::setters;
use crate::procure::store::update_document;
use crate::procure::{Month, Timestamp};
use crate::runtime::{self, run_blocking};

const MAX_ATTEMPTS: u32 = 4;
/// The waits before the next attempt.
static BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
/// How many chunks may wait to be written.
const MAX_QUEUED_CHUNKS: usize = 16;

/// The default of [`MonthRequest::most_bytes`].
const DEFAULT_MAX_BYTES: u64 = 2 << 30;

/// A month to download or import, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MonthRequest {
    /// The set.
    pub set: BulkSet,
    /// The month.
    pub month: Month,
    /// The folder for the file; by default one beside the lock file.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// The largest file to download, in bytes.
    #[serde(default = "most_bytes")]
    pub most_bytes: u64,
    /// Whether to download it even if it has not changed.
    #[serde(default)]
    pub anew: bool,
    /// What an import does with unknown columns.
    #[serde(default)]
    pub unknown_columns: UnknownColumns,
    /// Whether an import stores the whole text of each row, which takes four times the space.
    #[serde(default)]
    pub raw: bool,
    /// Whether an import keeps the file.
    #[serde(default)]
    pub keep_file: bool,
}

fn most_bytes() -> u64 {
    DEFAULT_MAX_BYTES
}

impl MonthRequest {
    /// A month of a set, only if it has changed.
    pub fn new(set: BulkSet, month: Month) -> Self {
        Self {
            set,
            month,
            folder: None,
            most_bytes: DEFAULT_MAX_BYTES,
            anew: false,
            unknown_columns: UnknownColumns::Refuse,
            raw: false,
            keep_file: false,
        }
    }

    setters! {
        /// Sets the folder for the file.
        with_folder: folder = some into PathBuf;
        /// Sets the largest file to download, in bytes.
        with_most_bytes: most_bytes = u64;
        /// Sets whether to download it even if it has not changed.
        with_anew: anew = bool;
        /// Sets what an import does with unknown columns.
        with_unknown_columns: unknown_columns = UnknownColumns;
        /// Sets whether an import stores the whole text of each row.
        with_raw: raw = bool;
        /// Sets whether an import keeps the file.
        with_keep_file: keep_file = bool;
    }
}

/// A downloaded month.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MonthFile {
    /// The path of the file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: u64,
    /// The service's ETag of this version.
    pub etag: Option<String>,
    /// The service's `Last-Modified` of this version.
    pub last_modified: Option<String>,
    /// The time as of which it is valid: when it was last changed, else when it was downloaded.
    pub as_of: Timestamp,
}

/// The result of a download.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Download {
    /// The file was downloaded.
    Fetched(MonthFile),
    /// The service has nothing newer. This is the file of an earlier call.
    Unchanged(MonthFile),
}

impl Download {
    /// The file.
    pub fn file(&self) -> &MonthFile {
        match self {
            Self::Fetched(file) | Self::Unchanged(file) => file,
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) etag: Option<String>,
    pub(super) last_modified: Option<String>,
}

impl Version {
    fn of(headers: &HeaderMap) -> Self {
        let field = |name: &str| headers.text(name).map(str::to_owned).filter(|value| value.len() <= 256);
        Self { etag: field("ETag"), last_modified: field("Last-Modified") }
    }

    /// The ETag, if it is strong: only that guarantees that the bytes are the same, so that a download can be resumed.
    fn strong_etag(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }
}

impl MercadoPublico {
    /// Downloads a month's file, unless the one of an earlier call is still there and has not changed. After an error or a
    /// cancellation, the next call resumes the download.
    ///
    /// # Errors
    /// `not_found` if the service does not have the month; `response_invalid` if the file is larger than
    /// [`most_bytes`](MonthRequest::most_bytes); `conflict` if another call is downloading it; errors of the network and
    /// the disk.
    pub async fn download_month(&self, cx: &Context, request: &MonthRequest) -> Result<Download> {
        let store = self.store().await?;
        let name = format!("month-file/{}/{}", request.set.as_str(), request.month);
        let known = store.document(&name).await?;
        let known: Option<MonthFile> = known.and_then(|document| serde_json::from_slice(&document.body).ok());
        let existing = match known {
            Some(file) if !request.anew && file.path == self.month_path(request) => {
                if_unchanged(file).await?
            }
            _ => None,
        };
        let version = existing
            .as_ref()
            .map(|file| Version { etag: file.etag.clone(), last_modified: file.last_modified.clone() });
        match (self.fetch_month(cx, request, version.as_ref()).await?, existing) {
            (Some(file), _) => {
                let body = serde_json::to_vec(&file).map_err(thread_failed)?;
                update_document(&*store, &name, |_| Ok((Some(body.clone()), ()))).await?;
                Ok(Download::Fetched(file))
            }
            (None, Some(file)) => Ok(Download::Unchanged(file)),
            (None, None) => Err(Error::response_invalid(
                "the service says that the file is unchanged, but no version was sent",
            )),
        }
    }

    fn month_path(&self, request: &MonthRequest) -> PathBuf {
        let folder = request.folder.clone().unwrap_or_else(|| self.0.months_dir.clone());
        folder.join(format!("{}-{}.zip", request.set.as_str(), request.month))
    }

    /// Downloads a month unless it still has this version.
    pub(super) async fn fetch_month(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
    ) -> Result<Option<MonthFile>> {
        let named = |error: Error| error.with_operation(request.set.operation()).with_backend(NAME);
        let path = self.month_path(request);
        let partial = run_blocking(move || PartialFile::open(&path)).await.map_err(named)?;
        self.download_missing(cx, request, version, partial).await.map_err(named)
    }

    /// Downloads what is missing, in several attempts if needed.
    async fn download_missing(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
        mut partial: PartialFile,
    ) -> Result<Option<MonthFile>> {
        let mut attempt = 1;
        loop {
            let (back, outcome) = self.receive_once(cx, request, version, partial).await?;
            partial = back;
            let error = match outcome {
                Ok(Some(version)) => return self.finish(cx, partial, version).await.map(Some),
                Ok(None) => {
                    run_blocking(move || partial.discard_if_empty()).await?;
                    return Ok(None);
                }
                Err(error) => error,
            };
            let may_retry = error.is_temporary() && attempt < MAX_ATTEMPTS;
            let wait = BACKOFF.wait_after(&error, attempt, cx).ok().filter(|_| may_retry);
            let Some(wait) = wait else {
                run_blocking(move || partial.discard_if_empty()).await?;
                return Err(exhausted(error, attempt));
            };
            attempt += 1;
            wait_for_attempt(cx, attempt, error.kind(), wait).await?;
        }
    }

    async fn finish(&self, cx: &Context, partial: PartialFile, version: Version) -> Result<MonthFile> {
        let (path, bytes) = run_blocking(move || partial.finish()).await?;
        let changed = version.last_modified.as_deref().and_then(|text| httpdate::parse_http_date(text).ok());
        let as_of =
            changed.filter(|time| *time > UNIX_EPOCH).map_or_else(|| self.now(cx), Timestamp::of_system_time);
        let Version { etag, last_modified } = version;
        Ok(MonthFile { path, bytes, etag, last_modified, as_of })
    }

    /// One attempt. Returns the partial file and the version of which it is now complete; `None` if the service has nothing
    /// newer.
    async fn receive_once(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
        mut partial: PartialFile,
    ) -> Result<(PartialFile, Result<Option<Version>>)> {
        let reply = match self.request_month(cx, request, version, &partial).await {
            Ok(reply) => reply,
            Err(error) => match error.http_status() {
                Some(304) => return Ok((partial, Ok(None))),
                Some(404) => return Ok((partial, Err(missing_month(request, error)))),
                // There is more of it here than the service has, so it is of another version.
                Some(416) => {
                    partial = run_blocking(move || partial.restart(None)).await?;
                    let error =
                        Error::new(ErrorKind::Interrupted, "the file changed while it was downloaded");
                    return Ok((partial, Err(error.with_sent(Sent::Yes))));
                }
                _ => return Ok((partial, Err(error))),
            },
        };
        let new_version = Version::of(&reply.headers);
        let size = match (reply.status, content_range(&reply.headers)) {
            (206, Some((from, size))) if from == partial.len() => size,
            (206, _) => {
                let error =
                    Error::response_invalid("the service sent another range of the file than requested");
                return Ok((partial, Err(error)));
            }
            _ => {
                let strong_etag = new_version.strong_etag().map(str::to_owned);
                partial = run_blocking(move || partial.restart(strong_etag)).await?;
                content_length(&reply.headers)
            }
        };
        if size.is_some_and(|size| size > request.most_bytes) {
            return Ok((partial, Err(too_large(request))));
        }
        let mut receiver = ChunkReceiver { cx, request, size, name: reported_name(request) };
        let (partial, outcome) = receiver.run(partial, reply.value).await?;
        Ok((partial, outcome.map(|()| Some(new_version))))
    }

    async fn request_month(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
        partial: &PartialFile,
    ) -> Result<ApiReply<Body>> {
        let mut call = self.0.bulk.get(&request.set.path(request.month)).accept("application/zip, */*;q=0.5");
        // Ranges must count the bytes of the file, not of a compressed form.
        call = call.header(ACCEPT_ENCODING, "identity").max_body(usize::MAX);
        if let Some(version) = version {
            call = match (&version.etag, &version.last_modified) {
                (Some(etag), _) => call.header(IF_NONE_MATCH, etag),
                (None, Some(changed)) => call.header(IF_MODIFIED_SINCE, changed),
                (None, None) => call,
            };
        }
        if let Some(etag) = partial.etag() {
            call = call.header(RANGE, &format!("bytes={}-", partial.len())).header(IF_RANGE, etag);
        }
        call.send(cx).await
    }
}

struct ChunkReceiver<'a> {
    cx: &'a Context,
    request: &'a MonthRequest,
    size: Option<u64>,
    name: String,
}

impl ChunkReceiver<'_> {
    /// Receives chunks and sends them to a thread that writes them.
    async fn run(&mut self, partial: PartialFile, body: Body) -> Result<(PartialFile, Result<()>)> {
        let (sender, receiver) = mpsc::channel(MAX_QUEUED_CHUNKS);
        let existing = partial.len();
        let writer = runtime::current()?.spawn_blocking(move || partial.write_all(receiver));
        let received = self.forward(body, existing, sender).await;
        let (partial, written) = writer.await.map_err(thread_failed)?;
        let missing = self.size.filter(|size| *size > partial.len());
        let outcome = written.and(received).and_then(|()| match missing {
            None => Ok(()),
            Some(size) => Err(Error::new(
                ErrorKind::Interrupted,
                format!("the download ended after {} of {size} bytes", partial.len()),
            )
            .with_sent(Sent::Yes)),
        });
        Ok((partial, outcome))
    }

    async fn forward(&self, mut body: Body, mut done: u64, sender: mpsc::Sender<bytes::Bytes>) -> Result<()> {
        let mut reported = None;
        while let Some(chunk) = body.next(self.cx.clock().now()).await? {
            done += chunk.len() as u64;
            if done > self.request.most_bytes {
                return Err(too_large(self.request));
            }
            if sender.send(chunk).await.is_err() {
                // Writing failed. Its error is the outcome.
                return Ok(());
            }
            let now = self.cx.clock().now();
            let is_soon = |last| now.saturating_duration_since(last) < Duration::from_millis(100);
            if self.size == Some(done) || !reported.is_some_and(is_soon) {
                reported = Some(now);
                let (file, of) = (&self.name, self.size);
                self.cx.report(|| Progress::Download { file: file.clone(), done, of });
            }
        }
        Ok(())
    }
}

fn reported_name(request: &MonthRequest) -> String {
    request.set.path(request.month).trim_start_matches('/').to_owned()
}

fn too_large(request: &MonthRequest) -> Error {
    Error::response_invalid(format!(
        "the month's file is larger than `most_bytes`, which is {}",
        request.most_bytes
    ))
}

fn missing_month(request: &MonthRequest, error: Error) -> Error {
    let what = request.set.as_str().replace('_', " ");
    Error::new(ErrorKind::NotFound, format!("the service has no {what} of {}", request.month))
        .with_sent(Sent::Yes)
        .with_http_status(404)
        .with_source(error)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.text("Content-Length")?.trim().parse().ok()
}

/// `bytes 100-199/200`: the start of the range, and the size of the file.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.text("Content-Range")?.trim().strip_prefix("bytes ")?;
    let (part, size) = range.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, size.parse().ok()))
}

/// The file, if it is still there and has its size.
async fn if_unchanged(file: MonthFile) -> Result<Option<MonthFile>> {
    let (path, bytes) = (file.path.clone(), file.bytes);
    let same = run_blocking(move || {
        let found = std::fs::symlink_metadata(path);
        Ok(found.is_ok_and(|found| found.is_file() && found.len() == bytes))
    })
    .await?;
    Ok(same.then_some(file))
}

pub(super) fn thread_failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the thread for the month's file ended early").with_source(error)
}
