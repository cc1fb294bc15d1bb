//! Turns a stream of inputs into a stream of vectors, with bounded memory.

use std::fmt;
use std::pin::Pin;
use std::task::{Poll, ready};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesOrdered;
use serde::Serialize;

use super::{AnyEmbedder, EmbedInput, EmbedRequest, EmbedResponse};
use crate::context::{BoxFuture, Context, Progress};
use crate::error::{Error, Result};

/// The most inputs in one part of a stream: enough to sort them into batches of similar length.
const MAX_PART_INPUTS: usize = 512;

/// The most bytes of texts and encoded images in one part, unless one input alone has more.
const MAX_PART_BYTES: usize = 8 << 20;

/// The most parts at a time that are being embedded or wait for the caller.
const MAX_PARTS: usize = 4;

/// The vectors of some of a stream's inputs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct EmbeddedPart {
    /// The position of the first of them in the stream of inputs.
    pub start: usize,
    /// Their vectors, in order. Positions in it count from the first of the part.
    pub response: EmbedResponse,
}

impl EmbeddedPart {
    /// Every vector with the position of its input in the stream.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (usize, &[f32])> {
        self.response.vectors.iter().enumerate().map(|(index, vector)| (self.start + index, vector))
    }
}

impl AnyEmbedder {
    /// Embeds a stream of any length, in order. The options are those of `request`, which has no inputs of its own.
    ///
    /// At most about two thousand inputs, or a few dozen MiB of them, are held in memory; no more are read from `inputs`
    /// until the caller takes vectors. A slow input is embedded at once while nothing else is running, instead of waiting
    /// for a full part. The context's progress says how many inputs are done, and of how many as far as `inputs` knows.
    /// The first error is the last item. Dropping the stream stops its work.
    ///
    /// ```
    /// use ayni::backends::scripted::Scripted;
    /// use ayni::{AnyEmbedder, Context, EmbedInput, EmbedRequest};
    /// use futures_util::{TryStreamExt, stream};
    ///
    /// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
    /// let embedder = AnyEmbedder::new(Scripted::default());
    /// let inputs = stream::iter((0..10_000).map(|number| EmbedInput::Text(format!("text {number}"))));
    /// let mut parts = embedder.embed_stream(&Context::new(), EmbedRequest::default(), inputs);
    /// let mut next = 0;
    /// while let Some(part) = parts.try_next().await? {
    ///     for (index, vector) in part.iter() {
    ///         assert_eq!((index, vector.len()), (next, 16));
    ///         next += 1;
    ///     }
    /// }
    /// assert_eq!(next, 10_000);
    /// # Ok::<_, ayni::Error>(())
    /// # })?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn embed_stream<'a>(
        &self,
        cx: &Context,
        request: EmbedRequest,
        inputs: impl Stream<Item = EmbedInput> + Send + 'a,
    ) -> EmbedStream<'a> {
        let most =
            self.info().limits.max_batch.map_or(MAX_PART_INPUTS, |most| most.clamp(1, MAX_PART_INPUTS));
        EmbedStream {
            embedder: self.clone(),
            part_cx: without_inputs(cx),
            stopped: Box::pin(stopped(cx.clone())),
            cx: cx.clone(),
            failed: (!request.inputs.is_empty()).then(own_inputs),
            request,
            inputs: Some(Box::pin(inputs)),
            most,
            gathered: Vec::new(),
            bytes: 0,
            taken: 0,
            in_flight: FuturesOrdered::new(),
            width: None,
        }
    }
}

/// The vectors of a stream of inputs, some at a time and in order; see [`AnyEmbedder::embed_stream`].
pub struct EmbedStream<'a> {
    embedder: AnyEmbedder,
    cx: Context,
    part_cx: Context,
    request: EmbedRequest,
    /// `None` after the last one.
    inputs: Option<Pin<Box<dyn Stream<Item = EmbedInput> + Send + 'a>>>,
    stopped: BoxFuture<'static, Error>,
    /// An error found before the first poll.
    failed: Option<Error>,
    /// The most inputs in a part.
    most: usize,
    /// The inputs of the next part so far.
    gathered: Vec<EmbedInput>,
    bytes: usize,
    /// How many inputs the started parts have.
    taken: usize,
    in_flight: FuturesOrdered<BoxFuture<'static, Result<EmbeddedPart>>>,
    width: Option<usize>,
}

