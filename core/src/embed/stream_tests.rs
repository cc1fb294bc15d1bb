use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{TryStreamExt, stream};
use tokio::sync::mpsc;

use super::*;
use crate::backends::scripted::{Scripted, ScriptedConfig};
use crate::context::Cancellation;
use crate::embed::{Embedder, EmbeddingSpace, Vectors};
use crate::error::ErrorKind;
use crate::info::{BackendInfo, Limits, Route};

/// Knows how many inputs were taken from the stream whose vectors have not been, and fails or hangs on demand.
#[derive(Debug)]
struct Counting {
    info: BackendInfo,
    space: EmbeddingSpace,
    parts: Arc<Mutex<Vec<usize>>>,
    bad: Option<&'static str>,
    width: fn(usize) -> usize,
}

impl Counting {
    fn new(max_batch: Option<usize>) -> Self {
        Self {
            info: BackendInfo::new("counting", "m").with_limits(Limits { max_batch, ..Limits::default() }),
            space: EmbeddingSpace::new("m"),
            parts: Arc::default(),
            bad: None,
            width: |_| 2,
        }
    }
}

impl Embedder for Counting {
    fn info(&self) -> &BackendInfo {
        &self.info
    }

    fn space(&self) -> &EmbeddingSpace {
        &self.space
    }

    async fn embed(&self, _: &Context, request: EmbedRequest) -> Result<EmbedResponse> {
        let texts = request.text_inputs()?;
        let part = {
            let mut parts = self.parts.lock().unwrap();
            parts.push(texts.len());
            parts.len() - 1
        };
        // Later parts are done first.
        tokio::time::sleep(Duration::from_millis(40 - (part as u64 % 4) * 10)).await;
        if self.bad.is_some_and(|bad| texts.contains(&bad)) {
            return Err(Error::new(ErrorKind::ContentRejected, "no"));
        }
        let width = (self.width)(part);
        let numbers: Vec<f32> = texts.iter().flat_map(|text| vec![text.parse().unwrap(); width]).collect();
        Ok(EmbedResponse::new(Vectors::new(numbers, width)?, Route::new(&self.info)))
    }
}

