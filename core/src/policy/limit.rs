//! How many requests are in flight, and how close they follow each other.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use futures_util::future::{Either, select};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::Reply;
use super::{seconds, some_seconds};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::info::{BackendInfo, CredentialId};

/// How many requests are in flight, and how close they follow each other.
///
/// Limits belong to the credential: every handle in the process whose backend uses the same credential at
/// the same host waits in the same queue, first come, first served, and the strictest of their limits holds.
/// A backend without credential has a queue of its own. A stream is in flight until it ends or is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limit {
    /// Most requests in flight; `null` takes what the backend declares about itself, if it does.
    pub max_concurrency: Option<usize>,
    /// Whether to honour the limit that the backend declares about itself.
    pub declared: bool,
    /// The least time between the beginnings of two requests.
    pub min_gap_seconds: f64,
    /// The longest time in the queue; `null` waits as long as the call may take.
    pub max_queue_seconds: Option<f64>,
}

impl Default for Limit {
    fn default() -> Self {
        Self { max_concurrency: None, declared: true, min_gap_seconds: 0.0, max_queue_seconds: None }
    }
}

impl Limit {
    /// No limit of the policy's own, and none that the backend declares.
    pub fn none() -> Self {
        Self { declared: false, ..Self::default() }
    }

    /// Sets the most requests in flight.
    pub fn with_max_concurrency(mut self, requests: usize) -> Self {
        self.max_concurrency = Some(requests);
        self
    }

    /// Sets the least time between the beginnings of two requests.
    pub fn with_min_gap_seconds(mut self, seconds: f64) -> Self {
        self.min_gap_seconds = seconds;
        self
    }

    /// Sets the longest time in the queue.
    pub fn with_max_queue_seconds(mut self, seconds: impl Into<Option<f64>>) -> Self {
        self.max_queue_seconds = seconds.into();
        self
    }

    pub(super) fn max_queue(&self) -> Result<Option<Duration>> {
        some_seconds("limit.max_queue_seconds", self.max_queue_seconds)
    }

    /// The queue of a backend; `None` if nothing limits it.
    pub(super) fn pool(&self, info: &BackendInfo) -> Result<Option<Arc<Pool>>> {
        let gap = seconds("limit.min_gap_seconds", self.min_gap_seconds)?;
        let declared = info.limits.max_concurrency.filter(|_| self.declared);
        let most = match self.max_concurrency.or(declared) {
            Some(0) => return Err(Error::config("`limit.max_concurrency` is 0, which lets nothing through")),
            most => most.map(|most| most.min(Semaphore::MAX_PERMITS)),
        };
        Ok(match info.credential {
            Some(credential) => Some(Pool::of_credential(credential, most, gap)),
            None if most.is_none() && gap.is_zero() => None,
            None => Some(Arc::new(Pool::new(most, gap))),
        })
    }
}

/// Runs `work` once the queue lets it through.
pub(super) async fn limit<T: Reply, F: Future<Output = Result<T>>>(
    pool: Option<&Arc<Pool>>,
    max_queue: Option<Duration>,
    cx: &Context,
    work: impl FnOnce() -> F,
) -> Result<T> {
    let Some(pool) = pool else { return work().await };
    let permit = match pool.enter_at_once() {
        Some(permit) => permit,
        None => queue(pool, max_queue, cx).await.map_err(|error| error.with_sent(Sent::No))?,
    };
    let mut reply = work().await?;
    reply.hold(permit);
    Ok(reply)
}

async fn queue(pool: &Arc<Pool>, max_queue: Option<Duration>, cx: &Context) -> Result<Permit> {
    let enter = pin!(pool.enter(cx));
    let Some(longest) = max_queue else { return cx.guard(enter).await };
    let bounded = pin!(async {
        match select(enter, pin!(cx.clock().sleep(longest))).await {
            Either::Left((permit, _)) => permit,
            Either::Right(_) => Err(queued_too_long()),
        }
    });
    cx.guard(bounded).await
}

/// Queueing again would take as long again: another backend may serve, this one is not asked again.
fn queued_too_long() -> Error {
    Error::new(ErrorKind::Timeout, "too many requests were waiting in the queue of this backend")
        .with_persistence(Persistence::Exhausted)
        .with_context("phase", "queue")
}

/// What the requests of one credential share.
#[derive(Debug)]
pub(super) struct Pool {
    permits: Arc<Semaphore>,
    /// How many permits there are meant to be.
    most: Mutex<usize>,
    /// Permits in flight that vanish instead of coming back, because the limit was tightened meanwhile.
    surplus: AtomicUsize,
    gap_nanos: AtomicU64,
    next_start: Mutex<Option<Instant>>,
}

