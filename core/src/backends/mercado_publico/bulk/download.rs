//! A month, from the service onto the disk: only if it has changed, and from where an earlier call broke off.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use ::http::header::{ACCEPT_ENCODING, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, RANGE};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::super::client::{MercadoPublico, NAME};
use super::super::fetch::given_up;
use super::partial::Partial;
use super::{BulkSet, UnknownColumns};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::http::body::Body;
use crate::http::client::ApiReply;
use crate::http::{HeaderMap, HeaderText};
use crate::policy::backoff::{Backoff, wait_for_attempt};
use crate::procure::store::update_document;
use crate::procure::{Month, Timestamp};
use crate::runtime::{self, run_blocking};

/// How often a download that breaks is gone on with.
const ATTEMPTS: u32 = 4;
/// The waits before the next attempt.
static BACKOFF: Backoff = Backoff::new(Duration::from_secs(2), Duration::from_secs(60));
/// How many pieces may wait for the disk.
const WAITING: usize = 16;

/// The most bytes of a file where a request does not say.
const MOST_BYTES: u64 = 2 << 30;

/// Which month to fetch, and how.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct MonthRequest {
    /// Which set.
    pub set: BulkSet,
    /// Which month.
    pub month: Month,
    /// Where to put the file; a folder beside the store by default.
    #[serde(default)]
    pub folder: Option<PathBuf>,
    /// The most bytes of the file as it comes.
    #[serde(default = "most_bytes")]
    pub most_bytes: u64,
    /// Whether to fetch it although it has not changed.
    #[serde(default)]
    pub anew: bool,
    /// What an import does with columns that ayni does not know.
    #[serde(default)]
    pub unknown_columns: UnknownColumns,
    /// Whether an import keeps the whole text of each row. That is four times as much.
    #[serde(default)]
    pub raw: bool,
    /// Whether an import leaves the file where it is.
    #[serde(default)]
    pub keep_file: bool,
}

fn most_bytes() -> u64 {
    MOST_BYTES
}

impl MonthRequest {
    /// A month of a set, if it has changed.
    pub fn new(set: BulkSet, month: Month) -> Self {
        Self {
            set,
            month,
            folder: None,
            most_bytes: MOST_BYTES,
            anew: false,
            unknown_columns: UnknownColumns::Refuse,
            raw: false,
            keep_file: false,
        }
    }

    /// Says where to put the file.
    pub fn with_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Sets the most bytes of the file as it comes.
    pub fn with_most_bytes(mut self, bytes: u64) -> Self {
        self.most_bytes = bytes;
        self
    }

    /// Fetches it although it has not changed.
    pub fn with_anew(mut self, anew: bool) -> Self {
        self.anew = anew;
        self
    }

    /// Says what an import does with columns that ayni does not know.
    pub fn with_unknown_columns(mut self, unknown: UnknownColumns) -> Self {
        self.unknown_columns = unknown;
        self
    }

    /// Says whether an import keeps the whole text of each row.
    pub fn with_raw(mut self, raw: bool) -> Self {
        self.raw = raw;
        self
    }

    /// Says whether an import leaves the file where it is.
    pub fn with_keep_file(mut self, keep: bool) -> Self {
        self.keep_file = keep;
        self
    }
}

/// A month on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct MonthFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its bytes.
    pub bytes: u64,
    /// By which name the service tells its versions apart.
    pub etag: Option<String>,
    /// When the service says that it was last changed.
    pub last_modified: Option<String>,
    /// As of when it holds: that moment, else when it was fetched.
    pub as_of: Timestamp,
}

/// What a download gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Download {
    /// The file came.
    Fetched(MonthFile),
    /// The service has nothing newer; this file is here from an earlier call.
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

/// How the service tells versions of a file apart.
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

    /// What a part that is here already can be checked by: a weak name does not say that bytes are the same.
    fn strong(&self) -> Option<&str> {
        self.etag.as_deref().filter(|etag| etag.starts_with('"'))
    }
}

