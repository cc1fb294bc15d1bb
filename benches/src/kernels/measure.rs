//! Measuring: ours, the limit and theirs in turns.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use ayni_kernels::peak::{self, Instruction};
use ayni_kernels::{Cpu, Isa, KernelError};

use super::peaks;
use crate::Options;
use crate::report::{Report, Target, median};

/// One piece of work, to be repeated.
pub(super) type Work<'a> = Box<dyn FnMut() -> Result<(), KernelError> + 'a>;

/// What bounds a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// How fast registers are multiplied.
    Multiply(Instruction),
    /// How fast memory far larger than the caches is read.
    Memory,
}

impl Limit {
    /// The unit of the work, and what it is printed in.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Self::Multiply(_) => "Gop/s",
            Self::Memory => "GB/s",
        }
    }
}

/// One kernel at one size.
pub(super) struct Case<'a> {
    /// What the tables and `--only` call it and its likes.
    pub(super) group: &'static str,
    /// Which size.
    pub(super) name: String,
    /// Operations or bytes, as the limit counts.
    pub(super) work: f64,
    pub(super) limit: Limit,
    /// What the part of the limit should be.
    pub(super) target: Target,
    pub(super) ours: Work<'a>,
    /// The same work by others, by their names.
    pub(super) theirs: Vec<(&'static str, Target, Work<'a>)>,
}

/// A kernel at one size, measured.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) group: &'static str,
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) speed: f64,
    pub(super) of_limit: f64,
    pub(super) target: Target,
    /// How many times as fast as others.
    pub(super) times: Vec<(&'static str, f64)>,
}

/// A run of the suite.
pub(super) struct Bench {
    pub(super) cpu: Cpu,
    pub(super) quick: bool,
    pub(super) report: Report,
    pub(super) rows: Vec<Row>,
    /// Instructions on registers alone, in Gop/s.
    pub(super) peaks: Vec<(String, f64)>,
    /// The fastest instruction for a precision, by instruction set and number of threads.
    fastest: HashMap<(Isa, usize, Instruction), Instruction>,
    only: Vec<String>,
    /// Far larger than the caches.
    memory: Vec<u32>,
}

impl Bench {
    pub(super) fn new(cpu: Cpu, options: &Options) -> Self {
        Self {
            cpu,
            quick: options.quick,
            report: Report::default(),
            rows: Vec::new(),
            peaks: Vec::new(),
            fastest: HashMap::new(),
            only: options.only.clone(),
            memory: Vec::new(),
        }
    }

    /// Whether the group was asked for.
    pub(super) fn wants(&self, group: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| group.contains(only.as_str()))
    }

    /// Memory far larger than the caches.
    pub(super) fn large_memory(&mut self) -> &[u32] {
        if self.memory.is_empty() {
            self.memory = (0..64 << 20).collect();
        }
        &self.memory
    }

    /// Measures a case, prints and keeps what comes out.
    pub(super) fn case(&mut self, case: Case<'_>) -> Result<(), KernelError> {
        let cpu = self.cpu.clone();
        self.case_on(&cpu, case)
    }

    /// The same for another instruction set or number of threads than the run's.
    pub(super) fn case_on(&mut self, cpu: &Cpu, case: Case<'_>) -> Result<(), KernelError> {
        if !self.wants(case.group) {
            return Ok(());
        }
        if case.limit == Limit::Memory {
            self.large_memory();
        }
        let bound = match case.limit {
            Limit::Memory => Limit::Memory,
            Limit::Multiply(wanted) => {
                let key = (cpu.isa, cpu.pool.threads(), wanted);
                Limit::Multiply(*self.fastest.entry(key).or_insert_with(|| peaks::fastest(cpu, wanted)))
            }
        };
        let (limit_work, limit) = limit_work(cpu, bound, &self.memory);
        let mut sides = vec![Side::new(limit, limit_work), Side::new(case.ours, case.work)];
        let (mut names, mut targets) = (Vec::new(), Vec::new());
        for (name, target, work) in case.theirs {
            names.push(name);
            targets.push(target);
            sides.push(Side::new(work, case.work));
        }
        take_turns(&mut sides, self.quick)?;
        let [limit, ours, theirs @ ..] = sides.as_slice() else { return Ok(()) };
        let label = format!("{}_{}", case.group, case.name);
        let unit = case.limit.unit();
        let row = Row {
            group: case.group,
            name: case.name,
            unit,
            speed: median(ours.speeds.clone()) / 1e9,
            of_limit: ours.times_as_fast_as(limit),
            target: case.target,
            times: names.iter().copied().zip(theirs.iter().map(|side| ours.times_as_fast_as(side))).collect(),
        };
        self.report.figure(&label, row.speed, unit, Target::None);
        self.report.ratio(&format!("{label}_of_limit"), row.of_limit, row.target);
        for ((name, times), target) in row.times.iter().zip(targets) {
            self.report.ratio(&format!("{label}_times_{name}"), *times, target);
        }
        self.rows.push(row);
        Ok(())
    }
}

