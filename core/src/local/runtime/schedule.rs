//! Many requests at once, in batches.
//!
//! The model's thread works on all requests that wait, one batch at a time. A batch takes from the first request in line
//! and, where there is room, from those behind it; then the next request is first. So small requests are computed together
//! without waiting for each other, and none waits for the end of a large one.

use std::collections::VecDeque;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

use super::worker::{Queued, Work, Worker, copy_of, thread_lost};
use crate::context::{Context, Progress};
use crate::error::Result;

/// Requests in progress at a time; more wait in the queue.
const MAX_RUNNING: usize = 64;

/// A loaded model that computes requests in batches.
pub(crate) trait BatchModel: Send + Sync + fmt::Debug + 'static {
    /// What is asked.
    type Request: Send + 'static;
    /// The answer to it.
    type Response: Send + 'static;
    /// A request in progress.
    type Task;
    /// Inputs that are computed together, each with the index of its task.
    type Batch;
    /// What comes out of a batch.
    type Output;

    /// Begins with a request.
    fn start(&self, request: Self::Request) -> Self::Task;

    /// Prepares some of what the next batch may take of a task. Returns the response once there is nothing left to compute.
    ///
    /// # Errors
    /// What is wrong with the request; it ends with this error.
    fn prepare(&self, task: &mut Self::Task) -> Result<Option<Self::Response>>;

    /// Whether enough is prepared of a task for a batch to begin with it. If not, it is prepared further after others had
    /// their turn.
    fn is_ready(&self, _task: &Self::Task) -> bool {
        true
    }

    /// Takes a batch: something of the first task, and of others where there is room.
    fn take(&self, tasks: &mut [&mut Self::Task]) -> Self::Batch;

    /// Waits a moment for what is being prepared elsewhere; called while no task is ready.
    fn wait(&self) {}

    /// The indices of the tasks that a batch has inputs of, in ascending order.
    fn tasks_of(batch: &Self::Batch) -> Vec<usize>;

    /// Computes a batch.
    ///
    /// # Errors
    /// All requests in the batch end with this error.
    fn compute(&self, batch: &Self::Batch) -> Result<Self::Output>;

    /// Hands the output to the tasks that the batch was taken from.
    fn deliver(&self, batch: Self::Batch, output: Self::Output, tasks: &mut [&mut Self::Task]);

    /// How far a task is.
    fn progress(&self, task: &Self::Task) -> Progress;
}

/// A request and the caller who waits for the answer.
#[derive(Debug)]
pub(crate) struct Job<Q, A> {
    /// The caller's context.
    pub(crate) cx: Context,
    /// What is asked.
    pub(crate) request: Q,
    /// Closed when the caller stopped waiting.
    pub(crate) reply: oneshot::Sender<Result<A>>,
}

impl<M: BatchModel> Worker<M> {
    /// Sends a request to the model and waits for the answer. Dropping the future ends its work after the batch in hand.
    ///
    /// # Errors
    /// Those of loading and of the request.
    pub(crate) async fn call(&self, cx: &Context, request: M::Request) -> Result<M::Response> {
        let (reply, answer) = oneshot::channel();
        self.submit(cx, Job { cx: cx.clone(), request, reply }).await?;
        answer.await.map_err(|_| thread_lost())?
    }
}

/// A request in line.
struct RunningRequest<M: BatchModel> {
    cx: Context,
    task: M::Task,
    /// Taken when the request is answered.
    reply: Option<oneshot::Sender<Result<M::Response>>>,
}

impl<M: BatchModel> Work for M {
    type Job = Job<M::Request, M::Response>;

    fn work(&self, first: Self::Job, queue: &mut Queued<'_, Self::Job>) {
        let mut line = VecDeque::from([RunningRequest::new(self, first)]);
        admit(self, queue, &mut line);
        loop {
            line.retain_mut(|request| request.advance(self));
            if line.is_empty() {
                return;
            }
            let first = line.iter().position(|request| self.is_ready(&request.task));
            match first {
                Some(first) => {
                    line.rotate_left(first);
                    run_batch(self, line.make_contiguous());
                }
                None => self.wait(),
            }
            // New requests go ahead of the one that just ran.
            admit(self, queue, &mut line);
            line.rotate_left(usize::from(first.is_some()));
        }
    }
}

/// Takes in the requests that wait.
fn admit<M: BatchModel>(
    model: &M,
    queue: &mut Queued<'_, Job<M::Request, M::Response>>,
    line: &mut VecDeque<RunningRequest<M>>,
) {
    while line.len() < MAX_RUNNING
        && let Some(job) = queue.next()
    {
        line.push_back(RunningRequest::new(model, job));
    }
}

fn run_batch<M: BatchModel>(model: &M, line: &mut [RunningRequest<M>]) {
    let mut tasks: Vec<&mut M::Task> = line.iter_mut().map(|request| &mut request.task).collect();
    let batch = model.take(&mut tasks);
    let members = M::tasks_of(&batch);
    // A panic fails the requests of this batch and no other.
    let computed = catch_unwind(AssertUnwindSafe(|| model.compute(&batch)));
    match computed.unwrap_or_else(|_| Err(thread_lost())) {
        Ok(output) => {
            model.deliver(batch, output, &mut tasks);
            for request in members.iter().filter_map(|index| line.get(*index)) {
                request.cx.report(|| model.progress(&request.task));
            }
        }
        Err(error) => {
            for index in members {
                if let Some(request) = line.get_mut(index) {
                    request.reply(Err(copy_of(&error)));
                }
            }
        }
    }
}

impl<M: BatchModel> RunningRequest<M> {
    fn new(model: &M, Job { cx, request, reply }: Job<M::Request, M::Response>) -> Self {
        Self { cx, task: model.start(request), reply: Some(reply) }
    }

    /// Prepares the request for the next batch. False if it is done, failed or cancelled, and the caller has been told.
    fn advance(&mut self, model: &M) -> bool {
        if self.reply.as_ref().is_none_or(oneshot::Sender::is_closed) {
            return false;
        }
        let prepared = self.cx.check().and_then(|()| model.prepare(&mut self.task));
        match prepared {
            Ok(None) => return true,
            Ok(Some(response)) => self.reply(Ok(response)),
            Err(error) => self.reply(Err(error)),
        }
        false
    }

    fn reply(&mut self, response: Result<M::Response>) {
        if let Some(reply) = self.reply.take() {
            // A caller who stopped waiting needs no answer.
            let _ = reply.send(response);
        }
    }
}
