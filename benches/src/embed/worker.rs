//! One side in a process of its own, driven by lines, as `benches/peers/embed/worker.py` is.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, Write};
use std::time::Instant;

use ayni::local::ops::cpu;
use ayni::{Environment, Error, Vectors};

use super::library::{Folders, Library, Once, Ours};
use super::works::Work;
use super::{memory, of_pipe, operations_a_second, stream};

/// Answers one line with one line, until the input ends:
///
/// ```text
/// prepare WORK        → ready · absent WHY
/// run WORK TIMES      → time NANOSECONDS    (after once more, which wakes threads and fills caches)
/// vectors WORK FILE   → written ROWS WIDTH   (f32, row after row)
/// memory              → memory BYTES
/// first WORK          → first                (prepares and runs once)
/// peak PRECISION      → peak OPERATIONS_A_SECOND
/// stream TEXTS        → streamed NANOSECONDS BATCH_NANOSECONDS PROGRESS PEAK MEMORY…   (ours only)
/// ```
///
/// `BATCH_NANOSECONDS` is what as many texts would take at the pace of large batches, `PROGRESS` how often progress was
/// told, `PEAK` the most memory ever. A precision without an instruction has no peak: `absent WHY`. A failure is answered
/// with `failed WHY`.
pub(super) fn serve(side: &str, folders: &Folders) -> Result<(), Error> {
    let mut worker = Worker { side: Side::open(side, folders)?, prepared: HashMap::new() };
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(of_pipe)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer = worker.answer(&words).unwrap_or_else(|error| format!("failed {error}"));
        writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(of_pipe)?;
    }
    Ok(())
}

enum Side {
    Ours(Ours),
    #[cfg(feature = "stock")]
    Stock(super::stock::Stock),
}

impl Side {
    fn open(name: &str, folders: &Folders) -> Result<Self, Error> {
        match name {
            "auto" | "f32" | "bf16" | "int8" | "bf16x3" => Ok(Self::Ours(Ours::new(name, folders.clone())?)),
            #[cfg(feature = "stock")]
            "candle" => Ok(Self::Stock(super::stock::Stock::new(folders)?)),
            #[cfg(not(feature = "stock"))]
            "candle" => {
                Err(Error::config("this build has no candle-transformers: build with the feature `stock`"))
            }
            other => Err(Error::config(format!(
                "there is no side '{other}'; valid: auto, f32, bf16, int8, candle"
            ))),
        }
    }

    fn as_library(&mut self) -> &mut dyn Library {
        match self {
            Self::Ours(ours) => ours,
            #[cfg(feature = "stock")]
            Self::Stock(stock) => stock,
        }
    }
}

struct Worker {
    side: Side,
    prepared: HashMap<String, Once>,
}

impl Worker {
    fn answer(&mut self, words: &[&str]) -> Result<String, Error> {
        match words {
            ["prepare", work] => Ok(match self.prepare(work)? {
                true => "ready".to_owned(),
                false => "absent measured for MiniLM's texts only".to_owned(),
            }),
            ["run", work, times] => self.run(work, times),
            ["vectors", work, file] => write_vectors(&self.once(work)?()?, file),
            ["memory"] => Ok(format!("memory {}", memory::resident()?)),
            ["first", work] => {
                self.prepare(work)?;
                Ok("first".to_owned())
            }
            ["peak", precision] => Ok(operations_a_second(&cpu(&Environment::process())?, precision)
                .map_or_else(
                    || format!("absent this CPU has no instruction for {precision}"),
                    |peak| format!("peak {peak:.0}"),
                )),
            ["stream", count] => self.stream(count),
            _ => Err(Error::config(format!("'{}' is not understood", words.join(" ")))),
        }
    }

    /// Whether this side does the work.
    fn prepare(&mut self, name: &str) -> Result<bool, Error> {
        let work = Work::named(name).ok_or_else(|| Error::config(format!("there is no work '{name}'")))?;
        let Some(mut once) = self.side.as_library().prepare(&work)? else { return Ok(false) };
        once()?;
        self.prepared.insert(name.to_owned(), once);
        Ok(true)
    }

    fn once(&mut self, work: &str) -> Result<&mut Once, Error> {
        self.prepared.get_mut(work).ok_or_else(|| Error::config(format!("'{work}' is not prepared")))
    }

    fn run(&mut self, work: &str, times: &str) -> Result<String, Error> {
        let times = number(times)?;
        let once = self.once(work)?;
        once()?;
        let start = Instant::now();
        for _ in 0..times {
            once()?;
        }
        Ok(format!("time {}", start.elapsed().as_nanos()))
    }

    fn stream(&mut self, count: &str) -> Result<String, Error> {
        #[allow(irrefutable_let_patterns, reason = "without the feature `stock` there is only one side")]
        let Side::Ours(ours) = &mut self.side else {
            return Err(Error::unsupported("only our side streams"));
        };
        let found = stream::measure(ours, number(count)?)?;
        let (time, as_batch) = (found.time.as_nanos(), found.as_batch.as_nanos());
        let mut answer = format!("streamed {time} {as_batch} {} {}", found.progress, found.peak);
        for bytes in found.resident {
            let _ = write!(answer, " {bytes}");
        }
        Ok(answer)
    }
}

fn write_vectors(vectors: &Vectors, file: &str) -> Result<String, Error> {
    let bytes: Vec<u8> = vectors.as_flat().iter().flat_map(|number| number.to_le_bytes()).collect();
    std::fs::write(file, bytes).map_err(|error| Error::config(format!("could not write {file}: {error}")))?;
    Ok(format!("written {} {}", vectors.len(), vectors.width()))
}

fn number(text: &str) -> Result<usize, Error> {
    text.parse().map_err(|_| Error::config(format!("'{text}' is not a number")))
}
