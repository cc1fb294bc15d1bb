//! One request at a time for an account, with a gap between them: in the process, between processes, and between
//! machines.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::file::{Held, LockFile};
use super::lease::{self, LastEnd, Lease};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};
use crate::policy::breaker::Breaker;
use crate::runtime;

/// How often the lock of another process is looked at.
const LOOK: Duration = Duration::from_millis(25);
/// How long whoever has an answer waits for the turn to be given back. It is given back later too, unless the
/// runtime ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// So many failures in a row open the breaker of an API, for so long.
const BREAKER: (u32, Duration) = (5, Duration::from_secs(60));

/// The queue of an account. Every client of the process with the same account has the same one.
#[derive(Debug)]
pub(crate) struct Queue {
    /// One permit; tokio gives it out first come, first served.
    permit: Arc<Semaphore>,
    state: Mutex<State>,
    /// Failures of the services behind this account, by the name of the API.
    breakers: Mutex<HashMap<&'static str, Arc<Breaker>>>,
}

#[derive(Debug, Default)]
struct State {
    gap: Duration,
    lock: Option<Arc<LockFile>>,
    /// When this process's last request ended.
    last_end: Option<Instant>,
}

static QUEUES: LazyLock<Mutex<HashMap<String, Weak<Queue>>>> = LazyLock::new(Mutex::default);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Queue {
    /// The queue of `account`. Of several clients' gaps the longest holds, and a lock file that one of them
    /// names is taken by all.
    pub(crate) fn of(account: &str, gap: Duration, lock: Option<LockFile>) -> Arc<Self> {
        let mut queues = locked(&QUEUES);
        queues.retain(|_, queue| queue.strong_count() > 0);
        let known = queues.get(account).and_then(Weak::upgrade);
        let queue = known.unwrap_or_else(|| {
            let new = Arc::new(Self {
                permit: Arc::new(Semaphore::new(1)),
                state: Mutex::default(),
                breakers: Mutex::default(),
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

    /// The breaker of one of the APIs.
    pub(crate) fn breaker(&self, api: &'static str) -> Arc<Breaker> {
        let new = || Arc::new(Breaker::new(BREAKER.0, BREAKER.1));
        Arc::clone(locked(&self.breakers).entry(api).or_insert_with(new))
    }

    /// Waits for the turn. Clients of one process are served in the order in which they came; processes and
    /// machines take turns, because who had the last one waits out the gap before asking for the next.
    ///
    /// # Errors
    /// `cancelled`, `timeout`, that the lock file cannot be used, or what the store of `lease` says.
    pub(crate) async fn enter(self: &Arc<Self>, cx: &Context, lease: Option<&Lease>) -> Result<Turn> {
        cx.guard(self.wait(cx, lease)).await.map_err(|error| error.with_sent(Sent::No))
    }

    async fn wait(self: &Arc<Self>, cx: &Context, lease: Option<&Lease>) -> Result<Turn> {
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
        let mut turn = Turn {
            permit: Some(permit),
            held: None,
            leased: None,
            queue: Arc::clone(self),
            clock: cx.clock().clone(),
        };
        let mut left = None;
        if let Some(lock) = lock {
            let held = self.taken(cx, &lock).await?;
            // A clock that was set back must not make the wait endless.
            let since = held.last_end.and_then(|end| cx.clock().system_time().duration_since(end).ok());
            left = since.and_then(|since| gap.checked_sub(since));
            turn.held = Some(held);
        }
        if let Some(lease) = lease {
            let leased = lease.take().await?;
            let by_others = match leased.last_end {
                None => None,
                Some(LastEnd::JustNow) => Some(gap),
                // Another machine's clock may be ahead of ours.
                Some(LastEnd::At(end)) => {
                    gap.checked_sub(cx.clock().system_time().duration_since(end).unwrap_or_default())
                }
            };
            left = left.max(by_others);
            turn.leased = Some(leased);
        }
        if let Some(left) = left {
            cx.clock().sleep(left).await?;
        }
        Ok(turn)
    }

    async fn taken(&self, cx: &Context, lock: &Arc<LockFile>) -> Result<Held> {
        loop {
            if let Some(held) = take(lock).await? {
                return Ok(held);
            }
            cx.clock().sleep(LOOK).await?;
        }
    }
}

/// Looks at the lock on a thread for blocking work.
async fn take(lock: &Arc<LockFile>) -> Result<Option<Held>> {
    let lock = Arc::clone(lock);
    runtime::run_blocking(move || lock.try_take()).await
}

/// The right to have the one request in flight. Dropping it lets the next one through.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    held: Option<Held>,
    leased: Option<lease::Held>,
    queue: Arc<Queue>,
    clock: crate::context::Clock,
}

impl Turn {
    /// Lets the next one through and waits a little for other machines to know: a program that ends now would
    /// leave them to find out.
    pub(crate) async fn end(mut self) {
        if let Some(done) = self.give_back() {
            drop(runtime::timeout(FAREWELL, done).await);
        }
    }

    fn give_back(&mut self) -> Option<tokio::task::JoinHandle<()>> {
        // A turn that was ended is dropped too.
        let permit = self.permit.take()?;
        locked(&self.queue.state).last_end = Some(self.clock.now());
        let (held, ended) = (self.held.take(), self.clock.system_time());
        let release = move || {
            if let Some(held) = held {
                give_back(held, ended);
            }
            // Only now: the next of this process must not find the others' turn taken by the last one.
            drop(permit);
        };
        match (self.leased.take(), tokio::runtime::Handle::try_current()) {
            (Some(leased), runtime) => Some(leased.give_back(ended, move || match runtime {
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

impl Drop for Turn {
    fn drop(&mut self) {
        drop(self.give_back());
    }
}

fn give_back(held: Held, ended: SystemTime) {
    if let Err(error) = held.release(ended) {
        tracing::warn!(error = %error, "the turn of this process was given back without its end");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::context::{Cancellation, Clock, ManualClock};

    fn queue(name: &str, gap: Duration) -> Arc<Queue> {
        Queue::of(&format!("{name}-{}", std::process::id()), gap, None)
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
                let turn = queue.enter(&cx, None).await.expect("a turn");
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "alone");
                tokio::task::yield_now().await;
                locked(&order).push(index);
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(turn);
            }
        };
        futures_util::future::join_all((0..5).map(one)).await;
        assert_eq!(*locked(&order), [0, 1, 2, 3, 4]);
        assert_eq!(clock.slept(), [Duration::from_secs(2); 4], "the longest gap of them holds");
    }

    #[tokio::test]
    async fn who_gives_up_waiting_lets_the_others_through() {
        let queue = queue("gives-up", Duration::ZERO);
        let turn = queue.enter(&Context::new(), None).await.expect("a turn");
        let cancellation = Cancellation::new();
        let cx = Context::new().with_cancellation(cancellation.clone());
        let (waits, ()) = tokio::join!(queue.enter(&cx, None), async { cancellation.cancel() });
        let error = waits.expect_err("cancelled");
        assert_eq!((error.kind(), error.sent()), (ErrorKind::Cancelled, Sent::No));
        drop(turn);
        queue.enter(&Context::new(), None).await.expect("a turn");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn queues_over_one_file_take_turns_and_keep_the_gap() {
        let folder = tempfile::tempdir().expect("a folder");
        let gap = Duration::from_millis(60);
        // Two accounts' names stand for two processes: nothing is shared but the file.
        let queues = ["process-a", "process-b"].map(|name| {
            Queue::of(&format!("{name}-{}", std::process::id()), gap, Some(LockFile::new(folder.path(), "x")))
        });
        let order = Arc::new(Mutex::new(Vec::new()));
        let tasks = queues.into_iter().enumerate().map(|(who, queue)| {
            let order = Arc::clone(&order);
            tokio::spawn(async move {
                for _ in 0..4 {
                    let turn = queue.enter(&Context::new(), None).await.expect("a turn");
                    locked(&order).push((who, Instant::now()));
                    drop(turn);
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
