//! Local chat: how long prompts, answers, second turns and schemas take, and from the start of a process to a token.
//!
//! `make bench-peers SUITE=chat` drives the same works here and in other libraries, one process each, in turns.

#[cfg(feature = "stock-chat")]
mod stock;
mod works;

use std::io::{BufRead, Write};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use ayni::local::ops::cpu;
use ayni::{Environment, Error, ErrorKind};
use ayni_kernels::{Cpu, peak};

use crate::Options;
use crate::report::{Report, Target, median};
use works::Chat;

/// Bytes that a measurement of the memory reads: more than any cache holds.
const READ_BYTES: usize = 192 << 20;

/// The formats of `benches/peers/chat/random_models.py`.
const BLOCK_FORMATS: [&str; 15] = [
    "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "IQ4_XS",
    "MXFP4", "TQ2_0", "BF16",
];

/// Measures the real model in every format that is there: Q4_1 from `make models`, others from the peers' preparation.
pub(crate) fn run(options: &Options) -> Result<Report, Error> {
    let cache = crate::cache_folder()?;
    let original = cache.join("models/smollm2-135m-instruct/SmolLM2-135M-Instruct.Q4_1.gguf");
    if !original.is_file() {
        return Err(Error::config(format!("there is no {}: run `make models`", original.display())));
    }
    let prepared = |name: &str| cache.join(format!("peers/chat/SmolLM2-135M-Instruct.{name}.gguf"));
    let files = ["Q4_0", "Q4_K_M", "Q8_0"].map(|name| (name.to_owned(), prepared(name)));
    let mut report = Report::default();
    for (name, file) in [("Q4_1".to_owned(), original)].into_iter().chain(files) {
        if !file.is_file() {
            println!("# {name} is left out: `make bench-peers SUITE=chat` makes it");
            continue;
        }
        let is_wanted = |work: &str| {
            let name = format!("{}_{work}", name.to_lowercase());
            options.only.is_empty() || options.only.iter().any(|only| name.contains(only))
        };
        measure(&mut report, &name.to_lowercase(), &file, options.quick, is_wanted)?;
    }
    blocks(&mut report, &cache.join("peers/chat"), options)?;
    Ok(report)
}

