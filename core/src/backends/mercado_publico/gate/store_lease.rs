//! The lock between machines that share a store: a lease, kept in a document that names its holder.
//!
//! The holder rewrites the document all the time, which increases its version. If another machine sees no new version
//! for [`LEASE_DURATION`], the holder has died and the lease is free. No machine compares its clock with another's for that. Two
//! machines never hold the lease at once, because a store accepts only the first of two writes of the same version.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::Result;
use crate::procure::store::{Batch, SharedStore, document_body, read_document};
use crate::runtime;

/// How long the document may stay the same before the lease is free.
const LEASE_DURATION: Duration = Duration::from_secs(12);
const RENEWAL_INTERVAL: Duration = Duration::from_secs(3);
/// How often to check a lease that another machine holds.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// Polls further apart than this prove nothing: the store itself may have been unreachable in between.
const MAX_POLL_GAP: Duration = Duration::from_secs(4);

#[derive(Clone, Debug)]
pub(crate) struct StoreLease {
    store: SharedStore,
    name: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct LeaseDocument {
    /// The holder; without it the lease is free.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// When the last request ended, in milliseconds since 1970 by the clock of the machine that sent it.
    #[serde(default)]
    ended: Option<u64>,
}

/// A lease that this process holds. A task renews it until it is [released](Self::release) or dropped.
#[derive(Debug)]
pub(crate) struct HeldLease {
    /// When the last request of any machine ended; `None` before the first.
    pub(crate) last_end: Option<LastEnd>,
    end: oneshot::Sender<LeaseEnd>,
    renewal: JoinHandle<()>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastEnd {
    /// Just now: this process saw it end.
    JustNow,
    /// At this time by the clock of the machine that sent it.
    At(SystemTime),
}

/// Ends the renewal: when the last request ended, and what to do once the lease is released.
struct LeaseEnd {
    ended: SystemTime,
    then: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for LeaseEnd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LeaseEnd").field("ended", &self.ended).finish_non_exhaustive()
    }
}

struct VersionWatch {
    version: u64,
    since: Instant,
    last_poll: Instant,
}

impl VersionWatch {
    /// Records that `version` was read at `now`. Returns whether it has stayed the same for so long that its holder is dead.
    fn has_expired(watch: &mut Option<Self>, version: u64, now: Instant) -> bool {
        match watch {
            Some(watch) if watch.version == version && now.duration_since(watch.last_poll) < MAX_POLL_GAP => {
                watch.last_poll = now;
                now.duration_since(watch.since) >= LEASE_DURATION
            }
            _ => {
                *watch = Some(Self { version, since: now, last_poll: now });
                false
            }
        }
    }
}

impl StoreLease {
    pub(crate) fn new(store: SharedStore, account: &str) -> Self {
        Self { store, name: format!("turn/{account}") }
    }

    /// Waits for the lease.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn acquire(&self) -> Result<HeldLease> {
        let me = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let mut watch = None;
        loop {
            let document = self.store.document(&self.name).await?;
            let version = document.as_ref().map_or(0, |document| document.version);
            let content = read(document.as_ref().map(|document| &*document.body))?;
            let is_free =
                content.holder.is_none() || VersionWatch::has_expired(&mut watch, version, Instant::now());
            let mine = LeaseDocument { holder: Some(me.clone()), ended: content.ended };
            if is_free && self.write(version, &mine).await? {
                let at = content.ended.map(|millis| LastEnd::At(UNIX_EPOCH + Duration::from_millis(millis)));
                let last_end = if watch.is_some() { Some(LastEnd::JustNow) } else { at };
                let (end, ended) = oneshot::channel();
                let renewal = runtime::current()?.spawn(self.clone().renew(version + 1, mine, ended));
                return Ok(HeldLease { last_end, end, renewal });
            }
            if !is_free {
                runtime::sleep(POLL_INTERVAL).await?;
            }
        }
    }

    async fn write(&self, version: u64, content: &LeaseDocument) -> Result<bool> {
        let batch = Batch::new().with_document(self.name.as_str(), version, document_body(content)?);
        self.store.apply(batch).await
    }

