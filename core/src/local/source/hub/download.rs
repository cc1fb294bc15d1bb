//! One file of a commit: from the Hub into the cache.

use std::time::{Duration, Instant};

use super::cache::Repository;
use super::client::{Entry, Remote};
use super::partial::{Partial, is_damage};
use super::patience::Patience;
use crate::context::{Context, Progress};
use crate::error::{Error, ErrorKind, Result, Sent};

/// How often progress is reported at most.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// What one download needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    pub(super) remote: &'a Remote,
    pub(super) repository: &'a Repository,
    pub(super) commit: &'a str,
    pub(super) name: &'a str,
}

impl Job<'_> {
    /// Brings the file into the cache unless it is there: what is known of it from the list of files saves asking.
    ///
    /// # Errors
    /// What the Hub, the network and the disk refuse; `model_load` if the file came damaged.
    pub(super) async fn run(&self, cx: &Context, listed: &Entry) -> Result<()> {
        let Job { repository, commit, name, .. } = *self;
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
                // What an earlier call has left may be what is damaged: once more, from the beginning.
                Err(error) if was_old && is_damage(&error) => self.fill(cx, open()?).await?.publish()?,
                outcome => outcome?,
            }
        }
        repository.link(&etag, commit, name)
    }

    async fn look_at(&self, cx: &Context) -> Result<Entry> {
        let mut patience = Patience::default();
        loop {
            match self.remote.look_at(cx, self.commit, self.name).await {
                Ok(entry) => return Ok(entry),
                Err(error) => patience.after(cx, error).await?,
            }
        }
    }

    /// Receives what is missing, in as many attempts as it takes.
    async fn fill<'p>(&self, cx: &Context, mut partial: Partial<'p>) -> Result<Partial<'p>> {
        let mut patience = Patience::default();
        let mut reports = Reports { name: self.name, last: None };
        loop {
            if partial.is_whole() {
                reports.last(cx, &partial);
                return Ok(partial);
            }
            match self.receive(cx, &mut partial, &mut patience, &mut reports).await {
                Ok(()) => {
                    reports.last(cx, &partial);
                    return Ok(partial);
                }
                Err(error) => patience.after(cx, error).await?,
            }
        }
    }

    /// Receives from where the content ends to its end.
    async fn receive(
        &self,
        cx: &Context,
        partial: &mut Partial<'_>,
        patience: &mut Patience,
        reports: &mut Reports<'_>,
    ) -> Result<()> {
        let mut download = match self.remote.open(cx, self.commit, self.name, partial.len()).await {
            // The size is not known and the server has nothing beyond what is here: it may be whole or another.
            Err(error) if error.http_status() == Some(416) && partial.len() > 0 => {
                partial.restart()?;
                self.remote.open(cx, self.commit, self.name, 0).await?
            }
            outcome => outcome?,
        };
        let is_other = download.etag.as_deref().is_some_and(|etag| !partial.is_named(etag));
        if is_other && download.from > 0 {
            // Only the same content is gone on with.
            download = self.remote.open(cx, self.commit, self.name, 0).await?;
        }
        if download.from == 0 && partial.len() > 0 {
            partial.restart()?;
        }
        partial.learn_size(download.size);
        while let Some(piece) = download.body.next(cx.clock().now()).await? {
            partial.write(&piece)?;
            patience.received(piece.len() as u64);
            reports.maybe(cx, partial);
            cx.check()?;
        }
        match partial.size() {
            Some(size) if partial.len() < size => Err(Error::new(
                ErrorKind::Interrupted,
                format!("{} broke off after {} of {size} bytes", self.name, partial.len()),
            )
            .with_sent(Sent::Yes)),
            _ => Ok(()),
        }
    }
}

/// Tells how far a download is, not too often.
struct Reports<'a> {
    name: &'a str,
    last: Option<Instant>,
}

impl Reports<'_> {
    fn maybe(&mut self, cx: &Context, partial: &Partial<'_>) {
        let now = cx.clock().now();
        let is_soon = |last: Instant| now.saturating_duration_since(last) < REPORT_EVERY;
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
