//! One request in flight between machines that share a store.
//!
//! The turn is a document that names its holder. The holder writes it anew all the time, so that its version
//! grows; a holder that died is one whose version somebody has watched standing still for [`LEASE`]. No machine's
//! clock is compared with another's for that. Two machines never take the same turn, because only the first of
//! two writes of a version succeeds.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::error::{Error, ErrorKind, Result};
use crate::procure::store::{Batch, SharedStore};
use crate::runtime;

/// A turn whose document stands still for so long is free.
const LEASE: Duration = Duration::from_secs(12);
/// How often a holder writes it anew.
const RENEWAL: Duration = Duration::from_secs(3);
/// How often the turn of another machine is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// Looks that lie further apart prove nothing: the store itself may have stood still.
const FAR_APART: Duration = Duration::from_secs(4);

/// The turn of an account in a store.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    store: SharedStore,
    name: String,
}

/// What is in the document.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Page {
    /// Who has the turn; nobody if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holder: Option<String>,
    /// When the last request ended, in milliseconds since 1970 by the clock of whose it was.
    #[serde(default)]
    ended: Option<u64>,
}

/// The turn, held. A task of its own keeps it until it is [given back](Self::give_back) or dropped.
#[derive(Debug)]
pub(crate) struct Held {
    /// When the last request of any machine ended; `None` if there was none.
    pub(crate) last_end: Option<LastEnd>,
    end: oneshot::Sender<End>,
    keeper: JoinHandle<()>,
}

/// When the last request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastEnd {
    /// Just now: it was seen to end.
    JustNow,
    /// At a moment of the clock of the machine whose it was.
    At(SystemTime),
}

/// How a turn is given back: when its request ended, and what to do once the others may have it.
struct End {
    ended: SystemTime,
    then: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("End").field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// A version that is watched standing still.
struct Watch {
    version: u64,
    since: Instant,
    last_look: Instant,
}

impl Watch {
    /// Takes in a look at `version`. Whether it has stood still long enough to be nobody's.
    fn is_abandoned(watch: &mut Option<Self>, version: u64, now: Instant) -> bool {
        match watch {
            Some(watch) if watch.version == version && now.duration_since(watch.last_look) < FAR_APART => {
                watch.last_look = now;
                now.duration_since(watch.since) >= LEASE
            }
            _ => {
                *watch = Some(Self { version, since: now, last_look: now });
                false
            }
        }
    }
}

impl Lease {
    pub(crate) fn new(store: SharedStore, account: &str) -> Self {
        Self { store, name: format!("turn/{account}") }
    }

    /// Waits for the turn.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn take(&self) -> Result<Held> {
        let me = format!("{:016x}", RandomState::new().hash_one(std::process::id()));
        let mut watch = None;
        loop {
            let document = self.store.document(&self.name).await?;
            let version = document.as_ref().map_or(0, |document| document.version);
            let page = document.map_or_else(|| Ok(Page::default()), |document| read(&document.body))?;
            let is_free = page.holder.is_none() || Watch::is_abandoned(&mut watch, version, Instant::now());
            let mine = Page { holder: Some(me.clone()), ended: page.ended };
            if is_free && self.write(version, &mine).await? {
                let at = page.ended.map(|millis| LastEnd::At(UNIX_EPOCH + Duration::from_millis(millis)));
                let last_end = if watch.is_some() { Some(LastEnd::JustNow) } else { at };
                let (end, ended) = oneshot::channel();
                let keeper = runtime::current()?.spawn(self.clone().keep(version + 1, mine, ended));
                return Ok(Held { last_end, end, keeper });
            }
            if !is_free {
                runtime::sleep(LOOK).await?;
            }
        }
    }

    async fn write(&self, version: u64, page: &Page) -> Result<bool> {
        let body = serde_json::to_vec(page).map_err(|error| {
            Error::new(ErrorKind::Unexpected, "the turn cannot be written").with_source(error)
        })?;
        self.store.apply(Batch::new().with_document(self.name.as_str(), version, body)).await
    }

