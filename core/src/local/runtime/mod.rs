//! What runs local models of every capability: one thread a model, a queue of requests, work in batches that can be
//! stopped between two of them.
//!
//! A model implements [`BatchModel`]; a [`Worker`] loads it on a thread of its own and serves requests to it.

mod available;
mod budget;
mod queue;
mod schedule;
mod worker;

pub(crate) use available::available_memory;
pub(crate) use budget::Budget;
pub(crate) use queue::{Queue, Ticket};
pub(crate) use schedule::BatchModel;
#[cfg(test)]
pub(crate) use schedule::Job;
pub(crate) use worker::{Queued, Work, Worker, thread_lost};

use crate::info::BackendInfo;

/// Says that a model is loaded, where it computes, in which precision and why.
pub(crate) fn log_loaded(info: &BackendInfo) {
    tracing::info!(
        model = %info.model,
        device = info.device.as_deref(),
        precision = info.precision.as_deref(),
        precision_reason = info.precision_reason.as_deref(),
        prompts = info.prompts.as_deref(),
        "model loaded"
    );
}
