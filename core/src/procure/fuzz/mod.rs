//! Feeds parsers what nobody wrote: recorded bodies, mutated with a sense for their structure.
//!
//! Runs are bounded by time (`AYNI_FUZZ_SECONDS`, ten by default) and repeatable: the seed (`AYNI_FUZZ_SEED`) is
//! always the same unless it is given, and printed when something is found, beside a file with the input.
//! `AYNI_FUZZ_INPUT` names such a file to be tried alone, `AYNI_FUZZ_TARGET` one parser. What a parser does with an input is a short text, its
//! behaviour; inputs that show a new one are mutated further.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

mod mutate;
mod targets;
mod tests;

pub(crate) use mutate::{Random, Shape};

/// The longest that a parser may take for one input; none is longer than [`mutate::LONGEST`].
const SLOW: Duration = Duration::from_secs(5);
/// The most inputs that are kept of a target for their new behaviour.
const MOST_KEPT: usize = 400;

/// A parser, what it reads, and what has to hold of whatever it makes of that.
pub(crate) struct Target {
    /// Its name.
    pub(crate) name: &'static str,
    /// What it is to be begun with.
    pub(crate) seeds: Vec<Vec<u8>>,
    /// What its input looks like.
    pub(crate) shape: Shape,
    /// Parses, and gives a short text for what it made of it.
    ///
    /// # Errors
    /// What does not hold.
    pub(crate) check: fn(&[u8]) -> Result<String, String>,
}

/// An input that a parser cannot cope with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) target: &'static str,
    pub(crate) what: String,
    pub(crate) input: Vec<u8>,
    pub(crate) seed: u64,
    pub(crate) number: u64,
}

/// What the thread that runs the parsers is at, for the one that watches it.
#[derive(Default)]
struct Now(Mutex<Option<Try>>);

/// An input that a parser works at.
#[derive(Clone)]
struct Try {
    target: &'static str,
    input: Vec<u8>,
    number: u64,
    begun: Instant,
}

impl Now {
    fn get(&self) -> MutexGuard<'_, Option<Try>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one parser took one input.
///
/// # Errors
/// What does not hold; that it panicked.
fn tried(check: fn(&[u8]) -> Result<String, String>, input: &[u8]) -> Result<String, String> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| check(input))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            Err(format!("it panicked: {text}"))
        }
    }
}

/// Runs the targets one after the other until the time is up or something is found. Says how many inputs each
/// target got.
fn run(targets: Vec<Target>, seed: u64, time: Duration) -> Result<Vec<(&'static str, u64)>, Found> {
    let (now, (told, heard)) = (Arc::new(Now::default()), mpsc::channel());
    let shown = Arc::clone(&now);
    std::thread::spawn(move || drop(told.send(work(targets, seed, time, &shown))));
    loop {
        if let Ok(outcome) = heard.recv_timeout(Duration::from_millis(100)) {
            return outcome;
        }
        // A thread cannot be ended; it is left behind, and the process soon ends.
        let slow = now.get().clone().filter(|tried| tried.begun.elapsed() > SLOW);
        if let Some(Try { target, input, number, .. }) = slow {
            return Err(Found { target, what: format!("it takes more than {SLOW:?}"), input, seed, number });
        }
    }
}

fn work(
    mut targets: Vec<Target>,
    seed: u64,
    time: Duration,
    now: &Now,
) -> Result<Vec<(&'static str, u64)>, Found> {
    let begun = Instant::now();
    let mut counts: Vec<_> = targets.iter().map(|target| (target.name, 0)).collect();
    let mut behaviours: HashSet<(&'static str, String)> = HashSet::new();
    for round in 0.. {
        for (target, (_, count)) in targets.iter_mut().zip(&mut counts) {
            // The seeds as they are come first.
            let random = &mut Random::new(seed ^ (round << 8) ^ hash(target.name));
            let whole = usize::try_from(round).ok().and_then(|round| target.seeds.get(round).cloned());
            let input = whole.unwrap_or_else(|| mutate::mutated(&target.seeds, target.shape, random));
            *now.get() =
                Some(Try { target: target.name, input: input.clone(), number: round, begun: Instant::now() });
            let outcome = tried(target.check, &input);
            *count += 1;
            match outcome {
                Err(what) => return Err(Found { target: target.name, what, input, seed, number: round }),
                Ok(behaviour) => {
                    if target.seeds.len() < MOST_KEPT && behaviours.insert((target.name, behaviour)) {
                        target.seeds.push(input);
                    }
                }
            }
        }
        if begun.elapsed() >= time {
            break;
        }
    }
    *now.get() = None;
    Ok(counts)
}

/// FNV-1a: the same in every build, unlike the hashes of the standard library.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Writes the input down and says how to try it again.
fn told(found: &Found) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/fuzz");
    let path = folder.join(format!("{}-{:016x}-{}", found.target, found.seed, found.number));
    let written = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, &found.input));
    let place = match written {
        Ok(()) => format!("AYNI_FUZZ_INPUT={} tries it alone", path.display()),
        Err(error) => format!("it could not be written down ({error}): {:?}", found.input),
    };
    format!(
        "{} cannot cope with input {} of seed {}: {}; {place}",
        found.target, found.number, found.seed, found.what
    )
}
