//! Giving the same answer to the same request.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::call::{Call, Kept, Reply};
use super::some_seconds;
use crate::context::{Clock, Context};
use crate::error::Operation;
use crate::error::{Error, Result};
use crate::info::BackendInfo;

/// Whether complete answers are kept in memory and given again to exactly the same request.
///
/// Kept are embeddings, chats, streamed chats, and images whose request names a seed; never failures, halves,
/// answers of a fallback, or procurement records. The key is a SHA-256 of the operation, the backend and the
/// request: neither a prompt nor a credential is kept with the answer. A kept answer says so in its route.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Cache {
    /// Most memory of the answers; the least recently used go first.
    pub max_bytes: usize,
    /// How long an answer is kept; `null` until its room is needed.
    pub ttl_seconds: Option<f64>,
}

impl Default for Cache {
    fn default() -> Self {
        Self { max_bytes: 64 * 1024 * 1024, ttl_seconds: None }
    }
}

impl Cache {
    /// Sets the most memory.
    pub fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets how long an answer is kept.
    pub fn with_ttl_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.ttl_seconds = seconds.into();
        self
    }

    pub(super) fn build(&self, info: &BackendInfo, space: &impl Serialize) -> Result<Store> {
        let mut identity = Sha256::new();
        feed(&mut identity, &(&*info.backend, &*info.model, info.host.as_deref(), space))?;
        Ok(Store {
            identity,
            max_bytes: self.max_bytes,
            ttl: some_seconds("cache.ttl_seconds", self.ttl_seconds)?,
            answers: Arc::default(),
        })
    }
}

/// Looks the request up and otherwise has it answered, keeping the answer.
pub(super) async fn cached<C: Call, F: Future<Output = Result<C::Reply>>>(
    store: Option<&Store>,
    cx: &Context,
    call: &C,
    work: impl FnOnce() -> F,
) -> Result<C::Reply> {
    let Some(store) = store.filter(|_| call.may_be_kept()) else { return work().await };
    let keep = store.keep(C::OPERATION, call.request(), cx.clock())?;
    if let Some(mut reply) = keep.find().and_then(C::Reply::restore) {
        reply.route_mut().cached = true;
        return Ok(reply);
    }
    let mut reply = work().await?;
    if reply.route_mut().failed.is_empty() {
        reply.keep(keep);
    }
    Ok(reply)
}

/// [`Cache`], ready for use.
#[derive(Debug)]
pub(super) struct Store {
    /// A hash that has taken in who the backend is.
    identity: Sha256,
    max_bytes: usize,
    ttl: Option<Duration>,
    answers: Arc<Mutex<Answers>>,
}

impl Store {
    /// The place of one request's answer.
    fn keep(&self, operation: Operation, request: &impl Serialize, clock: &Clock) -> Result<Keep> {
        let mut hash = self.identity.clone();
        feed(&mut hash, &(operation.as_str(), request))?;
        Ok(Keep {
            key: hash.finalize().into(),
            answers: Arc::clone(&self.answers),
            max_bytes: self.max_bytes,
            ttl: self.ttl,
            clock: clock.clone(),
        })
    }
}

/// Takes in `value` as JSON: fields in the order of their type, free maps in the order of their author,
/// which is the order in which they are sent.
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

/// The place of one request's answer, filled or not.
#[derive(Debug)]
pub(super) struct Keep {
    key: Key,
    answers: Arc<Mutex<Answers>>,
    max_bytes: usize,
    ttl: Option<Duration>,
    clock: Clock,
}

/// What an entry takes besides its answer.
const ENTRY_BYTES: usize = 512;

impl Keep {
    /// The answer kept here, if there is one that has not grown too old.
    fn find(&self) -> Option<Kept> {
        self.answers().find(&self.key, self.ttl.map(|_| self.clock.now()))
    }

    /// How large an answer may be to be kept.
    pub(super) fn room(&self) -> usize {
        self.max_bytes.saturating_sub(ENTRY_BYTES)
    }