    /// Keeps the turn until it is to be given back, and gives it back.
    async fn keep(self, mut version: u64, mut page: Page, mut ended: oneshot::Receiver<End>) {
        let end = loop {
            match runtime::timeout(RENEWAL, &mut ended).await {
                Ok(Some(end)) => break end.ok(),
                Ok(None) => {}
                // Without a timer nothing can be renewed: others may take the turn once it is abandoned.
                Err(_) => break (&mut ended).await.ok(),
            }
            match self.write(version, &page).await {
                Ok(true) => version += 1,
                Ok(false) => {
                    tracing::warn!("this process stood still for so long that another machine took its turn");
                    return finish(ended.await.ok());
                }
                // The store may be back before anybody takes the turn for abandoned.
                Err(error) => tracing::warn!(error = %error, "the turn could not be kept this time"),
            }
        };
        let at = end.as_ref().map_or_else(SystemTime::now, |end| end.ended);
        let millis = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        page = Page { holder: None, ended: u64::try_from(millis).ok() };
        if let Err(error) = self.write(version, &page).await {
            tracing::warn!(error = %error, "the turn was not given back; the others get it later");
        }
        finish(end);
    }
}

fn finish(end: Option<End>) {
    if let Some(end) = end {
        (end.then)();
    }
}

fn read(body: &[u8]) -> Result<Page> {
    serde_json::from_slice(body).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the turn in the store cannot be read").with_source(error)
    })
}

impl Held {
    /// Gives the turn back and then runs `then`, both in the background: the handle says when it is done.
    pub(crate) fn give_back(self, ended: SystemTime, then: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
        // A keeper that is no more has ended with its runtime; `then` is dropped with what it holds.
        drop(self.end.send(End { ended, then: Box::new(then) }));
        self.keeper
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::procure::store::MemoryStore;

    fn lease() -> Lease {
        Lease::new(Arc::new(MemoryStore::new()), "x")
    }

    #[tokio::test(start_paused = true)]
    async fn only_one_has_the_turn_and_the_next_knows_when_the_last_request_ended() {
        let lease = lease();
        let held = lease.take().await.expect("free");
        assert_eq!(held.last_end, None);
        let ended = UNIX_EPOCH + Duration::from_millis(1_792_000_000_123);
        held.give_back(ended, || {}).await.expect("given back");
        let held = lease.take().await.expect("free");
        assert_eq!(held.last_end, Some(LastEnd::At(ended)));
        let other = lease.clone();
        let waiting = tokio::spawn(async move { other.take().await });
        tokio::time::sleep(10 * LEASE).await;
        assert!(!waiting.is_finished(), "a turn that is kept is nobody else's");
        drop(held);
        let held = waiting.await.expect("joined").expect("free");
        assert_eq!(held.last_end, Some(LastEnd::JustNow));
    }

    #[tokio::test(start_paused = true)]
    async fn the_turn_of_a_holder_that_died_is_free_after_a_while() {
        let lease = lease();
        lease.take().await.expect("free").keeper.abort();
        let begun = Instant::now();
        lease.take().await.expect("free again");
        let waited = begun.elapsed();
        assert!((LEASE..LEASE + Duration::from_secs(1)).contains(&waited), "{waited:?}");
    }

    #[test]
    fn a_turn_is_abandoned_only_if_it_was_watched_standing_still() {
        let begin = Instant::now();
        let at = |seconds: u64| begin + Duration::from_secs(seconds);
        let mut watch = None;
        for second in 0..12 {
            assert!(!Watch::is_abandoned(&mut watch, 7, at(second)), "{second}");
        }
        assert!(Watch::is_abandoned(&mut watch, 7, at(12)));
        assert!(!Watch::is_abandoned(&mut watch, 8, at(13)), "it was written anew");
        assert!(!Watch::is_abandoned(&mut watch, 8, at(40)), "nobody looked in between");
        assert!(!Watch::is_abandoned(&mut watch, 8, at(43)));
    }

    #[tokio::test]
    async fn a_turn_that_another_took_meanwhile_is_not_given_back_in_its_name() {
        let lease = lease();
        let held = lease.take().await.expect("free");
        let document = lease.store.document(&lease.name).await.expect("read").expect("there");
        let other = Page { holder: Some("other".to_owned()), ended: None };
        assert!(lease.write(document.version, &other).await.expect("written"));
        held.give_back(SystemTime::now(), || {}).await.expect("ended");
        let document = lease.store.document(&lease.name).await.expect("read").expect("there");
        assert_eq!(read(&document.body).expect("a page").holder.as_deref(), Some("other"));
    }
}
