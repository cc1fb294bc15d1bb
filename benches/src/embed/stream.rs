//! Many short texts through the public stream of an embedder: its pace beside that of large batches in the same run, the
//! memory of the process on the way, and what the progress says.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ayni::context::Progress;
use ayni::{Context, EmbedInput, EmbedRequest, Error, ErrorKind};
use futures_util::{TryStreamExt, stream};

use super::library::Ours;
use super::memory;
use super::works::{Model, text};
use crate::report::{Report, Target, median};

/// How many texts are streamed, and how many with `--quick`.
pub(super) const TEXTS: usize = 100_000;
pub(super) const TEXTS_QUICK: usize = 5_000;

/// The pace of the stream over that of large batches.
const OVER_BATCH: f64 = 0.9;

/// Memory at the end over memory at a fifth of the stream.
const GROWTH: f64 = 1.05;

/// Texts in a large batch, and how many such batches are measured before the stream and as many after it.
const BATCH: usize = 2048;
const BATCHES: usize = 2;

/// How often memory is looked at, in parts of the stream.
const LOOKS: usize = 20;

/// What was measured.
#[derive(Debug)]
pub(super) struct Streamed {
    texts: usize,
    pub(super) time: Duration,
    /// What as many texts take at the pace of large batches.
    pub(super) as_batch: Duration,
    /// Resident bytes before the stream and after each twentieth of it.
    pub(super) resident: Vec<u64>,
    /// The most that ever were resident, loading included.
    pub(super) peak: u64,
    /// How often the progress was told.
    pub(super) progress: usize,
}

/// Between 8 and 24 tokens, as titles have.
fn short_text(number: usize) -> String {
    text(Model::MiniLm, 8 + number * 7 % 17, number)
}

/// Streams so many texts.
///
/// # Errors
/// Those of the embedder; `unexpected` if vectors or progress are not those of the texts, in order.
pub(super) fn measure(ours: &mut Ours, texts: usize) -> Result<Streamed, Error> {
    let mut batches = Vec::new();
    measure_batches(ours, &mut batches)?;
    let mut resident = vec![memory::resident()?];
    let told = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    run(ours, texts, &told, |done| {
        // At the end of each twentieth.
        if resident.len() <= done * LOOKS / texts {
            resident.push(memory::resident()?);
        }
        Ok(())
    })?;
    let time = start.elapsed();
    measure_batches(ours, &mut batches)?;
    #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    let as_batch = Duration::from_secs_f64(median(batches) * texts as f64);
    let progress = check_progress(&told, texts)?;
    Ok(Streamed { texts, time, as_batch, resident, peak: memory::peak()?, progress })
}

/// The time of a text in large batches, in seconds.
fn measure_batches(ours: &mut Ours, found: &mut Vec<f64>) -> Result<(), Error> {
    let request = EmbedRequest::texts((0..BATCH).map(short_text));
    ours.embed(Model::MiniLm, request.clone())?;
    for _ in 0..BATCHES {
        let start = Instant::now();
        ours.embed(Model::MiniLm, request.clone())?;
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        found.push(start.elapsed().as_secs_f64() / BATCH as f64);
    }
    Ok(())
}

/// Takes the vectors of a stream as they come and tells how many have.
fn run(
    ours: &mut Ours,
    texts: usize,
    told: &Arc<Mutex<Vec<(usize, usize)>>>,
    mut after: impl FnMut(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    let embedder = ours.embedder(Model::MiniLm)?;
    let sink = Arc::clone(told);
    let cx = Context::new().with_progress(move |event| {
        if let (Progress::Inputs { done, of }, Ok(mut told)) = (event, sink.lock()) {
            told.push((done, of));
        }
    });
    let inputs = stream::iter((0..texts).map(|number| EmbedInput::Text(short_text(number))));
    ours.runtime().block_on(async {
        let mut parts = embedder.embed_stream(&cx, EmbedRequest::default(), inputs);
        let mut done = 0;
        while let Some(part) = parts.try_next().await? {
            if part.start != done {
                return Err(wrong(format!("the vectors of text {done} are missing")));
            }
            done += part.iter().len();
            after(done)?;
        }
        if done == texts { Ok(()) } else { Err(wrong(format!("{done} vectors came for {texts} texts"))) }
    })
}

/// How often progress was told: of all texts, and never backwards.
fn check_progress(told: &Mutex<Vec<(usize, usize)>>, texts: usize) -> Result<usize, Error> {
    let told = told.lock().map_err(|_| wrong("the progress was lost".to_owned()))?;
    let is_forwards =
        told.windows(2).all(|two| two[0].0 < two[1].0) && told.iter().all(|(_, of)| *of == texts);
    match told.last() {
        Some((done, _)) if *done == texts && is_forwards => Ok(told.len()),
        other => Err(wrong(format!("the progress of {texts} texts ends with {other:?}"))),
    }
}

fn wrong(text: String) -> Error {
    Error::new(ErrorKind::Unexpected, text)
}

impl Streamed {
    /// Prints the figures.
    #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
    pub(super) fn report(&self, report: &mut Report, precision: &str) {
        let figure = |name: &str| format!("stream_{name}_{precision}");
        let (time, mebibytes) = (self.time.as_secs_f64(), |bytes: u64| bytes as f64 / f64::from(1 << 20));
        let texts = self.texts as f64;
        report.figure(&figure("texts"), texts, "texts", Target::None);
        report.figure(&figure("pace"), texts / time, "texts/s", Target::None);
        report.figure(&figure("batch_pace"), texts / self.as_batch.as_secs_f64(), "texts/s", Target::None);
        let over_batch = self.as_batch.as_secs_f64() / time;
        report.ratio(&figure("over_batch"), over_batch, Target::AtLeast(OVER_BATCH));
        let (last, early) = (self.resident.last(), self.resident.get(self.resident.len() / 5));
        if let (Some(last), Some(early)) = (last, early) {
            report.figure(&figure("memory"), mebibytes(*last), "MiB", Target::None);
            report.ratio(&figure("memory_growth"), *last as f64 / *early as f64, Target::AtMost(GROWTH));
        }
        report.figure(&figure("memory_peak"), mebibytes(self.peak), "MiB", Target::None);
        report.figure(&figure("progress"), self.progress as f64, "events", Target::None);
    }
}