impl MercadoPublico {
    /// Fetches a month's file, unless the one that an earlier call fetched is still here and has not changed.
    /// What came before an error or a cancellation stays, and the next call goes on from there.
    ///
    /// # Errors
    /// `not_found` if the service does not have the month; `response_invalid` if the file is larger than
    /// [`most_bytes`](MonthRequest::most_bytes); `conflict` if another call is fetching it; what the network and
    /// the disk refuse.
    pub async fn download_month(&self, cx: &Context, request: &MonthRequest) -> Result<Download> {
        let store = self.store().await?;
        let name = format!("month-file/{}/{}", request.set.as_str(), request.month);
        let known = store.document(&name).await?;
        let known: Option<MonthFile> = known.and_then(|document| serde_json::from_slice(&document.body).ok());
        let here = match known {
            Some(file) if !request.anew && file.path == self.month_path(request) => is_here(file).await?,
            _ => None,
        };
        let version = here
            .as_ref()
            .map(|file| Version { etag: file.etag.clone(), last_modified: file.last_modified.clone() });
        match (self.fetch_month(cx, request, version.as_ref()).await?, here) {
            (Some(file), _) => {
                let body = serde_json::to_vec(&file).map_err(unexpected)?;
                update_document(&*store, &name, |_| Ok((Some(body.clone()), ()))).await?;
                Ok(Download::Fetched(file))
            }
            (None, Some(file)) => Ok(Download::Unchanged(file)),
            (None, None) => {
                Err(Error::response_invalid("the service says unchanged of a file that was not named"))
            }
        }
    }

    fn month_path(&self, request: &MonthRequest) -> PathBuf {
        let folder = request.folder.clone().unwrap_or_else(|| self.0.months.clone());
        folder.join(format!("{}-{}.zip", request.set.as_str(), request.month))
    }

    /// Fetches a month unless it is still of this version.
    pub(super) async fn fetch_month(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
    ) -> Result<Option<MonthFile>> {
        let named = |error: Error| error.with_operation(request.set.operation()).with_backend(NAME);
        let path = self.month_path(request);
        let partial = run_blocking(move || Partial::open(&path)).await.map_err(named)?;
        self.fill(cx, request, version, partial).await.map_err(named)
    }

    /// Fetches what is missing, in as many attempts as it takes.
    async fn fill(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
        mut partial: Partial,
    ) -> Result<Option<MonthFile>> {
        let mut attempt = 1;
        loop {
            let (back, outcome) = self.receive(cx, request, version, partial).await?;
            partial = back;
            let error = match outcome {
                Ok(Some(version)) => return self.finish(cx, partial, version).await.map(Some),
                Ok(None) => {
                    run_blocking(move || partial.abandon()).await?;
                    return Ok(None);
                }
                Err(error) => error,
            };
            let may_help = error.is_temporary() && attempt < ATTEMPTS;
            let wait = BACKOFF.wait_after(&error, attempt, cx).ok().filter(|_| may_help);
            let Some(wait) = wait else {
                run_blocking(move || partial.abandon()).await?;
                return Err(given_up(error, attempt));
            };
            attempt += 1;
            wait_for_attempt(cx, attempt, error.kind(), wait).await?;
        }
    }

    async fn finish(&self, cx: &Context, partial: Partial, version: Version) -> Result<MonthFile> {
        let (path, bytes) = run_blocking(move || partial.publish()).await?;
        let changed = version.last_modified.as_deref().and_then(|text| httpdate::parse_http_date(text).ok());
        let as_of =
            changed.filter(|time| *time > UNIX_EPOCH).map_or_else(|| self.now(cx), Timestamp::of_system_time);
        let Version { etag, last_modified } = version;
        Ok(MonthFile { path, bytes, etag, last_modified, as_of })
    }