/// Whether decoding reads as many bytes a second in every block format: `blocks.FORMAT.gguf`, of the peers' preparation.
#[allow(clippy::cast_precision_loss, reason = "bytes and tokens, far below 2⁵³")]
fn blocks(report: &mut Report, folder: &Path, options: &Options) -> Result<(), Error> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| name.contains(only));
    let mut reference = None;
    for format in BLOCK_FORMATS {
        let file = folder.join(format!("blocks.{format}.gguf"));
        let name = format!("blocks_{}", format.to_lowercase());
        // The first is what the others are compared with.
        if !file.is_file() || !(wanted(&name) || (reference.is_none() && wanted("blocks"))) {
            continue;
        }
        let mut chat = Chat::open(&file.to_string_lossy())?;
        let rounds = if options.quick { 3 } else { 5 };
        let speeds = (0..rounds).map(|_| chat.decode(32, 48).map(per_second)).collect::<Result<_, _>>()?;
        let speed = median(speeds);
        report.figure(&format!("{name}_decode"), speed, "tokens/s", Target::None);
        let bytes = speed * std::fs::metadata(&file).map_or(0, |found| found.len()) as f64;
        let parity = bytes / *reference.get_or_insert(bytes);
        report.ratio(&format!("{name}_bytes_of_q8_0"), parity, Target::AtLeast(0.8));
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "bytes and tokens, far below 2⁵³")]
fn measure(
    report: &mut Report,
    format: &str,
    file: &Path,
    quick: bool,
    is_wanted: impl Fn(&str) -> bool,
) -> Result<(), Error> {
    let rounds = if quick { 3 } else { 9 };
    let repeated = |work: &mut dyn FnMut() -> Result<f64, Error>| {
        (0..rounds).map(|_| work()).collect::<Result<Vec<_>, _>>().map(median)
    };
    let path = file.to_string_lossy();
    if is_wanted("load") {
        let milliseconds = repeated(&mut || Ok(load_to_first_token(&path)?.as_secs_f64() * 1e3))?;
        report.figure(&format!("{format}_load"), milliseconds, "ms", Target::AtMost(150.0));
    }
    let mut chat = Chat::open(&path)?;
    if is_wanted("decode") {
        let near = repeated(&mut || chat.decode(32, 128).map(per_second))?;
        report.figure(&format!("{format}_decode"), near, "tokens/s", Target::None);
        let cpu = cpu(&Environment::process())?;
        let bytes = std::fs::metadata(file).map_or(0, |found| found.len()) as f64;
        let bound = repeated(&mut || Ok(bytes_read_a_second(&cpu)))? / bytes;
        let target = if format == "q4_1" { Target::None } else { Target::AtLeast(0.75) };
        report.ratio(&format!("{format}_decode_of_bandwidth"), near / bound, target);
        let beside = {
            let _busy = Busy::start()?;
            repeated(&mut || chat.decode(32, 128).map(per_second))?
        };
        report.ratio(&format!("{format}_decode_beside_a_busy_core"), beside / near, Target::AtLeast(0.4));
        let far = repeated(&mut || chat.decode(4000, 64).map(per_second))?;
        report.figure(&format!("{format}_decode_4096"), far, "tokens/s", Target::None);
    }
    if is_wanted("sampled") {
        let share = repeated(&mut || {
            let [greedy, sampled] = chat.sampled(128)?;
            Ok(per_second(greedy) / per_second(sampled))
        })?;
        report.ratio(&format!("{format}_sampled_over_greedy"), share, Target::AtMost(1.1));
    }
    if is_wanted("prefill") {
        let speed = repeated(&mut || chat.prefill(512).map(per_second))?;
        report.figure(&format!("{format}_prefill_512"), speed, "tokens/s", Target::None);
    }
    if is_wanted("users") {
        let speed = repeated(&mut || chat.users(8, 32, 64).map(per_second))?;
        report.figure(&format!("{format}_users_8"), speed, "tokens/s", Target::None);
    }
    if is_wanted("turns") {
        let share = repeated(&mut || {
            let [first, second] = chat.turns(2000)?;
            Ok(second.as_secs_f64() / first.as_secs_f64())
        })?;
        report.ratio(&format!("{format}_second_turn_of_first"), share, Target::AtMost(0.1));
    }
    if is_wanted("json") {
        let share = repeated(&mut || {
            let [free, bound] = chat.json(128)?;
            Ok(per_second(free) / per_second(bound))
        })?;
        report.ratio(&format!("{format}_json_over_free"), share, Target::AtMost(1.05));
    }
    Ok(())
}

/// A process that keeps a core busy until this is dropped.
struct Busy(Child);

