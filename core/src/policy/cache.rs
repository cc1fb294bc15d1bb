//! The cache: the same answer to the same request.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::call::{GovernedCall, GovernedReply, StoredAnswer};
use super::some_seconds;
use crate::context::{Clock, Context};
use crate::error::Operation;
use crate::error::{Error, Result};
use crate::info::BackendInfo;

/// Whether complete answers are kept in memory and returned to exactly the same request.
///
/// Embeddings, chats, streamed chats, and images whose request names a seed are cached; failures, partial answers, answers
/// of a fallback, and procurement records are not. The key is a SHA-256 of the operation, the backend and the request, so
/// neither a prompt nor a credential is kept with the answer. The route of a cached answer says that it is one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Cache {
    /// The most memory for answers, in bytes; the least recently used answers are dropped first.
    pub max_bytes: usize,
    /// How long an answer is kept; `null` keeps it until its memory is needed.
    pub ttl_seconds: Option<f64>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024 * 1024, ttl_seconds: None }
    }
}

impl Cache {
    /// Sets the most memory for answers.
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how long an answer is kept.
    pub fn with_ttl_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.ttl_seconds = seconds.into();
        self
    }

    pub(super) fn build(&self, info: &BackendInfo, space: &impl Serialize) -> Result<AnswerCache> {
        let mut identity = Sha256::new();
        feed(&mut identity, &(&*info.backend, &*info.model, info.host.as_deref(), space))?;
        Ok(AnswerCache {
            identity,
            max_bytes: self.max_bytes,
            ttl: some_seconds("cache.ttl_seconds", self.ttl_seconds)?,
            entries: Arc::default(),
        })
    }
}

/// Answers a request from the cache, or does the work and stores its answer.
pub(super) async fn cached<C: GovernedCall, F: Future<Output = Result<C::Reply>>>(
    cache: Option<&AnswerCache>,
    cx: &Context,
    call: &C,
    work: impl FnOnce() -> F,
) -> Result<C::Reply> {
    let Some(cache) = cache.filter(|_| call.may_be_cached()) else { return work().await };
    let slot = cache.slot(C::OPERATION, call.request(), cx.clock())?;
    if let Some(mut reply) = slot.find().and_then(C::Reply::restore) {
        reply.route_mut().cached = true;
        return Ok(reply);
    }
    let mut reply = work().await?;
    if reply.route_mut().failed.is_empty() {
        reply.store_in(slot);
    }
    Ok(reply)
}

/// [`Cache`], ready for use.
#[derive(Debug)]
pub(super) struct AnswerCache {
    /// A hash that already contains the identity of the backend.
    identity: Sha256,
    max_bytes: usize,
    ttl: Option<Duration>,
    entries: Arc<Mutex<Entries>>,
}

impl AnswerCache {
    /// The slot of one request's answer.
    fn slot(&self, operation: Operation, request: &impl Serialize, clock: &Clock) -> Result<CacheSlot> {
        let mut hash = self.identity.clone();
        feed(&mut hash, &(operation.as_str(), request))?;
        Ok(CacheSlot {
            key: hash.finalize().into(),
            entries: Arc::clone(&self.entries),
            max_bytes: self.max_bytes,
            ttl: self.ttl,
            clock: clock.clone(),
        })
    }
}

/// Adds `value` to the hash as JSON: the fields of a type in their order, free maps in the order of their author, which is
/// the order in which they are sent.
fn feed(hash: &mut Sha256, value: &impl Serialize) -> Result<()> {
    struct Feed<'a>(&'a mut Sha256);
    impl io::Write for Feed<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.update(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    serde_json::to_writer(Feed(hash), value)
        .map_err(|_| Error::invalid_request("the request cannot be written as JSON, so it has no cache key"))
}

type Key = [u8; 32];

/// The slot of one request's answer, filled or not.
#[derive(Debug)]
pub(super) struct CacheSlot {
    key: Key,
    entries: Arc<Mutex<Entries>>,
    max_bytes: usize,
    ttl: Option<Duration>,
    clock: Clock,
}

/// The memory of an entry besides its answer.
const ENTRY_BYTES: usize = 512;

impl CacheSlot {
    /// The stored answer, if there is one that has not expired.
    fn find(&self) -> Option<StoredAnswer> {
        self.entries().find(&self.key, self.ttl.map(|_| self.clock.now()))
    }

    /// The most bytes of an answer that can be stored.
    pub(super) fn room(&self) -> usize {
        self.max_bytes.saturating_sub(ENTRY_BYTES)
    }

