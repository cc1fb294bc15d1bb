//! What runs local models: one thread a model, a queue of requests, work in parts that can be stopped.

mod worker;

pub(crate) use worker::{Queued, Work, Worker, copy_of, thread_lost};
