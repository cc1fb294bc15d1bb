//! A local image model at its real size, with random weights, part by part and in whole.
//!
//! `make bench-peers SUITE=image` drives the same parts here and in other libraries, one process each, in turns.

use std::collections::HashSet;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use ayni::local::ops::{Device, KeptMemory, Precision, cpu};
use ayni::local::{ImageParts, LocalImage, LocalImageConfig};
use ayni::{Context, Environment, Error, ErrorKind, GenerateRequest, ImageGenerator};
use futures_util::future::try_join_all;

use crate::Options;
use crate::report::{Report, Target, median, timed};

/// The parts of a model alone.
const PARTS: [&str; 5] = ["text", "step1", "step2", "decode", "encode"];

/// What a thread keeps for its next tensors, as an engine does.
const KEPT_BYTES: usize = 512 << 20;

/// Runs every part in every precision, and says how far the precisions are from f32.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let environment = Environment::process();
    let Some(folder) = environment.get("AYNI_BENCH_IMAGES").map(PathBuf::from) else {
        return Err(Error::config(
            "AYNI_BENCH_IMAGES is not set: name a folder that benches/peers/image/make.py made",
        ));
    };
    let mut report = Report::default();
    let cpu = cpu(&environment)?;
    println!("# {}, {} threads", cpu.isa, cpu.pool.threads());
    let turns = if options.quick { 2 } else { 5 };
    let mut exact: Option<Vec<f32>> = None;
    for precision in Precision::of(cpu.isa) {
        let name = |part: &str| format!("image_{part}_{}", precision.name());
        let is_wanted =
            |part: &str| options.only.is_empty() || options.only.iter().any(|only| name(part).contains(only));
        if !PARTS.iter().any(|part| is_wanted(part)) && !is_wanted("cosine") {
            continue;
        }
        let (load, worker) = timed(|| Worker::open(precision.name(), &folder));
        let mut worker = worker?;
        report.figure(&name("load"), load.as_secs_f64() * 1e3, "ms", Target::None);
        for part in PARTS.into_iter().filter(|part| is_wanted(part)) {
            worker.once(part)?;
            let times = (0..turns).map(|_| {
                let (time, outcome) = timed(|| worker.once(part));
                outcome.map(|()| time.as_secs_f64() * 1e3)
            });
            report.figure(&name(part), median(times.collect::<Result<_, _>>()?), "ms", Target::None);
        }
        if is_wanted("cosine") {
            let found = worker.parts()?.step(1, None)?;
            match &exact {
                None => exact = Some(found),
                Some(exact) => report.ratio(
                    &name("cosine"),
                    cosine(exact, &found),
                    Target::AtLeast(if *precision == Precision::Int8 { 0.998 } else { 0.9995 }),
                ),
            }
        }
    }
    Ok(report)
}

fn cosine(one: &[f32], other: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(one, other) / (dot(one, one) * dot(other, other)).sqrt()
}

