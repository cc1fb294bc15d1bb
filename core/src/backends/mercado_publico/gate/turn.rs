//! One request at a time for an account, with a gap between them: in the process, and between processes.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::breaker::Breaker;
use super::file::{Held, LockFile};
use crate::context::Context;
use crate::error::{Error, ErrorKind, Result, Sent};

/// How often the lock of another process is looked at.
const LOOK: Duration = Duration::from_millis(25);

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
        Arc::clone(locked(&self.breakers).entry(api).or_default())
    }

    /// Waits for the turn. Clients of one process are served in the order in which they came; processes take
    /// turns, because who had the last one waits out the gap before asking for the next.
    ///
    /// # Errors
    /// `cancelled`, `timeout`, or that the lock file cannot be used.
    pub(crate) async fn enter(self: &Arc<Self>, cx: &Context) -> Result<Turn> {
        cx.guard(self.wait(cx)).await.map_err(|error| error.with_sent(Sent::No))
    }

    async fn wait(self: &Arc<Self>, cx: &Context) -> Result<Turn> {
        let permit = Arc::clone(&self.permit).acquire_owned().await;
        let permit = permit.map_err(|_| Error::new(ErrorKind::Unexpected, "the queue was closed"))?;
        let (gap, lock, last_end) = {
            let state = locked(&self.state);
            (state.gap, state.lock.clone(), state.last_end)
        };
        let since = |end: Instant| cx.clock().now().saturating_duration_since(end);
        if let Some(left) = last_end.and_then(|end| gap.checked_sub(since(end))) {
            cx.clock().sleep(left).await;
        }
        let mut turn =
            Turn { permit: Some(permit), held: None, queue: Arc::clone(self), clock: cx.clock().clone() };
        let Some(lock) = lock else { return Ok(turn) };
        let held = loop {
            if let Some(held) = take(&lock).await? {
                break held;
            }
            cx.clock().sleep(LOOK).await;
        };
        let others_end = held.last_end;
        turn.held = Some(held);
        // A clock that was set back must not make the wait endless.
        let since = others_end.and_then(|end| cx.clock().system_time().duration_since(end).ok());
        if let Some(left) = since.and_then(|since| gap.checked_sub(since)) {
            cx.clock().sleep(left).await;
        }
        Ok(turn)
    }
}

/// Looks at the lock on a thread for blocking work.
async fn take(lock: &Arc<LockFile>) -> Result<Option<Held>> {
    let lock = Arc::clone(lock);
    let taken = tokio::task::spawn_blocking(move || lock.try_take()).await;
    taken.map_err(|error| {
        Error::new(ErrorKind::Unexpected, "looking at the lock file was ended").with_source(error)
    })?
}

/// The right to have the one request in flight. Dropping it lets the next one through.
#[derive(Debug)]
pub(crate) struct Turn {
    permit: Option<OwnedSemaphorePermit>,
    held: Option<Held>,
    queue: Arc<Queue>,
    clock: crate::context::Clock,
}

impl Drop for Turn {
    fn drop(&mut self) {
        locked(&self.queue.state).last_end = Some(self.clock.now());
        let (permit, held, ended) = (self.permit.take(), self.held.take(), self.clock.system_time());
        let Some(held) = held else { return };
        let release = move || {
            give_back(held, ended);
            // Only now: the next of this process must not find the file locked by the last one.
            drop(permit);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(release)),
            Err(_) => release(),
        }
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
                let turn = queue.enter(&cx).await.expect("a turn");
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
        let turn = queue.enter(&Context::new()).await.expect("a turn");
        let cancellation = Cancellation::new();
        let cx = Context::new().with_cancellation(cancellation.clone());
        let (waits, ()) = tokio::join!(queue.enter(&cx), async { cancellation.cancel() });
        let error = waits.expect_err("cancelled");
        assert_eq!((error.kind(), error.sent()), (ErrorKind::Cancelled, Sent::No));
        drop(turn);
        queue.enter(&Context::new()).await.expect("a turn");
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
                    let turn = queue.enter(&Context::new()).await.expect("a turn");
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