    /// Keeps an answer of about `bytes`, unless it is larger than everything.
    pub(super) fn insert(&self, bytes: usize, answer: impl FnOnce() -> Kept) {
        if bytes > self.room() {
            return;
        }
        let expires = self.ttl.and_then(|ttl| self.clock.now().checked_add(ttl));
        let answer = answer();
        self.answers().insert(
            self.key,
            Entry { answer, bytes: bytes + ENTRY_BYTES, expires, used: 0 },
            self.max_bytes,
        );
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
struct Entry {
    answer: Kept,
    bytes: usize,
    expires: Option<Instant>,
    used: u64,
}

/// Answers by key and by the order of their last use.
#[derive(Debug, Default)]
struct Answers {
    by_key: HashMap<Key, Entry>,
    by_use: BTreeMap<u64, Key>,
    bytes: usize,
    uses: u64,
}

impl Answers {
    fn find(&mut self, key: &Key, now: Option<Instant>) -> Option<Kept> {
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

    fn store(cache: &Cache) -> Store {
        cache.build(&BackendInfo::new("b", "m"), &()).expect("valid")
    }

    fn place(store: &Store, request: &str, clock: &Clock) -> Keep {
        store.keep(Operation::Chat, &request, clock).expect("a key")
    }

    fn put(store: &Store, request: &str, bytes: usize) {
        place(store, request, &Clock::system()).insert(bytes, || Arc::new(request.to_owned()));
    }

    fn holds(store: &Store, request: &str) -> bool {
        place(store, request, &Clock::system()).find().is_some()
    }

    #[test]
    fn the_least_recently_used_answers_make_room() {
        let store = store(&Cache::default().with_max_bytes(3 * (ENTRY_BYTES + 100)));
        for request in ["a", "b", "c"] {
            put(&store, request, 100);
        }
        assert!(holds(&store, "a"));
        put(&store, "d", 200);
        assert_eq!(["a", "b", "c", "d"].map(|request| holds(&store, request)), [true, false, false, true]);
        let answers = store.answers.lock().expect("a lock");
        assert_eq!(answers.bytes, 2 * ENTRY_BYTES + 300);
        assert_eq!((answers.by_key.len(), answers.by_use.len()), (2, 2));
    }

    #[test]
    fn an_answer_larger_than_the_cache_is_not_kept_and_pushes_nothing_out() {
        let store = store(&Cache::default().with_max_bytes(2000));
        put(&store, "a", 100);
        put(&store, "b", 2000);
        assert_eq!((holds(&store, "a"), holds(&store, "b")), (true, false));
    }

    #[test]
    fn answers_grow_old() {
        let manual = ManualClock::new();
        let clock = Clock::from(manual.clone());
        let store = store(&Cache::default().with_ttl_seconds(60.0));
        place(&store, "a", &clock).insert(1, || Arc::new(1));
        manual.advance(Duration::from_secs(59));
        assert!(place(&store, "a", &clock).find().is_some());
        manual.advance(Duration::from_secs(1));
        assert!(place(&store, "a", &clock).find().is_none());
        assert_eq!(store.answers.lock().expect("a lock").bytes, 0);
    }

    #[test]
    fn an_answer_kept_twice_is_counted_once() {
        let store = store(&Cache::default());
        put(&store, "a", 100);
        put(&store, "a", 50);
        assert_eq!(store.answers.lock().expect("a lock").bytes, 50 + ENTRY_BYTES);
    }

    #[test]
    fn every_part_of_the_identity_makes_another_key() {
        let info = |backend: &str, model: &str| BackendInfo::new(backend, model);
        let key = |info: &BackendInfo, space: Option<&EmbeddingSpace>, operation, request: &str| {
            let store = Cache::default().build(info, &space).expect("valid");
            store.keep(operation, &request, &Clock::system()).expect("a key").key
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
