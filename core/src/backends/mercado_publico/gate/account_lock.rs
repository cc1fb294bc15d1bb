//! The lock of an account: one request at a time, with a gap between requests. It holds between the clients of a
//! process, the processes of a machine and the machines that share a store.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lock_file::{LockFile, LockedFile};
use super::store_lease::{HeldLease, LastEnd, StoreLease};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::policy::breaker::Breaker;
use crate::runtime;

/// How often to check whether another process has released its lock file.
const POLL_INTERVAL: Duration = Duration::from_millis(25);
/// How long to wait for the lock to be released after an answer. The release goes on after that, unless the runtime
/// ends.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(2);
/// The failures in a row that open the breaker of an API, and how long it stays open.
const BREAKER: (u32, Duration) = (5, Duration::from_secs(60));

/// The queue for the lock of an account. All clients of the process with the same account share it.
#[derive(Debug)]
pub(crate) struct AccountQueue {
    /// One permit. tokio serves waiters in the order in which they came.
    permit: Arc<Semaphore>,
    state: Mutex<QueueState>,
    /// One breaker per API of this account, by the API's name.
    breakers: Mutex<HashMap<&'static str, Arc<Breaker>>>,
    /// The requests in flight, by the keys of their answers.
    flights: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

#[derive(Debug, Default)]
struct QueueState {
    gap: Duration,
    lock: Option<Arc<LockFile>>,
    /// When this process's last request ended.
    last_end: Option<Instant>,
}

static QUEUES: LazyLock<Mutex<HashMap<String, Weak<AccountQueue>>>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AccountQueue {
    /// The queue of `account`. If its clients ask for different gaps, the longest applies. If one of them has a lock
    /// file, all of them take it.
    pub(crate) fn of(account: &str, gap: Duration, lock: Option<LockFile>) -> Arc<Self> {
        let mut queues = locked(&QUEUES);
        queues.retain(|_, queue| queue.strong_count() > 0);
        let known = queues.get(account).and_then(Weak::upgrade);
        let queue = known.unwrap_or_else(|| {
            let new = Arc::new(Self {
                permit: Arc::new(Semaphore::new(1)),
                state: Mutex::default(),
                breakers: Mutex::default(),
                flights: Mutex::default(),
            });
            queues.insert(account.to_owned(), Arc::downgrade(&new));
            new
        });
        let mut state = locked(&queue.state);
        state.gap = state.gap.max(gap);
        state.lock = state.lock.take().or(lock.map(Arc::new));
        drop(state);
        queue
    }

    pub(crate) fn breaker(&self, api: &'static str) -> Arc<Breaker> {
        let new = || Arc::new(Breaker::new(BREAKER.0, BREAKER.1));
        Arc::clone(locked(&self.breakers).entry(api).or_insert_with(new))
    }

    /// What equal requests lock one after the other, so that only the first is sent.
    pub(crate) fn flight(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut flights = locked(&self.flights);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let known = flights.get(key).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let new = Arc::default();
            flights.insert(key.to_owned(), Arc::downgrade(&new));
            new
        })
    }

    /// Waits for the lock. Clients of one process are served in the order in which they came. Processes and machines
    /// alternate, because the last holder waits for the gap to pass before it tries again.
    ///
    /// # Errors
    /// `cancelled`, `timeout`, `config_invalid` if the lock file cannot be used, and errors of the store of `lease`.
    pub(crate) async fn lock(
        self: &Arc<Self>,
        cx: &Context,
        lease: Option<&StoreLease>,
    ) -> Result<AccountLock> {
        cx.guard(self.wait(cx, lease)).await.map_err(|error| error.with_sent(Sent::No))
    }

    async fn wait(self: &Arc<Self>, cx: &Context, lease: Option<&StoreLease>) -> Result<AccountLock> {
        let permit = Arc::clone(&self.permit).acquire_owned().await;
        let permit = permit.map_err(|_| Error::new(ErrorKind::Unexpected, "the queue was closed"))?;
        let (gap, lock, last_end) = {
            let state = locked(&self.state);
            (state.gap, state.lock.clone(), state.last_end)
        };
        let since = |end: Instant| cx.clock().now().saturating_duration_since(end);
        if let Some(left) = last_end.and_then(|end| gap.checked_sub(since(end))) {
            cx.clock().sleep(left).await?;
        }
        let mut guard = AccountLock {
            permit: Some(permit),
            file: None,
            lease: None,
            queue: Arc::clone(self),
            clock: cx.clock().clone(),
        };
        let mut left = None;
        if let Some(lock) = lock {
            let file = self.wait_for_file(cx, &lock).await?;
            // A clock that was set back must not make this wait forever.
            let since = file.last_end.and_then(|end| cx.clock().system_time().duration_since(end).ok());
            left = since.and_then(|since| gap.checked_sub(since));
            guard.file = Some(file);
        }
        if let Some(lease) = lease {
            let held = lease.acquire().await?;
            let by_others = match held.last_end {
                None => None,
                Some(LastEnd::JustNow) => Some(gap),
                // Another machine's clock may be ahead of ours.
                Some(LastEnd::At(end)) => {
                    gap.checked_sub(cx.clock().system_time().duration_since(end).unwrap_or_default())
                }
            };
            left = left.max(by_others);
            guard.lease = Some(held);
        }
        if let Some(left) = left {
            cx.clock().sleep(left).await?;
        }
        Ok(guard)
    }

    async fn wait_for_file(&self, cx: &Context, lock: &Arc<LockFile>) -> Result<LockedFile> {
        loop {
            if let Some(file) = try_lock_file(lock).await? {
                return Ok(file);
            }
            cx.clock().sleep(POLL_INTERVAL).await?;
        }
    }
}

