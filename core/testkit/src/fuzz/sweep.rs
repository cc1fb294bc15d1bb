//! Attempts in child processes, which may crash, hang or take too much memory: each that does is a finding.
//!
//! A child runs many attempts and says so; the parent watches it. What is tried is up to the program: it calls
//! [`Sweep::child`] first, which does the attempts if this process is such a child.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// Tells a child which attempts are its own.
const VARIABLE: &str = "AYNI_SWEEP";

/// A run of numbered attempts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sweep {
    /// Where the random numbers start.
    pub seed: u64,
    /// How many attempts there are.
    pub attempts: u64,
    /// How long the run takes at most, if the attempts do not end it before.
    pub duration: Duration,
    /// The longest that an attempt may take.
    pub timeout: Duration,
    /// The most memory that an attempt may add to the process, where the system counts it.
    pub max_bytes: u64,
    /// How many children run at a time.
    pub children: usize,
}

/// What a run has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SweepReport {
    /// Attempts that ended.
    pub attempts: u64,
    /// Attempts that broke a promise: their number, and what happened.
    pub findings: Vec<(u64, String)>,
    /// How often attempts ended in each way.
    pub outcomes: std::collections::BTreeMap<String, u64>,
}

impl Sweep {
    /// So many attempts, of at most ten seconds and one gibibyte each.
    pub fn new(seed: u64, attempts: u64) -> Self {
        Self {
            seed,
            attempts,
            duration: Duration::MAX,
            timeout: Duration::from_secs(10),
            max_bytes: 1 << 30,
            children: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    /// This run, changed by the environment: `AYNI_FUZZ_SEED`, and `AYNI_FUZZ_SECONDS`, with which as many attempts are
    /// made as fit.
    ///
    /// # Errors
    /// Names the variable that should be a number.
    pub fn with_env(mut self) -> Result<Self, String> {
        if let Some(seed) = super::options::number("AYNI_FUZZ_SEED")? {
            self.seed = seed;
        }
        if let Some(seconds) = super::options::number("AYNI_FUZZ_SECONDS")? {
            (self.duration, self.attempts) = (Duration::from_secs(seconds), u64::MAX);
        }
        Ok(self)
    }

    /// Does the attempts of this process, if it is a child; `attempt` gets the seed and the number, and says how it ended or
    /// which promise was broken. A panic ends the child, caught or not: where the dependent builds with
    /// `panic = "abort"` it would end the process.
    pub fn child(attempt: impl Fn(u64, u64) -> Result<String, String>) -> Option<ExitCode> {
        let task = std::env::var(VARIABLE).ok()?;
        let numbers: Vec<u64> = task.split(':').filter_map(|number| number.parse().ok()).collect();
        let &[seed, first, step, end, max_bytes] = numbers.as_slice() else { return Some(ExitCode::FAILURE) };
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            report(panic);
            std::process::abort();
        }));
        let mut number = first;
        while number < end {
            say(&format!("begin {number}"));
            let before = peak::reset();
            let mut outcome = attempt(seed, number);
            let added = peak::bytes().saturating_sub(before);
            if outcome.is_ok() && added > max_bytes {
                outcome = Err(format!("it took {} MiB of memory", added >> 20));
            }
            match outcome {
                Ok(how) => say(&format!("end {number} {}", how.replace('\n', " "))),
                Err(why) => say(&format!("broken {number} {}", why.replace('\n', " "))),
            }
            number = number.saturating_add(step);
        }
        Some(ExitCode::SUCCESS)
    }

    /// Runs the attempts in children of this program.
    ///
    /// # Errors
    /// If a child can't be started.
    pub fn run(&self) -> std::io::Result<SweepReport> {
        let start = Instant::now();
        let children = self.children.max(1) as u64;
        let reports = std::thread::scope(|scope| {
            let lines: Vec<_> = (0..children)
                .map(|first| scope.spawn(move || self.run_line(first, children, start)))
                .collect();
            let joined = lines
                .into_iter()
                .map(|line| line.join().map_err(|_| std::io::Error::other("a watcher panicked")));
            joined.map(|line| line.and_then(|line| line)).collect::<std::io::Result<Vec<_>>>()
        })?;
        let mut whole = SweepReport::default();
        for report in reports {
            whole.attempts += report.attempts;
            whole.findings.extend(report.findings);
            for (outcome, count) in report.outcomes {
                *whole.outcomes.entry(outcome).or_default() += count;
            }
        }
        whole.findings.sort();
        Ok(whole)
    }

    /// Every `step`th attempt from `first` on, in one child after another.
    fn run_line(&self, first: u64, step: u64, start: Instant) -> std::io::Result<SweepReport> {
        let (mut report, mut next) = (SweepReport::default(), first);
        while next < self.attempts && start.elapsed() < self.duration {
            let mut watched = Watched::start(self, next, step)?;
            let last = watched.watch(self, start, &mut report)?;
            match last {
                Some(number) => next = number.saturating_add(step),
                None => break,
            }
        }
        Ok(report)
    }
}

