//! One file of a commit: from the Hub into the cache.

use std::time::{Duration, Instant};

use super::cache::CachedRepository;
use super::client::{FileEntry, Remote};
use super::partial::{Partial, is_damage};
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::policy::backoff::{Backoff, wait_for_attempt};

/// The shortest time between two reports of progress.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// How many attempts in a row may fail.
const MAX_FAILURES: u32 = 5;

/// With fewer bytes than this between two failures, a server could keep a download running for ever.
const PROGRESS_BYTES: u64 = 1 << 20;

/// The waits before the next attempt. The caller has to wait out what the Hub asks for beyond the longest one.
static BACKOFF: Backoff = Backoff::new(Duration::from_millis(500), MAX_WAIT).with_max_wait(MAX_WAIT);
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The download of one file.
#[derive(Clone, Copy, Debug)]
pub(super) struct FileDownload<'a> {
    pub(super) remote: &'a Remote,
    pub(super) repository: &'a CachedRepository,
    pub(super) commit: &'a str,
    pub(super) name: &'a str,
}

impl FileDownload<'_> {
    /// Downloads the file into the cache unless it is there. What the list of files says about it saves a request.
    ///
    /// # Errors
    /// Those of the Hub, the network and the disk; `model_load` if the file arrived damaged.
    pub(super) async fn run(&self, cx: &Context, listed: &FileEntry) -> Result<()> {
        let FileDownload { repository, commit, name, .. } = *self;
        if repository.has(commit, name) {
            return Ok(());
        }
        let entry = match listed.etag {
            Some(_) => listed.clone(),
            None => self.look_at(cx).await?,
        };
        let etag = entry.etag.unwrap_or_default();
        let lock = repository.lock(cx, &etag).await?;
        if !repository.has_blob(&etag, entry.size) {
            let open = || Partial::open(cx, (repository, &lock), (name, &etag), entry.size);
            let partial = self.fill(cx, open()?).await?;
            let was_old = partial.is_old();
            match partial.publish() {
                // The damage may be in what an earlier call left: once more from the beginning.
                Err(error) if was_old && is_damage(&error) => self.fill(cx, open()?).await?.publish()?,
                outcome => outcome?,
            }
        }
        repository.link(&etag, commit, name)
    }

    async fn look_at(&self, cx: &Context) -> Result<FileEntry> {
        let mut failures = Failures::default();
        loop {
            match self.remote.look_at(cx, self.commit, self.name).await {
                Ok(entry) => return Ok(entry),
                Err(error) => failures.wait_after(cx, error).await?,
            }
        }
    }

    /// Downloads what is missing, in several attempts if needed.
    async fn fill<'p>(&self, cx: &Context, mut partial: Partial<'p>) -> Result<Partial<'p>> {
        let mut failures = Failures::default();
        let mut reports = Reports { name: self.name, last: None };
        loop {
            if partial.is_whole() {
                reports.last(cx, &partial);
                return Ok(partial);
            }
            match self.receive(cx, &mut partial, &mut failures, &mut reports).await {
                Ok(()) => {
                    reports.last(cx, &partial);
                    return Ok(partial);
                }
                Err(error) => failures.wait_after(cx, error).await?,
            }
        }
    }

    /// Downloads from the end of what is here.
    async fn receive(
        &self,
        cx: &Context,
        partial: &mut Partial<'_>,
        failures: &mut Failures,
        reports: &mut Reports<'_>,
    ) -> Result<()> {
        let mut download = match self.remote.open(cx, self.commit, self.name, partial.len()).await {
            // The size is unknown and the server has no more bytes: the content may be complete or have changed.
            Err(error) if error.http_status() == Some(416) && partial.len() > 0 => {
                partial.restart()?;
                self.remote.open(cx, self.commit, self.name, 0).await?
            }
            outcome => outcome?,
        };
        let is_other = download.etag.as_deref().is_some_and(|etag| !partial.is_named(etag));
        if is_other && download.from > 0 {
            // Only the same content can be resumed.
            download = self.remote.open(cx, self.commit, self.name, 0).await?;
        }
        if download.from == 0 && partial.len() > 0 {
            partial.restart()?;
        }
        partial.learn_size(download.size);
        while let Some(piece) = download.body.next(cx.clock().now()).await? {
            partial.write(&piece)?;
            failures.received(piece.len() as u64);
            reports.maybe(cx, partial);
            cx.check()?;
        }
        match partial.size() {
            Some(size) if partial.len() < size => Err(Error::new(
                ErrorKind::Interrupted,
                format!("{} stopped after {} of {size} bytes", self.name, partial.len()),
            )
            .with_sent(Sent::Yes)),
            _ => Ok(()),
        }
    }
}

