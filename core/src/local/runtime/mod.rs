//! What runs local models of every capability: one thread a model, a queue of requests, work in batches that can be
//! stopped between two of them.
//!
//! A model implements [`BatchModel`]; a [`Worker`] loads it on a thread of its own and serves requests to it.

mod budget;
mod schedule;
mod worker;

pub(crate) use budget::Budget;
pub(crate) use schedule::BatchModel;
#[cfg(test)]
pub(crate) use schedule::Job;
pub(crate) use worker::{Queued, Work, Worker, thread_lost};
