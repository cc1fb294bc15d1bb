//! Runs targets, on a thread that is watched.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::{Target, mutate};
use crate::random::Random;

/// The longest that a parser may take for one input; no input is longer than [`mutate::MAX_INPUT_BYTES`].
const INPUT_TIMEOUT: Duration = Duration::from_secs(5);
/// The most inputs that are kept of one target because of their new behaviour.
const MAX_KEPT_INPUTS: usize = 400;

/// An input that breaks a promise of its parser.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) target: &'static str,
    pub(super) reason: String,
    pub(super) input: Vec<u8>,
    pub(super) seed: u64,
    pub(super) number: u64,
}

/// What the parsers' thread is working at, for the thread that watches it.
#[derive(Default)]
struct Current(Mutex<Option<Attempt>>);

#[derive(Clone)]
struct Attempt {
    target: &'static str,
    input: Vec<u8>,
    number: u64,
    start: Instant,
}

impl Current {
    fn lock(&self) -> MutexGuard<'_, Option<Attempt>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs one check.
///
/// # Errors
/// What it says is broken; that it panicked.
pub(super) fn attempt(check: fn(&[u8]) -> Result<String, String>, input: &[u8]) -> Result<String, String> {
    match std::panic::catch_unwind(AssertUnwindSafe(|| check(input))) {
        Ok(outcome) => outcome,
        Err(panic) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
            Err(format!("it panicked: {text}"))
        }
    }
}

/// Tries one stored input on the target that its name begins with.
pub(super) fn one_input(targets: &[Target], path: &Path) -> Result<String, String> {
    let input = std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let target = targets
        .iter()
        .find(|target| name.strip_prefix(target.name).is_some_and(|rest| rest.starts_with('-')));
    let target = target.ok_or_else(|| format!("the name '{name}' begins with no target's"))?;
    attempt(target.check, &input).map(|behaviour| format!("{}: {behaviour}", target.name))
}

/// Runs the targets in turns until the time is up, each has had its `inputs`, or something is found. Says how many inputs each
/// of them got.
pub(super) fn run(
    targets: Vec<Target>,
    seed: u64,
    duration: Duration,
    inputs: Option<u64>,
) -> Result<Vec<(&'static str, u64)>, Finding> {
    let (current, (sender, receiver)) = (Arc::new(Current::default()), mpsc::channel());
    let watched = Arc::clone(&current);
    std::thread::spawn(move || drop(sender.send(work(targets, seed, duration, inputs, &watched))));
    loop {
        if let Ok(outcome) = receiver.recv_timeout(Duration::from_millis(100)) {
            return outcome;
        }
        // A thread cannot be stopped from outside; it stays behind until the process ends.
        let slow = current.lock().clone().filter(|attempt| attempt.start.elapsed() > INPUT_TIMEOUT);
        if let Some(Attempt { target, input, number, .. }) = slow {
            let reason = format!("it takes more than {INPUT_TIMEOUT:?}");
            return Err(Finding { target, reason, input, seed, number });
        }
    }
}

fn work(
    mut targets: Vec<Target>,
    seed: u64,
    duration: Duration,
    inputs: Option<u64>,
    current: &Current,
) -> Result<Vec<(&'static str, u64)>, Finding> {
    let start = Instant::now();
    let mut counts: Vec<_> = targets.iter().map(|target| (target.name, 0)).collect();
    let mut behaviours: HashSet<(&'static str, String)> = HashSet::new();
    for round in 0..inputs.unwrap_or(u64::MAX) {
        for (target, (_, count)) in targets.iter_mut().zip(&mut counts) {
            // The seeds as they are come first.
            let random = &mut Random::new(seed ^ (round << 8) ^ hash(target.name));
            let unchanged = usize::try_from(round).ok().and_then(|round| target.seeds.get(round).cloned());
            let input = unchanged.unwrap_or_else(|| mutate::mutated(&target.seeds, target.kind, random));
            *current.lock() = Some(Attempt {
                target: target.name,
                input: input.clone(),
                number: round,
                start: Instant::now(),
            });
            let outcome = attempt(target.check, &input);
            *count += 1;
            match outcome {
                Err(reason) => {
                    return Err(Finding { target: target.name, reason, input, seed, number: round });
                }
                Ok(behaviour) => {
                    if target.seeds.len() < MAX_KEPT_INPUTS && behaviours.insert((target.name, behaviour)) {
                        target.seeds.push(input);
                    }
                }
            }
        }
        if start.elapsed() >= duration {
            break;
        }
    }
    *current.lock() = None;
    Ok(counts)
}

/// FNV-1a: the same in every build, unlike the hashes of the standard library.
fn hash(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

impl Finding {
    /// Writes the input to a file and says how to try it again.
    pub(super) fn store(&self, folder: &Path) -> String {
        let path = folder.join(format!("{}-{:016x}-{}", self.target, self.seed, self.number));
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, &self.input));
        let hint = match written {
            Ok(()) => format!("AYNI_FUZZ_INPUT={} tries it alone", path.display()),
            Err(error) => format!("it could not be stored ({error}): {:?}", self.input),
        };
        format!("{}: input {} of seed {}: {}; {hint}", self.target, self.number, self.seed, self.reason)
    }
}
