//! Progress of a call, for the person who waits for it.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use serde::{Serialize, Serializer};

use crate::error::{ErrorKind, as_milliseconds};
use crate::media::BASE64;

/// What a call tells the person who waits for it. In JSON its `type` says what it is, and durations are whole
/// milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Progress {
    /// The backend is not ready yet, and nothing is wrong: a Space wakes up, a model loads.
    Waiting {
        /// What is being waited for, in one sentence.
        reason: String,
        /// How long so far.
        #[serde(rename = "elapsed_ms", serialize_with = "as_milliseconds")]
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
        elapsed: Duration,
    },
    /// The next attempt follows after a pause.
    Retrying {
        /// The attempt that comes next, from 2.
        attempt: u32,
        /// Why the last one failed.
        kind: ErrorKind,
        /// The pause before it.
        #[serde(rename = "wait_ms", serialize_with = "as_milliseconds")]
        #[cfg_attr(feature = "schema", schemars(with = "u64"))]
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
        /// A small preview as an encoded image, where the backend makes one. In JSON it is base64.
        #[serde(serialize_with = "as_base64")]
        #[cfg_attr(feature = "schema", schemars(with = "Option<String>"))]
        preview: Option<Bytes>,
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

fn as_base64<S: Serializer>(bytes: &Option<Bytes>, serializer: S) -> Result<S::Ok, S::Error> {
    bytes.as_ref().map(|bytes| BASE64.encode(bytes)).serialize(serializer)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn progress_is_written_with_its_type_and_whole_milliseconds() {
        let second = Duration::from_secs(1);
        let preview = Some(Bytes::from_static(b"pixels"));
        let written = [
            (
                Progress::Waiting { reason: "asleep".into(), elapsed: second },
                json!({"type": "waiting", "reason": "asleep", "elapsed_ms": 1000}),
            ),
            (
                Progress::Retrying { attempt: 2, kind: ErrorKind::Timeout, wait: second },
                json!({"type": "retrying", "attempt": 2, "kind": "timeout", "wait_ms": 1000}),
            ),
            (
                Progress::FallingBack { from: "a".into(), to: "b".into(), kind: ErrorKind::Timeout },
                json!({"type": "falling_back", "from": "a", "to": "b", "kind": "timeout"}),
            ),
            (Progress::Inputs { done: 1, of: 2 }, json!({"type": "inputs", "done": 1, "of": 2})),
            (
                Progress::ImageStep { step: 1, of: 2, preview },
                json!({"type": "image_step", "step": 1, "of": 2, "preview": "cGl4ZWxz"}),
            ),
            (
                Progress::Download { file: "f".into(), done: 1, of: None },
                json!({"type": "download", "file": "f", "done": 1, "of": null}),
            ),
        ];
        for (event, data) in written {
            assert_eq!(serde_json::to_value(&event).expect("JSON"), data);
        }
    }
}