    /// Renews the lease until it is to be released, and releases it.
    async fn renew(
        self,
        mut version: u64,
        mut content: LeaseDocument,
        mut ended: oneshot::Receiver<LeaseEnd>,
    ) {
        let end = loop {
            match runtime::timeout(RENEWAL_INTERVAL, &mut ended).await {
                Ok(Some(end)) => break end.ok(),
                Ok(None) => {}
                // Without a timer the lease cannot be renewed and will expire.
                Err(_) => break (&mut ended).await.ok(),
            }
            match self.write(version, &content).await {
                Ok(true) => version += 1,
                Ok(false) => {
                    tracing::warn!(
                        "this process was suspended for so long that another machine took over its lease"
                    );
                    return finish(ended.await.ok());
                }
                // The store may be back before another machine considers the lease free.
                Err(error) => tracing::warn!(error = %error, "the lease could not be renewed this time"),
            }
        };
        let at = end.as_ref().map_or_else(SystemTime::now, |end| end.ended);
        let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        content = LeaseDocument { holder: None, ended: u64::try_from(millis).ok() };
        if let Err(error) = self.write(version, &content).await {
            tracing::warn!(error = %error, "the lease could not be released; other machines have to wait until it expires");
        }
        finish(end);
    }
}

fn finish(end: Option<LeaseEnd>) {
    if let Some(end) = end {
        (end.then)();
    }
}

fn read(body: Option<&[u8]>) -> Result<LeaseDocument> {
    read_document("the lease", body)
}

impl HeldLease {
    /// Releases the lease and then runs `then`, both in the background. The handle completes when both are done.
    pub(crate) fn release(self, ended: SystemTime, then: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        // If the task is gone, its runtime has ended. `then` is dropped with everything it owns.
        drop(self.end.send(LeaseEnd { ended, then: Box::new(then) }));
        self.renewal
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::procure::store::MemoryStore;

    fn lease() -> StoreLease {
        StoreLease::new(Arc::new(MemoryStore::new()), "x")
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_machine_holds_the_lease_and_the_next_knows_when_the_last_request_ended() {
        let lease = lease();
        let held = lease.acquire().await.expect("free");
        assert_eq!(held.last_end, None);
        let ended = UNIX_EPOCH + Duration::from_millis(1_792_000_000_123);
        held.release(ended, || {}).await.expect("released");
        let held = lease.acquire().await.expect("free");
        assert_eq!(held.last_end, Some(LastEnd::At(ended)));
        let other = lease.clone();
        let waiting = tokio::spawn(async move { other.acquire().await });
        tokio::time::sleep(10 * LEASE_DURATION).await;
        assert!(!waiting.is_finished(), "nobody else gets a lease that is renewed");
        drop(held);
        let held = waiting.await.expect("joined").expect("free");
        assert_eq!(held.last_end, Some(LastEnd::JustNow));
    }

    #[tokio::test(start_paused = true)]
    async fn the_lease_of_a_holder_that_died_expires() {
        let lease = lease();
        lease.acquire().await.expect("free").renewal.abort();
        let begun = Instant::now();
        lease.acquire().await.expect("free again");
        let waited = begun.elapsed();
        assert!((LEASE_DURATION..LEASE_DURATION + Duration::from_secs(1)).contains(&waited), "{waited:?}");
    }

    #[test]
    fn a_lease_expires_only_if_its_version_was_seen_to_stay_the_same() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut watch = None;
        for second in 0..12 {
            assert!(!VersionWatch::has_expired(&mut watch, 7, at(second)), "{second}");
        }
        assert!(VersionWatch::has_expired(&mut watch, 7, at(12)));
        assert!(!VersionWatch::has_expired(&mut watch, 8, at(13)), "it was renewed");
        assert!(!VersionWatch::has_expired(&mut watch, 8, at(40)), "nobody polled in between");
        assert!(!VersionWatch::has_expired(&mut watch, 8, at(43)));
    }

    #[tokio::test]
    async fn a_lease_that_another_machine_took_over_is_not_released_in_its_name() {
        let lease = lease();
        let held = lease.acquire().await.expect("free");
        let document = lease.store.document(&lease.name).await.expect("read").expect("there");
        let other = LeaseDocument { holder: Some("other".to_owned()), ended: None };
        assert!(lease.write(document.version, &other).await.expect("written"));
        held.release(SystemTime::now(), || {}).await.expect("ended");
        let document = lease.store.document(&lease.name).await.expect("read").expect("there");
        assert_eq!(read(Some(&document.body)).expect("a lease").holder.as_deref(), Some("other"));
    }
}