/// Counts the failures in a row of one download.
#[derive(Debug, Default)]
pub(super) struct Failures {
    in_a_row: u32,
    bytes_since: u64,
}

impl Failures {
    fn received(&mut self, bytes: u64) {
        self.bytes_since += bytes;
        if self.bytes_since >= PROGRESS_BYTES {
            self.in_a_row = 0;
        }
    }

    /// Waits before the next attempt.
    ///
    /// # Errors
    /// `failure` itself if another attempt cannot help or would come too late; what stops the call.
    pub(super) async fn wait_after(&mut self, cx: &Context, failure: Error) -> Result<()> {
        self.bytes_since = 0;
        self.in_a_row += 1;
        if !failure.is_temporary() {
            return Err(failure);
        }
        if self.in_a_row >= MAX_FAILURES {
            return Err(failure.with_persistence(Persistence::Exhausted));
        }
        match BACKOFF.wait_after(&failure, self.in_a_row, cx) {
            Ok(wait) => wait_for_attempt(cx, self.in_a_row + 1, failure.kind(), wait).await,
            Err(_) => Err(failure),
        }
    }
}

/// Reports how far a download is, not too often.
struct Reports<'a> {
    name: &'a str,
    last: Option<Instant>,
}

impl Reports<'_> {
    fn maybe(&mut self, cx: &Context, partial: &Partial<'_>) {
        let now = cx.clock().now();
        let is_soon = |last: Instant| now.saturating_duration_since(last) < REPORT_INTERVAL;
        if partial.is_whole() || self.last.is_some_and(is_soon) {
            return;
        }
        self.last = Some(now);
        self.report(cx, partial);
    }

    fn last(&self, cx: &Context, partial: &Partial<'_>) {
        self.report(cx, partial);
    }

    fn report(&self, cx: &Context, partial: &Partial<'_>) {
        let (done, of) = (partial.len(), partial.size());
        cx.report(|| Progress::Download { file: self.name.to_owned(), done, of });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ManualClock;

    fn failure() -> Error {
        Error::new(ErrorKind::Interrupted, "cut off")
    }

    #[tokio::test]
    async fn five_failures_in_a_row_are_enough() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(clock.clone().into());
        let mut failures = Failures::default();
        for _ in 0..4 {
            failures.received(1000);
            failures.wait_after(&cx, failure()).await.unwrap();
        }
        let error = failures.wait_after(&cx, failure()).await.unwrap_err();
        assert_eq!(error.persistence(), Persistence::Exhausted);
        assert_eq!(clock.slept(), [500, 1000, 2000, 4000].map(Duration::from_millis));
        failures.received(PROGRESS_BYTES);
        failures.wait_after(&cx, failure()).await.expect("a megabyte is progress");
    }

    #[tokio::test]
    async fn what_cannot_be_mended_by_waiting_is_returned_at_once() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(clock.clone().into());
        let permanent = Error::new(ErrorKind::NotFound, "not there");
        let distant = Error::new(ErrorKind::RateLimited, "later").with_retry_after(Duration::from_secs(31));
        for error in [permanent, distant] {
            Failures::default().wait_after(&cx, error).await.unwrap_err();
        }
        let hurried = cx.clone().with_timeout(Duration::from_millis(400));
        let error = Failures::default().wait_after(&hurried, failure()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted, "the failure says more than the deadline");
        assert_eq!(clock.slept(), [Duration::ZERO; 0]);
        let soon = Error::new(ErrorKind::RateLimited, "soon").with_retry_after(Duration::from_secs(3));
        Failures::default().wait_after(&cx, soon).await.unwrap();
        assert_eq!(clock.slept(), [Duration::from_secs(3)]);
    }
}
