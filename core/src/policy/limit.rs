//! Limits: how many requests are in flight, and how closely they follow each other.

use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::call::GovernedReply;
use super::{seconds, some_seconds};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Persistence, Result, Sent};
use crate::info::{BackendInfo, CredentialId};

/// How many requests are in flight, and how closely they follow each other.
///
/// Limits belong to the credential: all handles in the process whose backends use the same credential at the same host
/// share one queue, first come, first served, and the strictest of their limits holds. A backend without a credential has
/// its own queue. A stream is in flight until it ends or is dropped.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Limit {
    /// The most requests in flight; `null` takes the limit that the backend declares, if there is one.
    pub max_concurrency: Option<usize>,
    /// Whether to honour the limit that the backend declares.
    pub declared: bool,
    /// The least time between the starts of two requests.
    pub min_gap_seconds: f64,
    /// The longest time in the queue; `null` sets no bound but the call's own.
    pub max_queue_seconds: Option<f64>,
}

impl Default for Limit {
    fn default() -> Self {
        Self { max_concurrency: None, declared: true, min_gap_seconds: 0.0, max_queue_seconds: None }
    }
}

impl Limit {
    /// No limit, not even the one that the backend declares.
    pub fn none() -> Self {
        Self { declared: false, ..Self::default() }
    }

    /// Sets the most requests in flight.
    pub fn with_max_concurrency(mut self, requests: usize) -> Self {
        self.max_concurrency = Some(requests);
        self
    }

    /// Sets the least time between the starts of two requests.
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
    pub(super) fn queue(&self, info: &BackendInfo) -> Result<Option<Arc<RequestQueue>>> {
        let gap = seconds("limit.min_gap_seconds", self.min_gap_seconds)?;
        let declared = info.limits.max_concurrency.filter(|_| self.declared);
        let most = match self.max_concurrency.or(declared) {
            Some(0) => return Err(Error::config("`limit.max_concurrency` is 0, which lets nothing through")),
            most => most.map(|most| most.min(Semaphore::MAX_PERMITS)),
        };
        Ok(match info.credential {
            Some(credential) => Some(RequestQueue::of_credential(credential, most, gap)),
            None if most.is_none() && gap.is_zero() => None,
            None => Some(Arc::new(RequestQueue::new(most, gap))),
        })
    }
}

/// Runs `work` once the queue gives it a permit.
pub(super) async fn limit<T: GovernedReply, F: Future<Output = Result<T>>>(
    queue: Option<&Arc<RequestQueue>>,
    max_queue: Option<Duration>,
    cx: &Context,
    work: impl FnOnce() -> F,
) -> Result<T> {
    let Some(queue) = queue else { return work().await };
    let permit = match queue.enter_at_once() {
        Some(permit) => permit,
        None => wait_in(queue, max_queue, cx).await.map_err(|error| error.with_sent(Sent::No))?,
    };
    let mut reply = work().await?;
    reply.hold_permit(permit);
    Ok(reply)
}

async fn wait_in(queue: &Arc<RequestQueue>, max_queue: Option<Duration>, cx: &Context) -> Result<Permit> {
    let enter = pin!(queue.enter(cx));
    let Some(longest) = max_queue else { return cx.guard(enter).await };
    let bounded =
        async { cx.clock().timeout(longest, enter).await?.unwrap_or_else(|| Err(queued_too_long())) };
    cx.guard(bounded).await
}

/// Not retried, because queueing again would take as long again; another backend may serve.
fn queued_too_long() -> Error {
    Error::new(ErrorKind::Timeout, "too many requests were waiting in the queue of this backend")
        .with_persistence(Persistence::Exhausted)
        .with_context("phase", "queue")
}

/// The queue of all requests with one credential.
#[derive(Debug)]
pub(super) struct RequestQueue {
    permits: Arc<Semaphore>,
    /// The number of permits that there should be.
    most: Mutex<usize>,
    /// Permits in flight that are not returned, because the limit was tightened meanwhile.
    surplus: AtomicUsize,
    gap_nanos: AtomicU64,
    next_start: Mutex<Option<Instant>>,
}

static QUEUES: LazyLock<Mutex<HashMap<CredentialId, Weak<RequestQueue>>>> = LazyLock::new(Mutex::default);

impl RequestQueue {
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
        let mut queues = locked(&QUEUES);
        if let Some(queue) = queues.get(&credential).and_then(Weak::upgrade) {
            queue.tighten(most, gap);
            return queue;
        }
        queues.retain(|_, queue| queue.strong_count() > 0);
        let queue = Arc::new(Self::new(most, gap));
        queues.insert(credential, Arc::downgrade(&queue));
        queue
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

    /// A permit, if there is one without waiting.
    fn enter_at_once(self: &Arc<Self>) -> Option<Permit> {
        if self.gap_nanos.load(Ordering::Relaxed) > 0 {
            return None;
        }
        // Waiting requests still go first: tokio gives returned permits to its own queue before it serves others.
        let permit = Arc::clone(&self.permits).try_acquire_owned().ok()?;
        Some(Permit { permit: Some(permit), queue: Arc::clone(self) })
    }

    async fn enter(self: &Arc<Self>, cx: &Context) -> Result<Permit> {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| Error::new(ErrorKind::Unexpected, "the queue was closed"))?;
        let permit = Permit { permit: Some(permit), queue: Arc::clone(self) };
        let wait = self.reserve_start(cx.clock().now());
        if !wait.is_zero() {
            cx.clock().sleep(wait).await?;
        }
        Ok(permit)
    }

    /// Reserves the next free start and returns the time until then.
    fn reserve_start(&self, now: Instant) -> Duration {
        let mut next = locked(&self.next_start);
        let start = next.map_or(now, |next| next.max(now));
        *next = start.checked_add(self.gap());
        start.duration_since(now)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// A permit for one request in flight; dropping it lets the next request through.
#[derive(Debug)]
pub(super) struct Permit {
    permit: Option<OwnedSemaphorePermit>,
    queue: Arc<RequestQueue>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let one_less = |surplus: usize| surplus.checked_sub(1);
        let vanishes =
            self.queue.surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok();
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
        let queue = Arc::new(RequestQueue::new(Some(3), Duration::ZERO));
        let held: Vec<Permit> = (0..3).map(|_| queue.enter_at_once().expect("free")).collect();
        queue.tighten(Some(1), Duration::ZERO);
        drop(held);
        let only = queue.enter_at_once().expect("one is left");
        assert!(queue.enter_at_once().is_none());
        drop(only);
        assert!(queue.enter_at_once().is_some());
        queue.tighten(Some(5), Duration::ZERO);
        assert_eq!(queue.permits.available_permits(), 1, "a looser limit does not loosen the others'");
    }

    #[test]
    fn a_queue_without_limit_can_be_tightened() {
        let queue = Arc::new(RequestQueue::new(None, Duration::ZERO));
        let held = queue.enter_at_once().expect("free");
        queue.tighten(Some(1), Duration::ZERO);
        assert!(queue.enter_at_once().is_none());
        drop(held);
        assert!(queue.enter_at_once().is_some());
    }

    #[test]
    fn starts_keep_their_distance() {
        let queue = RequestQueue::new(None, Duration::from_secs(2));
        let now = Instant::now();
        let waits: Vec<u64> = (0..3).map(|_| queue.reserve_start(now).as_secs()).collect();
        assert_eq!(waits, [0, 2, 4]);
        assert_eq!(queue.reserve_start(now + Duration::from_secs(9)), Duration::ZERO);
    }
}