/// Tries to lock the file, on a thread for blocking work.
async fn try_lock_file(lock: &Arc<LockFile>) -> Result<Option<LockedFile>> {
    let lock = Arc::clone(lock);
    runtime::run_blocking(move || lock.try_lock()).await
}

/// Held while the account's one request is in flight. Dropping it releases the lock in the background.
#[derive(Debug)]
pub(crate) struct AccountLock {
    permit: Option<OwnedSemaphorePermit>,
    file: Option<LockedFile>,
    lease: Option<HeldLease>,
    queue: Arc<AccountQueue>,
    clock: crate::context::Clock,
}

impl AccountLock {
    /// Releases the lock and waits briefly until other machines can see it. If the program exits before that, they
    /// have to wait for the lease to expire.
    pub(crate) async fn release(mut self) {
        if let Some(done) = self.start_release() {
            drop(runtime::timeout(RELEASE_TIMEOUT, done).await);
        }
    }

    fn start_release(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        // A lock that was released explicitly is dropped too.
        let permit = self.permit.take()?;
        locked(&self.queue.state).last_end = Some(self.clock.now());
        let (file, ended) = (self.file.take(), self.clock.system_time());
        let release = move || {
            if let Some(file) = file {
                release_file(file, ended);
            }
            // Last, so that the next client of this process does not find the file still locked by this one.
            drop(permit);
        };
        match (self.lease.take(), tokio::runtime::Handle::try_current()) {
            (Some(lease), runtime) => Some(lease.release(ended, move || match runtime {
                Ok(runtime) => drop(runtime.spawn_blocking(release)),
                Err(_) => release(),
            })),
            (None, Ok(runtime)) => {
                drop(runtime.spawn_blocking(release));
                None
            }
            (None, Err(_)) => {
                release();
                None
            }
        }
    }
}

impl Drop for AccountLock {
    fn drop(&mut self) {
        drop(self.start_release());
    }
}

fn release_file(file: LockedFile, ended: SystemTime) {
    if let Err(error) = file.release(ended) {
        tracing::warn!(error = %error, "the lock file was released without the time of the last request");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::context::{Cancellation, Clock, ManualClock};

    fn queue(name: &str, gap: Duration) -> Arc<AccountQueue> {
        AccountQueue::of(&format!("{name}-{}", std::process::id()), gap, None)
    }

    #[tokio::test]
    async fn clients_of_an_account_are_served_one_at_a_time_in_order() {
        let clock = ManualClock::automatic();
        let cx = Context::new().with_clock(Clock::from(clock.clone()));
        let queue = queue("order", Duration::from_secs(2));
        assert!(Arc::ptr_eq(&queue, &self::queue("order", Duration::from_secs(1))));
        let (inside, order) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let one = |index: usize| {
            let (queue, cx, inside, order) =
                (Arc::clone(&queue), cx.clone(), Arc::clone(&inside), Arc::clone(&order));
            async move {
                let lock_guard = queue.lock(&cx, None).await.expect("locked");
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
                tokio::task::yield_now().await;
                locked(&order).push(index);
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(lock_guard);
            }
        };
        futures_util::future::join_all((0..5).map(one)).await;
        assert_eq!(*locked(&order), [0, 1, 2, 3, 4]);
        assert_eq!(clock.slept(), [Duration::from_secs(2); 4], "the longest gap applies");
    }

    #[tokio::test]
    async fn a_client_that_stops_waiting_does_not_block_the_others() {
        let queue = queue("gives-up", Duration::ZERO);
        let lock_guard = queue.lock(&Context::new(), None).await.expect("locked");
        let cancellation = Cancellation::new();
        let cx = Context::new().with_cancellation(cancellation.clone());
        let (waits, ()) = tokio::join!(queue.lock(&cx, None), async { cancellation.cancel() });
        let error = waits.expect_err("cancelled");
        assert_eq!((error.kind(), error.sent()), (ErrorKind::Cancelled, Sent::No));
        drop(lock_guard);
        queue.lock(&Context::new(), None).await.expect("locked");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn queues_with_one_lock_file_alternate_and_keep_the_gap() {
        let folder = tempfile::tempdir().expect("a folder");
        let gap = Duration::from_millis(60);
        // Two account names stand for two processes: they share only the file.
        let queues = ["process-a", "process-b"].map(|name| {
            AccountQueue::of(
                &format!("{name}-{}", std::process::id()),
                gap,
                Some(LockFile::new(folder.path(), "x")),
            )
        });
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks = queues.into_iter().enumerate().map(|(who, queue)| {
            let order = Arc::clone(&order);
            tokio::spawn(async move {
                for _ in 0..4 {
                    let lock_guard = queue.lock(&Context::new(), None).await.expect("locked");
                    locked(&order).push((who, Instant::now()));
                    drop(lock_guard);
                }
            })
        });
        futures_util::future::join_all(tasks).await.into_iter().for_each(|task| task.expect("joined"));
        let order = locked(&order);
        let close =
            |pair: &[(usize, Instant)]| pair[1].1.duration_since(pair[0].1) < gap - Duration::from_millis(2);
        assert!(!order.windows(2).any(close), "{order:?}");
        let alternations = order.windows(2).filter(|pair| pair[0].0 != pair[1].0).count();
        assert!(alternations >= 4, "neither starves: {order:?}");
    }
}