/// A child and the lines that it says.
struct Watched {
    child: Child,
    lines: Receiver<String>,
}

impl Watched {
    fn start(sweep: &Sweep, first: u64, step: u64) -> std::io::Result<Self> {
        let Sweep { seed, attempts, max_bytes, .. } = sweep;
        let program = std::env::current_exe()?;
        // An allocation of absurd size must fail rather than find memory: room for the program, its threads and files, and
        // for what an attempt may take.
        let limit = (max_bytes.saturating_add(3 << 30)) >> 10;
        let mut command = if cfg!(unix) {
            let mut shell = Command::new("sh");
            shell.args(["-c", &format!("ulimit -v {limit} 2>/dev/null; exec \"$0\"")]).arg(program);
            shell
        } else {
            Command::new(program)
        };
        let task = format!("{seed}:{first}:{step}:{attempts}:{max_bytes}");
        command.env(VARIABLE, task).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or_else(|| std::io::Error::other("no output"))?;
        let (sender, lines) = mpsc::channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
        });
        Ok(Self { child, lines })
    }

    /// Watches the child until it ends. Gives the number of the attempt that ended it; nothing if all were done.
    fn watch(
        &mut self,
        sweep: &Sweep,
        start: Instant,
        report: &mut SweepReport,
    ) -> std::io::Result<Option<u64>> {
        // Before its first attempt a child only starts.
        let mut current: Option<u64> = None;
        loop {
            let line = match self.lines.recv_timeout(sweep.timeout) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => {
                    self.stop()?;
                    let number = current.unwrap_or(0);
                    report.findings.push((number, format!("it took more than {:?}", sweep.timeout)));
                    return Ok(current);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = self.child.wait()?;
                    if status.success() && current.is_none() {
                        return Ok(None);
                    }
                    report.findings.push((current.unwrap_or(0), format!("it ended the process: {status}")));
                    return Ok(current);
                }
            };
            let mut parts = line.splitn(3, ' ');
            let (what, number) = (parts.next(), parts.next().and_then(|number| number.parse().ok()));
            let text = parts.next().unwrap_or_default().to_owned();
            match (what, number) {
                (Some("begin"), Some(number)) => current = Some(number),
                (Some("end"), Some(_)) => {
                    report.attempts += 1;
                    *report.outcomes.entry(text).or_default() += 1;
                    current = None;
                }
                (Some("broken"), Some(number)) => {
                    report.attempts += 1;
                    report.findings.push((number, text));
                    current = None;
                }
                _ => {}
            }
            if current.is_none() && start.elapsed() >= sweep.duration {
                self.stop()?;
                return Ok(None);
            }
        }
    }

    fn stop(&mut self) -> std::io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

/// Tells the parent.
fn say(line: &str) {
    let mut output = std::io::stdout().lock();
    // Without a parent there is nobody to tell.
    let _ = writeln!(output, "{line}").and_then(|()| output.flush());
}

/// The most memory that the process had.
mod peak {
    /// Forgets the peak so far, where the system can; gives the memory in use.
    pub(super) fn reset() -> u64 {
        let _ = std::fs::write("/proc/self/clear_refs", "5");
        read("VmRSS:")
    }

    /// The peak since then; nothing where the system does not count it.
    pub(super) fn bytes() -> u64 {
        read("VmHWM:")
    }

    fn read(name: &str) -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        let kilobytes = line.and_then(|line| line.trim().split(' ').next()?.parse::<u64>().ok());
        kilobytes.unwrap_or(0) << 10
    }
}