    /// One attempt. Gives the partial file back, and the version that it is now whole of; `None` if the service
    /// has nothing newer.
    async fn receive(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
        mut partial: Partial,
    ) -> Result<(Partial, Result<Option<Version>>)> {
        let reply = match self.ask_month(cx, request, version, &partial).await {
            Ok(reply) => reply,
            Err(error) => match error.http_status() {
                Some(304) => return Ok((partial, Ok(None))),
                Some(404) => return Ok((partial, Err(no_such_month(request, error)))),
                // More is here than the service has: it is of another version.
                Some(416) => {
                    partial = run_blocking(move || partial.restart(None)).await?;
                    let error = Error::new(ErrorKind::Interrupted, "the file has changed meanwhile");
                    return Ok((partial, Err(error.with_sent(Sent::Yes))));
                }
                _ => return Ok((partial, Err(error))),
            },
        };
        let coming = Version::of(&reply.headers);
        let size = match (reply.status, content_range(&reply.headers)) {
            (206, Some((from, size))) if from == partial.len() => size,
            (206, _) => {
                let error =
                    Error::response_invalid("the service sent another part of the file than was asked for");
                return Ok((partial, Err(error)));
            }
            _ => {
                let strong = coming.strong().map(str::to_owned);
                partial = run_blocking(move || partial.restart(strong)).await?;
                content_length(&reply.headers)
            }
        };
        if size.is_some_and(|size| size > request.most_bytes) {
            return Ok((partial, Err(too_large(request))));
        }
        let mut receiver = Receiver { cx, request, size, name: reported_name(request) };
        let (partial, outcome) = receiver.run(partial, reply.value).await?;
        Ok((partial, outcome.map(|()| Some(coming))))
    }

    async fn ask_month(
        &self,
        cx: &Context,
        request: &MonthRequest,
        version: Option<&Version>,
        partial: &Partial,
    ) -> Result<ApiReply<Body>> {
        let mut call = self.0.bulk.get(&request.set.path(request.month)).accept("application/zip, */*;q=0.5");
        // Offsets count the file's bytes, not those of some compression.
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

/// Receives the bytes of one answer.
struct Receiver<'a> {
    cx: &'a Context,
    request: &'a MonthRequest,
    size: Option<u64>,
    name: String,
}

impl Receiver<'_> {
    /// Pieces go to a thread of their own, which writes them.
    async fn run(&mut self, partial: Partial, body: Body) -> Result<(Partial, Result<()>)> {
        let (sender, receiver) = mpsc::channel(WAITING);
        let here = partial.len();
        let writer = runtime::current()?.spawn_blocking(move || partial.write_all(receiver));
        let received = self.pass_on(body, here, sender).await;
        let (partial, written) = writer.await.map_err(unexpected)?;
        let missing = self.size.filter(|size| *size > partial.len());
        let outcome = written.and(received).and_then(|()| match missing {
            None => Ok(()),
            Some(size) => Err(Error::new(
                ErrorKind::Interrupted,
                format!("the file broke off after {} of {size} bytes", partial.len()),
            )
            .with_sent(Sent::Yes)),
        });
        Ok((partial, outcome))
    }

    async fn pass_on(&self, mut body: Body, mut done: u64, sender: mpsc::Sender<bytes::Bytes>) -> Result<()> {
        let mut reported = None;
        while let Some(piece) = body.next(self.cx.clock().now()).await? {
            done += piece.len() as u64;
            if done > self.request.most_bytes {
                return Err(too_large(self.request));
            }
            if sender.send(piece).await.is_err() {
                // The disk refused: what it said is the outcome.
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
        "the month's file is larger than `most_bytes` allows, which is {}",
        request.most_bytes
    ))
}

fn no_such_month(request: &MonthRequest, error: Error) -> Error {
    let what = request.set.as_str().replace('_', " ");
    Error::new(ErrorKind::NotFound, format!("the service has no {what} of {}", request.month))
        .with_sent(Sent::Yes)
        .with_http_status(404)
        .with_source(error)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.text("Content-Length")?.trim().parse().ok()
}

/// `bytes 100-199/200`: where the part begins, and the size of the whole.
fn content_range(headers: &HeaderMap) -> Option<(u64, Option<u64>)> {
    let range = headers.text("Content-Range")?.trim().strip_prefix("bytes ")?;
    let (part, size) = range.split_once('/')?;
    Some((part.split_once('-')?.0.parse().ok()?, size.parse().ok()))
}

/// The file, if it is still as it was.
async fn is_here(file: MonthFile) -> Result<Option<MonthFile>> {
    let (path, bytes) = (file.path.clone(), file.bytes);
    let same =
        run_blocking(move || Ok(std::fs::metadata(path).is_ok_and(|found| found.len() == bytes))).await?;
    Ok(same.then_some(file))
}

pub(super) fn unexpected(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unexpected, "the work on the month's file was ended").with_source(error)
}
