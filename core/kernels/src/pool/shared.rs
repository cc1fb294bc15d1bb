//! The table of slots, and the workers that take parts from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

use super::job::Slot;

/// How many calls can be open to workers at once; further callers work alone.
const SLOTS: usize = 32;

/// How long an idle worker spins before it sleeps. Models call kernels in quick succession.
const SPIN_TIME: Duration = Duration::from_micros(50);

/// The state that callers and workers of a pool share.
pub(super) struct Shared {
    process: u32,
    slots: [Slot; SLOTS],
    /// One bit per slot: claimed by a caller.
    claimed: AtomicU32,
    /// One bit per slot: has parts to take.
    open: AtomicU32,
    /// How many workers sleep.
    sleeping: AtomicUsize,
    workers: Vec<Worker>,
    closed: AtomicBool,
}

/// The state of a worker.
struct Worker {
    asleep: AtomicBool,
    thread: std::sync::OnceLock<Thread>,
}

impl Shared {
    /// A pool of `threads`, including the caller. If a worker cannot be started, the pool has fewer.
    pub(super) fn start(threads: usize) -> Arc<Self> {
        let worker = |_| Worker { asleep: AtomicBool::new(false), thread: std::sync::OnceLock::new() };
        let shared = Arc::new(Self {
            process: std::process::id(),
            slots: std::array::from_fn(|_| Slot::new()),
            claimed: AtomicU32::new(0),
            open: AtomicU32::new(0),
            sleeping: AtomicUsize::new(0),
            workers: (1..threads).map(worker).collect(),
            closed: AtomicBool::new(false),
        });
        for number in 0..shared.workers.len() {
            let theirs = Arc::clone(&shared);
            let name = format!("ayni-{}", number + 1);
            let started = std::thread::Builder::new().name(name).spawn(move || theirs.work(number));
            if let (Ok(handle), Some(worker)) = (started, shared.workers.get(number)) {
                let _ = worker.thread.set(handle.thread().clone());
            }
        }
        shared
    }

    /// Whether the workers are threads of this process, and not of the one that it was forked from.
    pub(super) fn is_of_this_process(&self) -> bool {
        self.process == std::process::id()
    }

    #[cfg(test)]
    pub(super) fn sleeping_workers(&self) -> usize {
        self.sleeping.load(Ordering::SeqCst)
    }

    /// Stops the workers.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        for worker in &self.workers {
            if let Some(thread) = worker.thread.get() {
                thread.unpark();
            }
        }
    }

    /// Calls `part` with every number below `parts`.
    pub(super) fn run(&self, parts: usize, part: &(dyn Fn(usize) + Sync)) {
        let Some((number, slot)) = self.claim() else {
            (0..parts).for_each(part);
            return;
        };
        let claim = Claim { shared: self, bit: 1 << number };
        let announce = || {
            self.open.fetch_or(claim.bit, Ordering::SeqCst);
            self.wake(parts - 1);
        };
        let withdraw = || {
            self.open.fetch_and(!claim.bit, Ordering::SeqCst);
        };
        // SAFETY: the slot is claimed by us until `claim` is dropped.
        unsafe { slot.run(parts, part, announce, withdraw) };
    }

    fn claim(&self) -> Option<(u32, &Slot)> {
        let mut claimed = self.claimed.load(Ordering::Relaxed);
        loop {
            let number = claimed.trailing_ones();
            let slot = self.slots.get(number as usize)?;
            let with = claimed | 1 << number;
            match self.claimed.compare_exchange_weak(claimed, with, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Some((number, slot)),
                Err(now) => claimed = now,
            }
        }
    }

    /// Wakes up to `wanted` sleeping workers.
    fn wake(&self, wanted: usize) {
        let mut wanted = wanted.min(self.sleeping.load(Ordering::SeqCst));
        for worker in &self.workers {
            if wanted == 0 {
                return;
            }
            if worker.asleep.swap(false, Ordering::SeqCst) {
                self.sleeping.fetch_sub(1, Ordering::SeqCst);
                if let Some(thread) = worker.thread.get() {
                    thread.unpark();
                }
                wanted -= 1;
            }
        }
    }

    fn work(&self, number: usize) {
        let mut start = number;
        let mut idle_since = Instant::now();
        while !self.closed.load(Ordering::Relaxed) {
            if self.help_once(&mut start) {
                idle_since = Instant::now();
                continue;
            }
            for _ in 0..6 {
                std::hint::spin_loop();
            }
            if idle_since.elapsed() >= SPIN_TIME {
                self.sleep(number);
                idle_since = Instant::now();
            }
        }
    }

    /// Takes parts of one open slot, starting at another one each time so that all callers are helped.
    fn help_once(&self, start: &mut usize) -> bool {
        let open = self.open.load(Ordering::SeqCst);
        if open == 0 {
            return false;
        }
        let from = *start % SLOTS;
        let turned = open.rotate_right(from as u32);
        let number = (from + turned.trailing_zeros() as usize) % SLOTS;
        *start = number + 1;
        self.slots.get(number).is_some_and(Slot::help)
    }

    fn sleep(&self, number: usize) {
        let Some(worker) = self.workers.get(number) else { return };
        worker.asleep.store(true, Ordering::SeqCst);
        self.sleeping.fetch_add(1, Ordering::SeqCst);
        // A caller that opens a slot after this check sees that we sleep, and wakes us.
        while worker.asleep.load(Ordering::SeqCst)
            && self.open.load(Ordering::SeqCst) == 0
            && !self.closed.load(Ordering::SeqCst)
        {
            std::thread::park();
        }
        if worker.asleep.swap(false, Ordering::SeqCst) {
            self.sleeping.fetch_sub(1, Ordering::SeqCst);
        }
    }
}

/// Releases the slot, also when a part has panicked.
struct Claim<'pool> {
    shared: &'pool Shared,
    bit: u32,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.shared.claimed.fetch_and(!self.bit, Ordering::Release);
    }
}