/// Our side in a process of its own: `image-worker PRECISION FOLDER`. It answers one line with one line:
///
/// ```text
/// run PART TIMES    → time NANOSECONDS
/// first             → first NANOSECONDS          (loads, encodes a prompt and does a step)
/// memory            → memory PEAK                (bytes that ever were resident)
/// estimate ROWS SIDE → estimate BYTES            (what memory is said to take)
/// draw ROWS SIDE    → drawn                      (a step and a decode)
/// output FILE       → written                    (what a step predicts, f32)
/// ```
///
/// Parts are those of the model, `lcm` (an image of four steps), `users4` and `alone4` (four of them at once, or one after
/// another). A failure is answered with `failed WHY`.
pub(crate) fn for_peers(arguments: &[String]) -> ExitCode {
    let [precision, folder] = arguments else {
        eprintln!("ayni-benches: image-worker PRECISION FOLDER");
        return ExitCode::from(2);
    };
    let mut worker = Worker::new(precision, Path::new(folder));
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { break };
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = worker.answer(&words).unwrap_or_else(|error| format!("failed {error}"));
        if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

struct Worker {
    precision: String,
    folder: PathBuf,
    parts: Option<ImageParts>,
    whole: Option<(LocalImage, tokio::runtime::Runtime)>,
    /// What ran: the first time wakes threads and fills caches.
    warm: HashSet<String>,
    _kept: KeptMemory,
}

impl Worker {
    fn new(precision: &str, folder: &Path) -> Self {
        Self {
            precision: precision.to_owned(),
            folder: folder.to_owned(),
            parts: None,
            whole: None,
            warm: HashSet::new(),
            _kept: KeptMemory::up_to(KEPT_BYTES),
        }
    }

    fn open(precision: &str, folder: &Path) -> Result<Self, Error> {
        let mut worker = Self::new(precision, folder);
        worker.parts()?;
        Ok(worker)
    }

    fn answer(&mut self, words: &[&str]) -> Result<String, Error> {
        match words {
            ["run", part, times] => {
                // Several images are as warm as one.
                let kind = if part.ends_with('4') { "lcm" } else { part };
                if self.warm.insert(kind.to_owned()) {
                    self.once(kind)?;
                }
                let start = Instant::now();
                for _ in 0..number(times)? {
                    self.once(part)?;
                }
                Ok(format!("time {}", start.elapsed().as_nanos()))
            }
            ["first"] => {
                let start = Instant::now();
                self.parts()?.step(1, None)?;
                Ok(format!("first {}", start.elapsed().as_nanos()))
            }
            ["memory"] => Ok(format!("memory {}", crate::embed::memory::peak()?)),
            ["estimate", rows, side] => {
                let (rows, side) = (number(rows)?, number(side)?);
                Ok(format!("estimate {}", self.parts()?.estimated_bytes(rows, side)?))
            }
            ["draw", rows, side] => {
                let (rows, side) = (number(rows)?, number(side)?);
                self.parts()?.step(rows, Some(side))?;
                self.parts()?.decode(Some(side), None)?;
                Ok("drawn".to_owned())
            }
            ["output", file] => {
                let values = self.parts()?.step(1, None)?;
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                std::fs::write(file, bytes).map_err(|error| Error::config(format!("{file}: {error}")))?;
                Ok("written".to_owned())
            }
            _ => Err(Error::config(format!("'{}' is not understood", words.join(" ")))),
        }
    }

    fn parts(&mut self) -> Result<&ImageParts, Error> {
        if self.parts.is_none() {
            let precision = Precision::ALL.iter().copied().find(|known| known.name() == self.precision);
            let precision = precision.ok_or_else(|| Error::config("no such precision"))?;
            let device = Device::on_cpu(cpu(&Environment::process())?, precision);
            self.parts = Some(ImageParts::open(&self.folder, &device)?);
        }
        self.parts.as_ref().ok_or_else(|| Error::new(ErrorKind::Unexpected, "no parts"))
    }

    fn once(&mut self, part: &str) -> Result<(), Error> {
        match part {
            "text" => self.parts()?.text(),
            "step1" => self.parts()?.step(1, None).map(drop),
            "step2" => self.parts()?.step(2, None).map(drop),
            "decode" => self.parts()?.decode(None, None),
            "encode" => self.parts()?.encode(None),
            "lcm" => self.images(&[1]),
            "users4" => self.images(&[4]),
            "alone4" => self.images(&[1, 1, 1, 1]),
            other => Err(Error::config(format!("there is no part '{other}'"))),
        }
    }

    /// Draws so many images at once, one group after another, in four steps each.
    fn images(&mut self, groups: &[usize]) -> Result<(), Error> {
        if self.whole.is_none() {
            let mut config = LocalImageConfig::new(self.folder.to_string_lossy().as_ref()).with_recipe("lcm");
            config.source.precision = Some(self.precision.clone());
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime
                .map_err(|error| Error::new(ErrorKind::Unexpected, "no runtime").with_source(error))?;
            self.whole = Some((LocalImage::open(&config, &Environment::process())?, runtime));
        }
        let Some((image, runtime)) = &self.whole else { return Ok(()) };
        let cx = Context::new();
        for count in groups {
            let one = |seed: usize| {
                let request = GenerateRequest::new("a cat on the moon").with_steps(4).with_seed(seed as u64);
                image.generate(&cx, request)
            };
            runtime.block_on(try_join_all((0..*count).map(one)))?;
        }
        Ok(())
    }
}

fn number(text: &str) -> Result<usize, Error> {
    text.parse().map_err(|_| Error::config(format!("'{text}' is not a number")))
}