impl Busy {
    fn start() -> Result<Self, Error> {
        let program = std::env::current_exe().map_err(of_pipe)?;
        Command::new(program).arg("chat-busy").stdin(Stdio::null()).spawn().map(Self).map_err(of_pipe)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        // It has no other end.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

#[allow(clippy::cast_precision_loss, reason = "tokens, far below 2⁵³")]
fn per_second((time, tokens): (Duration, u64)) -> f64 {
    tokens as f64 / time.as_secs_f64()
}

#[allow(clippy::cast_precision_loss, reason = "bytes, far below 2⁵³")]
fn bytes_read_a_second(cpu: &Cpu) -> f64 {
    let memory = vec![1_u32; READ_BYTES / size_of::<u32>()];
    peak::read(cpu, &memory);
    let start = Instant::now();
    std::hint::black_box(peak::read(cpu, &memory));
    READ_BYTES as f64 / start.elapsed().as_secs_f64()
}

/// From the start of a process until it has the first token of an answer.
fn load_to_first_token(file: &str) -> Result<Duration, Error> {
    let program = std::env::current_exe().map_err(of_pipe)?;
    let start = Instant::now();
    let status = Command::new(program).args(["chat-first", file]).stdout(Stdio::null()).status();
    let taken = start.elapsed();
    match status {
        Ok(status) if status.success() => Ok(taken),
        Ok(status) => Err(Error::config(format!("`chat-first` ended with {status}"))),
        Err(error) => Err(of_pipe(error)),
    }
}

/// The commands that `make bench-peers` uses.
pub(crate) fn for_peers(command: &str, arguments: &[String]) -> ExitCode {
    let outcome = match (command, arguments) {
        ("chat-worker", [file]) => {
            Chat::open(file).and_then(|mut chat| serve(|words| took_by_ours(&mut chat, words)))
        }
        ("chat-first", [file]) => Chat::open(file).map(drop),
        #[cfg(feature = "stock-chat")]
        ("chat-candle", [file]) => {
            stock::Stock::open(file).and_then(|mut stock| serve(|words| took(&mut stock, words)))
        }
        ("chat-busy", []) => loop {
            std::hint::spin_loop();
        },
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

/// Answers one line with one line, until the input ends, as `benches/peers/chat/worker.py` does:
///
/// ```text
/// prefill TOKENS                → took NANOSECONDS TOKENS
/// decode CONTEXT TOKENS         → took NANOSECONDS TOKENS
/// users COUNT CONTEXT TOKENS    → took NANOSECONDS TOKENS
/// turns TOKENS                  → took NANOSECONDS NANOSECONDS      (ours only)
/// json TOKENS                   → took NANOSECONDS TOKENS NANOSECONDS TOKENS      (ours only)
/// bandwidth                     → took NANOSECONDS BYTES      (ours only)
/// ```
///
/// A failure is answered with `failed WHY`.
fn serve(mut answer: impl FnMut(&[&str]) -> Result<String, Error>) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(of_pipe)?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let answer =
            answer(&words).map_or_else(|error| format!("failed {error}"), |took| format!("took {took}"));
        writeln!(out, "{answer}").and_then(|()| out.flush()).map_err(of_pipe)?;
    }
    Ok(())
}

/// What every side does.
trait Side {
    /// The time until the first token of an answer, and the tokens of the prompt.
    fn prefill(&mut self, tokens: usize) -> Result<(Duration, u64), Error>;

    /// The time of the tokens of an answer after its first one, and how many these are.
    fn decode(&mut self, context: usize, tokens: u32) -> Result<(Duration, u64), Error>;

    /// The time of `count` conversations at once, and all their tokens.
    fn users(&mut self, count: usize, context: usize, tokens: u32) -> Result<(Duration, u64), Error>;
}

fn said((time, tokens): (Duration, u64)) -> String {
    format!("{} {tokens}", time.as_nanos())
}

fn took(side: &mut impl Side, words: &[&str]) -> Result<String, Error> {
    match words {
        ["prefill", tokens] => side.prefill(number(tokens)?),
        ["decode", context, tokens] => side.decode(number(context)?, number(tokens)?),
        ["users", count, context, tokens] => side.users(number(count)?, number(context)?, number(tokens)?),
        _ => Err(Error::config(format!("'{}' is not understood", words.join(" ")))),
    }
    .map(said)
}

fn took_by_ours(chat: &mut Chat, words: &[&str]) -> Result<String, Error> {
    match words {
        ["turns", tokens] => {
            Ok(chat.turns(number(tokens)?)?.map(|time| time.as_nanos().to_string()).join(" "))
        }
        ["json", tokens] => Ok(chat.json(number(tokens)?)?.map(said).join(" ")),
        ["bandwidth"] => {
            let a_second = bytes_read_a_second(&cpu(&Environment::process())?);
            Ok(format!("1000000000 {a_second:.0}"))
        }
        _ => took(chat, words),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, Error> {
    text.parse().map_err(|_| Error::config(format!("'{text}' is not a number")))
}

fn of_pipe(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Interrupted, format!("whoever drives this is gone: {error}"))
}
