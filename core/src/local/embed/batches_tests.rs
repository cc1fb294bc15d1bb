use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::super::model::{Encoder, ModelParts};
use super::super::pooling::{Head, Mode, Pooler};
use super::super::repository::Prompts;
use super::*;
use crate::context::Cancellation;
use crate::context::Context;
use crate::embed::EmbeddingSpace;
use crate::local::models::{TextEncoder, Tokens};
use crate::local::ops::{Device, Tensor};
use crate::local::runtime::{Job, Worker};
use crate::local::source::ModelFiles;
use crate::local::tokenizer::{Cleaning, Tokenizer};
use crate::local::weights::FileWatch;
use ayni_kernels::gemm::Precision;
use ayni_kernels::{Cpu, Isa};
use tokio::sync::oneshot;

/// An encoder whose state of a token is the token and one; it keeps what batches it was given, and waits at the gate
/// before each. Token 9 makes it panic.
#[derive(Debug, Default)]
struct Recorder {
    batches: Mutex<Vec<Vec<usize>>>,
    gate: Mutex<()>,
    begun: AtomicUsize,
}

#[derive(Debug)]
struct Shared(Arc<Recorder>);

fn device() -> Device {
    Device::on_cpu(Cpu::new(Isa::PORTABLE, 2), Precision::F32)
}

impl TextEncoder for Shared {
    fn width(&self) -> usize {
        2
    }

    fn window(&self) -> usize {
        48
    }

    fn vocabulary(&self) -> usize {
        60
    }

    fn encode(&self, tokens: &Tokens) -> Result<Tensor> {
        self.0.begun.fetch_add(1, Ordering::SeqCst);
        drop(self.0.gate.lock());
        self.0.batches.lock().unwrap().push(tokens.texts().map(<[u32]>::len).collect());
        assert!(!tokens.ids().contains(&9), "nine");
        let states: Vec<f32> = tokens.ids().iter().flat_map(|id| [*id as f32, 1.0]).collect();
        Tensor::from_vec(&device(), states, [tokens.ids().len(), 2])
    }
}

fn worker(room: usize) -> (Worker<Model>, Arc<Recorder>) {
    let recorder = Arc::new(Recorder::default());
    let shared = Arc::clone(&recorder);
    let worker = Worker::start("m", move |_| {
        let base = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/repositories/base");
        let files = ModelFiles::in_folder(base.as_ref())?;
        let parts = ModelParts {
            tokenizer: Tokenizer::of_model(&files, Cleaning::None)?.with_window(20)?,
            prompts: Prompts::default(),
            space: EmbeddingSpace::new("m").with_normalised(false),
            encoder: Encoder::Text(
                Box::new(Shared(Arc::clone(&shared))),
                Head { pooler: Pooler::of(Mode::Mean), steps: Vec::new() },
            ),
            watch: FileWatch::default(),
        };
        let mut model = parts.into_model(&device(), None)?;
        model.batch_tokens = room;
        Ok(model)
    });
    (worker.unwrap(), recorder)
}

async fn embed(worker: &Worker<Model>, cx: Context, request: EmbedRequest) -> Result<EmbedResponse> {
    worker.call(&cx, request).await
}

/// `count` words of token 5, between tokens 2 and 3.
fn words(count: usize) -> String {
    "the ".repeat(count)
}

/// The mean of a text's tokens.
fn mean(count: usize) -> f32 {
    (5 * count + 5) as f32 / (count + 2) as f32
}

#[tokio::test]
async fn every_input_gets_its_own_vector_in_order_whatever_the_batches_are() {
    for room in [1, 7, 64, 100_000] {
        let (worker, recorder) = worker(room);
        let lengths: Vec<usize> = (0..700).map(|i| i * 7 % 17).collect();
        let request = EmbedRequest::texts(lengths.iter().map(|count| words(*count)));
        let response = embed(&worker, Context::new(), request).await.unwrap();
        assert_eq!(response.vectors.len(), 700);
        for (count, vector) in lengths.iter().zip(&response.vectors) {
            assert!((vector[0] - mean(*count)).abs() < 1e-4 && vector[1] == 1.0, "{count}: {vector:?}");
        }
        for batch in recorder.batches.lock().unwrap().iter() {
            assert!(batch.len() == 1 || batch.iter().sum::<usize>() <= room, "{batch:?}");
            assert!(batch.is_sorted_by(|a, b| a >= b), "{batch:?}");
        }
        assert_eq!(response.usage.input_tokens, Some(lengths.iter().map(|count| *count as u64 + 2).sum()));
    }
}

