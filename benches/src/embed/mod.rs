//! Local embedders: how long they take, and how much of the CPU's limit that is.
//!
//! `make bench-peers SUITE=embed` drives the same works here and in other libraries, one process each, in turns.

mod library;
pub(crate) mod memory;
mod preprocess;
#[cfg(feature = "stock")]
mod stock;
mod stream;
mod worker;
mod works;

use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

use ayni::local::ops::cpu;
use ayni::{Environment, Error, ErrorKind};
use ayni_kernels::Cpu;
use ayni_kernels::gemm::Precision;
use ayni_kernels::peak::{self, Instruction};

use crate::Options;
use crate::report::{Report, Target, median};
use library::{Folders, Library, Ours};
use works::{Model, Task, Work};

/// From this many inputs on, the arithmetic should be what takes the time.
const LARGE_BATCH: usize = 16;

/// Part of the CPU's limit that a large batch should reach.
const OF_LIMIT: f64 = 0.6;

/// Measures our embedders alone: MiniLM, and CLIP where the peers' preparation has made its weights.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let cache = crate::cache_folder()?;
    let folders =
        Folders { minilm: cache.join("models/all-minilm-l6-v2"), prepared: cache.join("peers/embed") };
    if !folders.minilm.join("model.safetensors").is_file() {
        let missing = format!("there is no model in {}: run `make models`", folders.minilm.display());
        return Err(Error::config(missing));
    }
    let has_clip = folders.prepared.join("images/photograph.jpg").is_file();
    if !has_clip {
        println!("# CLIP is left out: `make bench-peers SUITE=embed` makes its weights");
    }
    let cpu = cpu(&Environment::process())?;
    let mut report = Report::default();
    let is_wanted =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.contains(only));
    // First, before other works have filled the memory.
    if is_wanted("stream") {
        let texts = if options.quick { stream::TEXTS_QUICK } else { stream::TEXTS };
        stream::measure(&mut Ours::new("auto", folders.clone())?, texts)?.report(&mut report, "auto");
    }
    let precisions = Precision::of(cpu.isa).iter().map(|precision| precision.name());
    for precision in std::iter::once("auto").chain(precisions) {
        let mut ours = Ours::new(precision, folders.clone())?;
        for work in works::all() {
            if is_wanted(&work.name) && (has_clip || work.model == Model::MiniLm) {
                measure(&mut report, &cpu, &mut ours, precision, &work, options.quick)?;
            }
        }
    }
    Ok(report)
}

fn measure(
    report: &mut Report,
    cpu: &Cpu,
    ours: &mut Ours,
    precision: &str,
    work: &Work,
    quick: bool,
) -> Result<(), Error> {
    let Some(mut once) = ours.prepare(work)? else { return Ok(()) };
    let (mut times, mut limits) = (Vec::new(), Vec::new());
    for _ in 0..if quick { 5 } else { 15 } {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed().as_secs_f64());
        limits.extend(operations_a_second(cpu, precision));
    }
    let time = median(times);
    report.figure(&format!("{}_{precision}", work.name), time * 1e3, "ms", Target::None);
    if !limits.is_empty() && !matches!(work.task, Task::Preprocess) {
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let part = work.operations() as f64 / time / median(limits);
        let target = if work.inputs() >= LARGE_BATCH { Target::AtLeast(OF_LIMIT) } else { Target::None };
        report.ratio(&format!("{}_{precision}_of_limit", work.name), part, target);
    }
    Ok(())
}

/// How many operations a second the CPU does in this precision, measured now; `None` where it has no such
/// instruction.
fn operations_a_second(cpu: &Cpu, precision: &str) -> Option<f64> {
    let instruction = match precision {
        "f32" => Instruction::MultiplyAdd,
        "int8" => Instruction::ByteDot,
        "bf16" => Instruction::Bf16Dot,
        // Three products for one.
        "bf16x3" => return operations_a_second(cpu, "bf16").map(|operations| operations / 3.0),
        // What `auto` chooses: bf16 where the CPU multiplies it.
        _ => {
            return operations_a_second(cpu, "bf16").or_else(|| operations_a_second(cpu, "f32"));
        }
    };
    // Once more to wake the threads; a limit is the best that was seen.
    peak::multiply(cpu, instruction, 40_000)?;
    let mut best: f64 = 0.0;
    for _ in 0..5 {
        let start = Instant::now();
        let operations = peak::multiply(cpu, instruction, 40_000)?;
        #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
        let found = operations as f64 / start.elapsed().as_secs_f64();
        best = best.max(found);
    }
    Some(best)
}

/// The commands that `make bench-peers` uses.
pub(crate) fn for_peers(command: &str, arguments: &[String]) -> ExitCode {
    let outcome = match (command, arguments) {
        ("embed-works", []) => print_works(),
        ("embed-worker", [side, minilm, prepared]) => {
            worker::serve(side, &Folders { minilm: minilm.into(), prepared: prepared.into() })
        }
        _ => return crate::usage(&format!("'{command}' is not called like that")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ayni-benches: {error}");
            ExitCode::FAILURE
        }
    }
}

fn print_works() -> Result<(), Error> {
    let works: Vec<_> = works::all().iter().map(Work::json).collect();
    let text = format!("{:#}\n", serde_json::Value::Array(works));
    std::io::stdout().write_all(text.as_bytes()).map_err(of_pipe)
}

fn of_pipe(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Interrupted, format!("whoever drives this is gone: {error}"))
}