static POOLS: LazyLock<Mutex<HashMap<CredentialId, Weak<Pool>>>> = LazyLock::new(Mutex::default);

impl Pool {
    fn new(most: Option<usize>, gap: Duration) -> Self {
        let most = most.unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            permits: Arc::new(Semaphore::new(most)),
            most: Mutex::new(most),
            surplus: AtomicUsize::new(0),
            gap_nanos: AtomicU64::new(nanos(gap)),
            next_start: Mutex::new(None),
        }
    }

    fn of_credential(credential: CredentialId, most: Option<usize>, gap: Duration) -> Arc<Self> {
        let mut pools = locked(&POOLS);
        if let Some(pool) = pools.get(&credential).and_then(Weak::upgrade) {
            pool.tighten(most, gap);
            return pool;
        }
        pools.retain(|_, pool| pool.strong_count() > 0);
        let pool = Arc::new(Self::new(most, gap));
        pools.insert(credential, Arc::downgrade(&pool));
        pool
    }

    fn tighten(&self, most: Option<usize>, gap: Duration) {
        self.gap_nanos.fetch_max(nanos(gap), Ordering::Relaxed);
        let Some(wanted) = most else { return };
        let mut most = locked(&self.most);
        if let Some(excess) = most.checked_sub(wanted) {
            let forgotten = self.permits.forget_permits(excess);
            self.surplus.fetch_add(excess - forgotten, Ordering::Relaxed);
            *most = wanted;
        }
    }

    fn gap(&self) -> Duration {
        Duration::from_nanos(self.gap_nanos.load(Ordering::Relaxed))
    }

    /// A permit, if nobody has to wait for it.
    fn enter_at_once(self: &Arc<Self>) -> Option<Permit> {
        if self.gap_nanos.load(Ordering::Relaxed) > 0 {
            return None;
        }
        // Those who wait are served first: tokio gives returned permits to its queue before anybody else.
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Permit { permit: Some(permit), pool: Arc::clone(self) })
    }

    async fn enter(self: &Arc<Self>, cx: &Context) -> Result<Permit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Error::new(ErrorKind::Unexpected, "the queue was closed"))?;
        let permit = Permit { permit: Some(permit), pool: Arc::clone(self) };
        let wait = self.reserve_start(cx.clock().now());
        if !wait.is_zero() {
            cx.clock().sleep(wait).await;
        }
        Ok(permit)
    }

    /// Takes the next free beginning and says how long it is until then.
    fn reserve_start(&self, now: Instant) -> Duration {
        let mut next = locked(&self.next_start);
        let start = next.map_or(now, |next| next.max(now));
        *next = Some(start + self.gap());
        start.duration_since(now)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The right to have one request in flight; dropping it lets the next one through.
#[derive(Debug)]
pub(super) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    pool: Arc<Pool>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let one_less = |surplus: usize| surplus.checked_sub(1);
        let vanishes = self.pool.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
        if vanishes && let Some(permit) = self.permit.take() {
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tightening_takes_permits_back_as_they_are_returned() {
        let pool = Arc::new(Pool::new(Some(3), Duration::ZERO));
        let held: Vec<Permit> = (0..3).map(|_| pool.enter_at_once().expect("free")).collect();
        pool.tighten(Some(1), Duration::ZERO);
        drop(held);
        let only = pool.enter_at_once().expect("one is left");
        assert!(pool.enter_at_once().is_none());
        drop(only);
        assert!(pool.enter_at_once().is_some());
        pool.tighten(Some(5), Duration::ZERO);
        assert_eq!(pool.permits.available_permits(), 1, "a looser limit does not loosen the others'");
    }

    #[test]
    fn a_pool_without_limit_can_be_tightened() {
        let pool = Arc::new(Pool::new(None, Duration::ZERO));
        let held = pool.enter_at_once().expect("free");
        pool.tighten(Some(1), Duration::ZERO);
        assert!(pool.enter_at_once().is_none());
        drop(held);
        assert!(pool.enter_at_once().is_some());
    }

    #[test]
    fn beginnings_keep_their_distance() {
        let pool = Pool::new(None, Duration::from_secs(2));
        let now = Instant::now();
        let waits: Vec<u64> = (0..3).map(|_| pool.reserve_start(now).as_secs()).collect();
        assert_eq!(waits, [0, 2, 4]);
        assert_eq!(pool.reserve_start(now + Duration::from_secs(9)), Duration::ZERO);
    }
}
