//! A slot: the parts of one call, which workers may take while the caller works on them.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};

/// Set while workers may enter.
const OPEN: u32 = 1 << 31;
/// Set when the caller sleeps until the last worker leaves.
const WAITING: u32 = 1 << 30;
/// The other bits count the workers inside.
const INSIDE: u32 = WAITING - 1;

/// How long a caller spins before it sleeps, while the workers finish their last parts.
const SPIN_TIME: Duration = Duration::from_micros(20);

type Part<'call> = dyn Fn(usize) + Sync + 'call;

/// The work of one call. Written by the caller before it opens the slot, read by the workers inside.
struct Job {
    /// Borrowed from the caller, who does not return before all workers are out.
    part: *const Part<'static>,
    parts: usize,
    caller: Option<Thread>,
}

/// Room for one call.
#[repr(align(128))]
pub(super) struct Slot {
    state: AtomicU32,
    next: AtomicUsize,
    job: UnsafeCell<Job>,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

// SAFETY: `job` is written only by the caller who claimed the slot while it is closed and nobody is inside,
// and read only by workers inside; what it points to is `Sync`.
unsafe impl Sync for Slot {}
// SAFETY: as above.
unsafe impl Send for Slot {}

fn nothing(_: usize) {}

impl Slot {
    pub(super) fn new() -> Self {
        Self {
            state: AtomicU32::new(0),
            next: AtomicUsize::new(0),
            job: UnsafeCell::new(Job { part: &nothing, parts: 0, caller: None }),
            panic: Mutex::new(None),
        }
    }

    /// Runs a call through this slot: opens it, takes parts, and waits until all workers are out. `announce`
    /// is called once it is open, `withdraw` when no part is left to take.
    ///
    /// # Safety
    /// The caller has claimed the slot and nobody else runs a call through it.
    pub(super) unsafe fn run(&self, parts: usize, part: &Part<'_>, announce: impl Fn(), withdraw: impl Fn()) {
        let part: *const Part<'_> = part;
        // SAFETY: only the lifetime changes; no worker keeps the reference after it is out, which we wait for.
        let part = unsafe { std::mem::transmute::<*const Part<'_>, *const Part<'static>>(part) };
        // A worker that enters now sees that the slot is closed, and does not read the job.
        // SAFETY: closed and claimed by us, so nobody reads the job.
        unsafe { *self.job.get() = Job { part, parts, caller: Some(std::thread::current()) } };
        self.next.store(0, Ordering::Relaxed);
        self.state.fetch_or(OPEN, Ordering::SeqCst);
        announce();
        // SAFETY: `part` is borrowed for this call.
        self.take_parts(unsafe { &*part }, parts);
        withdraw();
        self.state.fetch_and(!OPEN, Ordering::SeqCst);
        self.wait_until_empty();
        // SAFETY: nobody is inside any more.
        unsafe { (*self.job.get()).caller = None };
        let panic = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Takes parts if the slot is open; says whether it was.
    pub(super) fn help(&self) -> bool {
        if self.state.load(Ordering::Relaxed) & OPEN == 0 {
            return false;
        }
        let entered = self.state.fetch_add(1, Ordering::SeqCst) & OPEN != 0;
        if !entered {
            self.leave(None);
            return false;
        }
        // SAFETY: the slot was open when we went in, and its caller waits until we are out.
        let (part, parts, caller) = unsafe {
            let job = &*self.job.get();
            (&*job.part, job.parts, job.caller.clone())
        };
        self.take_parts(part, parts);
        self.leave(caller);
        true
    }

    fn take_parts(&self, part: &Part<'_>, parts: usize) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let mine = self.next.fetch_add(1, Ordering::Relaxed);
                if mine >= parts {
                    return;
                }
                part(mine);
            }
        }));
        if let Err(panic) = outcome {
            // No further part is taken; the caller gets the first panic.
            self.next.store(parts, Ordering::Relaxed);
            let mut first = self.panic.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            first.get_or_insert(panic);
        }
    }

    fn leave(&self, caller: Option<Thread>) {
        let before = self.state.fetch_sub(1, Ordering::SeqCst);
        let last = before & WAITING != 0 && before & INSIDE == 1;
        // A worker that entered too late does not know the caller; the caller's sleep has a limit.
        if let Some(caller) = caller.filter(|_| last) {
            caller.unpark();
        }
    }

    fn wait_until_empty(&self) {
        if self.state.load(Ordering::SeqCst) & INSIDE == 0 {
            return;
        }
        let start = Instant::now();
        while start.elapsed() < SPIN_TIME {
            for _ in 0..6 {
                if self.state.load(Ordering::SeqCst) & INSIDE == 0 {
                    return;
                }
                std::hint::spin_loop();
            }
        }
        self.state.fetch_or(WAITING, Ordering::SeqCst);
        while self.state.load(Ordering::SeqCst) & INSIDE != 0 {
            // A limit, for the rare worker that leaves without knowing the caller.
            std::thread::park_timeout(Duration::from_millis(1));
        }
        self.state.fetch_and(!WAITING, Ordering::SeqCst);
    }
}
