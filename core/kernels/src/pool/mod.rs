//! The thread pool: work is cut into parts, and every idle thread takes some.
//!
//! A call takes no lock. The caller claims a slot of a small table, opens it, and takes parts itself; workers see the
//! open slot and take parts too. A caller never depends on a worker: with none free, or with every slot taken, it does
//! all parts itself. So any number of callers make progress on any number of threads, and calls may nest. Which thread
//! does a part never changes what the part computes.

mod job;
mod shared;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};

use crate::cache::l2_bytes;
use crate::error::{KernelError, Result};
use shared::Shared;

/// No pool has more threads than this.
pub const MAX_THREADS: usize = 256;

/// A thread pool. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    workers: Workers,
    threads: usize,
    l2_bytes: usize,
}

#[derive(Clone)]
enum Workers {
    /// Those of the process, started at the first use, and again in a forked child.
    Process,
    /// Its own, which end with the last clone.
    Own(Arc<Owned>),
}

/// Stops the workers of a pool when dropped.
struct Owned(Arc<Shared>);

impl Drop for Owned {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// The process's pool: null, or a leaked `Arc`.
static OF_PROCESS: AtomicPtr<Shared> = AtomicPtr::new(std::ptr::null_mut());

impl Pool {
    /// The pool that everything in this process shares. The first call decides how many threads it has: `threads`, or
    /// by default as many as the process may run at once (by CPU affinity and cgroup quota).
    ///
    /// # Errors
    /// [`KernelError::Settings`] for a number that is not from 1 to [`MAX_THREADS`], or not the one that the pool has.
    pub fn of_process(threads: Option<usize>) -> Result<Self> {
        static THREADS: OnceLock<usize> = OnceLock::new();
        if let Some(wanted) = threads
            && !(1..=MAX_THREADS).contains(&wanted)
        {
            let text = format!("{wanted} threads are not supported; valid: 1 to {MAX_THREADS}");
            return Err(KernelError::Settings(text));
        }
        let chosen = *THREADS.get_or_init(|| threads.unwrap_or_else(available_threads));
        match threads {
            Some(wanted) if wanted != chosen => Err(KernelError::Settings(format!(
                "the thread pool of this process already has {chosen} threads; it cannot have {wanted}"
            ))),
            _ => Ok(Self { threads: chosen, ..Self::alone() }),
        }
    }

    /// A pool of its own, of at least one thread and at most [`MAX_THREADS`]: for tests and measurements.
    pub fn new(threads: usize) -> Self {
        let threads = threads.clamp(1, MAX_THREADS);
        let workers = Workers::Own(Arc::new(Owned(Shared::start(threads))));
        Self { workers, threads, ..Self::alone() }
    }

    /// How many threads work at once, including the caller.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Bytes of L2 cache for each thread, by which work is cut into parts. Results do not depend on it.
    pub(crate) fn l2_bytes(&self) -> usize {
        self.l2_bytes
    }

    /// The same threads as if they had so many bytes.
    #[cfg(test)]
    pub(crate) fn with_l2_bytes(self, l2_bytes: usize) -> Self {
        Self { l2_bytes, ..self }
    }

    /// The calling thread alone: for work that is itself a part of a pool's.
    pub fn alone() -> Self {
        Self { workers: Workers::Process, threads: 1, l2_bytes: l2_bytes() }
    }

    /// Calls `part` with every number below `parts`, on this and other threads, and returns when all are done.
    ///
    /// # Panics
    /// With the panic of a part, once all parts that had started are done.
    pub fn parallel(&self, parts: usize, part: impl Fn(usize) + Sync) {
        if parts <= 1 || self.threads == 1 {
            (0..parts).for_each(part);
            return;
        }
        match &self.workers {
            Workers::Own(owned) => owned.0.run(parts, &part),
            Workers::Process => shared_of_process(self.threads).run(parts, &part),
        }
    }

    /// Calls `work` with the number and the content of every chunk of `size` elements of a slice (the last may
    /// be shorter), as [`parallel`](Self::parallel) does.
    ///
    /// # Panics
    /// With the panic of a part.
    pub fn parallel_chunks<T: Send>(
        &self,
        slice: &mut [T],
        size: usize,
        work: impl Fn(usize, &mut [T]) + Sync,
    ) {
        let (length, size) = (slice.len(), size.max(1));
        let start = SharedStart(slice.as_mut_ptr());
        self.parallel(length.div_ceil(size), |number| {
            let from = number * size;
            let size = size.min(length - from);
            // SAFETY: within the slice, and no other part touches the chunk of this number.
            let chunk = unsafe { std::slice::from_raw_parts_mut(start.get().add(from), size) };
            work(number, chunk);
        });
    }
}

/// The start of a slice that several threads write, each its own part.
#[derive(Debug)]
pub(crate) struct SharedStart<T>(pub(crate) *mut T);

// SAFETY: whoever dereferences the pointer answers for touching only what is its own.
unsafe impl<T: Send> Sync for SharedStart<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Send for SharedStart<T> {}

impl<T> SharedStart<T> {
    /// The pointer. A method, because a closure would capture the field, which is not `Sync`.
    pub(crate) fn get(&self) -> *mut T {
        self.0
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pool({} threads)", self.threads)
    }
}

/// The process's pool, started if there is none or if it belongs to the parent process.
fn shared_of_process(threads: usize) -> &'static Shared {
    let found = OF_PROCESS.load(Ordering::Acquire);
    // SAFETY: what is stored was leaked below and is never freed.
    if let Some(shared) = unsafe { found.as_ref() }
        && shared.is_of_this_process()
    {
        return shared;
    }
    // No lock: in a forked child, a thread that does not exist there could hold it.
    let mine = Arc::into_raw(Shared::start(threads)).cast_mut();
    let winner = match OF_PROCESS.compare_exchange(found, mine, Ordering::AcqRel, Ordering::Acquire) {
        Ok(_) => mine,
        Err(other) => {
            // SAFETY: `mine` came from `into_raw` and was not published.
            unsafe { Arc::from_raw(mine) }.close();
            other
        }
    };
    // SAFETY: published pools are never freed.
    unsafe { &*winner }
}

/// As many threads as the process may run: the standard library reads its CPU affinity and the quotas of both cgroup
/// versions.
fn available_threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS)
}