#[tokio::test]
async fn texts_that_were_cut_are_named_or_refused() {
    let (worker, _) = worker(64);
    let request = EmbedRequest::texts([words(30), words(18), words(19), words(1)]);
    let response = embed(&worker, Context::new(), request.clone()).await.unwrap();
    assert_eq!(response.truncated, [0, 2]);
    let refusing = request.with_truncation(Truncation::Refuse);
    let error = embed(&worker, Context::new(), refusing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ContextTooLong);
    assert_eq!(error.message(), "input 0 is longer than the model's window of 20 tokens");
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "the gate that the test holds is for the model's thread")]
async fn small_requests_that_wait_are_computed_together_and_a_large_one_does_not_hold_them_up() {
    let (worker, recorder) = worker(40);
    let worker = Arc::new(worker);
    worker.ready(&Context::new()).await.unwrap();
    let closed = recorder.gate.lock().unwrap();
    let spawn = |request| {
        let worker = Arc::clone(&worker);
        tokio::spawn(async move { embed(&worker, Context::new(), request).await.unwrap() })
    };
    let large = spawn(EmbedRequest::texts((0..10).map(|_| words(16))));
    while recorder.begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    let small: Vec<_> = (1..=4).map(|count| spawn(EmbedRequest::texts([words(count)]))).collect();
    // On this runtime they all run up to their wait for the answer before this does.
    tokio::task::yield_now().await;
    drop(closed);
    for (call, count) in small.into_iter().zip(1..) {
        assert!((call.await.unwrap().vectors.as_flat()[0] - mean(count)).abs() < 1e-5);
    }
    assert_eq!(large.await.unwrap().vectors.len(), 10);
    let batches = recorder.batches.lock().unwrap();
    assert_eq!(batches[0], [18, 18]);
    // The small ones came next, together, and one of the large one's is in what is left.
    assert_eq!(batches[1][..4], [3, 4, 5, 6], "{batches:?}");
    assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 14);
}

#[tokio::test]
async fn a_panic_fails_the_requests_of_its_batch_and_no_other() {
    let (worker, _) = worker(10);
    let panics = EmbedRequest::texts(["library"]);
    let (bad, good) = tokio::join!(
        embed(&worker, Context::new(), panics),
        embed(&worker, Context::new(), EmbedRequest::texts([words(9)]))
    );
    assert_eq!(bad.unwrap_err().kind(), ErrorKind::Unexpected);
    assert_eq!(good.unwrap().vectors.len(), 1);
}

#[tokio::test]
#[allow(clippy::await_holding_lock, reason = "the gate that the test holds is for the model's thread")]
async fn cancelling_and_dropping_end_the_work_after_the_batch_in_hand() {
    let (worker, recorder) = worker(4);
    worker.ready(&Context::new()).await.unwrap();
    let cancellation = Cancellation::new();
    let cx = Context::new().with_cancellation(cancellation.clone());
    let closed = recorder.gate.lock().unwrap();
    let request = EmbedRequest::texts((0..100).map(|_| words(2)));
    let (reply, answer) = oneshot::channel();
    worker.submit(&cx, Job { cx: cx.clone(), request: request.clone(), reply }).await.unwrap();
    let (reply, dropped) = oneshot::channel();
    worker.submit(&Context::new(), Job { cx: Context::new(), request, reply }).await.unwrap();
    while recorder.begun.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    cancellation.cancel();
    drop(dropped);
    drop(closed);
    assert_eq!(answer.await.unwrap().unwrap_err().kind(), ErrorKind::Cancelled);
    // Whoever asks next finds the thread free.
    embed(&worker, Context::new(), EmbedRequest::texts(["a"])).await.unwrap();
    assert_eq!(recorder.begun.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn progress_counts_the_inputs_that_are_done() {
    let (worker, _) = worker(8);
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let cx = Context::new().with_progress(move |progress| {
        if let Progress::Inputs { done, of } = progress {
            sink.lock().unwrap().push((done, of));
        }
    });
    embed(&worker, cx, EmbedRequest::texts((0..6).map(|_| words(2)))).await.unwrap();
    assert_eq!(*heard.lock().unwrap(), [(2, 6), (4, 6), (6, 6)]);
}

#[tokio::test]
async fn shortened_vectors_are_the_beginning_of_whole_ones() {
    let (worker, _) = worker(64);
    let request = EmbedRequest::texts([words(3)]).with_dimensions(1);
    let response = embed(&worker, Context::new(), request).await.unwrap();
    assert_eq!((response.vectors.len(), response.vectors.width()), (1, 1));
    assert!((response.vectors.as_flat()[0] - mean(3)).abs() < 1e-5);
}