impl EmbedStream<'_> {
    /// Reads inputs and starts parts while there is room. A part that is not full starts only if no other is in flight, or
    /// no input follows.
    fn fill(&mut self, task: &mut std::task::Context<'_>) {
        while self.in_flight.len() < MAX_PARTS {
            while !self.is_full()
                && let Some(inputs) = &mut self.inputs
            {
                match inputs.as_mut().poll_next(task) {
                    Poll::Ready(Some(input)) => {
                        self.bytes += bytes(&input);
                        self.gathered.push(input);
                    }
                    Poll::Ready(None) => self.inputs = None,
                    Poll::Pending => break,
                }
            }
            let is_next = self.is_full() || self.inputs.is_none() || self.in_flight.is_empty();
            if self.gathered.is_empty() || !is_next {
                return;
            }
            self.start_part();
        }
    }

    fn is_full(&self) -> bool {
        self.gathered.len() >= self.most || self.bytes >= MAX_PART_BYTES
    }

    fn start_part(&mut self) {
        let inputs = std::mem::take(&mut self.gathered);
        let start = self.taken;
        self.taken += inputs.len();
        self.bytes = 0;
        let request = EmbedRequest { inputs: inputs.into(), ..self.request.clone() };
        let (embedder, cx) = (self.embedder.clone(), self.part_cx.clone());
        self.in_flight.push_back(Box::pin(async move {
            let response = embedder.embed(&cx, request).await;
            let response = response.map_err(|error| error.map_input(|index| start + index))?;
            Ok(EmbeddedPart { start, response })
        }));
    }

    /// Checks that a finished part is as wide as those before it, and reports progress.
    fn accept(&mut self, part: EmbeddedPart) -> Result<EmbeddedPart> {
        let EmbeddedPart { start, response } = part;
        let (count, width) = (response.vectors.len(), response.vectors.width());
        let width = *self.width.get_or_insert(width);
        let part = EmbeddedPart { start, response: response.check(count, Some(width))? };
        let done = start + count;
        let waiting = self.inputs.as_ref().map_or(0, |inputs| inputs.size_hint().0);
        let of = (self.taken + self.gathered.len()).saturating_add(waiting);
        self.cx.report(|| Progress::Inputs { done, of });
        Ok(part)
    }

    /// Ends the stream and stops its work.
    fn end(&mut self, error: Error) -> Error {
        self.inputs = None;
        self.gathered.clear();
        self.in_flight.clear();
        error
    }
}

impl Stream for EmbedStream<'_> {
    type Item = Result<EmbeddedPart>;

    fn poll_next(self: Pin<&mut Self>, task: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
        let stream = self.get_mut();
        if let Some(error) = stream.failed.take() {
            return Poll::Ready(Some(Err(stream.end(error))));
        }
        if stream.inputs.is_none() && stream.gathered.is_empty() && stream.in_flight.is_empty() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(error) = stream.stopped.as_mut().poll(task) {
            return Poll::Ready(Some(Err(stream.end(error))));
        }
        stream.fill(task);
        let outcome = match ready!(stream.in_flight.poll_next_unpin(task)) {
            Some(outcome) => outcome.and_then(|part| stream.accept(part)),
            None if stream.inputs.is_none() => return Poll::Ready(None),
            // The inputs have registered the waker.
            None => return Poll::Pending,
        };
        Poll::Ready(Some(outcome.map_err(|error| stream.end(error))))
    }
}

impl fmt::Debug for EmbedStream<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbedStream")
            .field("embedder", &self.embedder)
            .field("taken", &self.taken)
            .field("in_flight", &self.in_flight.len())
            .finish_non_exhaustive()
    }
}

fn bytes(input: &EmbedInput) -> usize {
    match input {
        EmbedInput::Text(text) => text.len(),
        EmbedInput::Image(image) => image.bytes().len(),
    }
}

/// The context of a part: without its count of inputs, which would look like the stream's.
fn without_inputs(cx: &Context) -> Context {
    let outer = cx.clone();
    cx.clone().with_progress(move |event| match event {
        Progress::Inputs { .. } => {}
        event => outer.report(|| event),
    })
}

/// Resolves when the call is cancelled or its deadline passes, even if the inputs never end.
async fn stopped(cx: Context) -> Error {
    match cx.guard(std::future::pending::<Result<()>>()).await {
        Err(error) => error,
        Ok(()) => std::future::pending().await,
    }
}

fn own_inputs() -> Error {
    Error::invalid_request("a stream's request must have no `inputs`; put them into the stream")
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
