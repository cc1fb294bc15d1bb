//! Decodes images beside the model's thread, so that a slow image holds nobody's texts.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::local::vision::{Limits, Preprocessor, decode};
use crate::media::ImageData;
use ayni_kernels::Cpu;

/// An image as the model takes it, and its position in the request.
pub(super) type Pixels = (usize, Result<Vec<f32>>);

/// Threads that decode, as many at a time as the processor has; none while there is nothing to decode.
pub(super) struct Decoders {
    preprocessor: Preprocessor,
    limits: Limits,
    cpu: Cpu,
    queue: Mutex<Queue>,
    undelivered: AtomicUsize,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
}

struct Job {
    position: usize,
    image: ImageData,
    to: Sender<Pixels>,
    /// Lives as long as the request does.
    wanted: std::sync::Weak<()>,
}

/// Images of one request that are being decoded.
#[derive(Debug)]
pub(super) struct Decoding {
    /// How many have not arrived.
    pub(super) pending: usize,
    receiver: Receiver<Pixels>,
    sender: Sender<Pixels>,
    wanted: Arc<()>,
}

impl Default for Decoding {
    fn default() -> Self {
        let (sender, receiver) = channel();
        Self { pending: 0, receiver, sender, wanted: Arc::new(()) }
    }
}

impl Decoding {
    /// Those that have arrived.
    pub(super) fn arrived(&mut self) -> Vec<Pixels> {
        let arrived: Vec<Pixels> = self.receiver.try_iter().collect();
        self.pending -= arrived.len();
        arrived
    }
}

impl Decoders {
    pub(super) fn new(preprocessor: Preprocessor, limits: Limits, cpu: Cpu) -> Arc<Self> {
        Arc::new(Self {
            preprocessor,
            limits,
            cpu,
            queue: Mutex::default(),
            undelivered: AtomicUsize::new(0),
        })
    }

    /// Decodes one image on the calling thread.
    ///
    /// # Errors
    /// `invalid_request` for what is no image, or one above the limits.
    pub(super) fn decode(&self, image: &ImageData) -> Result<Vec<f32>> {
        let decoded = decode(image, &self.limits)?;
        self.preprocessor.prepare(&self.cpu, &decoded).map(|pixels| pixels.values)
    }

    /// Decodes images in the background.
    ///
    /// # Errors
    /// `out_of_memory` where no thread can be started.
    pub(super) fn start(
        self: &Arc<Self>,
        images: &[(usize, &ImageData)],
        decoding: &mut Decoding,
    ) -> Result<()> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for (position, image) in images {
            queue.jobs.push_back(Job {
                position: *position,
                image: (*image).clone(),
                to: decoding.sender.clone(),
                wanted: Arc::downgrade(&decoding.wanted),
            });
        }
        decoding.pending += images.len();
        self.undelivered.fetch_add(images.len(), Ordering::Relaxed);
        let most = self.cpu.pool.threads().max(1);
        while queue.threads < most.min(queue.jobs.len()) {
            let own = Arc::clone(self);
            let thread = thread::Builder::new().name("ayni-decode".to_owned()).spawn(move || own.work());
            match thread {
                Ok(_) => queue.threads += 1,
                Err(_) if queue.threads > 0 => break,
                Err(error) => {
                    let text = "no thread can be started to decode images";
                    return Err(Error::new(ErrorKind::OutOfMemory, text).with_source(error));
                }
            }
        }
        Ok(())
    }

    /// Whether images are being decoded that nobody has been given yet.
    pub(super) fn is_busy(&self) -> bool {
        self.undelivered.load(Ordering::Relaxed) > 0
    }

    fn work(&self) {
        while let Some(job) = self.next() {
            if job.wanted.strong_count() > 0 {
                // A panic of a decoder fails its own image.
                let decoded = catch_unwind(AssertUnwindSafe(|| self.decode(&job.image)));
                let pixels = decoded.unwrap_or_else(|_| {
                    Err(Error::invalid_request(
                        "the image is damaged in a way that its decoder does not survive",
                    ))
                });
                // It fails if the caller has left.
                let _ = job.to.send((job.position, pixels));
            }
            self.undelivered.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The next job; without one the thread is counted out, under the same lock that jobs are added.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let job = queue.jobs.pop_front();
        if job.is_none() {
            queue.threads -= 1;
        }
        job
    }
}

impl fmt::Debug for Decoders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoders").field("limits", &self.limits).finish_non_exhaustive()
    }
}
