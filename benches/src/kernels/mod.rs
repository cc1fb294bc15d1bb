//! The arithmetic on the CPU, held against what the CPU can do, against candle and against the crate `gemm`.
//!
//! Ours, theirs and the limit take turns, so that a busy machine slows all of them; ratios are medians over
//! the turns. `gemm` is built with its AVX-512 code, and candle, which multiplies with it, gets it too.

mod attention;
mod conv;
mod gemm;
mod gguf;
mod measure;
mod norm;
mod peaks;
mod small;
mod table;
mod theirs;

use ayni::local::ops::cpu;
use ayni::{Environment, Error, ErrorKind};

use crate::Options;
use crate::report::Report;
use crate::sections;
use crate::today::cpu_generation;
use measure::Bench;

/// Runs every measurement.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let mut bench = Bench::new(cpu(&Environment::process())?, options);
    println!("# {}, {}, {} threads", crate::today::cpu_name(), bench.cpu.isa, bench.cpu.pool.threads());
    measure_all(&mut bench).map_err(|error| Error::new(ErrorKind::Unexpected, error.to_string()))?;
    if let Some(path) = &options.markdown {
        sections::write(path, table::BEGINNING, &cpu_generation(), &table::section(&bench))
            .map_err(|error| Error::config(format!("could not write {path}: {error}")))?;
    }
    Ok(bench.report)
}

fn measure_all(bench: &mut Bench) -> ayni_kernels::Result<()> {
    peaks::run(bench)?;
    gemm::run(bench)?;
    small::run(bench)?;
    conv::run(bench)?;
    attention::run(bench)?;
    gguf::run(bench)?;
    norm::run(bench)
}
