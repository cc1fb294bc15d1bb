//! The parts of a local image model at its real size, in each precision. The folder is one that
//! `benches/peers/image/make.py` made, with random weights: `AYNI_BENCH_IMAGES` names it.

use std::path::Path;

use ayni::local::ImageParts;
use ayni::local::ops::{Device, Precision, cpu};
use ayni::{Environment, Error};

use crate::Options;
use crate::report::{Report, Target, median, timed};

/// Height and width of the images.
const SIDE: usize = 512;

/// Runs every measurement.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let environment = Environment::process();
    let Some(folder) = environment.get("AYNI_BENCH_IMAGES") else {
        return Err(Error::config(
            "AYNI_BENCH_IMAGES is not set: name a folder that benches/peers/image/make.py made",
        ));
    };
    let mut report = Report::default();
    let cpu = cpu(&environment)?;
    println!("# {}, {} threads, {SIDE} × {SIDE}", cpu.isa, cpu.pool.threads());
    let turns = if options.quick { 2 } else { 5 };
    for precision in Precision::ALL.iter().copied() {
        let name = |part: &str| format!("image_{part}_{}", precision.name());
        let is_wanted = |part: &&str| {
            options.only.is_empty() || options.only.iter().any(|only| name(part).contains(only))
        };
        let parts: Vec<&str> =
            ["load", "text", "step1", "step2", "decode", "encode"].into_iter().filter(is_wanted).collect();
        if parts.is_empty() {
            continue;
        }
        let device = Device::on_cpu(cpu.clone(), precision);
        let (load, model) = timed(|| ImageParts::open(Path::new(&folder), &device));
        let model = model?;
        for part in parts {
            let work = || match part {
                "text" => model.text(),
                "step1" => model.step(1, SIDE),
                "step2" => model.step(2, SIDE),
                "decode" => model.decode(SIDE, None),
                _ => model.encode(SIDE),
            };
            if part == "load" {
                report.figure(&name(part), load.as_secs_f64() * 1e3, "ms", Target::None);
                continue;
            }
            work()?;
            let mut times = Vec::new();
            for _ in 0..turns {
                let (time, outcome) = timed(work);
                outcome?;
                times.push(time.as_secs_f64() * 1e3);
            }
            report.figure(&name(part), median(times), "ms", Target::None);
        }
    }
    Ok(report)
}