fn texts(count: usize) -> impl Iterator<Item = EmbedInput> + Send {
    (0..count).map(|number| EmbedInput::Text(number.to_string()))
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_inputs_are_never_held_at_once() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let inputs = stream::iter(texts(100_000).inspect(move |_| {
        counter.fetch_add(1, SeqCst);
    }));
    let embedder = AnyEmbedder::new(Counting::new(None));
    let mut parts = embedder.embed_stream(&Context::new(), EmbedRequest::default(), inputs);
    let (mut next, mut most) = (0, 0);
    while let Some(part) = parts.try_next().await.unwrap() {
        most = most.max(taken.load(SeqCst) - next);
        for (index, vector) in part.iter() {
            assert_eq!((index, vector), (next, &[next as f32; 2][..]));
            next += 1;
        }
    }
    assert_eq!(next, 100_000);
    assert!((MAX_PART_INPUTS..=MAX_PART_INPUTS * MAX_PARTS).contains(&most), "{most} were held");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_while_nobody_takes_vectors() {
    let taken = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&taken);
    let inputs = stream::iter(texts(100_000).inspect(move |_| {
        counter.fetch_add(1, SeqCst);
    }));
    let embedder = AnyEmbedder::new(Counting::new(Some(10)));
    let mut parts = embedder.embed_stream(&Context::new(), EmbedRequest::default(), inputs);
    assert_eq!(taken.load(SeqCst), 0, "nothing happens before it is asked for");
    parts.try_next().await.unwrap().unwrap();
    let first = taken.load(SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!((first, taken.load(SeqCst)), (40, 40));
}

#[tokio::test(start_paused = true)]
async fn large_inputs_make_parts_of_few() {
    let big = || EmbedInput::Text("0".repeat(MAX_PART_BYTES / 2));
    let counting = Counting::new(None);
    let sizes = Arc::clone(&counting.parts);
    let inputs = stream::iter((0..7).map(|_| big()));
    let parts = AnyEmbedder::new(counting).embed_stream(&Context::new(), EmbedRequest::default(), inputs);
    let starts: Vec<usize> = parts.map_ok(|part| part.start).try_collect().await.unwrap();
    assert_eq!((starts, &*sizes.lock().unwrap()), (vec![0, 2, 4, 6], &vec![2, 2, 2, 1]));
}

#[tokio::test(start_paused = true)]
async fn an_input_that_comes_alone_does_not_wait_for_others() {
    let (sender, receiver) = mpsc::unbounded_channel();
    let inputs = stream::unfold(receiver, |mut receiver| async {
        let input: EmbedInput = receiver.recv().await?;
        Some((input, receiver))
    });
    let embedder = AnyEmbedder::new(Counting::new(None));
    let mut parts = embedder.embed_stream(&Context::new(), EmbedRequest::default(), inputs);
    for input in texts(3) {
        sender.send(input).unwrap();
        let part = parts.try_next().await.unwrap().unwrap();
        assert_eq!(part.response.vectors.len(), 1);
    }
    // What comes while something is being embedded is gathered.
    let mut later = texts(9);
    sender.send(later.next().unwrap()).unwrap();
    let feed = async {
        for input in later {
            tokio::time::sleep(Duration::from_millis(1)).await;
            sender.send(input).unwrap();
        }
        drop(sender);
    };
    let rest =
        async { (&mut parts).map_ok(|part| part.response.vectors.len()).try_collect::<Vec<_>>().await };
    let ((), rest) = tokio::join!(feed, rest);
    assert_eq!(rest.unwrap(), [1, 8]);
}

#[tokio::test(start_paused = true)]
async fn the_first_error_is_the_last_item() {
    let counting = Counting { bad: Some("25"), ..Counting::new(Some(10)) };
    let parts = Arc::clone(&counting.parts);
    let embedder = AnyEmbedder::new(counting);
    let mut stream =
        embedder.embed_stream(&Context::new(), EmbedRequest::default(), stream::iter(texts(1000)));
    assert_eq!(stream.try_next().await.unwrap().unwrap().start, 0);
    assert_eq!(stream.try_next().await.unwrap().unwrap().start, 10);
    assert_eq!(stream.try_next().await.unwrap_err().kind(), ErrorKind::ContentRejected);
    assert!(stream.next().await.is_none());
    assert!(parts.lock().unwrap().len() <= 6, "what follows an error is not embedded");
}

#[tokio::test(start_paused = true)]
async fn a_part_of_another_width_is_an_error() {
    let counting = Counting { width: |part| 2 + part / 2, ..Counting::new(Some(1)) };
    let embedder = AnyEmbedder::new(counting);
    let stream = embedder.embed_stream(&Context::new(), EmbedRequest::default(), stream::iter(texts(9)));
    let outcomes: Vec<_> = stream.collect().await;
    assert_eq!(outcomes.len(), 3);
    assert_eq!(outcomes[2].as_ref().unwrap_err().kind(), ErrorKind::ResponseInvalid);
}

#[tokio::test(start_paused = true)]
async fn cancelling_ends_a_stream_whose_inputs_never_do() {
    let cancellation = Cancellation::new();
    let cx = Context::new().with_cancellation(cancellation.clone());
    let inputs = stream::iter(texts(5)).chain(stream::pending());
    let mut stream = AnyEmbedder::new(Counting::new(None)).embed_stream(&cx, EmbedRequest::default(), inputs);
    assert_eq!(stream.try_next().await.unwrap().unwrap().response.vectors.len(), 5);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        cancellation.cancel();
    });
    assert_eq!(stream.try_next().await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn progress_counts_the_stream_and_not_its_parts() {
    let scripted = Scripted::new(ScriptedConfig::default().with_max_batch(300)).unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&heard);
    let cx = Context::new().with_progress(move |event| sink.lock().unwrap().push(event));
    let request = EmbedRequest::default();
    let stream =
        AnyEmbedder::new(scripted).embed_stream(&cx, request, stream::iter(texts(1000).collect::<Vec<_>>()));
    let parts: Vec<_> = stream.try_collect().await.unwrap();
    assert_eq!(parts.iter().map(|part| part.iter().len()).collect::<Vec<_>>(), [300, 300, 300, 100]);
    let done = |done| Progress::Inputs { done, of: 1000 };
    assert_eq!(*heard.lock().unwrap(), [done(300), done(600), done(900), done(1000)]);
}

#[tokio::test]
async fn a_stream_gives_the_vectors_of_one_request_and_an_empty_one_none() {
    let embedder = AnyEmbedder::new(Scripted::default());
    let cx = Context::new();
    let inputs: Vec<EmbedInput> = texts(1500).collect();
    let whole = embedder.embed(&cx, EmbedRequest::new(inputs.clone())).await.unwrap();
    let stream = embedder.embed_stream(&cx, EmbedRequest::default(), stream::iter(inputs));
    let parts: Vec<_> = stream.try_collect().await.unwrap();
    let joined: Vec<f32> = parts.iter().flat_map(|part| part.response.vectors.as_flat().to_vec()).collect();
    assert_eq!(joined, whole.vectors.as_flat());
    let empty = embedder.embed_stream(&cx, EmbedRequest::default(), stream::empty());
    assert_eq!(empty.count().await, 0);
    let mut wrong = embedder.embed_stream(&cx, EmbedRequest::texts(["a"]), stream::empty());
    assert_eq!(wrong.try_next().await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert!(wrong.next().await.is_none());
}
