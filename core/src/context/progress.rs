//! Progress of a call, for the person who waits for it.

use std::sync::Arc;
use std::time::Duration;

use crate::error::ErrorKind;

/// What a call tells the person who waits for it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Progress {
    /// The backend is not ready yet, and nothing is wrong: a Space wakes up, a model loads.
    Waiting {
        /// What is being waited for, in one sentence.
        reason: String,
        /// How long so far.
        elapsed: Duration,
    },
    /// The next attempt follows after a pause.
    Retrying {
        /// The attempt that comes next, from 2.
        attempt: u32,
        /// Why the last one failed.
        kind: ErrorKind,
        /// The pause before it.
        wait: Duration,
    },
    /// Another backend takes over.
    FallingBack {
        /// The backend that failed.
        from: Arc<str>,
        /// The backend that takes over.
        to: Arc<str>,
        /// Why the first one failed.
        kind: ErrorKind,
    },
    /// Some inputs of a larger request are done.
    Inputs {
        /// How many are done.
        done: usize,
        /// Of how many.
        of: usize,
    },
    /// One denoising step of an image is done.
    ImageStep {
        /// The step, from 1.
        step: u32,
        /// Of how many.
        of: u32,
        /// A small preview as an encoded image, where the backend makes one.
        preview: Option<bytes::Bytes>,
    },
    /// The rows of a large file are being read.
    Reading {
        /// The file's name.
        file: String,
        /// Rows so far, in all files of the call.
        rows: u64,
        /// Bytes read so far, unpacked.
        done: u64,
        /// Bytes in all, where known.
        of: Option<u64>,
    },
    /// Bytes of a download.
    Download {
        /// The file's name.
        file: String,
        /// Bytes on disk.
        done: u64,
        /// Bytes in all, where known.
        of: Option<u64>,
    },
}

/// Receives [`Progress`]. Closures are sinks. A sink must return quickly: the work waits for it.
pub trait ProgressSink: Send + Sync {
    /// Takes one event.
    fn report(&self, event: Progress);
}

impl<F: Fn(Progress) + Send + Sync> ProgressSink for F {
    fn report(&self, event: Progress) {
        self(event);
    }
}