/// A piece of work that reaches the limit, and how much it is.
fn limit_work<'a>(cpu: &'a Cpu, limit: Limit, memory: &'a [u32]) -> (f64, Work<'a>) {
    match limit {
        Limit::Multiply(instruction) => {
            const ROUNDS: usize = 40_000;
            let operations = peak::multiply(cpu, instruction, ROUNDS).unwrap_or(0);
            #[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
            let work = operations as f64;
            let run: Work<'a> = Box::new(move || {
                peak::multiply(cpu, instruction, ROUNDS);
                Ok(())
            });
            (work, run)
        }
        Limit::Memory => {
            let work = bytes_of(memory);
            let run: Work<'a> = Box::new(move || {
                std::hint::black_box(peak::read(cpu, memory));
                Ok(())
            });
            (work, run)
        }
    }
}

/// The bytes of a slice, as an amount of work.
#[allow(clippy::cast_precision_loss, reason = "far below 2⁵³")]
pub(super) fn bytes_of<T>(slice: &[T]) -> f64 {
    size_of_val(slice) as f64
}

/// Measures pieces of work in turns; operations or bytes a second of each, in the median.
pub(super) fn in_turns(bench: &Bench, pieces: Vec<(f64, Work<'_>)>) -> Result<Vec<f64>, KernelError> {
    let mut sides: Vec<Side<'_>> = pieces.into_iter().map(|(work, run)| Side::new(run, work)).collect();
    take_turns(&mut sides, bench.quick)?;
    Ok(sides.into_iter().map(|side| median(side.speeds)).collect())
}

/// One of those that take turns.
struct Side<'a> {
    run: Work<'a>,
    work: f64,
    repeats: u32,
    spent: Duration,
    /// Operations or bytes a second, one a turn.
    speeds: Vec<f64>,
}

impl<'a> Side<'a> {
    fn new(run: Work<'a>, work: f64) -> Self {
        Self { run, work, repeats: 1, spent: Duration::ZERO, speeds: Vec::new() }
    }

    /// Runs once to warm up, and again to see how often a turn must repeat it, unless once was long.
    fn prepare(&mut self, turn: Duration) -> Result<(), KernelError> {
        let mut once = self.once()?;
        if once < 10 * turn {
            once = self.once()?;
        }
        self.spent = once;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small positive number")]
        let repeats = (turn.as_secs_f64() / once.as_secs_f64().max(1e-7)).ceil() as u32;
        self.repeats = repeats.clamp(1, 100_000);
        Ok(())
    }

    fn once(&mut self) -> Result<Duration, KernelError> {
        let start = Instant::now();
        (self.run)()?;
        Ok(start.elapsed())
    }

    fn turn(&mut self) -> Result<(), KernelError> {
        let start = Instant::now();
        for _ in 0..self.repeats {
            (self.run)()?;
        }
        let time = start.elapsed();
        self.spent += time;
        self.speeds.push(self.work * f64::from(self.repeats) / time.as_secs_f64());
        Ok(())
    }

    /// The median over the turns, or over all pairs where one side had fewer.
    fn times_as_fast_as(&self, other: &Self) -> f64 {
        if self.speeds.len() == other.speeds.len() {
            return median(
                self.speeds.iter().zip(&other.speeds).map(|(ours, theirs)| ours / theirs).collect(),
            );
        }
        median(self.speeds.clone()) / median(other.speeds.clone())
    }
}

/// Many short turns rather than few long ones. Neighbours on the same machine take CPU, cache and memory for tens of
/// milliseconds at a time, which slows all sides of a short round alike: the ratio within the round stays, and the
/// median over the rounds leaves out those in which something began or ended. The maximum or a quantile of each side
/// by itself would compare different moments.
fn take_turns(sides: &mut [Side<'_>], quick: bool) -> Result<(), KernelError> {
    let (turns, turn, most) = if quick {
        (15, Duration::from_micros(1500), Duration::from_millis(250))
    } else {
        (25, Duration::from_millis(3), Duration::from_millis(500))
    };
    for side in sides.iter_mut() {
        side.prepare(turn)?;
    }
    for _ in 0..turns {
        for (number, side) in sides.iter_mut().enumerate() {
            if side.spent < most || side.speeds.is_empty() {
                side.turn()?;
            }
            if number > 1 {
                // Their threads spin on for a while after a call, and would slow who comes next.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
    Ok(())
}