    /// Stores an answer of about `bytes`, unless it is larger than the whole cache.
    pub(super) fn insert(&self, bytes: usize, answer: impl FnOnce() -> StoredAnswer) {
        if bytes > self.room() {
            return;
        }
        let expires = self.ttl.and_then(|ttl| self.clock.now().checked_add(ttl));
        let answer = answer();
        self.entries().insert(
            self.key,
            Entry { answer, bytes: bytes + ENTRY_BYTES, expires, used: 0 },
            self.max_bytes,
        );
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Entry {
    answer: StoredAnswer,
    bytes: usize,
    expires: Option<Instant>,
    used: u64,
}

/// Answers by key, and keys in the order of their last use.
#[derive(Debug, Default)]
struct Entries {
    by_key: HashMap<Key, Entry>,
    by_use: BTreeMap<u64, Key>,
    bytes: usize,
    uses: u64,
}

impl Entries {
    fn find(&mut self, key: &Key, now: Option<Instant>) -> Option<StoredAnswer> {
        let entry = self.by_key.get_mut(key)?;
        if entry.expires.zip(now).is_some_and(|(expires, now)| expires <= now) {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        self.by_use.remove(&entry.used);
        self.by_use.insert(self.uses, *key);
        entry.used = self.uses;
        Some(Arc::clone(&entry.answer))
    }

    fn insert(&mut self, key: Key, mut entry: Entry, max_bytes: usize) {
        self.remove(&key);
        while self.bytes + entry.bytes > max_bytes {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(&oldest);
        }
        self.uses += 1;
        entry.used = self.uses;
        self.bytes += entry.bytes;
        self.by_use.insert(entry.used, key);
        self.by_key.insert(key, entry);
    }

    fn remove(&mut self, key: &Key) {
        if let Some(entry) = self.by_key.remove(key) {
            self.by_use.remove(&entry.used);
            self.bytes -= entry.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::context::ManualClock;
    use crate::embed::EmbeddingSpace;

    fn build(cache: &Cache) -> AnswerCache {
        cache.build(&BackendInfo::new("b", "m"), &()).expect("valid")
    }

    fn slot(cache: &AnswerCache, request: &str, clock: &Clock) -> CacheSlot {
        cache.slot(Operation::Chat, &request, clock).expect("a key")
    }

    fn put(cache: &AnswerCache, request: &str, bytes: usize) {
        slot(cache, request, &Clock::system()).insert(bytes, || Arc::new(request.to_owned()));
    }

    fn holds(cache: &AnswerCache, request: &str) -> bool {
        slot(cache, request, &Clock::system()).find().is_some()
    }

    #[test]
    fn the_least_recently_used_answers_make_room() {
        let cache = build(&Cache::default().with_max_bytes(3 * (ENTRY_BYTES + 100)));
        for request in ["a", "b", "c"] {
            put(&cache, request, 100);
        }
        assert!(holds(&cache, "a"));
        put(&cache, "d", 200);
        assert_eq!(["a", "b", "c", "d"].map(|request| holds(&cache, request)), [true, false, false, true]);
        let entries = cache.entries.lock().expect("a lock");
        assert_eq!(entries.bytes, 2 * ENTRY_BYTES + 300);
        assert_eq!((entries.by_key.len(), entries.by_use.len()), (2, 2));
    }

    #[test]
    fn an_answer_larger_than_the_cache_is_not_stored_and_evicts_nothing() {
        let cache = build(&Cache::default().with_max_bytes(2000));
        put(&cache, "a", 100);
        put(&cache, "b", 2000);
        assert_eq!((holds(&cache, "a"), holds(&cache, "b")), (true, false));
    }

    #[test]
    fn answers_expire() {
        let manual = ManualClock::new();
        let clock = Clock::from(manual.clone());
        let cache = build(&Cache::default().with_ttl_seconds(60.0));
        slot(&cache, "a", &clock).insert(1, || Arc::new(1));
        manual.advance(Duration::from_secs(59));
        assert!(slot(&cache, "a", &clock).find().is_some());
        manual.advance(Duration::from_secs(1));
        assert!(slot(&cache, "a", &clock).find().is_none());
        assert_eq!(cache.entries.lock().expect("a lock").bytes, 0);
    }

    #[test]
    fn an_answer_stored_twice_is_counted_once() {
        let cache = build(&Cache::default());
        put(&cache, "a", 100);
        put(&cache, "a", 50);
        assert_eq!(cache.entries.lock().expect("a lock").bytes, 50 + ENTRY_BYTES);
    }

    #[test]
    fn every_part_of_the_identity_makes_another_key() {
        let info = |backend: &str, model: &str| BackendInfo::new(backend, model);
        let key = |info: &BackendInfo, space: Option<&EmbeddingSpace>, operation, request: &str| {
            let cache = Cache::default().build(info, &space).expect("valid");
            cache.slot(operation, &request, &Clock::system()).expect("a key").key
        };
        let space = EmbeddingSpace::new("m");
        let keys = std::collections::HashSet::from([
            key(&info("b", "m"), None, Operation::Chat, "r"),
            key(&info("c", "m"), None, Operation::Chat, "r"),
            key(&info("b", "n"), None, Operation::Chat, "r"),
            key(&info("b", "m").with_host("h"), None, Operation::Chat, "r"),
            key(&info("b", "m"), Some(&space), Operation::Chat, "r"),
            key(&info("b", "m"), None, Operation::ChatStream, "r"),
            key(&info("b", "m"), None, Operation::Chat, "s"),
        ]);
        assert_eq!(keys.len(), 7);
        assert!(keys.contains(&key(&info("b", "m"), None, Operation::Chat, "r")));
    }
}
